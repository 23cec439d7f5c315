#include "loadtest/reply.h"

#include <string.h>

#include <criterion/criterion.h>
#include <criterion/new/assert.h>

static const char upgrade[] = "HTTP/1.1 101 Switching Protocols\r\n"
                              "Upgrade: websocket\r\n"
                              "Connection: Upgrade\r\n"
                              "sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"
                              "Sec-WebSocket-Protocol:kickoff.v1.json \r\n"
                              "\r\nrest";

Test(reply, reads_an_upgrade_whatever_the_cut)
{
        struct reply reply;
        size_t used, whole = strlen(upgrade) - 4;

        for (size_t cut = 0; cut < whole; cut++)
                cr_assert(eq(int, reply_parse(upgrade, cut, &reply, &used), REPLY_MORE));
        cr_assert(eq(int, reply_parse(upgrade, strlen(upgrade), &reply, &used), REPLY_DONE));
        cr_assert(eq(sz, used, whole));
        cr_assert(eq(uint, reply.status, 101));
        cr_assert(eq(str, reply.accept, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
        cr_assert(eq(str, reply.protocol, "kickoff.v1.json"));
}

Test(reply, reads_a_bundle_and_a_refusal)
{
        static const char bundle[] = "HTTP/1.1 200 OK\r\nContent-Length: 8192\r\nETag: \"ab\"\r\n"
                                     "Kickoff-Bundle: 3\r\n\r\n";
        static const char refusal[] = "HTTP/1.1 503 Service Unavailable\r\nRetry-After: 7\r\n\r\n";
        struct reply reply;
        size_t used;

        cr_assert(eq(int, reply_parse(bundle, strlen(bundle), &reply, &used), REPLY_DONE));
        cr_assert(reply.has_length);
        cr_assert(eq(u64, reply.length, 8192));
        cr_assert(eq(str, reply.etag, "\"ab\""));
        cr_assert(eq(u64, reply.bundle, 3));
        cr_assert(eq(int, reply_parse(refusal, strlen(refusal), &reply, &used), REPLY_DONE));
        cr_assert(eq(uint, reply.status, 503));
        cr_assert(eq(u32, reply.retry_after, 7));
        cr_assert(not(reply.has_length));
}

Test(reply, calls_the_odd_broken)
{
        static const char *const broken[] = {
                "HTTP/2 200 OK\r\n\r\n",
                "\r\n\r\n",
                "HTTP/1.1 abc Hm\r\n\r\n",
                "HTTP/1.1 200 OK\r\nContent-Length: 12x\r\n\r\n",
                "HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999\r\n\r\n",
                "HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
        };
        char endless[REPLY_HEAD_MAX];
        struct reply reply;
        size_t used;

        for (size_t i = 0; i < sizeof(broken) / sizeof(*broken); i++)
                cr_expect(
                    eq(int, reply_parse(broken[i], strlen(broken[i]), &reply, &used), REPLY_BROKEN),
                    "%s", broken[i]);
        memset(endless, 'x', sizeof(endless));
        cr_assert(eq(int, reply_parse(endless, sizeof(endless), &reply, &used), REPLY_BROKEN));
}
