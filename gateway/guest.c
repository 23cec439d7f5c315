/* gateway/guest.c -- one request at a time. Most heads come whole: they are read in the worker's
 * scratch, and only what is incomplete, or must wait for a reply to be out, moves to a block of its
 * own.
 *
 * Happy path: recv -> head_parse -> door_decide -> session_io_upgrade, or a reply and the next
 * head. Failure modes: head too slow -> closed at a deadline counted from its beginning, however it
 * drips; head broken -> refused, and the rest of the stream distrusted; no room -> 503 with a
 * spread Retry-After; reply stuck -> closed after CONN_STALL_MS; bundle slow -> the cache says BUSY
 * in time. */
#include "gateway/guest.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include "gateway/entrance.h"
#include "gateway/gateway_metrics.h"
#include "gateway/output.h"
#include "gateway/response.h"
#include "gateway/session_input.h"
#include "gateway/worker_inside.h"

#define NOT_YET_MAX_AGE_S 10   /* a bundle may come any moment */
#define OVER_MAX_AGE_S    3600 /* an event that ended stays ended */
#define LOADING_MAX_MS                                                            \
        (CACHE_WAIT_MS * 3) /* the cache answers sooner: this is the net below it \
                             */

struct request {
        struct head head;
        struct door_verdict verdict;
};

static uint32_t handshake_ms(const struct worker *worker)
{
        return worker->options.handshake_ms != 0 ? worker->options.handshake_ms
                                                 : WORKER_HANDSHAKE_MS;
}

/* --- replies --------------------------------------------------------------------------------- */

static void await_head(struct worker *worker, struct conn *conn)
{
        conn_set_phase(worker, conn, CONN_HEAD);
        conn->has_begun = false;
        conn_set_timer(worker, conn, CONN_KEEP_ALIVE_MS);
}

/* The reply is out as a whole. */
static void replied(struct worker *worker, struct conn *conn)
{
        if (conn->keep_alive)
                await_head(worker, conn);
        else if (entrance_is_crowded(worker))
                conn_close(worker,
                           conn); /* the peer may miss the answer, but not keep the socket */
        else
                conn_finish(worker, conn);
}

static void reply(struct worker *worker, struct conn *conn, const struct piece *pieces, unsigned n)
{
        unsigned begun;

        switch (output_send(worker, conn, pieces, n, KEEP_ALL, &begun)) {
        case OUTPUT_SENT:
                replied(worker, conn);
                break;
        case OUTPUT_BLOCKED:
                conn_set_phase(worker, conn, CONN_REPLYING);
                conn_set_timer(worker, conn, CONN_STALL_MS);
                conn_watch(worker, conn, false); /* one request at a time */
                break;
        case OUTPUT_FULL:
                check(false); /* nothing is pending when a reply begins */
        case OUTPUT_LOST:
                break;
        }
}

static void reply_buf(struct worker *worker, struct conn *conn, const struct buf *out)
{
        const struct piece piece = { out->data, (uint32_t)out->len, NULL };

        check(!out->failed);
        reply(worker, conn, &piece, 1);
}

static void refuse(struct worker *worker, struct conn *conn, unsigned status, const char *title,
                   const char *detail, unsigned max_age_s, bool head_only)
{
        const struct refusal_text text = { status, title, detail };
        unsigned retry_s = 0;
        struct buf out;

        if (status == 503)
                retry_s = RESPONSE_RETRY_MIN_S +
                          (unsigned)rng_below(&worker->rng,
                                              RESPONSE_RETRY_MAX_S - RESPONSE_RETRY_MIN_S + 1);
        buf_init_fixed(&out, worker->compose, sizeof(worker->compose));
        response_refusal(&out, &text, retry_s, max_age_s, !conn->keep_alive, head_only);
        reply_buf(worker, conn, &out);
}

static void refuse_busy(struct worker *worker, struct conn *conn, const char *title, bool head_only)
{
        gateway_metrics_refused(503);
        conn->keep_alive = false; /* a node that has no room needs the socket back */
        refuse(worker, conn, 503, title, "Come back after Retry-After seconds.", 0, head_only);
}

static void reply_health(struct worker *worker, struct conn *conn, bool head_only)
{
        struct buf out;

        if (worker->snapshot == NULL || worker->is_draining) {
                refuse_busy(worker, conn,
                            worker->is_draining ? "this node is leaving" : "this node is starting",
                            head_only);
                return;
        }
        buf_init_fixed(&out, worker->compose, sizeof(worker->compose));
        response_health(&out, !conn->keep_alive, head_only);
        reply_buf(worker, conn, &out);
}

