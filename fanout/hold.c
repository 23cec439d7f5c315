/* fanout/hold.c -- see the header. Happy path: hold_await -> look (HSET, WAIT) -> enough -> release
 * -> HOLD_RELEASED. Too few: another look, until the deadline of each. Redis away, or a write that
 * is refused: looked again after HOLD_LOOK_MS; a new link may lead to a new primary, and that is
 * fine, since release looks whether the log has the entry. */
#include "fanout/hold.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#include <event2/event.h>

#include "base/clock.h"
#include "base/log.h"
#include "fanout/answer.h"
#include "proto/keys.h"

struct waiter {
        TAILQ_ENTRY(waiter) entry;
        struct hold *hold; /* NULL: was told; only an answer to its release is due */
        struct token token;
        uint64_t deadline_ms;
        bool is_releasing;    /* an answer to its release is due */
        bool may_be_released; /* a release was sent, and never answered */
        hold_done_fn *done;
        void *owner;
};
TAILQ_HEAD(waiter_list, waiter);

struct look {              /* a write and a WAIT on their way */
        struct hold *hold; /* NULL: nobody is there to hear it */
        bool touched;      /* the write was taken */
        unsigned due;      /* answers */
};

struct hold {
        struct primary *primary;
        const char *ns;
        struct event *timer;        /* the next look, or the next deadline */
        struct look *look;          /* NULL: none under way */
        struct waiter_list waiters; /* in the order they came; not by deadline */
};

static void look(struct hold *hold);

/* --- who waits -------------------------------------------------------------------------------- */

static void tell(struct waiter *waiter, enum hold_end end)
{
        struct hold *hold = waiter->hold;
        hold_done_fn *done = waiter->done;
        void *owner = waiter->owner;

        TAILQ_REMOVE(&hold->waiters, waiter, entry);
        waiter->hold = NULL;
        if (!waiter->is_releasing)
                free(waiter);
        done(owner, end); /* may come back with hold_await, or destroy us */
}

static void arm(struct hold *hold, uint64_t wait_ms)
{
        const struct timeval wait = { .tv_usec = (suseconds_t)wait_ms * 1000 };

        check(event_add(hold->timer, &wait) == 0);
}

/* For the next look, or the next deadline. */
static void arm_for_next(struct hold *hold)
{
        uint64_t now_ms = clock_mono_ms(), wait_ms = HOLD_LOOK_MS;
        struct waiter *waiter;

        TAILQ_FOREACH(waiter, &hold->waiters, entry)
        {
                uint64_t left_ms = waiter->deadline_ms > now_ms ? waiter->deadline_ms - now_ms : 0;

                wait_ms = left_ms < wait_ms ? left_ms : wait_ms;
        }
        arm(hold, wait_ms);
}

/* One at a time, for whoever is told may destroy us: the timer comes back at once for the next. */
static bool tell_the_late(struct hold *hold)
{
        uint64_t now_ms = clock_mono_ms();
        struct waiter *waiter;

        TAILQ_FOREACH(waiter, &hold->waiters, entry)
        {
                if (waiter->deadline_ms > now_ms)
                        continue;
                arm(hold, 0);
                tell(waiter, waiter->may_be_released ? HOLD_UNSURE : HOLD_SHORT);
                return true;
        }
        return false;
}

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
        struct hold *hold = arg;

        (void)fd;
        (void)what;
        if (TAILQ_EMPTY(&hold->waiters) || tell_the_late(hold))
                return;
        look(hold);
        arm_for_next(hold);
}

/* --- release ---------------------------------------------------------------------------------- */

static void on_release(void *owner, const struct redis_reply *reply)
{
        struct waiter *waiter = owner;
        const struct redis_reply *word = reply != NULL ? redis_at(reply, 0) : NULL;
        const char *text = word != NULL ? redis_text(word, NULL) : "";

        waiter->is_releasing = false;
        if (waiter->hold == NULL) {
                free(waiter);
        } else if (strcmp(text, "released") == 0) {
                tell(waiter, HOLD_RELEASED);
        } else if (strcmp(text, "lost") == 0) {
                tell(waiter, HOLD_LOST);
        } else if (reply != NULL) { /* refused, and so not done: the timer looks again */
                waiter->may_be_released = false;
                log_warn("RELEASE-REFUSED", "seq=%llu why=%s",
                         (unsigned long long)waiter->token.seq, log_quote(redis_text(reply, NULL)));
        }
}

static void release(struct waiter *waiter)
{
        struct hold *hold = waiter->hold;
        struct redis *redis = primary_redis(hold->primary);
        char meta[KEY_MAX + 1], log[KEY_MAX + 1], channel[KEY_MAX + 1], epoch[17], seq[24], tag[17];
        const char *publish = redis_server(redis)->is_cluster ? "SPUBLISH" : "PUBLISH";
        const char *const argv[] = {
                "FCALL", "kickoff1_release", "2", meta, log, epoch, seq, tag, publish, channel
        };

        key_format(meta, hold->ns, KEY_META, NULL);
        key_format(log, hold->ns, KEY_LOG, NULL);
        key_format(channel, hold->ns, KEY_CHANNEL, NULL);
        token_hex(waiter->token.epoch, epoch);
        token_hex(waiter->token.tag, tag);
        snprintf(seq, sizeof(seq), "%llu", (unsigned long long)waiter->token.seq);
        waiter->is_releasing =
            redis_command(redis, on_release, waiter, countof(argv), argv, NULL) == OK;
        waiter->may_be_released = waiter->may_be_released || waiter->is_releasing;
}

