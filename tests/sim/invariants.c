/* tests/sim/invariants.c -- the questions that can be asked at every step, and what is said when an
 * answer is wrong. */
#include "tests/sim/invariants.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "fanout/ring.h"
#include "tests/sim/sim_conn.h"
#include "tests/sim/sim_device.h"
#include "tests/sim/sim_node.h"

#define LOSS_MS      5000 /* head once a second, state twice a second, waits of 500 and 300 ms */
#define LOSS_MS_SLOW 9000 /* and a lost answer is awaited for up to 6 s instead of 2 */

/* --- states --------------------------------------------------------------------------------- */

/* Whoever holds `states` says that this is the state at `token`: is it? */
static const struct past *expect_state(struct world *world, const char *who, unsigned index,
                                       const struct token *token, const struct event_state *states,
                                       size_t n)
{
        const struct past *past = history_find(&world->history, token);

        if (past == NULL)
                invariants_broken(world, "line 2 no_phantoms",
                                  "%s %u is at %" PRIu64 ".%04x, which never was", who, index,
                                  token->seq, (unsigned)(token->tag & 0xffff));
        if (past->state != history_hash_all(states, n))
                invariants_broken(world, "line 6 no_silent_gap",
                                  "%s %u is at %" PRIu64 ".%04x, but holds another state", who,
                                  index, token->seq, (unsigned)(token->tag & 0xffff));
        return past;
}

static bool is_earlier(struct rank a, struct rank b)
{
        return a.generation < b.generation ||
               (a.generation == b.generation && a.version < b.version);
}

static unsigned number_of(const char *event)
{
        unsigned number = (unsigned)atoi(event + 1);

        check(number < EVENTS_AT_ALL);
        return number;
}

/* What the node now remembers of each event, or of the one that was changed last. */
static void take_ranks(const struct node *node, const struct past *past, bool installed,
                       struct rank ranks[EVENTS_AT_ALL])
{
        struct book_record records[EVENTS_AT_ALL];
        size_t n;

        if (!installed) {
                unsigned event = number_of(past->signal.state.event);
                struct rank rank = { token_generation(past->token.epoch),
                                     past->signal.state.version };

                memcpy(ranks, node->newest, sizeof(node->newest));
                /* What it told a producer it remembers before the log brings it. */
                if (!is_earlier(rank, ranks[event]) || is_earlier(node->told[event], ranks[event]))
                        ranks[event] = rank;
                return;
        }
        memset(ranks, 0, sizeof(node->newest));
        n = book_later_than(node->book, NULL, 0, records, EVENTS_AT_ALL);
        for (size_t i = 0; i < n; i++) {
                struct event event;

                check(event_parse(records[i].record, strlen(records[i].record), &event) == OK);
                ranks[number_of(records[i].event)] =
                    (struct rank){ token_generation(event.epoch), event.state.version };
        }
}

/* A node never goes back, and never lets go of a later record: not even over many epochs. */
static void expect_node_forward(struct world *world, struct node *node, const struct past *past,
                                bool installed)
{
        const struct token *now = &past->token, *before = &node->highest;
        struct rank ranks[EVENTS_AT_ALL];

        if (before->epoch != 0 &&
            (now->epoch == before->epoch
                 ? now->seq < before->seq
                 : token_generation(now->epoch) <= token_generation(before->epoch)))
                invariants_broken(world, "line 7 never_backwards",
                                  "node %u: to %" PRIu64 " of generation %u after %" PRIu64
                                  " of %u",
                                  node->index, now->seq, token_generation(now->epoch), before->seq,
                                  token_generation(before->epoch));
        take_ranks(node, past, installed, ranks);
        for (unsigned event = 0; event < EVENTS_AT_ALL; event++) {
                if (is_earlier(ranks[event], node->newest[event]))
                        invariants_broken(world, "line 7 nothing_forgotten",
                                          "node %u: event e%u is at version %" PRIu64
                                          " of generation %u, it was at %" PRIu64 " of %u",
                                          node->index, event, ranks[event].version,
                                          ranks[event].generation, node->newest[event].version,
                                          node->newest[event].generation);
        }
        node->highest = *now;
        memcpy(node->newest, ranks, sizeof(ranks));
}

