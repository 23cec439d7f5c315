/* loadtest/swarm_device.h -- inside of a swarm: one device's life on its socket. For swarm.c and
 * swarm_*.c only.
 *
 *   UNBORN ─► CONNECTING ─► UPGRADING ─► OPEN ─── goodbye ──► CLOSING ─► CLOSED
 *                ▲    │         │         │
 *                │    └── lost, refused ──┤ (goaway: at a random moment in its span)
 *                └────────── WAITING ◄────┘          refused for good ─► GAVE_UP
 */
#pragma once

#include "base/rng.h"
#include "base/wheel.h"
#include "loadtest/fetcher.h"
#include "loadtest/inbox.h"
#include "loadtest/swarm.h"

enum device_state {
        DEVICE_UNBORN,
        DEVICE_CONNECTING,
        DEVICE_UPGRADING,
        DEVICE_OPEN,
        DEVICE_WAITING,
        DEVICE_GAVE_UP,
        DEVICE_CLOSING,
        DEVICE_CLOSED
};

#define DEVICE_NOBODY UINT32_MAX

struct device { /* zero-filled: unborn */
        struct wheel_timer
            link_timer; /* OPEN: ack, or the moment to leave; WAITING: come back; else deadline */
        struct wheel_timer fetch_timer; /* the next try to prefetch */
        struct simdevice sim;
        struct inbox_partial *partial;
        int fd;              /* meaningful from CONNECTING to OPEN, and in CLOSING */
        uint32_t began_us;   /* of the connection, monotonic, cut to 32 bits: good for 71 minutes */
        uint32_t next_fetch; /* queue of those who wait for a fetcher's slot */
        uint32_t bundle;     /* version it holds; 0 = none */
        uint32_t acts_ms;    /* the newest signal: when it acts, Unix ms cut to 32 bits */
        uint32_t lost_us;    /* when the last connection ended; as began_us */
        uint8_t state, encoding;
        uint8_t tries; /* connections since the last hello */
        uint8_t fetch_tries;
        uint8_t target;    /* index of the node it is with, or tries next */
        bool welcomed;     /* had hello at least once */
        bool owes_ack : 1; /* link_timer runs for it */
        bool unacked : 1;  /* of the newest signal: also while the connection is gone */
        bool is_leaving : 1;
        bool fetch_settled : 1; /* counted as prefetched or failed */
        bool is_dead : 1;
        bool is_asleep : 1; /* not watched for reading */
        bool is_told : 1, is_shown : 1;
};

_Static_assert(sizeof(struct device) <= 144, "there are 15,000 of them in a process");

struct swarm_clocks;

struct swarm {
        struct swarm_options options;
        swarm_report_fn *report;
        void *owner;
        struct device *devices; /* options.n */
        int set;
        uint64_t now_ms;
        struct wheel links, fetches;
        struct inbox *inbox;
        struct fetcher *fetcher;
        struct swarm_clocks *clocks; /* NULL: its devices have none */
        struct witness witness;
        struct rng rng;
        struct swarm_result result;
        uint32_t under_way;               /* devices in CONNECTING and UPGRADING */
        uint32_t ack_spread_ms;           /* as the last hello said */
        uint32_t fetch_first, fetch_last; /* queue through device.next_fetch */
        struct series_sample sample;      /* of the tick that is going on */
        uint64_t sip_ms;                  /* when the slow ones read next */
        double churn_due;    /* devices that should have dropped out by now and have not */
        uint64_t churn_ms;   /* until when that was reckoned */
        bool has_sleepers;   /* some may be asleep */
        unsigned cut_round;  /* the last one that was done */
        uint32_t kept, lost; /* the board's keep and lose, when done */
        char key[WS_KEY_LEN + 1],
            accept[29]; /* one key for all: the answer is compared, not computed */
        uint8_t bytes[128 * 1024];
};

void swarm_device_ready(struct swarm *swarm, struct device *device, uint32_t epoll_events);
void swarm_device_timer(struct swarm *swarm, struct device *device); /* link_timer fired */
void swarm_device_goodbye(struct swarm *swarm, struct device *device);
/* OPEN only. False: not sent; the connection may be lost by then. */
bool swarm_device_say(struct swarm *swarm, struct device *device, const struct message *message);
/* Reads what there is, up to `most` bytes. */
void swarm_device_read(struct swarm *swarm, struct device *device, size_t most);
/* OPEN only. Ends the connection, with a close frame or as a broken line does, and comes back. */
void swarm_device_drop(struct swarm *swarm, struct device *device, bool is_polite);
/* Waits for a slot of the fetcher from now on. */
void swarm_device_wants_bundle(struct swarm *swarm, struct device *device);
void swarm_note(struct swarm *swarm, enum series_column column);
void swarm_watch(struct swarm *swarm, const struct device *device, int operation, uint32_t events);

/* swarm_connect.c: on its way in. */
void swarm_connect_begin(struct swarm *swarm, struct device *device); /* UNBORN or WAITING */
void swarm_connect_ask(struct swarm *swarm, struct device *device); /* CONNECTING: it is through */
/* UPGRADING, and there is something to read. True: it is OPEN now. */
bool swarm_connect_answer(struct swarm *swarm, struct device *device);
void swarm_connect_count(struct device *device); /* one more try */

/* swarm_device.c, for these: */
uint32_t swarm_number(const struct swarm *swarm, const struct device *device);
void swarm_device_release(struct swarm *swarm, struct device *device); /* closes the socket */
void swarm_device_come_back(struct swarm *swarm, struct device *device, uint32_t not_before_ms);
void swarm_device_lose(struct swarm *swarm, struct device *device); /* the peer is gone */
void swarm_device_break_off(struct swarm *swarm,
                            struct device *device); /* not what a node may send */

/* swarm_habits.c: what makes devices unlike each other, by loadtest/model.h. */
enum model_role swarm_role(const struct swarm *swarm, const struct device *device);
/* Dead, or slow while these sleep: nothing is expected of it now. */
bool swarm_is_excused(const struct swarm *swarm, const struct device *device);
/* After the first hello: some die now, the others fetch, if and when they are to. */
void swarm_settle_in(struct swarm *swarm, struct device *device);
/* Something to read has come. False: this one does not read now. */
bool swarm_may_read(struct swarm *swarm, struct device *device);
/* It knows that the event has started. */
void swarm_is_told(struct swarm *swarm, struct device *device);
void swarm_has_content(struct swarm *swarm, struct device *device);
void swarm_habits_tick(struct swarm *swarm); /* once a turn: wakes, sips, churns, cuts */
