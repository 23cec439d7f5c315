/* Whatever a node and a network do, what the app sees obeys contract lines 4, 6 and 7. A node that
 * is sometimes right and sometimes not at all is played at random; the app's view is checked at
 * each step. */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>

#include "tests/device/driver.h"

#define SEEDS 3000
#define STEPS 400

struct world {
        struct driver d;
        struct rng rng;
        /* the app */
        bool has_state; /* a reset was seen, or the device came with a token */
        struct token seen;
        /* the wire */
        bool hello_said, recovered; /* recovered: by token or by reset, in this connection */
        unsigned signals, resets, losses, skips, takeovers;
};

static struct token any_token(struct world *w)
{
        struct token token = w->d.core.token;

        switch (rng_below(&w->rng, 8)) {
        case 0:
                token.seq += rng_below(&w->rng, 5);
                break;
        case 1:
                token.seq -= token.seq > 3 ? rng_below(&w->rng, 3) : 0;
                break;
        case 2:
                token.epoch ^= rng_below(&w->rng, 3);
                token.seq++;
                break;
        case 3:
                token.tag ^= 1;
                break;
        default: /* the right one, most of the time */
                token.seq++;
        }
        token.epoch |= 1ull << 63;
        if (token.seq != w->d.core.token.seq || rng_below(&w->rng, 4) == 0)
                token.tag = 0x1000 + token.seq;
        return token;
}

static void play_message(struct world *w)
{
        struct message message = { .type = (enum message_type)rng_below(&w->rng, MESSAGE_TYPES) };

        switch (message.type) {
        case MESSAGE_HELLO:
                message.hello.recovered = rng_below(&w->rng, 2) != 0;
                message.hello.token = rng_below(&w->rng, 3) != 0 ? w->d.core.token : any_token(w);
                message.hello.ping_s = (uint32_t)rng_below(&w->rng, 60);
                message.hello.ack_spread_ms = (uint32_t)rng_below(&w->rng, 5000);
                break;
        case MESSAGE_SIGNAL:
                message.signal.token = any_token(w);
                break;
        case MESSAGE_SKIP:
                message.skip.token = any_token(w);
                break;
        case MESSAGE_RESET:
                message.reset.token = any_token(w);
                break;
        case MESSAGE_GOAWAY:
                message.goaway =
                    (struct goaway){ .reason = rng_below(&w->rng, 8) == 0 ? GOAWAY_OVERLOAD
                                                                          : GOAWAY_RECYCLE,
                                     .max_ms = 1000 };
                break;
        case MESSAGE_TIME:
                message.time.has_t1 = rng_below(&w->rng, 8) != 0;
                message.time.t0 = w->d.core.offset.t0;
                break;
        default:
                break;
        }
        struct token before = w->d.core.token;

        hear(&w->d, &message);
        if (message.type == MESSAGE_SKIP && !token_equal(&before, &w->d.core.token)) {
                cr_assert(w->hello_said && w->has_state && w->recovered);
                cr_assert(eq(u64, before.epoch, w->d.core.token.epoch));
                cr_assert(gt(u64, w->d.core.token.seq, before.seq));
                w->seen = message.skip.token;
                w->skips++;
        }
        if (!does(&w->d, DEVICE_DO_DELIVER))
                return;

        const struct token *token =
            message.type == MESSAGE_RESET ? &message.reset.token : &message.signal.token;

        if (message.type == MESSAGE_HELLO) {
                w->hello_said = true;
                w->recovered = message.hello.recovered;
        } else if (message.type == MESSAGE_RESET) {
                cr_assert(w->hello_said);
                w->has_state = w->recovered = true;
                w->seen = *token;
                w->resets++;
        } else if (message.type == MESSAGE_SIGNAL) {
                cr_assert(w->hello_said);
                cr_assert(w->has_state && w->recovered, "a signal before the state it builds on");
                cr_assert(eq(u64, token->epoch, w->seen.epoch));
                cr_assert(eq(u64, token->seq, w->seen.seq + 1));
                w->seen = *token;
                w->signals++;
        }
}

