/* prefetch/port.h -- what a worker's cache and the loader say to each other; nobody else includes
 * it.
 *
 * An `ask` is one letter that goes both ways: the cache fills in the question and posts it, the
 * loader fills in the answer and posts it back. The `port` is the way back. It outlives the cache
 * for as long as an ask is under way, so a worker may end while the loader still waits for Redis:
 * the answer then finds the port closed and is thrown away. */
#pragma once

#include <stdint.h>

#include <sys/queue.h>

#include "base/err.h"
#include "base/mailbox.h"
#include "prefetch/bundle.h"
#include "prefetch/loader.h"
#include "prefetch/response.h"

struct cache;
struct port;

enum ask_kind { ASK_INDEX, ASK_RESPONSE };

struct ask {
        struct letter letter; /* first: the mailbox gives back a pointer to it */
        struct port *port;    /* a reference */
        enum ask_kind kind;
        char event[EVENT_ID_MAX + 1];
        uint64_t epoch; /* of the log that `version` belongs to */
        uint64_t
            version; /* of the bundle: at least this one for an index, this one for a response */
        struct bundle_row row;   /* ASK_RESPONSE */
        STAILQ_ENTRY(ask) entry; /* loader: in the list of the load it waits for */
        /* The answer. A reference of what was asked for is in it when err is OK. */
        enum err err;
        struct bundle_index *index;
        struct bundle_response *response;
};
STAILQ_HEAD(ask_list, ask);

/* `run` is called on the cache's thread with the answered ask. NULL = no memory. */
struct port *port_create(struct mailbox *mailbox, struct cache *cache, letter_run_fn *run);
/* Cache's thread: no answer reaches `mailbox` after this. Drops the caller's reference. */
void port_close(struct port *port);
struct cache *port_cache(const struct port *port); /* cache's thread; NULL once closed */

struct ask *ask_create(struct port *port, enum ask_kind kind, const char *event, uint64_t epoch,
                       uint64_t version); /* NULL = no memory */
void ask_free(struct ask *ask);           /* with the references it holds */
void ask_answer(struct ask *ask);         /* loader's thread: posts it back, or frees it */

/* Any thread, until loader_destroy: the ask belongs to the loader until it comes back. */
void loader_ask(struct loader *loader, struct ask *ask);
