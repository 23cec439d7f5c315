/* fanout/follower.c -- carries out what the core decides, and tells it what came of that. Decides
 * nothing about order itself.
 *
 * Happy path: both links up -> the library is loaded -> FOLLOWER_LINK_UP -> the core asks for the
 * state -> state_reader -> on_install -> messages -> on_entries; a tick every TICK_MS lets the core
 * look at its clocks, and the server is asked whether it is still a primary. Failure: a link breaks
 * -> FOLLOWER_LINK_DOWN, the links mend themselves; a load that fails (a read-only replica) is
 * logged and no obstacle to reading; the functions are gone -> loaded again; no memory for entries
 * already taken over by the core, or a record among them that cannot be remembered -> distrust: the
 * state is read anew, so nothing is skipped. */
#include "fanout/follower.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <event2/event.h>

#include "base/clock.h"
#include "base/log.h"
#include "fanout/answer.h"
#include "fanout/book.h"
#include "fanout/fanout_metrics.h"
#include "fanout/follower_core.h"
#include "fanout/log_question.h"
#include "fanout/state_reader.h"
#include "fanout/writer.h"
#include "proto/keys.h"

#define TICK_MS 100
/* The subscriber asks for a sign of life once a second; with this its silence is noticed within the
 * two seconds of contract line 8. */
#define SUBSCRIBER_TIMEOUT_MS 900

struct follower {
        struct follower_options options;
        struct follower_callbacks callbacks;
        struct event_base *base;
        char meta_key[KEY_MAX + 1]; /* its slot is where the log lives */
        struct redis *commands, *subscriber;
        bool commands_up, subscriber_up, destroying;
        struct event *tick;
        struct follower_core core;
        struct snapshot *snapshot;           /* at core.head; NULL before the first install */
        struct book *book;                   /* the records of the same moment */
        struct state_reader *reader;         /* NULL: no state is being read */
        unsigned state_request;              /* the one it reads for */
        bool lost_said;                      /* of the loss that is being mended */
        uint64_t role_asked_ms;              /* monotonic */
        bool may_be_held;                    /* something beyond the head asked for last */
        unsigned messages;                   /* counted for drop_every */
        char link_why[160], answer_why[160]; /* the last trouble; empty = none */
};

static void feed(struct follower *follower, const struct follower_input *input,
                 const struct state_read *state);

static void feed_kind(struct follower *follower, enum follower_input_kind kind, unsigned request)
{
        feed(follower, &(struct follower_input){ .kind = kind, .request = request }, NULL);
}

static void note_trouble(char why[160], const char *text)
{
        snprintf(why, 160, "%s", text);
}

/* Why the log could not be read; said in the log when it changes, for it is tried again and again.
 */
static void note_unread(struct follower *follower, const char *why)
{
        char before[sizeof(follower->answer_why)];

        memcpy(before, follower->answer_why, sizeof(before));
        note_trouble(follower->answer_why, why);
        if (strcmp(before, follower->answer_why) != 0)
                log_warn("LOG-NOT-READ", "why=%s", log_quote(why));
}

/* --- the library ---------------------------------------------------------------------------- */

static void on_library(void *owner, enum err err, const char *why)
{
        struct follower *follower = owner;

        if (follower->destroying)
                return;
        if (err != OK) {
                log_warn("LIBRARY-NOT-LOADED", "why=%s", log_quote(why));
                note_trouble(follower->answer_why, why);
        }
        if (follower->commands_up && follower->subscriber_up && !follower->core.link_up)
                feed_kind(follower, FOLLOWER_LINK_UP, 0);
}

static void load_library(struct follower *follower)
{
        enum err err = library_load(follower->commands, on_library, follower);

        if (err != OK) /* the link went down meanwhile: on_commands_state will come again */
                log_debug("LIBRARY-NOT-LOADED", "err=%s", err_name(err));
}

/* --- answers -------------------------------------------------------------------------------- */

