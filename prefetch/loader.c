/* prefetch/loader.c -- decides what is read from Redis and when; refuses to know which device
 * asked.
 *
 * Happy path: an ask comes from a worker's cache -> the thing is here already: answered at once; or
 * it is being read: the ask joins the list; or the read begins. All asks of one list are answered
 * together.
 *
 * Reads share the command link with the writer, so only so many indexes and so many bytes of bodies
 * are under way at once; the others wait their turn here. A start must not stand behind a herd's
 * prefetch.
 *
 * Nothing is kept for its own sake: a sweep drops what no worker holds any more. Failure is told to
 * all who ask, and not remembered: the caches space out their next tries. */
#include "prefetch/loader.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <event2/event.h>
#define HASH_NONFATAL_OOM 1
#include <uthash.h>

#include "base/log.h"
#include "base/metrics.h"
#include "prefetch/port.h"
#include "prefetch/store.h"

/* Indexes being read at once: one of 20,000 cohorts is some megabytes, and none tells its size. */
#define INDEX_READS_MAX 4u
#define READS_MAX       64u                /* bodies being read at once */
#define READ_BYTES_MAX  (4u * 1024 * 1024) /* bytes of them */
#define SWEEP_S         5
#define INDEX_KEY_MAX   (EVENT_ID_MAX + 1 + 16 + 1 + 20)

static struct metric m_indexes =
    METRIC_COUNTER("kickoff_prefetch_reads_total{what=\"index\"}", "Reads of bundles from Redis.");
static struct metric m_bodies =
    METRIC_COUNTER("kickoff_prefetch_reads_total{what=\"body\"}", "Reads of bundles from Redis.");
static struct metric m_failed = METRIC_COUNTER("kickoff_prefetch_failed_total",
                                               "Reads of bundles from Redis that gave no bundle.");
static struct metric m_poisoned =
    METRIC_COUNTER("kickoff_prefetch_poisoned_total",
                   "Bundle bodies that did not have the hash they are filed under.");
static struct metric m_held =
    METRIC_GAUGE("kickoff_prefetch_held_bytes", "Bundle bodies in this node's memory.");
static struct metric *const metrics[] = { &m_indexes, &m_bodies, &m_failed, &m_poisoned, &m_held };

struct loader;

struct response_slot {
        SLIST_ENTRY(response_slot) entry;
        char type[BUNDLE_TYPE_MAX + 1];
        struct bundle_response *response;
};

struct body_slot { /* one body, by its hash, and the responses made of it */
        char sha256[BUNDLE_SHA_TEXT + 1];
        struct blob *body;     /* NULL until it has come */
        struct bundle_row row; /* what is being read */
        struct ask_list asks;
        SLIST_HEAD(response_list, response_slot) responses;
        STAILQ_ENTRY(body_slot) turn;
        UT_hash_handle hh;
};

struct index_slot {
        char key[INDEX_KEY_MAX + 1];
        struct bundle_index *index; /* NULL until it has come */
        struct ask_list asks;
        STAILQ_ENTRY(index_slot) turn;
        UT_hash_handle hh;
};

struct load {                  /* one read under way; outlives the loader if Redis is slow */
        struct loader *loader; /* NULL: nobody waits any more */
        struct index_slot *index_slot;
        struct body_slot *body_slot;
        LIST_ENTRY(load) entry;
};

struct loader {
        struct redis *redis;
        char ns[NAMESPACE_MAX + 1];
        struct mailbox *mailbox;
        struct event *sweeper;
        struct index_slot *indexes;
        struct body_slot *bodies;
        LIST_HEAD(load_list, load) loads;
        STAILQ_HEAD(index_turns, index_slot) index_turns; /* waiting to be read */
        unsigned index_reads;                             /* being read */
        STAILQ_HEAD(turn_list, body_slot) turns;          /* bodies waiting to be read */
        unsigned reads;                                   /* bodies being read */
        uint32_t read_bytes;                              /* of them */
        bool is_closing;
};

static void answer_all(struct ask_list *asks, enum err err, struct bundle_index *index)
{
        struct ask *ask;

        while ((ask = STAILQ_FIRST(asks)) != NULL) {
                STAILQ_REMOVE_HEAD(asks, entry);
                ask->err = err;
                if (err == OK)
                        ask->index = bundle_index_ref(index);
                ask_answer(ask);
        }
}

static struct load *load_create(struct loader *loader)
{
        struct load *load = calloc(1, sizeof(*load));

        if (load == NULL)
                return NULL;
        load->loader = loader;
        LIST_INSERT_HEAD(&loader->loads, load, entry);
        return load;
}

