/* tests/sim/history.c -- an array in order of time, and a hash table over the tags. */
#include "tests/sim/history.h"

#include <stdlib.h>
#include <string.h>

#include "base/check.h"

void history_init(struct history *history)
{
        *history = (struct history){ .n_slots = 256 };
        history->by_tag = calloc(history->n_slots, sizeof(history->by_tag[0]));
        check(history->by_tag != NULL);
}

void history_fini(struct history *history)
{
        free(history->pasts);
        free(history->by_tag);
}

static void enter(struct history *history, unsigned index)
{
        uint32_t slot = (uint32_t)history->pasts[index].token.tag & (history->n_slots - 1);

        while (history->by_tag[slot] != 0)
                slot = (slot + 1) & (history->n_slots - 1);
        history->by_tag[slot] = index + 1;
}

unsigned history_add(struct history *history, const struct past *past)
{
        if (history->n == history->size) {
                history->size = history->size > 0 ? history->size * 2 : 128;
                history->pasts = realloc(history->pasts, history->size * sizeof(history->pasts[0]));
                check(history->pasts != NULL);
        }
        history->pasts[history->n++] = *past;
        if (history->n * 2 > history->n_slots) {
                free(history->by_tag);
                history->n_slots *= 2;
                history->by_tag = calloc(history->n_slots, sizeof(history->by_tag[0]));
                check(history->by_tag != NULL);
                for (unsigned i = 0; i < history->n - 1; i++)
                        enter(history, i);
        }
        enter(history, history->n - 1);
        return history->n - 1;
}

struct past *history_find(const struct history *history, const struct token *token)
{
        uint32_t slot = (uint32_t)token->tag & (history->n_slots - 1);

        for (; history->by_tag[slot] != 0; slot = (slot + 1) & (history->n_slots - 1)) {
                struct past *past = &history->pasts[history->by_tag[slot] - 1];

                if (token_equal(&past->token, token))
                        return past;
        }
        return NULL;
}

bool history_is_before(const struct history *history, const struct token *place,
                       const struct token *token)
{
        struct token at = *token;

        while (at.epoch == place->epoch && at.seq > place->seq) {
                const struct past *past = history_find(history, &at);

                if (past == NULL)
                        return false;
                at.tag = past->prev;
                at.seq--;
        }
        return token_equal(&at, place);
}

bool history_has_heir(const struct history *history, uint64_t epoch)
{
        for (unsigned i = 0; i < history->n; i++) {
                if (history->pasts[i].token.seq == 0 && history->pasts[i].parent == epoch)
                        return true;
        }
        return false;
}

static uint64_t mix(uint64_t hash, uint64_t value)
{
        hash = (hash ^ value) * UINT64_C(0x9e3779b97f4a7c15);
        return hash ^ (hash >> 29);
}

uint64_t history_hash(const struct event_state *state)
{
        uint64_t hash = 1;

        for (const char *at = state->event; *at != '\0'; at++)
                hash = mix(hash, (uint8_t)*at);
        for (const char *at = state->stage; *at != '\0'; at++)
                hash = mix(hash, (uint8_t)*at);
        hash = mix(hash, (uint64_t)state->at);
        hash = mix(hash, (uint64_t)state->starts_at);
        return mix(mix(hash, state->version), state->bundle);
}

uint64_t history_hash_all(const struct event_state *states, size_t n)
{
        uint64_t hash = 0;

        for (size_t i = 0; i < n; i++)
                hash ^= history_hash(&states[i]);
        return hash;
}

bool history_same(const struct event_state *a, const struct event_state *b)
{
        return strcmp(a->event, b->event) == 0 && strcmp(a->stage, b->stage) == 0 &&
               a->at == b->at && a->starts_at == b->starts_at && a->version == b->version &&
               a->bundle == b->bundle;
}
