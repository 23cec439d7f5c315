/* fanout/releaser.c -- looks at the log's tail once a second. Happy path: nothing is held back. The
 * same entry held back at two looks, RELEASER_EVERY_MS apart -> hold.c waits for the replicas and
 * releases it, and all before it. Too few replicas, or Redis away: looked at again, for ever. Many
 * nodes may do so at once: releasing twice changes nothing. */
#include "fanout/releaser.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <event2/event.h>

#include "base/clock.h"
#include "base/log.h"
#include "fanout/answer.h"
#include "fanout/hold.h"
#include "proto/keys.h"

struct releaser {
        struct primary *primary;
        const char *ns, *node;
        struct hold *hold;
        struct event *timer;
        struct token seen; /* the last entry, held back at the last look; epoch 0 = nothing was */
        struct question *look; /* under way; NULL = none */
        bool is_releasing;
};

struct question {
        struct releaser *releaser; /* NULL: nobody is there to hear it */
};

static void on_end(void *owner, enum hold_end end)
{
        struct releaser *releaser = owner;

        releaser->is_releasing = false;
        if (end == HOLD_RELEASED)
                log_info("RELEASED-LATE", "node=%s epoch=%016llx seq=%llu", releaser->node,
                         (unsigned long long)releaser->seen.epoch,
                         (unsigned long long)releaser->seen.seq);
        if (end == HOLD_RELEASED || end == HOLD_LOST)
                releaser->seen = (struct token){ 0 };
}

/* epoch, seq, tag of the log's last entry, '1' if any is held back. */
static bool read_tail(const struct redis_reply *reply, struct token *ret_tail)
{
        char text[TOKEN_TEXT_MAX + 1];
        int len;

        if (reply == NULL || redis_count(reply) < 4 ||
            strcmp(redis_text(redis_at(reply, 3), NULL), "1") != 0)
                return false;
        len = snprintf(text, sizeof(text), "%s.%s.%s", redis_text(redis_at(reply, 0), NULL),
                       redis_text(redis_at(reply, 1), NULL), redis_text(redis_at(reply, 2), NULL));
        return len > 0 && (size_t)len < sizeof(text) &&
               token_parse(text, (size_t)len, ret_tail) == OK;
}

/* If the last entry is another one at each look, somebody writes, and releases what is before it,
 * too. */
static void on_tail(void *owner, const struct redis_reply *reply)
{
        struct releaser *releaser = ((struct question *)owner)->releaser;
        struct token tail = { 0 };
        bool is_stuck;

        free(owner);
        if (releaser == NULL)
                return;
        releaser->look = NULL;
        if (reply == NULL || answer_is_error(reply))
                return;
        is_stuck = read_tail(reply, &tail) && token_equal(&tail, &releaser->seen);
        releaser->seen = tail;
        if (is_stuck)
                releaser->is_releasing =
                    hold_await(releaser->hold, &tail, clock_mono_ms() + RELEASER_WAIT_MS, on_end,
                               releaser) == OK;
}

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
        struct releaser *releaser = arg;
        char meta[KEY_MAX + 1];
        const char *const argv[] = { "FCALL_RO", "kickoff1_tail", "1", meta };
        struct question *question;

        (void)fd;
        (void)what;
        if (releaser->look != NULL || releaser->is_releasing)
                return;
        question = malloc(sizeof(*question));
        if (question == NULL)
                return; /* the next look */
        question->releaser = releaser;
        key_format(meta, releaser->ns, KEY_META, NULL);
        if (redis_command(primary_redis(releaser->primary), on_tail, question, countof(argv), argv,
                          NULL) == OK)
                releaser->look = question;
        else
                free(question);
}

enum err releaser_create(struct event_base *base, struct primary *primary, const char *ns,
                         const char *node, struct releaser **ret_releaser)
{
        const struct timeval every = { RELEASER_EVERY_MS / 1000, RELEASER_EVERY_MS % 1000 * 1000 };
        struct releaser *releaser = calloc(1, sizeof(*releaser));
        enum err err;

        check(primary_durability(primary)->replicas > 0);
        if (releaser == NULL)
                return ERR_NOMEM;
        releaser->primary = primary;
        releaser->ns = ns;
        releaser->node = node;
        err = hold_create(base, primary, ns, &releaser->hold);
        if (err == OK) {
                releaser->timer = event_new(base, -1, EV_PERSIST, on_timer, releaser);
                if (releaser->timer == NULL || event_add(releaser->timer, &every) != 0)
                        err = ERR_NOMEM;
        }
        if (err != OK) {
                releaser_destroy(releaser);
                return err;
        }
        *ret_releaser = releaser;
        return OK;
}

void releaser_destroy(struct releaser *releaser)
{
        if (releaser == NULL)
                return;
        if (releaser->look != NULL)
                releaser->look->releaser = NULL;
        hold_destroy(releaser->hold);
        if (releaser->timer != NULL)
                event_free(releaser->timer);
        free(releaser);
}
