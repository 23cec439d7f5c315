/* prefetch/store.c -- which commands bundles are in Redis, and whether an answer may be believed.
 * Refuses to know who asks and what is kept in memory.
 *
 * Writing: MULTI, SET body, HSET draft row, (counts), EXEC in one pipeline. A body is filed under
 * its own hash, so writing it twice, or writing it and then losing the row, harms nobody; that one
 * lost a row is noted for sweeper.c, and that one is named again takes such a note away. Index
 * reading is a transaction too: row and event record are of one moment, so an index is labelled
 * with the version it really has. Every body is hashed when it comes back.
 *
 * Failure: no answer = unknown (ERR_TIMEOUT), an error = Redis said no (ERR_IO, with its words). */
#include "prefetch/store.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "fanout/event.h"
#include "proto/keys.h"

/* A publish may join one full set of drafts to one full set of current cohorts; see
 * on_draft_written. */
#define ROWS_READ_MAX (2 * BUNDLE_COHORTS_MAX)

struct op {                /* one store_ call under way */
        unsigned to_come;  /* replies */
        bool cut_short;    /* a transaction that could not be sent whole */
        char refused[160]; /* what Redis said to the first command it did not take */
        struct redis *redis;
        char key[KEY_MAX + 1];          /* drafts key (put) */
        char replaced_key[KEY_MAX + 1]; /* put */
        char event[EVENT_ID_MAX + 1];
        uint64_t version; /* index: at least this one */
        struct bundle_row row;
        store_done_fn *done;
        store_index_fn *index_done;
        store_body_fn *body_done;
        void *owner;
        void (*finish)(struct op *op, const struct redis_reply *reply);
};

struct step {
        int argc;
        const char *argv[4];
        size_t lens[4];
};

static struct step step_of(const char *a, const char *b, const char *c, const char *d)
{
        const char *const given[] = { a, b, c, d };
        struct step step = { 0 };

        for (int i = 0; i < 4 && given[i] != NULL; i++) {
                step.argv[i] = given[i];
                step.lens[i] = strlen(given[i]);
                step.argc = i + 1;
        }
        return step;
}

static struct op *op_create(struct redis *redis, const char *event, void *owner)
{
        struct op *op = calloc(1, sizeof(*op));

        if (op == NULL)
                return NULL;
        check(strlen(event) <= EVENT_ID_MAX);
        strcpy(op->event, event);
        op->redis = redis;
        op->owner = owner;
        return op;
}

static void on_reply(void *owner, const struct redis_reply *reply)
{
        struct op *op = owner;

        if (reply != NULL && redis_type(reply) == REDIS_ERROR && op->refused[0] == '\0')
                snprintf(op->refused, sizeof(op->refused), "%s", redis_text(reply, NULL));
        if (--op->to_come > 0)
                return;
        op->finish(op, reply);
        free(op);
}

static enum err send_step(struct op *op, const struct step *step)
{
        enum err err = redis_command(op->redis, on_reply, op, step->argc, step->argv, step->lens);

        if (err == OK)
                op->to_come++;
        return err;
}

/* Takes `op`: it is freed here on an error, else after its last reply. */
static enum err run(struct op *op, const struct step *steps, size_t n)
{
        const struct step discard = step_of("DISCARD", NULL, NULL, NULL);
        enum err err = OK;

        for (size_t i = 0; i < n && err == OK; i++)
                err = send_step(op, &steps[i]);
        if (err == OK)
                return OK;
        if (op->to_come == 0) {
                free(op);
                return err;
        }
        /* No memory half way: the transaction must not stay open, for it would swallow what others
         * send. If even this cannot be sent, the link is breaking, and the transaction with it. */
        op->cut_short = true;
        if (send_step(op, &discard) != OK)
                log_error("PREFETCH-DISCARD-FAILED", "event=%s", op->event);
        return OK;
}

/* The answer's array of `n` members, none of them an error; else *ret_err and a sentence in
 * *ret_why. */
