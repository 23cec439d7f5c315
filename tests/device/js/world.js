/* tests/device/js/world.js -- a core on virtual time, and a node's words for it. */
import { Core } from '../../../device/js/core.js';

export const EPOCH = '8c1f0a2b3d4e5f60';
export const START = 1795464000000;

const hex = (n) => n.toString(16).padStart(16, '0');

export function token(seq, tag = 0x77 + seq, epoch = EPOCH) {
        return `${epoch}.${seq}.${hex(tag)}`;
}

export function state(event, fields = {}) {
        return { event, stage: 'scheduled', at: 1000, starts_at: START, version: 1, bundle: 0, ...fields };
}

export function signal(seq, fields = {}) {
        return { t: 'signal', seq, token: token(seq), kind: 'start', sent: 1000, ...state('final', { stage: 'live' }), ...fields };
}

export function reset(seq, events = [], fields = {}) {
        return { t: 'reset', reason: 'new', token: token(seq), events, ...fields };
}

export function hello(seq, recovered, fields = {}) {
        return { t: 'hello', node: 'a1', session: hex(1), token: token(seq), now: START, ping_s: 50, lifetime_s: 1800,
                ack_spread_ms: 2000, recovered, ...(recovered ? {} : { reason: 'new' }), ...fields };
}

export class World {
        now = { mono: 1000, wall: START };
        done = []; /* of the last step */
        link = 0; /* the newest link */

        constructor(options = {}) {
                this.core = new Core({ seed: 7, ...options });
        }

        step(input) {
                this.done = this.core.step(input, this.now);
                for (const action of this.done)
                        if (action.do === 'connect')
                                this.link = action.link;
                return this.done;
        }

        pass(ms) {
                this.now = { mono: this.now.mono + ms, wall: this.now.wall + ms };
        }

        tick() {
                return this.step({ in: 'tick' });
        }

        due() {
                return this.core.dueAt(this.now) - this.now.mono;
        }

        /** To the next moment that the core waits for. Returns how long that was. */
        wait() {
                const ms = Math.max(this.due(), 0);

                this.pass(ms);
                this.tick();
                return ms;
        }

        /** Wait until it does this. Returns how long that was. */
        waitFor(what, limit = 1000) {
                let ms = 0;

                while (limit-- > 0) {
                        ms += this.wait();
                        if (this.does(what))
                                return ms;
                }
                throw new Error(`never: ${what}`);
        }

        does(what) {
                return this.done.find((action) => action.do === what);
        }

        hear(message, link = this.link) {
                return this.step({ in: 'message', link, message });
        }

        open() {
                return this.step({ in: 'opened', link: this.link });
        }

        /** Connected and resumed at `seq`. */
        static live(seq = 10, options = {}, fields = {}) {
                const world = new World({ since: token(seq), ...options });

                world.wait();
                world.open();
                world.hear(hello(seq, true, { now: world.now.wall, ...fields }));
                return world;
        }
}