/* The body is the payload of the reset frame that devices get: encoded once, shared by all. */
static void reply_events(struct worker *worker, struct conn *conn, const struct head *head,
                         bool head_only)
{
        struct blob *frame = NULL;
        struct piece pieces[2];
        struct buf out;
        uint32_t skip;

        if (worker->snapshot != NULL)
                frame = snapshot_frame(worker->snapshot, RESET_NEW, WIRE_JSON);
        if (frame == NULL) {
                refuse_busy(worker, conn, "this node is starting", head_only);
                return;
        }
        buf_init_fixed(&out, worker->compose, sizeof(worker->compose));
        if (response_events_matches(snapshot_token(worker->snapshot), head->if_none_match)) {
                response_events_304(&out, snapshot_token(worker->snapshot), !conn->keep_alive);
                reply_buf(worker, conn, &out);
                return;
        }
        skip = (uint32_t)ws_header_size(frame->data);
        response_events_head(&out, snapshot_token(worker->snapshot), frame->len - skip,
                             !conn->keep_alive);
        pieces[0] = (struct piece){ out.data, (uint32_t)out.len, NULL };
        pieces[1] = (struct piece){ frame->data + skip, frame->len - skip, frame };
        check(!out.failed);
        reply(worker, conn, pieces, head_only ? 1 : 2);
}

/* --- bundles --------------------------------------------------------------------------------- */

/* Head and age as one piece, in the worker's scratch: a copy of some 600 bytes for each answer,
 * rather than a third piece for each sendmsg(), or eight whole heads of each variant in memory. */
static struct piece join(struct worker *worker, const struct blob *head, struct slice age)
{
        check(head->len + age.len <= sizeof(worker->compose));
        memcpy(worker->compose, head->data, head->len);
        memcpy(worker->compose + head->len, age.at, age.len);
        return (struct piece){ worker->compose, head->len + (uint32_t)age.len, NULL };
}

static void reply_bundle(struct worker *worker, struct conn *conn, const struct head *head,
                         bool head_only, struct bundle_response *response)
{
        struct slice age = bundle_age((unsigned)rng_below(&worker->rng, BUNDLE_AGES));
        struct bundle_choice choice;
        const struct blob *first;
        struct blob *body;
        struct piece pieces[2];

        if (!bundle_response_choose(response, head->accept_encoding, head->if_none_match,
                                    &choice)) {
                gateway_metrics_prefetch(406);
                refuse(worker, conn, 406, "no acceptable content coding",
                       "Accept identity, which is always there, or leave Accept-Encoding out.", 0,
                       head_only);
                return;
        }
        gateway_metrics_prefetch(choice.not_modified ? 304 : 200);
        first = choice.not_modified ? choice.variant->head_304 : choice.variant->head;
        body = choice.variant->body;
        pieces[0] = join(worker, first, age);
        pieces[1] = (struct piece){ body->data, body->len, body };
        reply(worker, conn, pieces, choice.not_modified || head_only || body->len == 0 ? 1 : 2);
}

static void answer_prefetch(struct worker *worker, struct conn *conn, const struct head *head,
                            bool head_only, enum cache_answer answer,
                            struct bundle_response *response)
{
        static const struct {
                unsigned status, max_age_s;
                const char *title, *detail;
        } table[] = {
                [CACHE_UNKNOWN] = { 404, NOT_YET_MAX_AGE_S, "no such event",
                                    "Look at /v1/events for those there are." },
                [CACHE_NOT_YET] = { 404, NOT_YET_MAX_AGE_S, "the event has no bundle yet",
                                    "Ask again when this answer has expired." },
                [CACHE_NO_COHORT] = { 404, NOT_YET_MAX_AGE_S, "no bundle for this cohort",
                                      "There is none for the default cohort either." },
                [CACHE_OVER] = { 410, OVER_MAX_AGE_S, "the event is over",
                                 "Its bundle is not needed any more." },
        };

        if (answer == CACHE_HIT) {
                reply_bundle(worker, conn, head, head_only, response);
                return;
        }
        if (answer == CACHE_BUSY) {
                gateway_metrics_prefetch(503);
                refuse(worker, conn, 503, "the bundle cannot be loaded now",
                       "Come back after Retry-After seconds.", 0, head_only);
                return;
        }
        check((size_t)answer < countof(table) && table[answer].status != 0);
        gateway_metrics_prefetch(table[answer].status);
        refuse(worker, conn, table[answer].status, table[answer].title, table[answer].detail,
               table[answer].max_age_s, head_only);
}

