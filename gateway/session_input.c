/* gateway/session_input.c -- bytes of a device -> frames -> messages -> what session.c says to
 * them. Whatever comes whole passes through the worker's one scratch reader; only a connection that
 * stopped in the middle of a frame or message keeps a reader, in a block of its own.
 *
 * Bytes that are no frame, and messages that are none of the subprotocol, end the session with the
 * code that says which. A message of a type that is unknown here is ignored, but not free: it takes
 * from the token bucket, as do pings. */
#include "gateway/session_input.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include "base/clock.h"
#include "gateway/gateway_metrics.h"
#include "gateway/session_io.h"
#include "gateway/worker_inside.h"

/* RFC 6455 5.5.1: answer with the same code; 7.1.1: then the server closes first. */
static void answer_close(struct worker *worker, struct conn *conn, uint16_t code)
{
        uint8_t frame[4] = { 0x80 | WS_CLOSE, 2, (uint8_t)(code >> 8), (uint8_t)code };
        size_t len = 4;

        if (code == 1005) { /* it gave none */
                frame[1] = 0;
                len = 2;
        }
        conn_leave(worker, conn, CLOSE_GONE);
        switch (session_io_send(worker, conn, frame, len)) {
        case OUTPUT_BLOCKED:
                conn_finish(worker, conn);
                break;
        case OUTPUT_SENT: /* it sends nothing after its close frame, so no reset can hit ours */
        case OUTPUT_FULL:
                conn_close(worker, conn);
                break;
        case OUTPUT_LOST:
                break;
        }
}

static void do_time(struct worker *worker, struct conn *conn, int64_t t0)
{
        const struct message answer = {
                .type = MESSAGE_TIME,
                .time = { .t0 = t0, .has_t1 = true, .t1 = clock_wall_ms() },
        };

        (void)session_io_say(worker, conn, &answer); /* FULL: dropped; it can ask again */
}

static void on_message(struct worker *worker, struct conn *conn, const struct ws_event *event)
{
        uint32_t now_ms = worker_now(worker);
        struct session_action action;
        struct message message;
        int64_t activated_at = 0;

        if (event->opcode != session_io_opcode(conn)) {
                session_io_close(worker, conn, CLOSE_DATA_TYPE);
                return;
        }
        switch (message_decode(event->payload, event->len, (enum encoding)conn->session.encoding,
                               &message)) {
        case OK:
                action = session_message(&conn->session, &message, worker->ring, worker->audiences,
                                         now_ms);
                if (message.type == MESSAGE_ACK && message.ack.has_activated_at)
                        activated_at = message.ack.activated_at;
                message_fini(&message);
                break;
        case ERR_NOT_FOUND: /* of a later version: not for us, but not free either */
                action = session_noise(&conn->session, now_ms);
                break;
        case ERR_NOMEM:
                metric_add(&m_no_memory, 1);
                session_io_close(worker, conn, CLOSE_INTERNAL);
                return;
        default:
                session_io_close(worker, conn, CLOSE_BAD_DATA);
                return;
        }
        if (action.what == DO_TIME) {
                do_time(worker, conn, action.t0);
        } else if (action.what == DO_ACKED) {
                metric_add(&m_acks, 1);
                tally_acked(&worker->tally, action.acked_from, action.seq,
                            audiences_missed(worker->audiences, conn->session.audience,
                                             worker->ring, action.acked_from, action.seq),
                            activated_at, worker->now_ms);
        } else if (action.what == DO_CLOSE) {
                session_io_close(worker, conn, action.close);
        }
}

static void on_control(struct worker *worker, struct conn *conn, const struct ws_event *event)
{
        uint8_t pong[2 + WS_CONTROL_MAX] = { 0x80 | WS_PONG, (uint8_t)event->len };

        if (event->opcode == WS_CLOSE) {
                answer_close(worker, conn, event->close_code);
                return;
        }
        if (event->opcode == WS_PONG && conn->session.pinged) {
                session_pong(&conn->session);
                return;
        }
        if (session_noise(&conn->session, worker_now(worker)).what == DO_CLOSE) {
                session_io_close(worker, conn, CLOSE_POLICY);
        } else if (event->opcode == WS_PING) {
                memcpy(pong + 2, event->payload, event->len);
                (void)session_io_send(worker, conn, pong, 2 + event->len); /* FULL: dropped */
        }
}

/* Gives the scratch reader to the connection if it stopped within a frame, and takes a block back
 * that is not needed any more. */
static void keep_or_give_back(struct worker *worker, struct conn *conn)
{
        struct block *block = conn->block != NULL ? conn->block : worker->frame;
        bool is_idle = ws_reader_is_idle(&block->frame.reader);

        if (is_idle && conn->block != NULL) {
                pool_give(&worker->pool, conn->block);
                conn->block = NULL;
        } else if (!is_idle && conn->block == NULL) {
                struct block *fresh = pool_take(&worker->pool);

                if (fresh == NULL) {
                        metric_add(&m_no_memory, 1);
                        session_io_close(worker, conn, CLOSE_INTERNAL);
                        return;
                }
                conn->block = worker->frame;
                worker->frame = fresh;
        }
}

/* A stream has no way back: what comes says nothing, but it is not free. */
static void ignore(struct worker *worker, struct conn *conn)
{
        if (session_noise(&conn->session, worker_now(worker)).what == DO_CLOSE)
                session_io_close(worker, conn, CLOSE_POLICY);
}

void session_input_feed(struct worker *worker, struct conn *conn, const uint8_t *bytes, size_t len)
{
        struct block *block = conn->block != NULL ? conn->block : worker->frame;
        struct ws_reader *reader = &block->frame.reader;

        if (conn->session.is_stream) {
                ignore(worker, conn);
                return;
        }
        if (conn->block == NULL)
                ws_reader_init(reader, WS_SERVER, block->frame.bytes, MESSAGE_FROM_DEVICE_MAX);
        while (len > 0 && conn->phase == CONN_SESSION) {
                struct ws_event event;
                size_t used = 0;

                switch (ws_read(reader, bytes, len, &used, &event)) {
                case WS_MORE:
                        used = len;
                        break;
                case WS_MESSAGE:
                        metric_add(&m_frames_in, 1);
                        on_message(worker, conn, &event);
                        break;
                case WS_CONTROL:
                        metric_add(&m_frames_in, 1);
                        on_control(worker, conn, &event);
                        break;
                case WS_BROKEN:
                        session_io_close(worker, conn, event.reason);
                        break;
                }
                bytes += used;
                len -= used;
        }
        if (conn->phase == CONN_SESSION)
                keep_or_give_back(worker, conn);
}

void session_input_readable(struct worker *worker, struct conn *conn)
{
        ssize_t n = recv(conn->fd, worker->recv, sizeof(worker->recv), MSG_DONTWAIT);

        if (n > 0)
                session_input_feed(worker, conn, worker->recv, (size_t)n);
        else if (n == 0 || (errno != EAGAIN && errno != EINTR))
                conn_lost(worker, conn, n < 0 ? errno : 0); /* RFC 6455 7.1.5 calls that 1006 */
}
