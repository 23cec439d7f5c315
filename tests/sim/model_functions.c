/* tests/sim/model_functions.c -- the functions of kickoff.lua, one by one, in its order of steps.
 */
#include "tests/sim/model_redis.h"

#include <stdlib.h>
#include <string.h>

#define TRIM_EVERY 256 /* as in kickoff.lua */
#define TRIM_STEP  512

/* --- places --------------------------------------------------------------------------------- */

static seqno mark_of(const struct model_data *data)
{
        return data->has_mark ? data->mark : data->meta.seq;
}

static const struct model_op *entry_at(const struct model_data *data, seqno seq)
{
        for (size_t i = data->n_log; i > 0 && data->log[i - 1]->token.seq >= seq; i--) {
                if (data->log[i - 1]->token.seq == seq)
                        return data->log[i - 1];
        }
        return NULL;
}

/* Of one epoch. */
static bool has_lost(const struct model_data *data, const struct token *witness)
{
        const struct model_op *entry;

        if (witness->seq >= data->meta.seq)
                return witness->seq > data->meta.seq || witness->tag != data->meta.tag;
        entry = entry_at(data, witness->seq);
        if (entry != NULL)
                return entry->token.tag != witness->tag;
        entry = entry_at(data, witness->seq + 1);
        return entry != NULL && entry->prev != witness->tag;
}

static bool has_for_certain(const struct model_data *data, const struct token *place)
{
        const struct model_op *entry = entry_at(data, place->seq);

        if (place->seq == data->meta.seq)
                return place->tag == data->meta.tag;
        return entry != NULL && entry->token.tag == place->tag;
}

static bool same_epoch(const struct model_data *data, const struct token *witness)
{
        return data->meta.epoch != 0 && witness->epoch == data->meta.epoch;
}

struct place model_head(const struct model *model, const struct token *witness)
{
        const struct model_data *data = model_data(model);
        struct place place = { .token = data->meta };

        if (data->meta.epoch == 0)
                return (struct place){ .parent = 0 };
        place.parent = data->parent;
        if (data->has_mark) {
                place.token.seq = data->mark;
                place.token.tag = data->mark_tag;
        }
        if (same_epoch(data, witness) && witness->seq > place.token.seq && !has_lost(data, witness))
                place.token = *witness;
        return place;
}

/* --- reading -------------------------------------------------------------------------------- */

/* The event's record without the changes beyond `place_seq`; NULL = none. */
static struct model_record *visible(const struct model_data *data, const char *event,
                                    seqno place_seq)
{
        size_t i = model_find_event(data, event);
        struct model_record *record = i < data->n_events ? data->events[i] : NULL;

        if (data->meta.epoch == 0)
                return record;
        for (i = data->n_log; i > 0 && data->log[i - 1]->token.seq > place_seq; i--) {
                if (strcmp(data->log[i - 1]->event, event) == 0)
                        record = data->log[i - 1]->before;
        }
        return record;
}

size_t model_state(const struct model *model, const struct token *witness, size_t max,
                   struct model_record *ret_records[], bool *ret_lost)
{
        const struct model_data *data = model_data(model);
        seqno place_seq = model_head(model, witness).token.seq;
        size_t n = 0;

        *ret_lost = same_epoch(data, witness) && has_lost(data, witness);
        for (size_t i = 0; i < data->n_events && n < max; i++) {
                struct model_record *record = visible(data, data->events[i]->event, place_seq);

                if (record != NULL)
                        ret_records[n++] = record;
        }
        return n;
}

