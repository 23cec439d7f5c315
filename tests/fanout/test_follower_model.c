/* The follower's core, a property test: against a small model of the log that loses, doubles,
 * delays and reorders messages, loses replies, flaps the link, and loses its own tail or all of
 * itself, or becomes an older copy. */
#include <stdlib.h>
#include <string.h>

#include <criterion/criterion.h>
#include <criterion/new/assert.h>

#include "base/rng.h"
#include "fanout/follower_core.h"
#include "tests/fanout/bare_entry.h"

#define LOG_MAX    400
#define FLIGHT_MAX 4096
#define RANGE_MAX  5 /* a small range, so that one gap takes several */

struct flight { /* something on its way to the follower, or a question on its way to the log */
        uint64_t due_ms;
        bool is_question;
        enum follower_ask ask;
        seqno range_from;
        struct follower_input input;
        struct entry *entries[RANGE_MAX];
        size_t log_len; /* STATE: copy of the log's tokens at that moment */
        struct token log[LOG_MAX + 1];
};

struct model {
        struct rng rng;
        uint64_t now_ms, next_tag;
        /* the log */
        uint64_t epoch;
        struct token base;              /* the place before `first` */
        seqno trimmed_to;               /* entries up to here are gone */
        struct entry *log[LOG_MAX + 1]; /* [seq] */
        seqno head_seq;
        /* the way */
        bool link_up, faulty;
        struct flight *flights;
        size_t n_flights;
        unsigned renewals;
        /* the follower, and what it has delivered */
        struct follower_core core;
        struct token mirror[LOG_MAX + 1]; /* [seq]; [0] is the place before the first */
        seqno mirror_from;                /* lowest known */
        unsigned installs, wanted_installs;
        unsigned delivered;
        const char *wrong;
};

static struct token log_token(const struct model *m, seqno seq)
{
        return seq == 0 ? m->base : m->log[seq]->signal.token;
}

static bool chance(struct model *m, unsigned percent)
{
        return m->faulty && rng_below(&m->rng, 100) < percent;
}

static uint64_t delay(struct model *m)
{
        if (!m->faulty)
                return 1;
        return 1 +
               (rng_below(&m->rng, 10) == 0 ? rng_below(&m->rng, 3500) : rng_below(&m->rng, 40));
}

static struct flight *launch(struct model *m, uint64_t due_ms)
{
        struct flight *flight;

        if (m->n_flights == FLIGHT_MAX) {
                m->wrong = "too many flights";
                m->n_flights--;
        }
        flight = &m->flights[m->n_flights++];
        memset(flight, 0, offsetof(struct flight, log));
        flight->due_ms = due_ms;
        return flight;
}

static void append(struct model *m)
{
        if (m->head_seq == LOG_MAX)
                return;

        struct token last = log_token(m, m->head_seq);
        struct entry *entry = make_entry(m->epoch, last.seq + 1, ++m->next_tag, last.tag);

        m->log[++m->head_seq] = entry;
        for (unsigned copies = chance(m, 10) ? 2 : 1; copies > 0; copies--) {
                if (!m->link_up || chance(m, 25))
                        continue;

                struct flight *flight = launch(m, m->now_ms + delay(m));

                flight->input = (struct follower_input){ .kind = FOLLOWER_MESSAGE, .n = 1 };
                flight->entries[0] = entry_ref(entry);
                if (chance(m, 3)) { /* published by a node whose entries we cannot read */
                        entry_unref(entry);
                        flight->entries[0] = NULL;
                        flight->input.n = 0;
                }
        }
}

static void lose_tail(struct model *m, seqno keep)
{
        while (m->head_seq > keep)
                entry_unref(m->log[m->head_seq--]);
        if (m->trimmed_to > m->head_seq)
                m->trimmed_to = m->head_seq;
}

static void begin_anew(struct model *m, uint64_t generation)
{
        lose_tail(m, 0);
        m->trimmed_to = 0;
        m->epoch = GENERATION(generation) + rng_below(&m->rng, 1000);
        m->base = (struct token){ m->epoch, 0, ++m->next_tag };
}

/* Another node found it empty, and renewed it. */
static void wipe(struct model *m)
{
        begin_anew(m, token_generation(m->epoch) + 1);
}

/* Somebody puts an old copy in its place, or opens another log apart from it. */
static void put_back(struct model *m)
{
        begin_anew(m, 1 + rng_below(&m->rng, token_generation(m->epoch)));
}

