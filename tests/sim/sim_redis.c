/* tests/sim/sim_redis.c -- the server carries out one call after the other; what it must say waits
 * for its disk if it must, and then takes its time on the links. */
#include "tests/sim/sim_redis.h"

#include <stdlib.h>
#include <string.h>

#include "fanout/writer.h"
#include "tests/sim/invariants.h"
#include "tests/sim/sim_node.h"

#define DEADLINE_MS 2000 /* as in base/redis.c */

/* --- calls ---------------------------------------------------------------------------------- */

struct call *sim_redis_new_call(enum call_kind kind, call_done_fn *done, void *owner)
{
        struct call *call = calloc(1, sizeof(*call));

        check(call != NULL);
        call->kind = kind;
        call->done = done;
        call->owner = owner;
        call->refs = 1;
        return call;
}

static void unref(void *load)
{
        struct call *call = load;

        if (--call->refs > 0)
                return;
        for (size_t i = 0; i < call->n_entries; i++)
                entry_unref(call->entries[i]);
        free(call->entries);
        free(call->states);
        free(call);
}

static void send_call(struct world *world, uint64_t in_ms, world_fn *fn, struct call *call)
{
        call->refs++;
        world_send(world, in_ms, fn, call->node, call->link, call, unref);
}

static void finish(struct world *world, struct call *call, bool answered)
{
        struct call **place = &call->node->links.waiting;

        while (*place != call)
                place = &(*place)->next;
        *place = call->next;
        call->finished = true;
        call->done(world, call, answered);
        unref(call);
}

void sim_redis_finish_waiting(struct world *world, struct node *node)
{
        while (node->links.waiting != NULL)
                finish(world, node->links.waiting, false);
}

static bool is_stale(const struct call *call)
{
        return call->finished || call->node->links.generation[LINK_CALLS] != call->link;
}

/* What is sent on a link now arrives then: a little later, and after all that was sent before. */
static uint64_t travel(struct world *world, uint64_t *last_ms, enum fault late)
{
        uint64_t at_ms = world->now_ms + world_random(world, 0, 3);

        if (faults_strike(world, late))
                return world_random(world, 1, 3000); /* the next may overtake it */
        if (at_ms < *last_ms)
                at_ms = *last_ms;
        *last_ms = at_ms;
        return at_ms - world->now_ms;
}

/* --- telling -------------------------------------------------------------------------------- */

static void on_message(struct world *world, void *owner, uint64_t life, void *load)
{
        struct node *node = owner;
        struct entry *entry = load;

        if (node->is_alive && node->life == life && !sim_redis_is_silent(world, node))
                sim_node_on_message(world, node, entry);
        entry_unref(entry);
}

static void drop_entry(void *load)
{
        entry_unref(load);
}

static void publish(struct world *world, const struct model_op *op)
{
        for (unsigned i = 0; i < world->n_nodes; i++) {
                struct node *node = world->nodes[i];
                unsigned copies = 1;

                if (!node->is_alive || !node->links.up[LINK_MESSAGES] ||
                    sim_redis_is_silent(world, node))
                        continue;
                if (faults_strike(world, FAULT_MESSAGE_DROP))
                        copies = 0;
                else if (faults_strike(world, FAULT_MESSAGE_DOUBLE))
                        copies = 2;
                while (copies-- > 0) {
                        uint64_t in_ms =
                            travel(world, &node->links.last_message_ms, FAULT_MESSAGE_LATE);

                        world_send(world, in_ms, on_message, node, node->life,
                                   op->entry != NULL ? entry_ref(op->entry) : NULL, drop_entry);
                }
        }
}

static void on_answer(struct world *world, void *owner, uint64_t link, void *load)
{
        struct call *call = load;
        struct node *node = owner;

        (void)link;
        if (!is_stale(call) && !sim_redis_is_silent(world, node))
                finish(world, call, true);
        unref(call);
}

