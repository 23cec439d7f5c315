/* gateway/audience.c -- numbers stay what they are while somebody of that sort is here; free ones
 * are used again. To find a sort by its words there is a sorted list of numbers: devices choose the
 * words, so a hash would need a secret, and the list is as long as the number of sorts, which is
 * small by rule. */
#include "gateway/audience.h"

#include <stdlib.h>
#include <string.h>

#define FIRST_ROWS 16
#define WINDOW     64 /* entries whose answers are remembered: those of one stretch of the log */

struct words { /* a device's, one after another, each with its NUL */
        uint16_t len;
        uint16_t at[TRAITS];
        char text[TRAITS * (TRAIT_MAX + 1)];
};

struct audience {
        uint32_t sessions;
        uint64_t window;       /* 1 + the number of the stretch; 0 = none */
        uint64_t known, meant; /* one bit per entry of it */
        struct words words;    /* the last: only as much of it is there as there are words */
};

struct audiences {
        struct audience **rows; /* by number; NULL = free */
        uint16_t *sorted;       /* numbers, by their words */
        size_t n, used, size;   /* sorts here; rows that were ever used; room for rows */
        size_t free_from;       /* all rows below are taken */
};

enum err audiences_create(struct audiences **ret_audiences)
{
        struct audiences *audiences = calloc(1, sizeof(*audiences));

        if (audiences == NULL)
                return ERR_NOMEM;
        *ret_audiences = audiences;
        return OK;
}

void audiences_destroy(struct audiences *audiences)
{
        if (audiences == NULL)
                return;
        for (size_t i = 0; i < audiences->used; i++)
                free(audiences->rows[i]);
        free(audiences->rows);
        free(audiences->sorted);
        free(audiences);
}

/* --- coming and going ------------------------------------------------------------------------ */

static int compare(const struct words *a, const struct words *b)
{
        if (a->len != b->len)
                return a->len < b->len ? -1 : 1;
        return memcmp(a->text, b->text, a->len);
}

/* Where it stands in the sorted list, or would. */
static bool find(const struct audiences *audiences, const struct words *wanted, size_t *ret_at)
{
        size_t low = 0, high = audiences->n;

        while (low < high) {
                size_t middle = (low + high) / 2;
                int order = compare(wanted, &audiences->rows[audiences->sorted[middle]]->words);

                if (order == 0) {
                        *ret_at = middle;
                        return true;
                }
                if (order < 0)
                        high = middle;
                else
                        low = middle + 1;
        }
        *ret_at = low;
        return false;
}

static enum err grow(struct audiences *audiences)
{
        size_t size = audiences->size > 0 ? audiences->size * 2 : FIRST_ROWS;
        struct audience **rows;
        uint16_t *sorted;

        if (audiences->n == AUDIENCES_MAX) /* one more would have no number of two bytes */
                return ERR_TOO_LARGE;
        if (audiences->n < audiences->size)
                return OK;
        rows = realloc(audiences->rows, size * sizeof(*rows));
        if (rows == NULL)
                return ERR_NOMEM;
        audiences->rows = rows;
        sorted = realloc(audiences->sorted, size * sizeof(*sorted));
        if (sorted == NULL)
                return ERR_NOMEM;
        audiences->sorted = sorted;
        audiences->size = size;
        return OK;
}

static uint16_t free_row(struct audiences *audiences)
{
        size_t i = audiences->free_from;

        while (i < audiences->used && audiences->rows[i] != NULL)
                i++;
        audiences->used += i == audiences->used;
        audiences->free_from = i + 1;
        return (uint16_t)i;
}

static void spell(struct words *words, const char *const traits[TRAITS])
{
        size_t len = 0;

        for (unsigned i = 0; i < TRAITS; i++) {
                const char *word = traits[i] != NULL ? traits[i] : "";
                size_t size = strlen(word) + 1;

                check(size <= TRAIT_MAX + 1);
                words->at[i] = (uint16_t)len;
                memcpy(words->text + len, word, size);
                len += size;
        }
        words->len = (uint16_t)len;
}