static void on_failed(struct follower *follower, unsigned request, const struct redis_reply *reply)
{
        if (reply != NULL && answer_is_error(reply))
                note_unread(follower, redis_text(reply, NULL));
        if (answer_lacks_function(reply))
                load_library(follower);
        feed_kind(follower, FOLLOWER_FAILED, request);
}

static void on_answer(void *owner, unsigned request, const struct log_answer *answer,
                      const struct redis_reply *error)
{
        struct follower *follower = owner;

        if (follower->destroying)
                return;
        if (answer == NULL) {
                on_failed(follower, request, error);
                return;
        }
        follower->answer_why[0] = '\0';

        struct follower_input input = { .kind =
                                            answer->range_from > 0 ? FOLLOWER_RANGE : FOLLOWER_HEAD,
                                        .token = answer->place.token,
                                        .entries = answer->entries,
                                        .n = answer->n,
                                        .request = request };

        feed(follower, &input, NULL);
}

/* --- the state ------------------------------------------------------------------------------ */

static void install(struct follower *follower, const struct state_read *state)
{
        const struct token *token = snapshot_token(state->snapshot);

        snapshot_unref(follower->snapshot);
        follower->snapshot = snapshot_ref(state->snapshot);
        /* What was vouched for since the state was asked for is not in it. */
        if (book_merge(state->book, follower->book) != OK)
                log_error("FOLLOWER-NO-MEMORY", "entries=0");
        book_destroy(follower->book);
        follower->book = state->book;
        follower->lost_said = false;
        log_info("LOG-INSTALLED", "epoch=%016llx seq=%llu parent=%016llx entries=%zu",
                 (unsigned long long)token->epoch, (unsigned long long)token->seq,
                 (unsigned long long)snapshot_parent(state->snapshot), state->n);
        follower->callbacks.on_install(follower->callbacks.owner, state->snapshot, state->entries,
                                       state->n);
}

static void on_state(void *owner, enum err err, const struct state_read *read, const char *why)
{
        struct follower *follower = owner;

        follower->reader = NULL;
        if (err != OK) {
                note_unread(follower, why);
                if (err == ERR_NOT_FOUND)
                        load_library(follower);
                feed_kind(follower, FOLLOWER_FAILED, follower->state_request);
                return;
        }
        follower->answer_why[0] = '\0';

        struct follower_input input = { .kind = FOLLOWER_STATE,
                                        .token = *snapshot_token(read->snapshot),
                                        .entries = read->entries,
                                        .n = read->n,
                                        .request = follower->state_request };

        feed(follower, &input, read);
        if (follower->book != read->book)
                book_destroy(read->book); /* the core did not want it */
}

static enum err ask_state(struct follower *follower, unsigned request)
{
        const struct state_reader_options options = { .base = follower->base,
                                                      .redis = follower->commands,
                                                      .ns = follower->options.ns,
                                                      .keep = follower->options.keep,
                                                      .keep_max = follower->options.keep_max,
                                                      .mine =
                                                          *follower_core_witness(&follower->core),
                                                      .book = follower->book,
                                                      .lost_said = &follower->lost_said };

        state_reader_stop(follower->reader); /* given up by the core */
        follower->reader = NULL;
        follower->state_request = request;
        return state_reader_start(&options, on_state, follower, &follower->reader);
}

/* --- the core ------------------------------------------------------------------------------- */

/* Into the book, which needs no more than the last record of each event. */
static bool remember(struct follower *follower, struct entry *entry)
{
        enum err err;

        if (entry->record == NULL)
                return true; /* of a version that wrote none: the old one stays */
        err = book_put(follower->book, entry->record, strlen(entry->record));
        if (err == ERR_INVALID) { /* the signal itself is readable, and devices shall have it */
                log_error("EVENT-UNREADABLE", "record=%s", log_quote(entry->record));
                metric_add(&fanout_metric_log_unreadable, 1);
        }
        entry_drop_record(entry);
        return err != ERR_NOMEM;
}

