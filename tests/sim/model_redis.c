/* tests/sim/model_redis.c -- every change is one line of the journal and one call of apply(), so a
 * state read back from a part of the journal is by construction what it was then. */
#include "tests/sim/model_redis.h"

#include <stdlib.h>
#include <string.h>

#define TRIM_EVERY 256 /* as in kickoff.lua */
#define TRIM_STEP  512

struct model {
        struct model_op **journal;
        size_t n_journal, journal_size;
        /* Follows from the journal: */
        struct token meta;
        struct model_op **log, **events, **requests; /* borrowed lines; one per entry, event, key */
        size_t n_log, log_size, n_events, events_size, n_requests, requests_size;
        const struct model_op *drafts[EVENTS_MAX];
        size_t n_drafts;
};

static void push(struct model_op ***list, size_t *n, size_t *size, struct model_op *op)
{
        if (*n == *size) {
                *size = *size > 0 ? *size * 2 : 64;
                *list = realloc(*list, *size * sizeof((*list)[0]));
                check(*list != NULL);
        }
        (*list)[(*n)++] = op;
}

struct model *model_create(void)
{
        struct model *model = calloc(1, sizeof(*model));

        check(model != NULL);
        return model;
}

static void free_lines(struct model *model, size_t down_to)
{
        while (model->n_journal > down_to) {
                struct model_op *op = model->journal[--model->n_journal];

                entry_unref(op->entry);
                free(op->parsed);
                free(op->record);
                free(op->body);
                free(op);
        }
}

void model_destroy(struct model *model)
{
        if (model == NULL)
                return;
        free_lines(model, 0);
        free(model->journal);
        free(model->log);
        free(model->events);
        free(model->requests);
        free(model);
}

/* --- what a line does ----------------------------------------------------------------------- */

static void forget_below(struct model *model, seqno below)
{
        size_t gone = 0;

        while (gone < model->n_log && model->log[gone]->token.seq < below)
                gone++;
        if (gone == 0)
                return;
        model->n_log -= gone;
        memmove(model->log, model->log + gone, model->n_log * sizeof(model->log[0]));
}

static size_t find_event(const struct model *model, const char *event)
{
        size_t i = 0;

        while (i < model->n_events && strcmp(model->events[i]->event, event) != 0)
                i++;
        return i;
}

static size_t find_draft(const struct model *model, const char *event)
{
        size_t i = 0;

        while (i < model->n_drafts && strcmp(model->drafts[i]->event, event) != 0)
                i++;
        return i;
}

static void apply_append(struct model *model, struct model_op *op)
{
        size_t event = find_event(model, op->event), draft = find_draft(model, op->event);

        push(&model->log, &model->n_log, &model->log_size, op);
        if (event < model->n_events)
                model->events[event] = op;
        else
                push(&model->events, &model->n_events, &model->events_size, op);
        model->meta = op->token;
        if (op->key[0] != '\0')
                push(&model->requests, &model->n_requests, &model->requests_size, op);
        if (op->publish && draft < model->n_drafts)
                model->drafts[draft] = model->drafts[--model->n_drafts];
        forget_below(model, op->trim_below);
}

static void apply(struct model *model, struct model_op *op)
{
        if (op->opened.epoch != 0) {
                model->meta = op->opened;
                model->n_log = 0;
        }
        switch (op->kind) {
        case MODEL_OPEN:
                break;
        case MODEL_APPEND:
                apply_append(model, op);
                break;
        case MODEL_DRAFT:
                if (find_draft(model, op->event) == model->n_drafts) {
                        check(model->n_drafts < countof(model->drafts));
                        model->drafts[model->n_drafts++] = op;
                }
                break;
        case MODEL_TRIM:
                forget_below(model, op->trim_below);
                break;
        case MODEL_WIPE:
                model->n_log = model->n_events = model->n_requests = model->n_drafts = 0;
                model->meta = (struct token){ .epoch = 0 };
                break;
        case MODEL_LOSE_META:
                model->meta = (struct token){ .epoch = 0 };
                break;
        }
}

static struct model_op *write_line(struct model *model, const struct model_op *line)
{
        struct model_op *op = malloc(sizeof(*op));

        check(op != NULL);
        *op = *line;
        push(&model->journal, &model->n_journal, &model->journal_size, op);
        apply(model, op);
        return op;
}

size_t model_journal(const struct model *model)
{
        return model->n_journal;
}

struct model_op *model_line(const struct model *model, size_t i)
{
        check(i < model->n_journal);
        return model->journal[i];
}

void model_cut(struct model *model, size_t lines)
{
        check(lines <= model->n_journal);
        free_lines(model, lines);
        model->n_log = model->n_events = model->n_requests = model->n_drafts = 0;
        model->meta = (struct token){ .epoch = 0 };
        for (size_t i = 0; i < lines; i++)
                apply(model, model->journal[i]);
}

/* --- the functions -------------------------------------------------------------------------- */

struct token model_head(const struct model *model)
{
        return model->meta;
}

