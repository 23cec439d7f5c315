/* prefetch/coding.c -- reads one Accept-Encoding line. Weights are thousandths, as finely as a
 * qvalue can say it (RFC 9110 12.4.2), times two: so that there is one below them all, for an
 * identity that nobody named. */
#include "prefetch/coding.h"

#include <ctype.h>
#include <string.h>

#define WEIGHT_FULL    2000u
#define WEIGHT_UNNAMED 1u

const char *const coding_name[CODINGS] = { "identity", "zstd", "gzip" };
const char *const coding_suffix[CODINGS] = { "", "-zstd", "-gzip" };

static struct slice trim(struct slice slice)
{
        while (slice.len > 0 && (slice.at[0] == ' ' || slice.at[0] == '\t')) {
                slice.at++;
                slice.len--;
        }
        while (slice.len > 0 && (slice.at[slice.len - 1] == ' ' || slice.at[slice.len - 1] == '\t'))
                slice.len--;
        return slice;
}

/* qvalue = ( "0" [ "." 0*3DIGIT ] ) / ( "1" [ "." 0*3("0") ] ) */
static bool read_qvalue(struct slice text, unsigned *ret_weight)
{
        unsigned thousandths;

        if (text.len == 0 || text.len > 5 || (text.at[0] != '0' && text.at[0] != '1') ||
            (text.len > 1 && text.at[1] != '.'))
                return false;
        thousandths = text.at[0] == '1' ? 1000 : 0;
        for (size_t i = 2, unit = 100; i < text.len; i++, unit /= 10) {
                if (!isdigit((unsigned char)text.at[i]))
                        return false;
                thousandths += (unsigned)(text.at[i] - '0') * (unsigned)unit;
        }
        if (thousandths > 1000)
                return false;
        *ret_weight = thousandths * 2;
        return true;
}

/* `gzip`, or `gzip;q=0.5` with optional white space around the semicolon. */
static bool read_element(struct slice element, struct slice *ret_name, unsigned *ret_weight)
{
        const char *semicolon = memchr(element.at, ';', element.len);
        struct slice q;

        *ret_weight = WEIGHT_FULL;
        *ret_name = element;
        if (semicolon == NULL)
                return element.len > 0;
        ret_name->len = (size_t)(semicolon - element.at);
        *ret_name = trim(*ret_name);
        q = trim(
            (struct slice){ semicolon + 1, element.len - (size_t)(semicolon + 1 - element.at) });
        if (ret_name->len == 0 || q.len < 3 || (q.at[0] != 'q' && q.at[0] != 'Q') || q.at[1] != '=')
                return false;
        return read_qvalue((struct slice){ q.at + 2, q.len - 2 }, ret_weight);
}

static int coding_of(struct slice name)
{
        for (int i = 0; i < CODINGS; i++)
                if (slice_is_nocase(name, coding_name[i]))
                        return i;
        return slice_is_nocase(name, "x-gzip") ? CODING_GZIP : -1; /* RFC 9110 8.4.1.3 */
}

void coding_read(struct slice accept_encoding, struct coding_wishes *ret_wishes)
{
        bool is_named[CODINGS] = { false }, has_star = false;
        struct slice element, name;
        unsigned weight, star = 0;

        memset(ret_wishes, 0, sizeof(*ret_wishes));
        while (accept_encoding.at != NULL && slice_next(&accept_encoding, &element)) {
                int coding;

                if (!read_element(element, &name, &weight))
                        continue;
                coding = coding_of(name);
                if (coding >= 0) {
                        is_named[coding] = true;
                        ret_wishes->weight[coding] = weight;
                } else if (slice_is(name, "*")) {
                        has_star = true;
                        star = weight;
                }
        }
        for (int i = 0; i < CODINGS; i++) {
                if (!is_named[i] && has_star)
                        ret_wishes->weight[i] = star;
        }
        if (!is_named[CODING_IDENTITY] && !has_star)
                ret_wishes->weight[CODING_IDENTITY] = WEIGHT_UNNAMED;
}
