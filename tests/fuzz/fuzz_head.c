/* Any bytes as a request head: read whole and byte by byte, with the same verdict; what a good head
 * keeps must lie within it, and break none of the promises in head.h. */
#include <string.h>

#include "proto/head.h"

static void check_within(struct slice slice, const char *bytes, size_t used)
{
        if (slice.at == NULL) {
                check(slice.len == 0);
                return;
        }
        check(slice.at >= bytes && slice.at <= bytes + used);
        check(slice.len <= (size_t)(bytes + used - slice.at));
        check(memchr(slice.at, '\r', slice.len) == NULL);
        check(memchr(slice.at, '\n', slice.len) == NULL);
        check(memchr(slice.at, '\0', slice.len) == NULL);
}

static void check_head(const struct head *head, const char *bytes, size_t used)
{
        const struct slice *slices[] = {
                &head->method,     &head->path,          &head->query,
                &head->host,       &head->origin,        &head->authorization,
                &head->ws_key,     &head->if_none_match, &head->accept_encoding,
                &head->ws_version, &head->user_agent,    &head->last_event_id,
                &head->accept,
        };
        const char *names[] = { "device", "since", "a", "" };
        char out[32];

        check(used <= HEAD_MAX && memcmp(bytes + used - 4, "\r\n\r\n", 4) == 0);
        check(head->minor <= 1 && head->path.at[0] == '/');
        check(head->minor == 0 || head->host.len > 0);
        for (size_t i = 0; i < countof(slices); i++)
                check_within(*slices[i], bytes, used);
        for (size_t i = 0; i < countof(names); i++) {
                enum err err = head_param(head, names[i], out, sizeof(out));

                if (err == OK)
                        check(strlen(out) < sizeof(out));
        }
        for (unsigned i = 0; i < head->n_ws_protocols; i++) {
                check_within(head->ws_protocols[i], bytes, used);
                (void)slice_has_token(head->ws_protocols[i], "kickoff.v1.json");
        }
}

int LLVMFuzzerTestOneInput(const uint8_t *input, size_t len);

int LLVMFuzzerTestOneInput(const uint8_t *input, size_t len)
{
        const char *bytes = (const char *)input;
        struct head head, again;
        size_t scanned = 0, used = 0, used_again = 0;
        unsigned status = 0, status_again = 0;
        enum head_status whole = head_parse(bytes, len, &scanned, &head, &used, &status);
        enum head_status pieces = HEAD_MORE;

        scanned = 0;
        for (size_t n = 0; n <= len && pieces == HEAD_MORE; n++)
                pieces = head_parse(bytes, n, &scanned, &again, &used_again, &status_again);
        check(whole == pieces && status == status_again);
        if (whole == HEAD_BAD)
                check(status == 400 || status == 431 || status == 501 || status == 505);
        if (whole != HEAD_DONE)
                return 0;
        check(used == used_again && memcmp(&head, &again, sizeof(head)) == 0);
        check_head(&head, bytes, used);
        return 0;
}
