/* The core's promises that the contract table cannot measure: spans of time, and what needs many seeds. */
import assert from 'node:assert/strict';
import test from 'node:test';

import { FALLBACK_AFTER, STABLE_MS } from '../../../device/js/core.js';
import { hello, reset, signal, START, state, token, World } from './world.js';

const fail = (world) => world.step({ in: 'failed', link: world.link, why: 'nobody there' });

test('waits are drawn from 0 to a step that doubles from 0.5 s to 30 s', () => {
        const longest = [];

        for (let seed = 1; seed <= 400; seed++) {
                const world = new World({ seed, stream: false });

                world.wait();
                for (let i = 0; i < 9; i++) {
                        fail(world);
                        longest[i] = Math.max(longest[i] || 0, world.wait());
                }
        }
        [500, 1000, 2000, 4000, 8000, 16000, 30000, 30000, 30000].forEach((step, i) => {
                assert.ok(longest[i] <= step, `wait ${i} is at most ${step}: ${longest[i]}`);
                assert.ok(longest[i] > step * 0.95, `wait ${i} uses its span of ${step}: ${longest[i]}`);
        });
});

/* A node that lets everybody in and drops them again must not be knocked at twice a second. */
test('the backoff begins anew after 10 s of connection, and not before', () => {
        const longestAfter = (lived) => {
                let longest = 0;

                for (let seed = 1; seed <= 100; seed++) {
                        const world = new World({ seed, stream: false, since: token(1) });

                        world.wait();
                        for (let i = 0; i < 7; i++) {
                                fail(world);
                                world.waitFor('connect');
                        }
                        world.open();
                        world.hear(hello(1, true));
                        for (const end = world.now.mono + lived; world.now.mono < end;) {
                                world.pass(Math.min(Math.max(world.due(), 1), end - world.now.mono));
                                world.tick();
                        }
                        world.step({ in: 'closed', link: world.link, code: 0, why: '' });
                        longest = Math.max(longest, world.waitFor('connect'));
                }
                return longest;
        };

        assert.ok(longestAfter(STABLE_MS - 1) > 15000);
        assert.ok(longestAfter(STABLE_MS + 1) <= 500);
});

test('Retry-After is waited for, plus a part of a second, and at most an hour', () => {
        const world = new World();

        world.wait();
        world.step({ in: 'refused', link: world.link, status: 503, retryAfter: 7 });

        const first = world.wait();

        assert.ok(first >= 7000 && first < 8000, `${first}`);
        world.step({ in: 'refused', link: world.link, status: 429, retryAfter: 999999999 });
        assert.ok(world.wait() <= 3601000);
});

test('after a close with 1008 or 1013 the step is the longest at once', () => {
        let longest = 0;

        for (let seed = 1; seed <= 100; seed++) {
                const world = World.live(10, { seed });

                world.step({ in: 'closed', link: world.link, code: 1013, why: '' });
                longest = Math.max(longest, world.waitFor('connect'));
        }
        assert.ok(longest > 25000 && longest <= 30000);
});

test('a goaway is followed at a moment drawn uniformly from its span', () => {
        const moments = [];

        for (let seed = 1; seed <= 500; seed++) {
                const world = World.live(10, { seed });

                world.hear({ t: 'goaway', reason: 'drain', min_ms: 1000, max_ms: 31000 });
                moments.push(world.waitFor('connect'));
        }
        moments.sort((a, b) => a - b);
        assert.ok(moments[0] >= 1000 && moments[499] <= 31000);
        assert.ok(Math.abs(moments[250] - 16000) < 2500, `the median is ${moments[250]}`);
});

test('in a hand-over the first link is closed when the second has said hello, not when it opens', () => {
        const world = World.live();
        const first = world.link;

        world.hear({ t: 'goaway', reason: 'recycle', min_ms: 0, max_ms: 0 });
        world.waitFor('connect');
        assert.equal(world.core.state, 'connected');
        world.open();
        assert.equal(world.does('close'), undefined);
        world.hear(hello(10, true));
        assert.deepEqual(world.does('close'), { do: 'close', link: first, code: 1000 });
        assert.equal(world.core.state, 'connected');
        world.hear(signal(11), first);
        assert.deepEqual(world.done, [], 'of the first nothing counts any more');
});

test('a hand-over that fails again and again keeps the first link, and backs off', () => {
        const world = World.live();
        const first = world.link;
        const waits = [];

        world.hear({ t: 'goaway', reason: 'drain', min_ms: 0, max_ms: 0 });
        world.waitFor('connect');
        for (let i = 0; i < 8; i++) {
                fail(world);
                assert.equal(world.core.state, 'connected');
                world.step({ in: 'heard', link: first });
                waits.push(world.waitFor('connect'));
                world.step({ in: 'heard', link: first });
        }
        assert.ok(waits.every((ms) => ms <= 30000));
        world.hear(signal(11), first);
        assert.ok(world.does('deliver'));
});

