/* A device that does not read harms nobody, and later catches up. */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "proto/ws.h"
#include "tests/integration/harness.h"

#define SIGNALS 600 /* some 200 bytes each: far more than a socket of 2 KiB holds */

/* Reads frames from fd until signal number `last` came; checks that they rise without a hole. */
static size_t read_signals(int fd, seqno last)
{
        static uint8_t buffer[WS_BUFFER_SIZE(65536)];
        struct ws_reader reader;
        uint8_t chunk[4096];
        seqno expected = 0;
        size_t got = 0;

        ws_reader_init(&reader, WS_CLIENT, buffer, 65536);
        while (expected <= last) {
                ssize_t n = read(fd, chunk, sizeof(chunk));
                size_t at = 0, used;

                if (n <= 0)
                        give_up("the stream ended before signal %llu", (unsigned long long)last);
                while (at < (size_t)n) {
                        struct ws_event event;
                        struct message message;
                        enum ws_status status =
                            ws_read(&reader, chunk + at, (size_t)n - at, &used, &event);

                        at += used;
                        if (status == WS_BROKEN)
                                give_up("broken frame");
                        if (status != WS_MESSAGE)
                                continue;
                        if (message_decode(event.payload, event.len, ENCODING_JSON, &message) != OK)
                                give_up("undecodable message: %.*s", (int)event.len, event.payload);
                        if (message.type == MESSAGE_RESET)
                                expected = message.reset.token.seq + 1;
                        if (message.type == MESSAGE_SIGNAL) {
                                cr_assert(eq(u64, message.signal.token.seq, expected));
                                expected++;
                                got++;
                        }
                        message_fini(&message);
                }
        }
        return got;
}

Test(neighbours, a_device_that_stops_reading_harms_nobody_and_later_catches_up)
{
        struct test_node node = { 0 };
        struct recorder reading;
        seqno last = 0;
        int silent;

        node_start(&node, NULL);
        create_event(&node, "final");
        change(&node, "POST", "/v1/events/final/start", "{}");
        silent = raw_connect(&node, 2048);
        raw_upgrade(silent, "silent", "");
        recorder_start(&reading, &node, "reading", NULL, ENCODING_JSON);
        for (int i = 0; i < SIGNALS; i++) {
                char body[64];

                snprintf(body, sizeof(body), "{\"stage\":\"part-%d\"}", i % 10);
                last = change(&node, "POST", "/v1/events/final/stage", body);
        }
        /* the neighbour has everything while the silent one stands still */
        recorder_until_signals(&reading, SIGNALS);
        cr_assert(eq(u64, reading.signals[SIGNALS - 1].token.seq, last));
        cr_assert(eq(int, reading.resets, 1));
        /* and the silent one has lost nothing once it reads */
        cr_assert(eq(sz, read_signals(silent, last), SIGNALS));
        close(silent);
        recorder_end(&reading);
        node_end(&node);
}