static bool transaction_is_good(struct op *op, const struct redis_reply *reply, size_t n,
                                enum err *ret_err, const char **ret_why)
{
        if (reply == NULL) {
                *ret_err = ERR_TIMEOUT;
                *ret_why = "Redis did not answer in time";
                return false;
        }
        for (size_t i = 0; i < redis_count(reply) && op->refused[0] == '\0'; i++) {
                const struct redis_reply *member = redis_at(reply, i);

                if (redis_type(member) == REDIS_ERROR)
                        snprintf(op->refused, sizeof(op->refused), "%s", redis_text(member, NULL));
        }
        if (op->cut_short) {
                *ret_err = ERR_NOMEM;
                *ret_why = "out of memory";
                return false;
        }
        if (op->refused[0] != '\0' || redis_type(reply) != REDIS_ARRAY || redis_count(reply) != n) {
                *ret_err = ERR_IO;
                *ret_why = op->refused[0] != '\0' ? op->refused : "Redis gave an unexpected answer";
                return false;
        }
        return true;
}

/* --- drafts in ----------------------------------------------------------------------------- */

static const char too_many[] = "an event has at most 20000 cohorts";

/* At `i` of the answer: how many drafts there are, how many current rows, and whether the cohort is
 * among these. A cohort that is new to a full set of current ones is too many as well. */
static bool is_too_many(const struct redis_reply *reply, size_t i, int64_t drafts_more)
{
        return redis_integer(redis_at(reply, i)) + drafts_more > BUNDLE_COHORTS_MAX ||
               (redis_integer(redis_at(reply, i + 1)) >= BUNDLE_COHORTS_MAX &&
                redis_integer(redis_at(reply, i + 2)) == 0);
}

/* A row that named this body is gone: sweeper.h. If the note gets lost, the body stays. */
static void note_replaced(const struct op *op, const char *sha256)
{
        char now[24];
        const char *const argv[] = { "HSET", op->replaced_key, sha256, now };

        snprintf(now, sizeof(now), "%" PRId64, clock_wall_ms());
        if (redis_command(op->redis, NULL, NULL, countof(argv), argv, NULL) != OK)
                log_debug("PREFETCH-NOTE-LOST", "sha256=%s", sha256);
}

/* `row`: the draft whose place this one took, nil if there was none. */
static void note_draft_before(const struct op *op, const struct redis_reply *row)
{
        struct bundle_row before;
        size_t len;
        const char *text = redis_text(row, &len);

        if (redis_type(row) == REDIS_STRING &&
            bundle_row_parse(op->row.cohort, text, len, &before) == OK &&
            strcmp(before.sha256, op->row.sha256) != 0)
                note_replaced(op, before.sha256);
}

/* Over the limit is only known once the row is in: counting first would let two writers pass
 * together. */
static void on_draft_written(struct op *op, const struct redis_reply *reply)
{
        enum err err;
        const char *why;

        if (!transaction_is_good(op, reply, 7, &err, &why)) {
                op->done(op->owner, err, why);
                return;
        }
        note_draft_before(op, redis_at(reply, 1));
        if (is_too_many(reply, 3, 0)) {
                const char *const argv[] = { "HDEL", op->key, op->row.cohort };

                note_replaced(op, op->row.sha256);
                if (redis_command(op->redis, NULL, NULL, 3, argv, NULL) != OK)
                        log_warn("PREFETCH-DRAFT-LEFT", "event=%s cohort=%s", op->event,
                                 op->row.cohort);
                op->done(op->owner, ERR_TOO_LARGE, too_many);
                return;
        }
        op->done(op->owner, OK, "");
}

static void on_draft_checked(struct op *op, const struct redis_reply *reply)
{
        enum err err;
        const char *why;

        if (!transaction_is_good(op, reply, 4, &err, &why))
                op->done(op->owner, err, why);
        else if (is_too_many(reply, 1, redis_integer(redis_at(reply, 0)) == 0))
                op->done(op->owner, ERR_TOO_LARGE, too_many);
        else
                op->done(op->owner, OK, "");
}

