/* tests/sim/sim_device_life.c -- how a device begins, and what may befall it. */
#include <stdlib.h>

#include "base/check.h"
#include "tests/sim/sim_conn.h"
#include "tests/sim/sim_device.h"

#define BACKOFF_MAX_MS 4000

static void wake_up(struct world *world, void *owner, uint64_t until_ms, void *load)
{
        struct device *device = owner;

        (void)load;
        if (!device->is_asleep || device->asleep_until_ms != until_ms)
                return;
        world_tell(world, WHO_DEVICE, device->index, "wakes up");
        device->is_asleep = false;
        sim_device_feed(world, device, &(struct device_input){ .kind = DEVICE_IN_TICK });
        for (unsigned link = 0; link < DEVICE_CORE_LINKS; link++) {
                if (device->links[link].conn != NULL)
                        sim_device_wake(world, device->links[link].conn);
        }
}

static void fall_asleep(struct world *world, struct device *device)
{
        uint64_t ms = world_random(world, 500, 30000);

        if (device->is_asleep)
                return;
        world_tell(world, WHO_DEVICE, device->index, "sleeps for %u ms", ms);
        if (world_chance(world, 300))
                sim_device_feed(world, device, &(struct device_input){ .kind = DEVICE_IN_CUT });
        else if (sim_device_conn(device) != NULL && world_chance(world, 500))
                sim_device_conn(device)->is_cut = true;
        device->is_asleep = true;
        device->asleep_until_ms = world->now_ms + ms;
        world_in(world, ms, wake_up, device, device->asleep_until_ms);
}

static void cut(struct world *world, struct device *device)
{
        struct sim_conn *conn = sim_device_conn(device);
        uint64_t how = world_random(world, 0, 2);

        if (conn == NULL || device->is_asleep)
                return;
        world_tell(world, WHO_DEVICE, device->index, "is cut off: %s",
                   trace_text(how == 0   ? "by its app"
                              : how == 1 ? "both are told"
                                         : "nobody is told"));
        if (how == 0) {
                sim_device_feed(world, device, &(struct device_input){ .kind = DEVICE_IN_CUT });
        } else if (how == 1) {
                sim_device_lost(world, conn);
                sim_conn_gone(world, conn);
        } else {
                conn->is_cut = true;
        }
}

static void begin(struct world *world, struct device *device, bool with_token)
{
        bool no_ack = world_chance(world, 200);

        device_core_init(&device->core, DEVICE_CORE_BACKOFF_MIN_MS, BACKOFF_MAX_MS, no_ack,
                         with_token ? &device->place : NULL, rng_u64(&world->rng));
        if (!with_token) {
                device->place = (struct token){ .epoch = 0 };
                device->n_states = 0;
                device->notes = (struct notes){ .next = 0 };
        }
        device->tick_ms = 0;
        device->is_asleep = false;
        sim_device_arm(world, device);
}

static void on_fast(struct world *world, void *owner, uint64_t argument, void *load)
{
        (void)world, (void)argument, (void)load;
        ((struct device *)owner)->read_every_ms = 0;
}

void sim_device_suffer(struct world *world, struct device *device, enum fault fault)
{
        bool keeps = device->place.epoch != 0 && world_chance(world, 600);

        switch (fault) {
        case FAULT_DEVICE_SLOW:
                device->read_every_ms = (unsigned)world_random(world, 50, 3000);
                world_tell(world, WHO_DEVICE, device->index, "reads a frame every %u ms",
                           device->read_every_ms);
                world_in(world, world_random(world, 500, 15000), on_fast, device, 0);
                break;
        case FAULT_DEVICE_CUT:
                cut(world, device);
                break;
        case FAULT_DEVICE_AWAY:
                fall_asleep(world, device);
                break;
        case FAULT_DEVICE_RESTART:
                world_tell(world, WHO_DEVICE, device->index, "starts again, %s",
                           trace_text(keeps ? "with its token" : "knowing nothing"));
                for (unsigned link = 0; link < DEVICE_CORE_LINKS; link++)
                        sim_device_leave(world, device, link);
                begin(world, device, keeps);
                break;
        default:
                device->sends_garbage = true;
                break;
        }
}

void sim_device_jump(struct device *device, int64_t jump_ms)
{
        device->wall_ahead_ms += jump_ms;
}

void sim_device_heal(struct world *world, struct device *device)
{
        device->read_every_ms = 0;
        device->sends_garbage = false;
        wake_up(world, device, device->asleep_until_ms, NULL);
}

struct device *sim_device_create(struct world *world, unsigned index)
{
        struct device *device = calloc(1, sizeof(*device));

        check(device != NULL);
        device->index = index;
        device->mono_ahead_ms = world_random(world, 1000, 1000000);
        device->wall_ahead_ms = (int64_t)world_random(world, 0, 100000) - 50000;
        begin(world, device, false);
        return device;
}

void sim_device_destroy(struct device *device)
{
        free(device);
}
