/* gateway/admission.c -- see the header. Refuses to know sockets, requests and why else somebody
 * may be refused. Numbers are thousandths and microseconds, so that no rate below a million is
 * rounded to nothing. */
#include "gateway/admission.h"

#include <string.h>

#include "gateway/address.h"

#define TOKEN 1000 /* thousandths */

/* --- the node's limits ----------------------------------------------------------------------- */

static uint32_t root(uint32_t square)
{
        uint32_t root = 0;

        while ((uint64_t)(root + 1) * (root + 1) <= square)
                root++;
        return root;
}

static uint32_t part(uint32_t whole, unsigned workers)
{
        return whole / workers + (whole % workers != 0);
}

struct admission_limits admission_share(const struct admission_limits *node, unsigned workers)
{
        struct admission_limits share = { .handshakes = part(node->handshakes, workers),
                                          .per_address = part(node->per_address, workers),
                                          .rate = part(node->rate, workers),
                                          .grace_ms = node->grace_ms };

        if (share.handshakes < ADMISSION_HANDSHAKES_MIN)
                share.handshakes = ADMISSION_HANDSHAKES_MIN;
        if (workers > 1 && share.per_address > 0)
                share.per_address += 3 * (root(share.per_address) + 1);
        return share;
}

/* --- the bucket ------------------------------------------------------------------------------ */

/* A quarter of a second's worth, so that chance does not waste what a second allows. */
static uint64_t bucket_size(const struct admission *admission)
{
        uint64_t size = (uint64_t)admission->limits.rate * TOKEN / 4;

        return size < 4 * TOKEN ? 4 * TOKEN : size;
}

static void fill(struct admission *admission, uint64_t now_ms)
{
        uint64_t size = bucket_size(admission);
        uint64_t passed_ms = now_ms > admission->filled_ms ? now_ms - admission->filled_ms : 0;

        if (passed_ms > 60 * 1000) /* it is full by then, and nothing can overflow */
                passed_ms = 60 * 1000;
        admission->tokens += passed_ms * admission->limits.rate;
        if (admission->tokens > size)
                admission->tokens = size;
        admission->filled_ms = now_ms;
}

static bool take_token(struct admission *admission, bool resumes, uint64_t now_ms)
{
        uint64_t kept = resumes ? 0 : bucket_size(admission) / 4;

        if (admission->limits.rate == 0)
                return true;
        fill(admission, now_ms);
        if (admission->tokens < kept + TOKEN)
                return false;
        admission->tokens -= TOKEN;
        return true;
}

/* --- the measuring --------------------------------------------------------------------------- */

/* A second in which nobody was refused shows what could at least be admitted; only one in which
 * somebody was shows how much is too much. Events are counted in the second in which they are: each
 * of them comes through here first. */
static void roll(struct admission *admission, uint64_t now_ms)
{
        if (now_ms - admission->second_ms < 1000)
                return;
        if (admission->admitted > admission->measured)
                admission->measured = admission->admitted;
        else if (admission->refused > 0)
                admission->measured -= (admission->measured - admission->admitted + 3) / 4;
        if (admission->measured < ADMISSION_RATE_MIN)
                admission->measured = ADMISSION_RATE_MIN;
        admission->admitted = admission->refused = 0;
        admission->second_ms = now_ms;
}

uint32_t admission_rate(const struct admission *admission)
{
        return admission->measured;
}

/* --- life ------------------------------------------------------------------------------------ */

void admission_init(struct admission *admission, const struct admission_limits *limits,
                    uint64_t secret, uint64_t now_ms)
{
        check(limits->handshakes > 0);
        memset(admission, 0, sizeof(*admission));
        admission->limits = *limits;
        if (limits->grace_ms == 0)
                admission->limits.grace_ms = ADMISSION_GRACE_MS;
        address_counts_init(&admission->counts, secret);
        admission->tokens = bucket_size(admission);
        admission->filled_ms = admission->second_ms = now_ms;
        admission->measured = limits->rate > 0 ? limits->rate : ADMISSION_RATE_AT_FIRST;
        if (admission->measured < ADMISSION_RATE_MIN)
                admission->measured = ADMISSION_RATE_MIN;
}

