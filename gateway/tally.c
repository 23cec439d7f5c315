/* gateway/tally.c -- a slot per signal, found by its number. What has left the 64 is not counted
 * any more: the cost of a device that acks after hours must not be a search.
 *
 * Refuses to know sessions: who may ack what, and that no session acks a signal twice, is
 * session.c's. */
#include "gateway/tally.h"

#include <string.h>

static struct tally_slot *slot_of(struct tally *tally, seqno seq)
{
        struct tally_slot *slot = &tally->slots[seq % TALLY_SIGNALS];

        return slot->part.token.seq == seq && slot->part.token.epoch != 0 ? slot : NULL;
}

static void tell(struct tally *tally, struct tally_slot *slot)
{
        tally->n_news += !slot->has_news;
        slot->has_news = true;
}

void tally_epoch(struct tally *tally, uint64_t epoch)
{
        if (tally->epoch == epoch)
                return;
        memset(tally, 0, sizeof(*tally));
        tally->epoch = epoch;
}

void tally_begin(struct tally *tally, const struct signal *signal, uint32_t connected, bool live,
                 uint64_t now_ms, int64_t wall_ms)
{
        const int64_t mono_minus_wall = (int64_t)now_ms - wall_ms;
        struct tally_slot *slot = &tally->slots[signal->token.seq % TALLY_SIGNALS];

        if (signal->token.epoch != tally->epoch || token_equal(&slot->part.token, &signal->token))
                return;
        tally->n_news -= slot->has_news;
        memset(slot, 0, sizeof(*slot));
        slot->part.token = signal->token;
        slot->part.connected = connected;
        slot->due_wall_ms = signal->state.at > signal->sent ? signal->state.at : signal->sent;
        slot->sent_ms = signal->sent + mono_minus_wall;
        slot->due_ms = slot->due_wall_ms + mono_minus_wall;
        if (live || connected > 0)
                tell(tally, slot);
}

void tally_written(struct tally *tally, seqno seq, bool will_ack, uint64_t now_ms)
{
        struct tally_slot *slot = slot_of(tally, seq);
        int64_t took_ms;

        if (slot == NULL)
                return;
        took_ms = (int64_t)now_ms - slot->sent_ms;
        slot->part.written++;
        slot->part.silent += !will_ack;
        /* `sent` is another machine's clock: it may be ahead of ours. */
        latency_record(&slot->part.told, took_ms > 0 ? (uint64_t)took_ms : 0);
        tell(tally, slot);
}

static void count_acted(struct tally_slot *slot, int64_t activated_at, uint64_t now_ms)
{
        int64_t acted_ms = activated_at - slot->due_wall_ms;

        if (activated_at != 0 && acted_ms >= -TALLY_CLOCK_SLACK_MS &&
            acted_ms <= TALLY_PLAUSIBLE_MS) {
                slot->part.said++;
                latency_record(&slot->part.acted, acted_ms > 0 ? (uint64_t)acted_ms : 0);
                return;
        }
        acted_ms = (int64_t)now_ms - slot->due_ms;
        if (acted_ms >= 0)
                latency_record(&slot->part.acted, (uint64_t)acted_ms);
}

void tally_acked(struct tally *tally, seqno from, seqno to, uint64_t missed, int64_t activated_at,
                 uint64_t now_ms)
{
        seqno seq = to > TALLY_SIGNALS && from < to - TALLY_SIGNALS ? to - TALLY_SIGNALS : from;

        while (++seq <= to) {
                struct tally_slot *slot = slot_of(tally, seq);

                if (slot == NULL || (missed >> (to - seq) & 1) != 0)
                        continue;
                slot->part.acked++;
                /* Who names the moment of the last acted on those before it earlier, or not at all:
                 * for them the ack's arrival means nothing. */
                if (seq == to || activated_at == 0)
                        count_acted(slot, activated_at, now_ms);
                tell(tally, slot);
        }
}

size_t tally_take(struct tally *tally, struct report_part *parts, size_t n)
{
        size_t taken = 0;

        for (unsigned i = 0; i < TALLY_SIGNALS && taken < n && tally->n_news > 0; i++) {
                struct tally_slot *slot = &tally->slots[i];

                if (!slot->has_news)
                        continue;
                parts[taken++] = slot->part;
                slot->part = (struct report_part){ .token = slot->part.token };
                slot->has_news = false;
                tally->n_news--;
        }
        return taken;
}
