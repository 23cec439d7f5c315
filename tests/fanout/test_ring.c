/* The ring: what a node still has, and how a device's token is judged against it. */
#include "fanout/ring.h"

#include <string.h>
#include <sys/resource.h>

#include <criterion/criterion.h>
#include <criterion/new/assert.h>

#define EPOCH 7

static struct entry *make_sent(seqno seq, int64_t sent)
{
        struct signal signal = { .token = { EPOCH, seq, seq * 10 },
                                 .state = { .event = "e", .stage = "s", .version = seq },
                                 .sent = sent };

        return entry_create(&signal, (seq - 1) * 10, NULL);
}

static struct entry *make(seqno seq)
{
        return make_sent(seq, 0);
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
        { 103, { EPOCH + 1, 102, 1020 }, RING_AHEAD }, /* of the same generation */
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
                { { GENERATION(3) + 2, 40, 400 },
                  RING_AHEAD }, /* as late as ours: who of us is behind? */
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

Test(ring, a_token_of_a_generation_not_earlier_waits)
{
        struct ring *ring;
        struct token base = { GENERATION(3) + 1, 100, 1 };
        struct token later = { GENERATION(4), 1, 10 }, latest = { UINT64_MAX, SEQNO_MAX, 10 };

        cr_assert(eq(int, ring_create(4, &ring), OK));
        cr_assert(eq(int, ring_judge(ring, &later), RING_UNKNOWN)); /* nowhere yet */
        ring_install(ring, &base, GENERATION(2));
        cr_assert(eq(int, ring_judge(ring, &later), RING_AHEAD));
        cr_assert(eq(int, ring_judge(ring, &latest), RING_AHEAD));
        cr_assert(eq(int, ring_judge(ring, &(struct token){ GENERATION(3), 1, 10 }), RING_AHEAD));
        cr_assert(
            eq(int, ring_judge(ring, &(struct token){ GENERATION(3) - 1, 1, 10 }), RING_UNKNOWN));
        ring_destroy(ring);
}

/* --- growing ---------------------------------------------------------------------------------- */

#define HOUR (3600 * 1000LL)

static struct ring *growing(size_t capacity, size_t capacity_max)
{
        struct ring *ring;
        struct token base = { EPOCH, 100, 1000 };

