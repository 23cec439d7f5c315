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

#define KEYS_LOOKED_BACK 400 /* commits; a producer gives up long before */

/* --- commits -------------------------------------------------------------------------------- */

void invariants_committed(struct world *world, const struct past *past)
{
        const struct history *history = &world->history;
        struct token before = { past->token.epoch, past->token.seq - 1, past->prev };
        const struct past *last = history_find(history, &before);
        unsigned this = (unsigned)(past - history->pasts);
        bool has_version = false;

        if (last == NULL || last->lost)
                invariants_broken(world, "line 4 one_order",
                                  "%" PRIu64 " does not follow what the log has", past->token.seq);
        for (unsigned i = this; i > 0 && !has_version; i--) {
                const struct past *other = &history->pasts[i - 1];

                if (other->lost || other->wiped ||
                    strcmp(other->signal.state.event, past->signal.state.event) != 0)
                        continue;
                has_version = true;
                if (past->signal.state.version != other->signal.state.version + 1)
                        invariants_broken(world, "line 13 one_winner",
                                          "version %" PRIu64 " after %" PRIu64,
                                          past->signal.state.version, other->signal.state.version);
        }
        for (unsigned i = this; i > 0 && this - i < KEYS_LOOKED_BACK; i--) {
                const struct past *other = &history->pasts[i - 1];

                if (!other->lost && !other->wiped && other->key[0] != '\0' &&
                    strcmp(other->key, past->key) == 0)
                        invariants_broken(world, "line 3 same_key",
                                          "key %s made %" PRIu64 " and %" PRIu64, past->key,
                                          other->token.seq, past->token.seq);
        }
        for (unsigned i = 0; i < this && world->epochs; i++) {
                /* One that crashed before its sync was heard of by nobody. */
                if (history->pasts[i].safe && history->pasts[i].token.epoch == past->token.epoch &&
                    history->pasts[i].token.seq == past->token.seq)
                        invariants_broken(world, "line 7 new_epoch",
                                          "%" PRIu64 " was given a second time in one epoch",
                                          past->token.seq);
        }
}

void invariants_acknowledged(struct world *world, const char *key, const struct token *token,
                             uint64_t version, uint64_t wanted)
{
        struct past *past = history_find(&world->history, token);

        if (past == NULL || strcmp(past->key, key) != 0)
                invariants_broken(world, "line 3 same_key",
                                  "a producer was told %" PRIu64 ", not its own", token->seq);
        if (!past->safe)
                invariants_broken(world, "line 1 durable",
                                  "%" PRIu64 " was acknowledged before its sync", token->seq);
        if (wanted != 0 && version != wanted)
                invariants_broken(world, "line 13 one_winner",
                                  "expected to make version %" PRIu64 ", made %" PRIu64, wanted,
                                  version);
        past->acknowledged = true;
}

void invariants_lost(struct world *world, const struct past *past, bool rolled_back)
{
        if (world->server.fsync && !rolled_back && past->acknowledged)
                invariants_broken(world, "line 1 durable",
                                  "%" PRIu64 " was acknowledged, and a crash lost it",
                                  past->token.seq);
}

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

static struct note *note_on(const struct world *world, struct notes *notes, uint64_t epoch)
{
        struct note *note;

        for (unsigned i = 0; i < EPOCHS_NOTED; i++) {
                if (notes->of[i].epoch == epoch)
                        return &notes->of[i];
        }
        if (!world->epochs)
                notes->next = 0;
        note = &notes->of[notes->next++ % EPOCHS_NOTED];
        *note = (struct note){ .epoch = epoch };
        return note;
}

/* `forgets`: a reset or an install. It may lead back if this epoch lost something and goes on under
 * the same name. */
static void expect_forward(struct world *world, const char *who, unsigned index, bool forgets,
                           const struct token *token, const struct event_state *states, size_t n,
                           struct notes *notes)
{
        struct note *note = note_on(world, notes, token->epoch);
        uint64_t now[EVENTS_AT_ALL] = { 0 };
        bool leads_back = token->seq < note->highest;

        for (size_t i = 0; i < n; i++) {
                unsigned event = (unsigned)atoi(states[i].event + 1);

                check(event < EVENTS_AT_ALL);
                now[event] = states[i].version;
        }
        for (unsigned event = 0; event < EVENTS_AT_ALL; event++)
                leads_back |= now[event] < note->newest[event];
        if (leads_back &&
            (!forgets || world->epochs || !history_epoch_is_broken(&world->history, token->epoch)))
                invariants_broken(world, "line 7 never_backwards",
                                  "%s %u: to %" PRIu64 " after %" PRIu64 " of the same epoch", who,
                                  index, token->seq, note->highest);
        note->highest = token->seq;
        memcpy(note->newest, now, sizeof(now));
}

void invariants_node(struct world *world, struct node *node, bool installed)
{
        const struct token *token = snapshot_token(node->snapshot);
        size_t n;
        const struct event_state *states = snapshot_events(node->snapshot, &n);

        if (installed && !token_equal(token, &node->core.head))
                invariants_broken(world, "line 6 no_silent_gap",
                                  "node %u installed what it did not say", node->index);
        expect_state(world, "node", node->index, token, states, n);
        expect_forward(world, "node", node->index, installed, token, states, n, &node->notes);
}

/* --- sight ---------------------------------------------------------------------------------- */

