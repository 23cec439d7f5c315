/* fanout/state_reader.c -- state -> (no log yet: open -> state) -> range, range, ... -> done.
 *
 * The state is one atomic read, the entries are not: the log may be trimmed, or become another,
 * between two ranges. An entry that is missing, does not chain or cannot be read (written by a
 * newer version) cuts off all before it: what is kept has no hole, and devices whose place lies
 * before the cut get a reset. If the entries do not end exactly at the state's token, none is kept.
 * An event that cannot be read is another matter: a state without it would be a lie, so there is
 * none. */
#include "fanout/state_reader.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/rng.h"
#include "fanout/answer.h"
#include "fanout/event.h"
#include "fanout/fanout_metrics.h"
#include "fanout/follower_core.h"
#include "proto/keys.h"

struct state_reader {
        struct redis *redis;
        const char *ns;
        size_t keep;
        state_reader_fn *done;
        void *owner;
        struct snapshot *snapshot;
        struct entry **entries; /* `keep` places */
        size_t n;
        seqno next; /* first number of the range asked for */
};

static void finish(struct state_reader *reader, enum err err, const char *why)
{
        if (err == OK)
                reader->done(reader->owner, OK, reader->snapshot, reader->entries, reader->n, "");
        else
                reader->done(reader->owner, err, NULL, NULL, 0, why);
        for (size_t i = 0; i < reader->n; i++)
                entry_unref(reader->entries[i]);
        snapshot_unref(reader->snapshot);
        free(reader->entries);
        free(reader);
}

/* No answer, an error, or not what we asked for. True: finished. */
static bool failed(struct state_reader *reader, const struct redis_reply *reply,
                   struct token *ret_place)
{
        if (reply == NULL)
                finish(reader, ERR_TIMEOUT, "Redis did not answer");
        else if (answer_lacks_function(reply))
                finish(reader, ERR_NOT_FOUND, "Redis lacks our functions");
        else if (answer_is_error(reply))
                finish(reader, ERR_IO, redis_text(reply, NULL));
        else if (answer_place(reply, ret_place) != OK)
                finish(reader, ERR_IO, "the log's place in Redis cannot be read");
        else
                return false;
        return true;
}

static void call(struct state_reader *reader, redis_reply_fn *on_reply, int argc,
                 const char *const *argv)
{
        if (redis_command(reader->redis, on_reply, reader, argc, argv, NULL) != OK)
                finish(reader, ERR_UNAVAILABLE, "Redis went away while the log was read");
}

/* --- entries -------------------------------------------------------------------------------- */

static void forget_entries(struct state_reader *reader)
{
        while (reader->n > 0)
                entry_unref(reader->entries[--reader->n]);
}

static void take_entry(struct state_reader *reader, const struct redis_reply *reply, uint64_t epoch)
{
        struct entry *entry = NULL;
        const struct entry *last = reader->n > 0 ? reader->entries[reader->n - 1] : NULL;

        if (answer_entry(reply, epoch, &entry) != OK) {
                log_error("ENTRY-UNREADABLE", "entry=%s",
                          log_quote(redis_text(redis_at(reply, 0), NULL)));
                metric_add(&fanout_metric_log_unreadable, 1);
                forget_entries(reader);
                return;
        }
        if (last != NULL && (entry->signal.token.seq != last->signal.token.seq + 1 ||
                             entry->prev_tag != last->signal.token.tag))
                forget_entries(reader);
        reader->entries[reader->n++] = entry; /* at most `keep` numbers are asked for */
}

static void on_range(void *owner, const struct redis_reply *reply);

static void read_on(struct state_reader *reader)
{
        const struct token *token = snapshot_token(reader->snapshot);

        if (reader->next > token->seq) {
                if (reader->n > 0 &&
                    !token_equal(&reader->entries[reader->n - 1]->signal.token, token))
                        forget_entries(reader);
                finish(reader, OK, "");
                return;
        }

        char meta[KEY_MAX + 1], log[KEY_MAX + 1], from[24], to[24];
        seqno last = reader->next + FOLLOWER_RANGE_COUNT - 1;
        const char *const argv[] = { "FCALL_RO", "kickoff1_range", "2", meta, log, from,
                                     to,         "1000000" };

        key_format(meta, reader->ns, KEY_META, NULL);
        key_format(log, reader->ns, KEY_LOG, NULL);
        snprintf(from, sizeof(from), "%llu", (unsigned long long)reader->next);
        snprintf(to, sizeof(to), "%llu",
                 (unsigned long long)(last < token->seq ? last : token->seq));
        reader->next = last + 1;
        call(reader, on_range, countof(argv), argv);
}

