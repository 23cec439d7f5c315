/* tests/sim/sim_node.c -- follower.c once more, step by step, on simulated links, and a node's
 * life. What is decided is decided by the real follower core; what is kept are a real snapshot and
 * a real book. */
#include "tests/sim/sim_node.h"

#include <stdlib.h>
#include <string.h>

#include "tests/sim/invariants.h"
#include "tests/sim/sim_hold.h"
#include "tests/sim/sim_worker.h"

#define TICK_MS 100 /* as in follower.c */

static void feed(struct world *world, struct node *node, const struct follower_input *input,
                 struct sim_read *read);

static void feed_kind(struct world *world, struct node *node, enum follower_input_kind kind,
                      unsigned request)
{
        feed(world, node, &(struct follower_input){ .kind = kind, .request = request }, NULL);
}

int64_t sim_node_wall_ms(const struct world *world, const struct node *node)
{
        return WALL_START_MS + (int64_t)world->now_ms + node->wall_ahead_ms;
}

/* --- the core's shell ----------------------------------------------------------------------- */

static void on_answer(struct world *world, struct call *call, bool answered)
{
        struct node *node = call->node;
        struct follower_input input = { .kind = call->kind == CALL_HEAD ? FOLLOWER_HEAD
                                                                        : FOLLOWER_RANGE,
                                        .token = call->place.token,
                                        .entries = call->entries,
                                        .request = call->request };
        unsigned times = 1;

        if (!node->is_alive)
                return;
        if (!answered) {
                feed_kind(world, node, FOLLOWER_FAILED, call->request);
                return;
        }
        node->answered_ms = world->now_ms;
        while (input.n < call->n_entries && call->entries[input.n] != NULL)
                input.n++;
        if (faults_strike(world, FAULT_REPLY_DOUBLE))
                times = 2;
        for (unsigned i = 0; i < times; i++)
                feed(world, node, &input, NULL);
}

/* As in follower.c: nothing is confirmed to devices while something may be held back. */
static void on_held(struct world *world, struct call *call, bool answered)
{
        (void)world;
        if (answered && call->node->is_alive && call->request == call->node->held_request)
                call->node->may_be_held = call->is_held;
}

static void ask_held(struct world *world, struct node *node, unsigned request)
{
        struct call *call = sim_redis_new_call(CALL_HELD, on_held, NULL);

        call->request = node->held_request = request;
        sim_redis_call(world, node, call);
}

static void ask(struct world *world, struct node *node, const struct follower_actions *actions)
{
        bool may_hold_back = world->durability.mode == DURABILITY_REPLICATED;
        struct call *call;

        if (actions->ask == FOLLOWER_ASK_NOTHING)
                return;
        if (!node->links.up[LINK_CALLS]) {
                feed_kind(world, node, FOLLOWER_FAILED, actions->request);
                return;
        }
        if (actions->ask == FOLLOWER_ASK_STATE) {
                sim_reader_start(world, node, actions->request);
                return;
        }
        node->may_be_held = may_hold_back;
        if (may_hold_back && actions->ask == FOLLOWER_ASK_HEAD)
                ask_held(world, node, actions->request);
        call = sim_redis_new_call(actions->ask == FOLLOWER_ASK_HEAD ? CALL_HEAD : CALL_RANGE,
                                  on_answer, node);
        call->request = actions->request;
        call->witness = *follower_core_witness(&node->core);
        call->from = actions->range_from;
        call->to = actions->range_from + FOLLOWER_RANGE_COUNT - 1;
        sim_redis_call(world, node, call);
}

static void install(struct world *world, struct node *node, const struct follower_input *input,
                    struct sim_read *read)
{
        world_tell(world, WHO_NODE, node->index, "installs %u.%t with %u entries", input->token.seq,
                   input->token.tag, input->n);
        snapshot_unref(node->snapshot);
        node->snapshot = snapshot_ref(read->snapshot);
        check(book_merge(read->book, node->book) == OK);
        book_destroy(node->book);
        node->book = read->book;
        read->book = NULL;
        invariants_node(world, node, true);
        for (unsigned i = 0; i < node->n_workers; i++)
                sim_worker_install(world, node->workers[i], node->snapshot, input->entries,
                                   input->n);
}