/* The loader, or NULL if it is gone. */
static struct loader *load_finish(struct load *load)
{
        struct loader *loader = load->loader;

        if (loader != NULL)
                LIST_REMOVE(load, entry);
        free(load);
        return loader;
}

/* A broken link tells of itself; everything else about a bundle is told here. */
static void tell_failure(const char *event, const char *what, enum err err)
{
        metric_add(&m_failed, 1);
        if (err != ERR_TIMEOUT && err != ERR_UNAVAILABLE)
                log_warn("PREFETCH-LOAD-FAILED", "event=%s what=%s why=%s", event, what,
                         err_name(err));
}

/* --- indexes ------------------------------------------------------------------------------- */

static void index_slot_free(struct loader *loader, struct index_slot *slot)
{
        HASH_DEL(loader->indexes, slot);
        bundle_index_unref(slot->index);
        free(slot);
}

static void index_done(struct loader *loader, struct index_slot *slot, enum err err,
                       struct bundle_index *index)
{
        if (err == OK)
                slot->index = bundle_index_ref(index);
        else
                tell_failure(STAILQ_FIRST(&slot->asks)->event, "index", err);
        answer_all(&slot->asks, err, index);
        if (err != OK)
                index_slot_free(loader, slot);
}

static void start_indexes(struct loader *loader);

static void on_index(void *owner, enum err err, struct bundle_index *index)
{
        struct load *load = owner;
        struct index_slot *slot = load->index_slot;
        struct loader *loader = load_finish(load);

        if (loader == NULL)
                return;
        loader->index_reads--;
        index_done(loader, slot, err, index);
        start_indexes(loader);
}

static void start_index(struct loader *loader, struct index_slot *slot)
{
        const struct ask *ask = STAILQ_FIRST(&slot->asks);
        struct load *load = load_create(loader);
        enum err err = ERR_NOMEM;

        metric_add(&m_indexes, 1);
        if (load != NULL) {
                load->index_slot = slot;
                err = store_read_index(loader->redis, loader->ns, ask->event, ask->version,
                                       on_index, load);
                if (err != OK)
                        (void)load_finish(load);
        }
        if (err == OK)
                loader->index_reads++;
        else
                index_done(loader, slot, err, NULL);
}

static void start_indexes(struct loader *loader)
{
        struct index_slot *slot;

        while (loader->index_reads < INDEX_READS_MAX &&
               (slot = STAILQ_FIRST(&loader->index_turns)) != NULL) {
                STAILQ_REMOVE_HEAD(&loader->index_turns, turn);
                start_index(loader, slot);
        }
}

static struct index_slot *index_slot_create(struct loader *loader, const char *key)
{
        struct index_slot *slot = calloc(1, sizeof(*slot));

        if (slot == NULL)
                return NULL;
        strcpy(slot->key, key);
        STAILQ_INIT(&slot->asks);
        HASH_ADD_STR(loader->indexes, key, slot);
        if (slot->hh.tbl == NULL) { /* uthash had no memory */
                free(slot);
                return NULL;
        }
        return slot;
}

static void answer(struct ask *ask, enum err err)
{
        ask->err = err;
        ask_answer(ask);
}

/* The epoch is in the key because versions start anew in a log that was lost. */
static void ask_index(struct loader *loader, struct ask *ask)
{
        char key[INDEX_KEY_MAX + 1];
        struct index_slot *slot;

        snprintf(key, sizeof(key), "%s %llx %llu", ask->event, (unsigned long long)ask->epoch,
                 (unsigned long long)ask->version);
        HASH_FIND_STR(loader->indexes, key, slot);
        if (slot != NULL && slot->index != NULL) {
                ask->index = bundle_index_ref(slot->index);
                answer(ask, OK);
                return;
        }
        if (slot != NULL) {
                STAILQ_INSERT_TAIL(&slot->asks, ask, entry);
                return;
        }
        slot = index_slot_create(loader, key);
        if (slot == NULL) {
                answer(ask, ERR_NOMEM);
                return;
        }
        STAILQ_INSERT_TAIL(&slot->asks, ask, entry);
        STAILQ_INSERT_TAIL(&loader->index_turns, slot, turn);
        start_indexes(loader);
}

/* --- bodies and responses ------------------------------------------------------------------ */

