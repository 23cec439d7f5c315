/* prefetch/loader_bodies.c -- bodies: when each is read from Redis, and that it is verified, packed
 * and made into responses once, however many ask; refuses to know who they are.
 *
 * Happy path: first ask -> read (in its turn) -> packed -> response -> all who ask are answered.
 * The first answer waits for the packer, so that who asks an idle node gets the small variant; but
 * not behind a queue of more than PACK_WAIT_BYTES: then a body goes out as it is, and its variants
 * are added to the responses when they have been made. */
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/metrics.h"
#include "prefetch/loader_inside.h"
#include "prefetch/store.h"

#define READS_MAX       64u                /* being read at once */
#define READ_BYTES_MAX  (4u * 1024 * 1024) /* of these */
#define PACK_WAIT_BYTES (1024u * 1024)     /* about 60 ms of packing (DESIGN.md) */

static struct metric m_bodies =
    METRIC_COUNTER("kickoff_prefetch_reads_total{what=\"body\"}", "Reads of bundles from Redis.");
static struct metric m_poisoned =
    METRIC_COUNTER("kickoff_prefetch_poisoned_total",
                   "Bundle bodies that did not have the hash they are filed under.");
static struct metric m_held =
    METRIC_GAUGE("kickoff_prefetch_held_bytes",
                 "Bundle bodies in this node's memory, with their coded variants.");
static struct metric *const metrics[] = { &m_bodies, &m_poisoned, &m_held };

/* --- responses ----------------------------------------------------------------------------- */

static void add_variants(struct body_slot *slot, struct bundle_response *response)
{
        for (int i = 0; i < CODINGS; i++)
                if (slot->packing.packed[i] != NULL)
                        bundle_response_add(response, (enum coding)i, slot->packing.packed[i]);
}

static bool is_made_of(const struct bundle_response *response, const struct bundle_row *row,
                       uint64_t version)
{
        return response->version == version && strcmp(response->row.type, row->type) == 0 &&
               strcmp(response->row.position, row->position) == 0;
}

