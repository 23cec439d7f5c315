/* device/c/device_place.c -- see device_place.h. */
#include "device/c/device_place.h"

#include <inttypes.h>
#include <stdio.h>

void device_place_begin(struct device_core *core, const struct token *since)
{
        core->stream = *since;
}

/* The tags before it are of another history, or of numbers that were not for us. */
static void jump(struct device_core *core, const struct token *token)
{
        core->token = *token;
        core->tags[token->seq % DEVICE_CORE_TAGS] = token->tag;
        core->n_tags = 1;
}

void device_place_adopt(struct device_core *core, const struct token *token)
{
        jump(core, token);
        core->stream = *token;
}

static bool has_tag_of(const struct device_core *core, seqno seq)
{
        return seq <= core->token.seq && core->token.seq - seq < core->n_tags;
}

/* What the app has had is either still remembered by its tag, or comes in its turn (`in_turn`) on a
 * connection that is catching up. Older than that it cannot be compared, and is not guessed about.
 */
static enum device_place_verdict judge_repeat(struct device_core *core, const struct token *token,
                                              bool in_turn, const char *what, char *why,
                                              size_t why_size)
{
        if (!has_tag_of(core, token->seq) && !in_turn) {
                snprintf(why, why_size, "%s %" PRIu64 " again, long after %" PRIu64, what,
                         token->seq, core->token.seq);
                return DEVICE_PLACE_WRONG;
        }
        if (has_tag_of(core, token->seq) &&
            core->tags[token->seq % DEVICE_CORE_TAGS] != token->tag) {
                snprintf(why, why_size, "%s %" PRIu64 " again, with another tag", what, token->seq);
                return DEVICE_PLACE_WRONG;
        }
        if (in_turn)
                core->stream = *token;
        return DEVICE_PLACE_REPEAT;
}

static bool may_come(const struct device_core *core, const struct token *token, const char *what,
                     char *why, size_t why_size)
{
        if (core->reset_due)
                snprintf(why, why_size, "a %s where the reset was due", what);
        else if (token->epoch != core->token.epoch)
                snprintf(why, why_size, "a %s of another epoch without a reset", what);
        else
                return true;
        return false;
}

enum device_place_verdict device_place_signal(struct device_core *core, const struct token *token,
                                              char *why, size_t why_size)
{
        if (!may_come(core, token, "signal", why, why_size))
                return DEVICE_PLACE_WRONG;
        if (token->seq > core->stream.seq + 1) {
                snprintf(why, why_size, "gap: signal %" PRIu64 " came after %" PRIu64, token->seq,
                         core->stream.seq);
                return DEVICE_PLACE_WRONG;
        }
        if (token->seq <= core->token.seq)
                return judge_repeat(core, token, token->seq == core->stream.seq + 1, "signal", why,
                                    why_size);
        core->token = core->stream = *token;
        core->signal_seq = token->seq;
        core->tags[token->seq % DEVICE_CORE_TAGS] = token->tag;
        if (core->n_tags < DEVICE_CORE_TAGS)
                core->n_tags++;
        return DEVICE_PLACE_NEW;
}

enum device_place_verdict device_place_skip(struct device_core *core, const struct token *token,
                                            char *why, size_t why_size)
{
        if (!may_come(core, token, "skip", why, why_size))
                return DEVICE_PLACE_WRONG;
        if (token->seq < core->stream.seq) {
                snprintf(why, why_size, "a skip back to %" PRIu64 " from %" PRIu64, token->seq,
                         core->stream.seq);
                return DEVICE_PLACE_WRONG;
        }
        if (token->seq <= core->token.seq)
                return judge_repeat(core, token, true, "skip to", why, why_size);
        jump(core, token);
        core->stream = *token;
        return DEVICE_PLACE_NEW;
}