test('a node that wants us gone while it is silent is given up, hand-over or not', () => {
        const world = World.live();

        world.hear({ t: 'goaway', reason: 'drain', min_ms: 0, max_ms: 0 });
        world.waitFor('connect');
        world.step({ in: 'refused', link: world.link, status: 403, retryAfter: null });
        assert.equal(world.core.state, 'connected', 'who still has a session keeps it');
        world.waitFor('cut');
        assert.equal(world.core.state, 'waiting');
});

/* A hidden tab's timers come once a minute: the question leaves late, and its answer must still count. */
test('a link is dead when it was asked and did not answer, however late the question was', () => {
        const world = World.live(10, {}, { ping_s: 10 });

        for (let i = 0; i < 5; i++) {
                world.pass(60000);
                world.tick();

                const asked = world.done.find((action) => action.do === 'send');

                assert.ok(asked, 'asked, not cut');
                world.pass(20);
                world.hear({ t: 'time', t0: asked.message.t0, t1: world.now.wall });
        }
        for (let i = 0; i < 3 && !world.does('cut'); i++) {
                world.pass(60000);
                world.tick();
        }
        assert.ok(world.does('cut'), 'who does not answer is given up all the same');
});

test('by WebSocket a few times, then by the stream, and back to WebSocket while the stream goes on', () => {
        const world = new World({ since: token(10) });

        for (let i = 0; i < FALLBACK_AFTER; i++) {
                assert.equal((world.waitFor('connect'), world.does('connect').via), 'ws');
                fail(world);
        }
        world.waitFor('connect');
        assert.equal(world.does('connect').via, 'sse');

        const stream = world.link;

        world.open();
        world.hear(hello(10, true, { ping_s: 0 }));
        assert.equal(world.core.via, 'sse');

        const waits = [];

        for (let i = 0; i < 9; i++) {
                waits.push(world.waitFor('connect'));
                assert.equal(world.does('connect').via, 'ws');
                fail(world);
                assert.equal(world.core.via, 'sse');
        }
        assert.ok(waits[0] <= 60000 && waits[8] > 1800000 && waits[8] <= 3600000, `ever rarer: ${waits}`);
        world.waitFor('connect');
        world.open();
        world.hear(hello(10, true));
        assert.deepEqual(world.does('close'), { do: 'close', link: stream, code: 1000 });
        assert.equal(world.core.via, 'ws');
});

const onStream = (options = {}) => {
        const world = new World({ since: token(10), ...options });

        world.wait();
        world.step({ in: 'refused', link: world.link, status: 426, retryAfter: null });
        world.waitFor('connect');
        world.open();
        world.hear(hello(10, true, { ping_s: 0 }));
        return world;
};

test('looking for WebSocket in vain does not make a lost stream come back later', () => {
        let longest = 0;

        for (let seed = 1; seed <= 100; seed++) {
                const world = onStream({ seed });
                const stream = world.link;

                for (let i = 0; i < 6; i++) {
                        world.waitFor('connect');
                        fail(world);
                }
                world.step({ in: 'closed', link: stream, code: 0, why: '' });
                longest = Math.max(longest, world.waitFor('connect'));
        }
        assert.ok(longest <= 500, `${longest}`);
});

test('a node that leaves while WebSocket is looked for is left, though that comes to nothing', () => {
        for (const [reason, leaves] of [['drain', false], ['overload', true]]) {
                const world = onStream();
                const stream = world.link;

                world.waitFor('connect');
                world.hear({ t: 'goaway', reason, min_ms: 0, max_ms: 0 }, stream);
                fail(world);

                const ms = world.waitFor('connect');

                assert.ok(ms <= 30000, `${reason}: ${ms}`);
                assert.equal(world.core.state, leaves ? 'connecting' : 'connected', reason);
        }
});

test('a stream that ends is taken up again as a stream', () => {
        const world = new World({ since: token(10) });

        world.wait();
        world.step({ in: 'refused', link: world.link, status: 426, retryAfter: null });
        world.waitFor('connect');
        world.open();
        world.hear(hello(10, true, { ping_s: 0 }));
        world.step({ in: 'closed', link: world.link, code: 0, why: '' });
        world.waitFor('connect');
        assert.equal(world.does('connect').via, 'sse');
});

test('where neither works, both are tried in turns', () => {
        const world = new World();
        const ways = [];

        for (let i = 0; i < 9; i++) {
                world.waitFor('connect');
                ways.push(world.does('connect').via);
                fail(world);
        }
        assert.deepEqual(ways, ['ws', 'ws', 'ws', 'sse', 'ws', 'sse', 'ws', 'sse', 'ws']);
});

