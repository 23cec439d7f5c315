/* tests/sim/sim_worker.c -- worker.c and broadcast.c once more: letters, rings, and who is asked
 * when. What happens on one connection is in sim_conn.c. */
#include "tests/sim/sim_worker.h"

#include <stdlib.h>
#include <string.h>

#include "tests/sim/invariants.h"
#include "tests/sim/sim_conn.h"
#include "tests/sim/sim_device.h"
#include "tests/sim/sim_node.h"

enum letter_kind { LETTER_INSTALL, LETTER_ENTRIES, LETTER_CONFIRMED, LETTER_DRAIN };

struct letter {
        enum letter_kind kind;
        unsigned worker;
        uint64_t life, posted_ms;
        uint32_t within_ms, over_ms;
        struct snapshot *snapshot;
        size_t n;
        struct entry *entries[];
};

static void drop_letter(void *load)
{
        struct letter *letter = load;

        for (size_t i = 0; i < letter->n; i++)
                entry_unref(letter->entries[i]);
        snapshot_unref(letter->snapshot);
        free(letter);
}

/* --- reading letters ------------------------------------------------------------------------ */

static void visit(struct world *world, void *owner, uint64_t argument, void *load)
{
        (void)argument, (void)load;
        sim_conn_visit(world, owner);
}

/* Everybody is asked what is next, in some order, while other things happen. */
static void kick(struct world *world, struct worker *worker)
{
        for (struct sim_conn *conn = world->conns; conn != NULL; conn = conn->next) {
                if (conn->at_node && conn->worker == worker)
                        world_in(world, world_random(world, 0, 4), visit, conn, 0);
        }
}

static void settle(struct world *world, struct worker *worker, const struct letter *letter)
{
        snapshot_unref(worker->snapshot);
        worker->snapshot = snapshot_ref(letter->snapshot);
        check(token_equal(snapshot_token(worker->snapshot), ring_head(worker->ring)));
        sim_worker_plan(world, worker);
        invariants_worker(world, worker);
        kick(world, worker);
}

void sim_worker_plan(struct world *world, struct worker *worker)
{
        const struct node *node = worker->node;
        size_t n;
        const struct event_state *events = snapshot_events(worker->snapshot, &n);

        worker->planned_ahead_ms = node->wall_ahead_ms;
        lifetime_plan(&worker->lifetime, events, n, world->guard_ms, sim_node_wall_ms(world, node),
                      (uint32_t)(world->now_ms - node->start_ms));
}

/* --- drain ---------------------------------------------------------------------------------- */

/* The next one that was not told, of whatever kind. */
static struct sim_conn *untold(struct world *world, const struct worker *worker)
{
        for (struct sim_conn *conn = world->conns; conn != NULL; conn = conn->next) {
                if (conn->at_node && conn->worker == worker && !conn->is_closing &&
                    !conn->was_passed)
                        return conn;
        }
        return NULL;
}

static void close_all(struct world *world, const struct worker *worker)
{
        for (struct sim_conn *conn = world->conns; conn != NULL; conn = conn->next) {
                if (conn->at_node && conn->worker == worker && !conn->is_closing)
                        sim_conn_close(world, conn, CLOSE_DRAIN);
        }
}

/* `argument`: which worker, of which life of its node. */
static void on_drain(struct world *world, void *owner, uint64_t argument, void *load)
{
        struct node *node = owner;
        struct worker *worker;
        struct sim_conn *conn;

        (void)load;
        if (!node->is_alive || node->life != argument / WORKERS_MAX)
                return;
        worker = node->workers[argument % WORKERS_MAX];
        for (uint32_t due = drain_due(&worker->drain, world->now_ms); due > 0; due--) {
                struct goaway goaway;
                uint32_t close_in_ms;

                drain_tell(&worker->drain, &world->rng, world->now_ms, &goaway, &close_in_ms);
                conn = untold(world, worker);
                if (conn != NULL)
                        sim_conn_leave(world, conn, &goaway, close_in_ms);
        }
        if (drain_is_last(&worker->drain, world->now_ms))
                close_all(world, worker);
        else
                world_in(world, drain_next_in_ms(&worker->drain, world->now_ms), on_drain, node,
                         argument);
}

static void take_drain(struct world *world, struct worker *worker, const struct letter *letter)
{
        uint32_t n = 0;

        for (struct sim_conn *conn = world->conns; conn != NULL; conn = conn->next)
                n += conn->at_node && conn->worker == worker && !conn->is_closing;
        drain_begin(&worker->drain, n, letter->within_ms, letter->over_ms, world->now_ms);
        on_drain(world, worker->node, worker->node->life * WORKERS_MAX + worker->index, NULL);
}