static struct bundle_response *make_response(struct body_slot *slot, const struct bundle_row *row,
                                             uint64_t version)
{
        struct response_slot *made;

        SLIST_FOREACH(made, &slot->responses, entry)
        {
                if (made->response->version == version && strcmp(made->type, row->type) == 0)
                        return made->response;
        }
        made = calloc(1, sizeof(*made));
        if (made == NULL)
                return NULL;
        made->response = bundle_response_create(row, version, slot->body);
        if (made->response == NULL) {
                free(made);
                return NULL;
        }
        strcpy(made->type, row->type);
        SLIST_INSERT_HEAD(&slot->responses, made, entry);
        return made->response;
}

static void answer_response(struct body_slot *slot, struct ask *ask)
{
        struct bundle_response *response = make_response(slot, &ask->row, ask->version);

        ask->err = response != NULL ? OK : ERR_NOMEM;
        if (response != NULL)
                ask->response = bundle_response_ref(response);
        ask_answer(ask);
}

static void body_slot_free(struct loader *loader, struct body_slot *slot)
{
        struct response_slot *made;

        while ((made = SLIST_FIRST(&slot->responses)) != NULL) {
                SLIST_REMOVE_HEAD(&slot->responses, entry);
                bundle_response_unref(made->response);
                free(made);
        }
        if (slot->body != NULL)
                metric_add(&m_held, -(int64_t)slot->body->len);
        HASH_DEL(loader->bodies, slot);
        blob_unref(slot->body);
        free(slot);
}

static void body_done(struct loader *loader, struct body_slot *slot, enum err err,
                      struct blob *body)
{
        struct ask *ask = STAILQ_FIRST(&slot->asks);

        if (err == OK) {
                slot->body = blob_ref(body);
                metric_add(&m_held, body->len);
                while ((ask = STAILQ_FIRST(&slot->asks)) != NULL) {
                        STAILQ_REMOVE_HEAD(&slot->asks, entry);
                        answer_response(slot, ask);
                }
                return;
        }
        if (err == ERR_MISMATCH) {
                metric_add(&m_poisoned, 1);
                log_error("PREFETCH-POISONED", "event=%s cohort=%s sha256=%s", ask->event,
                          ask->row.cohort, slot->sha256);
        }
        tell_failure(ask->event, "body", err);
        answer_all(&slot->asks, err, NULL);
        body_slot_free(loader, slot);
}

static void start_bodies(struct loader *loader);

static void on_body(void *owner, enum err err, struct blob *body)
{
        struct load *load = owner;
        struct body_slot *slot = load->body_slot;
        struct loader *loader = load_finish(load);

        if (loader == NULL)
                return;
        loader->reads--;
        loader->read_bytes -= slot->row.size;
        body_done(loader, slot, err, body);
        start_bodies(loader);
}

static enum err start_body(struct loader *loader, struct body_slot *slot)
{
        struct load *load = load_create(loader);
        enum err err;

        metric_add(&m_bodies, 1);
        if (load == NULL)
                return ERR_NOMEM;
        load->body_slot = slot;
        err = store_read_body(loader->redis, loader->ns, &slot->row, on_body, load);
        if (err != OK) {
                (void)load_finish(load);
                return err;
        }
        loader->reads++;
        loader->read_bytes += slot->row.size;
        return OK;
}

static bool has_room_for(const struct loader *loader, const struct body_slot *slot)
{
        if (loader->reads == 0)
                return true;
        return loader->reads < READS_MAX && loader->read_bytes + slot->row.size <= READ_BYTES_MAX;
}

static void start_bodies(struct loader *loader)
{
        struct body_slot *slot;

        while ((slot = STAILQ_FIRST(&loader->turns)) != NULL && has_room_for(loader, slot)) {
                enum err err;

                STAILQ_REMOVE_HEAD(&loader->turns, turn);
                err = start_body(loader, slot);
                if (err != OK)
                        body_done(loader, slot, err, NULL);
        }
}

static struct body_slot *body_slot_create(struct loader *loader, const struct bundle_row *row)
{
        struct body_slot *slot = calloc(1, sizeof(*slot));

        if (slot == NULL)
                return NULL;
        strcpy(slot->sha256, row->sha256);
        slot->row = *row;
        STAILQ_INIT(&slot->asks);
        SLIST_INIT(&slot->responses);
        HASH_ADD_STR(loader->bodies, sha256, slot);
        if (slot->hh.tbl == NULL) {
                free(slot);
                return NULL;
        }
        return slot;
}