static struct note *note_on(struct notes *notes, uint64_t epoch)
{
        struct note *note;

        for (unsigned i = 0; i < EPOCHS_NOTED; i++) {
                if (notes->of[i].last.epoch == epoch)
                        return &notes->of[i];
        }
        note = &notes->of[notes->next++ % EPOCHS_NOTED];
        *note = (struct note){ .last = { .epoch = epoch } };
        return note;
}

/* May a log that a node follows be without this place? */
static bool may_be_gone(const struct world *world, const struct token *place,
                        const struct token *now)
{
        const struct past *past = history_find(&world->history, place);

        if (past != NULL && place->epoch == now->epoch && place->seq <= now->seq)
                return !history_is_before(&world->history, place, now);
        return past != NULL && (past->lost || past->on == 0 || world->counted_failovers > 0);
}

/* Within an epoch a device is led back by nothing but a reset, and only from a place that a log had
 * to do without since; also if it was in another epoch meanwhile. */
static void expect_device_forward(struct world *world, struct device *device, bool was_reset)
{
        const struct token *place = &device->place;
        struct note *note = note_on(&device->notes, place->epoch);
        uint64_t now[EVENTS_AT_ALL] = { 0 };
        bool leads_back = place->seq < note->last.seq;

        for (size_t i = 0; i < device->n_states; i++)
                now[number_of(device->states[i].event)] = device->states[i].version;
        for (unsigned event = 0; event < EVENTS_AT_ALL; event++)
                leads_back |= now[event] < note->newest[event];
        if (leads_back && (!was_reset || !may_be_gone(world, &note->last, place)))
                invariants_broken(world, "line 7 never_backwards",
                                  "device %u: to %" PRIu64 " after %" PRIu64 " of the same epoch",
                                  device->index, place->seq, note->last.seq);
        note->last = *place;
        memcpy(note->newest, now, sizeof(now));
}

void invariants_node(struct world *world, struct node *node, bool installed)
{
        const struct token *token = snapshot_token(node->snapshot);
        size_t n;
        const struct event_state *states = snapshot_events(node->snapshot, &n);
        const struct past *past;

        if (installed && !token_equal(token, &node->core.head))
                invariants_broken(world, "line 6 no_silent_gap",
                                  "node %u installed what it did not say", node->index);
        past = expect_state(world, "node", node->index, token, states, n);
        if (past->shown_ms == 0)
                invariants_broken(world, "line 2 no_phantoms",
                                  "node %u is at %" PRIu64 ", which is held back", node->index,
                                  token->seq);
        expect_node_forward(world, node, past, installed);
}

/* --- sight ---------------------------------------------------------------------------------- */

static uint64_t later(uint64_t a, uint64_t b)
{
        return a > b ? a : b;
}

/* The server that this node follows, if it can be reached; NULL = none. */
static const struct server *followed(const struct world *world, const struct node *node)
{
        const struct server *server = &world->servers[node->links.server[LINK_CALLS]];

        return node->links.up[LINK_CALLS] && server->is_up && server->is_primary ? server : NULL;
}

/* For how long has that log been ahead of this node? */
static uint64_t behind_ms(const struct world *world, const struct node *node,
                          const struct server *server)
{
        const struct token *head = &node->core.head;
        struct model_op *next;
        const struct past *past;

        if (model_head(server->model, head).token.epoch != head->epoch ||
            model_range(server->model, head->seq + 1, head->seq + 1, 1, head, &next) == 0 ||
            next->prev != head->tag)
                return 0;
        past = &world->history.pasts[next->past];
        return past->shown_ms != 0
                   ? world->now_ms - later(past->shown_ms, past->released_ms[server->index])
                   : 0;
}

