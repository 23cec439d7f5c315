/* tests/prefetch/test_packer.c -- variants made in steps, beside whatever else the loop does. */
#include "prefetch/packer.h"

#include <stdlib.h>
#include <string.h>

#include <event2/event.h>
#include <criterion/criterion.h>
#include <criterion/new/assert.h>

#include "base/rng.h"

#define LARGE (1024u * 1024u)

struct rig {
        struct event_base *base;
        struct packer *packer;
        struct packing *told[16];
        unsigned n_told;
};

static struct rig rig;

static void on_done(void *owner, struct packing *packing)
{
        (void)owner;
        cr_assert(not(packing->is_under_way));
        rig.told[rig.n_told++] = packing;
}

static void start(void)
{
        memset(&rig, 0, sizeof(rig));
        rig.base = event_base_new();
        cr_assert(eq(int, packer_create(rig.base, on_done, &rig, &rig.packer), OK));
}

static void stop(void)
{
        packer_destroy(rig.packer);
        event_base_free(rig.base);
}

TestSuite(packer, .init = start, .fini = stop);

static struct blob *text_of(size_t len)
{
        char *bytes = malloc(len);
        struct blob *blob;

        for (size_t i = 0; i < len; i++)
                bytes[i] = "{\"title\":\"kickoff\"},"[i * i % 20];
        blob = blob_create(bytes, len);
        free(bytes);
        return blob;
}

static struct blob *noise_of(size_t len)
{
        char *bytes = malloc(len);
        struct rng rng;
        struct blob *blob;

        rng_seed(&rng, 5);
        for (size_t i = 0; i < len; i++)
                bytes[i] = (char)rng_u64(&rng);
        blob = blob_create(bytes, len);
        free(bytes);
        return blob;
}

static void turn_until_told(unsigned n)
{
        while (rig.n_told < n)
                cr_assert(eq(int, event_base_loop(rig.base, EVLOOP_ONCE), 0));
}

Test(packer, makes_both_codings_of_each_body_in_the_order_in_which_they_came)
{
        struct packing packings[3] = { 0 };
        struct blob *body = text_of(8192);

        for (unsigned i = 0; i < 3; i++)
                cr_assert(packer_add(rig.packer, &packings[i], body));
        cr_assert(eq(sz, packer_backlog(rig.packer), 3 * 8192));
        cr_assert(eq(uint, rig.n_told, 0)); /* never from inside */
        turn_until_told(3);
        cr_assert(eq(sz, packer_backlog(rig.packer), 0));
        for (unsigned i = 0; i < 3; i++) {
                cr_assert(eq(ptr, rig.told[i], &packings[i]));
                cr_assert(lt(u32, packings[i].packed[CODING_GZIP]->len, 7373));
                cr_assert(lt(u32, packings[i].packed[CODING_ZSTD]->len, 7373));
                cr_assert(eq(ptr, packings[i].packed[CODING_IDENTITY], NULL));
                packer_drop(rig.packer, &packings[i]);
        }
        cr_assert(eq(u32, body->refs, 1));
        blob_unref(body);
}

static void on_tick(evutil_socket_t fd, short what, void *arg)
{
        (void)fd;
        (void)what;
        ++*(unsigned *)arg;
}

Test(packer, a_megabyte_lets_the_loop_do_everything_else_between_its_steps)
{
        struct packing packing = { 0 };
        struct blob *body = text_of(LARGE);
        const struct timeval at_once = { 0, 0 };
        unsigned turns = 0, ticks = 0;
        struct event *tick = event_new(rig.base, -1, EV_PERSIST, on_tick, &ticks);

        cr_assert(packer_add(rig.packer, &packing, body));
        while (rig.n_told == 0) {
                unsigned before = ticks;

                event_add(tick, &at_once);
                event_base_loop(rig.base, EVLOOP_ONCE);
                cr_assert(gt(uint, ticks, before)); /* whatever is due has its turn each time */
                turns++;
        }
        /* Two codings, 64 steps of 16 KiB each. */
        cr_assert(ge(uint, turns, 128));
        event_free(tick);
        packer_drop(rig.packer, &packing);
        blob_unref(body);
}

Test(packer, keeps_nothing_that_does_not_pay)
{
        struct packing large = { 0 }, small = { 0 };
        struct blob *noise = noise_of(100000), *tiny = text_of(64);

        cr_assert(packer_add(rig.packer, &large, noise));
        turn_until_told(1);
        cr_assert(eq(ptr, large.packed[CODING_GZIP], NULL));
        cr_assert(eq(ptr, large.packed[CODING_ZSTD], NULL));
        cr_assert(not(packer_add(rig.packer, &small, tiny)));
        cr_assert(eq(sz, packer_backlog(rig.packer), 0));
        blob_unref(noise);
        blob_unref(tiny);
}

Test(packer, a_body_may_go_away_while_it_is_packed_or_waits)
{
        struct packing packings[3] = { 0 };
        struct blob *body = text_of(LARGE);

        for (unsigned i = 0; i < 3; i++)
                cr_assert(packer_add(rig.packer, &packings[i], body));
        event_base_loop(rig.base, EVLOOP_ONCE);
        packer_drop(rig.packer, &packings[0]);
        packer_drop(rig.packer, &packings[2]);
        cr_assert(eq(sz, packer_backlog(rig.packer), LARGE));
        turn_until_told(1);
        cr_assert(eq(ptr, rig.told[0], &packings[1]));
        packer_drop(rig.packer, &packings[1]);
        cr_assert(eq(u32, body->refs, 1));
        blob_unref(body);
}

Test(packer, may_end_in_the_middle)
{
        struct packing packing = { 0 };
        struct blob *body = text_of(LARGE);

        cr_assert(packer_add(rig.packer, &packing, body));
        event_base_loop(rig.base, EVLOOP_ONCE);
        packer_destroy(rig.packer);
        rig.packer = NULL;
        cr_assert(eq(u32, body->refs, 1));
        blob_unref(body);
}
