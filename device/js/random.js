/* device/js/random.js -- random numbers for jitter, seeded so that a run can be repeated. Algorithm:
 * sfc32 (C. Doty-Humphrey, PractRand; 128 bits of state, 32-bit steps, which JavaScript does well). */

export class Random {
        #a;
        #b;
        #c;
        #counter = 1;

        /** @param {number} seed any number; its low 53 bits count */
        constructor(seed) {
                this.#a = seed >>> 0;
                this.#b = Math.floor(seed / 0x100000000) >>> 0;
                this.#c = 0x9e3779b9;
                for (let i = 0; i < 12; i++) /* until each bit of the seed has met each of the state */
                        this.#next();
        }

        #next() {
                const t = (((this.#a + this.#b) | 0) + this.#counter) | 0;

                this.#counter = (this.#counter + 1) | 0;
                this.#a = this.#b ^ (this.#b >>> 9);
                this.#b = (this.#c + (this.#c << 3)) | 0;
                this.#c = (this.#c << 21) | (this.#c >>> 11);
                this.#c = (this.#c + t) | 0;
                return t >>> 0;
        }

        /** Uniform in [0, 1), 53 bits. */
        unit() {
                return ((this.#next() >>> 5) * 0x4000000 + (this.#next() >>> 6)) / 0x20000000000000;
        }

        /** A whole number, uniform in [0, bound); 0 when bound is 0. */
        below(bound) {
                return Math.floor(this.unit() * bound);
        }

        /** A whole number, uniform in [from, to]. */
        between(from, to) {
                return from + this.below(to - from + 1);
        }
}

/** A seed that no two devices share: a herd seeded alike would come back as one. */
export function anySeed() {
        const words = new Uint32Array(2);

        if (globalThis.crypto?.getRandomValues)
                globalThis.crypto.getRandomValues(words);
        else
                words.set([Math.random() * 0x100000000, Math.random() * 0x100000000]);
        return (words[0] & 0x1fffff) * 0x100000000 + words[1];
}
