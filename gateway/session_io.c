/* gateway/session_io.c -- the acts. Happy path of a device: upgrade (101, hello and reset or replay
 * leave in one send) -> per signal one send of the shared frame -> ping and pong -> goaway ->
 * close. An event stream goes the same way; where it differs it is asked for here, and nowhere else
 * but in session_input.c: its head, its frames' form, its pings, which nobody answers, and its end,
 * which is the connection's.
 *
 * Failure modes: socket full -> wants_write, and the cursor goes on from where it is when there is
 * room; peer gone -> conn_close; no memory -> this one connection is shed. */
#include "gateway/session_io.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "gateway/gateway_metrics.h"
#include "gateway/output.h"
#include "gateway/pump.h"
#include "gateway/response.h"
#include "gateway/worker_inside.h"
#include "proto/sse.h"

#define SMALL_FRAME 1024 /* hello, time, goaway */

/* --- frames of one device's own -------------------------------------------------------------- */

enum ws_opcode session_io_opcode(const struct conn *conn)
{
        return conn->session.encoding == ENCODING_JSON ? WS_TEXT : WS_BINARY;
}

/* None of these messages moves the device's place: those that do are shared. */
static void add_message(struct buf *out, const struct conn *conn, const struct message *message)
{
        char array[SMALL_FRAME];
        struct buf payload;

        buf_init_fixed(&payload, array, sizeof(array));
        message_encode(message, (enum encoding)conn->session.encoding, &payload);
        check(!payload.failed); /* fields of known sizes */
        frame_add(out, pump_wire(conn), &payload, NULL);
}

static void add_hello(struct worker *worker, struct buf *out, const struct conn *conn,
                      const struct session_action *action, const struct token *since)
{
        const struct worker_options *options = &worker->options;
        struct message message = { .type = MESSAGE_HELLO };
        struct hello *hello = &message.hello;

        memcpy(hello->node, options->node, sizeof(hello->node));
        token_hex(conn->name->session, hello->session);
        /* The device's place before the frames that follow: its own token, or where the reset will
         * put it. */
        hello->token = action->recovered ? *since : *ring_head(worker->ring);
        hello->now = clock_wall_ms();
        hello->ping_s = options->ping_ms / 1000;
        hello->lifetime_s = options->lifetime_ms / 1000;
        hello->ack_spread_ms = options->ack_spread_ms;
        hello->has_prefetch_ms = true;
        hello->prefetch_ms = worker_prefetch_ms(worker);
        hello->recovered = action->recovered;
        hello->has_reason = !action->recovered;
        hello->reason = action->reason;
        add_message(out, conn, &message);
        metric_add(action->recovered ? &m_connects_recovered : &m_connects_reset, 1);
}

enum output session_io_send(struct worker *worker, struct conn *conn, const void *bytes, size_t len)
{
        const struct piece piece = { bytes, (uint32_t)len, NULL };
        unsigned begun;

        return output_send(worker, conn, &piece, 1, KEEP_ALL, &begun);
}

enum output session_io_say(struct worker *worker, struct conn *conn, const struct message *message)
{
        char array[SMALL_FRAME + FRAME_AROUND_MAX];
        struct buf out;

        buf_init_fixed(&out, array, sizeof(array));
        add_message(&out, conn, message);
        return session_io_send(worker, conn, out.data, out.len);
}

/* --- ending ---------------------------------------------------------------------------------- */

void session_io_close(struct worker *worker, struct conn *conn, enum close_reason reason)
{
        uint8_t frame[2 + WS_CONTROL_MAX];

        conn_leave(worker, conn, reason);
        if (conn->session.is_stream) { /* it ends with its connection, without a word */
                conn_finish(worker, conn);
                return;
        }
        switch (session_io_send(worker, conn, frame, ws_close_frame(frame, reason))) {
        case OUTPUT_SENT:
        case OUTPUT_BLOCKED:
                conn_finish(worker, conn);
                break;
        case OUTPUT_FULL: /* it does not read: no use in saying more */
                conn_close(worker, conn);
                break;
        case OUTPUT_LOST:
                break;
        }
}

