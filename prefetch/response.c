/* prefetch/response.c -- a bundle as the bytes that go out: heads with their max-age, the 304, and
 * whether an If-None-Match names this bundle. Everything is built once per bundle version; a
 * request only picks.
 *
 * A herd that fetched together would come back together when its caches expire, so heads differ in
 * max-age, evenly from -20 % to +20 %. */
#include "prefetch/bundle.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"

#define SPREAD_PERCENT 20

static unsigned max_age_s(unsigned variant)
{
        unsigned percent = 100 - SPREAD_PERCENT + 2 * SPREAD_PERCENT * variant / (BUNDLE_HEADS - 1);

        return BUNDLE_MAX_AGE_S * percent / 100;
}

/* The fields that 200 and 304 share: RFC 9110 15.4.5 wants ETag and Cache-Control in both. */
static void add_common(struct buf *out, const struct bundle_response *response, unsigned variant)
{
        buf_printf(out,
                   "ETag: %s\r\n"
                   "Kickoff-Bundle: %llu\r\n"
                   "Cache-Control: public, max-age=%u\r\n"
                   "Access-Control-Allow-Origin: *\r\n"
                   "Access-Control-Expose-Headers: Kickoff-Bundle, ETag\r\n",
                   response->etag, (unsigned long long)response->version, max_age_s(variant));
}

static struct blob *make_head(const struct bundle_response *response, const struct bundle_row *row,
                              unsigned variant)
{
        char array[1024];
        struct buf out;

        buf_init_fixed(&out, array, sizeof(array));
        buf_printf(&out,
                   "HTTP/1.1 200 OK\r\n"
                   "Content-Type: %s\r\n"
                   "Content-Length: %u\r\n",
                   row->type, response->body->len);
        add_common(&out, response, variant);
        buf_str(&out, "X-Content-Type-Options: nosniff\r\n\r\n");
        check(!out.failed);
        return blob_create(out.data, out.len);
}

static struct blob *make_304(const struct bundle_response *response, unsigned variant)
{
        char array[1024];
        struct buf out;

        buf_init_fixed(&out, array, sizeof(array));
        buf_str(&out, "HTTP/1.1 304 Not Modified\r\n");
        add_common(&out, response, variant);
        buf_str(&out, "\r\n");
        check(!out.failed);
        return blob_create(out.data, out.len);
}

struct bundle_response *bundle_response_create(const struct bundle_row *row, uint64_t version,
                                               struct blob *body)
{
        struct bundle_response *response = calloc(1, sizeof(*response));

        if (response == NULL)
                return NULL;
        check(bundle_type_is_valid(row->type)); /* else a head could be split in two */
        atomic_init(&response->refs, 1);
        response->version = version;
        response->body = blob_ref(body);
        snprintf(response->etag, sizeof(response->etag), "\"%s\"", row->sha256);
        for (unsigned i = 0; i < BUNDLE_HEADS; i++) {
                response->heads[i] = make_head(response, row, i);
                response->heads_304[i] = make_304(response, i);
                if (response->heads[i] == NULL || response->heads_304[i] == NULL) {
                        bundle_response_unref(response);
                        return NULL;
                }
        }
        return response;
}

struct bundle_response *bundle_response_ref(struct bundle_response *response)
{
        atomic_fetch_add_explicit(&response->refs, 1, memory_order_relaxed);
        return response;
}

void bundle_response_unref(struct bundle_response *response)
{
        if (response == NULL ||
            atomic_fetch_sub_explicit(&response->refs, 1, memory_order_acq_rel) != 1)
                return;
        for (unsigned i = 0; i < BUNDLE_HEADS; i++) {
                blob_unref(response->heads[i]);
                blob_unref(response->heads_304[i]);
        }
        blob_unref(response->body);
        free(response);
}

/* --- If-None-Match ------------------------------------------------------------------------- */

static bool is_space(char c)
{
        return c == ' ' || c == '\t';
}

/* One entity-tag with its quotes at `at`, after an optional W/. Returns its length with the quotes,
 * or 0 if there is none: etagc (RFC 9110 8.8.3) may be a comma, so a list cannot be cut at commas.
 */
static size_t quoted_length(const char *at, const char *end)
{
        const char *close;

        if (at == end || *at != '"')
                return 0;
        close = memchr(at + 1, '"', (size_t)(end - at) - 1);
        return close == NULL ? 0 : (size_t)(close - at) + 1;
}

bool bundle_response_matches(const struct bundle_response *response, const char *if_none_match,
                             size_t len)
{
        const char *at = if_none_match, *end = at + len;
        size_t own_len = strlen(response->etag);

        while (at < end && is_space(*at))
                at++;
        while (end > at && is_space(end[-1]))
                end--;
        if (end - at == 1 && *at == '*')
                return true;
        while (at < end) {
                size_t tag_len;

                if (is_space(*at) || *at == ',') { /* empty list elements are legal, 5.6.1.2 */
                        at++;
                        continue;
                }
                if (end - at > 2 && at[0] == 'W' && at[1] == '/')
                        at += 2; /* weak comparison: 13.1.2 */
                tag_len = quoted_length(at, end);
                if (tag_len == 0)
                        return false; /* not a list of tags: as if it were not there */
                if (tag_len == own_len && memcmp(at, response->etag, own_len) == 0)
                        return true;
                at += tag_len;
        }
        return false;
}