void admission_fini(struct admission *admission)
{
        address_counts_fini(&admission->counts);
}

/* --- the line -------------------------------------------------------------------------------- */

static void unlink_guest(struct admission *admission, struct admission_guest *guest)
{
        if (guest->older != NULL)
                guest->older->newer = guest->newer;
        else
                admission->lines[guest->line].oldest = guest->newer;
        if (guest->newer != NULL)
                guest->newer->older = guest->older;
        else
                admission->lines[guest->line].newest = guest->older;
        admission->lines[guest->line].n--;
}

static void link_guest(struct admission *admission, struct admission_guest *guest,
                       enum admission_line line)
{
        guest->line = (uint8_t)line;
        guest->newer = NULL;
        guest->older = admission->lines[line].newest;
        if (guest->older != NULL)
                guest->older->newer = guest;
        else
                admission->lines[line].oldest = guest;
        admission->lines[line].newest = guest;
        admission->lines[line].n++;
}

void admission_wait(struct admission *admission, struct admission_guest *guest,
                    enum admission_line line, uint64_t now_ms)
{
        check(line == ADMISSION_SILENT || line == ADMISSION_BEGUN);
        if (guest->line == line)
                return;
        if (guest->line != ADMISSION_NOWHERE) {
                unlink_guest(admission, guest);
        } else {
                guest->number = admission->next_number++;
                guest->since_ms = now_ms;
                /* Without memory to count it: it stands in line all the same. */
                guest->is_counted =
                    guest->key != ADDRESS_NOBODY &&
                    address_counts_add(&admission->counts, guest->key, ADDRESS_HANDSHAKES);
        }
        link_guest(admission, guest, line);
}

void admission_leave(struct admission *admission, struct admission_guest *guest)
{
        if (guest->line == ADMISSION_NOWHERE)
                return;
        unlink_guest(admission, guest);
        if (guest->is_counted)
                address_counts_take(&admission->counts, guest->key, ADDRESS_HANDSHAKES);
        guest->line = ADMISSION_NOWHERE;
        guest->is_counted = false;
}

/* Who has said nothing goes first: whoever is in the middle of a request may be one that we want.
 * Only where most have begun and do not end does the oldest of these go, and never one that came
 * after everybody silent. */
struct admission_guest *admission_oldest(const struct admission *admission)
{
        struct admission_guest *silent = admission->lines[ADMISSION_SILENT].oldest;
        struct admission_guest *begun = admission->lines[ADMISSION_BEGUN].oldest;

        if (silent == NULL || begun == NULL)
                return silent != NULL ? silent : begun;
        if (admission->lines[ADMISSION_BEGUN].n > admission->lines[ADMISSION_SILENT].n &&
            begun->number < silent->number)
                return begun;
        return silent;
}

static struct admission_guest *oldest_of(const struct admission *admission, uint64_t key,
                                         enum admission_line line)
{
        struct admission_guest *guest = admission->lines[line].oldest;

        for (unsigned i = 0; i < ADMISSION_LOOK && guest != NULL; i++, guest = guest->newer)
                if (guest->key == key)
                        return guest;
        return NULL;
}

static bool has_had_its_time(const struct admission *admission, const struct admission_guest *guest,
                             uint64_t now_ms)
{
        return guest != NULL && now_ms >= guest->since_ms + admission->limits.grace_ms;
}

static uint32_t n_waiting(const struct admission *admission)
{
        return admission->lines[ADMISSION_SILENT].n + admission->lines[ADMISSION_BEGUN].n;
}

