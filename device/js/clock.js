/* device/js/clock.js -- by how much this device's clock is off: when to ask the node for its time, and
 * what to make of the answers. The arithmetic is that of NTP's clock filter (RFC 5905 section 10): of the
 * last eight samples the one with the shortest round trip has the smallest error, and an old sample loses
 * worth by the rate at which clocks drift.
 *
 * Offsets are kept against the monotonic clock, so that a device whose wall clock is set (at boot, by a
 * user, by NTP) is not wrong until the next sample. The monotonic clock of a device may stand still while it
 * sleeps, though; the two cannot be told apart by looking at them. So when they part, the node is asked,
 * and its first answer after that outweighs all before. Pure. `now` is {mono, wall} in ms everywhere. */

const SAMPLES = 8;
const BURST = 3; /* requests soon after each hello ... */
const BURST_GAP_MS = 1000;
const EVERY_MS = 600000; /* ... and then one in this time, +-10 % */
const WAIT_MS = 10000; /* an answer that took longer says nothing */
const DRIFT = 50e-6; /* what cheap crystals do; RFC 5905 assumes 15 ppm, for computers */
const PARTED_MS = 1000; /* wall and monotonic clock disagree by more: one of them jumped */

/* The answer was written somewhere in the round trip; since then the clocks have drifted. */
const errorOf = (sample, now) => sample.rtt / 2 + (now.mono - sample.taken) * DRIFT;

export class Clock {
        #random;
        #samples = []; /* {ahead: node's wall clock - our monotonic clock, rtt, taken (mono)} */
        #guess = null; /* the same from a hello, until the first sample */
        #asked = 0;
        #open = null; /* the request on its way: {t0, left (mono)} */
        #parted = null; /* wall - mono at the last look */
        askAt = Infinity; /* mono: when the next request should leave */

        constructor(random) {
                this.#random = random;
        }

        hello(nodeNow, spreadMs, now) {
                this.#guess = nodeNow - now.mono;
                this.#asked = 0;
                this.#open = null;
                /* Not at once: after a lost node, everybody says hello at the same time. */
                this.askAt = now.mono + this.#random.below(Math.max(spreadMs, BURST_GAP_MS) + 1);
        }

        /** The connection is gone, or is one that cannot ask: an answer on its way never comes. */
        pause() {
                this.#open = null;
                this.askAt = Infinity;
        }

        /** A request leaves now. Returns its t0. */
        ask(now) {
                this.#open = { t0: Math.round(now.wall), left: now.mono };
                this.#asked++;
                this.askAt = now.mono + (this.#asked < BURST ? BURST_GAP_MS
                        : EVERY_MS * 0.9 + this.#random.below(EVERY_MS / 5 + 1));
                return this.#open.t0;
        }

        answer(t0, t1, now) {
                /* The answer to a request given up for a newer one: its round trip is not known any more. */
                if (this.#open === null || this.#open.t0 !== t0)
                        return;

                const rtt = now.mono - this.#open.left;
                const halfway = this.#open.left + rtt / 2;

                this.#open = null;
                if (rtt > WAIT_MS)
                        return;
                this.#samples.push({ ahead: t1 - halfway, rtt, taken: now.mono });
                if (this.#samples.length > SAMPLES)
                        this.#samples.shift();
        }

        /** Look at both clocks. True: they have parted, and what was known is only a guess now. */
        look(now) {
                const apart = now.wall - now.mono;
                const hasJumped = this.#parted !== null && Math.abs(apart - this.#parted) > PARTED_MS;

                this.#parted = apart;
                if (hasJumped) {
                        this.#guess = this.ahead(now);
                        this.#samples = [];
                        this.#open = null;
                }
                return hasJumped;
        }

        #best(now) {
                let best = null;

                for (const sample of this.#samples)
                        if (best === null || errorOf(sample, now) < errorOf(best, now))
                                best = sample;
                return best;
        }

        /** Node's wall clock minus our monotonic clock; null before the first hello. */
        ahead(now) {
                const best = this.#best(now);

                return best !== null ? best.ahead : this.#guess;
        }

        /** By how much that is wrong at most, ms; null before the first answer: the guess has no bound. */
        error(now) {
                const best = this.#best(now);

                return best === null ? null : errorOf(best, now);
        }

        /** Node's wall clock minus ours; 0 before the first hello. Right also after ours was set. */
        offset(now) {
                const ahead = this.ahead(now);

                return ahead === null ? 0 : Math.round(ahead + now.mono - now.wall);
        }
}
