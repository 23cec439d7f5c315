/* fanout/starter.c -- see the header. What is due is looked up anew at each tick, so nothing here
 * can be out of date; remembered is only what was asked for already, to leave it time to show. */
#include "fanout/starter.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <event2/event.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/rng.h"
#include "fanout/book.h"

#define TRIES 32 /* starts under way at a time; more that are due wait for these ... */
/* ... and then for so long: what was done shows in the log by then. */
#define NEXT_MS 10

struct attempt { /* one start that was asked for */
        struct starter *starter;
        char event[EVENT_ID_MAX + 1];
        uint64_t version;
        bool in_flight;
        uint64_t again_ms; /* monotonic: not before; one that is over, and past this, is free */
};

struct starter {
        struct starter_options options;
        struct event *timer;
        struct rng rng;
        int64_t missed_until; /* planned starts up to here have been looked at, and left */
        bool is_more;         /* more may be due than there was room for at the last look */
        struct attempt tries[TRIES];
};

static void arm(struct starter *starter, uint64_t wait_ms)
{
        const struct timeval wait = { (time_t)(wait_ms / 1000),
                                      (suseconds_t)(wait_ms % 1000 * 1000) };

        check(event_add(starter->timer, &wait) == 0);
}

/* --- asking --------------------------------------------------------------------------------- */

static void on_done(void *owner, const struct outcome *outcome)
{
        struct attempt *attempt = owner;
        bool is_open = false; /* may be asked for again soon */

        attempt->in_flight = false;
        switch (outcome->kind) {
        case OUTCOME_COMMITTED:
                log_info("AUTO-STARTED", "event=%s seq=%" PRIu64 " version=%" PRIu64,
                         attempt->event, outcome->token.seq, outcome->event.state.version);
                break;
        case OUTCOME_REPLAYED:
        case OUTCOME_STALE:
        case OUTCOME_REFUSED:
        case OUTCOME_KEY_REUSED:
        case OUTCOME_POSSIBLE:
                log_debug("AUTO-STARTED", "event=%s by=somebody-else", attempt->event);
                break;
        case OUTCOME_UNKNOWN:
        case OUTCOME_UNAVAILABLE:
        case OUTCOME_FAILED:
                is_open = true;
                log_warn("AUTO-START-FAILED", "event=%s version=%" PRIu64 " why=%s", attempt->event,
                         attempt->version, log_quote(outcome->why));
                break;
        }
        /* What was done shows in the log within a moment; what shows is due no more. */
        attempt->again_ms = clock_mono_ms() + (is_open ? STARTER_AGAIN_MS : 4 * STARTER_AGAIN_MS);
        if (attempt->starter->is_more)
                arm(attempt->starter, NEXT_MS);
}

/* Where to note this start; NULL: it is asked for already, or all places are taken. */
static struct attempt *place_for(struct starter *starter, const struct book_start *due)
{
        uint64_t now_ms = clock_mono_ms();
        struct attempt *place = NULL;

        for (unsigned i = 0; i < TRIES; i++) {
                struct attempt *attempt = &starter->tries[i];
                bool is_free = !attempt->in_flight && attempt->again_ms <= now_ms;

                if (!is_free && attempt->version == due->version &&
                    strcmp(attempt->event, due->event) == 0)
                        return NULL;
                if (is_free)
                        place = attempt;
        }
        return place;
}

