/* tests/sim/sim_conn.c -- session_io.c and output.c once more, in frames instead of bytes: a frame
 * of which a part is out counts as begun, and waits in `pending`. */
#include "tests/sim/sim_conn.h"

#include <stdlib.h>

#include "tests/sim/invariants.h"
#include "tests/sim/sim_device.h"
#include "tests/sim/sim_node.h"
#include "tests/sim/sim_target.h"

#define FRAMES_PER_TURN 8 /* fewer than the real 64: so that it happens */
#define TIMER_LAG_MS    50
#define LINGER_MS       5000

static uint32_t clock_of(const struct world *world, const struct sim_conn *conn)
{
        return (uint32_t)(world->now_ms - conn->worker->node->start_ms);
}

static struct session_config config_of(const struct world *world, const struct worker *worker)
{
        return (struct session_config){ .ping_ms = world->ping_ms,
                                        .lifetime_ms = world->lifetime_ms,
                                        .lifetime = &worker->lifetime };
}

/* --- ending --------------------------------------------------------------------------------- */

static void on_linger(struct world *world, void *owner, uint64_t argument, void *load)
{
        struct sim_conn *conn = owner;

        (void)argument, (void)load;
        if (conn->at_node)
                sim_socket_lose(world, conn);
}

void sim_conn_close(struct world *world, struct sim_conn *conn, enum close_reason reason)
{
        world_tell(world, WHO_NODE, conn->worker->node->index, "closes device %u: %s",
                   conn->device->index, trace_text(close_table[reason].name));
        invariants_node_closes(world, conn, reason);
        conn->session.state = SESSION_CLOSED;
        conn->is_closing = true;
        switch (
            sim_socket_say(world, conn, (struct frame){ .kind = FRAME_CLOSE, .close = reason })) {
        case OUTPUT_SENT:
                sim_conn_gone(world, conn);
                break;
        case OUTPUT_BLOCKED:
                world_in(world, LINGER_MS, on_linger, conn, 0);
                break;
        case OUTPUT_FULL:
                sim_socket_lose(world, conn);
                break;
        case OUTPUT_LOST:
                break;
        }
}

/* --- what is next --------------------------------------------------------------------------- */

static struct frame entry_frame(const struct sim_conn *conn, seqno seq)
{
        struct entry *entry = ring_at(conn->worker->ring, seq);

        check(entry != NULL);
        return (struct frame){ .kind = FRAME_ENTRY, .entry = entry_ref(entry) };
}

static struct frame reset_frame(const struct sim_conn *conn, const struct session_action *action)
{
        check(snapshot_token(conn->worker->snapshot)->seq == action->seq);
        return (struct frame){ .kind = FRAME_RESET,
                               .reason = action->reason,
                               .snapshot = snapshot_ref(conn->worker->snapshot) };
}

static struct frame skip_frame(const struct sim_conn *conn, seqno seq)
{
        const struct ring *ring = conn->worker->ring;
        struct frame frame = { .kind = FRAME_SKIP, .token = *ring_head(ring) };
        struct entry *entry = ring_at(ring, seq);

        if (entry != NULL && entry->to != NULL)
                frame.entry = entry_ref(entry);
        if (seq != frame.token.seq) {
                frame.token.seq = seq;
                frame.token.tag = ring_at(ring, seq + 1)->prev_tag;
        }
        return frame;
}

static struct frame frame_of(const struct sim_conn *conn, const struct session_action *action)
{
        if (action->what == DO_RESET)
                return reset_frame(conn, action);
        return action->what == DO_SKIP ? skip_frame(conn, action->seq)
                                       : entry_frame(conn, action->seq);
}

static struct session_action next(struct sim_conn *conn)
{
        return session_next(&conn->session, conn->worker->ring, conn->worker->audiences);
}

/* From `action` on, which is the answer at `before`. */
static enum output send_batch(struct world *world, struct sim_conn *conn,
                              struct session_action action, struct session_place before,
                              unsigned *frames)
{
        struct session_place places[OUTPUT_PIECES];
        struct frame list[OUTPUT_PIECES];
        unsigned n = 0, begun = 0;
        enum output result;

        for (;;) {
                places[n] = before;
                list[n++] = frame_of(conn, &action);
                if (n == OUTPUT_PIECES)
                        break;
                before = session_place(&conn->session);
                action = next(conn);
                if (action.what != DO_ENTRY && action.what != DO_SKIP)
                        break;
        }
        check(action.what == DO_ENTRY || action.what == DO_SKIP || action.what == DO_AGAIN ||
              action.what == DO_NOTHING);
        result = sim_socket_send(world, conn, list, n, KEEP_BEGUN, &begun);
        if (result == OUTPUT_LOST)
                return result;
        if (begun < n)
                session_rewind(&conn->session, places[begun]);
        *frames += n;
        return result;
}