/* What kickoff.lua and renewal.c do before a state is handed over. */
static void renew_if_lost(struct model *m, const struct token *witness)
{
        bool lost = token_generation(m->epoch) <= token_generation(witness->epoch);
        unsigned generation = token_generation(witness->epoch);

        if (witness->epoch == m->epoch) {
                struct token here = { 0 };

                if (witness->seq <= m->head_seq)
                        here = log_token(m, witness->seq);
                lost = !token_equal(&here, witness);
        }
        if (!lost || witness->epoch == 0)
                return;
        if (token_generation(m->epoch) > generation)
                generation = token_generation(m->epoch);
        begin_anew(m, generation + 1);
        m->renewals++;
}

static void answer(struct model *m, const struct flight *question)
{
        struct flight *flight;

        if (!m->link_up || chance(m, 15))
                return; /* lost */
        /* Now and then it is not renewed, and what was read is handed over all the same. */
        if (question->ask == FOLLOWER_ASK_STATE && !chance(m, 20))
                renew_if_lost(m, &question->input.token);
        flight = launch(m, m->now_ms + delay(m));
        flight->input.request = question->input.request;
        flight->input.token = log_token(m, m->head_seq);
        if (chance(m, 10)) {
                flight->input.kind = FOLLOWER_FAILED;
        } else if (question->ask == FOLLOWER_ASK_HEAD) {
                flight->input.kind = FOLLOWER_HEAD;
        } else if (question->ask == FOLLOWER_ASK_RANGE) {
                seqno from =
                    question->range_from > m->trimmed_to ? question->range_from : m->trimmed_to + 1;

                flight->input.kind = FOLLOWER_RANGE;
                for (seqno seq = from; seq <= m->head_seq && flight->input.n < RANGE_MAX; seq++)
                        flight->entries[flight->input.n++] = entry_ref(m->log[seq]);
        } else {
                flight->input.kind = FOLLOWER_STATE;
                flight->log_len = m->head_seq;
                for (seqno seq = 0; seq <= m->head_seq; seq++)
                        flight->log[seq] = log_token(m, seq);
        }
}

/* Is what was delivered a beginning of the log, and can the rest still be read? */
static bool mirror_is_good(const struct model *m)
{
        seqno head = m->core.head.seq;

        if (m->core.head.epoch != m->epoch || head > m->head_seq || head < m->trimmed_to)
                return false;
        for (seqno seq = m->mirror_from; seq <= head; seq++) {
                struct token in_log = log_token(m, seq);

                if (!token_equal(&in_log, &m->mirror[seq]))
                        return false;
        }
        return true;
}

static void feed(struct model *m, struct flight *flight)
{
        struct follower_actions actions;
        struct token before = m->core.head;
        bool was_good = before.epoch != 0 && mirror_is_good(m);

        flight->input.entries = flight->entries;
        follower_step(&m->core, &flight->input, m->now_ms, &actions);
        if (actions.install) {
                if (was_good)
                        m->wrong = "install although nothing broke";
                if (before.epoch != 0 && flight->input.token.epoch != before.epoch &&
                    token_generation(flight->input.token.epoch) <= token_generation(before.epoch))
                        m->wrong = "installed an epoch that is not later";
                if (flight->input.token.epoch == before.epoch &&
                    flight->input.token.seq < before.seq)
                        m->wrong = "installed an earlier place";
                m->installs++;
                m->mirror_from = flight->input.token.seq;
                memcpy(m->mirror, flight->log, (flight->log_len + 1) * sizeof(m->mirror[0]));
                before = flight->input.token;
        }
        for (size_t i = 0; i < actions.deliver_n; i++) {
                const struct entry *entry = flight->entries[actions.deliver_from + i];
                const struct token *token = &entry->signal.token;

                if (token->epoch != before.epoch || token->seq != before.seq + 1 ||
                    entry->prev_tag != before.tag)
                        m->wrong = "delivered out of order";
                before = *token;
                m->mirror[token->seq] = *token;
                m->delivered++;
        }
        if (!token_equal(&before, &m->core.head))
                m->wrong = "head is not what was delivered";
        if (actions.ask != FOLLOWER_ASK_NOTHING) {
                struct flight *question = launch(m, m->now_ms + delay(m));

                question->is_question = true;
                question->ask = actions.ask;
                question->range_from = actions.range_from;
                question->input.request = actions.request;
                question->input.token = m->core.head; /* the witness */
        }
}

static void feed_kind(struct model *m, enum follower_input_kind kind)
{
        struct flight *flight = calloc(1, sizeof(*flight));

        flight->input.kind = kind;
        feed(m, flight);
        free(flight);
}

