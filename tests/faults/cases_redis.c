/* tests/faults/cases_redis.c -- Redis dies, stands still, is killed at the worst moment. */
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/rng.h"
#include "tests/faults/scene.h"

FAULT(
    1, "Redis is killed with kill -9 and comes back with its append-only file",
    "nothing acknowledged is lost, no device reconnects, caught up 2 s after Redis is up (lines 1, 8, 9)",
    .quick = true)
{
        struct scene *s = scene_open(&(struct scene_options){ .pace_ms = 5 });
        uint64_t up_us;

        producer_until_more(s->producer, 50);
        test_redis_kill(s->redis);
        usleep(1500 * 1000); /* how long it is away */
        test_redis_restart(s->redis);
        up_us = scene_now_us();
        producer_until_more(s->producer, 1);
        kept_within("writing_again", scene_ms_since(up_us), 2000, SLACK_MS);
        producer_until_more(s->producer, 50);
        scene_judge(s);
        CHECK_KEPT(crew_hellos(s->crew) == crew_size(s->crew), "line 9: devices had to reconnect");
        scene_close(s);
}
