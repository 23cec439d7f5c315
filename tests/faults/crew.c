/* tests/faults/crew.c -- see the header. The lock covers what the thread and the test share: the
 * members' figures and the wishes of the test; SDK objects are the thread's alone. */
#include "tests/faults/crew.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/check.h"
#include "base/clock.h"
#include "device/c/kickoff_device.h"
#include "tests/integration/harness.h"

struct member {
        struct crew *crew;
        unsigned index;
        char name[16], token[TOKEN_TEXT_MAX + 1];
        struct kickoff_device *device; /* the thread's */
        struct crew_member now;        /* under the lock */
        bool wants_away, wants_cut;    /* under the lock */
};

struct crew {
        struct ledger *ledger;
        struct crew_options options;
        char urls[4][64];
        unsigned n, n_urls;
        struct member members[CREW_MAX];
        pthread_t thread;
        pthread_mutex_t lock;
        _Atomic bool ends;
};

static void note(struct member *m, const struct ledger_line *given)
{
        struct ledger_line line = *given;

        strcpy(line.name, m->name);
        ledger_add(m->crew->ledger, &line);
}

static void on_hello(void *owner, const struct hello *hello)
{
        struct member *m = owner;

        pthread_mutex_lock(&m->crew->lock);
        m->now.hellos++;
        m->now.recovered += hello->recovered;
        m->now.is_connected = true;
        m->now.hello_us = clock_mono_us();
        pthread_mutex_unlock(&m->crew->lock);
        note(m, &(struct ledger_line){ .kind = LEDGER_HELLO,
                                       .token = hello->token,
                                       .recovered = hello->recovered,
                                       .reason = hello->reason });
}

static void on_reset(void *owner, const struct reset *reset)
{
        struct member *m = owner;

        note(m, &(struct ledger_line){ .kind = LEDGER_RESET,
                                       .token = reset->token,
                                       .reason = reset->reason,
                                       .events = reset->events,
                                       .n_events = reset->n });
        pthread_mutex_lock(&m->crew->lock);
        m->now.resets++;
        m->now.place = reset->token;
        m->now.last_reset = reset->reason;
        if (reset->n > 0)
                strcpy(m->now.stage, reset->events[reset->n - 1].stage);
        pthread_mutex_unlock(&m->crew->lock);
}

static void on_signal(void *owner, const struct signal *signal)
{
        struct member *m = owner;
        struct event_state state = signal->state;

        note(m, &(struct ledger_line){ .kind = LEDGER_SIGNAL,
                                       .token = signal->token,
                                       .signal_kind = signal->kind,
                                       .events = &state,
                                       .n_events = 1 });
        pthread_mutex_lock(&m->crew->lock);
        m->now.signals++;
        m->now.place = signal->token;
        m->now.signal_us = clock_mono_us();
        strcpy(m->now.stage, signal->state.stage);
        pthread_mutex_unlock(&m->crew->lock);
}

static void on_goaway(void *owner, const struct goaway *goaway)
{
        struct member *m = owner;

        (void)goaway;
        pthread_mutex_lock(&m->crew->lock);
        m->now.goaways++;
        pthread_mutex_unlock(&m->crew->lock);
}

static void on_state(void *owner, enum kickoff_device_state state, const char *why)
{
        struct member *m = owner;
        struct ledger_line line = { .kind = LEDGER_LOST };
        bool lost;

        pthread_mutex_lock(&m->crew->lock);
        snprintf(m->now.why, sizeof(m->now.why), "%s", why);
        lost = m->now.is_connected && state != KICKOFF_DEVICE_CONNECTED;
        if (lost) {
                m->now.is_connected = false;
                m->now.losses++;
                m->now.lost_us = clock_mono_us();
        }
        pthread_mutex_unlock(&m->crew->lock);
        if (!lost && state != KICKOFF_DEVICE_STOPPED)
                return;
        snprintf(line.text, sizeof(line.text), "%s", why);
        note(m, &line);
}

static void create(struct member *m)
{
        const struct crew_options *o = &m->crew->options;
        struct kickoff_device_options options = {
                .url = m->crew->urls[m->index % m->crew->n_urls],
                .device = m->name,
                .since = m->token[0] ? m->token : NULL,
                .encoding = m->index % 2 ? ENCODING_MSGPACK : ENCODING_JSON,
                .backoff_min_ms = o->backoff_min_ms ? o->backoff_min_ms : 20,
                .backoff_max_ms = o->backoff_max_ms ? o->backoff_max_ms : 500,
                .on_hello = on_hello,
                .on_signal = on_signal,
                .on_reset = on_reset,
                .on_goaway = on_goaway,
                .on_state = on_state,
                .owner = m,
        };

        if (kickoff_device_create(&options, &m->device) != OK)
                give_up("the SDK does not make device %s", m->name);
}

static void take_away(struct member *m)
{
        strcpy(m->token, kickoff_device_token(m->device));
        kickoff_device_destroy(m->device);
        m->device = NULL;
        ledger_device(m->crew->ledger, LEDGER_LEFT, m->name, NULL);
        pthread_mutex_lock(&m->crew->lock);
        m->now.is_connected = false;
        m->now.is_away = true;
        pthread_mutex_unlock(&m->crew->lock);
}