static void answer(struct world *world, struct call *call)
{
        uint64_t in_ms;

        if (is_stale(call) || faults_strike(world, FAULT_REPLY_DROP))
                return;
        in_ms = travel(world, &call->node->links.last_back_ms, FAULT_REPLY_LATE);
        send_call(world, in_ms, on_answer, call);
}

static void synced(struct world *world)
{
        struct server *server = &world->server;

        for (; server->synced < model_journal(server->model); server->synced++) {
                const struct model_op *op = model_line(server->model, server->synced);

                if (op->kind == MODEL_APPEND)
                        world->history.pasts[op->past].safe = true;
        }
}

/* The write of this call is on disk, or need not be: now it may be told. */
static void tell(struct world *world, struct call *call)
{
        struct server *server = &world->server;

        if (server->fsync)
                synced(world);
        if (call->kind == CALL_APPEND)
                publish(world, model_line(server->model, call->line));
        answer(world, call);
}

static void on_synced(struct world *world, void *owner, uint64_t life, void *load)
{
        (void)owner;
        if (world->server.life == life)
                tell(world, load);
        unref(load);
}

static void sync_and_tell(struct world *world, struct call *call)
{
        struct server *server = &world->server;
        uint64_t in_ms;

        call->line = model_journal(server->model) - 1;
        if (!server->fsync || !faults_strike(world, FAULT_DISK_SLOW)) {
                tell(world, call);
                return;
        }
        in_ms = world_random(world, 1, 1500);
        server->still_until_ms = world->now_ms + in_ms + 1; /* nobody comes in between */
        world_tell(world, WHO_REDIS, 0, "waits %u ms for its disk", in_ms);
        call->refs++;
        world_send(world, in_ms, on_synced, NULL, server->life, call, unref);
}

/* --- carrying out --------------------------------------------------------------------------- */

static void do_append(struct world *world, struct call *call)
{
        struct server *server = &world->server;
        uint64_t tag = world_u64(world), fresh_epoch = world_u64(world);
        uint64_t fresh_tag = world_u64(world); /* an initialiser's order is the compiler's choice */
        char *record = event_format(&call->after), *body = entry_format_body(&call->signal);
        struct model_append append = { .event = call->event,
                                       .record = record,
                                       .body = body,
                                       .expected = call->expected,
                                       .version = call->after.state.version,
                                       .sent = call->signal.sent,
                                       .tag = tag,
                                       .fresh_epoch = fresh_epoch,
                                       .fresh_tag = fresh_tag,
                                       .publish = call->publish,
                                       .key = call->key,
                                       .fingerprint = call->fingerprint,
                                       .events_max = EVENTS_AT_ALL - 1,
                                       .keep_entries = 300,
                                       .keep_ms = 1000,
                                       .now = call->signal.sent };
        const struct model_op *result = NULL, *unused;
        uint64_t before = server->state;

        check(record != NULL && body != NULL);
        model_lookup(server->model, call->event, NULL, &result, &unused);
        if (result != NULL)
                before ^= history_hash(&result->parsed->state);
        result = NULL;
        call->answer = model_append(server->model, &append, &result);
        free(record);
        free(body);
        if (result != NULL)
                call->result = result->token;
        if (call->answer != MODEL_COMMITTED) {
                call->has_record = result != NULL;
                if (result != NULL)
                        call->record = *result->parsed;
                answer(world, call);
                return;
        }

        struct model_op *op = model_line(server->model, model_journal(server->model) - 1);

        if (op->opened.epoch != 0)
                sim_redis_note_opened(world, op);
        sim_redis_parse(world, op);
        sim_redis_note_appended(world, op, call, before);
        sync_and_tell(world, call);
}

