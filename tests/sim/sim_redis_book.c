/* tests/sim/sim_redis_book.c -- what a server wrote, took over or lost, for the judge's book; and
 * its texts as nodes read them. */
#include <stdlib.h>
#include <string.h>

#include "tests/sim/invariants.h"
#include "tests/sim/sim_redis.h"

#define PASTS_OF(world, op) (&(world)->history.pasts[(op)->past])

/* --- texts ---------------------------------------------------------------------------------- */

struct model_record *sim_book_record(const struct event *event, const char *text)
{
        struct model_record *record =
            model_record_create(event->state.event, text, event->epoch, event->state.version);

        record->parsed = malloc(sizeof(*record->parsed));
        check(record->parsed != NULL);
        check(event_parse(text, strlen(text), record->parsed) == OK);
        return record;
}

void sim_book_parse(struct world *world, struct model_op *op, const struct signal *signal,
                    const struct target *to)
{
        struct signal numbered = *signal;
        char token[TOKEN_TEXT_MAX + 1], prev[17];
        struct buf message = BUF_INIT;

        if (faults_strike(world, FAULT_UNREADABLE))
                return;
        if (!world->wire) {
                numbered.token = op->token;
                op->entry = entry_create_for(&numbered, to, op->prev, op->record->text);
                check(op->entry != NULL);
                return;
        }
        token_format(&op->token, token);
        token_hex(op->prev, prev);
        buf_printf(&message, "%s %s %s\n%s", token, prev, op->body, op->record->text);
        check(!message.failed &&
              entry_parse_message((const char *)message.data, message.len, &op->entry) == OK);
        buf_fini(&message);
}

/* --- lines ---------------------------------------------------------------------------------- */

static uint64_t hash_events(const struct model *model)
{
        const struct model_data *data = model_data(model);
        uint64_t hash = 0;

        for (size_t i = 0; i < data->n_events; i++)
                hash ^= history_hash(&data->events[i]->parsed->state);
        return hash;
}

static void note_renewed(struct world *world, struct server *server, struct model_op *op)
{
        struct past past = { .token = op->token,
                             .parent = op->parent,
                             .state = hash_events(server->model),
                             .sent_ms = world->now_ms,
                             .shown_ms = world->now_ms,
                             .safe = true };

        world_tell(world, WHO_REDIS, server->index,
                   "begins a new epoch, of generation %u, with %u records of a node",
                   token_generation(op->token.epoch), op->n_records);
        world->counted_renewals++;
        op->past = history_add(&world->history, &past);
}

static void note_appended(struct world *world, struct server *server, struct model_op *op,
                          const struct call *call)
{
        const struct token before = { op->token.epoch, op->token.seq - 1, op->prev };
        const struct past *last = history_find(&world->history, &before);
        struct past past = { .token = op->token,
                             .prev = op->prev,
                             .signal = call->signal,
                             .to = call->target,
                             .sent_ms = world->now_ms,
                             .shown_ms = op->held ? 0 : world->now_ms,
                             .version_before = op->before != NULL ? op->before->version : 0,
                             .safe = world->durability.mode == DURABILITY_MEMORY };

        check(last != NULL);
        past.state = last->state ^ history_hash(&op->record->parsed->state);
        if (op->before != NULL)
                past.state ^= history_hash(&op->before->parsed->state);
        past.signal.token = op->token;
        strcpy(past.key, op->key);
        op->past = history_add(&world->history, &past);
        op->record->past = op->past + 1;
        world_tell(world, WHO_REDIS, server->index, "has %u.%t, event version %u%s", op->token.seq,
                   op->token.tag, op->record->version, trace_text(op->held ? ", held back" : ""));
        world->counted_commits++;
        invariants_committed(world, PASTS_OF(world, op), server->index, &call->witness);
}

void sim_book_line(struct world *world, struct server *server, struct model_op *op,
                   const struct call *call)
{
        unsigned bit = 1u << server->index;

        if (op->kind == MODEL_RENEW && call != NULL)
                note_renewed(world, server, op);
        if (op->kind == MODEL_APPEND && call != NULL)
                note_appended(world, server, op, call);
        if (op->kind == MODEL_RELEASE && call != NULL)
                world_tell(world, WHO_REDIS, server->index, "releases up to %u.%t", op->token.seq,
                           op->token.tag);
        if (op->kind == MODEL_RENEW || op->kind == MODEL_APPEND) {
                PASTS_OF(world, op)->on |= bit;
                PASTS_OF(world, op)->ever |= bit;
        }
        if (op->kind == MODEL_RENEW)
                server->hurt_ms = world->now_ms;
        if (op->kind == MODEL_WIPE)
                sim_book_again(world, server);
        if (op->kind == MODEL_RENEW && call != NULL)
                invariants_renewed(world, server);
}

/* --- from the beginning --------------------------------------------------------------------- */

void sim_book_again(struct world *world, struct server *server)
{
        unsigned bit = 1u << server->index;
        size_t from = 0, n = model_journal(server->model);

        server->hurt_ms = world->now_ms;
        for (unsigned i = 0; i < world->history.n; i++)
                world->history.pasts[i].on &= ~bit;
        for (size_t i = 0; i < n; i++) {
                if (model_line(server->model, i)->kind == MODEL_WIPE)
                        from = i + 1;
        }
        for (size_t i = from; i < n; i++) {
                struct model_op *op = model_line(server->model, i);

                if (op->kind == MODEL_APPEND || op->kind == MODEL_RENEW)
                        PASTS_OF(world, op)->on |= bit;
        }
}

void sim_book_lost(struct world *world, struct server *server, size_t lines_left, bool rolled_back)
{
        for (size_t i = lines_left; i < model_journal(server->model); i++) {
                const struct model_op *op = model_line(server->model, i);

                if (op->kind != MODEL_APPEND && op->kind != MODEL_RENEW)
                        continue;
                PASTS_OF(world, op)->lost = true;
                if (op->kind == MODEL_RENEW) {
                        world->counted_renewals--; /* the log begins as if it had not been */
                        continue;
                }
                invariants_lost(world, PASTS_OF(world, op), rolled_back);
                world_tell(world, WHO_REDIS, server->index, "loses %u.%t", op->token.seq,
                           op->token.tag);
        }
}

/* Replicas may have it for a while, and never show it to anybody again. */
void sim_book_will_be_wiped(struct world *world, struct server *server)
{
        for (unsigned i = 0; i < world->history.n; i++) {
                struct past *past = &world->history.pasts[i];

                past->lost = past->lost || (past->on & 1u << server->index) != 0;
        }
}

void sim_book_is_on_disk(struct world *world, struct server *server)
{
        for (size_t i = 0; i < model_journal(server->model); i++) {
                const struct model_op *op = model_line(server->model, i);

                if (op->kind == MODEL_APPEND)
                        PASTS_OF(world, op)->safe = true;
        }
}

/* Whatever it has not, the log has to do without from now on. */
void sim_book_promoted(struct world *world, struct server *server)
{
        for (unsigned i = 0; i < world->history.n; i++) {
                struct past *past = &world->history.pasts[i];

                if (past->on != 0 && (past->on & 1u << server->index) == 0)
                        past->lost = true;
        }
        sim_book_is_on_disk(world, server);
}