static void deliver(struct follower *follower, struct entry *const *entries, size_t n)
{
        struct snapshot *now = snapshot_ref(follower->snapshot);

        for (size_t i = 0; i < n && now != NULL; i++) {
                struct snapshot *next = remember(follower, entries[i])
                                            ? snapshot_after(now, &entries[i]->signal)
                                            : NULL;

                snapshot_unref(now);
                now = next;
        }
        if (now == NULL) {
                log_error("FOLLOWER-NO-MEMORY", "entries=%zu", n);
                follower_core_distrust(&follower->core);
                return;
        }
        snapshot_unref(follower->snapshot);
        follower->snapshot = now;
        follower->callbacks.on_entries(follower->callbacks.owner, entries, n, now);
}

static void count(struct follower *follower, const struct follower_core *before)
{
        const struct follower_core *now = &follower->core;

        metric_add(&fanout_metric_log_gaps, (int64_t)(now->gaps - before->gaps));
        metric_add(&fanout_metric_log_repeats, (int64_t)(now->repeats - before->repeats));
        metric_add(&fanout_metric_log_forks, (int64_t)(now->forks - before->forks));
        metric_set(&fanout_metric_log_seq, (int64_t)now->head.seq);
        metric_set(&fanout_metric_log_caught_up, !follower_is_stale(now, clock_mono_ms()));
        metric_set(&fanout_metric_redis_up, follower->commands_up && follower->subscriber_up);
        if (now->gaps > before->gaps)
                log_info("LOG-GAP", "have=%llu heard_of=%llu", (unsigned long long)now->head.seq,
                         (unsigned long long)now->seen);
        if (now->trust == FOLLOWER_BROKEN && before->trust != FOLLOWER_BROKEN)
                log_warn("LOG-BROKE",
                         "epoch=%016llx seq=%llu: the log is another one, or trimmed "
                         "beyond us; reading it anew",
                         (unsigned long long)now->head.epoch, (unsigned long long)now->head.seq);
}

static void on_tail(void *owner, bool is_held)
{
        struct follower *follower = owner;

        if (!follower->destroying)
                follower->may_be_held = is_held;
}

static enum err ask_log(struct follower *follower, unsigned request, seqno range_from)
{
        follower->may_be_held = follower->options.may_hold_back;
        if (follower->may_be_held && range_from == 0) {
                enum err err =
                    log_question_tail(follower->commands, follower->options.ns, on_tail, follower);

                if (err != OK)
                        return err;
        }
        return log_question(follower->commands, follower->options.ns,
                            follower_core_witness(&follower->core), range_from, request, on_answer,
                            follower);
}

static enum err ask(struct follower *follower, const struct follower_actions *actions)
{
        switch (actions->ask) {
        case FOLLOWER_ASK_NOTHING:
                break;
        case FOLLOWER_ASK_STATE:
                return ask_state(follower, actions->request);
        case FOLLOWER_ASK_HEAD:
                return ask_log(follower, actions->request, 0);
        case FOLLOWER_ASK_RANGE:
                return ask_log(follower, actions->request, actions->range_from);
        }
        return OK;
}

/* `state`: what was read, with FOLLOWER_STATE. */
static void feed(struct follower *follower, const struct follower_input *input,
                 const struct state_read *state)
{
        struct follower_core before = follower->core;
        struct follower_actions actions;

        follower_step(&follower->core, input, clock_mono_ms(), &actions);
        count(follower, &before);
        if (actions.install)
                install(follower, state);
        if (actions.deliver_n > 0)
                deliver(follower, input->entries + actions.deliver_from, actions.deliver_n);
        if (actions.confirmed && !follower->may_be_held && follower->callbacks.on_confirmed != NULL)
                follower->callbacks.on_confirmed(follower->callbacks.owner);
        if (ask(follower, &actions) !=
            OK) /* after a failure the core waits, so this goes no deeper */
                feed_kind(follower, FOLLOWER_FAILED, actions.request);
}

/* --- links ---------------------------------------------------------------------------------- */

/* Whoever makes a primary a replica need not cut us off, and a replica that has lost its primary
 * answers for ever what it last knew. */
