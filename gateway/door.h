/* gateway/door.h -- reads a request head and decides what it is: a device to let in, by WebSocket or to an
 * event stream, a bundle to hand out, the state for pollers, a health check, or a refusal with the right
 * status. Pure. */
#pragma once

#include <stdbool.h>

#include "proto/head.h"
#include "proto/message.h"
#include "proto/names.h"
#include "proto/token.h"

enum door_kind { DOOR_CONNECT, DOOR_STREAM, DOOR_PREFETCH, DOOR_EVENTS, DOOR_HEALTH, DOOR_REFUSE };

struct door_rules { /* of the node; shared by all */
        const char *const *origins; /* exact Origins that browsers may come from; n_origins 0 = any */
        unsigned n_origins;
};

struct door_verdict {
        enum door_kind kind;
        bool head_only; /* HEAD instead of GET */
        bool from_browser; /* has an Origin: it shows its page neither status nor head of a refused upgrade */
        bool from_event_source; /* STREAM: accepts text/event-stream; of another status it shows its page nothing */
        /* CONNECT, STREAM */
        char device[DEVICE_ID_MAX + 1], cohort[COHORT_MAX + 1]; /* cohort: PREFETCH too */
        char platform[ATTRIBUTE_MAX + 1], region[ATTRIBUTE_MAX + 1], app[ATTRIBUTE_MAX + 1]; /* empty = not said */
        bool has_since, since_malformed, wants_ack;
        struct token since;
        enum encoding encoding;
        bool subprotocol_named; /* the client asked for one: it must be echoed */
        char ws_key[24]; /* CONNECT */
        /* PREFETCH */
        char event[EVENT_ID_MAX + 1];
        /* REFUSE */
        unsigned status;
        const char *title;  /* "device is missing" */
        const char *detail; /* what to do */
};

void door_decide(const struct head *head, const struct door_rules *rules, struct door_verdict *ret_verdict);
