/* fanout/primary.c -- see the header. Happy path: link up -> INFO and settings asked -> both good
 * -> sound, and asked again every PRIMARY_ASK_EVERY_MS. Only what was asked within SOUND_MS counts:
 * a server that stands still is as good as none. Failure: the link breaks -> nothing is known of
 * whoever answers next; INFO says replica -> the link is dropped; an answer to a write is an error
 * -> REFUSES, until a later write of that kind is taken. */
#include "fanout/primary.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <event2/event.h>

#include "base/clock.h"
#include "base/log.h"
#include "fanout/fanout_metrics.h"
#include "proto/keys.h"

#define SOUND_MS 2000 /* contract line 8: a stale primary is noticed within this */
#define TICK_MS  100

enum settings { SETTINGS_UNKNOWN, SETTINGS_GOOD, SETTINGS_BAD };

struct primary {
        struct primary_options options;
        struct primary_callbacks callbacks;
        char slot_key[KEY_MAX + 1];
        char mode[DURABILITY_TEXT_MAX + 1];
        struct redis *redis;
        struct event *tick;
        bool was_up, destroying;
        unsigned link; /* counts the links there were: answers of an older one count for nothing */
        unsigned waiting;   /* answers due to the last round of questions */
        uint64_t asked_ms;  /* when that round began; monotonic */
        bool round_is_good; /* so far */
        uint64_t good_ms;   /* beginning of the last round that was good; 0 = none on this link */
        enum settings settings; /* the last answer on this link */
        struct redis_server server,
            known; /* of this link; the last one ever. run_id empty = none */
        char link_why[256], settings_why[512], identity_why[256],
            refused_why[256]; /* empty = none */
};

struct question { /* one of a round */
        struct primary *primary;
        unsigned link;
};

/* --- what is said of it ---------------------------------------------------------------------- */

static bool was_asked_lately(const struct primary *primary)
{
        return primary->good_ms != 0 && clock_mono_ms() - primary->good_ms <= SOUND_MS;
}

const char *primary_why_not_sound(const struct primary *primary)
{
        static char why[640]; /* one control thread asks */

        if (!redis_is_up(primary->redis))
                snprintf(why, sizeof(why), "Redis is not reachable: %s",
                         primary->link_why[0] != '\0' ? primary->link_why : "connecting");
        else if (primary->settings == SETTINGS_BAD)
                snprintf(why, sizeof(why), "%s", primary->settings_why);
        else if (primary->identity_why[0] != '\0')
                snprintf(why, sizeof(why), "%s", primary->identity_why);
        else if (primary->refused_why[0] != '\0')
                snprintf(why, sizeof(why), "Redis refuses writes: %s", primary->refused_why);
        else if (primary->settings == SETTINGS_UNKNOWN || !was_asked_lately(primary))
                snprintf(why, sizeof(why),
                         "Redis has not said in the last 2 s who it is and how it is set up; try "
                         "again shortly");
        else
                return NULL;
        return why;
}

const char *primary_why_not_writable(const struct primary *primary)
{
        static char why[160];
        const char *not_sound = primary_why_not_sound(primary);
        unsigned wanted = primary->options.durability.replicas;

        if (not_sound != NULL || primary->server.replicas >= wanted)
                return not_sound;
        snprintf(why, sizeof(why),
                 "durability %s needs %u replica%s, and Redis has %u: start or mend replicas",
                 primary->mode, wanted, wanted == 1 ? "" : "s", primary->server.replicas);
        return why;
}

/* --- a round of questions -------------------------------------------------------------------- */

static void note_answer(struct primary *primary, bool good)
{
        primary->round_is_good = primary->round_is_good && good;
        if (--primary->waiting == 0 && primary->round_is_good)
                primary->good_ms = primary->asked_ms;
}

/* NULL: the answer is of a link that is gone, or nobody is there to hear it. */
static struct primary *take_question(void *owner)
{
        struct question question = *(struct question *)owner;

        free(owner);
        return question.primary->destroying || question.link != question.primary->link
                   ? NULL
                   : question.primary;
}

static void on_settings(void *owner, enum err err, const char *why)
{
        struct primary *primary = take_question(owner);
        enum settings before;

        if (primary == NULL)
                return;
        before = primary->settings;
        note_answer(primary, err != ERR_TIMEOUT && err != ERR_NOMEM);
        if (err == OK)
                primary->settings = SETTINGS_GOOD;
        if (err != ERR_CONFLICT && err != ERR_IO)
                return; /* no answer: the last one counts for as long as it is fresh */
        primary->settings = SETTINGS_BAD;
        snprintf(primary->settings_why, sizeof(primary->settings_why), "%s", why);
        if (before == SETTINGS_BAD)
                return;
        log_error("DURABILITY-REFUSED", "mode=%s why=%s", primary->mode, log_quote(why));
        primary->callbacks.on_refused(primary->callbacks.owner, primary->settings_why);
}

static void compare(struct primary *primary, const struct redis_server *now)
{
        const struct redis_server *known = &primary->known;
        bool is_other =
            strcmp(known->run_id, now->run_id) != 0 || strcmp(known->replid, now->replid) != 0;

        if (known->run_id[0] != '\0' && is_other) {
                metric_add(&fanout_metric_primary_changes, 1);
                log_warn("PRIMARY-CHANGED",
                         "peer=%s run_id=%s replid=%s before_run_id=%s before_replid=%s",
                         log_quote(redis_peer(primary->redis)), now->run_id, now->replid,
                         known->run_id, known->replid);
        }
        primary->server = primary->known = *now;
        metric_set(&fanout_metric_replicas, now->replicas);
}