/* What the successor does: on the whole it comes up, and says a hello that may be taken. */
static void play_next(struct world *w)
{
        struct driver *d = &w->d;
        unsigned old = d->core.main;

        d->link = 1 - old;
        if (d->core.next.phase == DEVICE_CONNECTING) {
                step(d, (struct device_input){ .kind = rng_below(&w->rng, 4) == 0
                                                           ? DEVICE_IN_FAILED
                                                           : DEVICE_IN_OPENED });
        } else if (rng_below(&w->rng, 4) == 0) {
                play_message(w);
        } else {
                bool recovers = d->core.next.since.epoch != 0 && rng_below(&w->rng, 4) != 0;

                struct message hello = { .type = MESSAGE_HELLO,
                                         .hello = { .token = d->core.next.since,
                                                    .ping_s = 50,
                                                    .recovered = recovers } };

                hear(d, &hello);
                cr_assert(does(d, DEVICE_DO_DELIVER));
                w->recovered = recovers;
        }
        if (d->core.main != old) { /* the first is closed only now */
                cr_assert(eq(uint, did(d, DEVICE_DO_CLOSE)->link, old));
                cr_assert(eq(int, d->core.phase, DEVICE_LIVE));
                w->takeovers++;
        }
}

/* The main connection is gone, and the successor is in its place, if there was one. */
static void note_promotion(struct world *w)
{
        if (w->d.core.phase == DEVICE_GREETING || w->d.core.phase == DEVICE_CONNECTING)
                w->hello_said = false;
}

static void play(struct world *w)
{
        struct driver *d = &w->d;

        d->link = d->core.main;

        if (d->core.phase == DEVICE_WAITING || rng_below(&w->rng, 6) == 0) {
                tick_when_due(d);
        } else if (d->core.phase == DEVICE_CONNECTING) {
                static const enum device_input_kind kinds[] = { DEVICE_IN_FAILED, DEVICE_IN_OPENED,
                                                                DEVICE_IN_OPENED };

                step(d, (struct device_input){ .kind = kinds[rng_below(&w->rng, 3)] });
                w->hello_said = false;
        } else if (d->core.has_next && rng_below(&w->rng, 3) == 0) {
                play_next(w);
        } else if (rng_below(&w->rng, 40) == 0) {
                lose(d);
                note_promotion(w);
        } else if (d->core.phase == DEVICE_GREETING && rng_below(&w->rng, 2) == 0) {
                hear_hello(d, d->core.token.seq, d->core.token.epoch != 0);
                w->hello_said = true;
                w->recovered = d->core.token.epoch != 0;
        } else {
                play_message(w);
        }
        note_promotion(w);
        if (does(d, DEVICE_DO_CLOSE) || does(d, DEVICE_DO_CUT))
                w->losses++;
}

Test(device_core_property, the_app_never_sees_a_hole_a_fork_or_a_step_back)
{
        unsigned signals = 0, resets = 0, losses = 0, skips = 0, takeovers = 0;

        for (uint64_t seed = 1; seed <= SEEDS; seed++) {
                struct world w = { .has_state = seed % 2 == 0 };

                rng_seed(&w.rng, seed);
                w.seen = token_at(10);
                start(&w.d, w.has_state ? &w.seen : NULL, seed);
                for (int i = 0; i < STEPS && w.d.core.phase != DEVICE_STOPPED; i++) {
                        play(&w);
                        /* the token names exactly what the app has seen, all three parts */
                        if (w.has_state && w.d.core.token.epoch != 0)
                                cr_assert(token_equal(&w.d.core.token, &w.seen), "seed %llu",
                                          (unsigned long long)seed);
                        cr_assert(le(u64,
                                     w.d.core.due_ms == DEVICE_CORE_NEVER ? 0 : w.d.core.due_ms,
                                     w.d.now.mono_ms + 30000));
                }
                signals += w.signals;
                resets += w.resets;
                losses += w.losses;
                skips += w.skips;
                takeovers += w.takeovers;
        }
        /* the play reaches what it is about */
        cr_assert(gt(uint, signals, SEEDS));
        cr_assert(gt(uint, resets, SEEDS));
        cr_assert(gt(uint, losses, SEEDS));
        cr_assert(gt(uint, skips, SEEDS / 10));
        cr_assert(gt(uint, takeovers, SEEDS / 10));
}
