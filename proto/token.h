/* proto/token.h -- the resume token: a place in the signal log, `<epoch>.<seq>.<tag>`.
 * Epoch and tag are 16 lower-case hex digits, seq is decimal without leading zeros. The tag is drawn at
 * random for each signal, so two logs that share an epoch and a number but not a history differ in it.
 * seq 0 is the place before the first signal. Pure. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/check.h"
#include "base/err.h"

typedef uint64_t seqno;
#define SEQNO_MAX      (((seqno)1 << 53) - 1) /* Redis' Lua and JavaScript count in doubles */
#define TOKEN_TEXT_MAX 52               /* 16 + 1 + 16 + 1 + 16, and room to spare; without the NUL */

struct token {
        uint64_t epoch; /* 0 = no token */
        seqno seq;
        uint64_t tag;
};

/* Returns the length, without the NUL. */
size_t token_format(const struct token *token, char text[TOKEN_TEXT_MAX + 1]);
/* ERR_INVALID unless `text` is exactly what token_format writes for some token (so not for epoch 0). */
must_check enum err token_parse(const char *text, size_t len, struct token *ret_token);
bool token_equal(const struct token *a, const struct token *b);
/* The first 16 bits of an epoch order epochs in time: higher is later (fanout/EPOCHS.md). The rest is
 * chance. 0 for no epoch. */
#define TOKEN_GENERATION_MAX 0xffff
unsigned token_generation(uint64_t epoch);
/* The same 16 hex digits, for epochs and tags standing alone. */
void token_hex(uint64_t value, char text[17]);
must_check enum err token_parse_hex(const char *text, size_t len, uint64_t *ret_value);