static void start_prefetch(struct worker *worker, struct conn *conn, const struct request *request)
{
        const struct door_verdict *verdict = &request->verdict;
        struct bundle_response *response = NULL;
        enum cache_answer answer = CACHE_BUSY;

        if (worker->snapshot != NULL && worker->cache != NULL)
                answer = cache_get(worker->cache, worker->snapshot, verdict->event, verdict->cohort,
                                   conn, worker->now_ms, &response);
        if (answer == CACHE_WAITING) {
                conn_set_phase(worker, conn, CONN_LOADING);
                conn_set_timer(worker, conn, LOADING_MAX_MS);
                conn_watch(worker, conn, false); /* its head is kept; one request at a time */
                return;
        }
        answer_prefetch(worker, conn, &request->head, verdict->head_only, answer, response);
}

/* --- requests -------------------------------------------------------------------------------- */

static void answer(struct worker *worker, struct conn *conn, struct request *request)
{
        struct door_verdict *verdict = &request->verdict;

        door_decide(&request->head, &worker->options.rules, verdict);
        /* A body would be read as the next head: whoever sends one is not trusted with another. */
        conn->keep_alive =
            request->head.keep_alive && !request->head.has_body && !worker->is_draining;
        switch (verdict->kind) {
        case DOOR_CONNECT:
        case DOOR_STREAM:
                entrance_let_in(worker, conn, verdict);
                break;
        case DOOR_PREFETCH:
                if (entrance_sheds_fetches(worker)) {
                        gateway_metrics_prefetch(503);
                        entrance_shed(worker, conn, SHED_FETCH, verdict);
                        break;
                }
                start_prefetch(worker, conn, request);
                break;
        case DOOR_EVENTS:
                if (entrance_sheds_fetches(worker)) {
                        entrance_shed(worker, conn, SHED_FETCH, verdict);
                        break;
                }
                reply_events(worker, conn, &request->head, verdict->head_only);
                break;
        case DOOR_HEALTH:
                reply_health(worker, conn, verdict->head_only);
                break;
        case DOOR_REFUSE:
                gateway_metrics_refused(verdict->status);
                refuse(worker, conn, verdict->status, verdict->title, verdict->detail, 0,
                       verdict->head_only);
                break;
        }
}

static void refuse_head(struct worker *worker, struct conn *conn, unsigned status)
{
        conn->keep_alive = false;
        gateway_metrics_refused(status);
        refuse(worker, conn, status,
               status == 431   ? "the request head is too long"
               : status == 501 ? "this is not implemented"
               : status == 505 ? "this HTTP version is not spoken"
                               : "the request head is malformed",
               "Send a plain HTTP/1.1 request.", 0, false);
}

/* --- input ----------------------------------------------------------------------------------- */

/* Reads one request and answers it. Bytes used; 0 = they must wait, for more or for a load. */
static size_t one_request(struct worker *worker, struct conn *conn, const char *at, size_t len,
                          size_t *scanned)
{
        struct request request;
        unsigned status = 400;
        size_t used = 0;

        switch (head_parse(at, len, scanned, &request.head, &used, &status)) {
        case HEAD_MORE:
                check(len < HEAD_MAX); /* or it would be 431 */
                if (!conn->has_begun) {
                        conn->has_begun = true;
                        conn_set_timer(worker, conn, handshake_ms(worker));
                }
                return 0;
        case HEAD_BAD:
                refuse_head(worker, conn, status);
                return len; /* where the next head begins is anybody's guess */
        case HEAD_DONE:
                break;
        }
        *scanned = 0;
        answer(worker, conn, &request);
        return conn->phase == CONN_LOADING ? 0 : used;
}

/* Into a block of the connection's own: `block` (in which `at` may lie) or, if that is NULL, a new
 * one. */
static void keep(struct worker *worker, struct conn *conn, struct block *block, const char *at,
                 size_t len, size_t scanned)
{
        if (block == NULL)
                block = pool_take(&worker->pool);
        if (block == NULL) {
                metric_add(&m_no_memory, 1);
                conn_close(worker, conn);
                return;
        }
        check(len <= sizeof(block->head.bytes));
        memmove(block->head.bytes, at, len);
        block->head.len = (uint32_t)len;
        block->head.scanned = scanned;
        conn->block = block;
}

/* The header that a proxy owes us first. False: it has not come whole, or never will. */
static bool skip_proxy(struct worker *worker, struct conn *conn, const char **at, size_t *len)
{
        size_t used;

        if (entrance_proxy(worker, conn, *at, *len, &used) != PROXY_DONE)
                return false;
        *at += used;
        *len -= used;
        return true;
}

/* Answers the requests in `len` bytes, which lie in the worker's scratch or in the connection's
 * block, until one is incomplete or a reply must wait; what is left is kept. */
