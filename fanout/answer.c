/* fanout/answer.c -- replies of Redis into our terms; decides nothing. */
#include "fanout/answer.h"

#include <stdio.h>
#include <string.h>

static bool take_seq(const char *text, size_t len, seqno *out)
{
        seqno seq = 0;

        if (len == 0 || len > 16 || (len > 1 && text[0] == '0'))
                return false;
        for (size_t i = 0; i < len; i++) {
                if (text[i] < '0' || text[i] > '9')
                        return false;
                seq = seq * 10 + (seqno)(text[i] - '0');
        }
        *out = seq;
        return seq <= SEQNO_MAX;
}

void answer_witness(const struct token *held, struct witness *ret_witness)
{
        *ret_witness = (struct witness){ .seq = "0" };
        if (held->epoch == 0)
                return;
        token_hex(held->epoch, ret_witness->epoch);
        token_hex(held->tag, ret_witness->tag);
        snprintf(ret_witness->seq, sizeof(ret_witness->seq), "%llu", (unsigned long long)held->seq);
}

enum err answer_place(const struct redis_reply *reply, size_t from, struct place *ret_place)
{
        struct place place = { 0 };
        struct token *token = &place.token;
        size_t epoch_len, seq_len, tag_len, parent_len;

        if (redis_count(reply) < from + ANSWER_PLACE_MEMBERS)
                return ERR_INVALID;

        const char *epoch = redis_text(redis_at(reply, from), &epoch_len);
        const char *seq = redis_text(redis_at(reply, from + 1), &seq_len);
        const char *tag = redis_text(redis_at(reply, from + 2), &tag_len);
        const char *parent = redis_text(redis_at(reply, from + 3), &parent_len);

        if (epoch_len > 0 && (token_parse_hex(epoch, epoch_len, &token->epoch) != OK ||
                              token_parse_hex(tag, tag_len, &token->tag) != OK ||
                              !take_seq(seq, seq_len, &token->seq) || token->epoch == 0))
                return ERR_INVALID;
        if (parent_len > 0 && token_parse_hex(parent, parent_len, &place.parent) != OK)
                return ERR_INVALID;
        *ret_place = place;
        return OK;
}

enum err answer_entry(const struct redis_reply *reply, uint64_t epoch, struct entry **ret_entry)
{
        const struct redis_reply *fields = redis_at(reply, 1);
        const char *tag = NULL, *prev = NULL, *body = NULL, *record = NULL;
        size_t id_len, body_len = 0;
        seqno seq;

        if (fields == NULL)
                return ERR_INVALID;

        const char *id = redis_text(redis_at(reply, 0), &id_len);

        if (id_len < 3 || strcmp(id + id_len - 2, "-0") != 0 || !take_seq(id, id_len - 2, &seq))
                return ERR_INVALID;
        for (size_t i = 0; i + 1 < redis_count(fields); i += 2) {
                const char *name = redis_text(redis_at(fields, i), NULL);
                size_t len;
                const char *value = redis_text(redis_at(fields, i + 1), &len);

                if (strcmp(name, "tag") == 0) {
                        tag = value;
                } else if (strcmp(name, "prev") == 0) {
                        prev = value;
                } else if (strcmp(name, "body") == 0) {
                        body = value;
                        body_len = len;
                } else if (strcmp(name, "record") == 0) {
                        record = value;
                }
        }
        if (tag == NULL || prev == NULL || body == NULL)
                return ERR_INVALID;
        return entry_parse_fields(epoch, seq, tag, prev, body, body_len, record, ret_entry);
}

bool answer_is_error(const struct redis_reply *reply)
{
        return reply != NULL && redis_type(reply) == REDIS_ERROR;
}

bool answer_lacks_function(const struct redis_reply *reply)
{
        return answer_is_error(reply) &&
               strstr(redis_text(reply, NULL), "Function not found") != NULL;
}