static void deliver(struct world *world, struct node *node, struct entry *const *entries, size_t n)
{
        world_tell(world, WHO_NODE, node->index, "takes %u entries, up to %u.%t", n,
                   entries[n - 1]->signal.token.seq, entries[n - 1]->signal.token.tag);
        for (size_t i = 0; i < n; i++) {
                struct snapshot *next = snapshot_after(node->snapshot, &entries[i]->signal);
                const char *record = entries[i]->record;

                check(next != NULL && record != NULL);
                check(book_put(node->book, record, strlen(record)) == OK);
                snapshot_unref(node->snapshot);
                node->snapshot = next;
                invariants_node(world, node, false);
        }
        for (unsigned i = 0; i < node->n_workers; i++)
                sim_worker_entries(world, node->workers[i], entries, n, node->snapshot);
}

static void feed(struct world *world, struct node *node, const struct follower_input *input,
                 struct sim_read *read)
{
        static const char *const trust[] = { "sure", "in doubt", "sure that it broke" };
        enum follower_trust before = node->core.trust;
        struct follower_actions actions;

        follower_step(&node->core, input, world->now_ms, &actions);
        if (node->core.trust != before)
                world_tell(world, WHO_NODE, node->index, "is %s",
                           trace_text(trust[node->core.trust]));
        if (actions.install)
                install(world, node, input, read);
        if (actions.deliver_n > 0)
                deliver(world, node, input->entries + actions.deliver_from, actions.deliver_n);
        for (unsigned i = 0; actions.confirmed && !node->may_be_held && i < node->n_workers; i++)
                sim_worker_confirmed(world, node->workers[i]);
        ask(world, node, &actions);
}

void sim_node_vouch(struct world *world, struct node *node, const struct token *token,
                    const struct event *event, bool is_replay)
{
        struct rank rank = { token_generation(event->epoch), event->state.version };
        struct rank *told = &node->told[(unsigned)(event->state.event[1] - '0')];
        char *record;

        (void)world;
        if (!node->is_alive)
                return;
        record = event_format(event);
        check(record != NULL);
        follower_core_vouch(&node->core, token, is_replay);
        if (token->epoch != node->core.head.epoch &&
            !book_holds(node->book, record, strlen(record)))
                follower_core_distrust(&node->core);
        check(book_put(node->book, record, strlen(record)) == OK);
        free(record);
        if (rank.generation > told->generation ||
            (rank.generation == told->generation && rank.version > told->version))
                *told = rank;
}

void sim_node_on_state(struct world *world, struct node *node, unsigned request,
                       struct sim_read *read)
{
        struct follower_input input = {
                .kind = FOLLOWER_STATE, .entries = read->entries, .n = read->n, .request = request
        };

        if (!node->is_alive)
                return;
        if (read->snapshot == NULL) {
                feed_kind(world, node, FOLLOWER_FAILED, request);
                return;
        }
        input.token = *snapshot_token(read->snapshot);
        feed(world, node, &input, read);
}

void sim_node_on_message(struct world *world, struct node *node, struct entry *entry)
{
        struct follower_input input = { .kind = FOLLOWER_MESSAGE,
                                        .entries = &entry,
                                        .n = entry != NULL };

        feed(world, node, &input, NULL);
}

void sim_node_on_links(struct world *world, struct node *node)
{
        bool up = node->links.up[LINK_CALLS] && node->links.up[LINK_MESSAGES];

        if (up != node->core.link_up)
                feed_kind(world, node, up ? FOLLOWER_LINK_UP : FOLLOWER_LINK_DOWN, 0);
}

