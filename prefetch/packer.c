/* prefetch/packer.c -- decides when a body is packed and what of it is kept; refuses to know where
 * it goes.
 *
 * zstd first: it takes a sixth of gzip's time, and where it saves nothing (pictures, what is packed
 * already) gzip is not tried. The control thread carries signals, too: after each step the loop
 * looks at its sockets. The timer of 0 ms is what does that; an event made active from its own
 * callback would run again before them (libevent 2.1, event_process_active_single_queue). */
#include "prefetch/packer.h"

#include <stdlib.h>

#include <event2/event.h>

#include "base/gzip.h"
#include "base/metrics.h"
#include "base/zstd.h"
#include "prefetch/response.h"

#define STEP_BYTES 16384u /* of input: up to a millisecond of gzip */

static struct metric m_packed = METRIC_COUNTER("kickoff_prefetch_packed_total",
                                               "Coded variants of bundle bodies made and kept.");
static struct metric m_saved =
    METRIC_COUNTER("kickoff_prefetch_packed_saved_bytes_total",
                   "Bytes by which coded variants are smaller than their bodies.");
static struct metric *const metrics[] = { &m_packed, &m_saved };

struct packer {
        struct event *stepper;
        packer_done_fn *done;
        void *owner;
        STAILQ_HEAD(turns, packing) turns; /* the first is under way */
        size_t backlog;                    /* bytes of all of them */
        /* Of the first, at most one: */
        struct zstd *zstd;
        struct gzip *gzip;
};

static void schedule(struct packer *packer)
{
        const struct timeval now = { 0, 0 };

        /* Without memory for a timer nothing is packed until the next body comes. */
        if (!STAILQ_EMPTY(&packer->turns))
                (void)event_add(packer->stepper, &now);
}

static void drop_engines(struct packer *packer)
{
        zstd_destroy(packer->zstd);
        gzip_destroy(packer->gzip);
        packer->zstd = NULL;
        packer->gzip = NULL;
}

static void leave(struct packer *packer, struct packing *packing)
{
        if (packing == STAILQ_FIRST(&packer->turns))
                drop_engines(packer);
        STAILQ_REMOVE(&packer->turns, packing, packing, turn);
        packer->backlog -= packing->body->len;
        blob_unref(packing->body);
        packing->body = NULL;
        packing->is_under_way = false;
}

static void keep(struct packing *packing, enum coding coding, const void *bytes, size_t len)
{
        packing->packed[coding] = blob_create(bytes, len);
        if (packing->packed[coding] == NULL)
                return; /* that coding stays away */
        metric_add(&m_packed, 1);
        metric_add(&m_saved, (int64_t)(packing->body->len - len));
}

/* True once zstd has done what it can; then *ret_pays tells whether gzip is worth trying. */
static bool step_zstd(struct packer *packer, struct packing *packing, bool *ret_pays)
{
        const struct blob *body = packing->body;
        size_t limit = bundle_packed_max(body->len), len;
        enum err err = OK;
        bool done = false;

        if (packer->zstd == NULL)
                err = zstd_create(body->data, body->len, limit, &packer->zstd);
        if (err == OK)
                err = zstd_step(packer->zstd, STEP_BYTES, &done);
        if (err == OK && !done)
                return false;
        if (err == OK) {
                const void *bytes = zstd_result(packer->zstd, &len);

                keep(packing, CODING_ZSTD, bytes, len);
        }
        drop_engines(packer);
        *ret_pays = err != ERR_TOO_LARGE;
        return true;
}

static bool step_gzip(struct packer *packer, struct packing *packing)
{
        size_t len;
        enum err err;
        bool done = false;

        err = gzip_step(packer->gzip, STEP_BYTES, &done);
        if (err == OK && !done)
                return false;
        if (err == OK) {
                const void *bytes = gzip_result(packer->gzip, &len);

                keep(packing, CODING_GZIP, bytes, len);
        }
        drop_engines(packer);
        return true;
}

/* True: the body is done. */
static bool step(struct packer *packer, struct packing *packing)
{
        const struct blob *body = packing->body;
        bool pays = false;

        if (packer->gzip != NULL)
                return step_gzip(packer, packing);
        if (!step_zstd(packer, packing, &pays))
                return false;
        return !pays || gzip_create(body->data, body->len, bundle_packed_max(body->len),
                                    &packer->gzip) != OK;
}

static void on_step(evutil_socket_t fd, short what, void *arg)
{
        struct packer *packer = arg;
        struct packing *packing = STAILQ_FIRST(&packer->turns);

        (void)fd;
        (void)what;
        if (packing != NULL && step(packer, packing)) {
                leave(packer, packing);
                packer->done(packer->owner, packing);
        }
        schedule(packer);
}

bool packer_add(struct packer *packer, struct packing *packing, struct blob *body)
{
        check(!packing->is_under_way);
        if (bundle_packed_max(body->len) == 0)
                return false;
        packing->body = blob_ref(body);
        packing->is_under_way = true;
        packer->backlog += body->len;
        STAILQ_INSERT_TAIL(&packer->turns, packing, turn);
        schedule(packer);
        return true;
}

size_t packer_backlog(const struct packer *packer)
{
        return packer->backlog;
}

void packer_drop(struct packer *packer, struct packing *packing)
{
        if (packing->is_under_way)
                leave(packer, packing);
        for (int i = 0; i < CODINGS; i++) {
                blob_unref(packing->packed[i]);
                packing->packed[i] = NULL;
        }
}

enum err packer_create(struct event_base *base, packer_done_fn *done, void *owner,
                       struct packer **ret_packer)
{
        struct packer *packer = calloc(1, sizeof(*packer));

        if (packer == NULL)
                return ERR_NOMEM;
        packer->stepper = evtimer_new(base, on_step, packer);
        if (packer->stepper == NULL) {
                free(packer);
                return ERR_NOMEM;
        }
        metrics_register(metrics, countof(metrics));
        packer->done = done;
        packer->owner = owner;
        STAILQ_INIT(&packer->turns);
        *ret_packer = packer;
        return OK;
}

void packer_destroy(struct packer *packer)
{
        struct packing *packing;

        if (packer == NULL)
                return;
        while ((packing = STAILQ_FIRST(&packer->turns)) != NULL)
                leave(packer, packing);
        event_free(packer->stepper);
        free(packer);
}