static void on_range(void *owner, const struct redis_reply *reply)
{
        struct state_reader *reader = owner;
        struct token place;

        if (failed(reader, reply, &place))
                return;
        if (place.epoch != snapshot_token(reader->snapshot)->epoch) {
                finish(reader, ERR_CONFLICT, "the log began anew while it was read");
                return;
        }

        const struct redis_reply *list = redis_at(reply, ANSWER_PLACE_MEMBERS);

        for (size_t i = 0; list != NULL && i < redis_count(list) && reader->n < reader->keep; i++)
                take_entry(reader, redis_at(list, i), place.epoch);
        read_on(reader);
}

/* --- state ---------------------------------------------------------------------------------- */

static int by_id(const void *a, const void *b)
{
        return strcmp(((const struct event_state *)a)->event,
                      ((const struct event_state *)b)->event);
}

static enum err take_events(struct state_reader *reader, const struct token *place,
                            const struct redis_reply *records)
{
        size_t n = records != NULL ? redis_count(records) : 0;
        struct event_state *states = calloc(n + 1, sizeof(*states));
        enum err err = states != NULL ? OK : ERR_NOMEM;

        for (size_t i = 0; i < n && err == OK; i++) {
                struct event event;
                size_t len;
                const char *text = redis_text(redis_at(records, i), &len);

                err = event_parse(text, len, &event);
                if (err == OK)
                        states[i] = event.state;
                else
                        log_error("EVENT-UNREADABLE", "record=%s", log_quote(text));
        }
        if (err == OK && n > 1)
                qsort(states, n, sizeof(states[0]), by_id);
        for (size_t i = 1; i < n && err == OK; i++) {
                if (strcmp(states[i - 1].event, states[i].event) == 0)
                        err = ERR_INVALID; /* two fields of the hash hold one event */
        }
        if (err == OK) {
                reader->snapshot = snapshot_create(place, states, n);
                err = reader->snapshot != NULL ? OK : ERR_NOMEM;
        }
        free(states);
        return err;
}

static void on_opened(void *owner, const struct redis_reply *reply);

/* The first node that finds no log makes one; if two do, one wins. */
static void open_log(struct state_reader *reader)
{
        char meta[KEY_MAX + 1], log[KEY_MAX + 1], epoch[17], tag[17];
        const char *const argv[] = { "FCALL", "kickoff1_open", "2", meta, log, epoch, tag };

        key_format(meta, reader->ns, KEY_META, NULL);
        key_format(log, reader->ns, KEY_LOG, NULL);
        token_hex(rng_secure_u64(), epoch);
        token_hex(rng_secure_u64(), tag);
        call(reader, on_opened, countof(argv), argv);
}

static void on_state(void *owner, const struct redis_reply *reply)
{
        struct state_reader *reader = owner;
        struct token place;

        if (failed(reader, reply, &place))
                return;
        if (place.epoch == 0) {
                open_log(reader);
                return;
        }

        enum err err = take_events(reader, &place, redis_at(reply, ANSWER_PLACE_MEMBERS));

        if (err != OK) {
                finish(reader, err,
                       err == ERR_NOMEM ? "the node is out of memory"
                                        : "an event in Redis cannot be read by this version");
                return;
        }
        reader->next = place.seq > reader->keep ? place.seq - reader->keep + 1 : 1;
        read_on(reader);
}

static enum err ask_state(struct state_reader *reader)
{
        char meta[KEY_MAX + 1], events[KEY_MAX + 1];
        const char *const argv[] = { "FCALL_RO", "kickoff1_state", "2", meta, events };

        key_format(meta, reader->ns, KEY_META, NULL);
        key_format(events, reader->ns, KEY_EVENTS, NULL);
        return redis_command(reader->redis, on_state, reader, countof(argv), argv, NULL);
}

static void on_opened(void *owner, const struct redis_reply *reply)
{
        struct state_reader *reader = owner;
        struct token place;

        if (failed(reader, reply, &place))
                return;
        log_info("LOG-OPENED", "epoch=%016llx seq=%llu", (unsigned long long)place.epoch,
                 (unsigned long long)place.seq);
        if (ask_state(reader) != OK)
                finish(reader, ERR_UNAVAILABLE, "Redis went away while the log was read");
}

enum err state_reader_start(struct redis *redis, const char *ns, size_t keep, state_reader_fn *done,
                            void *owner)
{
        struct state_reader *reader = calloc(1, sizeof(*reader));
        enum err err = ERR_NOMEM;

        check(keep > 0);
        if (reader == NULL)
                return ERR_NOMEM;
        reader->redis = redis;
        reader->ns = ns;
        reader->keep = keep;
        reader->done = done;
        reader->owner = owner;
        reader->entries = calloc(keep, sizeof(struct entry *));
        if (reader->entries != NULL)
                err = ask_state(reader);
        if (err != OK) {
                free(reader->entries);
                free(reader);
        }
        return err;
}
