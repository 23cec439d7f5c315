/* prefetch/port.c -- the way back from the loader to one cache, and whether it is still open. The
 * lock is taken once per load, never per request. */
#include "prefetch/port.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

struct port {
        _Atomic uint32_t refs;   /* the cache's, and one per ask */
        pthread_mutex_t lock;    /* guards `mailbox` */
        struct mailbox *mailbox; /* NULL once closed */
        struct cache *cache;     /* cache's thread alone; NULL once closed */
        letter_run_fn *run;
};

struct port *port_create(struct mailbox *mailbox, struct cache *cache, letter_run_fn *run)
{
        struct port *port = calloc(1, sizeof(*port));

        if (port == NULL)
                return NULL;
        atomic_init(&port->refs, 1);
        check(pthread_mutex_init(&port->lock, NULL) == 0);
        port->mailbox = mailbox;
        port->cache = cache;
        port->run = run;
        return port;
}

static void port_unref(struct port *port)
{
        if (atomic_fetch_sub_explicit(&port->refs, 1, memory_order_acq_rel) != 1)
                return;
        check(pthread_mutex_destroy(&port->lock) == 0);
        free(port);
}

void port_close(struct port *port)
{
        port->cache = NULL;
        check(pthread_mutex_lock(&port->lock) == 0);
        port->mailbox = NULL;
        check(pthread_mutex_unlock(&port->lock) == 0);
        port_unref(port);
}

struct cache *port_cache(const struct port *port)
{
        return port->cache;
}

struct ask *ask_create(struct port *port, enum ask_kind kind, const char *event, uint64_t epoch,
                       uint64_t version)
{
        struct ask *ask = calloc(1, sizeof(*ask));

        if (ask == NULL)
                return NULL;
        check(strlen(event) <= EVENT_ID_MAX);
        atomic_fetch_add_explicit(&port->refs, 1, memory_order_relaxed);
        ask->port = port;
        ask->kind = kind;
        strcpy(ask->event, event);
        ask->epoch = epoch;
        ask->version = version;
        return ask;
}

void ask_free(struct ask *ask)
{
        bundle_index_unref(ask->index);
        bundle_response_unref(ask->response);
        port_unref(ask->port);
        free(ask);
}

void ask_answer(struct ask *ask)
{
        struct port *port = ask->port;
        bool is_open;

        ask->letter.run = port->run;
        check(pthread_mutex_lock(&port->lock) == 0);
        is_open = port->mailbox != NULL;
        if (is_open)
                mailbox_post(port->mailbox, &ask->letter);
        /* From here on a posted ask, and with it its reference of the port, may be gone: but the
         * cache cannot close the port, and so drop its own reference, before it has the lock. */
        check(pthread_mutex_unlock(&port->lock) == 0);
        if (!is_open)
                ask_free(ask);
}
