/* The ring: what a node still has, and how a device's token is judged against it. */
#include "fanout/ring.h"

#include <string.h>

#include <criterion/criterion.h>
#include <criterion/new/assert.h>

#define EPOCH 7

static struct entry *make(seqno seq)
{
        struct signal signal = { .token = { EPOCH, seq, seq * 10 },
                                 .state = { .event = "e", .stage = "s", .version = seq } };

        return entry_create(&signal, (seq - 1) * 10, NULL);
}

/* Capacity 4, installed at 100. */
static struct ring *with(seqno upto)
{
        struct ring *ring;
        struct token base = { EPOCH, 100, 1000 };

        cr_assert(eq(int, ring_create(4, &ring), OK));
        ring_install(ring, &base, 0);
        for (seqno seq = 101; seq <= upto; seq++) {
                struct entry *entry = make(seq);

                ring_push(ring, entry);
                entry_unref(entry);
        }
        return ring;
}

Test(ring, is_nowhere_before_the_first_install)
{
        struct ring *ring;
        struct token any = { EPOCH, 1, 10 }, none = { 0 };

        cr_assert(eq(int, ring_create(4, &ring), OK));
        cr_assert(eq(u64, ring_head(ring)->epoch, 0));
        cr_assert(eq(int, ring_judge(ring, &any), RING_UNKNOWN));
        cr_assert(eq(int, ring_judge(ring, &none), RING_UNKNOWN));
        cr_assert(ring_at(ring, 1) == NULL);
        ring_destroy(ring);
        ring_destroy(NULL);
}

Test(ring, keeps_the_newest_and_lets_the_oldest_go)
{
        struct ring *ring = with(106);

        cr_assert(eq(u64, ring_head(ring)->seq, 106));
        cr_assert(eq(u64, ring_oldest_cursor(ring), 102));
        cr_assert(ring_at(ring, 102) == NULL);
        for (seqno seq = 103; seq <= 106; seq++)
                cr_assert(eq(u64, ring_at(ring, seq)->signal.token.seq, seq));
        cr_assert(ring_at(ring, 107) == NULL);
        ring_destroy(ring);
}

struct judgement {
        seqno upto; /* entries 101..upto */
        struct token token;
        enum ring_place place;
};

static const struct judgement judgements[] = {
        { 100, { EPOCH, 100, 1000 }, RING_KEPT }, /* empty: its base is a place, too */
        { 100, { EPOCH, 100, 1001 }, RING_FORKED },
        { 100, { EPOCH, 99, 990 }, RING_TRIMMED },
        { 100, { EPOCH, 101, 1010 }, RING_AHEAD },
        { 103, { EPOCH, 103, 1030 }, RING_KEPT }, /* the head: nothing to replay */
        { 103, { EPOCH, 103, 1031 }, RING_FORKED },
        { 103, { EPOCH, 102, 1020 }, RING_KEPT },
        { 103, { EPOCH, 102, 1021 }, RING_FORKED },
        { 103, { EPOCH, 100, 1000 }, RING_KEPT },
        { 103, { EPOCH, 104, 1040 }, RING_AHEAD },
        { 103, { EPOCH + 1, 102, 1020 }, RING_UNKNOWN },
        { 103, { 0, 0, 0 }, RING_UNKNOWN },
        { 106, { EPOCH, 102, 1020 }, RING_KEPT }, /* 102 itself has left, 103 has not */
        { 106, { EPOCH, 102, 1021 }, RING_FORKED },
        { 106, { EPOCH, 101, 1010 }, RING_TRIMMED },
        { 106, { EPOCH, 0, 0 }, RING_TRIMMED },
        { 106, { EPOCH, SEQNO_MAX, 1 }, RING_AHEAD },
};

Test(ring, judges_a_token_by_epoch_number_and_tag)
{
        for (size_t i = 0; i < countof(judgements); i++) {
                struct ring *ring = with(judgements[i].upto);

                cr_assert(eq(int, ring_judge(ring, &judgements[i].token), judgements[i].place),
                          "row %zu", i);
                ring_destroy(ring);
        }
}

Test(ring, an_install_forgets_everything)
{
        struct ring *ring = with(106);
        struct token base = { EPOCH, 103, 9 }, old = { EPOCH, 103, 1030 };

        ring_install(ring, &base, 0);
        cr_assert(ring_at(ring, 103) == NULL);
        cr_assert(eq(u64, ring_oldest_cursor(ring), 103));
        cr_assert(eq(int, ring_judge(ring, &old), RING_FORKED));
        cr_assert(eq(int, ring_judge(ring, &base), RING_KEPT));
        ring_destroy(ring);
}

#define GENERATION(n) ((uint64_t)(n) << 48)

Test(ring, the_parent_epoch_is_forked)
{
        struct ring *ring;
        struct token base = { GENERATION(3) + 1, 0, 1 };
        const struct {
                struct token token;
                enum ring_place place;
        } table[] = {
                { { GENERATION(2) + 7, 40, 400 }, RING_FORKED }, /* whatever its number */
                { { GENERATION(2) + 7, 0, 400 }, RING_FORKED },
                { { GENERATION(2) + 8, 40, 400 }, RING_UNKNOWN },
                { { GENERATION(1) + 7, 40, 400 }, RING_UNKNOWN },
                { { GENERATION(3) + 2, 40, 400 }, RING_UNKNOWN }, /* as late as ours, not ours */
                { { GENERATION(3) + 1, 0, 1 }, RING_KEPT },
        };

        cr_assert(eq(int, ring_create(4, &ring), OK));
        ring_install(ring, &base, GENERATION(2) + 7);
        for (size_t i = 0; i < countof(table); i++)
                cr_assert(eq(int, ring_judge(ring, &table[i].token), table[i].place), "row %zu", i);

        /* A log that continues none forks off none. */
        ring_install(ring, &base, 0);
        cr_assert(eq(int, ring_judge(ring, &table[0].token), RING_UNKNOWN));
        ring_destroy(ring);
}

Test(ring, a_token_of_a_later_generation_waits)
{
        struct ring *ring;
        struct token base = { GENERATION(3) + 1, 100, 1 };
        struct token later = { GENERATION(4), 1, 10 }, latest = { UINT64_MAX, SEQNO_MAX, 10 };

        cr_assert(eq(int, ring_create(4, &ring), OK));
        cr_assert(eq(int, ring_judge(ring, &later), RING_UNKNOWN)); /* nowhere yet */
        ring_install(ring, &base, GENERATION(2));
        cr_assert(eq(int, ring_judge(ring, &later), RING_AHEAD));
        cr_assert(eq(int, ring_judge(ring, &latest), RING_AHEAD));
        ring_destroy(ring);
}
