/* gateway/entrance.c -- happy path: arrived -> (PROXY header) -> the whole request is there at the
 * first read -> let in, without having stood in line. Failure modes: silence or a part of a request
 * -> in line, and closed at the deadline or when the line is too long; no room, no token, overload
 * -> one write that says when to come back, and the end: a refusal must cost less than what it
 * refuses. */
#include "gateway/entrance.h"

#include <stddef.h>

#include "gateway/gateway_metrics.h"
#include "gateway/guest.h"
#include "gateway/output.h"
#include "gateway/response.h"
#include "gateway/session_io.h"
#include "gateway/worker_inside.h"

const char *const entrance_shed_word[SHED_KINDS] = {
#define X(name, word, status, title) [name] = word,
        ENTRANCE_SHED(X)
#undef X
};

/* --- whose it is ----------------------------------------------------------------------------- */

void entrance_arrived(struct worker *worker, struct conn *conn, const struct address *peer)
{
        const struct address_ranges *proxies = worker->options.proxies;

        conn->wants_proxy = proxies != NULL && address_ranges_hold(proxies, peer);
        /* A proxy's own address says nothing about whose connection it is. */
        conn->place.key = conn->wants_proxy ? ADDRESS_NOBODY : address_key(peer);
}

enum proxy_status entrance_proxy(struct worker *worker, struct conn *conn, const char *at,
                                 size_t len, size_t *ret_used)
{
        struct proxy_header header;
        enum proxy_status status = proxy_parse(at, len, &header, ret_used);

        check(conn->phase == CONN_HEAD && conn->wants_proxy);
        if (status ==
            PROXY_BAD) { /* not HTTP either, as far as we know: there is no answer to it */
                metric_add(&m_proxy_broken, 1);
                conn_close(worker, conn);
        } else if (status == PROXY_DONE) {
                conn->wants_proxy = false;
                if (header.family != PROXY_NO_ADDRESS) {
                        struct address address = address_of_proxy(&header);

                        admission_leave(&worker->admission, &conn->place); /* as nobody */
                        conn->place.key = address_key(&address);
                }
        }
        return status;
}

/* --- the line -------------------------------------------------------------------------------- */

static struct conn *conn_of(struct admission_guest *place)
{
        return (struct conn *)((char *)place - offsetof(struct conn, place));
}

void entrance_wait(struct worker *worker, struct conn *conn)
{
        check(conn->phase == CONN_HEAD);
        admission_wait(&worker->admission, &conn->place,
                       conn->block != NULL ? ADMISSION_BEGUN : ADMISSION_SILENT, worker->now_ms);
}

/* Its request may have come meanwhile and lie unread in the socket; then it stays. */
static void send_off(struct worker *worker, struct admission_guest *place)
{
        const uint64_t number = place->number;
        const uint8_t line = place->line;
        struct conn *conn = conn_of(place);

        guest_readable(worker, conn);
        if (conn->phase == CONN_HEAD && place->number == number && place->line == line) {
                metric_add(&m_evicted, 1);
                conn_close(worker, conn);
        }
}

void entrance_make_room(struct worker *worker, struct conn *newcomer)
{
        struct admission_guest *place;

        /* Ends: each turn closes somebody, or somebody who was silent is not any more. */
        while (newcomer->phase == CONN_HEAD &&
               (place = admission_surplus(&worker->admission, &newcomer->place, worker->now_ms)) !=
                   NULL)
                send_off(worker, place);
        if (worker->listener == NULL || !listener_is_short(worker->listener, newcomer->fd))
                return;
        /* So few descriptors are left that nobody is let in: those who say nothing give theirs. */
        place = admission_oldest(&worker->admission);
        if (place != NULL)
                send_off(worker, place);
}

/* --- turning away ---------------------------------------------------------------------------- */

static const struct {
        unsigned status;
        const char *title;
} shed_table[SHED_KINDS] = {
#define X(name, word, status, title) [name] = { status, title },
        ENTRANCE_SHED(X)
#undef X
};

static enum admission_refusal refusal_of(enum shed why)
{
        return why == SHED_ADDRESS ? REFUSED_ADDRESS
               : why == SHED_FETCH ? REFUSED_PREFETCH
                                   : REFUSED_BUSY;
}

/* After any status but 200 an EventSource gives up for good (WHATWG HTML 9.2.3). */
static void turn_stream_away(struct worker *worker, struct buf *out,
                             const struct admission_span *span, const struct door_verdict *verdict)
{
        const struct goaway goaway = { GOAWAY_OVERLOAD, span->min_ms, span->max_ms };

        response_stream(out, verdict->has_since ? &verdict->since : NULL, span->max_ms);
        response_stream_goaway(out, &goaway, &worker->rng);
}

