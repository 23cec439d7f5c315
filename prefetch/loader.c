/* prefetch/loader.c -- decides which indexes are read from Redis and when; refuses to know which
 * device asked. Bodies and what is made of them: loader_bodies.c.
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

#include "base/log.h"
#include "base/metrics.h"
#include "prefetch/loader_inside.h"
#include "prefetch/store.h"

/* Indexes being read at once: one of 20,000 cohorts is some megabytes, and none tells its size. */
#define INDEX_READS_MAX 4u
#define SWEEP_S         5

static struct metric m_indexes =
    METRIC_COUNTER("kickoff_prefetch_reads_total{what=\"index\"}", "Reads of bundles from Redis.");
static struct metric m_failed = METRIC_COUNTER("kickoff_prefetch_failed_total",
                                               "Reads of bundles from Redis that gave no bundle.");
static struct metric *const metrics[] = { &m_indexes, &m_failed };

void loader_answer_all(struct ask_list *asks, enum err err, struct bundle_index *index)
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

void loader_answer(struct ask *ask, enum err err)
{
        ask->err = err;
        ask_answer(ask);
}

struct load *loader_load_create(struct loader *loader)
{
        struct load *load = calloc(1, sizeof(*load));

        if (load == NULL)
                return NULL;
        load->loader = loader;
        LIST_INSERT_HEAD(&loader->loads, load, entry);
        return load;
}

/* The loader, or NULL if it is gone. */
struct loader *loader_load_finish(struct load *load)
{
        struct loader *loader = load->loader;

        if (loader != NULL)
                LIST_REMOVE(load, entry);
        free(load);
        return loader;
}

/* A broken link tells of itself; everything else about a bundle is told here. */
void loader_tell_failure(const char *event, const char *what, enum err err)
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
                loader_tell_failure(STAILQ_FIRST(&slot->asks)->event, "index", err);
        loader_answer_all(&slot->asks, err, index);
        if (err != OK)
                index_slot_free(loader, slot);
}

static void start_indexes(struct loader *loader);

static void on_index(void *owner, enum err err, struct bundle_index *index)
{
        struct load *load = owner;
        struct index_slot *slot = load->index_slot;
        struct loader *loader = loader_load_finish(load);

        if (loader == NULL)
                return;
        loader->index_reads--;
        index_done(loader, slot, err, index);
        start_indexes(loader);
}

static void start_index(struct loader *loader, struct index_slot *slot)
{
        const struct ask *ask = STAILQ_FIRST(&slot->asks);
        struct load *load = loader_load_create(loader);
        enum err err = ERR_NOMEM;

        metric_add(&m_indexes, 1);
        if (load != NULL) {
                load->index_slot = slot;
                err = store_read_index(loader->redis, loader->ns, ask->event, ask->version,
                                       on_index, load);
                if (err != OK)
                        (void)loader_load_finish(load);
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
                loader_answer(ask, OK);
                return;
        }
        if (slot != NULL) {
                STAILQ_INSERT_TAIL(&slot->asks, ask, entry);
                return;
        }
        slot = index_slot_create(loader, key);
        if (slot == NULL) {
                loader_answer(ask, ERR_NOMEM);
                return;
        }
        STAILQ_INSERT_TAIL(&slot->asks, ask, entry);
        STAILQ_INSERT_TAIL(&loader->index_turns, slot, turn);
        start_indexes(loader);
}

/* --- the loader ---------------------------------------------------------------------------- */

static void on_ask(struct letter *letter, void *owner)
{
        struct loader *loader = owner;
        struct ask *ask = (struct ask *)letter;

        if (loader->is_closing)
                loader_answer(ask, ERR_UNAVAILABLE);
        else if (ask->kind == ASK_INDEX)
                ask_index(loader, ask);
        else
                loader_bodies_ask(loader, ask);
}

void loader_ask(struct loader *loader, struct ask *ask)
{
        ask->letter.run = on_ask;
        mailbox_post(loader->mailbox, &ask->letter);
}

static void on_sweep(evutil_socket_t fd, short what, void *arg)
{
        struct loader *loader = arg;
        struct index_slot *index, *next_index;

        (void)fd;
        (void)what;
        HASH_ITER(hh, loader->indexes, index, next_index)
        {
                if (index->index != NULL && loader_only_we_hold(&index->index->refs))
                        index_slot_free(loader, index);
        }
        loader_bodies_sweep(loader);
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
        err = loader_bodies_init(loader, base);
        if (err != OK)
                goto fail_loader;
        err = mailbox_create(base, loader, &loader->mailbox);
        if (err != OK)
                goto fail_bodies;
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
fail_bodies:
        loader_bodies_fini(loader);
fail_loader:
        free(loader);
        return err;
}

void loader_destroy(struct loader *loader)
{
        struct index_slot *index, *next_index;
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
                loader_answer_all(&index->asks, ERR_UNAVAILABLE, NULL);
                index_slot_free(loader, index);
        }
        loader_bodies_fini(loader);
        free(loader);
}