static void on_role(void *owner, const struct redis_reply *reply)
{
        struct follower *follower = owner;
        struct redis_server now;

        if (follower->destroying || reply == NULL || redis_type(reply) != REDIS_STRING ||
            redis_parse_info(redis_text(reply, NULL), &now) != OK || now.is_primary)
                return;
        log_warn("PRIMARY-REFUSES", "peer=%s why=replica of=%s",
                 log_quote(redis_peer(follower->commands)), log_quote(now.primary));
        redis_drop(follower->subscriber, "it is a replica");
        redis_drop(follower->commands, "it is a replica");
}

static void ask_role(struct follower *follower)
{
        const char *const info[] = { "INFO", "server", "replication" };

        if (!follower->commands_up ||
            clock_mono_ms() - follower->role_asked_ms < FOLLOWER_HEAD_EVERY_MS)
                return;
        follower->role_asked_ms = clock_mono_ms();
        if (redis_command(follower->commands, on_role, follower, countof(info), info, NULL) != OK)
                log_debug("PRIMARY-REFUSES", "not asked: the next second will do");
}

static void on_tick(evutil_socket_t fd, short what, void *arg)
{
        (void)fd;
        (void)what;
        ask_role(arg);
        feed_kind(arg, FOLLOWER_TICK, 0);
}

static void on_message(void *owner, const char *bytes, size_t len)
{
        struct follower *follower = owner;
        struct entry *entry = NULL;
        struct follower_input input = { .kind = FOLLOWER_MESSAGE, .entries = &entry, .n = 1 };

        follower->messages++;
        if (follower->options.drop_every > 0 &&
            follower->messages % follower->options.drop_every == 0)
                return;
        if (entry_parse_message(bytes, len, &entry) != OK) {
                log_warn("MESSAGE-UNREADABLE", "message=%s", log_quote(bytes));
                metric_add(&fanout_metric_log_unreadable, 1);
                input.n = 0;
        }
        feed(follower, &input, NULL);
        entry_unref(entry);
}

static void on_links(struct follower *follower, enum redis_state state, const char *why)
{
        bool up = follower->commands_up && follower->subscriber_up;

        if (state == REDIS_DOWN)
                note_trouble(follower->link_why, why);
        if (up)
                load_library(follower); /* then FOLLOWER_LINK_UP */
        else if (follower->core.link_up)
                feed_kind(follower, FOLLOWER_LINK_DOWN, 0);
}

static void on_commands_state(void *owner, enum redis_state state, const char *why)
{
        struct follower *follower = owner;

        bool was_up = follower->commands_up;

        follower->commands_up = state == REDIS_UP;
        if (follower->commands_up != was_up && follower->callbacks.on_link != NULL)
                follower->callbacks.on_link(follower->callbacks.owner, follower->commands_up);
        on_links(follower, state, why);
}

static void on_subscriber_state(void *owner, enum redis_state state, const char *why)
{
        struct follower *follower = owner;

        follower->subscriber_up = state == REDIS_UP;
        on_links(follower, state, why);
}

/* --- the owner's side ----------------------------------------------------------------------- */

static enum err create_links(struct follower *follower, struct event_base *base)
{
        struct redis_options options = { .address = follower->options.address,
                                         .name = "commands",
                                         .primary = true, /* only that has the log as it is */
                                         .slot_key = follower->meta_key,
                                         .on_state = on_commands_state,
                                         .owner = follower };
        char channel[KEY_MAX + 1];
        enum err err;

        key_format(follower->meta_key, follower->options.ns, KEY_META, NULL);
        err = redis_create(base, &options, &follower->commands);
        if (err != OK)
                return err;
        options.name = "signals"; /* in a cluster messages are heard only where the slot lives */
        options.timeout_ms = SUBSCRIBER_TIMEOUT_MS;
        options.on_state = on_subscriber_state;
        err = redis_create(base, &options, &follower->subscriber);
        if (err != OK)
                return err;
        key_format(channel, follower->options.ns, KEY_CHANNEL, NULL);
        return redis_subscribe(follower->subscriber, channel, on_message, follower);
}

