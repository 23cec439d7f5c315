/* tests/sim/sim_redis_book.c -- what a write did, for the judge's book and for those who will read
 * it. */
#include <stdlib.h>
#include <string.h>

#include "tests/sim/invariants.h"
#include "tests/sim/sim_redis.h"

void sim_redis_note_opened(struct world *world, struct model_op *op)
{
        struct past past = { .token = op->opened, .state = world->server.state, .safe = true };

        world_tell(world, WHO_REDIS, 0, "opened a log, epoch %t", op->opened.epoch);
        op->past = history_add(&world->history, &past);
}

void sim_redis_note_appended(struct world *world, struct model_op *op, const struct call *call,
                             uint64_t state_before)
{
        struct past past = { .token = op->token,
                             .prev = op->prev,
                             .signal = call->signal,
                             .sent_ms = world->now_ms,
                             .safe = !world->server.fsync };

        world->server.state = state_before ^ history_hash(&call->signal.state);
        past.state = world->server.state;
        past.signal.token = op->token;
        strcpy(past.key, op->key);
        op->past = history_add(&world->history, &past);
        world_tell(world, WHO_REDIS, 0, "committed %u.%t, event version %u", op->token.seq,
                   op->token.tag, op->version);
        world->counted_commits++;
        invariants_committed(world, &world->history.pasts[op->past]);
}

void sim_redis_parse(struct world *world, struct model_op *op)
{
        char token[TOKEN_TEXT_MAX + 1], prev[17];
        struct buf message = BUF_INIT;

        op->parsed = malloc(sizeof(*op->parsed));
        check(op->parsed != NULL);
        check(event_parse(op->record, strlen(op->record), op->parsed) == OK);
        op->unreadable = faults_strike(world, FAULT_UNREADABLE);
        if (op->unreadable)
                return;
        token_format(&op->token, token);
        token_hex(op->prev, prev);
        buf_printf(&message, "%s %s %s", token, prev, op->body);
        check(!message.failed &&
              entry_parse_message((const char *)message.data, message.len, &op->entry) == OK);
        buf_fini(&message);
}
