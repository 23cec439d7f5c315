/* tests/sim/sim_device.h -- one device: the real device core, an app that holds the state it was
 * told, and a network it may lose. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "device/c/device_core.h"
#include "tests/sim/world.h"

struct sim_conn;

struct device {
        unsigned index;
        struct device_core core;
        uint64_t mono_ahead_ms;
        int64_t wall_ahead_ms;
        uint64_t tick_ms;      /* the next TICK asked for; 0 = none */
        uint64_t attempt;      /* rises with each connection and each life */
        struct { /* by the core's number of it */
                uint64_t attempt;      /* 0 = none */
                struct token since;    /* what it was asked for with; epoch 0 = nothing */
                struct sim_conn *conn; /* NULL until accepted */
        } links[DEVICE_CORE_LINKS];
        bool is_asleep;        /* reads nothing, does nothing */
        uint64_t asleep_until_ms;
        unsigned read_every_ms; /* per frame; 0 = as they come */
        bool sends_garbage;     /* its next token is none ... */
        bool sent_garbage;      /* ... and the last one was */
        /* The app. */
        struct token place; /* epoch 0 = knows nothing yet */
        struct event_state states[EVENTS_AT_ALL];
        size_t n_states;
        struct event_state passed[EVENTS_AT_ALL]; /* the judge's: newest not for it, by event */
        enum reset_reason hello_reason;
        bool hello_recovered;
        struct notes notes; /* the judge's */
};

struct device *sim_device_create(struct world *world, unsigned index);
void sim_device_destroy(struct device *device);

/* A frame lies in the socket of `conn`. */
void sim_device_wake(struct world *world, struct sim_conn *conn);
/* The connection broke, and the device is told. */
void sim_device_lost(struct world *world, struct sim_conn *conn);

/* Between sim_device.c and sim_device_life.c. */
void sim_device_feed(struct world *world, struct device *device, const struct device_input *input);
void sim_device_leave(struct world *world, struct device *device, unsigned link); /* forget it */
struct sim_conn *sim_device_conn(const struct device *device); /* the main one; NULL = none */
void sim_device_arm(struct world *world, struct device *device);   /* the core's next tick */

void sim_device_suffer(struct world *world, struct device *device, enum fault fault);
void sim_device_jump(struct device *device, int64_t jump_ms);
void sim_device_heal(struct world *world, struct device *device);