enum err follower_create(struct event_base *base, const struct follower_options *options,
                         const struct follower_callbacks *callbacks, struct follower **ret)
{
        struct follower *follower = calloc(1, sizeof(*follower));
        struct timeval every = { 0, TICK_MS * 1000 };
        enum err err;

        if (follower == NULL)
                return ERR_NOMEM;
        follower->options = *options;
        follower->callbacks = *callbacks;
        follower->base = base;
        follower_core_init(&follower->core);
        if (options->drop_every > 0)
                log_warn("TEST-DROPS-MESSAGES", "every=%u: for tests only", options->drop_every);
        err = book_create(&follower->book);
        if (err == OK)
                err = create_links(follower, base);
        if (err == OK) {
                follower->tick = event_new(base, -1, EV_PERSIST, on_tick, follower);
                err = follower->tick != NULL && event_add(follower->tick, &every) == 0 ? OK
                                                                                       : ERR_NOMEM;
        }
        if (err != OK) {
                follower_destroy(follower);
                return err;
        }
        *ret = follower;
        return OK;
}

void follower_destroy(struct follower *follower)
{
        if (follower == NULL)
                return;
        follower->destroying = true; /* questions still out are answered with nothing below */
        state_reader_stop(follower->reader);
        redis_destroy(follower->subscriber);
        redis_destroy(follower->commands);
        if (follower->tick != NULL)
                event_free(follower->tick);
        snapshot_unref(follower->snapshot);
        book_destroy(follower->book);
        free(follower);
}

static const char *what_keeps_us(const struct follower *follower)
{
        if (follower->core.head.epoch == 0)
                return "the log has not been read yet";
        if (follower->lost_said)
                return "this node holds more than the log in Redis, which must be renewed";
        if (follower->core.trust == FOLLOWER_BROKEN)
                return "the log in Redis is another one than before, or trimmed beyond this node's place, "
                       "and is being read";
        return "the log's head was not confirmed for 2 s";
}

const char *follower_why_not_ready(const struct follower *follower)
{
        static char why[360]; /* one control thread asks */

        if (!follower->commands_up || !follower->subscriber_up)
                snprintf(why, sizeof(why), "Redis is not reachable: %s",
                         follower->link_why[0] != '\0' ? follower->link_why : "connecting");
        else if (follower_is_stale(&follower->core, clock_mono_ms()))
                snprintf(why, sizeof(why), "%s%s%s", what_keeps_us(follower),
                         follower->answer_why[0] != '\0' ? ": " : "", follower->answer_why);
        else
                why[0] = '\0';
        return why;
}

bool follower_is_ready(const struct follower *follower)
{
        return follower_why_not_ready(follower)[0] == '\0';
}

struct redis *follower_redis(struct follower *follower)
{
        return follower->commands;
}

struct snapshot *follower_snapshot(struct follower *follower)
{
        return follower->snapshot;
}

struct token follower_witness(const struct follower *follower)
{
        return *follower_core_witness(&follower->core);
}

const struct book *follower_book(const struct follower *follower)
{
        return follower->book;
}

void follower_vouch(struct follower *follower, const struct token *token, const struct event *event,
                    bool is_replay)
{
        char *record = event_format(event);

        follower_core_vouch(&follower->core, token, is_replay);
        /* In another epoch than the one we follow, and news to us: two primaries at once, perhaps.
         * What the log lacks of it is given back by a renewal, which begins with reading the state.
         */
        if (record != NULL && token->epoch != follower->core.head.epoch &&
            !book_holds(follower->book, record, strlen(record)))
                follower_core_distrust(&follower->core);
        /* Without memory the change itself may be forgotten with the Redis that lost it, but not
         * that there was one. */
        if (record == NULL || book_put(follower->book, record, strlen(record)) != OK)
                log_error("FOLLOWER-NO-MEMORY", "entries=1");
        free(record);
}