static void on_tick(struct world *world, void *owner, uint64_t life, void *load)
{
        struct node *node = owner;

        (void)load;
        if (!node->is_alive || node->life != life)
                return;
        feed_kind(world, node, FOLLOWER_TICK, 0);
        invariants_node_sight(world, node);
        invariants_node_loss(world, node);
        world_in(world, TICK_MS, on_tick, node, life);
}

/* --- its life ------------------------------------------------------------------------------- */

static void start(struct world *world, void *owner, uint64_t life, void *load)
{
        struct node *node = owner;

        (void)load;
        if (node->is_alive || node->life != life)
                return;
        world_tell(world, WHO_NODE, node->index, "starts");
        node->life++;
        node->is_alive = true;
        node->is_draining = false;
        /* The sessions' clock wraps after 49 days: some nodes are that old soon. */
        node->start_ms = world->now_ms;
        if (world_chance(world, 200))
                node->start_ms -= UINT32_MAX - world_random(world, 0, 60000);
        follower_core_init(&node->core);
        node->answered_ms = node->troubled_ms = node->lost_ms = 0;
        node->highest = node->held = (struct token){ .epoch = 0 };
        memset(node->newest, 0, sizeof(node->newest));
        memset(node->told, 0, sizeof(node->told));
        check(book_create(&node->book) == OK);
        node->n_workers = (unsigned)world_random(world, 1, WORKERS_MAX);
        for (unsigned i = 0; i < node->n_workers; i++)
                node->workers[i] = sim_worker_create(world, node, i);
        sim_redis_connect(world, node);
        on_tick(world, node, node->life, NULL);
        if (world->durability.mode == DURABILITY_REPLICATED)
                sim_hold_start_releaser(world, node);
}

static void die(struct world *world, struct node *node, bool silently)
{
        node->is_alive = false;
        sim_reader_stop(node);
        sim_hold_forget(world, node);
        sim_redis_forget(world, node);
        for (unsigned i = 0; i < node->n_workers; i++) {
                sim_worker_lose_all(world, node->workers[i], silently);
                sim_worker_destroy(node->workers[i]);
        }
        node->n_workers = 0;
        snapshot_unref(node->snapshot);
        node->snapshot = NULL;
        book_destroy(node->book);
        node->book = NULL;
}

void sim_node_crash(struct world *world, struct node *node, uint64_t back_in_ms)
{
        bool silently = world_chance(world, 200);

        world_tell(world, WHO_NODE, node->index, "crashes, back in %u ms", back_in_ms);
        die(world, node, silently);
        world_in(world, back_in_ms, start, node, node->life);
}

static void drained(struct world *world, void *owner, uint64_t life, void *load)
{
        struct node *node = owner;

        (void)load;
        if (!node->is_alive || node->life != life)
                return;
        world_tell(world, WHO_NODE, node->index, "is drained");
        die(world, node, false);
        world_in(world, world_random(world, 10, 2000), start, node, node->life);
}

void sim_node_drain(struct world *world, struct node *node, uint32_t within_ms, uint32_t over_ms)
{
        if (node->is_draining)
                return;
        world_tell(world, WHO_NODE, node->index, "drains within %u ms, told over %u ms", within_ms,
                   over_ms);
        node->is_draining = true;
        for (unsigned i = 0; i < node->n_workers; i++)
                sim_worker_drain(world, node->workers[i], within_ms, over_ms);
        world_in(world, within_ms, drained, node, node->life); /* whoever is left */
}

void sim_node_heal(struct world *world, struct node *node)
{
        node->links.silent_until_ms = 0;
        if (!node->is_alive)
                start(world, node, node->life, NULL);
}

struct node *sim_node_create(struct world *world, unsigned index)
{
        struct node *node = calloc(1, sizeof(*node));

        check(node != NULL);
        node->index = index;
        node->wall_ahead_ms = (int64_t)world_random(world, 0, 400) - 200;
        world_in(world, world_random(world, 0, 500), start, node, 0);
        return node;
}

void sim_node_destroy(struct world *world, struct node *node)
{
        check(world->over); /* nobody is told any more */
        if (node->is_alive)
                die(world, node, true);
        free(node);
}