void invariants_node_sight(struct world *world, struct node *node)
{
        const struct server *server = followed(world, node);

        if (follower_is_stale(&node->core, world->now_ms))
                return;
        if (world->now_ms - node->answered_ms > FOLLOWER_STALE_MS)
                invariants_broken(world, "line 8 blindness",
                                  "node %u heard nothing for %" PRIu64 " ms and is content",
                                  node->index, world->now_ms - node->answered_ms);
        if (server == NULL ||
            world->now_ms - later(node->links.since_ms[LINK_CALLS], server->promoted_ms) <
                FOLLOWER_STALE_MS)
                return; /* what it heard of another one may still do */
        if (behind_ms(world, node, server) > FOLLOWER_STALE_MS)
                invariants_broken(world, "line 8 blindness",
                                  "node %u is behind for %" PRIu64 " ms and is content",
                                  node->index, behind_ms(world, node, server));
}

/* Does the log that it follows lack what this node holds? */
static bool is_lost_there(const struct server *server, const struct token *head)
{
        struct model_record *unused[1];
        uint64_t there = model_data(server->model)->meta.epoch;
        bool lost = false;

        if (there != head->epoch)
                return token_generation(there) <= token_generation(head->epoch);
        (void)model_state(server->model, head, 0, unused, &lost);
        return lost;
}

void invariants_node_loss(struct world *world, struct node *node)
{
        const struct server *server = followed(world, node);
        bool is_held = false;
        uint64_t since_ms;

        if (server != NULL)
                (void)model_tail(server->model, &is_held);

        if (server == NULL || node->core.head.epoch == 0 || !node->links.up[LINK_MESSAGES] ||
            sim_redis_is_silent(world, node) || world->now_ms < server->still_until_ms ||
            is_held) /* what is held back has to be released first */
                node->troubled_ms = later(node->troubled_ms, world->now_ms);
        if (server == NULL || node->core.head.epoch == 0 ||
            !is_lost_there(server, &node->core.head)) {
                node->lost_ms = 0;
                return;
        }
        if (node->lost_ms == 0)
                node->lost_ms = world->now_ms;
        since_ms = later(later(node->lost_ms, node->troubled_ms), server->hurt_ms);
        since_ms = later(
            since_ms, later(node->links.since_ms[LINK_CALLS], node->links.since_ms[LINK_MESSAGES]));
        if (world->now_ms > since_ms &&
            world->now_ms - since_ms > (world->breaks_links ? LOSS_MS : LOSS_MS_SLOW))
                invariants_broken(world, "line 7 new_epoch",
                                  "node %u holds %" PRIu64 ", which the log lost, for %" PRIu64
                                  " ms without a new epoch",
                                  node->index, node->core.head.seq, world->now_ms - since_ms);
}

/* --- workers -------------------------------------------------------------------------------- */

/* Nothing in this run takes entries away but age. */
static bool log_is_whole(const struct world *world)
{
        const unsigned *rate = world->faults.rate;

        return !faults_may_lose(world) && rate[FAULT_REDIS_TRIM] == 0 &&
               rate[FAULT_UNREADABLE] == 0;
}

void invariants_worker(struct world *world, struct worker *worker)
{
        const struct token *head = ring_head(worker->ring);
        seqno kept = head->seq - ring_oldest_cursor(worker->ring);
        seqno promised = head->seq < world->ring_capacity ? head->seq : world->ring_capacity;
        unsigned index = worker->node->index;
        size_t n;
        const struct event_state *states = snapshot_events(worker->snapshot, &n);

        expect_state(world, "a worker of node", index, head, states, n);
        if (kept > world->ring_capacity)
                invariants_broken(world, "line 11 bounds", "the ring of node %u keeps %" PRIu64,
                                  index, kept);
        if (log_is_whole(world) && kept < promised)
                invariants_broken(world, "line 5 at_least_once",
                                  "the ring of node %u keeps %" PRIu64 " of %" PRIu64, index, kept,
                                  promised);
}