static void do_lookup(struct world *world, struct call *call)
{
        const struct model_op *event, *request;

        model_lookup(world->server.model, call->event, call->key[0] != '\0' ? call->key : NULL,
                     &event, &request);
        call->has_record = event != NULL;
        if (event != NULL)
                call->record = *event->parsed;
        call->has_request = request != NULL;
        if (request != NULL) {
                strcpy(call->known_fingerprint, request->fingerprint);
                call->result = request->token;
        }
        answer(world, call);
}

static int by_id(const void *a, const void *b)
{
        return strcmp(((const struct event_state *)a)->event,
                      ((const struct event_state *)b)->event);
}

static void do_state(struct world *world, struct call *call)
{
        const struct model_op *ops[EVENTS_AT_ALL];

        call->n_states = model_state(world->server.model, EVENTS_AT_ALL, ops);
        call->states = calloc(call->n_states + 1, sizeof(call->states[0]));
        check(call->states != NULL);
        for (size_t i = 0; i < call->n_states; i++)
                call->states[i] = ops[i]->parsed->state;
        qsort(call->states, call->n_states, sizeof(call->states[0]), by_id);
        answer(world, call);
}

static void do_range(struct world *world, struct call *call)
{
        struct model_op *ops[FOLLOWER_RANGE_COUNT];
        size_t max = world->range_count;

        call->n_entries = model_range(world->server.model, call->from, call->to, max, ops);
        call->entries = calloc(call->n_entries + 1, sizeof(struct entry *));
        check(call->entries != NULL);
        for (size_t i = 0; i < call->n_entries; i++)
                call->entries[i] = ops[i]->entry != NULL ? entry_ref(ops[i]->entry) : NULL;
        answer(world, call);
}

static void carry_out(struct world *world, struct call *call)
{
        struct server *server = &world->server;
        size_t lines = model_journal(server->model);
        uint64_t epoch;

        call->place = model_head(server->model);
        switch (call->kind) {
        case CALL_HEAD:
                answer(world, call);
                break;
        case CALL_RANGE:
                do_range(world, call);
                break;
        case CALL_STATE:
                do_state(world, call);
                break;
        case CALL_OPEN:
                epoch = world_u64(world);
                call->place = model_open(server->model, epoch, world_u64(world));
                if (model_journal(server->model) > lines) {
                        sim_redis_note_opened(world, model_line(server->model, lines));
                        sync_and_tell(world, call);
                } else {
                        answer(world, call);
                }
                break;
        case CALL_LOOKUP:
                do_lookup(world, call);
                break;
        case CALL_APPEND:
                do_append(world, call);
                break;
        }
}

static void on_arrived(struct world *world, void *owner, uint64_t link, void *load)
{
        struct call *call = load;

        (void)link;
        if (is_stale(call) || sim_redis_is_silent(world, owner) || !world->server.is_up)
                ; /* lost on its way */
        else if (world->now_ms < world->server.still_until_ms)
                send_call(world, world->server.still_until_ms - world->now_ms, on_arrived, call);
        else
                carry_out(world, call);
        unref(call);
}

static void on_deadline(struct world *world, void *owner, uint64_t link, void *load)
{
        struct call *call = load;

        (void)link;
        if (!is_stale(call)) {
                if (world->server.breaks_links)
                        sim_redis_cut(world, owner, LINK_CALLS);
                else
                        finish(world, call, false);
        }
        unref(call);
}

void sim_redis_call(struct world *world, struct node *node, struct call *call)
{
        uint64_t deadline_ms = DEADLINE_MS;

        check(node->links.up[LINK_CALLS]);
        world->counted_asks += call->kind < CALL_LOOKUP;
        call->node = node;
        call->link = node->links.generation[LINK_CALLS];
        call->next = node->links.waiting;
        node->links.waiting = call;
        send_call(world, travel(world, &node->links.last_there_ms, FAULT_REPLY_LATE), on_arrived,
                  call);
        if (!world->server.breaks_links)
                deadline_ms = world_random(world, DEADLINE_MS, 3 * DEADLINE_MS);
        send_call(world, deadline_ms, on_deadline, call);
}