static void take_install(struct world *world, struct worker *worker, const struct letter *letter)
{
        struct ring *before = worker->ring, *after = worker->spare;
        struct token base = *snapshot_token(letter->snapshot);

        if (letter->n > 0) {
                base.seq = letter->entries[0]->signal.token.seq - 1;
                base.tag = letter->entries[0]->prev_tag;
        }
        ring_install(after, &base, snapshot_parent(letter->snapshot));
        audiences_forget(worker->audiences);
        for (size_t i = 0; i < letter->n; i++)
                ring_push(after, letter->entries[i]);
        for (struct sim_conn *conn = world->conns; conn != NULL; conn = conn->next) {
                if (conn->at_node && conn->worker == worker)
                        session_rejudge(&conn->session, before, after);
        }
        worker->ring = after;
        worker->spare = before;
        if (ring_head(before)->epoch != 0)
                ring_install(before, ring_head(before), 0);
        memset(worker->confirmed_ms, 0, sizeof(worker->confirmed_ms));
        settle(world, worker, letter);
}

static void on_letter(struct world *world, void *owner, uint64_t argument, void *load)
{
        struct node *node = owner;
        struct letter *letter = load;
        struct worker *worker;

        (void)argument;
        if (!node->is_alive || node->life != letter->life) {
                drop_letter(letter);
                return;
        }
        worker = node->workers[letter->worker];
        switch (letter->kind) {
        case LETTER_INSTALL:
                take_install(world, worker, letter);
                break;
        case LETTER_ENTRIES:
                for (size_t i = 0; i < letter->n; i++)
                        ring_push(worker->ring, letter->entries[i]);
                settle(world, worker, letter);
                break;
        case LETTER_CONFIRMED:
                worker->confirmed_ms[1] = worker->confirmed_ms[0];
                worker->confirmed_ms[0] = letter->posted_ms;
                kick(world, worker);
                break;
        case LETTER_DRAIN:
                take_drain(world, worker, letter);
                break;
        }
        drop_letter(letter);
}

/* --- writing letters ------------------------------------------------------------------------ */

static void post(struct world *world, struct worker *worker, enum letter_kind kind,
                 struct snapshot *snapshot, struct entry *const *entries, size_t n,
                 uint32_t within_ms, uint32_t over_ms)
{
        struct letter *letter = calloc(1, sizeof(*letter) + n * sizeof(letter->entries[0]));
        uint64_t at_ms = world->now_ms + world_random(world, 0, 2);

        check(letter != NULL);
        letter->kind = kind;
        letter->worker = worker->index;
        letter->life = worker->node->life;
        letter->posted_ms = world->now_ms;
        letter->within_ms = within_ms;
        letter->over_ms = over_ms;
        letter->snapshot = snapshot != NULL ? snapshot_ref(snapshot) : NULL;
        for (; letter->n < n; letter->n++)
                letter->entries[letter->n] = entry_ref(entries[letter->n]);
        if (faults_strike(world, FAULT_WORKER_SLOW))
                at_ms += world_random(world, 1, 800);
        if (at_ms < worker->last_letter_ms)
                at_ms = worker->last_letter_ms;
        worker->last_letter_ms = at_ms;
        world_send(world, at_ms - world->now_ms, on_letter, worker->node, 0, letter, drop_letter);
}

void sim_worker_install(struct world *world, struct worker *worker, struct snapshot *snapshot,
                        struct entry *const *entries, size_t n)
{
        post(world, worker, LETTER_INSTALL, snapshot, entries, n, 0, 0);
}

void sim_worker_entries(struct world *world, struct worker *worker, struct entry *const *entries,
                        size_t n, struct snapshot *snapshot)
{
        post(world, worker, LETTER_ENTRIES, snapshot, entries, n, 0, 0);
}

void sim_worker_confirmed(struct world *world, struct worker *worker)
{
        post(world, worker, LETTER_CONFIRMED, NULL, NULL, 0, 0, 0);
}

void sim_worker_drain(struct world *world, struct worker *worker, uint32_t within_ms,
                      uint32_t over_ms)
{
        post(world, worker, LETTER_DRAIN, NULL, NULL, 0, within_ms, over_ms);
}

/* --- its life ------------------------------------------------------------------------------- */

struct worker *sim_worker_create(struct world *world, struct node *node, unsigned index)
{
        struct worker *worker = calloc(1, sizeof(*worker));

        check(worker != NULL);
        worker->node = node;
        worker->index = index;
        check(ring_create(world->ring_capacity, &worker->ring) == OK);
        check(ring_create(world->ring_capacity, &worker->spare) == OK);
        check(audiences_create(&worker->audiences) == OK);
        return worker;
}

void sim_worker_destroy(struct worker *worker)
{
        ring_destroy(worker->ring);
        ring_destroy(worker->spare);
        audiences_destroy(worker->audiences);
        snapshot_unref(worker->snapshot);
        free(worker);
}

void sim_worker_lose_all(struct world *world, struct worker *worker, bool silently)
{
        for (struct sim_conn *conn = world->conns; conn != NULL; conn = conn->next) {
                if (!conn->at_node || conn->worker != worker)
                        continue;
                sim_conn_gone(world, conn);
                if (!silently)
                        sim_device_lost(world, conn);
        }
}

struct sim_conn *sim_worker_accept(struct world *world, struct worker *worker,
                                   struct device *device, const struct token *since, bool malformed)
{
        if (worker->snapshot == NULL || worker->node->is_draining)
                return NULL;
        return sim_conn_open(world, worker, device, since, malformed);
}
