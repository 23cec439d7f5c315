/* fanout/reader.c -- two questions to Redis, and what their answers mean. A record or an entry that
 * this version cannot read is an error, not a shorter list: a producer must not take it for absent.
 */
#include "fanout/reader.h"

#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/log.h"
#include "fanout/answer.h"
#include "proto/keys.h"

struct question {
        reader_events_fn *on_events;
        reader_signals_fn *on_signals;
        reader_request_fn *on_request;
        void *owner;
        bool one; /* the reply is the record itself */
};

static int by_start(const void *left, const void *right)
{
        const struct event_state *a = &((const struct event *)left)->state;
        const struct event_state *b = &((const struct event *)right)->state;

        if (a->starts_at != b->starts_at)
                return a->starts_at < b->starts_at ? -1 : 1;
        return strcmp(a->event, b->event);
}

static enum err take_record(const struct redis_reply *reply, struct event *out)
{
        size_t len;
        const char *text = redis_text(reply, &len);
        enum err err = event_parse(text, len, out);

        if (err == OK)
                return OK;
        log_error("EVENT-UNREADABLE", "record=%s", log_quote(text));
        return ERR_IO;
}

/* The record itself, or the state: place, whether something was lost, records. */
static void take_events(const struct question *question, const struct redis_reply *reply)
{
        const struct redis_reply *records =
            question->one ? reply : redis_at(reply, ANSWER_PLACE_MEMBERS + 1);
        size_t n = 0;
        struct event *events;
        enum err err = OK;

        if (question->one)
                n = redis_type(reply) == REDIS_STRING;
        else if (records != NULL)
                n = redis_count(records);
        else
                err = ERR_IO;
        events = calloc(n + 1, sizeof(*events));
        if (events == NULL)
                err = ERR_NOMEM;
        for (size_t i = 0; i < n && err == OK; i++)
                err = take_record(question->one ? reply : redis_at(records, i), &events[i]);
        if (err == OK && n > 1)
                qsort(events, n, sizeof(events[0]), by_start);
        question->on_events(question->owner, err, err == OK ? events : NULL, err == OK ? n : 0);
        free(events);
}

static void on_events(void *owner, const struct redis_reply *reply)
{
        struct question *question = owner;

        if (reply == NULL)
                question->on_events(question->owner, ERR_TIMEOUT, NULL, 0);
        else if (answer_is_error(reply))
                question->on_events(question->owner, ERR_IO, NULL, 0);
        else
                take_events(question, reply);
        free(question);
}

static struct question *make_question(void *owner)
{
        struct question *question = calloc(1, sizeof(*question));

        if (question != NULL)
                question->owner = owner;
        return question;
}

enum err reader_events(struct redis *redis, const char *ns, const char *event,
                       reader_events_fn *done, void *owner)
{
        char meta[KEY_MAX + 1], log[KEY_MAX + 1], events[KEY_MAX + 1];
        const char *const all[] = { "FCALL_RO", "kickoff1_state", "3", meta, log, events };
        const char *const one[] = { "FCALL_RO", "kickoff1_event", "3", meta, log, events, event };
        struct question *question = make_question(owner);
        enum err err;

        if (question == NULL)
                return ERR_NOMEM;
        key_format(meta, ns, KEY_META, NULL);
        key_format(log, ns, KEY_LOG, NULL);
        key_format(events, ns, KEY_EVENTS, NULL);
        question->on_events = done;
        question->one = event != NULL;
        err = redis_command(redis, on_events, question,
                            question->one ? (int)countof(one) : (int)countof(all),
                            question->one ? one : all, NULL);
        if (err != OK)
                free(question);
        return err;
}

static void take_signals(const struct question *question, const struct redis_reply *reply)
{
        const struct redis_reply *list = redis_at(reply, ANSWER_PLACE_MEMBERS);
        size_t n = list != NULL ? redis_count(list) : 0, made = 0;
        struct entry **entries = calloc(n + 1, sizeof(struct entry *));
        struct place place = { 0 };
        enum err err = entries == NULL ? ERR_NOMEM : OK;

        if (err == OK && answer_place(reply, 0, &place) != OK)
                err = ERR_IO;
        while (err == OK && made < n) {
                err = answer_entry(redis_at(list, made), place.token.epoch, &entries[made]);
                if (err == OK)
                        made++;
        }
        if (err == ERR_INVALID)
                err = ERR_IO;
        question->on_signals(question->owner, err, err == OK ? entries : NULL, err == OK ? made : 0,
                             place.token.seq);
        while (made > 0)
                entry_unref(entries[--made]);
        free(entries);
}

