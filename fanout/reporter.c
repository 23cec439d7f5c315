/* fanout/reporter.c -- this node's absolute counts of the newest signals, and when they are
 * written.
 *
 * Happy path: a worker's news -> 50 ms for the other workers' -> HSET and EXPIRE per changed
 * signal, in one pipeline -> nothing for the rest of the half second. Redis away, or it answers
 * with an error: the signal counts as changed again, and the next half second tries again. */
#include "fanout/reporter.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <event2/event.h>

#include "base/clock.h"
#include "base/log.h"
#include "fanout/fanout_metrics.h"
#include "proto/keys.h"

struct slot {
        struct reporter *reporter;
        struct report_part part; /* token.epoch 0 = empty */
        bool has_changed;        /* since it was written last */
};

struct reporter {
        struct event_base *base;
        struct redis *redis;
        const char *ns;
        char field[REPORT_FIELD_MAX + 1];
        struct event *timer;
        bool is_waiting; /* the timer runs */
        bool is_failing; /* said so in the log, and no write has gone well since */
        bool is_dead;    /* destroyed, but replies are still owed to it */
        uint64_t epoch;
        uint64_t written_ms;                 /* monotonic: the last round */
        unsigned in_flight;                  /* writes not answered yet */
        struct slot slots[REPORTER_SIGNALS]; /* seq at seq mod REPORTER_SIGNALS */
};

static bool has_changes(const struct reporter *reporter)
{
        for (unsigned i = 0; i < REPORTER_SIGNALS; i++)
                if (reporter->slots[i].has_changed)
                        return true;
        return false;
}

static void arm(struct reporter *reporter)
{
        uint64_t now_ms = clock_mono_ms(), due_ms = now_ms + REPORTER_GATHER_MS;
        struct timeval in;

        if (reporter->is_waiting)
                return;
        if (due_ms < reporter->written_ms + REPORTER_EVERY_MS)
                due_ms = reporter->written_ms + REPORTER_EVERY_MS;
        in = (struct timeval){ .tv_sec = (time_t)((due_ms - now_ms) / 1000),
                               .tv_usec = (suseconds_t)((due_ms - now_ms) % 1000 * 1000) };
        reporter->is_waiting =
            event_add(reporter->timer, &in) == 0; /* if not: the next news tries */
}

static void on_written(void *owner, const struct redis_reply *reply)
{
        struct slot *slot = owner;
        struct reporter *reporter = slot->reporter;
        bool is_good = reply != NULL && redis_type(reply) == REDIS_INTEGER;

        reporter->in_flight--;
        if (reporter->is_dead) {
                if (reporter->in_flight == 0)
                        free(reporter);
                return;
        }
        if (!is_good) {
                metric_add(&fanout_metric_report_failures, 1);
                if (!reporter->is_failing)
                        log_warn("REPORT-NOT-WRITTEN", "why=%s",
                                 log_quote(reply != NULL ? redis_text(reply, NULL) : "no answer"));
                slot->has_changed = slot->part.token.epoch != 0;
                arm(reporter);
        }
        reporter->is_failing = !is_good;
}

static bool write_part(struct reporter *reporter, struct slot *slot, int64_t wall_ms)
{
        static const char kept_s[] = "86400";
        char key[KEY_MAX + 1], seq[24];
        struct buf text = BUF_INIT;
        bool is_sent = false;

        _Static_assert(REPORTER_KEPT_S == 86400, "as the text says");
        snprintf(seq, sizeof(seq), "%" PRIu64, slot->part.token.seq);
        key_format(key, reporter->ns, KEY_REPORT, seq);
        report_part_format(&slot->part, wall_ms, &text);
        if (!text.failed) {
                const char *const set[] = { "HSET", key, reporter->field, text.data };
                const char *const expire[] = { "EXPIRE", key, kept_s };

                is_sent =
                    redis_command(reporter->redis, on_written, slot, countof(set), set, NULL) == OK;
                reporter->in_flight += is_sent;
                if (is_sent &&
                    redis_command(reporter->redis, NULL, NULL, countof(expire), expire, NULL) != OK)
                        log_debug("REPORT-NOT-WRITTEN", "why=expire-later");
        }
        buf_fini(&text);
        return is_sent;
}

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
        struct reporter *reporter = arg;
        int64_t wall_ms = clock_wall_ms();

        (void)fd;
        (void)what;
        reporter->is_waiting = false;
        reporter->written_ms = clock_mono_ms();
        if (redis_is_up(reporter->redis)) {
                for (unsigned i = 0; i < REPORTER_SIGNALS; i++) {
                        struct slot *slot = &reporter->slots[i];

                        if (!slot->has_changed || !write_part(reporter, slot, wall_ms))
                                continue;
                        slot->has_changed = false;
                        metric_add(&fanout_metric_report_writes, 1);
                }
        }
        if (has_changes(reporter))
                arm(reporter);
}

enum err reporter_create(struct event_base *base, struct redis *redis, const char *ns,
                         const char *node, int64_t started, struct reporter **ret_reporter)
{
        struct reporter *reporter = calloc(1, sizeof(*reporter));

        if (reporter == NULL)
                return ERR_NOMEM;
        reporter->timer = evtimer_new(base, on_timer, reporter);
        if (reporter->timer == NULL) {
                free(reporter);
                return ERR_NOMEM;
        }
        reporter->base = base;
        reporter->redis = redis;
        reporter->ns = ns;
        report_field(reporter->field, node, started);
        for (unsigned i = 0; i < REPORTER_SIGNALS; i++)
                reporter->slots[i].reporter = reporter;
        *ret_reporter = reporter;
        return OK;
}

void reporter_destroy(struct reporter *reporter)
{
        if (reporter == NULL)
                return;
        event_free(reporter->timer);
        reporter->is_dead = true;
        if (reporter->in_flight == 0)
                free(reporter);
}

static void forget(struct slot *slot)
{
        slot->part = (struct report_part){ .connected = 0 };
        slot->has_changed = false;
}

void reporter_epoch(struct reporter *reporter, uint64_t epoch)
{
        if (reporter->epoch == epoch)
                return;
        reporter->epoch = epoch;
        for (unsigned i = 0; i < REPORTER_SIGNALS; i++)
                forget(&reporter->slots[i]);
}

void reporter_add(struct reporter *reporter, const struct report_part *more)
{
        struct slot *slot = &reporter->slots[more->token.seq % REPORTER_SIGNALS];

        if (more->token.epoch != reporter->epoch || more->token.seq < slot->part.token.seq)
                return; /* of a log that is gone; or older than what has taken its place */
        if (!token_equal(&slot->part.token, &more->token)) {
                forget(slot);
                slot->part.token = more->token;
        }
        report_part_add(&slot->part, more);
        slot->has_changed = true;
        arm(reporter);
}

bool reporter_is_idle(const struct reporter *reporter)
{
        if (!redis_is_up(reporter->redis))
                return true;
        return reporter->in_flight == 0 && !has_changes(reporter);
}