void entrance_shed(struct worker *worker, struct conn *conn, enum shed why,
                   const struct door_verdict *verdict)
{
        const unsigned status = shed_table[why].status;
        const struct refusal_text text = { status, shed_table[why].title,
                                           "Come back after Retry-After seconds." };
        struct admission_span span =
            admission_refuse(&worker->admission, refusal_of(why), worker->now_ms);
        struct buf out;
        struct piece piece;
        unsigned begun;

        buf_init_fixed(&out, worker->compose, sizeof(worker->compose));
        if (verdict->kind == DOOR_CONNECT && verdict->from_browser)
                response_turned_away(&out, verdict->ws_key, verdict->subprotocol_named,
                                     verdict->encoding, span.min_ms, span.max_ms);
        else if (verdict->kind == DOOR_STREAM && verdict->from_event_source)
                turn_stream_away(worker, &out, &span, verdict);
        else
                response_refusal(&out, &text, admission_retry_s(&span, &worker->rng), 0, true,
                                 verdict->head_only);
        check(!out.failed);
        piece = (struct piece){ out.data, (uint32_t)out.len, NULL };
        gateway_metrics_refused(status);
        metric_add(&m_shed[why], 1);
        metric_set(&m_admission_rate, admission_rate(&worker->admission));
        /* No lingering: all it sent has been read, so nothing makes the kernel overtake our answer
         * with a reset. What does not fit is not waited for. */
        (void)output_send(worker, conn, &piece, 1, KEEP_ALL, &begun);
        conn_close(worker, conn);
}

/* --- letting in ------------------------------------------------------------------------------ */

/* Has it been here, in a log of ours? Then what it needs is little, and it needs it now. A token
 * that nobody knows is worth no more than none. */
static bool resumes(const struct worker *worker, const struct door_verdict *verdict)
{
        return verdict->has_since && ring_judge(worker->ring, &verdict->since) != RING_UNKNOWN;
}

/* SHED_KINDS = come in: counted. */
static enum shed why_not(struct worker *worker, const struct conn *conn,
                         const struct door_verdict *verdict)
{
        bool is_known;

        if (worker->snapshot == NULL)
                return SHED_STARTING;
        if (worker->is_draining)
                return SHED_LEAVING;
        is_known = resumes(worker, verdict);
        if (ladder_sheds(&worker->ladder, is_known ? LADDER_NO_RESUMES : LADDER_NO_NEWCOMERS))
                return SHED_OVERLOAD;
        if (worker->n_conns >= worker->options.max_devices)
                return SHED_FULL;
        if (listener_is_short(worker->listener, conn->fd))
                return SHED_DESCRIPTORS;
        switch (admission_enter(&worker->admission, conn->place.key, is_known, worker->now_ms)) {
        case ADMISSION_TOO_FAST:
                return SHED_RATE;
        case ADMISSION_TOO_MANY:
                return SHED_ADDRESS;
        case ADMISSION_NO_MEMORY:
                return SHED_MEMORY;
        case ADMISSION_YES:
                break;
        }
        return SHED_KINDS;
}

void entrance_let_in(struct worker *worker, struct conn *conn, const struct door_verdict *verdict)
{
        enum shed why = why_not(worker, conn, verdict);

        if (why == SHED_KINDS) {
                const uint64_t key = conn->place.key;

                if (session_io_upgrade(worker, conn, verdict)) {
                        metric_set(&m_admission_rate, admission_rate(&worker->admission));
                        return;
                }
                admission_exit(&worker->admission, key);
                why = SHED_MEMORY;
        }
        if (why == SHED_MEMORY)
                metric_add(&m_no_memory, 1);
        entrance_shed(worker, conn, why, verdict);
}

/* Answers on their way hold more than handshakes do, so there may be no more of them. */
bool entrance_sheds_fetches(const struct worker *worker)
{
        return ladder_sheds(&worker->ladder, LADDER_NO_PREFETCH) ||
               worker->in_phase[CONN_LOADING] + worker->in_phase[CONN_REPLYING] >=
                   worker->admission.limits.handshakes;
}

bool entrance_is_crowded(const struct worker *worker)
{
        return worker->in_phase[CONN_FINISHING] + worker->in_phase[CONN_LINGERING] >=
               worker->admission.limits.handshakes;
}