static void on_signals(void *owner, const struct redis_reply *reply)
{
        struct question *question = owner;

        if (reply == NULL)
                question->on_signals(question->owner, ERR_TIMEOUT, NULL, 0, 0);
        else if (answer_is_error(reply))
                question->on_signals(question->owner, ERR_IO, NULL, 0, 0);
        else
                take_signals(question, reply);
        free(question);
}

enum err reader_signals(struct redis *redis, const char *ns, seqno after, size_t limit,
                        reader_signals_fn *done, void *owner)
{
        char meta[KEY_MAX + 1], log[KEY_MAX + 1], numbers[3 * 24];
        struct buf text;
        struct question *question = make_question(owner);
        enum err err;

        check(limit > 0 && limit <= READER_SIGNALS_MAX);
        if (question == NULL)
                return ERR_NOMEM;
        question->on_signals = done;
        key_format(meta, ns, KEY_META, NULL);
        key_format(log, ns, KEY_LOG, NULL);

        seqno from = after < SEQNO_MAX ? after + 1 : SEQNO_MAX;

        buf_init_fixed(&text, numbers, sizeof(numbers));
        buf_u64(&text, from);
        buf_char(&text, '\0');

        const char *to = numbers + text.len;

        buf_u64(&text, from + limit - 1);
        buf_char(&text, '\0');

        const char *count = numbers + text.len;

        buf_u64(&text, limit);

        const char *const argv[] = { "FCALL_RO", "kickoff1_range", "2", meta,
                                     log,        numbers,          to,  count };

        err = redis_command(redis, on_signals, question, countof(argv), argv, NULL);
        if (err != OK)
                free(question);
        return err;
}

/* --- request keys --------------------------------------------------------------------------- */

/* fingerprint, token, record, '1' while it is held back */
static void take_request(const struct question *question, const struct redis_reply *request)
{
        enum request_state state = REQUEST_COMMITTED;
        struct token token;
        struct event event;
        size_t len;
        const char *text;

        if (request == NULL || redis_type(request) == REDIS_NIL) {
                question->on_request(question->owner, OK, REQUEST_NONE, NULL, NULL, "");
                return;
        }
        if (redis_count(request) < 5)
                goto unreadable;
        text = redis_text(redis_at(request, 1), &len);
        if (token_parse(text, len, &token) != OK || take_record(redis_at(request, 2), &event) != OK)
                goto unreadable;
        if (strcmp(redis_text(redis_at(request, 3), NULL), "1") == 0)
                state = REQUEST_HELD;
        question->on_request(question->owner, OK, state, &token, &event,
                             redis_text(redis_at(request, 4), NULL));
        return;

unreadable:
        question->on_request(question->owner, ERR_IO, REQUEST_NONE, NULL, NULL, "");
}

static void on_request(void *owner, const struct redis_reply *reply)
{
        struct question *question = owner;

        if (reply == NULL)
                question->on_request(question->owner, ERR_TIMEOUT, REQUEST_NONE, NULL, NULL, "");
        else if (answer_is_error(reply))
                question->on_request(question->owner, ERR_IO, REQUEST_NONE, NULL, NULL, "");
        else
                take_request(question, redis_at(reply, 1));
        free(question);
}

enum err reader_request(struct redis *redis, const char *ns, const char *key,
                        reader_request_fn *done, void *owner)
{
        char events[KEY_MAX + 1], req[KEY_MAX + 1], meta[KEY_MAX + 1];
        const char *const argv[] = {
                "FCALL_RO", "kickoff1_lookup", "3", events, req, meta, "", "1"
        };
        struct question *question = make_question(owner);
        enum err err;

        if (question == NULL)
                return ERR_NOMEM;
        question->on_request = done;
        key_format(events, ns, KEY_EVENTS, NULL);
        key_format(req, ns, KEY_REQUEST, key);
        key_format(meta, ns, KEY_META, NULL);
        err = redis_command(redis, on_request, question, countof(argv), argv, NULL);
        if (err != OK)
                free(question);
        return err;
}