size_t model_range(const struct model *model, seqno from, seqno to, size_t max,
                   const struct token *witness, struct model_op *ret_ops[])
{
        const struct model_data *data = model_data(model);
        seqno end = model_head(model, witness).token.seq;
        size_t n = 0;

        for (size_t i = 0; i < data->n_log && n < max; i++) {
                seqno seq = data->log[i]->token.seq;

                if (seq >= from && seq <= to && seq <= end)
                        ret_ops[n++] = data->log[i];
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

static struct model_op *find_request(const struct model_data *data, const char *key, bool *ret_held)
{
        uint64_t key_hash = hash(key);

        for (size_t i = 0; i < data->n_requests; i++) {
                struct model_op *op = data->requests[i];

                if (op->key_hash == key_hash && strcmp(op->key, key) == 0) {
                        *ret_held = same_epoch(data, &op->token) && op->token.seq > mark_of(data);
                        return op;
                }
        }
        return NULL;
}

void model_lookup(const struct model *model, const char *event, const char *key,
                  struct model_record **ret_record, struct model_op **ret_request, bool *ret_held)
{
        const struct model_data *data = model_data(model);
        size_t i = model_find_event(data, event);

        *ret_held = false;
        *ret_record = i < data->n_events ? data->events[i] : NULL;
        *ret_request = key != NULL ? find_request(data, key, ret_held) : NULL;
}

struct token model_tail(const struct model *model, bool *ret_held)
{
        const struct model_data *data = model_data(model);

        *ret_held = data->meta.epoch != 0 && mark_of(data) < data->meta.seq;
        return data->meta.epoch != 0 ? data->meta : (struct token){ .epoch = 0 };
}

/* --- append and release --------------------------------------------------------------------- */

static seqno where_to_trim(const struct model_data *data, const struct model_append *append,
                           seqno seq)
{
        seqno first = data->n_log > 0 ? data->log[0]->token.seq : seq;
        seqno below = first + TRIM_STEP;
        size_t at = 0;

        if (seq % TRIM_EVERY != 0)
                return 0;
        if (append->held) /* what is held back must stay */
                seq = mark_of(data);
        if (seq < append->keep_entries)
                below = 0;
        else if (seq - append->keep_entries < below)
                below = seq - append->keep_entries;
        while (at < data->n_log && data->log[at]->token.seq < below)
                at++;
        if (at == 0 || at == data->n_log) /* nothing before it; or only the new one, kept */
                return 0;
        return data->log[at]->sent < append->now - append->keep_ms ? data->log[at]->token.seq : 0;
}

static struct model_op *write_append(struct model *model, const struct model_append *append,
                                     struct model_record *before)
{
        const struct model_data *data = model_data(model);
        struct token token = { data->meta.epoch, data->meta.seq + 1, append->tag };
        struct model_op line = { .kind = MODEL_APPEND,
                                 .token = token,
                                 .prev = data->meta.tag,
                                 .record = model_record_ref(append->record),
                                 .before = before != NULL ? model_record_ref(before) : NULL,
                                 .held = append->held,
                                 .sent = append->sent,
                                 .publish = append->publish };

        strcpy(line.event, append->event);
        if (append->fingerprint[0] != '\0') {
                strcpy(line.key, append->key);
                line.key_hash = hash(line.key);
                strcpy(line.fingerprint, append->fingerprint);
        }
        line.body = strdup(append->body);
        check(line.body != NULL);
        line.trim_below = where_to_trim(data, append, token.seq);
        return model_write(model, &line);
}

enum model_answer model_append(struct model *model, const struct model_append *append,
                               struct model_op **ret_op, struct model_record **ret_record)
{
        const struct model_data *data = model_data(model);
        bool is_held = false;
        struct model_op *known =
            append->fingerprint[0] != '\0' ? find_request(data, append->key, &is_held) : NULL;
        size_t i = model_find_event(data, append->event);
        struct model_record *there = i < data->n_events ? data->events[i] : NULL;

        if (known != NULL && strcmp(known->fingerprint, append->fingerprint) != 0)
                return MODEL_MISMATCH;
        if (known != NULL) {
                *ret_op = known;
                return is_held ? MODEL_REPLAYED_HELD : MODEL_REPLAYED;
        }
        if (append->witness.epoch == 0 || !same_epoch(data, &append->witness))
                return MODEL_MOVED;
        if (has_lost(data, &append->witness))
                return MODEL_LOST;
        if (!append->held && mark_of(data) < data->meta.seq)
                return MODEL_MIXED;
        if ((there != NULL ? there->version : 0) != append->expected) {
                *ret_record = there;
                return MODEL_STALE;
        }
        if (there == NULL && data->n_events >= append->events_max)
                return MODEL_FULL;
        if (append->publish && model_find_draft(data, append->event) == data->n_drafts)
                return MODEL_NODRAFTS;
        *ret_op = write_append(model, append, there);
        return append->held ? MODEL_HELD : MODEL_COMMITTED;
}

bool model_release(struct model *model, const struct token *token, size_t *ret_n)
{
        const struct model_data *data = model_data(model);
        seqno mark = mark_of(data);

        *ret_n = 0;
        if (!same_epoch(data, token) || !has_for_certain(data, token))
                return false;
        if (token->seq <= mark)
                return true;
        for (size_t i = 0; i < data->n_log; i++)
                *ret_n += data->log[i]->token.seq > mark && data->log[i]->token.seq <= token->seq;
        model_write(model, &(struct model_op){ .kind = MODEL_RELEASE, .token = *token });
        return true;
}

/* --- renew ---------------------------------------------------------------------------------- */

static bool is_newer(const struct model_record *record, const struct model_record *than)
{
        unsigned a, b;

        if (than == NULL)
                return true;
        a = token_generation(record->epoch);
        b = token_generation(than->epoch);
        return a > b || (a == b && record->version > than->version);
}

static bool is_intact(const struct model_data *data, const struct token *witness, size_t n_newer)
{
        if (data->meta.epoch == 0)
                return false;
        if (same_epoch(data, witness))
                return !has_lost(data, witness) && n_newer == 0;
        return n_newer == 0 && (witness->epoch == 0 || token_generation(data->meta.epoch) >
                                                           token_generation(witness->epoch));
}

static uint64_t parent_of(const struct model_data *data, const struct token *witness)
{
        if (data->meta.epoch == 0)
                return 0;
        return witness->epoch != 0 &&
                       token_generation(witness->epoch) >= token_generation(data->meta.epoch)
                   ? witness->epoch
                   : data->meta.epoch;
}

static unsigned at_least(unsigned generation, uint64_t epoch)
{
        return token_generation(epoch) > generation ? token_generation(epoch) : generation;
}

/* Of a later generation than all that is known; 0: there is none. */
static uint64_t later_epoch(const struct model_data *data, const struct model_renew *renew,
                            const struct model_op *line)
{
        unsigned last = at_least(token_generation(data->meta.epoch), renew->witness.epoch);

        if (token_generation(renew->fresh_epoch) > last + 1)
                last = token_generation(renew->fresh_epoch) - 1;
        for (size_t i = 0; i < data->n_events; i++)
                last = at_least(last, data->events[i]->epoch);
        for (size_t i = 0; i < line->n_records; i++)
                last = at_least(last, line->records[i]->epoch);
        if (last >= TOKEN_GENERATION_MAX)
                return 0;
        return (uint64_t)(last + 1) << 48 | (renew->fresh_epoch & UINT64_C(0xffffffffffff));
}

enum model_renewal model_renew(struct model *model, const struct model_renew *renew)
{
        const struct model_data *data = model_data(model);
        struct model_op line = { .kind = MODEL_RENEW,
                                 .token = { renew->fresh_epoch, 0, renew->fresh_tag } };
        seqno place_seq = model_head(model, &renew->witness).token.seq;
        enum model_renewal result = MODEL_RENEWED;

        if (data->meta.epoch != renew->expected)
                return MODEL_CHANGED;
        line.records = calloc(renew->n + 1, sizeof(line.records[0]));
        check(line.records != NULL);
        for (size_t i = 0; i < renew->n; i++) {
                struct model_record *there = visible(data, renew->records[i]->event, place_seq);

                if (is_newer(renew->records[i], there))
                        line.records[line.n_records++] = renew->records[i];
        }
        line.token.epoch = later_epoch(data, renew, &line);
        if (is_intact(data, &renew->witness, line.n_records))
                result = MODEL_INTACT;
        else if (data->meta.epoch != 0 && data->n_log > 0 &&
                 data->log[data->n_log - 1]->token.seq > place_seq)
                result = MODEL_RENEWAL_HELD;
        else if (line.token.epoch == 0)
                result = MODEL_TOO_LATE;
        if (result != MODEL_RENEWED) {
                free(line.records);
                return result;
        }
        for (size_t i = 0; i < line.n_records; i++)
                model_record_ref(line.records[i]);
        line.parent = parent_of(data, &renew->witness);
        model_write(model, &line);
        return MODEL_RENEWED;
}