/* The planned start of an event that is to come, or the start that was announced; 0 = none. */
static int64_t start_of(const struct event_state *event)
{
        if (strcmp(event->stage, "ended") == 0 || strcmp(event->stage, "cancelled") == 0)
                return 0;
        return strcmp(event->stage, "live") == 0 ? event->at : event->starts_at;
}

/* Who has been held back for as long as can be goes, whatever is planned. */
static void expect_no_start_near(struct world *world, const struct sim_conn *conn)
{
        const struct worker *worker = conn->worker;
        int64_t wall_ms = WALL_START_MS + (int64_t)world->now_ms + worker->planned_ahead_ms;
        int64_t guard_ms = world->guard_ms;
        size_t n;
        const struct event_state *events = snapshot_events(worker->snapshot, &n);

        for (size_t i = 0; i < n && conn->session.held < UINT8_MAX; i++) {
                int64_t start_ms = start_of(&events[i]);

                if (start_ms != 0 && wall_ms >= start_ms - guard_ms &&
                    wall_ms < start_ms + guard_ms)
                        invariants_broken(world, "line 10 drain_and_recycle",
                                          "device %u was told to leave %" PRId64 " ms from a start",
                                          conn->device->index, wall_ms - start_ms);
        }
}

/* The end lies within the last tenth (session.c), and a lifetime later at most if it was held back;
 * the device joined a little before it was greeted. */
void invariants_recycled(struct world *world, const struct sim_conn *conn)
{
        uint64_t age_ms = world->now_ms - conn->opened_ms;

        if (age_ms < world->lifetime_ms - world->lifetime_ms / 10 ||
            age_ms > 2 * (uint64_t)world->lifetime_ms + 5000)
                invariants_broken(world, "line 10 drain_and_recycle",
                                  "device %u was told to leave after %" PRIu64 " ms of %u",
                                  conn->device->index, age_ms, world->lifetime_ms);
        expect_no_start_near(world, conn);
}

void invariants_conn(struct world *world, const struct sim_conn *conn)
{
        const struct session *session = &conn->session;

        if (!conn->at_node || conn->is_closing)
                return;
        if (conn->n_pending > PENDING_MAX || conn->n_queue > SOCKET_MAX)
                invariants_broken(world, "line 11 bounds", "%u frames wait for device %u",
                                  conn->n_pending, conn->device->index);
        if (session->has_place && session->pending_reset == 0 && session->acked > session->cursor)
                invariants_broken(world, "line 4 one_order",
                                  "device %u acknowledged what it was not sent",
                                  conn->device->index);
}

/* --- devices -------------------------------------------------------------------------------- */

/* The mode's promise was kept before it was shown. */
static void expect_shown(struct world *world, const struct device *device, const struct past *past)
{
        if (past == NULL)
                return; /* expect_state() says so */
        if (!past->safe)
                invariants_broken(world, "line 2 no_phantoms",
                                  "device %u was sent %" PRIu64 " before its sync", device->index,
                                  past->token.seq);
        if (past->shown_ms == 0 || !invariants_has_copies(world, past))
                invariants_broken(world, "line 2 no_phantoms",
                                  "device %u was shown %" PRIu64
                                  ", which fewer than %u replicas hold",
                                  device->index, past->token.seq, world->durability.replicas);
}

void invariants_device_signal(struct world *world, struct device *device,
                              const struct signal *signal)
{
        const struct token *token = &signal->token, *place = &device->place;
        const struct past *past = history_find(&world->history, token);

        if (past == NULL || !history_same(&past->signal.state, &signal->state) ||
            past->signal.kind != signal->kind || past->signal.sent != signal->sent ||
            past->signal.window_ms != signal->window_ms)
                invariants_broken(world, "line 2 no_phantoms",
                                  "device %u was sent %" PRIu64 ", which nobody committed",
                                  device->index, token->seq);
        expect_shown(world, device, past);
        if (token->epoch != place->epoch || token->seq != place->seq + 1)
                invariants_broken(world, "line 4 one_order",
                                  "device %u: %" PRIu64 " after %" PRIu64, device->index,
                                  token->seq, place->seq);
        if (past->prev != place->tag)
                invariants_broken(world, "line 6 no_silent_gap",
                                  "device %u: %" PRIu64 " follows another %" PRIu64 " than it has",
                                  device->index, token->seq, place->seq);
        if (!invariants_is_for(device, past))
                invariants_broken(world, "line 4 only_theirs",
                                  "device %u was sent %" PRIu64 ", which is not for it",
                                  device->index, token->seq);
}