enum err audiences_enter(struct audiences *audiences, const char *const traits[TRAITS],
                         uint16_t *ret_audience)
{
        struct audience *audience;
        struct words wanted;
        size_t at, len;
        uint16_t row;
        enum err err;

        spell(&wanted, traits);
        if (find(audiences, &wanted, &at)) {
                row = audiences->sorted[at];
                audiences->rows[row]->sessions++;
                *ret_audience = row;
                return OK;
        }
        err = grow(audiences);
        if (err != OK)
                return err;
        len = offsetof(struct words, text) + wanted.len;
        audience = calloc(1, offsetof(struct audience, words) + len);
        if (audience == NULL)
                return ERR_NOMEM;
        memcpy(&audience->words, &wanted, len);
        audience->sessions = 1;
        row = free_row(audiences);
        audiences->rows[row] = audience;
        memmove(&audiences->sorted[at + 1], &audiences->sorted[at],
                (audiences->n - at) * sizeof(*audiences->sorted));
        audiences->sorted[at] = row;
        audiences->n++;
        *ret_audience = row;
        return OK;
}

void audiences_leave(struct audiences *audiences, uint16_t number)
{
        struct audience *audience;
        size_t at;

        check(number < audiences->used && audiences->rows[number] != NULL);
        audience = audiences->rows[number];
        if (--audience->sessions > 0)
                return;
        check(find(audiences, &audience->words, &at) && audiences->sorted[at] == number);
        audiences->n--;
        memmove(&audiences->sorted[at], &audiences->sorted[at + 1],
                (audiences->n - at) * sizeof(*audiences->sorted));
        audiences->rows[number] = NULL;
        if (number < audiences->free_from)
                audiences->free_from = number;
        free(audience);
}

/* --- whom it is for -------------------------------------------------------------------------- */

static bool matches(const struct audience *audience, const struct target *to)
{
        const char *traits[TRAITS];

        for (unsigned i = 0; i < TRAITS; i++)
                traits[i] = audience->words.text + audience->words.at[i];
        return target_matches(to, traits);
}

void audiences_forget(struct audiences *audiences)
{
        for (size_t i = 0; i < audiences->used; i++)
                if (audiences->rows[i] != NULL)
                        audiences->rows[i]->window = 0;
}

bool audiences_judge(struct audiences *audiences, uint16_t number, const struct entry *entry)
{
        seqno seq = entry->signal.token.seq;
        uint64_t window = 1 + seq / WINDOW, bit = UINT64_C(1) << seq % WINDOW;
        struct audience *audience;

        if (entry->to == NULL || audiences == NULL)
                return true;
        check(number < audiences->used && audiences->rows[number] != NULL);
        audience = audiences->rows[number];
        if (audience->window != window) {
                audience->window = window;
                audience->known = audience->meant = 0;
        }
        if ((audience->known & bit) == 0) {
                audience->known |= bit;
                if (matches(audience, entry->to))
                        audience->meant |= bit;
        }
        return (audience->meant & bit) != 0;
}

uint64_t audiences_missed(struct audiences *audiences, uint16_t number, const struct ring *ring,
                          seqno from, seqno seq)
{
        uint64_t missed = 0;

        for (unsigned i = 0; i < 64 && seq - i > from; i++) {
                const struct entry *entry = ring_at(ring, seq - i);

                if (entry != NULL && !audiences_meant(audiences, number, entry))
                        missed |= UINT64_C(1) << i;
        }
        return missed;
}

uint32_t audiences_reach(const struct audiences *audiences, const struct target *to)
{
        uint32_t sessions = 0;

        for (size_t i = 0; i < audiences->used; i++)
                if (audiences->rows[i] != NULL && matches(audiences->rows[i], to))
                        sessions += audiences->rows[i]->sessions;
        return sessions;
}

size_t audiences_n(const struct audiences *audiences)
{
        return audiences->n;
}

bool audiences_next(const struct audiences *audiences, size_t *walk, const char *ret_traits[TRAITS],
                    uint32_t *ret_sessions)
{
        while (*walk < audiences->used && audiences->rows[*walk] == NULL)
                ++*walk;
        if (*walk == audiences->used)
                return false;

        const struct audience *row = audiences->rows[*walk];

        for (unsigned i = 0; i < TRAITS; i++)
                ret_traits[i] = row->words.text + row->words.at[i];
        *ret_sessions = row->sessions;
        ++*walk;
        return true;
}