static void pump(struct world *world, struct sim_conn *conn)
{
        unsigned frames = 0;

        check(conn->n_pending == 0);
        while (frames < FRAMES_PER_TURN) {
                struct session_place before = session_place(&conn->session);
                struct session_action action = next(conn);
                enum output result;

                if (action.what == DO_NOTHING) {
                        sim_socket_want_write(world, conn, false);
                        return;
                }
                if (action.what == DO_CLOSE) {
                        sim_conn_close(world, conn, action.close);
                        return;
                }
                if (action.what == DO_AGAIN)
                        break;
                if (action.what == DO_RESET)
                        result = sim_socket_say(world, conn, reset_frame(conn, &action));
                else
                        result = send_batch(world, conn, action, before, &frames);
                if (result != OUTPUT_SENT)
                        return;
        }
        sim_socket_want_write(world, conn, true);
}

void sim_conn_on_writable(struct world *world, void *owner, uint64_t argument, void *load)
{
        struct sim_conn *conn = owner;

        (void)argument, (void)load;
        if (!conn->at_node || !conn->wants_write || sim_socket_flush(world, conn) != OUTPUT_SENT)
                return;
        if (conn->is_closing)
                sim_conn_gone(world, conn);
        else
                pump(world, conn);
        invariants_conn(world, conn);
}

/* --- time ----------------------------------------------------------------------------------- */

static void on_timer(struct world *world, void *owner, uint64_t argument, void *load);

static void arm(struct world *world, struct sim_conn *conn)
{
        int32_t in_ms = (int32_t)(conn->session.due_ms - clock_of(world, conn));
        uint64_t wait_ms = (in_ms > 0 ? (uint64_t)in_ms : 0) + world_random(world, 0, TIMER_LAG_MS);

        conn->timer_ms = world->now_ms + wait_ms;
        world_in(world, wait_ms, on_timer, conn, conn->timer_ms);
}

static void say_goaway(struct world *world, struct sim_conn *conn, const struct goaway *goaway)
{
        const struct session_place before = session_place(&conn->session);
        struct frame list[2];
        unsigned n = 0, begun;
        seqno seq;

        conn->heard_goaway = true;
        if (session_take_skip(&conn->session, conn->worker->ring, &seq))
                list[n++] = skip_frame(conn, seq);
        list[n++] = (struct frame){ .kind = FRAME_GOAWAY, .goaway = *goaway };
        if (sim_socket_send(world, conn, list, n, KEEP_ALL, &begun) == OUTPUT_FULL)
                session_rewind(&conn->session, before);
}

static void on_timer(struct world *world, void *owner, uint64_t at_ms, void *load)
{
        struct sim_conn *conn = owner;
        struct session_config config = config_of(world, conn->worker);
        struct session_action action;

        (void)load;
        if (!conn->at_node || conn->is_closing || conn->timer_ms != at_ms)
                return;
        if (clock_of(world, conn) - conn->worker->lifetime.planned_ms >= LIFETIME_REPLAN_MS)
                sim_worker_plan(world, conn->worker);
        action = session_timer(&conn->session, &config, clock_of(world, conn));
        if (action.what == DO_GOAWAY && action.goaway.reason == GOAWAY_RECYCLE)
                invariants_recycled(world, conn);
        if (action.what == DO_PING)
                (void)sim_socket_say(world, conn, (struct frame){ .kind = FRAME_PING });
        else if (action.what == DO_GOAWAY)
                say_goaway(world, conn, &action.goaway);
        else if (action.what == DO_CLOSE)
                sim_conn_close(world, conn, action.close);
        if (conn->at_node && !conn->is_closing)
                arm(world, conn);
        invariants_conn(world, conn);
}

/* --- beginning ------------------------------------------------------------------------------ */

/* Hello, and what follows it while it fits into one send, after `n` frames that are in `list`. */
static enum output greet(struct world *world, struct sim_conn *conn, struct frame list[PENDING_MAX],
                         unsigned n, const struct session_action *hello, const struct token *since)
{
        const struct worker *worker = conn->worker;
        unsigned most = (unsigned)world_random(world, n + 1, PENDING_MAX), begun;

        world_tell(world, WHO_NODE, worker->node->index, "greets device %u: %s, head %u",
                   conn->device->index,
                   trace_text(hello->recovered ? "resumed" : reset_reason_name[hello->reason]),
                   ring_head(worker->ring)->seq);
        list[n++] = (struct frame){ .kind = FRAME_HELLO,
                                    .token = hello->recovered ? *since : *ring_head(worker->ring),
                                    .recovered = hello->recovered,
                                    .reason = hello->reason,
                                    .t1 = sim_node_wall_ms(world, worker->node) };
        for (;;) {
                struct session_place before = session_place(&conn->session);
                struct session_action action = next(conn);

                if (action.what != DO_ENTRY && action.what != DO_SKIP && action.what != DO_RESET)
                        break;
                if (n == most && action.what != DO_RESET) {
                        session_rewind(&conn->session, before);
                        break;
                }
                list[n++] = frame_of(conn, &action);
                if (n == PENDING_MAX)
                        break;
        }
        return sim_socket_send(world, conn, list, n, KEEP_ALL, &begun);
}