        cr_assert(eq(int, ring_create(capacity, &ring), OK));
        ring_let_grow(ring, capacity_max);
        ring_install(ring, &base, 0);
        return ring;
}

static void push_sent(struct ring *ring, int64_t sent)
{
        struct entry *entry = make_sent(ring_head(ring)->seq + 1, sent);

        ring_push(ring, entry);
        entry_unref(entry);
}

/* Every place from the oldest to the head is judged as ever, and everything beside it too. */
static void judges_everything(const struct ring *ring)
{
        seqno oldest = ring_oldest_cursor(ring), head = ring_head(ring)->seq;

        for (seqno seq = oldest > 3 ? oldest - 3 : 0; seq <= head + 3; seq++) {
                struct token token = { EPOCH, seq, seq * 10 }, other = { EPOCH, seq, seq * 10 + 1 };
                bool kept = seq >= oldest && seq <= head;
                enum ring_place without = seq < oldest ? RING_TRIMMED : RING_AHEAD;
                struct entry *entry = ring_at(ring, seq);

                cr_assert(eq(int, ring_judge(ring, &token), kept ? RING_KEPT : without));
                cr_assert(eq(int, ring_judge(ring, &other), kept ? RING_FORKED : without));
                cr_assert(eq(int, entry != NULL, seq > oldest && seq <= head));
                cr_assert(entry == NULL || entry->signal.token.seq == seq);
        }
}

Test(ring, what_is_young_is_kept_beyond_its_capacity)
{
        struct ring *ring = growing(4, 16);

        for (int i = 0; i < 4; i++)
                push_sent(ring, 1000 + i);
        cr_assert(eq(sz, ring_capacity(ring), 4)); /* at the limit: nothing to grow for */
        judges_everything(ring);
        push_sent(ring,
                  1000 + RING_YOUNG_MS - 1); /* one past it, and the oldest is young by 1 ms */
        cr_assert(eq(sz, ring_capacity(ring), 8));
        cr_assert(eq(u64, ring_oldest_cursor(ring), 100));
        judges_everything(ring);
        push_sent(ring, 1000 + RING_YOUNG_MS); /* now it is old, and only it */
        cr_assert(eq(u64, ring_oldest_cursor(ring), 101));
        judges_everything(ring);
        cr_assert(eq(u64, ring_young_lost(ring), 0));
        ring_destroy(ring);
}

Test(ring, old_ones_are_kept_within_its_capacity_and_never_make_it_grow)
{
        struct ring *ring = growing(4, 16);

        for (int i = 0; i < 4; i++)
                push_sent(ring, i * 100 * RING_YOUNG_MS);
        cr_assert(eq(u64, ring_oldest_cursor(ring), 100));
        push_sent(ring, 400 * RING_YOUNG_MS);
        cr_assert(eq(u64, ring_oldest_cursor(ring), 101));
        cr_assert(eq(sz, ring_capacity(ring), 4));
        judges_everything(ring);
        ring_destroy(ring);
}

Test(ring, at_its_largest_the_oldest_leave_and_are_counted)
{
        struct ring *ring = growing(4, 10); /* not a power of two of the other */

        for (int i = 0; i < 10; i++)
                push_sent(ring, 1000);
        cr_assert(eq(u64, ring_oldest_cursor(ring), 100));
        cr_assert(eq(u64, ring_young_lost(ring), 0));
        push_sent(ring, 1000);
        cr_assert(eq(u64, ring_oldest_cursor(ring), 101));
        cr_assert(eq(u64, ring_young_lost(ring), 1));
        cr_assert(eq(sz, ring_capacity(ring), 10));
        judges_everything(ring);
        ring_destroy(ring);
}

Test(ring, without_leave_to_grow_it_does_not)
{
        struct ring *ring = with(106); /* all sent at 0 */

        cr_assert(eq(sz, ring_capacity(ring), 4));
        cr_assert(eq(u64, ring_young_lost(ring), 2));
        judges_everything(ring);
        ring_destroy(ring);
}

Test(ring, it_shrinks_when_a_burst_is_over_and_at_an_install)
{
        struct ring *ring = growing(4, 4096);
        struct token base = { EPOCH, 7, 70 };
        unsigned pushes = 0;

        for (int i = 0; i < 4000; i++)
                push_sent(ring, 0);
        cr_assert(eq(sz, ring_capacity(ring), 4096));
        while (ring_capacity(ring) > 8) { /* each finds all before it old */
                push_sent(ring, ++pushes * RING_YOUNG_MS);
                judges_everything(ring);
                cr_assert(lt(uint, pushes, 100), "it does not shrink");
        }
        for (int i = 0; i < 100; i++)
                push_sent(ring, pushes * RING_YOUNG_MS);
        cr_assert(gt(sz, ring_capacity(ring), 100));
        ring_install(ring, &base, 0);
        cr_assert(eq(sz, ring_capacity(ring), 4));
        judges_everything(ring);
        ring_destroy(ring);
}

/* Not with AddressSanitizer, whose allocator ends the process instead. */
#if !defined(__SANITIZE_ADDRESS__)
Test(ring, without_memory_to_grow_the_oldest_leave_and_are_counted)
{
        enum { CAPACITY = 1 << 16 }; /* slots of 1 MB next: no allocator has that at hand */
        struct ring *ring = growing(CAPACITY, 8 * CAPACITY);
        const struct rlimit none = { 1, RLIM_INFINITY };
        struct rlimit before;
        struct entry *late[3];

        for (int i = 0; i < CAPACITY; i++)
                push_sent(ring, 1000);
        for (seqno i = 0; i < 3; i++)
                late[i] = make_sent(ring_head(ring)->seq + 1 + i, 1000);
        cr_assert(eq(int, getrlimit(RLIMIT_AS, &before), 0));
        cr_assert(eq(int, setrlimit(RLIMIT_AS, &none), 0));
        ring_push(ring, late[0]);
        ring_push(ring, late[1]);
        cr_assert(eq(int, setrlimit(RLIMIT_AS, &before), 0));
        cr_assert(eq(u64, ring_oldest_cursor(ring), 102));
        cr_assert(eq(u64, ring_young_lost(ring), 2));
        cr_assert(eq(sz, ring_capacity(ring), CAPACITY));
        ring_push(ring, late[2]); /* there is memory again */
        cr_assert(eq(u64, ring_oldest_cursor(ring), 102));
        cr_assert(eq(sz, ring_capacity(ring), 2 * CAPACITY));
        for (int i = 0; i < 3; i++)
                entry_unref(late[i]);
        ring_destroy(ring);
}
#endif

/* What the header promises, said as simply as can be, without an array that grows. */
struct model {
        int64_t sent[1000]; /* of entry 101 + i */
        size_t n, oldest;   /* entries pushed; the first that is held */
        uint64_t young_lost;
};

static void model_push(struct model *model, size_t min, size_t max, int64_t sent)
{
        for (int i = 0; i < 65 && model->n - model->oldest >= min &&
                        sent - model->sent[model->oldest] >= RING_YOUNG_MS;
             i++)
                model->oldest++;
        if (model->n - model->oldest == max) {
                model->oldest++;
                model->young_lost++;
        }
        model->sent[model->n++] = sent;
}

static uint64_t draw(uint64_t *seed)
{
        *seed = *seed * 6364136223846793005u + 1442695040888963407u;
        return *seed >> 33;
}

Test(ring, holds_what_is_young_and_the_newest_whatever_comes)
{
        static struct model model;

        for (uint64_t run = 0; run < 300; run++) {
                uint64_t seed = run + 1;
                size_t min = 1 + draw(&seed) % 20, max = min + draw(&seed) % 200, kept;
                int64_t step = 1, now = 100 * HOUR;
                struct ring *ring = growing(min, max);

                model = (struct model){ 0 };
                while (model.n < countof(model.sent)) {
                        /* From hundreds within a second to days between two; clocks differ by
                         * hours. */
                        if (draw(&seed) % 64 == 0)
                                step = 1LL << (draw(&seed) % 30);
                        now += (int64_t)(draw(&seed) % (uint64_t)step);

                        int64_t sent = now - (int64_t)(draw(&seed) % (uint64_t)(2 * HOUR));

                        model_push(&model, min, max, sent);
                        push_sent(ring, sent);
                        kept = model.n - model.oldest;
                        cr_assert(eq(u64, ring_head(ring)->seq, 100 + model.n));
                        cr_assert(eq(u64, ring_oldest_cursor(ring), 100 + model.oldest));
                        cr_assert(eq(u64, ring_young_lost(ring), model.young_lost));
                        cr_assert(kept >= min || model.oldest == 0);
                        cr_assert(ring_capacity(ring) >= kept && ring_capacity(ring) <= max);
                        /* Memory follows what is held. */
                        cr_assert(ring_capacity(ring) <= min || ring_capacity(ring) <= 4 * kept);
                        if (model.n % 50 == 0)
                                judges_everything(ring);
                }
                judges_everything(ring);
                ring_destroy(ring);
        }
}