test('nothing is sent on a stream', () => {
        const world = new World({ since: token(10), webSocket: false });

        world.wait();
        assert.equal(world.does('connect').via, 'sse');
        world.open();
        world.hear(hello(10, true, { ping_s: 0 }));
        world.hear(signal(11));
        assert.ok(world.does('deliver'));
        assert.equal(world.core.dueAt(world.now), world.now.mono + STABLE_MS);
        world.wait();
        assert.equal(world.core.dueAt(world.now), Infinity);
});

test('acks are drawn from the span of hello', () => {
        const waits = [];

        for (let seed = 1; seed <= 300; seed++) {
                const world = World.live(10, { seed }, { ack_spread_ms: 4000 });

                world.hear(signal(11));
                for (let ms = 0; ;) {
                        ms += world.wait();
                        if (world.done.some((action) => action.do === 'send' && action.message.t === 'ack')) {
                                waits.push(ms);
                                break;
                        }
                }
        }
        waits.sort((a, b) => a - b);
        assert.ok(waits[299] <= 4000 && Math.abs(waits[150] - 2000) < 400, `median ${waits[150]}, max ${waits[299]}`);
});

test('a start that lies ahead is due at its moment by the node\'s clock, in one step if nothing happens', () => {
        const world = World.live(10, {}, { now: START + 5000, ping_s: 0 });

        world.hear(signal(11, { at: START + 5000 + 90000000 }));
        assert.equal(world.does('due'), undefined);

        const ms = world.waitFor('due');

        assert.ok(Math.abs(ms - 90000000) <= 1, `${ms}`);
        assert.equal(world.does('due').state.stage, 'live');
});

test('setting the wall clock makes nothing early or late', () => {
        const world = World.live(10, {}, { now: START, ping_s: 0 });

        world.hear(signal(11, { at: START + 60000 }));
        world.pass(1000);
        world.now.wall += 3600000; /* somebody sets it an hour ahead */
        world.tick();
        assert.equal(world.does('due'), undefined);
        assert.ok(world.due() <= 1000, 'and the node is asked soon');
        assert.ok(Math.abs(world.waitFor('due') - 59000) <= 1);
});

test('a device that slept finds out what time it is from the node', () => {
        const world = World.live(10, {}, { now: START, ping_s: 0 });
        const answer = (late = 0) => {
                const sent = world.done.find((action) => action.do === 'send' && action.message.t === 'time');

                if (sent) {
                        world.pass(late);
                        world.hear({ t: 'time', t0: sent.message.t0, t1: world.now.wall - late / 2 });
                }
                return sent;
        };

        for (let i = 0; i < 3; i++)
                do world.wait(); while (!answer());
        world.now.wall += 600000; /* it sleeps for ten minutes; its monotonic clock stands still */
        world.tick();
        assert.ok(world.due() <= 1000, 'it asks soon');
        do world.wait(); while (!answer(500));
        assert.equal(world.core.offset(world.now), 0, 'and believes that answer, not the eight before');
});

test('how wrong the clock may be is half a round trip, and what clocks drift', () => {
        const world = World.live(10, {}, { ping_s: 0 });
        const error = () => world.core.clockError(world.now);

        assert.equal(error(), null, 'a hello alone says nothing of it');
        for (const rtt of [90, 20, 300]) {
                let asked;

                do {
                        world.wait();
                        asked = world.done.find((action) => action.do === 'send');
                } while (!asked);
                world.pass(rtt);
                /* The slowest is all the way in one direction. */
                world.hear({ t: 'time', t0: asked.message.t0, t1: world.now.wall - (rtt === 300 ? 0 : rtt / 2) });
        }
        assert.equal(world.core.offset(world.now), 0, 'an outlier moves nothing');
        assert.ok(error() >= 10 && error() < 11, `${error()}`);
        world.pass(100000);
        assert.ok(error() > 14 && error() < 16, `${error()}`);
});

test('a restart makes due only what was not due before it', () => {
        const world = new World();

        world.core.restore(token(10), [state('a', { stage: 'live', at: 5, shown: true }), state('b', { stage: 'live', at: 6 })]);
        world.wait();
        assert.equal(world.does('connect').since, token(10));
        world.open();
        world.hear(hello(10, true));
        assert.deepEqual(world.done.filter((action) => action.do === 'due').map((action) => action.state.event), ['b']);
});

test('after a reset nothing is due a second time', () => {
        const world = World.live();

        world.hear(signal(11, { at: 5 }));
        assert.ok(world.does('due'));
        world.hear(reset(12, [state('final', { stage: 'live', at: 5 })]));
        assert.equal(world.does('due'), undefined);
        world.hear(reset(13, [state('final', { stage: 'ended', at: 6 })]));
        assert.equal(world.does('due').state.stage, 'ended');
});

test('a tag is remembered for as many signals as a hand-over may repeat', () => {
        const world = World.live();

        for (let seq = 11; seq <= 210; seq++)
                world.hear(signal(seq));
        world.hear(signal(11));
        assert.deepEqual(world.done, []);
        world.hear(signal(12, { token: token(12, 5) }));
        assert.equal(world.does('close').code, 1002);
});