static void land(struct model *m)
{
        for (size_t i = 0; i < m->n_flights; i++) {
                if (m->flights[i].due_ms > m->now_ms)
                        continue;

                struct flight *flight = malloc(sizeof(*flight));

                *flight = m->flights[i];
                m->flights[i--] = m->flights[--m->n_flights]; /* and so out of order, too */
                if (flight->is_question)
                        answer(m, flight);
                else
                        feed(m, flight);
                for (size_t k = 0; k < RANGE_MAX; k++)
                        entry_unref(flight->entries[k]);
                free(flight);
        }
}

static void trouble(struct model *m)
{
        switch (rng_below(&m->rng, 60)) {
        case 0:
                lose_tail(m, m->head_seq - rng_below(&m->rng, m->head_seq + 1 - m->trimmed_to));
                break;
        case 1:
                if (rng_below(&m->rng, 4) == 0)
                        wipe(m);
                else if (rng_below(&m->rng, 4) == 0)
                        put_back(m);
                break;
        case 2:
                m->trimmed_to += rng_below(&m->rng, m->head_seq + 1 - m->trimmed_to);
                break;
        case 3:
        case 4:
                m->link_up = !m->link_up;
                feed_kind(m, m->link_up ? FOLLOWER_LINK_UP : FOLLOWER_LINK_DOWN);
                break;
        }
}

static const char *run_model(uint64_t seed, unsigned *ret_delivered, unsigned *ret_installs,
                             unsigned *ret_renewals)
{
        struct model *m = calloc(1, sizeof(*m));
        const char *wrong;

        m->flights = malloc(FLIGHT_MAX * sizeof(m->flights[0]));
        rng_seed(&m->rng, seed);
        m->now_ms = 10000;
        m->faulty = true;
        m->link_up = true;
        wipe(m);
        follower_core_init(&m->core);
        feed_kind(m, FOLLOWER_LINK_UP);
        for (unsigned i = 0; i < 400 && m->wrong == NULL; i++) {
                m->now_ms += rng_below(&m->rng, 100);
                for (uint64_t n = rng_below(&m->rng, 3); n > 0; n--)
                        append(m);
                trouble(m);
                land(m);
                feed_kind(m, FOLLOWER_TICK);
        }

        /* Quiet: nothing is lost any more. What still flies is older than any of it. */
        m->faulty = false;
        if (!m->link_up) {
                m->link_up = true;
                feed_kind(m, FOLLOWER_LINK_UP);
        }
        m->now_ms += FOLLOWER_STATE_WAIT_MS; /* a state whose answer got lost is given up by then */
        land(m);
        for (unsigned i = 0; i < 2 * FOLLOWER_HEAD_EVERY_MS / 10 && m->wrong == NULL; i++) {
                m->now_ms += 10;
                land(m);
                feed_kind(m, FOLLOWER_TICK);
        }
        if (m->wrong == NULL && (!mirror_is_good(m) || m->core.head.seq != m->head_seq))
                m->wrong = "not caught up";
        if (m->wrong == NULL && (!m->core.caught_up || follower_is_stale(&m->core, m->now_ms)))
                m->wrong = "caught up without knowing it";

        wrong = m->wrong;
        *ret_delivered += m->delivered;
        *ret_installs += m->installs;
        *ret_renewals += m->renewals;
        lose_tail(m, 0);
        for (size_t i = 0; i < m->n_flights; i++) {
                for (size_t k = 0; k < RANGE_MAX; k++)
                        entry_unref(m->flights[i].entries[k]);
        }
        free(m->flights);
        free(m);
        return wrong;
}

#if defined(__SANITIZE_ADDRESS__)
enum { SEEDS = 300 }; /* each takes fifteen times as long; what they find, they find soon */
#else
enum { SEEDS = 3000 };
#endif

Test(follower_model, delivers_exactly_the_log_whatever_the_network_does)
{
        const char *asked = getenv("KICKOFF_TEST_SEED");
        uint64_t first = asked != NULL ? strtoull(asked, NULL, 10) : 1;
        uint64_t last = asked != NULL ? first : SEEDS;
        unsigned delivered = 0, installs = 0, renewals = 0;

        for (uint64_t seed = first; seed <= last; seed++) {
                const char *wrong = run_model(seed, &delivered, &installs, &renewals);

                cr_assert(eq(ptr, (void *)wrong, NULL), "KICKOFF_TEST_SEED=%llu: %s",
                          (unsigned long long)seed, wrong);
        }
        /* The model is of use only if much is delivered and histories do break. */
        cr_assert(asked != NULL || (delivered > SEEDS * 33 && installs > SEEDS * 5 / 3 &&
                                    renewals > SEEDS * 2 / 3),
                  "%u delivered, %u installs, %u renewals", delivered, installs, renewals);
}