static struct bundle_response *make_response(struct body_slot *slot, const struct bundle_row *row,
                                             uint64_t version)
{
        struct response_slot *made;

        SLIST_FOREACH(made, &slot->responses, entry)
        {
                if (is_made_of(made->response, row, version))
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
        if (!slot->packing.is_under_way)
                add_variants(slot, made->response);
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

static void answer_responses(struct body_slot *slot)
{
        struct ask *ask;

        while ((ask = STAILQ_FIRST(&slot->asks)) != NULL) {
                STAILQ_REMOVE_HEAD(&slot->asks, entry);
                answer_response(slot, ask);
        }
}

/* --- slots --------------------------------------------------------------------------------- */

static int64_t held_bytes(const struct body_slot *slot)
{
        int64_t bytes = slot->body != NULL ? slot->body->len : 0;

        for (int i = 0; i < CODINGS; i++)
                if (slot->packing.packed[i] != NULL)
                        bytes += slot->packing.packed[i]->len;
        return bytes;
}

static void body_slot_free(struct loader *loader, struct body_slot *slot)
{
        struct response_slot *made;

        while ((made = SLIST_FIRST(&slot->responses)) != NULL) {
                SLIST_REMOVE_HEAD(&slot->responses, entry);
                bundle_response_unref(made->response);
                free(made);
        }
        metric_add(&m_held, -held_bytes(slot));
        packer_drop(loader->packer, &slot->packing);
        HASH_DEL(loader->bodies, slot);
        blob_unref(slot->body);
        free(slot);
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

/* --- reading and packing ------------------------------------------------------------------- */

static void on_packed(void *owner, struct packing *packing)
{
        struct body_slot *slot =
            (struct body_slot *)((char *)packing - offsetof(struct body_slot, packing));
        struct response_slot *made;

        (void)owner;
        metric_add(&m_held, held_bytes(slot) - slot->body->len);
        SLIST_FOREACH(made, &slot->responses, entry)
        {
                add_variants(slot, made->response);
        }
        slot->packs_first = false;
        answer_responses(slot);
}

static void body_is_here(struct loader *loader, struct body_slot *slot, struct blob *body)
{
        slot->body = blob_ref(body);
        metric_add(&m_held, body->len);
        slot->packs_first = packer_add(loader->packer, &slot->packing, body) &&
                            packer_backlog(loader->packer) <= PACK_WAIT_BYTES;
        if (!slot->packs_first)
                answer_responses(slot);
}

static void body_done(struct loader *loader, struct body_slot *slot, enum err err,
                      struct blob *body)
{
        const struct ask *ask = STAILQ_FIRST(&slot->asks);

        if (err == OK) {
                body_is_here(loader, slot, body);
                return;
        }
        if (err == ERR_MISMATCH) {
                metric_add(&m_poisoned, 1);
                log_error("PREFETCH-POISONED", "event=%s cohort=%s sha256=%s", ask->event,
                          ask->row.cohort, slot->sha256);
        }
        loader_tell_failure(ask->event, "body", err);
        loader_answer_all(&slot->asks, err, NULL);
        body_slot_free(loader, slot);
}

static void start_bodies(struct loader *loader);

static void on_body(void *owner, enum err err, struct blob *body)
{
        struct load *load = owner;
        struct body_slot *slot = load->body_slot;
        struct loader *loader = loader_load_finish(load);

        if (loader == NULL)
                return;
        loader->reads--;
        loader->read_bytes -= slot->row.size;
        body_done(loader, slot, err, body);
        start_bodies(loader);
}

static enum err start_body(struct loader *loader, struct body_slot *slot)
{
        struct load *load = loader_load_create(loader);
        enum err err;

        metric_add(&m_bodies, 1);
        if (load == NULL)
                return ERR_NOMEM;
        load->body_slot = slot;
        err = store_read_body(loader->redis, loader->ns, &slot->row, on_body, load);
        if (err != OK) {
                (void)loader_load_finish(load);
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

/* --- the loader's half ---------------------------------------------------------------------- */

void loader_bodies_ask(struct loader *loader, struct ask *ask)
{
        struct body_slot *slot;

        HASH_FIND_STR(loader->bodies, ask->row.sha256, slot);
        if (slot != NULL && slot->body != NULL && !slot->packs_first) {
                answer_response(slot, ask);
                return;
        }
        if (slot != NULL) {
                STAILQ_INSERT_TAIL(&slot->asks, ask, entry);
                return;
        }
        slot = body_slot_create(loader, &ask->row);
        if (slot == NULL) {
                loader_answer(ask, ERR_NOMEM);
                return;
        }
        STAILQ_INSERT_TAIL(&slot->asks, ask, entry);
        STAILQ_INSERT_TAIL(&loader->turns, slot, turn);
        start_bodies(loader);
}

static void sweep_responses(struct body_slot *slot)
{
        struct response_list kept = SLIST_HEAD_INITIALIZER(kept);
        struct response_slot *made;

        while ((made = SLIST_FIRST(&slot->responses)) != NULL) {
                SLIST_REMOVE_HEAD(&slot->responses, entry);
                if (loader_only_we_hold(&made->response->refs)) {
                        bundle_response_unref(made->response);
                        free(made);
                } else {
                        SLIST_INSERT_HEAD(&kept, made, entry);
                }
        }
        slot->responses = kept;
}

void loader_bodies_sweep(struct loader *loader)
{
        struct body_slot *body, *next;

        HASH_ITER(hh, loader->bodies, body, next)
        {
                sweep_responses(body);
                if (body->body != NULL && loader_only_we_hold(&body->body->refs))
                        body_slot_free(loader, body);
        }
}

enum err loader_bodies_init(struct loader *loader, struct event_base *base)
{
        metrics_register(metrics, countof(metrics));
        STAILQ_INIT(&loader->turns);
        return packer_create(base, on_packed, loader, &loader->packer);
}

void loader_bodies_fini(struct loader *loader)
{
        struct body_slot *body, *next;

        HASH_ITER(hh, loader->bodies, body, next)
        {
                loader_answer_all(&body->asks, ERR_UNAVAILABLE, NULL);
                body_slot_free(loader, body);
        }
        packer_destroy(loader->packer);
}