/* For how long has the log been ahead of this node? */
static uint64_t behind_ms(const struct world *world, const struct node *node)
{
        const struct history *history = &world->history;
        const struct past *at = history_find(history, &node->core.head);

        if (at == NULL || at->lost)
                return 0;
        for (unsigned i = (unsigned)(at - history->pasts) + 1; i < history->n; i++) {
                const struct past *next = &history->pasts[i];

                if (next->prev == at->token.tag && next->token.epoch == at->token.epoch &&
                    !next->lost)
                        return world->now_ms - next->sent_ms;
        }
        return 0;
}

void invariants_node_sight(struct world *world, struct node *node)
{
        struct token head = model_head(world->server.model);
        bool says_fine = !follower_is_stale(&node->core, world->now_ms);

        if (!says_fine)
                return;
        if (world->now_ms - node->answered_ms > FOLLOWER_STALE_MS)
                invariants_broken(world, "line 8 blindness",
                                  "node %u heard nothing for %" PRIu64 " ms and is content",
                                  node->index, world->now_ms - node->answered_ms);
        if (head.epoch == node->core.head.epoch && head.seq > node->core.head.seq &&
            behind_ms(world, node) > FOLLOWER_STALE_MS)
                invariants_broken(world, "line 8 blindness",
                                  "node %u is behind for %" PRIu64 " ms and is content",
                                  node->index, behind_ms(world, node));
}

/* --- workers -------------------------------------------------------------------------------- */

/* Nothing in this run takes entries away but age. */
static bool log_is_whole(const struct world *world)
{
        const unsigned *rate = world->faults.rate;

        return !faults_may_lose(world) && rate[FAULT_REDIS_WIPE] == 0 &&
               rate[FAULT_REDIS_LOSE_META] == 0 && rate[FAULT_REDIS_TRIM] == 0 &&
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

/* The end lies within the last fifth (session.c); the device joined a little before it was greeted.
 */
void invariants_recycled(struct world *world, const struct sim_conn *conn)
{
        if (world->now_ms - conn->opened_ms < world->lifetime_ms - world->lifetime_ms / 5)
                invariants_broken(world, "line 10 drain_and_recycle",
                                  "device %u was told to leave after %" PRIu64 " ms of %u",
                                  conn->device->index, world->now_ms - conn->opened_ms,
                                  world->lifetime_ms);
}

void invariants_conn(struct world *world, const struct sim_conn *conn)
{
        const struct session *session = &conn->session;

        if (!conn->at_node || conn->is_closing)
                return;
        if (conn->n_pending > PENDING_MAX || conn->n_queue > SOCKET_MAX)
                invariants_broken(world, "line 11 bounds", "%u frames wait for device %u",
                                  conn->n_pending, conn->device->index);
        if (session->pending_reset == 0 && session->acked > session->cursor)
                invariants_broken(world, "line 4 one_order",
                                  "device %u acknowledged what it was not sent",
                                  conn->device->index);
}

/* --- devices -------------------------------------------------------------------------------- */

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
        if (!past->safe)
                invariants_broken(world, "line 2 no_phantoms",
                                  "device %u was sent %" PRIu64 " before its sync", device->index,
                                  token->seq);
        if (token->epoch != place->epoch || token->seq != place->seq + 1)
                invariants_broken(world, "line 4 one_order",
                                  "device %u: %" PRIu64 " after %" PRIu64, device->index,
                                  token->seq, place->seq);
        if (past->prev != place->tag)
                invariants_broken(world, "line 6 no_silent_gap",
                                  "device %u: %" PRIu64 " follows another %" PRIu64 " than it has",
                                  device->index, token->seq, place->seq);
}

void invariants_device_reset(struct world *world, struct device *device, const struct token *token,
                             enum reset_reason reason)
{
        const struct token *place = &device->place;
        const struct past *past = history_find(&world->history, place);
        const struct past *now = history_find(&world->history, token);
        bool has_cause = true;

        switch (reason) {
        case RESET_NEW:
                has_cause = place->epoch == 0;
                break;
        case RESET_TRIMMED:
                has_cause = token->epoch != place->epoch || token->seq > place->seq ||
                            history_epoch_is_broken(&world->history, place->epoch);
                break;
        case RESET_FORKED:
                /* Or the node is the one that still follows the history that is gone. */
                has_cause =
                    past != NULL && (past->lost || (!world->epochs && now != NULL && now->lost));
                break;
        case RESET_UNKNOWN:
                has_cause = token->epoch != place->epoch || device->sent_garbage;
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

        if (!token_equal(place, &device->core.token))
                invariants_broken(world, "line 6 no_silent_gap",
                                  "device %u is not where its SDK is", device->index);
        expect_state(world, "device", device->index, place, device->states, device->n_states);
        expect_forward(world, "device", device->index, was_reset, place, device->states,
                       device->n_states, &device->notes);
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
        if (reason == CLOSE_IDLE && world->now_ms - conn->pong_ms < SESSION_PONG_WAIT_MS)
                invariants_broken(world, "line 11 no_harm",
                                  "device %u was closed as idle %" PRIu64 " ms after its pong",
                                  conn->device->index, world->now_ms - conn->pong_ms);
        if (close_table[reason].is_error && reason != CLOSE_TOO_SLOW)
                invariants_broken(world, "line 11 no_harm", "device %u was closed: %s",
                                  conn->device->index, close_table[reason].name);
}