static void serve(struct member *m)
{
        bool wants_away, wants_cut;

        pthread_mutex_lock(&m->crew->lock);
        wants_away = m->wants_away;
        wants_cut = m->wants_cut;
        m->wants_cut = false;
        if (!wants_away)
                m->now.is_away = false;
        pthread_mutex_unlock(&m->crew->lock);
        if (wants_away && m->device)
                take_away(m);
        else if (!wants_away && !m->device)
                create(m);
        if (!m->device)
                return;
        if (wants_cut)
                kickoff_device_cut(m->device);
        kickoff_device_service(m->device, 1);
}

static void *run(void *arg)
{
        struct crew *crew = arg;

        if (crew->options.in_thread)
                crew->options.in_thread(crew->options.arg);
        while (!crew->ends)
                for (unsigned i = 0; i < crew->n; i++)
                        serve(&crew->members[i]);
        for (unsigned i = 0; i < crew->n; i++)
                kickoff_device_destroy(crew->members[i].device);
        return NULL;
}

static bool all_began(void *arg)
{
        struct crew *crew = arg;

        for (unsigned i = 0; i < crew->n; i++)
                if (crew_member(crew, i).resets == 0)
                        return false;
        return true;
}

struct crew *crew_start(struct ledger *ledger, const struct crew_options *options)
{
        struct crew *crew = calloc(1, sizeof(*crew));

        check(crew != NULL && options->n <= CREW_MAX && options->urls[0] != NULL);
        crew->ledger = ledger;
        crew->options = *options;
        crew->n = options->n ? options->n : 8;
        while (crew->n_urls < 4 && options->urls[crew->n_urls]) {
                snprintf(crew->urls[crew->n_urls], sizeof(crew->urls[0]), "%s",
                         options->urls[crew->n_urls]);
                crew->n_urls++;
        }
        pthread_mutex_init(&crew->lock, NULL);
        for (unsigned i = 0; i < crew->n; i++) {
                crew->members[i].crew = crew;
                crew->members[i].index = i;
                snprintf(crew->members[i].name, sizeof(crew->members[i].name), "tv-%u", i);
        }
        check(pthread_create(&crew->thread, NULL, run, crew) == 0);
        wait_until(all_began, crew, "all devices to be told the state");
        return crew;
}

void crew_end(struct crew *crew)
{
        if (!crew)
                return;
        crew->ends = true;
        pthread_join(crew->thread, NULL);
        pthread_mutex_destroy(&crew->lock);
        free(crew);
}

static void wish(struct crew *crew, unsigned i, bool away, bool cut)
{
        check(i < crew->n);
        pthread_mutex_lock(&crew->lock);
        crew->members[i].wants_away = away;
        crew->members[i].wants_cut = cut;
        pthread_mutex_unlock(&crew->lock);
}

struct one {
        struct crew *crew;
        unsigned i;
};

static bool is_away(void *arg)
{
        const struct one *one = arg;

        return crew_member(one->crew, one->i).is_away;
}

static bool is_back(void *arg)
{
        const struct one *one = arg;

        return crew_member(one->crew, one->i).is_connected;
}

void crew_leave(struct crew *crew, unsigned i)
{
        wish(crew, i, true, false);
        wait_until(is_away, &(struct one){ crew, i }, "a device to leave");
}

void crew_return(struct crew *crew, unsigned i)
{
        wish(crew, i, false, false);
        wait_until(is_back, &(struct one){ crew, i }, "a device to come back");
}

void crew_cut(struct crew *crew, unsigned i)
{
        wish(crew, i, false, true);
}

struct crew_member crew_member(struct crew *crew, unsigned i)
{
        struct crew_member now;

        check(i < crew->n);
        pthread_mutex_lock(&crew->lock);
        now = crew->members[i].now;
        pthread_mutex_unlock(&crew->lock);
        return now;
}

unsigned crew_size(const struct crew *crew)
{
        return crew->n;
}

static bool all_are(struct crew *crew, const struct token *place)
{
        for (unsigned i = 0; i < crew->n; i++) {
                struct crew_member now = crew_member(crew, i);

                if (!now.is_away && (place ? !token_equal(&now.place, place) : !now.is_connected))
                        return false;
        }
        return true;
}

static bool wait_for(struct crew *crew, const struct token *place, unsigned limit_ms)
{
        uint64_t until = clock_mono_ms() + limit_ms;

        while (!all_are(crew, place)) {
                if (clock_mono_ms() > until)
                        return false;
                usleep(2000);
        }
        return true;
}

bool crew_reaches(struct crew *crew, const struct token *place, unsigned limit_ms)
{
        return wait_for(crew, place, limit_ms);
}

bool crew_is_connected(struct crew *crew, unsigned limit_ms)
{
        return wait_for(crew, NULL, limit_ms);
}

unsigned crew_hellos(struct crew *crew)
{
        unsigned sum = 0;

        for (unsigned i = 0; i < crew->n; i++)
                sum += crew_member(crew, i).hellos;
        return sum;
}

unsigned crew_resets(struct crew *crew)
{
        unsigned sum = 0;

        for (unsigned i = 0; i < crew->n; i++)
                sum += crew_member(crew, i).resets;
        return sum;
}