void invariants_device_reset(struct world *world, struct device *device, const struct token *token,
                             enum reset_reason reason)
{
        const struct token *place = &device->place;
        bool has_cause = true;

        expect_shown(world, device, history_find(&world->history, token));

        switch (reason) {
        case RESET_NEW:
                has_cause = place->epoch == 0;
                break;
        case RESET_TRIMMED:
                has_cause = token->epoch != place->epoch || token->seq > place->seq ||
                            may_be_gone(world, place, token);
                break;
        case RESET_FORKED:
                /* Its place is gone, or its epoch was continued by another: not always by the one
                 * it is led to, for the node may have been to several before the device took the
                 * reset. */
                has_cause = token->epoch == place->epoch
                                ? may_be_gone(world, place, token)
                                : history_has_heir(&world->history, place->epoch);
                break;
        case RESET_UNKNOWN:
                /* To an earlier generation only if a log is without the later one. */
                has_cause = token->epoch != place->epoch &&
                            (token_generation(token->epoch) >= token_generation(place->epoch) ||
                             world->faults.rate[FAULT_REDIS_LOSE_META] > 0 || /* nobody knew */
                             may_be_gone(world, place, token));
                has_cause = has_cause || device->sent_garbage;
                break;
        case RESET_REASONS:
                has_cause = false;
                break;
        }
        if (device->sent_garbage) /* it said that it knows nothing: it begins anew */
                device->notes = (struct notes){ .next = 0 };
        device->sent_garbage = false;
        if (!has_cause)
                invariants_broken(world, "line 5 at_least_once",
                                  "device %u at %" PRIu64 " was reset (%s) without a cause",
                                  device->index, place->seq, reset_reason_name[reason]);
}

void invariants_device_state(struct world *world, struct device *device, bool was_reset)
{
        const struct token *place = &device->place;
        struct event_state states[EVENTS_AT_ALL];
        size_t n;

        if (was_reset)
                memset(device->passed, 0, sizeof(device->passed));
        n = invariants_whole_state(device, states);
        if (!token_equal(place, &device->core.token))
                invariants_broken(world, "line 6 no_silent_gap",
                                  "device %u is not where its SDK is", device->index);
        expect_state(world, "device", device->index, place, states, n);
        expect_device_forward(world, device, was_reset);
}

void invariants_device_closes(struct world *world, const struct device *device,
                              enum close_reason reason, const char *why)
{
        if (reason != CLOSE_NORMAL)
                invariants_broken(world, "line 6 no_silent_gap",
                                  "device %u gave up on its node: %s", device->index, why);
}

void invariants_node_closes(struct world *world, const struct sim_conn *conn,
                            enum close_reason reason)
{
        if (reason == CLOSE_DRAIN && !conn->heard_goaway)
                invariants_broken(
                    world, "line 10 drain_and_recycle",
                    "device %u was closed for a drain without having been asked to leave",
                    conn->device->index);
        if (reason == CLOSE_IDLE && world->now_ms - conn->pong_ms < SESSION_PONG_WAIT_MS)
                invariants_broken(world, "line 11 no_harm",
                                  "device %u was closed as idle %" PRIu64 " ms after its pong",
                                  conn->device->index, world->now_ms - conn->pong_ms);
        if (close_table[reason].is_error && reason != CLOSE_TOO_SLOW)
                invariants_broken(world, "line 11 no_harm", "device %u was closed: %s",
                                  conn->device->index, close_table[reason].name);
}
