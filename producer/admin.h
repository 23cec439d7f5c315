/* producer/admin.h -- the admin API: what producers and operators ask of a node over HTTP. Decides
 * nothing about events (fanout/event.h does) and nothing about the fleet: it turns requests into
 * commands and questions, and outcomes into answers. producer/openapi.yaml describes every route.
 * Control thread only. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/check.h"
#include "base/err.h"
#include "fanout/order.h"
#include "fanout/writer.h"

struct admin;
struct courier;
struct event_base;

/* Whatever Redis does, an answer is on its way within this; the contract (line 9) says 2 s. A
 * change is timed by the writer, which knows what may have happened; all else by a `pending`. */
#define ADMIN_ANSWER_MS WRITER_ANSWER_MS

struct admin_options {    /* all borrowed, and to outlive the admin */
        const char *host; /* address to bind */
        uint16_t port;    /* 0 = any; ask admin_port() */
        const char
            *token; /* bearer token; NULL or empty = none, then only local Host names are served */
        const char *ns; /* namespace */
        struct writer *writer;
        struct redis *redis;  /* reads; never behind a WAIT */
        struct redis *writes; /* the primary's link: bundle drafts */
        /* Of the node around us, each may be NULL. A sentence, or NULL or "" for "yes it is". */
        const char *(*why_not_ready)(void *owner);
        const char *(*why_not_writable)(void *owner);
        /* The window of a refresh or publish that names none; NULL: EVENT_WINDOW_DEFAULT_MS. */
        uint32_t (*refresh_ms)(void *owner);
        void (*on_order)(void *owner, const struct order *order); /* for this very node: acts at once */
        const char *name; /* this node's */
        struct courier *courier; /* who finds single devices; NULL: nobody does */
        void *owner;
};

/* On ERR_IO *ret_why is a sentence (address in use ...). */
must_check enum err admin_create(struct event_base *base, const struct admin_options *options,
                                 struct admin **ret_admin, const char **ret_why);
/* Requests under way get 503; what Redis still answers to them is dropped. Before the writer and
 * the link are destroyed. NULL is fine. */
void admin_destroy(struct admin *admin);
uint16_t admin_port(const struct admin *admin);
/* Somebody still waits for an answer, for ADMIN_ANSWER_MS at most. NULL is not busy. */
bool admin_is_busy(const struct admin *admin);

/* The routes, for checks against openapi.yaml: "GET /v1/events"; NULL past the end. */
const char *admin_route(unsigned i, char *out, unsigned size);
/* openapi.yaml as it is served. */
extern const char admin_openapi[];
extern const size_t admin_openapi_len;
