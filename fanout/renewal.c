/* fanout/renewal.c -- the table of fanout/EPOCHS.md as one function, and the call. Redis judges
 * again in the moment of the call, so a judgement that is out of date does no harm. */
#include "fanout/renewal.h"

#include <stdlib.h>

#include "base/rng.h"
#include "proto/keys.h"

bool renewal_is_needed(const struct token *mine, const struct place *place, bool lost,
                       size_t n_later)
{
        uint64_t there = place->token.epoch;

        if (there == 0)
                return true;
        if (there == mine->epoch) /* records tell of a loss whose place has been trimmed since */
                return lost || n_later > 0;
        return n_later > 0 ||
               (mine->epoch != 0 && token_generation(there) <= token_generation(mine->epoch));
}

uint64_t renewal_epoch(uint64_t mine, uint64_t there, uint64_t chance)
{
        unsigned a = token_generation(mine), b = token_generation(there);
        uint64_t generation = (uint64_t)(a > b ? a : b) + 1;

        if (generation > TOKEN_GENERATION_MAX)
                return 0;
        return generation << 48 | (chance & 0xffffffffffff);
}

#define ARGUMENTS 12 /* before the records */

enum err renewal_call(struct redis *redis, const char *ns, const struct token *mine,
                      uint64_t expected_epoch, const struct book_record *records, size_t n,
                      redis_reply_fn *on_reply, void *owner)
{
        char meta[KEY_MAX + 1], log[KEY_MAX + 1], events[KEY_MAX + 1];
        char expected[17] = "", fresh[17], tag[17];
        struct witness witness;
        uint64_t epoch = renewal_epoch(mine->epoch, expected_epoch, rng_secure_u64());

        if (epoch == 0)
                return ERR_TOO_LARGE;

        const char **argv = malloc((ARGUMENTS + 2 * n) * sizeof(*argv));
        size_t argc = 0;

        if (argv == NULL)
                return ERR_NOMEM;
        key_format(meta, ns, KEY_META, NULL);
        key_format(log, ns, KEY_LOG, NULL);
        key_format(events, ns, KEY_EVENTS, NULL);
        if (expected_epoch != 0)
                token_hex(expected_epoch, expected);
        token_hex(epoch, fresh);
        token_hex(rng_secure_u64(), tag);
        answer_witness(mine, &witness);

        const char *const first[ARGUMENTS] = {
                "FCALL", "kickoff1_renew", "3",         meta,       log, events, expected, fresh,
                tag,     witness.epoch,    witness.seq, witness.tag
        };

        while (argc < ARGUMENTS) {
                argv[argc] = first[argc];
                argc++;
        }
        for (size_t i = 0; i < n; i++) {
                argv[argc++] = records[i].event;
                argv[argc++] = records[i].record;
        }

        enum err err = redis_command(redis, on_reply, owner, (int)argc, argv, NULL);

        free(argv);
        return err;
}
