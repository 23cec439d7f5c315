/* prefetch/loader_inside.h -- what loader.c (indexes, the loader's life) and loader_bodies.c share;
 * nobody else includes it. Control thread only. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include <sys/queue.h>

#define HASH_NONFATAL_OOM 1
#include <uthash.h>

#include "base/redis.h"
#include "prefetch/packer.h"
#include "prefetch/port.h"
#include "proto/names.h"

#define INDEX_KEY_MAX (EVENT_ID_MAX + 1 + 16 + 1 + 20)

struct response_slot {
        SLIST_ENTRY(response_slot) entry;
        struct bundle_response *response;
};

struct body_slot { /* one body, by its hash, its coded variants, and the responses made of it */
        char sha256[BUNDLE_SHA_TEXT + 1];
        struct blob *body;     /* NULL until it has come */
        struct bundle_row row; /* what is being read */
        struct packing packing;
        bool packs_first; /* its asks wait until it has been packed */
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
        struct packer *packer;
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

void loader_answer(struct ask *ask, enum err err);
/* Each gets a reference of `index` if err is OK. */
void loader_answer_all(struct ask_list *asks, enum err err, struct bundle_index *index);
struct load *loader_load_create(struct loader *loader); /* NULL = no memory */
/* Frees it. The loader, or NULL if it is gone. */
struct loader *loader_load_finish(struct load *load);
void loader_tell_failure(const char *event, const char *what, enum err err);
/* Whoever holds no reference cannot take one, so 1 stays 1 while we look. */
static inline bool loader_only_we_hold(_Atomic uint32_t *refs)
{
        return atomic_load_explicit(refs, memory_order_acquire) == 1;
}

/* loader_bodies.c */
must_check enum err loader_bodies_init(struct loader *loader, struct event_base *base);
void loader_bodies_fini(struct loader *loader); /* answers all who wait, frees everything */
void loader_bodies_ask(struct loader *loader, struct ask *ask);
void loader_bodies_sweep(struct loader *loader); /* drops what no worker holds any more */