enum err store_check_draft(struct redis *redis, const char *ns, const char *event,
                           const char *cohort, store_done_fn *done, void *owner)
{
        char bundles_key[KEY_MAX + 1];
        struct op *op = op_create(redis, event, owner);

        if (op == NULL)
                return ERR_NOMEM;
        op->done = done;
        op->finish = on_draft_checked;
        key_format(op->key, ns, KEY_DRAFTS, event);
        key_format(bundles_key, ns, KEY_BUNDLES, event);
        const struct step steps[] = {
                step_of("MULTI", NULL, NULL, NULL),
                step_of("HEXISTS", op->key, cohort, NULL),
                step_of("HLEN", op->key, NULL, NULL),
                step_of("HLEN", bundles_key, NULL, NULL),
                step_of("HEXISTS", bundles_key, cohort, NULL),
                step_of("EXEC", NULL, NULL, NULL),
        };

        return run(op, steps, countof(steps));
}

enum err store_put_draft(struct redis *redis, const char *ns, const char *event,
                         const struct bundle_row *row, const void *body, store_done_fn *done,
                         void *owner)
{
        char body_key[KEY_MAX + 1], bundles_key[KEY_MAX + 1];
        char text[sizeof(*row)];
        struct op *op = op_create(redis, event, owner);

        if (op == NULL)
                return ERR_NOMEM;
        op->row = *row;
        op->done = done;
        op->finish = on_draft_written;
        key_format(op->key, ns, KEY_DRAFTS, event);
        key_format(bundles_key, ns, KEY_BUNDLES, event);
        key_format(body_key, ns, KEY_BODY, row->sha256);
        key_format(op->replaced_key, ns, KEY_REPLACED, NULL);
        bundle_row_format(row, text, sizeof(text));
        struct step steps[] = {
                step_of("MULTI", NULL, NULL, NULL),
                step_of("SET", body_key, NULL, NULL),
                step_of("HGET", op->key, op->row.cohort, NULL),
                step_of("HSET", op->key, op->row.cohort, text),
                step_of("HLEN", op->key, NULL, NULL),
                step_of("HLEN", bundles_key, NULL, NULL),
                step_of("HEXISTS", bundles_key, op->row.cohort, NULL),
                step_of("HDEL", op->replaced_key, op->row.sha256, NULL),
                step_of("EXEC", NULL, NULL, NULL),
        };

        steps[1].argv[2] = row->size > 0 ? body : "";
        steps[1].lens[2] = row->size;
        steps[1].argc = 3;
        return run(op, steps, countof(steps));
}

/* --- rows out ------------------------------------------------------------------------------ */

/* From the flat name, value, name, value of HGETALL. A row that does not parse is left out, so that
 * one bad row costs one cohort and not the event. NULL = no memory. */
static struct bundle_index *index_from(const char *event, uint64_t version,
                                       const struct redis_reply *pairs)
{
        size_t n = redis_count(pairs) / 2, kept = 0;
        struct bundle_row *rows = calloc(n > 0 ? n : 1, sizeof(*rows));
        struct bundle_index *index;

        if (rows == NULL)
                return NULL;
        for (size_t i = 0; i < n; i++) {
                size_t len;
                const char *cohort = redis_text(redis_at(pairs, 2 * i), NULL);
                const char *text = redis_text(redis_at(pairs, 2 * i + 1), &len);

                if (bundle_row_parse(cohort, text, len, &rows[kept]) == OK)
                        kept++;
                else
                        log_error("PREFETCH-ROW-INVALID", "event=%s cohort=%s", event,
                                  log_quote(cohort));
        }
        index = bundle_index_create(event, version, rows, kept);
        free(rows);
        return index;
}

static void give_index(struct op *op, uint64_t version, const struct redis_reply *pairs)
{
        struct bundle_index *index;

        if (redis_count(pairs) / 2 > ROWS_READ_MAX) {
                op->index_done(op->owner, ERR_TOO_LARGE, NULL);
                return;
        }
        index = index_from(op->event, version, pairs);
        op->index_done(op->owner, index != NULL ? OK : ERR_NOMEM, index);
        bundle_index_unref(index);
}