void session_io_writable(struct worker *worker, struct conn *conn)
{
        unsigned entries = output_noted(conn);

        if (output_flush(worker, conn) != OUTPUT_SENT)
                return;
        if (conn->session.is_stream)
                session_pong(&conn->session); /* see say_ping */
        /* The cursor has stood still meanwhile; void, it tells of a log that is gone. */
        if (entries > 0 && conn->session.pending_reset == 0)
                pump_count(worker, conn, entries);
        pump_run(worker, conn);
}

/* --- beginning ------------------------------------------------------------------------------- */

static void arm(struct worker *worker, struct conn *conn)
{
        int32_t in_ms = (int32_t)(conn->session.due_ms - worker_now(worker));

        conn_set_timer(worker, conn, in_ms > 0 ? (uint64_t)in_ms : 0);
}

/* After `out`'s bytes (101, or nothing): hello, and the frames after it while they fit, in one
 * send. A reset too big to be copied goes along as it is; entries too many are left to pump_run().
 */
static enum output greet(struct worker *worker, struct conn *conn, struct buf *out,
                         const struct session_action *hello, const struct token *since)
{
        struct piece pieces[2];
        unsigned n = 1, begun;
        struct blob *reset;
        enum output output;
        int signals;

        add_hello(worker, out, conn, hello, since);
        signals = pump_greet(worker, conn, out, &reset);
        if (signals < 0) {
                metric_add(&m_no_memory, 1);
                conn_close(worker, conn);
                return OUTPUT_LOST;
        }
        check(!out->failed);
        pieces[0] = (struct piece){ out->data, (uint32_t)out->len, NULL };
        if (reset != NULL)
                pieces[n++] = (struct piece){ reset->data, reset->len, reset };
        metric_add(&m_signals, signals);
        output = output_send(worker, conn, pieces, n, KEEP_ALL, &begun);
        if (output == OUTPUT_SENT)
                pump_count(worker, conn, (unsigned)signals);
        else if (output == OUTPUT_BLOCKED)
                output_note(conn, (unsigned)signals);
        return output;
}

static uint32_t come_back_ms(struct worker *worker)
{
        return RESPONSE_COME_BACK_MIN_MS +
               (uint32_t)rng_below(&worker->rng,
                                   RESPONSE_COME_BACK_MAX_MS - RESPONSE_COME_BACK_MIN_MS + 1);
}

/* One more of its sort. False = no memory, or too many sorts. */
static bool enter(struct worker *worker, struct conn *conn, const struct door_verdict *verdict,
                  struct conn_name *name)
{
        const char *const traits[TRAITS] = { [TRAIT_COHORT] = verdict->cohort,
                                             [TRAIT_PLATFORM] = verdict->platform,
                                             [TRAIT_REGION] = verdict->region,
                                             [TRAIT_APP] = verdict->app };
        uint16_t audience;

        if (audiences_enter(worker->audiences, traits, &audience) != OK)
                return false;
        if (!conn_enter(worker, conn, name)) {
                audiences_leave(worker->audiences, audience);
                return false;
        }
        conn->session.audience = audience;
        return true;
}

