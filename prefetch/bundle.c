/* prefetch/bundle.c -- rows and indexes: the text Redis holds of a row, the hash that files a body,
 * and which row serves a cohort. Knows no Redis and no HTTP beyond what a content type may look
 * like; the ready-made responses are in response.c.
 *
 * Rows come from Redis, so a row that does not parse is the peer's fault (ERR_INVALID); an index is
 * built by us from parsed rows, so two rows of one cohort are our bug. */
#include "prefetch/bundle.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/sha.h>

/* --- rows ---------------------------------------------------------------------------------- */

static bool is_hex(char c)
{
        return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f');
}

static bool is_token_char(char c) /* tchar of RFC 9110 5.6.2 */
{
        if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9'))
                return true;
        return c != '\0' && strchr("!#$%&'*+-.^_`|~", c) != NULL;
}

static const char *skip_token(const char *at)
{
        while (is_token_char(*at))
                at++;
        return at;
}

bool bundle_type_is_valid(const char *type)
{
        const char *slash = skip_token(type);
        const char *rest = *slash == '/' ? skip_token(slash + 1) : slash;

        if (slash == type || *slash != '/' || rest == slash + 1 || strlen(type) > BUNDLE_TYPE_MAX)
                return false;
        while (*rest == ' ')
                rest++;
        if (*rest != '\0' && *rest != ';')
                return false;
        for (; *rest != '\0'; rest++) { /* parameters are repeated, not understood */
                if (*rest < ' ' || *rest > '~')
                        return false;
        }
        return true;
}

/* Decimal without sign or leading zeros, at most BUNDLE_BODY_MAX. Returns what follows, or NULL. */
static const char *parse_size(const char *at, uint32_t *ret_size)
{
        const char *first = at;
        uint32_t size = 0;

        for (; *at >= '0' && *at <= '9'; at++) {
                size = size * 10 + (uint32_t)(*at - '0');
                if (size > BUNDLE_BODY_MAX)
                        return NULL;
        }
        if (at == first || (*first == '0' && at != first + 1))
                return NULL;
        *ret_size = size;
        return at;
}

/* The position in front of a current row; a hash has no dots. Returns what follows, NULL if it is
 * none. */
static const char *parse_position(const char *text, size_t len, struct bundle_row *row)
{
        const char *end = memchr(text, ' ', len);
        size_t n = end != NULL ? (size_t)(end - text) : len;
        struct token token;

        if (memchr(text, '.', n) == NULL)
                return text;
        if (end == NULL || n > TOKEN_TEXT_MAX || token_parse(text, n, &token) != OK)
                return NULL;
        memcpy(row->position, text, n);
        return end + 1;
}

enum err bundle_row_parse(const char *cohort, const char *text, size_t len,
                          struct bundle_row *ret_row)
{
        char copy[BUNDLE_SHA_TEXT + BUNDLE_TYPE_MAX + 16];
        const char *rest, *type, *end = text + len;
        struct bundle_row row = { 0 };

        if (!name_is_valid(cohort, strlen(cohort), COHORT_MAX) || memchr(text, '\0', len) != NULL)
                return ERR_INVALID;
        rest = parse_position(text, len, &row);
        if (rest == NULL)
                return ERR_INVALID;
        text = rest;
        len = (size_t)(end - rest);
        if (len >= sizeof(copy) || len <= BUNDLE_SHA_TEXT)
                return ERR_INVALID;
        memcpy(copy, text, len);
        copy[len] = '\0';
        for (size_t i = 0; i < BUNDLE_SHA_TEXT; i++) {
                if (!is_hex(copy[i]))
                        return ERR_INVALID;
        }
        if (copy[BUNDLE_SHA_TEXT] != ' ')
                return ERR_INVALID;
        type = parse_size(copy + BUNDLE_SHA_TEXT + 1, &row.size);
        if (type == NULL || *type != ' ' || !bundle_type_is_valid(type + 1))
                return ERR_INVALID;
        memcpy(row.cohort, cohort, strlen(cohort));
        memcpy(row.sha256, copy, BUNDLE_SHA_TEXT);
        memcpy(row.type, type + 1, strlen(type + 1));
        *ret_row = row;
        return OK;
}

size_t bundle_row_format(const struct bundle_row *row, char *out, size_t size)
{
        int len = snprintf(out, size, "%s%s%s %u %s", row->position,
                           row->position[0] != '\0' ? " " : "", row->sha256, row->size, row->type);

        check(len > 0 && (size_t)len < size);
        return (size_t)len;
}

void bundle_sha256(const void *bytes, size_t len, char hex[BUNDLE_SHA_TEXT + 1])
{
        static const char digits[] = "0123456789abcdef";
        unsigned char hash[SHA256_DIGEST_LENGTH];

        check(SHA256(bytes, len, hash) != NULL);
        for (size_t i = 0; i < sizeof(hash); i++) {
                hex[2 * i] = digits[hash[i] >> 4];
                hex[2 * i + 1] = digits[hash[i] & 15];
        }
        hex[BUNDLE_SHA_TEXT] = '\0';
}

/* --- indexes ------------------------------------------------------------------------------- */

static int by_cohort(const void *a, const void *b)
{
        const struct bundle_row *left = a, *right = b;

        return strcmp(left->cohort, right->cohort);
}

struct bundle_index *bundle_index_create(const char *event, uint64_t version,
                                         const struct bundle_row *rows, size_t n)
{
        struct bundle_index *index;

        check(strlen(event) <= EVENT_ID_MAX && n <= UINT32_MAX);
        index = calloc(1, sizeof(*index) + n * sizeof(*rows));
        if (index == NULL)
                return NULL;
        atomic_init(&index->refs, 1);
        strcpy(index->event, event);
        index->version = version;
        index->n = (uint32_t)n;
        if (n > 0) {
                memcpy(index->rows, rows, n * sizeof(*rows));
                qsort(index->rows, n, sizeof(*rows), by_cohort);
        }
        for (size_t i = 1; i < n; i++)
                check(by_cohort(&index->rows[i - 1], &index->rows[i]) < 0);
        return index;
}

struct bundle_index *bundle_index_ref(struct bundle_index *index)
{
        atomic_fetch_add_explicit(&index->refs, 1, memory_order_relaxed);
        return index;
}

void bundle_index_unref(struct bundle_index *index)
{
        if (index != NULL && atomic_fetch_sub_explicit(&index->refs, 1, memory_order_acq_rel) == 1)
                free(index);
}

static const struct bundle_row *find_exactly(const struct bundle_index *index, const char *cohort)
{
        uint32_t low = 0, high = index->n;

        while (low < high) {
                uint32_t middle = low + (high - low) / 2;
                int order = strcmp(cohort, index->rows[middle].cohort);

                if (order == 0)
                        return &index->rows[middle];
                if (order < 0)
                        high = middle;
                else
                        low = middle + 1;
        }
        return NULL;
}

const struct bundle_row *bundle_index_find(const struct bundle_index *index, const char *cohort)
{
        const struct bundle_row *row = find_exactly(index, cohort);

        return row != NULL ? row : find_exactly(index, COHORT_DEFAULT);
}
