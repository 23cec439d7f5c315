/* proto/token.c -- the text of a resume token, both ways. Every token has exactly one text, so that
 * two texts may be compared as bytes (Last-Event-ID, logs, tests); hence the strictness about case
 * and zeros. */
#include "proto/token.h"

#define HEX_DIGITS 16
#define SEQ_DIGITS 16 /* of SEQNO_MAX */

void token_hex(uint64_t value, char text[17])
{
        static const char digits[] = "0123456789abcdef";

        for (int i = HEX_DIGITS - 1; i >= 0; i--) {
                text[i] = digits[value & 0xf];
                value >>= 4;
        }
        text[HEX_DIGITS] = '\0';
}

enum err token_parse_hex(const char *text, size_t len, uint64_t *ret_value)
{
        uint64_t value = 0;

        if (len != HEX_DIGITS)
                return ERR_INVALID;
        for (size_t i = 0; i < len; i++) {
                unsigned char c = (unsigned char)text[i];
                unsigned digit;

                if (c >= '0' && c <= '9')
                        digit = c - '0';
                else if (c >= 'a' && c <= 'f')
                        digit = c - 'a' + 10u;
                else
                        return ERR_INVALID;
                value = value << 4 | digit;
        }
        *ret_value = value;
        return OK;
}

size_t token_format(const struct token *token, char text[TOKEN_TEXT_MAX + 1])
{
        char digits[20];
        size_t n = 0, at = HEX_DIGITS;
        seqno rest = token->seq;

        check(token->seq <= SEQNO_MAX);
        token_hex(token->epoch, text);
        text[at++] = '.';
        do {
                digits[n++] = (char)('0' + rest % 10);
                rest /= 10;
        } while (rest != 0);
        while (n > 0)
                text[at++] = digits[--n];
        text[at++] = '.';
        token_hex(token->tag, text + at);
        return at + HEX_DIGITS;
}

static enum err parse_seq(const char *text, size_t len, seqno *ret_seq)
{
        seqno seq = 0;

        if (len == 0 || len > SEQ_DIGITS || (text[0] == '0' && len > 1))
                return ERR_INVALID;
        for (size_t i = 0; i < len; i++) {
                if (text[i] < '0' || text[i] > '9')
                        return ERR_INVALID;
                seq = seq * 10 + (seqno)(text[i] - '0');
        }
        if (seq > SEQNO_MAX)
                return ERR_INVALID;
        *ret_seq = seq;
        return OK;
}

enum err token_parse(const char *text, size_t len, struct token *ret_token)
{
        const size_t around_seq = HEX_DIGITS + 1 + 1 + HEX_DIGITS;
        struct token token;
        size_t seq_len;

        if (len <= around_seq)
                return ERR_INVALID;
        seq_len = len - around_seq;
        if (text[HEX_DIGITS] != '.' || text[HEX_DIGITS + 1 + seq_len] != '.')
                return ERR_INVALID;
        if (token_parse_hex(text, HEX_DIGITS, &token.epoch) != OK ||
            parse_seq(text + HEX_DIGITS + 1, seq_len, &token.seq) != OK ||
            token_parse_hex(text + len - HEX_DIGITS, HEX_DIGITS, &token.tag) != OK)
                return ERR_INVALID;
        if (token.epoch == 0) /* means "no token" in memory, so no text may say it */
                return ERR_INVALID;
        *ret_token = token;
        return OK;
}

unsigned token_generation(uint64_t epoch)
{
        return (unsigned)(epoch >> 48);
}

bool token_equal(const struct token *a, const struct token *b)
{
        return a->epoch == b->epoch && a->seq == b->seq && a->tag == b->tag;
}