bool session_io_upgrade(struct worker *worker, struct conn *conn,
                        const struct door_verdict *verdict)
{
        size_t device_len = strlen(verdict->device);
        struct conn_name *name = malloc(sizeof(*name) + device_len + 1);
        struct session_action action;
        enum output output;
        struct buf out;

        if (name == NULL)
                return false;
        name->session = rng_u64(&worker->rng);
        memcpy(name->device, verdict->device, device_len + 1);
        if (!enter(worker, conn, verdict, name)) {
                free(name);
                return false;
        }
        conn->session.encoding = (uint8_t)verdict->encoding;
        conn->session.wants_ack = verdict->wants_ack;
        conn->session.is_stream = verdict->kind == DOOR_STREAM;
        metric_add(&m_sessions[conn->session.is_stream], 1);
        metric_add(&m_begun[conn->session.is_stream], 1);
        worker_devices_came(worker, conn);
        if (verdict->has_since)
                worker->now_ms = clock_mono_ms(); /* retry() compares the time of joining */
        action = session_join(&conn->session, &worker->session_config, worker->ring,
                              verdict->has_since ? &verdict->since : NULL, verdict->since_malformed,
                              worker_now(worker), rng_u64(&worker->rng));

        buf_init_fixed(&out, worker->compose, sizeof(worker->compose));
        if (conn->session.is_stream)
                response_stream(&out, verdict->has_since ? &verdict->since : NULL,
                                come_back_ms(worker));
        else
                response_upgrade(&out, verdict->ws_key, verdict->subprotocol_named,
                                 verdict->encoding);
        if (action.what == DO_HELLO) {
                output = greet(worker, conn, &out, &action, &verdict->since);
        } else {
                worker->n_waiting++;
                metric_add(&m_connects_waiting, 1);
                output = session_io_send(worker, conn, out.data, out.len);
        }
        if (output == OUTPUT_LOST)
                return true;
        arm(worker, conn);
        if (conn_watch(worker, conn, true) && output == OUTPUT_SENT)
                pump_run(worker, conn);
        return true;
}

/* WAITING: has the log caught up with the device's token, or is it certain that it will not? */
static void retry(struct worker *worker, struct conn *conn)
{
        struct session *session = &conn->session;
        struct token since = session->waiting;
        uint32_t waited_ms = worker_now(worker) - (session->due_ms - SESSION_AHEAD_WAIT_MS);
        uint64_t joined_ms = worker->now_ms - waited_ms;
        /* The head is asked for one at a time. So if two confirmations came after the device did,
         * the later one was asked for after it did too; the earlier one alone may be older than its
         * token. */
        bool confirmed = worker->confirmed_ms[1] > joined_ms;
        struct session_action action = session_retry(session, worker->ring, confirmed);
        enum output output;
        struct buf out;

        if (action.what != DO_HELLO) {
                worker->n_waiting++;
                return;
        }
        buf_init_fixed(&out, worker->compose, sizeof(worker->compose));
        output = greet(worker, conn, &out, &action, &since);
        if (output == OUTPUT_LOST)
                return;
        arm(worker, conn);
        if (output == OUTPUT_SENT)
                pump_run(worker, conn);
}

/* --- broadcast ------------------------------------------------------------------------------- */

/* The one frame that this session owes goes with those of others. */
static enum visit put_by(struct worker *worker, struct conn *conn)
{
        struct blob *frame;

        check(conn->pending == NULL);
        if (pump_take_newest(worker, conn, &frame) != OK)
                return pump_run(worker, conn) ? VISIT_TRIED : VISIT_IDLE;
        if (frame == NULL)
                return VISIT_IDLE;
        sender_add(worker->sender, conn->fd, frame->data, frame->len, conn);
        return VISIT_PUT_BY;
}

void session_io_send_put_by(struct worker *worker)
{
        const struct sender_item *items;
        unsigned n = sender_waiting(worker->sender) > 0 ? sender_run(worker->sender, &items) : 0;

        for (unsigned i = 0; i < n; i++)
                pump_settle_newest(worker, items[i].ptr, items[i].len, items[i].result);
        metric_set(&m_uring, sender_is_open(worker->sender)); /* it may have given up */
}

enum visit session_io_visit(struct worker *worker, struct conn *conn)
{
        const struct session *session = &conn->session;
        seqno head = ring_head(worker->ring)->seq;

