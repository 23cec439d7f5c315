/* tests/sim/sim_calls.c -- calls on their way to a server and back, and the server's disk: what a
 * write says waits for it if it must, and then takes its time on the links. */
#include <stdlib.h>
#include <string.h>

#include "tests/sim/invariants.h"
#include "tests/sim/sim_node.h"
#include "tests/sim/sim_redis.h"

#define DEADLINE_MS 2000 /* as in base/redis.c */

struct call *sim_redis_new_call(enum call_kind kind, call_done_fn *done, void *owner)
{
        struct call *call = malloc(sizeof(*call));

        check(call != NULL);
        memset(call, 0, offsetof(struct call, after));
        call->kind = kind;
        call->done = done;
        call->owner = owner;
        call->refs = 1;
        return call;
}

enum link_kind sim_redis_link_of(enum call_kind kind)
{
        return kind < CALL_LOOKUP ? LINK_CALLS : LINK_WRITES;
}

void sim_redis_hold_call(struct call *call)
{
        call->refs++;
}

void sim_redis_unref_call(void *load)
{
        struct call *call = load;

        if (--call->refs > 0)
                return;
        for (size_t i = 0; i < call->n_entries; i++)
                entry_unref(call->entries[i]);
        for (size_t i = 0; i < call->n_records; i++)
                model_record_unref(call->records[i]);
        for (size_t i = 0; i < call->n_told; i++)
                entry_unref(call->tell[i]);
        free(call->tell);
        free(call->entries);
        free(call->records);
        free(call);
}

static void send_call(struct world *world, uint64_t in_ms, world_fn *fn, struct call *call)
{
        call->refs++;
        world_send(world, in_ms, fn, call->node, call->link, call, sim_redis_unref_call);
}

static void finish(struct world *world, struct call *call, bool answered)
{
        struct call **place = &call->node->links.waiting;

        while (*place != call)
                place = &(*place)->next;
        *place = call->next;
        call->finished = true;
        call->done(world, call, answered);
        sim_redis_unref_call(call);
}

void sim_redis_finish_waiting(struct world *world, struct node *node, enum link_kind kind)
{
        struct call *call = node->links.waiting;

        while (call != NULL) {
                if (sim_redis_link_of(call->kind) == kind) {
                        finish(world, call, false);
                        call = node->links.waiting; /* it may have changed altogether */
                } else {
                        call = call->next;
                }
        }
}

static bool is_stale(const struct call *call)
{
        return call->finished ||
               call->node->links.generation[sim_redis_link_of(call->kind)] != call->link;
}

/* What is sent on a link now arrives then: a little later, and after all that was sent before. */
uint64_t sim_redis_travel(struct world *world, uint64_t *last_ms, enum fault late)
{
        uint64_t at_ms = world->now_ms + world_random(world, 0, 3);

        if (faults_strike(world, late))
                return world_random(world, 1, 3000); /* the next may overtake it */
        if (at_ms < *last_ms)
                at_ms = *last_ms;
        *last_ms = at_ms;
        return at_ms - world->now_ms;
}

