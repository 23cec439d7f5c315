/* prefetch/response.c -- a bundle as the bytes that go out: the heads of 200 and 304 in each
 * coding, which coding a request gets, and whether its If-None-Match names it. Everything is built
 * once per bundle version; a request only picks.
 *
 * max-age is the last field, so that its value is the one thing that differs between answers: eight
 * short tails do for all bundles, instead of eight heads of each.
 *
 * A coding may come after the response is in use (the packer was busy): the slot is written once,
 * with release, and read with acquire, so a thread sees a whole variant or none. */
#include "prefetch/response.h"

#include <stdlib.h>
#include <string.h>

#include "base/buf.h"

struct slice bundle_age(unsigned pick)
{
        /* 300 s -20 % to +20 %, in even steps */
        static const char tails[BUNDLE_AGES][8] = {
                "240\r\n\r\n", "257\r\n\r\n", "274\r\n\r\n", "291\r\n\r\n",
                "309\r\n\r\n", "326\r\n\r\n", "343\r\n\r\n", "360\r\n\r\n",
        };

        check(pick < BUNDLE_AGES);
        return (struct slice){ tails[pick], 7 };
}

/* --- heads --------------------------------------------------------------------------------- */

/* The fields that 200 and 304 share (RFC 9110 15.4.5), and then the beginning of max-age. A
 * browser's page on another site may read all of it: nothing here depends on who asks. */
static void add_common(struct buf *out, const struct bundle_response *response,
                       const struct bundle_variant *variant)
{
        const struct bundle_row *row = &response->row;

        buf_printf(out,
                   "ETag: %s\r\n"
                   "Vary: Accept-Encoding\r\n"
                   "Kickoff-Bundle: %llu\r\n"
                   "Kickoff-Hash: sha-256=%s\r\n",
                   variant->etag, (unsigned long long)response->version, row->sha256);
        if (row->position[0] != '\0')
                buf_printf(out, "Kickoff-Position: %s\r\n", row->position);
        buf_str(out, "Access-Control-Allow-Origin: *\r\n"
                     "Access-Control-Expose-Headers: ETag, Kickoff-Bundle, Kickoff-Hash, "
                     "Kickoff-Position, Retry-After\r\n"
                     "Cache-Control: public, max-age=");
}

static struct blob *make_head(const struct bundle_response *response,
                              const struct bundle_variant *variant, enum coding coding)
{
        char array[1280];
        struct buf out;

        buf_init_fixed(&out, array, sizeof(array));
        buf_printf(&out,
                   "HTTP/1.1 200 OK\r\n"
                   "Content-Type: %s\r\n"
                   "Content-Length: %u\r\n"
                   "X-Content-Type-Options: nosniff\r\n",
                   response->row.type, variant->body->len);
        if (coding != CODING_IDENTITY)
                buf_printf(&out, "Content-Encoding: %s\r\n", coding_name[coding]);
        add_common(&out, response, variant);
        check(!out.failed);
        return blob_create(out.data, out.len);
}

static struct blob *make_304(const struct bundle_response *response,
                             const struct bundle_variant *variant)
{
        char array[1024];
        struct buf out;

        buf_init_fixed(&out, array, sizeof(array));
        buf_str(&out, "HTTP/1.1 304 Not Modified\r\n");
        add_common(&out, response, variant);
        check(!out.failed);
        return blob_create(out.data, out.len);
}

/* --- the response -------------------------------------------------------------------------- */

static void variant_free(struct bundle_variant *variant)
{
        if (variant == NULL)
                return;
        blob_unref(variant->head);
        blob_unref(variant->head_304);
        blob_unref(variant->body);
        free(variant);
}

void bundle_response_add(struct bundle_response *response, enum coding coding, struct blob *packed)
{
        struct bundle_variant *variant = calloc(1, sizeof(*variant));
        struct buf etag;

        check(atomic_load_explicit(&response->variants[coding], memory_order_relaxed) == NULL);
        if (variant == NULL)
                return;
        buf_init_fixed(&etag, variant->etag, sizeof(variant->etag));
        buf_printf(&etag, "\"%s%s\"", response->row.sha256, coding_suffix[coding]);
        check(!etag.failed);
        variant->body = blob_ref(packed);
        variant->head = make_head(response, variant, coding);
        variant->head_304 = make_304(response, variant);
        if (variant->head == NULL || variant->head_304 == NULL) {
                variant_free(variant);
                return;
        }
        atomic_store_explicit(&response->variants[coding], variant, memory_order_release);
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
        response->row = *row;
        response->body = blob_ref(body);
        bundle_response_add(response, CODING_IDENTITY, body);
        if (atomic_load_explicit(&response->variants[CODING_IDENTITY], memory_order_relaxed) ==
            NULL) {
                bundle_response_unref(response);
                return NULL;
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
        for (int i = 0; i < CODINGS; i++)
                variant_free(atomic_load_explicit(&response->variants[i], memory_order_relaxed));
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

/* Does the list hold this tag? Weak comparison: 13.1.2. */
static bool names(struct slice if_none_match, const char *etag)
{
        const char *at = if_none_match.at, *end = at + if_none_match.len;
        size_t own_len = strlen(etag);

        while (at < end) {
                size_t tag_len;

                if (is_space(*at) || *at == ',') { /* empty list elements are legal, 5.6.1.2 */
                        at++;
                        continue;
                }
                if (end - at > 2 && at[0] == 'W' && at[1] == '/')
                        at += 2;
                tag_len = quoted_length(at, end);
                if (tag_len == 0)
                        return false; /* not a list of tags: as if it were not there */
                if (tag_len == own_len && memcmp(at, etag, own_len) == 0)
                        return true;
                at += tag_len;
        }
        return false;
}

static bool is_star(struct slice text)
{
        while (text.len > 0 && is_space(text.at[0])) {
                text.at++;
                text.len--;
        }
        while (text.len > 0 && is_space(text.at[text.len - 1]))
                text.len--;
        return slice_is(text, "*");
}

/* --- choosing ------------------------------------------------------------------------------ */

bool bundle_response_choose(const struct bundle_response *response, struct slice accept_encoding,
                            struct slice if_none_match, struct bundle_choice *ret_choice)
{
        const struct bundle_variant *best = NULL;
        unsigned best_weight = 0;
        struct coding_wishes wishes;

        coding_read(accept_encoding, &wishes);
        for (int i = 0; i < CODINGS; i++) {
                const struct bundle_variant *variant =
                    atomic_load_explicit(&response->variants[i], memory_order_acquire);

                if (variant == NULL || wishes.weight[i] == 0)
                        continue;
                /* What is chosen is ours to say (12.1): of what it accepts, what it has is best. */
                if (if_none_match.at != NULL && names(if_none_match, variant->etag)) {
                        *ret_choice = (struct bundle_choice){ variant, true };
                        return true;
                }
                if (wishes.weight[i] > best_weight ||
                    (wishes.weight[i] == best_weight && variant->body->len < best->body->len)) {
                        best = variant;
                        best_weight = wishes.weight[i];
                }
        }
        if (best == NULL)
                return false;
        *ret_choice =
            (struct bundle_choice){ best, if_none_match.at != NULL && is_star(if_none_match) };
        return true;
}