        if (conn->wants_write) {
                /* Goes on by itself when there is room, but for this: asking anew. */
                worker->n_waiting += session->state == SESSION_WAITING;
                return VISIT_IDLE;
        }
        if (session->state == SESSION_WAITING) {
                retry(worker, conn);
                return VISIT_TRIED;
        }
        if (session->pending_reset == 0) {
                if (session->cursor == head)
                        return VISIT_IDLE;
                if (session->cursor + 1 == head && !session->is_replaying &&
                    sender_is_open(worker->sender))
                        return put_by(worker, conn);
        }
        return pump_run(worker, conn) ? VISIT_TRIED : VISIT_IDLE;
}

/* --- time ------------------------------------------------------------------------------------ */

/* Before it the place from which the device is to come back. */
static void say_goaway(struct worker *worker, struct conn *conn, const struct goaway *goaway)
{
        const struct message message = { .type = MESSAGE_GOAWAY, .goaway = *goaway };
        const struct session_place before = session_place(&conn->session);
        char array[SMALL_FRAME];
        struct buf out;

        buf_init_fixed(&out, array, sizeof(array));
        pump_add_skip(worker, conn, &out);
        if (conn->session.is_stream)
                response_stream_goaway(&out, goaway, &worker->rng);
        else
                add_message(&out, conn, &message);
        check(!out.failed);
        /* It will notice the close; but until then a signal may come, and the skip belongs before
         * it. */
        if (session_io_send(worker, conn, out.data, out.len) == OUTPUT_FULL)
                session_rewind(&conn->session, before);
}

/* A stream's reader cannot answer, but its socket does: if bytes have to wait for room, the ping is
 * as good as sent, and that all of them go out within the time for a pong is the answer
 * (session_io_writable). */
static void say_ping(struct worker *worker, struct conn *conn)
{
        static const uint8_t ping[2] = { 0x80 | WS_PING, 0 };

        if (!conn->session.is_stream)
                (void)session_io_send(worker, conn, ping, sizeof(ping));
        else if (conn->pending == NULL &&
                 session_io_send(worker, conn, SSE_PING, SSE_PING_LEN) == OUTPUT_SENT)
                session_pong(&conn->session);
}

void session_io_plan(struct worker *worker)
{
        size_t n;
        const struct event_state *events = snapshot_events(worker->snapshot, &n);

        lifetime_plan(&worker->lifetime, events, n, worker->options.guard_ms, clock_wall_ms(),
                      worker_now(worker));
}

void session_io_timer(struct worker *worker, struct conn *conn)
{
        uint32_t ends_ms = conn->session.ends_ms;
        struct session_action action;

        if (worker_now(worker) - worker->lifetime.planned_ms >= LIFETIME_REPLAN_MS)
                session_io_plan(worker);
        action = session_timer(&conn->session, &worker->session_config, worker_now(worker));
        if (conn->session.ends_ms != ends_ms)
                metric_add(&m_ends_held, 1);
        if (action.what == DO_PING)
                say_ping(worker, conn);
        else if (action.what == DO_GOAWAY)
                say_goaway(worker, conn, &action.goaway);
        else if (action.what ==
                 DO_CLOSE) /* no pong from whom our ping has not reached: it does not read */
                session_io_close(worker, conn,
                                 action.close == CLOSE_IDLE && conn->pending != NULL
                                     ? CLOSE_TOO_SLOW
                                     : action.close);
        if (conn->phase == CONN_SESSION)
                arm(worker, conn);
}

void session_io_leave(struct worker *worker, struct conn *conn, const struct goaway *goaway,
                      uint32_t close_in_ms)
{
        uint32_t close_at_ms = worker_now(worker) + close_in_ms;
        struct session_action action = session_leave(&conn->session, goaway, worker_now(worker));

        if (action.what != DO_GOAWAY)
                return;
        say_goaway(worker, conn, &action.goaway);
        if (conn->phase != CONN_SESSION)
                return;
        if ((int32_t)(conn->session.due_ms - close_at_ms) > 0)
                conn->session.due_ms = close_at_ms;
        arm(worker, conn);
}
