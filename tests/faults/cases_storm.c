/* tests/faults/cases_storm.c -- more signals than a device reads. The storm is written into the log
 * by a script, in the form of the log's own append, since producers on a small machine come to a
 * third of it. */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/check.h"
#include "proto/ws.h"
#include "tests/faults/scene.h"

#define PER_S       1500
#define STEPS_PER_S 20

static const char storm[] =
    "local m = redis.call('HMGET', KEYS[2], 'epoch', 'seq', 'tag') "
    "local seq, prev, text = tonumber(m[2]), m[3] "
    "local last = redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', 1)[1][2] "
    "local field = {} for i = 1, #last, 2 do field[last[i]] = last[i + 1] end "
    "for i = 1, ARGV[1] do seq = seq + 1 "
    "local tag = string.format('%08x%08x', seq, 77) "
    "redis.call('XADD', KEYS[1], seq .. '-0', 'tag', tag, 'prev', prev, 'body', field.body, 'record', field.record) "
    "redis.call('PUBLISH', KEYS[3], m[1] .. '.' .. seq .. '.' .. tag .. ' ' .. prev .. ' ' .. field.body .. '\\n' .. "
    "field.record) "
    "prev = tag end "
    "redis.call('HSET', KEYS[2], 'seq', seq, 'tag', prev) return 1";

/* So many signals in all, at the storm's rate. Returns how many came in a second. */
static double blow(struct scene *s, unsigned signals)
{
        uint64_t begin_us = scene_now_us();
        char each[8];

        snprintf(each, sizeof(each), "%d", PER_S / STEPS_PER_S);
        for (unsigned i = 1; i <= signals * STEPS_PER_S / PER_S; i++) {
                test_redis_do(s->redis, "EVAL", storm, "3", "{kickoff}:log", "{kickoff}:meta",
                              "{kickoff}:signals", each, NULL);
                while (scene_ms_since(begin_us) < i * 1000.0 / STEPS_PER_S)
                        usleep(1000);
        }
        return signals * 1000.0 / scene_ms_since(begin_us);
}

struct reading { /* a device that reads when the test says so */
        int fd;
        uint8_t buffer[WS_BUFFER_SIZE(65536)];
        struct ws_reader reader;
        seqno last; /* number of the last signal or reset; 0 = none yet */
        unsigned signals, resets, gaps;
        enum reset_reason reason; /* of the last reset */
        unsigned close_code;      /* 0 = not closed */
};

static void take(struct reading *r, const struct ws_event *event)
{
        struct message message;

        if (message_decode(event->payload, event->len, ENCODING_JSON, &message) != OK)
                give_up("undecodable message: %.*s", (int)event->len, event->payload);
        if (message.type == MESSAGE_RESET) {
                r->last = message.reset.token.seq;
                r->reason = message.reset.reason;
                r->resets++;
        } else if (message.type == MESSAGE_SIGNAL) {
                r->gaps += message.signal.token.seq != r->last + 1;
                r->last = message.signal.token.seq;
                r->signals++;
        }
        message_fini(&message);
}

/* Until it is at this number or closed; false if nothing came for 5 s. */
static bool read_up_to(struct reading *r, seqno seq)
{
        struct pollfd waiting = { .fd = r->fd, .events = POLLIN };
        struct ws_event event;
        uint8_t chunk[4096];

        while ((r->resets == 0 || r->last < seq) && !r->close_code &&
               poll(&waiting, 1, 5000) == 1) {
                ssize_t n = read(r->fd, chunk, sizeof(chunk));
                size_t at = 0, used;

                if (n <= 0)
                        give_up("the node ended the connection without a close frame");
                while (at < (size_t)n && !r->close_code) {
                        enum ws_status status =
                            ws_read(&r->reader, chunk + at, (size_t)n - at, &used, &event);

                        at += used;
                        if (status == WS_BROKEN)
                                give_up("broken frame");
                        if (status == WS_MESSAGE)
                                take(r, &event);
                        if (status == WS_CONTROL && event.opcode == WS_CLOSE)
                                r->close_code = event.close_code;
                }
        }
        return (r->resets > 0 && r->last >= seq) || r->close_code;
}

/* 13 s without reading: less than the 20 s after which a peer that takes no byte counts as gone. */
FAULT_OF(
    35, b, "a storm of 1,500 signals/s for 13 s, and a device that does not read meanwhile",
    "it has all it missed, in order, or a reset in its stead, or is closed with 4008; the others keep up "
    "(lines 5, 6, 11)",
    .limit_s = 180)
{
        struct scene *s = scene_open(&(struct scene_options){ 0 });
        struct reading *r = calloc(1, sizeof(*r));
        unsigned signals = 13 * PER_S;
        struct crew_member other;
        seqno before;
        double rate;

        check(r != NULL);
        (void)produce_until(s->ledger, &s->nodes[0], "final");
        create_event(&s->nodes[0], "storm"); /* which the storm repeats: it is nobody's request */
        r->fd = raw_connect(&s->nodes[0], 2048);
        raw_upgrade(r->fd, "slow", "");
        ws_reader_init(&r->reader, WS_CLIENT, r->buffer, 65536);
        CHECK_KEPT(read_up_to(r, 0), "line 6: no reset at the begin");
        before = r->last;
        rate = blow(s, signals);
        other = crew_member(s->crew, 0);
        figure("rate", "%.0f signals/s", rate);
        figure("others_behind", "%lld signals at the storm's end",
               (long long)(before + signals - other.place.seq));
        CHECK_KEPT(read_up_to(r, before + signals), "line 5: it is not told any more");
        CHECK_KEPT(r->gaps == 0, "line 6: it had %u gaps", r->gaps);
        CHECK_KEPT(r->resets == 1 || r->reason == RESET_TRIMMED, "line 6: it was reset as %s",
                   reset_reason_name[r->reason]);
        CHECK_KEPT(r->close_code == 0 || r->close_code == 4008, "line 11: it was closed with %u",
                   r->close_code);
        figure("the_slow_one", "had %u signals and %u resets, close %u", r->signals, r->resets - 1,
               r->close_code);
        close(r->fd);
        free(r);
        scene_judge(s);
        CHECK_KEPT(crew_resets(s->crew) == crew_size(s->crew),
                   "line 5: devices that read were reset");
        CHECK_KEPT(crew_hellos(s->crew) == crew_size(s->crew),
                   "line 5: devices that read had to reconnect");
        scene_close(s);
}
