/* device/c/device_inside.h -- what the halves of the SDK share: kickoff_device.c (the app's side:
 * options, callbacks, carrying out what the core decided), device_link.c (the library's side), and
 * device_http.c (plain HTTP over it: bundles, the event stream). Nobody else includes it. */
#pragma once

#include "base/buf.h"
#include "device/c/device_agenda.h"
#include "device/c/device_cache.h"
#include "device/c/device_core.h"
#include "device/c/device_sse.h"
#include "device/c/device_url.h"
#include "device/c/kickoff_device.h"

struct lws;
struct device_library;

enum goodbye { GOODBYE_NONE, GOODBYE_CLOSE, GOODBYE_CUT };

/* What a connection of the library belongs to begins with it. That one is gone, always the last word
 * about it, the library does not say to the protocol that it was bound to, but to the first of its
 * list, for all alike: device_link.c passes it on by this. */
struct wire {
        void (*gone)(struct wire *wire);
};

struct link { /* one attempt to connect, and the connection it became */
        struct wire wire;
        struct link *next;
        struct kickoff_device *device;
        unsigned number; /* the core's */
        enum device_way way;
        struct buf rx;          /* the message that is coming in */
        struct device_sse sse;  /* DEVICE_STREAM */
        bool has_ack, has_time; /* for the socket to take; a newer one replaces an older */
        struct ack ack;
        struct time_sync time;
        struct lws *wsi; /* NULL = the library is done with it */
        bool opened;
        bool asked_writeable;
        enum goodbye goodbye;
        enum close_reason reason; /* GOODBYE_CLOSE */
        unsigned status;          /* of the upgrade's answer; 0 = none yet */
        int64_t retry_after_s;    /* -1 = not said */
};

struct fetch { /* of one bundle; there is at most one under way */
        struct wire wire;
        struct kickoff_device *device;
        bool is_busy;
        struct lws *wsi;      /* NULL = the library is done with it */
        uint64_t deadline_ms; /* monotonic */
        char event[EVENT_ID_MAX + 1];
        char known[65]; /* hash of what the app has: for If-None-Match; "" = nothing */
        unsigned status;
        int64_t retry_after_s, max_age_s; /* -1 = not said */
        char expected[65];                /* Kickoff-Hash */
        struct device_copy copy;
        bool is_packed; /* by gzip */
        bool is_broken; /* too large, cut short, of a coding that was not asked for, or no memory */
};

struct kickoff_device {
        struct kickoff_device_options options;
        char device[DEVICE_ID_MAX + 1], cohort[COHORT_MAX + 1];
        char platform[ATTRIBUTE_MAX + 1], region[ATTRIBUTE_MAX + 1], app[ATTRIBUTE_MAX + 1];
        char cache_dir[512]; /* "" = none */
        struct device_url url;
        struct device_core core;
        char token_text[TOKEN_TEXT_MAX + 1];
        struct device_library
            *library;       /* libwebsockets' part of this: only device_link.c sees inside */
        struct link *links; /* all the library still knows of */
        struct link *link[DEVICE_CORE_LINKS]; /* those the core knows of, by their number */
        struct device_agenda agenda;
        struct fetch fetch;
        bool cut_wanted;
};

/* --- kickoff_device.c: into the core */

/* Steps the core and carries out what it says. `inside`: the link whose callback this is; NULL =
 * none. */
void kickoff_device_feed(struct kickoff_device *device, const struct device_input *input,
                         const struct link *inside);
/* The fetch has ended: its fields say how. */
void kickoff_device_fetched(struct kickoff_device *device);
struct device_now kickoff_device_now(const struct kickoff_device *device);

/* --- device_link.c: to the library */

must_check enum err device_link_open(struct kickoff_device *device); /* ERR_NOMEM */
void device_link_close(struct kickoff_device *device);               /* drops all connections */
void device_link_wake(struct kickoff_device *device);                /* any thread */
void device_link_connect(struct kickoff_device *device, const struct device_action *action);
/* ACK or TIME: goes out when the link's socket takes it. */
void device_link_send(struct kickoff_device *device, const struct device_action *action);
/* The core has forgotten the connection: CLOSE with a reason, or CUT. */
void device_link_leave(struct kickoff_device *device, const struct device_action *action,
                       const struct link *inside);
void device_link_reap(struct kickoff_device *device); /* frees the links the library is done with */
/* One turn of the library's loop, of at most wait_ms. */
void device_link_turn(struct kickoff_device *device, uint64_t wait_ms);

/* --- device_http.c */

void device_http_fetch(struct kickoff_device *device, const struct device_row *row);
void device_http_check(struct kickoff_device *device); /* ends a fetch that takes too long */
