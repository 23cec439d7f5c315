/* The shell: what an app sees, with a WebSocket and a fetch of the test's own. */
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import test from 'node:test';

import { KickoffDevice, memoryStorage } from '../../../device/js/kickoff_device.js';
import { hello, reset, signal, state, token } from './world.js';

/* One that the test plays the node's part of. */
class Socket {
        static all = [];
        static waiting = [];
        readyState = 0;
        sent = [];
        closed = null;

        constructor(url) {
                this.url = new URL(url);
                Socket.all.push(this);
                Socket.waiting.splice(0).forEach((resolve) => resolve());
        }

        static async next(n) {
                while (Socket.all.length < n)
                        await new Promise((resolve) => Socket.waiting.push(resolve));
                return Socket.all[n - 1];
        }

        open() {
                this.readyState = 1;
                this.onopen();
        }

        say(...messages) {
                for (const message of messages)
                        this.onmessage({ data: JSON.stringify(message) });
        }

        send(text) {
                this.sent.push(JSON.parse(text));
        }

        close(code) {
                this.closed = code;
                this.readyState = 3;
        }
}

function device(options = {}) {
        const seen = [];
        const note = (name) => (...values) => seen.push([name, ...values]);
        const made = new KickoffDevice({ url: 'ws://127.0.0.1:1', device: 'd-1', WebSocket: Socket, prefetch: false,
                backoffMinMs: 1, backoffMaxMs: 1, seed: 3, onSignal: note('signal'), onReset: note('reset'), onDue: note('due'),
                onState: note('state'), onBundle: note('bundle'), ...options });

        return { made, seen, of: (name) => seen.filter(([one]) => one === name).map(([, value]) => value) };
}

async function connected(options, seq = 10, recovered = false, events = []) {
        const before = Socket.all.length;
        const one = device(options);
        const socket = await Socket.next(before + 1);

        socket.open();
        socket.say(hello(seq, recovered, { now: Date.now(), prefetch_ms: 0 }));
        if (!recovered)
                socket.say(reset(seq, events));
        return { ...one, socket };
}

const until = async (holds) => {
        while (!holds())
                await new Promise((resolve) => setTimeout(resolve, 1));
};

test('a listener that throws breaks nothing, and its error is not lost', async () => {
        const errors = [];
        const catcher = (error) => errors.push(error.message);

        process.prependOnceListener('uncaughtException', catcher);
        process.removeAllListeners('uncaughtException').once('uncaughtException', catcher);

        const { made, socket, of } = await connected({ onReset: () => { throw new Error('the app is wrong'); } });

        socket.say(signal(11));
        assert.equal(of('signal').length, 1);
        assert.equal(made.token, token(11));
        await until(() => errors.length > 0);
        assert.deepEqual(errors, ['the app is wrong']);
        made.close();
});

test('an app may close in the middle of a callback, and hears no more', async () => {
        const { made, socket, of } = await connected({});
        const off = made.on('signal', () => made.close());

        socket.say(signal(11));
        assert.equal(socket.closed, 1000);
        assert.equal(made.state, 'stopped');
        assert.equal(of('state').at(-1), 'stopped');
        off();
        socket.onmessage({ data: JSON.stringify(signal(12)) });
        assert.equal(of('signal').length, 1);
});

test('an app may cut in the middle of a callback, and the device comes back with the newest token', async () => {
        const { made, socket } = await connected({});
        const n = Socket.all.length;

        made.on('signal', () => made.cut());
        socket.say(signal(11));

        const again = await Socket.next(n + 1);

        assert.equal(again.url.searchParams.get('since'), token(11));
        made.close();
});

test('a due listener is an activation: the ack says when', async () => {
        const { made, socket } = await connected({});

        socket.say(signal(11, { at: 5 }));
        await until(() => socket.sent.some((message) => message.t === 'ack'));

        const ack = socket.sent.find((message) => message.t === 'ack');

        assert.equal(ack.seq, 11);
        assert.ok(Math.abs(ack.activated_at - Date.now()) < 60000);
        made.close();
});

test('a page\'s WebSocket is closed with a code that pages may use', async () => {
        const { made, socket } = await connected({});

        socket.say(signal(99));
        assert.equal(socket.closed, 4002);
        made.close();
});

const BODY = new TextEncoder().encode('{"stages":{}}');
const digest = (bytes) => createHash('sha256').update(bytes).digest('hex');

function server(answers) {
        const asked = [];

        return {
                asked,
                fetch: async (url, init) => {
                        asked.push({ url: new URL(url), init });

                        const [status, body, headers] = answers.length > 1 ? answers.shift() : answers[0];

                        return new Response(status === 304 ? null : body, { status, headers });
                },
        };
}

