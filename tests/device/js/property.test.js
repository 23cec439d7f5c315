/* Whatever a node and a network do, what the app sees obeys the delivery contract's lines 4, 6 and 7: no hole, no fork, no
 * step back, nothing twice. A node that is sometimes right and sometimes not at all is played at random, on two links
 * at once while a hand-over goes on, and the app's view is checked at each step. */
import assert from 'node:assert/strict';
import test from 'node:test';

import { parseToken } from '../../../device/js/message.js';
import { Random } from '../../../device/js/random.js';
import { EPOCH, hello, reset, signal, state, token, World } from './world.js';

const SEEDS = Number(process.env.KICKOFF_TEST_SEEDS || 2000);
const STEPS = 300;
const OTHER = '00000000000000ff';

class Play {
        constructor(seed) {
                this.random = new Random(seed);
                this.seen = seed % 2 === 0 ? token(10) : '';
                this.world = new World({ seed, since: this.seen, backoffMaxMs: 5000 });
                this.links = new Map(); /* id -> 'connecting' | 'greeting' | 'live' */
                this.counts = { signals: 0, resets: 0, losses: 0, handOvers: 0, skips: 0 };
                this.due = new Map();
        }

        chance(n) {
                return this.random.below(n) === 0;
        }

        anyToken() {
                const here = this.seen === '' ? parseToken(token(0)) : parseToken(this.seen);
                let { epoch, seq } = here;

                switch (this.random.below(9)) {
                case 0:
                        seq += this.random.below(5);
                        break;
                case 1:
                case 2:
                        seq = Math.max(seq - this.random.below(4), 0);
                        break;
                case 3:
                        epoch = this.chance(2) ? OTHER : EPOCH;
                        seq++;
                        break;
                default:
                        seq++;
                }
                return token(seq, this.chance(12) ? 1 : 0x77 + seq, epoch);
        }

        message() {
                const at = this.anyToken();
                const { seq } = parseToken(at);

                switch (this.random.below(8)) {
                case 0:
                        return hello(seq, this.chance(2), { token: at });
                case 1:
                        return reset(seq, [state('final', { at: this.random.below(3) })], { token: at });
                case 2:
                        return { t: 'skip', token: at };
                case 3:
                        return { t: 'goaway', reason: this.chance(200) ? 'replaced' : ['recycle', 'drain', 'overload'][
                                this.random.below(3)], min_ms: 0, max_ms: this.random.below(2000) };
                case 4:
                        return { t: 'time', t0: this.world.now.wall, t1: this.random.below(1000) };
                default:
                        return signal(seq, { token: at, at: this.random.below(5) });
                }
        }

        input() {
                const ids = [...this.links.keys()];
                const link = ids[this.random.below(ids.length)];

                if (ids.length === 0 || this.chance(6)) {
                        this.world.pass(Math.min(Math.max(this.world.due(), 0), 3600000));
                        return { in: 'tick' };
                }
                if (this.chance(200))
                        return { in: 'cut' };
                if (this.links.get(link) === 'connecting') {
                        if (this.chance(3))
                                return this.chance(2) ? { in: 'failed', link, why: 'x' }
                                        : { in: 'refused', link, status: 503, retryAfter: this.chance(2) ? 1 : null };
                        return { in: 'opened', link };
                }
                if (this.chance(40))
                        return { in: 'closed', link, code: [0, 1000, 1012, 1013][this.random.below(4)], why: '' };
                if (this.links.get(link) === 'greeting' && !this.chance(4))
                        return { in: 'message', link, message: this.greeting() };
                return { in: 'message', link, message: this.message() };
        }

        greeting() {
                const recovered = this.seen !== '' && !this.chance(4);
                const place = this.seen === '' ? token(0) : this.seen;

                return hello(parseToken(place).seq, recovered, { token: place });
        }

        step() {
                const input = this.input();
                if (['failed', 'refused', 'closed'].includes(input.in))
                        this.links.delete(input.link);
                else if (input.in === 'opened')
                        this.links.set(input.link, 'greeting');
                for (const action of this.world.step(input))
                        this.check(input, action);
                if (input.in === 'message' && input.message.t === 'skip')
                        this.skip(input.message);
                assert.ok(this.links.size <= 2, 'two links at most');
                assert.equal(this.world.core.token, this.seen, 'the token is what the app has seen, or was skipped to');
                assert.ok(this.world.core.state === 'stopped' || this.world.due() < Infinity || this.links.size > 0,
                        'it always waits for something');
                if (this.world.core.state === 'waiting')
                        assert.ok(this.world.due() <= 6000, 'and never for long');        }

        /* The app is not told: the place may move only on, and only to where the node said. */
        skip(message) {
                if (this.world.core.token === this.seen)
                        return;

                const now = parseToken(message.token);
                const before = parseToken(this.seen);

                assert.ok(now.epoch === before.epoch && now.seq > before.seq, 'a skip leads on');
                this.seen = message.token;
                this.counts.skips++;
        }

        check(input, action) {
                switch (action.do) {
                case 'connect':
                        this.links.set(action.link, 'connecting');
                        assert.equal(action.since, this.seen, 'it resumes from what the app has seen');
                        break;
                case 'close':
                case 'cut':
                        assert.ok(this.links.has(action.link), 'only what is there is closed');
                        if (this.links.size === 2 && input.message?.t === 'hello' && action.code === 1000) {
                                assert.equal(this.links.get(action.link), 'live');
                                this.counts.handOvers++;
                        }
                        this.links.delete(action.link);
                        this.counts.losses++;
                        break;
                case 'send':
                        assert.equal(this.links.get(action.link), 'live', 'nothing is said before hello');
                        break;
                case 'due': {
                        const { event, stage, at } = action.state;
                        const key = `${stage}@${at}`;

                        assert.notEqual(this.due.get(event), key, 'nothing is due twice');
                        this.due.set(event, key);
                        break;
                }
                case 'deliver':
                        this.deliver(input, action.message);
                        break;
                }
        }

        deliver(input, message) {
                assert.ok(this.links.has(input.link), 'of a link that is there');
                if (message.t === 'hello') {
                        this.links.set(input.link, 'live');
                        this.resetDue = !message.recovered;
                } else if (message.t === 'reset') {
                        this.seen = message.token;
                        this.resetDue = false;
                        this.counts.resets++;
                } else if (message.t === 'signal') {
                        const now = parseToken(message.token);
                        const before = parseToken(this.seen);

                        assert.equal(this.resetDue, false, 'no signal before the reset that is due');
                        assert.equal(now.epoch, before.epoch, 'no other epoch without a reset');
                        assert.equal(now.seq, before.seq + 1, 'no hole, nothing twice');
                        this.seen = message.token;
                        this.counts.signals++;
                }
        }
}

test(`the app never sees a hole, a fork, a repeat or a step back (${SEEDS} seeds)`, () => {
        const total = {};

        for (let seed = 1; seed <= SEEDS; seed++) {
                const play = new Play(seed);

                try {
                        for (let i = 0; i < STEPS && play.world.core.state !== 'stopped'; i++)
                                play.step();
                } catch (error) {
                        error.message = `seed ${seed}: ${error.message}`;
                        throw error;
                }
                for (const [name, n] of Object.entries(play.counts))
                        total[name] = (total[name] || 0) + n;
        }
        /* the play reaches what it is about */
        for (const name of ['signals', 'resets', 'losses', 'handOvers', 'skips'])
                assert.ok(total[name] > SEEDS / 4, `${name}: ${total[name]}`);
});