static void on_info(void *owner, const struct redis_reply *reply)
{
        struct primary *primary = take_question(owner);
        struct redis_server now;
        bool is_known;

        if (primary == NULL)
                return;
        is_known = reply != NULL && redis_type(reply) == REDIS_STRING &&
                   redis_parse_info(redis_text(reply, NULL), &now) == OK;
        note_answer(primary, is_known && now.is_primary);
        primary->identity_why[0] = '\0';
        if (!is_known && reply != NULL) {
                snprintf(primary->identity_why, sizeof(primary->identity_why),
                         "Redis does not say who it is (%.160s); its user needs +info",
                         redis_type(reply) == REDIS_ERROR ? redis_text(reply, NULL)
                                                          : "an answer without role and ids");
        } else if (is_known && !now.is_primary) {
                log_warn("PRIMARY-REFUSES", "peer=%s why=replica of=%s",
                         log_quote(redis_peer(primary->redis)), log_quote(now.primary));
                redis_drop(primary->redis, "it is a replica");
        } else if (is_known) {
                compare(primary, &now);
        }
}

static struct question *make_question(struct primary *primary)
{
        struct question *question = malloc(sizeof(*question));

        if (question != NULL)
                *question = (struct question){ primary, primary->link };
        return question;
}

static void ask(struct primary *primary)
{
        const char *const info[] = { "INFO", "server", "replication" };
        struct question *who = make_question(primary), *how = make_question(primary);

        primary->asked_ms = clock_mono_ms();
        primary->round_is_good = true;
        primary->waiting = 2;
        /* A round that is not asked whole never becomes good; the next is asked in a second. */
        if (who == NULL ||
            redis_command(primary->redis, on_info, who, countof(info), info, NULL) != OK) {
                free(who);
                note_answer(primary, false);
        }
        if (how == NULL || durability_check(primary->redis, primary->options.durability.mode,
                                            on_settings, how) != OK) {
                free(how);
                note_answer(primary, false);
        }
}

static void on_tick(evutil_socket_t fd, short what, void *arg)
{
        struct primary *primary = arg;

        (void)fd;
        (void)what;
        if (redis_is_up(primary->redis) && primary->waiting == 0 &&
            clock_mono_ms() - primary->asked_ms >= PRIMARY_ASK_EVERY_MS)
                ask(primary);
}

/* --- the link -------------------------------------------------------------------------------- */

static void on_state(void *owner, enum redis_state state, const char *why)
{
        struct primary *primary = owner;

        /* Whatever answers next may be another server with other settings: verify before any write.
         */
        primary->link++;
        primary->waiting = 0;
        primary->good_ms = 0;
        primary->settings = SETTINGS_UNKNOWN;
        primary->server = (struct redis_server){ 0 };
        primary->refused_why[0] = primary->identity_why[0] = '\0';
        if (state == REDIS_DOWN) {
                snprintf(primary->link_why, sizeof(primary->link_why), "%s", why);
                metric_set(&fanout_metric_replicas, 0);
                return;
        }
        if (primary->callbacks.on_up != NULL)
                primary->callbacks.on_up(primary->callbacks.owner);
        ask(primary);
}

/* A user that may not write its presence may still be allowed to append, or may only read. */
static bool is_refusal(const struct redis_reply *reply)
{
        return redis_type(reply) == REDIS_ERROR &&
               strncmp(redis_text(reply, NULL), "NOPERM", 6) != 0;
}

void primary_heard(struct primary *primary, const struct redis_reply *reply)
{
        bool was_refused = primary->refused_why[0] != '\0';
        const char *text;

        if (reply == NULL || !redis_is_up(primary->redis))
                return;
        if (!is_refusal(reply)) {
                primary->refused_why[0] = '\0';
                return;
        }
        text = redis_text(reply, NULL);
        snprintf(primary->refused_why, sizeof(primary->refused_why), "%s", text);
        if (!was_refused)
                log_warn("PRIMARY-REFUSES", "peer=%s why=%s", log_quote(redis_peer(primary->redis)),
                         log_quote(text));
        if (strncmp(text, "READONLY", 8) == 0)
                redis_drop(primary->redis, "it has become a replica");
}

/* --- the owner's side ------------------------------------------------------------------------ */

enum err primary_create(struct event_base *base, const struct primary_options *options,
                        const struct primary_callbacks *callbacks, struct primary **ret_primary)
{
        const struct timeval often = { .tv_usec = TICK_MS * 1000 };
        struct primary *primary = calloc(1, sizeof(*primary));
        struct redis_options link = { .address = options->address,
                                      .name = "writes",
                                      .primary = true,
                                      .on_state = on_state,
                                      .owner = primary };
        enum err err;

        if (primary == NULL)
                return ERR_NOMEM;
        primary->options = *options;
        primary->callbacks = *callbacks;
        durability_format(&options->durability, primary->mode);
        key_format(primary->slot_key, options->ns, KEY_META, NULL);
        link.slot_key = primary->slot_key;
        err = redis_create(base, &link, &primary->redis);
        if (err == OK) {
                primary->tick = event_new(base, -1, EV_PERSIST, on_tick, primary);
                err =
                    primary->tick != NULL && event_add(primary->tick, &often) == 0 ? OK : ERR_NOMEM;
        }
        if (err != OK) {
                primary_destroy(primary);
                return err;
        }
        *ret_primary = primary;
        return OK;
}

void primary_destroy(struct primary *primary)
{
        if (primary == NULL)
                return;
        primary->destroying = true; /* questions still out are answered with nothing below */
        redis_destroy(primary->redis);
        if (primary->tick != NULL)
                event_free(primary->tick);
        free(primary);
}

struct redis *primary_redis(struct primary *primary)
{
        return primary->redis;
}

const struct durability *primary_durability(const struct primary *primary)
{
        return &primary->options.durability;
}