/* For the judge: until then this node cannot know better. */
static void note_late(const struct world *world, struct node *node, uint64_t in_ms)
{
        if (in_ms > 10 && world->now_ms + in_ms > node->troubled_ms)
                node->troubled_ms = world->now_ms + in_ms;
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

static void publish(struct world *world, unsigned server, struct entry *entry)
{
        for (unsigned i = 0; i < world->n_nodes; i++) {
                struct node *node = world->nodes[i];
                unsigned copies = 1;

                if (!node->is_alive || !node->links.up[LINK_MESSAGES] ||
                    node->links.server[LINK_MESSAGES] != server || sim_redis_is_silent(world, node))
                        continue;
                if (faults_strike(world, FAULT_MESSAGE_DROP))
                        copies = 0;
                else if (faults_strike(world, FAULT_MESSAGE_DOUBLE))
                        copies = 2;
                while (copies-- > 0) {
                        uint64_t in_ms = sim_redis_travel(
                            world, &node->links.last_back_ms[LINK_MESSAGES], FAULT_MESSAGE_LATE);

                        world_send(world, in_ms, on_message, node, node->life,
                                   entry != NULL ? entry_ref(entry) : NULL, drop_entry);
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
        sim_redis_unref_call(call);
}

void sim_redis_answer(struct world *world, struct call *call)
{
        enum link_kind kind = sim_redis_link_of(call->kind);
        uint64_t in_ms;

        if (is_stale(call))
                return;
        if (faults_strike(world, FAULT_REPLY_DROP)) {
                call->node->troubled_ms = world->now_ms;
                return;
        }
        in_ms = sim_redis_travel(world, &call->node->links.last_back_ms[kind], FAULT_REPLY_LATE);
        note_late(world, call->node, in_ms);
        send_call(world, in_ms, on_answer, call);
}

static void synced(struct world *world, struct server *server)
{
        for (; server->synced < model_journal(server->model); server->synced++) {
                const struct model_op *op = model_line(server->model, server->synced);

                if (op->kind == MODEL_APPEND)
                        world->history.pasts[op->past].safe = true;
        }
}

/* The write of this call is on disk, or need not be: now it may be told. */
static void tell(struct world *world, struct call *call)
{
        struct server *server = &world->servers[call->server];

        if (world->durability.mode != DURABILITY_MEMORY)
                synced(world, server);
        sim_replication_wrote(world, server);
        for (size_t i = 0; i < call->n_told; i++)
                publish(world, call->server, call->tell[i]);
        if (call->kind == CALL_WAIT)
                sim_replication_wait(world, call);
        else
                sim_redis_answer(world, call);
}

static void on_synced(struct world *world, void *owner, uint64_t link, void *load)
{
        struct call *call = load;

        (void)owner, (void)link;
        if (world->servers[call->server].life == call->life)
                tell(world, call);
        sim_redis_unref_call(call);
}

void sim_redis_wrote(struct world *world, struct call *call)
{
        struct server *server = &world->servers[call->server];
        uint64_t in_ms;

        call->line = model_journal(server->model);
        if (world->durability.mode == DURABILITY_MEMORY || !faults_strike(world, FAULT_DISK_SLOW)) {
                tell(world, call);
                return;
        }
        in_ms = world_random(world, 1, 1500);
        server->still_until_ms = world->now_ms + in_ms + 1; /* nobody comes in between */
        world_tell(world, WHO_REDIS, server->index, "waits %u ms for its disk", in_ms);
        send_call(world, in_ms, on_synced, call);
}

/* --- on their way --------------------------------------------------------------------------- */

static void on_arrived(struct world *world, void *owner, uint64_t link, void *load)
{
        struct call *call = load;
        struct server *server = &world->servers[call->server];

        (void)link;
        if (is_stale(call) || sim_redis_is_silent(world, owner) || !server->is_up) {
                ; /* lost on its way */
        } else if (world->now_ms < server->still_until_ms) {
                send_call(world, server->still_until_ms - world->now_ms, on_arrived, call);
        } else {
                call->life = server->life;
                sim_redis_carry_out(world, call);
        }
        sim_redis_unref_call(call);
}

static void on_deadline(struct world *world, void *owner, uint64_t link, void *load)
{
        struct call *call = load;

        (void)link;
        if (!is_stale(call)) {
                if (world->breaks_links)
                        sim_redis_cut(world, owner, sim_redis_link_of(call->kind));
                else
                        finish(world, call, false);
        }
        sim_redis_unref_call(call);
}

void sim_redis_call(struct world *world, struct node *node, struct call *call)
{
        enum link_kind kind = sim_redis_link_of(call->kind);
        uint64_t deadline_ms = DEADLINE_MS, in_ms;

        check(node->links.up[kind]);
        world->counted_asks += kind == LINK_CALLS;
        call->node = node;
        call->server = node->links.server[kind];
        call->link = node->links.generation[kind];
        call->next = node->links.waiting;
        node->links.waiting = call;
        in_ms = sim_redis_travel(world, &node->links.last_there_ms[kind], FAULT_REPLY_LATE);
        note_late(world, node, in_ms);
        send_call(world, in_ms, on_arrived, call);
        if (!world->breaks_links)
                deadline_ms = world_random(world, DEADLINE_MS, 3 * DEADLINE_MS);
        send_call(world, deadline_ms, on_deadline, call);
}