static void ask_response(struct loader *loader, struct ask *ask)
{
        struct body_slot *slot;

        HASH_FIND_STR(loader->bodies, ask->row.sha256, slot);
        if (slot != NULL && slot->body != NULL) {
                answer_response(slot, ask);
                return;
        }
        if (slot != NULL) {
                STAILQ_INSERT_TAIL(&slot->asks, ask, entry);
                return;
        }
        slot = body_slot_create(loader, &ask->row);
        if (slot == NULL) {
                answer(ask, ERR_NOMEM);
                return;
        }
        STAILQ_INSERT_TAIL(&slot->asks, ask, entry);
        STAILQ_INSERT_TAIL(&loader->turns, slot, turn);
        start_bodies(loader);
}

/* --- the loader ---------------------------------------------------------------------------- */

static void on_ask(struct letter *letter, void *owner)
{
        struct loader *loader = owner;
        struct ask *ask = (struct ask *)letter;

        if (loader->is_closing)
                answer(ask, ERR_UNAVAILABLE);
        else if (ask->kind == ASK_INDEX)
                ask_index(loader, ask);
        else
                ask_response(loader, ask);
}

void loader_ask(struct loader *loader, struct ask *ask)
{
        ask->letter.run = on_ask;
        mailbox_post(loader->mailbox, &ask->letter);
}

static bool only_we_hold(_Atomic uint32_t *refs)
{
        /* Whoever holds no reference cannot take one, so 1 stays 1 while we look. */
        return atomic_load_explicit(refs, memory_order_acquire) == 1;
}

static void sweep_responses(struct body_slot *slot)
{
        struct response_list kept = SLIST_HEAD_INITIALIZER(kept);
        struct response_slot *made;

        while ((made = SLIST_FIRST(&slot->responses)) != NULL) {
                SLIST_REMOVE_HEAD(&slot->responses, entry);
                if (only_we_hold(&made->response->refs)) {
                        bundle_response_unref(made->response);
                        free(made);
                } else {
                        SLIST_INSERT_HEAD(&kept, made, entry);
                }
        }
        slot->responses = kept;
}

static void on_sweep(evutil_socket_t fd, short what, void *arg)
{
        struct loader *loader = arg;
        struct index_slot *index, *next_index;
        struct body_slot *body, *next_body;

        (void)fd;
        (void)what;
        HASH_ITER(hh, loader->indexes, index, next_index)
        {
                if (index->index != NULL && only_we_hold(&index->index->refs))
                        index_slot_free(loader, index);
        }
        HASH_ITER(hh, loader->bodies, body, next_body)
        {
                sweep_responses(body);
                if (body->body != NULL && only_we_hold(&body->body->refs))
                        body_slot_free(loader, body);
        }
}

enum err loader_create(struct event_base *base, struct redis *redis, const char *ns,
                       struct loader **ret_loader)
{
        const struct timeval every = { SWEEP_S, 0 };
        struct loader *loader = calloc(1, sizeof(*loader));
        enum err err;

        if (loader == NULL)
                return ERR_NOMEM;
        metrics_register(metrics, countof(metrics));
        loader->redis = redis;
        check(strlen(ns) <= NAMESPACE_MAX);
        strcpy(loader->ns, ns);
        LIST_INIT(&loader->loads);
        STAILQ_INIT(&loader->index_turns);
        STAILQ_INIT(&loader->turns);
        err = mailbox_create(base, loader, &loader->mailbox);
        if (err != OK)
                goto fail_loader;
        err = ERR_NOMEM;
        loader->sweeper = event_new(base, -1, EV_PERSIST, on_sweep, loader);
        if (loader->sweeper == NULL)
                goto fail_mailbox;
        if (event_add(loader->sweeper, &every) != 0)
                goto fail_sweeper;
        *ret_loader = loader;
        return OK;

fail_sweeper:
        event_free(loader->sweeper);
fail_mailbox:
        mailbox_destroy(loader->mailbox);
fail_loader:
        free(loader);
        return err;
}

void loader_destroy(struct loader *loader)
{
        struct index_slot *index, *next_index;
        struct body_slot *body, *next_body;
        struct load *load;

        if (loader == NULL)
                return;
        loader->is_closing = true;
        mailbox_destroy(loader->mailbox);
        event_free(loader->sweeper);
        while ((load = LIST_FIRST(&loader->loads)) != NULL) {
                LIST_REMOVE(load, entry);
                load->loader = NULL; /* its read comes back to nobody, and frees it */
        }
        HASH_ITER(hh, loader->indexes, index, next_index)
        {
                answer_all(&index->asks, ERR_UNAVAILABLE, NULL);
                index_slot_free(loader, index);
        }
        HASH_ITER(hh, loader->bodies, body, next_body)
        {
                answer_all(&body->asks, ERR_UNAVAILABLE, NULL);
                body_slot_free(loader, body);
        }
        free(loader);
}
