/* tests/sim/sim_redis.c -- what a server does with a call: the model's function, and what is told
 * of it. */
#include "tests/sim/sim_redis.h"

#include <stdlib.h>
#include <string.h>

#include "fanout/follower_core.h"
#include "tests/sim/invariants.h"
#include "tests/sim/sim_node.h"

static struct server *server_of(struct world *world, const struct call *call)
{
        return &world->servers[call->server];
}

/* The lines that this call wrote, into the book. */
static void note(struct world *world, struct call *call, size_t from)
{
        struct server *server = server_of(world, call);

        for (size_t i = from; i < model_journal(server->model); i++)
                sim_book_line(world, server, model_line(server->model, i), call);
}

static void will_tell(struct call *call, struct entry *entry)
{
        call->tell = realloc(call->tell, (call->n_told + 1) * sizeof(call->tell[0]));
        check(call->tell != NULL);
        call->tell[call->n_told++] = entry != NULL ? entry_ref(entry) : NULL;
}

/* --- reading -------------------------------------------------------------------------------- */

static void do_state(struct world *world, struct call *call)
{
        const struct model *model = server_of(world, call)->model;

        call->records = calloc(EVENTS_AT_ALL, sizeof(call->records[0]));
        check(call->records != NULL);
        call->n_records =
            model_state(model, &call->witness, EVENTS_AT_ALL, call->records, &call->lost);
        for (size_t i = 0; i < call->n_records; i++)
                model_record_ref(call->records[i]);
        sim_redis_answer(world, call);
}

static void do_range(struct world *world, struct call *call)
{
        struct model_op *ops[FOLLOWER_RANGE_COUNT];

        call->n_entries = model_range(server_of(world, call)->model, call->from, call->to,
                                      world->range_count, &call->witness, ops);
        call->entries = calloc(call->n_entries + 1, sizeof(struct entry *));
        check(call->entries != NULL);
        for (size_t i = 0; i < call->n_entries; i++)
                call->entries[i] = ops[i]->entry != NULL ? entry_ref(ops[i]->entry) : NULL;
        sim_redis_answer(world, call);
}

static void do_lookup(struct world *world, struct call *call)
{
        struct model_record *record;
        struct model_op *request;

        model_lookup(server_of(world, call)->model, call->event,
                     call->key[0] != '\0' ? call->key : NULL, &record, &request, &call->is_held);
        call->has_record = record != NULL;
        if (record != NULL)
                call->record = *record->parsed;
        call->has_request = request != NULL;
        if (request != NULL) {
                strcpy(call->known_fingerprint, request->fingerprint);
                call->result = request->token;
                call->known = *request->record->parsed;
        }
        sim_redis_answer(world, call);
}

/* --- writing -------------------------------------------------------------------------------- */

static enum model_answer append(struct world *world, struct call *call)
{
        struct model *model = server_of(world, call)->model;
        char *text = event_format(&call->after);
        char *body = world->wire ? entry_format_body(&call->signal, call->target) : strdup("");
        struct model_record *record, *there = NULL;
        struct model_op *result = NULL;
        struct model_append append = { .event = call->event,
                                       .body = body,
                                       .expected = call->expected,
                                       .sent = call->signal.sent,
                                       .tag = world_u64(world),
                                       .publish = call->publish,
                                       .held = world->durability.mode == DURABILITY_REPLICATED,
                                       .key = call->key,
                                       .fingerprint = call->fingerprint,
                                       .events_max = EVENTS_AT_ALL - 1,
                                       .keep_entries = 300,
                                       .keep_ms = 1000,
                                       .now = call->signal.sent,
                                       .witness = call->witness };
        enum model_answer answer;

        check(text != NULL && body != NULL);
        record = append.record = sim_book_record(&call->after, text);
        answer = model_append(model, &append, &result, &there);
        model_record_unref(record);
        free(text);
        free(body);
        if (result != NULL) {
                call->result = result->token;
                call->known = *result->record->parsed;
        }
        call->has_record = there != NULL;
        if (there != NULL)
                call->record = *there->parsed;
        return answer;
}

static void do_append(struct world *world, struct call *call)
{
        struct model *model = server_of(world, call)->model;
        size_t lines = model_journal(model);

        call->answer = append(world, call);
        if (model_journal(model) == lines) {
                sim_redis_answer(world, call);
                return;
        }
        sim_book_parse(world, model_line(model, lines), &call->signal, call->target);
        note(world, call, lines);
        if (call->answer == MODEL_COMMITTED)
                will_tell(call, model_line(model, lines)->entry);
        sim_redis_wrote(world, call);
}

static void do_release(struct world *world, struct call *call)
{
        struct model *model = server_of(world, call)->model;
        size_t lines = model_journal(model), n;
        struct model_op **ops;

        call->lost = !model_release(model, &call->witness, &n);
        if (model_journal(model) == lines) {
                sim_redis_answer(world, call);
                return;
        }
        ops = calloc(n + 1, sizeof(*ops));
        check(ops != NULL);
        if (n > 0) {
                seqno first = call->witness.seq - n + 1;

                check(model_range(model, first, call->witness.seq, n, &call->witness, ops) == n);
        }
        for (size_t i = 0; i < n; i++) {
                will_tell(call, ops[i]->entry);
                invariants_shown(world, &world->history.pasts[ops[i]->past], call->server);
        }
        free(ops);
        note(world, call, lines);
        sim_redis_wrote(world, call);
}

static void do_renew(struct world *world, struct call *call)
{
        struct model *model = server_of(world, call)->model;
        size_t lines = model_journal(model);
        const struct model_renew renew = { .expected = call->expected,
                                           .fresh_epoch = call->fresh,
                                           .fresh_tag = world_u64(world),
                                           .witness = call->witness,
                                           .records = call->records,
                                           .n = call->n_records };

        call->renewal = model_renew(model, &renew);
        check(call->renewal != MODEL_TOO_LATE);
        call->place = model_head(model, &call->witness);
        if (model_journal(model) == lines) {
                sim_redis_answer(world, call);
                return;
        }
        note(world, call, lines);
        sim_redis_wrote(world, call);
}

static void do_wait(struct world *world, struct call *call)
{
        model_touch(server_of(world, call)->model);
        sim_redis_wrote(world, call);
}

void sim_redis_carry_out(struct world *world, struct call *call)
{
        struct server *server = server_of(world, call);
        bool writes = call->kind == CALL_RENEW || call->kind == CALL_APPEND ||
                      call->kind == CALL_WAIT || call->kind == CALL_RELEASE;

        if (writes && !server->is_primary) {
                call->refused = true;
                sim_redis_answer(world, call);
                return;
        }
        call->place = model_head(server->model, &call->witness);
        switch (call->kind) {
        case CALL_HEAD:
                sim_redis_answer(world, call);
                break;
        case CALL_RANGE:
                do_range(world, call);
                break;
        case CALL_STATE:
                do_state(world, call);
                break;
        case CALL_RENEW:
                do_renew(world, call);
                break;
        case CALL_LOOKUP:
                do_lookup(world, call);
                break;
        case CALL_APPEND:
                do_append(world, call);
                break;
        case CALL_WAIT:
                do_wait(world, call);
                break;
        case CALL_RELEASE:
                do_release(world, call);
                break;
        case CALL_HELD:
        case CALL_TAIL:
                call->result = model_tail(server->model, &call->is_held);
                sim_redis_answer(world, call);
                break;
        }
}