struct token model_open(struct model *model, uint64_t fresh_epoch, uint64_t fresh_tag)
{
        struct model_op line = { .kind = MODEL_OPEN, .opened = { fresh_epoch, 0, fresh_tag } };

        if (model->meta.epoch == 0)
                write_line(model, &line);
        return model->meta;
}

size_t model_state(const struct model *model, size_t max, const struct model_op *ret_ops[])
{
        size_t n = model->n_events < max ? model->n_events : max;

        for (size_t i = 0; i < n; i++)
                ret_ops[i] = model->events[i];
        return n;
}

size_t model_range(const struct model *model, seqno from, seqno to, size_t max,
                   struct model_op *ret_ops[])
{
        size_t n = 0;

        for (size_t i = 0; i < model->n_log && n < max; i++) {
                seqno seq = model->log[i]->token.seq;

                if (seq >= from && seq <= to)
                        ret_ops[n++] = model->log[i];
        }
        return n;
}

static uint64_t hash(const char *text)
{
        uint64_t value = UINT64_C(0xcbf29ce484222325);

        while (*text != '\0')
                value = (value ^ (uint8_t)*text++) * UINT64_C(0x100000001b3);
        return value;
}

static const struct model_op *find_request(const struct model *model, const char *key)
{
        uint64_t key_hash = hash(key);

        for (size_t i = 0; i < model->n_requests; i++) {
                if (model->requests[i]->key_hash == key_hash &&
                    strcmp(model->requests[i]->key, key) == 0)
                        return model->requests[i];
        }
        return NULL;
}

void model_lookup(const struct model *model, const char *event, const char *key,
                  const struct model_op **ret_event, const struct model_op **ret_request)
{
        size_t i = find_event(model, event);

        *ret_event = i < model->n_events ? model->events[i] : NULL;
        *ret_request = key != NULL ? find_request(model, key) : NULL;
}

static seqno where_to_trim(const struct model *model, const struct model_append *append, seqno seq)
{
        seqno first = model->n_log > 0 ? model->log[0]->token.seq : seq;
        seqno below = first + TRIM_STEP;
        size_t at = 0;

        if (seq % TRIM_EVERY != 0)
                return 0;
        if (seq < append->keep_entries)
                below = 0;
        else if (seq - append->keep_entries < below)
                below = seq - append->keep_entries;
        while (at < model->n_log && model->log[at]->token.seq < below)
                at++;
        if (at == 0 || at == model->n_log) /* nothing before it; or only the new one, kept */
                return 0;
        return model->log[at]->sent < append->now - append->keep_ms ? model->log[at]->token.seq : 0;
}

enum model_answer model_append(struct model *model, const struct model_append *append,
                               const struct model_op **ret_op)
{
        struct model_op line = { .kind = MODEL_APPEND,
                                 .version = append->version,
                                 .sent = append->sent,
                                 .publish = append->publish };
        bool has_key = append->fingerprint[0] != '\0';
        const struct model_op *known = has_key ? find_request(model, append->key) : NULL;
        const struct model_op *there, *unused;
        struct token before = model->meta;

        if (known != NULL && strcmp(known->fingerprint, append->fingerprint) != 0)
                return MODEL_MISMATCH;
        if (known != NULL) {
                *ret_op = known;
                return MODEL_REPLAYED;
        }
        model_lookup(model, append->event, NULL, &there, &unused);
        if ((there != NULL ? there->version : 0) != append->expected) {
                *ret_op = there;
                return MODEL_STALE;
        }
        if (there == NULL && model->n_events >= append->events_max)
                return MODEL_FULL;
        if (append->publish && find_draft(model, append->event) == model->n_drafts)
                return MODEL_NODRAFTS;

        if (before.epoch == 0)
                before = line.opened = (struct token){ append->fresh_epoch, 0, append->fresh_tag };
        line.token = (struct token){ before.epoch, before.seq + 1, append->tag };
        line.prev = before.tag;
        strcpy(line.event, append->event);
        if (has_key) {
                strcpy(line.key, append->key);
                line.key_hash = hash(line.key);
                strcpy(line.fingerprint, append->fingerprint);
        }
        line.record = strdup(append->record);
        line.body = strdup(append->body);
        check(line.record != NULL && line.body != NULL);
        line.trim_below = before.seq > 0 ? where_to_trim(model, append, line.token.seq) : 0;
        *ret_op = write_line(model, &line);
        return MODEL_COMMITTED;
}

/* --- what else may happen ------------------------------------------------------------------- */

void model_draft(struct model *model, const char *event)
{
        struct model_op line = { .kind = MODEL_DRAFT };

        strcpy(line.event, event);
        write_line(model, &line);
}

void model_trim(struct model *model, seqno below)
{
        write_line(model, &(struct model_op){ .kind = MODEL_TRIM, .trim_below = below });
}

void model_wipe(struct model *model)
{
        write_line(model, &(struct model_op){ .kind = MODEL_WIPE });
}

void model_lose_meta(struct model *model)
{
        write_line(model, &(struct model_op){ .kind = MODEL_LOSE_META });
}