struct sim_conn *sim_conn_open(struct world *world, struct worker *worker, struct device *device,
                               const struct token *since, bool malformed)
{
        struct sim_conn *conn = calloc(1, sizeof(*conn));
        struct session_config config = config_of(world, worker);
        struct frame list[PENDING_MAX + 1] = { { .kind = FRAME_UPGRADE } };
        const char *traits[TRAITS];
        struct session_action action;
        enum output result;

        check(conn != NULL);
        *conn = (struct sim_conn){ .next = world->conns,
                                   .worker = worker,
                                   .device = device,
                                   .at_node = true,
                                   .at_device = true,
                                   .size = (unsigned)world_random(world, 2, SOCKET_MAX),
                                   .opened_ms = world->now_ms,
                                   .pong_ms = world->now_ms };
        world->conns = conn;
        sim_target_traits(device->index, traits);
        check(audiences_enter(worker->audiences, traits, &conn->session.audience) == OK);
        action = session_join(&conn->session, &config, worker->ring, since, malformed,
                              clock_of(world, conn), rng_u64(&world->rng));
        if (action.what == DO_HELLO) {
                result = greet(world, conn, list, 1, &action, since);
        } else {
                world_tell(world, WHO_NODE, worker->node->index,
                           "lets device %u wait: it is ahead of us", device->index);
                result = sim_socket_say(world, conn, list[0]);
        }
        if (result == OUTPUT_LOST)
                return conn;
        arm(world, conn);
        if (result == OUTPUT_SENT)
                pump(world, conn);
        invariants_conn(world, conn);
        return conn;
}

static void retry(struct world *world, struct sim_conn *conn)
{
        struct session *session = &conn->session;
        struct token since = session->waiting;
        uint32_t waited_ms = clock_of(world, conn) - (session->due_ms - SESSION_AHEAD_WAIT_MS);
        uint64_t joined_ms = world->now_ms - waited_ms;
        bool confirmed = conn->worker->confirmed_ms[1] > joined_ms;
        struct session_action action = session_retry(session, conn->worker->ring, confirmed);
        struct frame list[PENDING_MAX + 1];
        enum output result;

        if (action.what != DO_HELLO)
                return;
        result = greet(world, conn, list, 0, &action, &since);
        if (result == OUTPUT_LOST)
                return;
        arm(world, conn);
        if (result == OUTPUT_SENT)
                pump(world, conn);
}

void sim_conn_visit(struct world *world, struct sim_conn *conn)
{
        const struct session *session = &conn->session;

        if (!conn->at_node || conn->is_closing || conn->wants_write)
                return;
        if (session->state == SESSION_WAITING)
                retry(world, conn);
        else if (session->cursor != ring_head(conn->worker->ring)->seq ||
                 session->pending_reset != 0)
                pump(world, conn);
        invariants_conn(world, conn);
}

/* --- from elsewhere ------------------------------------------------------------------------- */

void sim_conn_leave(struct world *world, struct sim_conn *conn, const struct goaway *goaway,
                    uint32_t close_in_ms)
{
        uint32_t close_at_ms = clock_of(world, conn) + close_in_ms;
        struct session_action action;

        conn->was_passed = true;
        action = session_leave(&conn->session, goaway, clock_of(world, conn));
        if (action.what != DO_GOAWAY)
                return;
        say_goaway(world, conn, &action.goaway);
        if (!conn->at_node)
                return;
        if ((int32_t)(conn->session.due_ms - close_at_ms) > 0)
                conn->session.due_ms = close_at_ms;
        arm(world, conn);
}

void sim_conn_hear(struct world *world, struct sim_conn *conn, const struct message *message)
{
        struct session_action action;

        if (!conn->at_node || conn->is_closing)
                return;
        action = session_message(&conn->session, message, conn->worker->ring,
                                 conn->worker->audiences, clock_of(world, conn));
        if (action.what == DO_TIME)
                (void)sim_socket_say(
                    world, conn,
                    (struct frame){ .kind = FRAME_TIME,
                                    .t0 = action.t0,
                                    .t1 = sim_node_wall_ms(world, conn->worker->node) });
        else if (action.what == DO_CLOSE)
                sim_conn_close(world, conn, action.close);
        invariants_conn(world, conn);
}

void sim_conn_pong(struct world *world, struct sim_conn *conn)
{
        conn->pong_ms = world->now_ms;
        if (conn->at_node && !conn->is_closing)
                session_pong(&conn->session);
}

void sim_conn_free_all(struct world *world)
{
        while (world->conns != NULL) {
                struct sim_conn *conn = world->conns;

                world->conns = conn->next;
                sim_conn_gone(world, conn);
                for (unsigned i = 0; i < conn->n_queue; i++)
                        sim_conn_drop(&conn->queue[(conn->first + i) % SOCKET_MAX]);
                free(conn);
        }
}
