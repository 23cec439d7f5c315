#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <string.h>

#include "proto/ws.h"

Test(ws_key, gives_the_answer_of_rfc_6455)
{
        char accept[29];

        ws_accept_key("dGhlIHNhbXBsZSBub25jZQ==", accept); /* section 1.3 */
        cr_assert(eq(str, accept, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
}

Test(ws_key, is_the_base64_of_sixteen_bytes)
{
        const char *good = "dGhlIHNhbXBsZSBub25jZQ==";

        cr_assert(ws_key_is_valid(good, 24));
        cr_assert(ws_key_is_valid("/+AAAAAAAAAAAAAAAAAAAA==", 24));
        cr_assert(not(ws_key_is_valid(good, 23)));
        cr_assert(not(ws_key_is_valid("", 0)));
        cr_assert(not(ws_key_is_valid("dGhlIHNhbXBsZSBub25jZQ= ", 24)));
        cr_assert(not(ws_key_is_valid("dGhlIHNhbXBsZSBub25jZR==", 24)), "spare bits are not 0");
        cr_assert(not(ws_key_is_valid("dGhlIHNhbXBsZSBub25jZQAA", 24)));
        cr_assert(not(ws_key_is_valid("dGhl*HNhbXBsZSBub25jZQ==", 24)));
        cr_assert(not(ws_key_is_valid("\0GhlIHNhbXBsZSBub25jZQ==", 24)));
}