struct admission_guest *admission_surplus(const struct admission *admission,
                                          const struct admission_guest *newcomer, uint64_t now_ms)
{
        const uint32_t limit = admission->limits.handshakes, half = limit / 2 + limit % 2;
        struct admission_guest *guest = NULL;

        if (n_waiting(admission) <= limit)
                return NULL;
        /* An address that has so many is soon found; if the oldest are all of others, they go soon.
         */
        if (newcomer->is_counted &&
            address_counts_get(&admission->counts, newcomer->key, ADDRESS_HANDSHAKES) > half) {
                guest = oldest_of(admission, newcomer->key, ADMISSION_SILENT);
                if (guest == NULL)
                        guest = oldest_of(admission, newcomer->key, ADMISSION_BEGUN);
        }
        if (guest == NULL)
                guest = admission_oldest(admission);
        return has_had_its_time(admission, guest, now_ms) ? guest : NULL;
}

uint32_t admission_room(const struct admission *admission, uint64_t now_ms)
{
        const uint32_t limit = admission->limits.handshakes, n = n_waiting(admission);

        if (n < limit)
                return limit - n;
        if (!has_had_its_time(admission, admission_oldest(admission), now_ms))
                return 0;
        return limit / 4 > 0 ? limit / 4 : 1;
}

/* --- coming in ------------------------------------------------------------------------------- */

enum admission_answer admission_enter(struct admission *admission, uint64_t key, bool resumes,
                                      uint64_t now_ms)
{
        bool counts = admission->limits.per_address > 0 && key != ADDRESS_NOBODY;

        roll(admission, now_ms);
        if (counts && address_counts_get(&admission->counts, key, ADDRESS_SESSIONS) >=
                          admission->limits.per_address)
                return ADMISSION_TOO_MANY; /* without taking a token from others */
        if (!take_token(admission, resumes, now_ms))
                return ADMISSION_TOO_FAST;
        if (counts && !address_counts_add(&admission->counts, key, ADDRESS_SESSIONS))
                return ADMISSION_NO_MEMORY;
        admission->admitted++;
        return ADMISSION_YES;
}

void admission_exit(struct admission *admission, uint64_t key)
{
        if (admission->limits.per_address > 0 && key != ADDRESS_NOBODY)
                address_counts_take(&admission->counts, key, ADDRESS_SESSIONS);
}

/* --- coming back ----------------------------------------------------------------------------- */

static uint32_t next_turn(struct admission *admission, uint64_t now_ms)
{
        const uint64_t now_us = now_ms * 1000, last_us = now_us + ADMISSION_WAIT_MAX_MS * 1000ULL;
        uint64_t away_ms;

        roll(admission, now_ms);
        admission->refused++;
        if (admission->turn_us < now_us)
                admission->turn_us = now_us;
        admission->turn_us += 1000000 / admission->measured;
        if (admission->turn_us > last_us)
                admission->turn_us = last_us;
        away_ms = (admission->turn_us - now_us) / 1000;
        return away_ms > ADMISSION_WAIT_MIN_MS ? (uint32_t)away_ms : ADMISSION_WAIT_MIN_MS;
}

struct admission_span admission_refuse(struct admission *admission, enum admission_refusal refusal,
                                       uint64_t now_ms)
{
        uint32_t min_ms = ADMISSION_WAIT_MIN_MS;

        switch (refusal) {
        case REFUSED_BUSY:
                min_ms = next_turn(admission, now_ms);
                break;
        case REFUSED_ADDRESS:
                min_ms = ADMISSION_ADDRESS_MS;
                break;
        case REFUSED_PREFETCH:
                min_ms = ADMISSION_PREFETCH_MS;
                break;
        }
        return (struct admission_span){ .min_ms = min_ms, .max_ms = 2 * min_ms };
}

/* Rounding up as often as the rest is large keeps the mean, and sends even those who are told "1 to
 * 2 s" to two different seconds. */
unsigned admission_retry_s(const struct admission_span *span, struct rng *rng)
{
        uint64_t ms = span->min_ms + rng_below(rng, span->max_ms - span->min_ms + 1ULL);
        uint64_t s = (ms + rng_below(rng, 1000)) / 1000;

        return s > 60 ? 60 : (unsigned)s;
}