/* --- a look ----------------------------------------------------------------------------------- */

/* True: that was the last answer of this look; nothing more is heard of it. */
static bool look_is_over(struct look *over)
{
        if (--over->due > 0)
                return false;
        if (over->hold != NULL)
                over->hold->look = NULL;
        free(over);
        return true;
}

static void on_touched(void *owner, const struct redis_reply *reply)
{
        struct look *mine = owner;

        mine->touched = reply != NULL && redis_type(reply) == REDIS_INTEGER;
        (void)look_is_over(mine);
}

static void on_waited(void *owner, const struct redis_reply *reply)
{
        struct look *mine = owner;
        struct hold *hold = mine->hold;
        bool is_counted = reply != NULL && redis_type(reply) == REDIS_INTEGER && mine->touched;
        struct waiter *waiter;

        (void)look_is_over(mine);
        /* A new primary, perhaps, that does not sync what it is told: then nothing is committed on
         * it. */
        if (hold == NULL || !is_counted || primary_why_not_sound(hold->primary) != NULL)
                return; /* the timer looks again */
        /* Those who came after this look was sent are meant as well: they came with an answer on
         * this link, and it was not behind our WAIT, so its command was before our write. */
        if (redis_integer(reply) >= (int64_t)primary_durability(hold->primary)->replicas) {
                TAILQ_FOREACH(waiter, &hold->waiters, entry)
                {
                        if (!waiter->is_releasing)
                                release(waiter);
                }
        }
        look(hold); /* for those who still wait */
}

static bool anybody_needs_a_look(const struct hold *hold)
{
        const struct waiter *waiter;

        TAILQ_FOREACH(waiter, &hold->waiters, entry)
        {
                if (!waiter->is_releasing)
                        return true;
        }
        return false;
}

static void look(struct hold *hold)
{
        struct redis *redis = primary_redis(hold->primary);
        char key[KEY_MAX + 1], replicas[16], within[16];
        const char *const touch[] = { "HSET", key, "by", "hold" };
        const char *const wait[] = { "WAIT", replicas, within };
        struct look *mine;

        if (hold->look != NULL || !anybody_needs_a_look(hold))
                return;
        mine = calloc(1, sizeof(*mine));
        if (mine == NULL)
                return; /* the timer tries again */
        key_format(key, hold->ns, KEY_TOUCH, NULL);
        snprintf(replicas, sizeof(replicas), "%u", primary_durability(hold->primary)->replicas);
        snprintf(within, sizeof(within), "%d", HOLD_WAIT_MS);
        /* One after the other without a turn of the loop in between: they share a connection. */
        if (redis_command(redis, on_touched, mine, countof(touch), touch, NULL) == OK)
                mine->due++;
        if (mine->due == 1 &&
            redis_command(redis, on_waited, mine, countof(wait), wait, NULL) == OK)
                mine->due++;
        if (mine->due == 0) {
                free(mine);
                return;
        }
        mine->hold = hold;
        hold->look = mine;
}

/* --- the owner's side ------------------------------------------------------------------------- */

enum err hold_create(struct event_base *base, struct primary *primary, const char *ns,
                     struct hold **ret_hold)
{
        struct hold *hold = calloc(1, sizeof(*hold));

        if (hold == NULL)
                return ERR_NOMEM;
        hold->primary = primary;
        hold->ns = ns;
        TAILQ_INIT(&hold->waiters);
        hold->timer = evtimer_new(base, on_timer, hold);
        if (hold->timer == NULL) {
                free(hold);
                return ERR_NOMEM;
        }
        *ret_hold = hold;
        return OK;
}

void hold_destroy(struct hold *hold)
{
        struct waiter *waiter;

        if (hold == NULL)
                return;
        if (hold->look != NULL)
                hold->look->hold = NULL;
        hold->look = NULL;
        while ((waiter = TAILQ_FIRST(&hold->waiters)) != NULL)
                tell(waiter, HOLD_UNSURE);
        event_free(hold->timer);
        free(hold);
}

enum err hold_await(struct hold *hold, const struct token *token, uint64_t deadline_ms,
                    hold_done_fn *done, void *owner)
{
        struct waiter *waiter = calloc(1, sizeof(*waiter));

        check(primary_durability(hold->primary)->replicas > 0);
        if (waiter == NULL)
                return ERR_NOMEM;
        waiter->hold = hold;
        waiter->token = *token;
        waiter->deadline_ms = deadline_ms;
        waiter->done = done;
        waiter->owner = owner;
        TAILQ_INSERT_TAIL(&hold->waiters, waiter, entry);
        arm(hold, 0); /* from the loop: many that come in one turn share a look */
        return OK;
}