static void ask(struct starter *starter, const struct book_start *due, int64_t now)
{
        struct attempt *attempt = place_for(starter, due);
        struct audit_note note;
        struct change change = { .command = { .kind = COMMAND_START },
                                 .has_if_version = true,
                                 .if_version = due->version,
                                 .note = &note };

        if (attempt == NULL)
                return;
        *attempt =
            (struct attempt){ .starter = starter, .version = due->version, .in_flight = true };
        strcpy(attempt->event, due->event);
        strcpy(change.event, due->event);
        if (due->starts_at > now) {
                change.command.has_at = true;
                change.command.at = due->starts_at;
        }
        _Static_assert(sizeof(STARTER_KEY_PREFIX) + EVENT_ID_MAX + 24 < REQUEST_KEY_MAX, "it fits");
        snprintf(change.request_key, sizeof(change.request_key), STARTER_KEY_PREFIX "%.*s:%" PRIu64,
                 EVENT_ID_MAX, due->event, due->version);
        /* The same of all nodes, on time or late: what is asked for is the start, once. */
        strcpy(change.fingerprint, "auto-start");
        audit_note_set(&note, "auto-start", starter->options.node, NULL);
        if (writer_submit(starter->options.writer, &change, now, on_done, attempt) != OK) {
                attempt->in_flight = false;
                attempt->again_ms = clock_mono_ms() + STARTER_AGAIN_MS;
        }
}

/* --- looking -------------------------------------------------------------------------------- */

/* What the log shows as done, or changed, needs its place no longer. */
static void free_places(struct starter *starter, const struct book *book)
{
        for (unsigned i = 0; i < TRIES; i++) {
                struct attempt *attempt = &starter->tries[i];

                if (!attempt->in_flight && !book_waits(book, attempt->event, attempt->version))
                        attempt->again_ms = 0;
        }
}

/* Too late to be made without asking anybody. Of many, some are named. */
static void leave_missed(struct starter *starter, const struct book *book, int64_t until)
{
        struct book_start missed[TRIES];
        size_t n = book_starts(book, starter->missed_until, until, missed, TRIES);

        for (size_t i = 0; i < n; i++)
                log_warn("AUTO-START-MISSED", "event=%s version=%" PRIu64 " late_s=%" PRId64,
                         missed[i].event, missed[i].version,
                         (clock_wall_ms() - missed[i].starts_at) / 1000);
        starter->missed_until = until;
}

static void look(struct starter *starter, int64_t now)
{
        const struct book *book = follower_book(starter->options.follower);
        struct book_start due[TRIES];
        size_t n;

        if (!follower_is_ready(starter->options.follower) ||
            primary_why_not_writable(starter->options.primary) != NULL)
                return;
        if (now - STARTER_LATE_MS > starter->missed_until)
                leave_missed(starter, book, now - STARTER_LATE_MS);
        free_places(starter, book);
        n = book_starts(book, now - STARTER_LATE_MS, now + STARTER_LEAD_MS, due, TRIES);
        for (size_t i = 0; i < n; i++)
                ask(starter, &due[i], now);
        starter->is_more = n == TRIES;
}

static uint64_t wait_ms(struct starter *starter, int64_t now)
{
        const struct book *book = follower_book(starter->options.follower);
        int64_t next = book_next_start(book, now + STARTER_LEAD_MS);
        int64_t until = next - STARTER_LEAD_MS - now;

        if (next == INT64_MAX || until > STARTER_LOOK_MS)
                return STARTER_LOOK_MS;
        return (uint64_t)until + rng_below(&starter->rng, STARTER_JITTER_MS);
}

static void on_tick(evutil_socket_t fd, short what, void *arg)
{
        struct starter *starter = arg;
        int64_t now = clock_wall_ms();

        (void)fd;
        (void)what;
        look(starter, now);
        arm(starter, wait_ms(starter, now));
}

enum err starter_create(struct event_base *base, const struct starter_options *options,
                        struct starter **ret_starter)
{
        struct starter *starter = calloc(1, sizeof(*starter));

        if (starter == NULL)
                return ERR_NOMEM;
        starter->options = *options;
        rng_seed(&starter->rng, rng_secure_u64());
        starter->timer = evtimer_new(base, on_tick, starter);
        if (starter->timer == NULL) {
                free(starter);
                return ERR_NOMEM;
        }
        arm(starter, rng_below(&starter->rng, STARTER_JITTER_MS));
        *ret_starter = starter;
        return OK;
}

void starter_destroy(struct starter *starter)
{
        if (starter == NULL)
                return;
        for (unsigned i = 0; i < TRIES; i++)
                check(!starter->tries[i].in_flight);
        event_free(starter->timer);
        free(starter);
}
