/* loadtest/simdevice.c -- the delivery contract, lines 4 to 7, as one device can check them. */
#include "loadtest/simdevice.h"

static void flaw(struct simdevice *device, uint64_t *count)
{
        device->flawed = true;
        (*count)++;
}

void simdevice_open(struct simdevice *device)
{
        device->phase = SIM_OPENED;
        device->seen_here = 0;
        device->asked_to_resume = device->place.epoch != 0;
}

void simdevice_hello(struct simdevice *device, const struct hello *hello, struct simtally *tally)
{
        /* "Recovered" is an answer to a token; without one there is nothing to go on from. */
        if (device->phase != SIM_OPENED || (hello->recovered && device->place.epoch == 0))
                flaw(device, &tally->early);
        device->phase =
            hello->recovered && device->place.epoch != 0 ? SIM_FOLLOWING : SIM_UNSETTLED;
}

static bool is_explained(enum reset_reason reason, const struct token *place,
                         const struct token *token)
{
        bool same_epoch = token->epoch == place->epoch;

        switch (reason) {
        case RESET_FORKED:
                return true; /* whether it is true shows in the comparison with the log */
        case RESET_UNKNOWN:
                return !same_epoch;
        case RESET_TRIMMED:
                return !same_epoch ||
                       (token->seq > place->seq && token->seq - place->seq > SIMDEVICE_RETENTION);
        case RESET_NEW:
        case RESET_REASONS:
                break;
        }
        return false;
}

void simdevice_reset(struct simdevice *device, enum reset_reason reason, const struct token *token,
                     struct witness *witness, struct simtally *tally)
{
        const struct token place = device->place;
        bool is_first = place.epoch == 0;

        if (device->phase == SIM_OPENED)
                flaw(device, &tally->early);
        if (!witness_saw(witness, token))
                flaw(device, &tally->foreign);
        if (!is_first) {
                tally->resets[reason]++;
                if (!is_explained(reason, &place, token))
                        flaw(device, &tally->resets_unexplained);
                else if (token->epoch == place.epoch && token->seq > place.seq)
                        tally->covered += token->seq - place.seq;
        }
        device->place = *token;
        device->seen_here = 0;
        device->phase = SIM_FOLLOWING;
}

enum simdevice_verdict simdevice_signal(struct simdevice *device, const struct token *token,
                                        struct witness *witness, struct simtally *tally)
{
        if (device->phase != SIM_FOLLOWING) {
                flaw(device, &tally->early);
                return SIM_EARLY;
        }
        if (token->epoch != device->place.epoch || !witness_saw(witness, token)) {
                flaw(device, &tally->foreign);
                return SIM_FOREIGN;
        }
        if (token->seq < device->seen_here) {
                flaw(device, &tally->disorder);
                return SIM_DISORDER;
        }
        device->seen_here = token->seq;
        if (token->seq <= device->place.seq) {
                tally->repeats++;
                return SIM_REPEAT;
        }

        seqno skipped = token->seq - device->place.seq - 1;

        device->place = *token;
        tally->delivered++;
        if (skipped > 0) {
                device->flawed = true;
                tally->missing += skipped;
                return SIM_GAP;
        }
        return SIM_NEXT;
}

uint64_t simdevice_behind(const struct simdevice *device, const struct token *head)
{
        if (device->place.epoch != head->epoch)
                return 1;
        return device->place.seq >= head->seq ? 0 : head->seq - device->place.seq;
}