static void consume(struct worker *worker, struct conn *conn, const char *at, size_t len)
{
        struct block *block = conn->block; /* ours until the end, for `at` may lie in it */
        size_t scanned = block != NULL ? block->head.scanned : 0;

        conn->block = NULL;
        if (conn->wants_proxy && !skip_proxy(worker, conn, &at, &len)) {
                if (conn->phase == CONN_HEAD)
                        keep(worker, conn, block, at, len, 0);
                else
                        pool_give(&worker->pool, block);
                return;
        }
        while (conn->phase == CONN_HEAD && len > 0) {
                size_t used = one_request(worker, conn, at, len, &scanned);

                if (used == 0)
                        break;
                at += used;
                len -= used;
        }
        switch ((enum conn_phase)conn->phase) {
        case CONN_SESSION:
                if (len > 0) /* what follows an upgrade is frames already */
                        session_input_feed(worker, conn, (const uint8_t *)at, len);
                break;
        case CONN_HEAD:
        case CONN_LOADING:
        case CONN_REPLYING:
                if (len > 0) {
                        keep(worker, conn, block, at, len, scanned);
                        block = NULL;
                }
                break;
        case CONN_FINISHING:
        case CONN_LINGERING:
        case CONN_DEAD:
        case CONN_PHASES:
                break;
        }
        pool_give(&worker->pool, block);
}

void guest_readable(struct worker *worker, struct conn *conn)
{
        struct block *block = conn->block;
        size_t have = block != NULL ? block->head.len : 0;
        char *into = block != NULL ? block->head.bytes : (char *)worker->recv;
        /* Never more than a block can keep: the rest waits in the socket. */
        ssize_t n = recv(conn->fd, into + have, sizeof(block->head.bytes) - have, MSG_DONTWAIT);

        if (n > 0)
                consume(worker, conn, into, have + (size_t)n);
        else if (n == 0 || (errno != EAGAIN && errno != EINTR))
                conn_close(worker, conn);
        if (conn->phase == CONN_HEAD)
                entrance_wait(worker, conn);
}

void guest_arrive(struct worker *worker, struct conn *conn, const struct address *peer)
{
        conn->has_begun = true; /* the deadline runs from the accept on */
        conn_set_timer(worker, conn, handshake_ms(worker));
        entrance_arrived(worker, conn, peer);
        guest_readable(worker, conn);
        if (conn->phase == CONN_HEAD && conn_watch(worker, conn, true))
                entrance_make_room(worker, conn);
}

/* A reply is out at last: read on, beginning with what came meanwhile. */
static void resume(struct worker *worker, struct conn *conn)
{
        if (conn->phase == CONN_HEAD && conn->block != NULL)
                consume(worker, conn, conn->block->head.bytes, conn->block->head.len);
        if (conn->phase == CONN_HEAD) {
                entrance_wait(worker, conn);
                conn_watch(worker, conn, true);
        }
}

void guest_writable(struct worker *worker, struct conn *conn)
{
        switch (output_flush(worker, conn)) {
        case OUTPUT_SENT:
                conn_want_write(worker, conn, false);
                replied(worker, conn);
                resume(worker, conn);
                break;
        case OUTPUT_BLOCKED:
                conn_set_timer(worker, conn, CONN_STALL_MS);
                break;
        case OUTPUT_FULL:
        case OUTPUT_LOST:
                break;
        }
}

void guest_loaded(struct worker *worker, struct conn *conn, enum cache_answer answer,
                  struct bundle_response *response)
{
        struct block *block = conn->block; /* the request, and what came after it */
        size_t used = 0, scanned = 0;
        unsigned status;
        struct head head;

        check(conn->phase == CONN_LOADING && block != NULL);
        check(head_parse(block->head.bytes, block->head.len, &scanned, &head, &used, &status) ==
              HEAD_DONE); /* as it did before */
        conn->block = NULL;
        conn_set_phase(worker, conn, CONN_REPLYING);
        answer_prefetch(worker, conn, &head, slice_is(head.method, "HEAD"), answer, response);
        if ((conn->phase == CONN_HEAD || conn->phase == CONN_REPLYING) && used < block->head.len)
                keep(worker, conn, block, block->head.bytes + used, block->head.len - used, 0);
        else
                pool_give(&worker->pool, block);
        resume(worker, conn);
}

void guest_timer(struct worker *worker, struct conn *conn)
{
        switch ((enum conn_phase)conn->phase) {
        case CONN_HEAD:
                if (conn->has_begun)
                        metric_add(&m_head_timeouts, 1);
                conn_close(worker, conn);
                break;
        case CONN_LOADING:
                cache_forget(worker->cache, conn);
                guest_loaded(worker, conn, CACHE_BUSY, NULL);
                break;
        default:
                conn_close(worker, conn);
                break;
        }
}
