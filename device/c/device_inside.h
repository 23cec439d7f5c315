/* device/c/device_inside.h -- what the two halves of the SDK share: kickoff_device.c (the app's
 * side: options, callbacks, carrying out what the core decided) and device_link.c (the library's
 * side). Nobody else includes it. */
#pragma once

#include "device/c/device_core.h"
#include "device/c/device_url.h"
#include "device/c/kickoff_device.h"

struct lws;
struct device_library;

enum goodbye { GOODBYE_NONE, GOODBYE_CLOSE, GOODBYE_CUT };

struct link { /* one attempt to connect, and the connection it became */
        struct link *next;
        struct kickoff_device *device;
        struct lws *wsi; /* NULL = the library is done with it */
        bool opened;
        bool asked_writeable;
        enum goodbye goodbye;
        enum close_reason reason; /* GOODBYE_CLOSE */
        unsigned status;          /* of the upgrade's answer; 0 = none yet */
        int64_t retry_after_s;    /* -1 = not said */
};

struct kickoff_device {
        struct kickoff_device_options options; /* texts point into `texts` */
        char device[DEVICE_ID_MAX + 1], cohort[COHORT_MAX + 1];
        struct device_url url;
        struct device_core core;
        char token_text[TOKEN_TEXT_MAX + 1];
        struct device_library
            *library; /* libwebsockets' part of this: only device_link.c sees inside */
        struct link *links, *link;
        struct buf rx;
        bool has_ack,
            has_time; /* waiting for the socket to take them; a newer one replaces an older */
        struct ack ack;
        struct time_sync time;
        bool cut_wanted;
};

/* --- kickoff_device.c: into the core */

/* Steps the core and carries out what it says. `inside`: from a callback about device->link. */
void kickoff_device_feed(struct kickoff_device *device, const struct device_input *input,
                         bool inside);

/* --- device_link.c: to the library */

must_check enum err device_link_open(struct kickoff_device *device); /* ERR_NOMEM */
void device_link_close(struct kickoff_device *device);               /* drops all connections */
void device_link_wake(struct kickoff_device *device);                /* any thread */
void device_link_connect(struct kickoff_device *device);
/* The current link has something to send. */
void device_link_write(struct kickoff_device *device);
/* The core has forgotten the connection: CLOSE with a reason, or CUT. */
void device_link_leave(struct kickoff_device *device, const struct device_action *action,
                       bool inside);
void device_link_reap(struct kickoff_device *device); /* frees the links the library is done with */
/* One turn of the library's loop, of at most wait_ms. */
void device_link_turn(struct kickoff_device *device, uint64_t wait_ms);
