/* When a device acts, and when it fetches; what it believes of an event stream and of its own disk.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <criterion/criterion.h>
#include <criterion/new/assert.h>

#include "device/c/device_agenda.h"
#include "device/c/device_cache.h"
#include "device/c/device_sse.h"

#define NODE_MS 1790000000000

static struct device_now now = { .mono_ms = 1000, .wall_ms = NODE_MS };

static struct signal signal_of(seqno seq, const char *stage, int64_t at, uint64_t bundle)
{
        struct signal signal = { .token = { .epoch = 7, .seq = seq, .tag = seq },
                                 .state = { .at = at, .version = seq, .bundle = bundle } };

        strcpy(signal.state.event, "final");
        strcpy(signal.state.stage, stage);
        return signal;
}

static void take(struct device_agenda *agenda, struct signal signal)
{
        cr_assert(eq(int, device_agenda_signal(agenda, &signal, now), OK));
}

static void take_reset(struct device_agenda *agenda, uint64_t epoch, struct event_state state)
{
        struct reset reset = { .token = { .epoch = epoch, .seq = 9 }, .events = &state, .n = 1 };

        cr_assert(eq(int, device_agenda_reset(agenda, &reset, now), OK));
}

Test(device_agenda, a_stage_is_due_at_its_moment_once)
{
        struct device_agenda agenda;
        struct device_row row;

        device_agenda_init(&agenda, true, false, 7);
        take(&agenda, signal_of(1, "live", NODE_MS + 2000, 0));
        cr_assert(eq(u64, device_agenda_wait_ms(&agenda, now, NODE_MS, true), 2000));
        cr_assert(not(device_agenda_act(&agenda, NODE_MS + 1999, &row)));
        cr_assert(device_agenda_act(&agenda, NODE_MS + 2000, &row));
        cr_assert(eq(str, row.state.stage, "live"));
        cr_assert(eq(u64, row.seq, 1));
        take(&agenda, signal_of(2, "live", NODE_MS + 2000, 5));
        cr_assert(not(device_agenda_act(&agenda, NODE_MS + 9000, &row)), "only its bundle changed");
        device_agenda_fini(&agenda);
}

Test(device_agenda, a_newer_signal_takes_back_what_was_not_due_yet)
{
        struct device_agenda agenda;
        struct device_row row;

        device_agenda_init(&agenda, true, false, 7);
        take(&agenda, signal_of(1, "live", NODE_MS + 2000, 0));
        take(&agenda, signal_of(2, "scheduled", NODE_MS, 0));
        cr_assert(device_agenda_act(&agenda, NODE_MS + 9000, &row));
        cr_assert(eq(str, row.state.stage, "scheduled"));
        cr_assert(not(device_agenda_act(&agenda, NODE_MS + 9000, &row)));
        device_agenda_fini(&agenda);
}

Test(device_agenda, fetches_are_spread_over_the_whole_span_given)
{
        uint64_t largest = 0, smallest = UINT64_MAX;

        for (uint64_t seed = 1; seed <= 500; seed++) {
                struct device_agenda agenda;
                struct signal signal = signal_of(1, "live", NODE_MS, 3);

                signal.window_ms = 20000;
                device_agenda_init(&agenda, false, true, seed);
                take(&agenda, signal);
                uint64_t wait_ms = device_agenda_wait_ms(&agenda, now, NODE_MS, true);
                largest = wait_ms > largest ? wait_ms : largest;
                smallest = wait_ms < smallest ? wait_ms : smallest;
                take(&agenda, signal_of(2, "live", NODE_MS, 4));
                cr_assert(eq(u64, device_agenda_wait_ms(&agenda, now, NODE_MS, true), wait_ms),
                          "a moment once drawn stands");
                device_agenda_fini(&agenda);
        }
        cr_assert(le(u64, largest, 20000));
        cr_assert(gt(u64, largest, 19000));
        cr_assert(lt(u64, smallest, 1000));
}

static const struct device_row *fetch_when_due(struct device_agenda *agenda, struct device_now *at)
{
        const struct device_row *row = NULL;

        at->mono_ms += device_agenda_wait_ms(agenda, *at, NODE_MS, true);
        cr_assert(device_agenda_fetch(agenda, *at, &row));
        return row;
}

Test(device_agenda, a_failed_fetch_is_tried_again_ever_later_and_a_good_one_is_not)
{
        struct device_agenda agenda;
        struct device_now at = now;
        uint64_t wait_ms;

        device_agenda_init(&agenda, false, true, 7);
        take(&agenda, signal_of(1, "live", NODE_MS, 3));
        for (int i = 0; i < 10; i++) {
                (void)fetch_when_due(&agenda, &at);
                cr_assert(
                    eq(u64, device_agenda_wait_ms(&agenda, at, NODE_MS, true), DEVICE_CORE_NEVER));
                cr_assert(device_agenda_fetched(&agenda, "final", DEVICE_FETCH_FAILED, 0, "", 0,
                                                at));
                wait_ms = device_agenda_wait_ms(&agenda, at, NODE_MS, true);
                cr_assert(le(u64, wait_ms, i < 6 ? 1000u << i : 60000u));
        }
        (void)fetch_when_due(&agenda, &at);
        cr_assert(
            device_agenda_fetched(&agenda, "final", DEVICE_FETCH_FAILED, 0, "", 30000, at));
        wait_ms = device_agenda_wait_ms(&agenda, at, NODE_MS, true);
        cr_assert(ge(u64, wait_ms, 30000));
        cr_assert(lt(u64, wait_ms, 31000));
        (void)fetch_when_due(&agenda, &at);
        cr_assert(device_agenda_fetched(&agenda, "final", DEVICE_FETCH_GOOD, 3, "abc", 0, at));
        cr_assert(eq(u64, device_agenda_wait_ms(&agenda, at, NODE_MS, true), DEVICE_CORE_NEVER));
        device_agenda_fini(&agenda);
}

Test(device_agenda, what_is_held_is_not_fetched_again_unless_its_number_means_nothing_any_more)
{
        struct device_agenda agenda;
        struct device_now at = now;
        struct event_state state = { .event = "final", .stage = "live", .bundle = 3 };

        device_agenda_init(&agenda, false, true, 7);
        take_reset(&agenda, 7, state);
        (void)fetch_when_due(&agenda, &at);
        cr_assert(device_agenda_fetched(&agenda, "final", DEVICE_FETCH_GOOD, 3, "abc", 0, at));
        take_reset(&agenda, 7, state);
        cr_assert(eq(u64, device_agenda_wait_ms(&agenda, at, NODE_MS, true), DEVICE_CORE_NEVER));
        take_reset(&agenda, 8, state);
        cr_assert(eq(str, (char *)fetch_when_due(&agenda, &at)->hash, "abc"), "asked by its hash");
        device_agenda_fini(&agenda);
}

Test(device_agenda, an_event_that_is_over_is_not_fetched_for)
{
        struct device_agenda agenda;

        device_agenda_init(&agenda, false, true, 7);
        take(&agenda, signal_of(1, "ended", NODE_MS, 3));
        cr_assert(eq(u64, device_agenda_wait_ms(&agenda, now, NODE_MS, true), DEVICE_CORE_NEVER));
        device_agenda_fini(&agenda);
}

Test(device_agenda, a_signal_of_an_older_version_is_nothing)
{
        struct device_agenda agenda;
        struct device_row row;

        device_agenda_init(&agenda, true, false, 7);
        take(&agenda, signal_of(5, "live", NODE_MS, 0));
        take(&agenda, signal_of(4, "scheduled", NODE_MS + 1, 0));
        cr_assert(device_agenda_act(&agenda, NODE_MS + 9000, &row));
        cr_assert(eq(str, row.state.stage, "live"));
        cr_assert(not(device_agenda_act(&agenda, NODE_MS + 9000, &row)));
        device_agenda_fini(&agenda);
}

Test(device_agenda, what_was_fetched_for_a_forgotten_event_is_nobodys)
{
        struct device_agenda agenda;
        struct device_now at = now;
        struct event_state other = { .event = "other", .stage = "live" };

        device_agenda_init(&agenda, false, true, 7);
        take(&agenda, signal_of(1, "live", NODE_MS, 3));
        (void)fetch_when_due(&agenda, &at);
        take_reset(&agenda, 8, other);
        cr_assert(
            not(device_agenda_fetched(&agenda, "final", DEVICE_FETCH_GOOD, 3, "abc", 0, at)));
        device_agenda_fini(&agenda);
}

Test(device_sse, cuts_a_stream_into_events_however_its_bytes_are_cut)
{
        static const char stream[] = ": ping\n\nid: 1\ndata: {\"a\":1}\n\ndata:x\r\ndata: y\r\n\r\n"
                                     "event: e\rdata\r\rid: 2\n\n";

        for (size_t chunk = 1; chunk < sizeof(stream); chunk++) {
                struct device_sse sse;
                char told[100] = "";

                device_sse_init(&sse);
                for (size_t at = 0; at < sizeof(stream) - 1;) {
                        size_t left = sizeof(stream) - 1 - at, used = 0;

                        switch (device_sse_read(&sse, stream + at, left < chunk ? left : chunk, 100,
                                                &used)) {
                        case DEVICE_SSE_EVENT:
                                sprintf(told + strlen(told), "[%.*s]", (int)sse.data.len,
                                        sse.data.len > 0 ? (char *)sse.data.data : "");
                                break;
                        case DEVICE_SSE_COMMENT:
                                strcat(told, "(ping)");
                                break;
                        default:
                                break;
                        }
                        at += used;
                }
                cr_assert(eq(str, told, "(ping)[{\"a\":1}][x\ny][]"), "in chunks of %zu", chunk);
                device_sse_fini(&sse);
        }
}

Test(device_sse, does_not_grow_without_end)
{
        struct device_sse sse;
        size_t used;

        device_sse_init(&sse);
        cr_assert(
            eq(int, device_sse_read(&sse, "data: 0123456789", 16, 8, &used), DEVICE_SSE_BROKEN));
        device_sse_fini(&sse);
        device_sse_init(&sse);
        cr_assert(
            eq(int, device_sse_read(&sse, "data: 0123456789\n\n", 18, 10, &used), DEVICE_SSE_EVENT),
            "as much as it may be");
        cr_assert(eq(sz, sse.data.len, 10));
        device_sse_fini(&sse);
        device_sse_init(&sse);
        cr_assert(
            eq(int, device_sse_read(&sse, "data: 0123456789\n\n", 18, 9, &used), DEVICE_SSE_BROKEN),
            "and one byte more");
        device_sse_fini(&sse);
}

Test(device_cache, gives_back_what_was_kept_and_nothing_that_was_changed)
{
        char dir[] = "/tmp/kickoff-cache-XXXXXX", path[100];
        struct device_copy copy = { .epoch = 7, .version = 3, .content_type = "text/plain" }, back;
        FILE *file;

        cr_assert(mkdtemp(dir) != NULL);
        buf_init(&copy.bytes);
        buf_str(&copy.bytes, "hello\nworld");
        device_cache_hash(copy.bytes.data, copy.bytes.len, copy.hash);
        cr_assert(eq(int, device_cache_read(dir, "default", "final", &back), ERR_NOT_FOUND));
        cr_assert(eq(int, device_cache_write(dir, "default", "final", &copy), OK));
        cr_assert(eq(int, device_cache_read(dir, "default", "final", &back), OK));
        cr_assert(eq(u64, back.epoch, 7));
        cr_assert(eq(u64, back.version, 3));
        cr_assert(eq(str, back.content_type, "text/plain"));
        cr_assert(eq(sz, back.bytes.len, 11));
        buf_fini(&back.bytes);
        cr_assert(eq(int, device_cache_read(dir, "north", "final", &back), ERR_NOT_FOUND));

        snprintf(path, sizeof(path), "%s/bundle,default,final", dir);
        file = fopen(path, "r+");
        cr_assert(file != NULL);
        fseek(file, -1, SEEK_END);
        fputc('X', file);
        fclose(file);
        cr_assert(eq(int, device_cache_read(dir, "default", "final", &back), ERR_NOT_FOUND));
        buf_fini(&copy.bytes);
        unlink(path);
        rmdir(dir);
}

Test(device_cache, is_this_users_alone_and_follows_no_link)
{
        char dir[] = "/tmp/kickoff-cache-XXXXXX", path[100], aside[110], victim[100];
        struct device_copy copy = { .epoch = 7, .version = 3, .content_type = "text/plain" };
        struct stat about;

        cr_assert(mkdtemp(dir) != NULL);
        snprintf(path, sizeof(path), "%s/bundle,default,final", dir);
        snprintf(aside, sizeof(aside), "%s.new", path);
        snprintf(victim, sizeof(victim), "%s/victim", dir);
        device_cache_hash("", 0, copy.hash);
        cr_assert(eq(int, device_cache_write(dir, "default", "final", &copy), OK));
        cr_assert(zero(int, stat(path, &about)));
        cr_assert(eq(uint, about.st_mode & 0777, 0600));
        cr_assert(zero(int, symlink(victim, aside)));
        cr_assert(eq(int, device_cache_write(dir, "default", "final", &copy), ERR_IO));
        cr_assert(eq(int, stat(victim, &about), -1), "nothing was written where it leads");
        unlink(aside);
        unlink(path);
        rmdir(dir);
}
