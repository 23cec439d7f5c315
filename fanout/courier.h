/* fanout/courier.h -- finds the node that holds a device, and carries a question or a message to
 * it. The happy path, each step only if the one before did not find it:
 *
 *   this node ──► the node that the registry names ──► all nodes ──► ABSENT
 *   no Redis      1 read, 2 messages                   at most 200 ms
 *
 * A node that says no takes its record away, if that is unchanged. ABSENT is said only if every
 * node that lives (fanout/presence.h) has said no: of one that gave no answer it is not known,
 * which is SILENT. It also hears what other nodes ask, and answers them.
 *
 * Bounds: COURIER_ERRANDS under way, own and others' together, COURIER_ASKS_ALL of them at all
 * nodes at once; beyond, own ones are SILENT at once, others' are not answered. A message may have
 * been delivered though its answer came too late (SILENT): its id tells the device. Control thread
 * only. */
#pragma once

#include <stdint.h>

#include "base/check.h"
#include "base/err.h"
#include "fanout/device.h"
#include "fanout/registry.h"

struct courier;

#define COURIER_ERRANDS  1024
#define COURIER_ASKS_ALL 64
#define COURIER_NODE_MS  500 /* for the node that the registry names */
#define COURIER_ALL_MS   200 /* for all nodes */
#define COURIER_RETRY_MS 1000

struct courier_options {
        struct event_base *base;
        struct redis_address address; /* copied */
        const char *ns, *node;        /* borrowed */
        bool uses_registry; /* false: no records are read or written; every question goes to all
                               nodes */
        uint32_t keep_s;    /* a record's life */
        /* Is it at this very node? courier_told() must follow, from the loop, with the same errand;
         * not for REPLACED and CLAIMED, whose errand is 0. `query` is borrowed until then. */
        void (*ask_here)(void *owner, const struct device_query *query, uint64_t errand);
        void (*on_up)(void *owner); /* as registry.h */
        void *owner;
};

must_check enum err courier_create(const struct courier_options *options,
                                   struct courier **ret_courier);
/* Who still waits is told SILENT. NULL is fine. */
void courier_destroy(struct courier *courier);
struct registry *courier_registry(struct courier *courier);
bool courier_uses_registry(const struct courier *courier);

/* The answer names the node in `node`. Never runs from inside courier_ask(), unless there is no
 * room. */
typedef void courier_answer_fn(void *owner, const struct device_answer *answer);
void courier_ask(struct courier *courier, const struct device_query *query, courier_answer_fn *done,
                 void *owner);
/* To the node of this name, for REPLACED: no answer comes. */
void courier_tell(struct courier *courier, const char *node, const struct device_query *query);
/* What this node found (ask_here). Late ones are ignored. */
void courier_told(struct courier *courier, uint64_t errand, const struct device_answer *answer);