const headersOf = (bytes, bundle) => ({ 'Kickoff-Hash': `sha-256=${digest(bytes)}`, 'Kickoff-Bundle': String(bundle),
        ETag: `"${digest(bytes)}"`, 'Cache-Control': 'max-age=300', 'Content-Type': 'application/json' });

test('a restarted app shows from storage what it showed last, before any node answers, and misses nothing', async () => {
        const storage = memoryStorage();
        const { fetch, asked } = server([[200, BODY, headersOf(BODY, 1)]]);
        const options = { storage, fetch, prefetch: true };
        const first = await connected(options, 10, false, [state('final', { bundle: 1 })]);

        first.socket.say(signal(11, { at: 5, bundle: 1 }));
        await until(() => first.of('bundle').length > 0);
        first.made.close();

        const before = Socket.all.length;
        const second = device(options);
        const socket = await Socket.next(before + 1);

        await until(() => second.of('bundle').length > 0);
        assert.deepEqual(second.of('due').map((due) => [due.event, due.stage]), [['final', 'live']]);
        assert.equal(second.made.bundle('final').text(), '{"stages":{}}');
        assert.equal(socket.url.searchParams.get('since'), token(11));
        socket.open();
        socket.say(hello(11, true, { now: Date.now() }), signal(12, { stage: 'halftime', at: 6, bundle: 1 }));
        assert.deepEqual(second.of('due').map((due) => due.stage), ['live', 'halftime']);
        assert.equal(asked.length, 1, 'and the bundle was fetched once in both lives');
        second.made.close();
});

test('wrong bytes in storage are not shown', async () => {
        const storage = memoryStorage();
        const { fetch } = server([[200, BODY, headersOf(BODY, 1)]]);
        const options = { storage, fetch, prefetch: true };
        const first = await connected(options, 10, false, [state('final', { bundle: 1 })]);

        await until(() => first.of('bundle').length > 0);
        first.made.close();
        storage.get('bundle:default:final').body[0] ^= 1;

        const second = await connected(options, 10, true);

        await until(() => second.of('bundle').length > 0);
        assert.deepEqual(second.seen.filter(([name]) => name === 'bundle').map(([, bundle, from]) => [bundle.text(), from]),
                [['{"stages":{}}', 'network']]);
        second.made.close();
});

test('a storage that always fails costs a fetch', async () => {
        const fail = () => { throw new Error('quota'); };
        const { fetch } = server([[200, BODY, headersOf(BODY, 1)]]);
        const { made, of } = await connected({ storage: { get: fail, set: fail, delete: fail }, fetch, prefetch: true }, 10, false,
                [state('final', { bundle: 1 })]);

        await until(() => of('bundle').length > 0);
        made.close();
});

test('a choice of bundles that throws is a no, and its error is not lost', async () => {
        const errors = [];

        process.removeAllListeners('uncaughtException').once('uncaughtException', (error) => errors.push(error.message));

        const { made, socket, of } = await connected({ prefetch: () => { throw new Error('the choice is wrong'); },
                fetch: async () => { throw new Error('nothing is asked'); } }, 10, false, [state('final', { bundle: 1 })]);

        socket.say(signal(11));
        assert.equal(of('signal').length, 1);
        await until(() => errors.length > 0);
        assert.deepEqual(errors, ['the choice is wrong']);
        made.close();
});

test('who closes asks for nothing more, and drops what it asked for', async () => {
        let signalOf = null;
        const { made } = await connected({ prefetch: true, fetch: (url, { signal: abort }) => {
                signalOf = abort;
                return new Promise((resolve, reject) => abort.addEventListener('abort', () => reject(abort.reason)));
        } }, 10, false, [state('final', { bundle: 1 })]);

        await until(() => signalOf !== null);
        made.close();
        assert.ok(signalOf.aborted);
});

test('a node from before Kickoff-Hash is believed by its ETag, whichever coding it names', async () => {
        for (const suffix of ['', '-gzip', '-zstd']) {
                const { 'Kickoff-Hash': _, ...headers } = headersOf(BODY, 1);
                const { fetch } = server([[200, BODY, { ...headers, ETag: `"${digest(BODY)}${suffix}"` }]]);
                const { made, of } = await connected({ fetch, prefetch: true }, 10, false, [state('final', { bundle: 1 })]);

                await until(() => of('bundle').length > 0);
                made.close();
        }
});

test('options that no node would take are refused at once', () => {
        for (const wrong of [{ url: 'x' }, { device: 'a b' }, { cohort: '' }, { since: 'x' }])
                assert.throws(() => device(wrong), TypeError, JSON.stringify(wrong));

        const { made } = device();

        assert.throws(() => made.on('nothing', () => {}), TypeError);
        made.close();
});
