/* Snapshots: the state at one place, one signal later, and as the frame of a reset. */
#include "fanout/snapshot.h"

#include <stdio.h>
#include <string.h>

#include <criterion/criterion.h>
#include <criterion/new/assert.h>

#include "proto/ws.h"

static struct snapshot *sample(void)
{
        struct token token = { 7, 3, 30 };
        struct event_state events[] = { { .event = "b", .stage = "live", .version = 2 },
                                        { .event = "d", .stage = "scheduled", .version = 1 } };

        return snapshot_create(&token, 0, events, 2);
}

static struct signal change_of(const char *event, uint64_t version)
{
        struct signal signal = { .token = { 7, 4, 40 },
                                 .state = { .stage = "ended", .version = version } };

        strcpy(signal.state.event, event);
        return signal;
}

Test(snapshot, finds_events_by_id)
{
        struct snapshot *snapshot = sample();

        cr_assert(eq(u64, snapshot_find(snapshot, "b")->version, 2));
        cr_assert(eq(u64, snapshot_find(snapshot, "d")->version, 1));
        cr_assert(snapshot_find(snapshot, "a") == NULL);
        cr_assert(snapshot_find(snapshot, "c") == NULL);
        cr_assert(snapshot_find(snapshot, "e") == NULL);
        snapshot_unref(snapshot);
        snapshot_unref(NULL);
}

static const char *const ids[] = { "a", "b", "c", "d", "e" };

Test(snapshot, one_signal_later_one_event_is_new_or_changed_and_the_old_one_stays)
{
        for (size_t i = 0; i < countof(ids); i++) {
                struct snapshot *before = sample(), *after;
                struct signal signal = change_of(ids[i], 9);
                const struct event_state *events;
                bool known = i == 1 || i == 3;
                size_t n;

                after = snapshot_after(before, &signal);
                cr_assert(eq(u64, snapshot_token(after)->seq, 4));
                events = snapshot_events(after, &n);
                cr_assert(eq(sz, n, known ? 2 : 3));
                for (size_t k = 1; k < n; k++)
                        cr_assert(lt(int, strcmp(events[k - 1].event, events[k].event), 0));
                cr_assert(eq(u64, snapshot_find(after, ids[i])->version, 9));
                (void)snapshot_events(before, &n);
                cr_assert(eq(sz, n, 2));
                cr_assert(snapshot_find(before, ids[i]) == NULL ||
                          snapshot_find(before, ids[i])->version < 9);
                snapshot_unref(before);
                snapshot_unref(after);
        }
}

Test(snapshot, an_empty_one_grows_with_its_first_event)
{
        struct token token = { 7, 3, 30 };
        struct snapshot *before = snapshot_create(&token, 0, NULL, 0), *after;
        struct signal signal = change_of("a", 1);

        after = snapshot_after(before, &signal);
        cr_assert(eq(u64, snapshot_find(after, "a")->version, 1));
        snapshot_unref(before);
        snapshot_unref(after);
}

Test(snapshot, the_epoch_that_its_own_continues_stays_with_it)
{
        struct token token = { 7, 3, 30 };
        struct snapshot *before = snapshot_create(&token, 6, NULL, 0), *after;
        struct signal signal = change_of("a", 1);

        after = snapshot_after(before, &signal);
        cr_assert(eq(u64, snapshot_parent(before), 6));
        cr_assert(eq(u64, snapshot_parent(after), 6));
        snapshot_unref(before);
        snapshot_unref(after);
}

Test(snapshot, its_reset_frame_is_made_once_and_carries_reason_token_and_all_events)
{
        struct snapshot *snapshot = sample();

        for (unsigned encoding = 0; encoding < ENCODINGS; encoding++) {
                struct blob *frame = snapshot_frame(snapshot, RESET_FORKED, (enum wire)encoding);
                uint8_t buffer[WS_BUFFER_SIZE(4096)];
                struct ws_reader reader;
                struct ws_event event;
                struct message message;
                size_t used;

                cr_assert(frame == snapshot_frame(snapshot, RESET_FORKED, (enum wire)encoding));
                cr_assert(frame != snapshot_frame(snapshot, RESET_NEW, (enum wire)encoding));
                ws_reader_init(&reader, WS_CLIENT, buffer, 4096);
                cr_assert(
                    eq(int, ws_read(&reader, frame->data, frame->len, &used, &event), WS_MESSAGE));
                cr_assert(
                    eq(int,
                       message_decode(event.payload, event.len, (enum encoding)encoding, &message),
                       OK));
                cr_assert(eq(int, message.type, MESSAGE_RESET));
                cr_assert(eq(int, message.reset.reason, RESET_FORKED));
                cr_assert(token_equal(&message.reset.token, snapshot_token(snapshot)));
                cr_assert(eq(sz, message.reset.n, 2));
                cr_assert(eq(str, message.reset.events[1].event, "d"));
                message_fini(&message);
        }
        snapshot_unref(snapshot);
}
