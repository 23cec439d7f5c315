/* tests/sim/model_redis.c -- every change is one line of the journal and one call of apply(), so a
 * state read back from a part of the journal is by construction what it was then. */
#include "tests/sim/model_redis.h"

#include <stdlib.h>
#include <string.h>

struct model {
        struct model_op **journal;
        size_t n_journal, journal_size;
        struct model_data data; /* follows from the journal */
};

#define push(list, n, size, element)                                          \
        do {                                                                  \
                if ((n) == (size)) {                                          \
                        (size) = (size) > 0 ? (size)*2 : 64;                  \
                        (list) = realloc((list), (size) * sizeof((list)[0])); \
                        check((list) != NULL);                                \
                }                                                             \
                (list)[(n)++] = (element);                                    \
        } while (0)

struct model *model_create(void)
{
        struct model *model = calloc(1, sizeof(*model));

        check(model != NULL);
        return model;
}

/* --- records and lines ---------------------------------------------------------------------- */

struct model_record *model_record_create(const char *event, const char *text, uint64_t epoch,
                                         uint64_t version)
{
        struct model_record *record = calloc(1, sizeof(*record));

        check(record != NULL);
        record->refs = 1;
        strcpy(record->event, event);
        record->text = strdup(text);
        check(record->text != NULL);
        record->epoch = epoch;
        record->version = version;
        return record;
}

struct model_record *model_record_ref(struct model_record *record)
{
        record->refs++;
        return record;
}

void model_record_unref(struct model_record *record)
{
        if (record == NULL || --record->refs > 0)
                return;
        free(record->text);
        free(record->parsed);
        free(record);
}

static void unref_line(struct model_op *op)
{
        if (--op->refs > 0)
                return;
        entry_unref(op->entry);
        model_record_unref(op->record);
        model_record_unref(op->before);
        for (size_t i = 0; i < op->n_records; i++)
                model_record_unref(op->records[i]);
        free(op->records);
        free(op->body);
        free(op);
}

static void free_lines(struct model *model, size_t down_to)
{
        while (model->n_journal > down_to)
                unref_line(model->journal[--model->n_journal]);
}

void model_destroy(struct model *model)
{
        if (model == NULL)
                return;
        free_lines(model, 0);
        free(model->journal);
        free(model->data.log);
        free(model->data.events);
        free(model->data.requests);
        free(model);
}

/* --- what a line does ----------------------------------------------------------------------- */

const struct model_data *model_data(const struct model *model)
{
        return &model->data;
}

static void forget_below(struct model_data *data, seqno below)
{
        size_t gone = 0;

        while (gone < data->n_log && data->log[gone]->token.seq < below)
                gone++;
        if (gone == 0)
                return;
        data->n_log -= gone;
        memmove(data->log, data->log + gone, data->n_log * sizeof(data->log[0]));
}

size_t model_find_event(const struct model_data *data, const char *event)
{
        size_t i = 0;

        while (i < data->n_events && strcmp(data->events[i]->event, event) != 0)
                i++;
        return i;
}

size_t model_find_draft(const struct model_data *data, const char *event)
{
        size_t i = 0;

        while (i < data->n_drafts && strcmp(data->drafts[i]->event, event) != 0)
                i++;
        return i;
}

static void set_event(struct model_data *data, struct model_record *record)
{
        size_t i = model_find_event(data, record->event);

        if (i < data->n_events)
                data->events[i] = record;
        else
                push(data->events, data->n_events, data->events_size, record);
}

static void apply_append(struct model_data *data, struct model_op *op)
{
        size_t draft = model_find_draft(data, op->event);

        push(data->log, data->n_log, data->log_size, op);
        data->n_audits++;
        set_event(data, op->record);
        if (op->held && !data->has_mark) {
                data->mark = data->meta.seq;
                data->mark_tag = data->meta.tag;
        }
        data->has_mark = op->held;
        data->meta = op->token;
        if (op->key[0] != '\0')
                push(data->requests, data->n_requests, data->requests_size, op);
        if (op->publish && draft < data->n_drafts)
                data->drafts[draft] = data->drafts[--data->n_drafts];
        forget_below(data, op->trim_below);
}

static void apply_renew(struct model_data *data, struct model_op *op)
{
        data->n_log = 0;
        data->meta = op->token;
        data->parent = op->parent;
        data->has_mark = false;
        for (size_t i = 0; i < op->n_records; i++)
                set_event(data, op->records[i]);
}

static void apply(struct model_data *data, struct model_op *op)
{
        switch (op->kind) {
        case MODEL_APPEND:
                apply_append(data, op);
                break;
        case MODEL_RELEASE:
                data->has_mark = true;
                data->mark = op->token.seq;
                data->mark_tag = op->token.tag;
                break;
        case MODEL_RENEW:
                apply_renew(data, op);
                break;
        case MODEL_TOUCH:
                break;
        case MODEL_DRAFT:
                if (model_find_draft(data, op->event) == data->n_drafts) {
                        check(data->n_drafts < countof(data->drafts));
                        data->drafts[data->n_drafts++] = op;
                }
                break;
        case MODEL_TRIM:
                forget_below(data, op->trim_below);
                break;
        case MODEL_WIPE:
                data->n_log = data->n_events = data->n_requests = data->n_drafts = 0;
                data->n_audits = 0;
                data->meta = (struct token){ .epoch = 0 };
                break;
        case MODEL_LOSE_META:
                data->meta = (struct token){ .epoch = 0 };
                break;
        }
}

/* --- the journal ---------------------------------------------------------------------------- */

struct model_op *model_write(struct model *model, const struct model_op *line)
{
        struct model_op *op = malloc(sizeof(*op));

        check(op != NULL);
        *op = *line;
        op->refs = 1;
        push(model->journal, model->n_journal, model->journal_size, op);
        apply(&model->data, op);
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
        struct model_data *data = &model->data;

        check(lines <= model->n_journal);
        if (lines == model->n_journal)
                return;
        data->n_log = data->n_events = data->n_requests = data->n_drafts = data->n_audits = 0;
        data->meta = (struct token){ .epoch = 0 };
        data->has_mark = false;
        for (size_t i = 0; i < lines; i++)
                apply(data, model->journal[i]);
        free_lines(model, lines);
}

void model_follow(struct model *model, const struct model *other, size_t i)
{
        struct model_op *op = model_line(other, i);

        check(model->n_journal == i);
        op->refs++;
        push(model->journal, model->n_journal, model->journal_size, op);
        apply(&model->data, op);
}

size_t model_common(const struct model *a, const struct model *b)
{
        size_t n = 0;

        while (n < a->n_journal && n < b->n_journal && a->journal[n] == b->journal[n])
                n++;
        return n;
}

/* --- what else may happen ------------------------------------------------------------------- */

void model_touch(struct model *model)
{
        model_write(model, &(struct model_op){ .kind = MODEL_TOUCH });
}

void model_draft(struct model *model, const char *event)
{
        struct model_op line = { .kind = MODEL_DRAFT };

        strcpy(line.event, event);
        model_write(model, &line);
}

void model_trim(struct model *model, seqno below)
{
        model_write(model, &(struct model_op){ .kind = MODEL_TRIM, .trim_below = below });
}

void model_wipe(struct model *model)
{
        model_write(model, &(struct model_op){ .kind = MODEL_WIPE });
}

void model_lose_meta(struct model *model)
{
        model_write(model, &(struct model_op){ .kind = MODEL_LOSE_META });
}