static void on_index_read(struct op *op, const struct redis_reply *reply)
{
        struct event event;
        enum err err;
        const char *why, *record;
        size_t len;

        if (!transaction_is_good(op, reply, 2, &err, &why)) {
                if (err == ERR_IO)
                        log_error("PREFETCH-READ-REFUSED", "event=%s why=%s", op->event,
                                  log_quote(why));
                op->index_done(op->owner, err, NULL);
                return;
        }
        record = redis_text(redis_at(reply, 0), &len);
        if (redis_type(redis_at(reply, 0)) != REDIS_STRING ||
            redis_count(redis_at(reply, 1)) == 0) {
                op->index_done(op->owner, ERR_NOT_FOUND, NULL);
                return;
        }
        err = event_parse(record, len, &event);
        if (err == OK && event.state.bundle < op->version)
                err = ERR_CONFLICT;
        if (err != OK)
                op->index_done(op->owner, err == ERR_INVALID ? ERR_IO : err, NULL);
        else
                give_index(op, event.state.bundle, redis_at(reply, 1));
}

enum err store_read_index(struct redis *redis, const char *ns, const char *event, uint64_t version,
                          store_index_fn *done, void *owner)
{
        char events_key[KEY_MAX + 1], bundles_key[KEY_MAX + 1];
        struct op *op = op_create(redis, event, owner);

        if (op == NULL)
                return ERR_NOMEM;
        op->version = version;
        op->index_done = done;
        op->finish = on_index_read;
        key_format(events_key, ns, KEY_EVENTS, NULL);
        key_format(bundles_key, ns, KEY_BUNDLES, event);
        const struct step steps[] = {
                step_of("MULTI", NULL, NULL, NULL),
                step_of("HGET", events_key, op->event, NULL),
                step_of("HGETALL", bundles_key, NULL, NULL),
                step_of("EXEC", NULL, NULL, NULL),
        };

        return run(op, steps, countof(steps));
}

static void on_drafts_read(struct op *op, const struct redis_reply *reply)
{
        if (reply == NULL || redis_type(reply) != REDIS_ARRAY)
                op->index_done(op->owner, reply == NULL ? ERR_TIMEOUT : ERR_IO, NULL);
        else
                give_index(op, 0, reply);
}

enum err store_read_drafts(struct redis *redis, const char *ns, const char *event,
                           store_index_fn *done, void *owner)
{
        struct op *op = op_create(redis, event, owner);
        struct step step;

        if (op == NULL)
                return ERR_NOMEM;
        op->index_done = done;
        op->finish = on_drafts_read;
        key_format(op->key, ns, KEY_DRAFTS, event);
        step = step_of("HGETALL", op->key, NULL, NULL);
        return run(op, &step, 1);
}

/* --- bodies out ---------------------------------------------------------------------------- */

static void on_body_read(struct op *op, const struct redis_reply *reply)
{
        char sha256[BUNDLE_SHA_TEXT + 1];
        struct blob *body;
        const char *bytes;
        size_t len;

        if (reply == NULL || redis_type(reply) != REDIS_STRING) {
                op->body_done(op->owner,
                              reply == NULL                    ? ERR_TIMEOUT
                              : redis_type(reply) == REDIS_NIL ? ERR_NOT_FOUND
                                                               : ERR_IO,
                              NULL);
                return;
        }
        bytes = redis_text(reply, &len);
        bundle_sha256(bytes, len, sha256);
        if (len != op->row.size || strcmp(sha256, op->row.sha256) != 0) {
                op->body_done(op->owner, ERR_MISMATCH, NULL);
                return;
        }
        body = blob_create(bytes, len);
        op->body_done(op->owner, body != NULL ? OK : ERR_NOMEM, body);
        blob_unref(body);
}

enum err store_read_body(struct redis *redis, const char *ns, const struct bundle_row *row,
                         store_body_fn *done, void *owner)
{
        char key[KEY_MAX + 1];
        struct op *op = op_create(redis, "", owner);
        struct step step;

        if (op == NULL)
                return ERR_NOMEM;
        op->row = *row;
        op->body_done = done;
        op->finish = on_body_read;
        key_format(key, ns, KEY_BODY, row->sha256);
        step = step_of("GET", key, NULL, NULL);
        return run(op, &step, 1);
}
