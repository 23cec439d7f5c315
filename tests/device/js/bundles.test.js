import assert from 'node:assert/strict';
import test from 'node:test';

import { Bundles } from '../../../device/js/bundles.js';
import { Random } from '../../../device/js/random.js';
import { EPOCH, hello, reset, signal, START, state } from './world.js';

const GOOD = { status: 200, bundle: 1, hash: 'h', actual: 'h', etag: '"h"', type: 'x', position: null, maxAge: 300,
        retryAfter: null, body: 'bytes' };

class World {
        now = { mono: 0, wall: START };

        constructor(seed = 7, wants = () => true) {
                this.bundles = new Bundles(new Random(seed), wants);
        }

        told(message) {
                return this.bundles[message.t](message, this.now);
        }

        /* Told of bundle 1 by a reset; storage has `meta`. */
        static with(meta, seed, span = 1000) {
                const world = new World(seed);

                world.told(hello(1, false, { prefetch_ms: span }));
                assert.deepEqual(world.told(reset(1, [state('final', { bundle: 1 })])), [{ do: 'look', event: 'final' }]);
                world.bundles.found('final', meta, world.now);
                return world;
        }

        /* Until the next fetch. Returns it, and how long it was away. */
        wait() {
                const ms = this.bundles.dueAt() - this.now.mono;

                assert.ok(ms < Infinity, 'a fetch is planned');
                this.now = { mono: this.now.mono + ms, wall: this.now.wall + ms };

                const [fetch] = this.bundles.tick(this.now);

                return { ms, fetch };
        }

        back(result) {
                return this.bundles.fetched('final', { ...GOOD, ...result }, this.now);
        }
}

const spread = (draw) => {
        const all = Array.from({ length: 400 }, (_, seed) => draw(seed + 1)).sort((a, b) => a - b);

        return { min: all[0], median: all[200], max: all[399] };
};
const within = ({ min, median, max }, from, to) => {
        assert.ok(min >= from && max <= to, `${min} to ${max} lies in ${from} to ${to}`);
        assert.ok(Math.abs(median - (from + to) / 2) < (to - from) / 8, `the median is ${median}`);
};

test('a first fetch is at a moment drawn from prefetch_ms, 10 s without', () => {
        within(spread((seed) => World.with(null, seed, 40000).wait().ms), 0, 40000);
        within(spread((seed) => {
                const world = new World(seed);

                world.told(hello(1, false));
                world.told(reset(1, [state('final', { bundle: 1 })]));
                world.bundles.found('final', null, world.now);
                return world.wait().ms;
        }), 0, 10000);
});

test('a changed bundle is fetched at a moment drawn from window_ms, 60 s without', () => {
        const again = (fields) => (seed) => {
                const world = World.with(null, seed);

                world.wait();
                world.back({});
                world.told(signal(2, { kind: 'refresh', bundle: 2, ...fields }));
                return world.wait().ms;
        };

        within(spread(again({ window_ms: 300000 })), 0, 300000);
        within(spread(again({})), 0, 60000);
});

test('what storage holds and is fresh is not fetched again', () => {
        const held = { epoch: EPOCH, bundle: 1, hash: 'h', etag: '"h"', expires: START + 1 };

        assert.equal(World.with(held).bundles.dueAt(), Infinity);
        for (const other of [{ expires: START }, { bundle: 0 }, { epoch: '00000000000000ff' }])
                assert.equal(World.with({ ...held, ...other }).wait().fetch.etag, '"h"', JSON.stringify(other));
});

test('bundle numbers of another epoch are not compared', () => {
        const world = World.with(null);

        world.wait();
        world.back({ bundle: 9 });
        assert.equal(world.bundles.dueAt(), Infinity);
        world.told(reset(1, [state('final', { bundle: 3 })], { token: '00000000000000ff.1.0000000000000001' }));
        assert.equal(world.wait().fetch.event, 'final');
});

test('wrong bytes are never kept, and are asked for anew past every cache', () => {
        const world = World.with(null);

        world.wait();
        for (const wrong of [{ actual: 'other' }, { hash: null }, { bundle: null }]) {
                assert.deepEqual(world.back(wrong), []);
                assert.deepEqual(world.wait().fetch, { do: 'fetch', event: 'final', reload: true, etag: null });
        }
        assert.equal(world.back({})[0].do, 'keep');
});

test('an older body does not take the place of a newer one', () => {
        const world = World.with(null);

        world.wait();
        world.back({ bundle: 5 });
        world.told(signal(2, { bundle: 6, window_ms: 10 }));
        world.wait();
        assert.deepEqual(world.back({ bundle: 4 }), []);
        assert.ok(world.wait().fetch, 'and it is asked for again');
});

test('a node that is behind is asked again, and what it had is shown meanwhile', () => {
        const world = World.with(null);

        world.told(signal(2, { bundle: 3, window_ms: 10 }));
        world.wait();
        assert.equal(world.back({ bundle: 2 })[0].meta.bundle, 2);
        world.wait();
        assert.equal(world.back({ bundle: 3 })[0].meta.bundle, 3);
        assert.equal(world.bundles.dueAt(), Infinity);
});

test('failures back off with jitter, to a minute at most', () => {
        within(spread((seed) => {
                const world = World.with(null, seed);
                let ms;

                world.wait();
                for (let i = 0; i < 10; i++) {
                        world.back({ status: [0, 500, 503][i % 3] });
                        ({ ms } = world.wait());
                }
                return ms;
        }), 30000, 60000);
});

test('a 404 is asked about again after its lifetime, give or take a fifth; 410 and refusals are not', () => {
        within(spread((seed) => {
                const world = World.with(null, seed);

                world.wait();
                world.back({ status: 404, maxAge: 100 });
                return world.wait().ms;
        }), 80000, 120000);
        for (const status of [400, 401, 403, 410]) {
                const world = World.with(null);

                world.wait();
                assert.deepEqual(world.back({ status }), []);
                assert.equal(world.bundles.dueAt(), Infinity, `${status}`);
        }
});

test('an event that is over, or that the app does not want, is not fetched for; what a reset forgets is dropped', () => {
        const world = World.with(null);

        world.told(signal(2, { kind: 'end', stage: 'ended', bundle: 1 }));
        assert.equal(world.bundles.dueAt(), Infinity);
        assert.deepEqual(world.told(reset(3, [])), [{ do: 'drop', event: 'final' }]);
        assert.deepEqual(new World(1, () => false).told(reset(1, [state('final', { bundle: 1 })])), []);
});

test('a second change while a fetch is planned or under way costs no second fetch at once', () => {
        const world = World.with(null);

        world.told(signal(2, { bundle: 2, window_ms: 0 }));
        assert.equal(world.wait().ms, 0, 'the sooner moment holds');
        world.told(signal(3, { bundle: 3, window_ms: 0 }));
        assert.deepEqual(world.bundles.tick(world.now), []);
        world.back({ bundle: 3 });
        assert.equal(world.bundles.dueAt(), Infinity);
});

test('who is told of a newer one while it fetches takes a moment of that window, too', () => {
        within(spread((seed) => {
                const world = World.with(null, seed);

                world.wait();
                world.told(signal(2, { kind: 'refresh', bundle: 2, window_ms: 300000 }));
                world.back({ bundle: 1 });
                return world.wait().ms;
        }), 0, 300000);
});
