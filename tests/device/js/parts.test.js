/* The small pure parts: SHA-256, the two framings cut anywhere, URLs, storages. */
import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import test from 'node:test';

import { FrameReader } from '../../../device/js/node_socket.js';
import { parsePlace, whoAsks } from '../../../device/js/place.js';
import { Random } from '../../../device/js/random.js';
import { sha256, sha256Plain } from '../../../device/js/sha256.js';
import { localStorageStorage, memoryStorage } from '../../../device/js/storage.js';
import { EventStream, retryAfterOf } from '../../../device/js/stream.js';

test('SHA-256 in plain JavaScript is that of the platform, at every length around a block', async () => {
        for (const size of [...Array(140).keys(), 1000, 65537]) {
                const bytes = new Uint8Array(randomBytes(size));
                const wanted = createHash('sha256').update(bytes).digest('hex');

                assert.equal(sha256Plain(bytes), wanted, `${size}`);
                if (size % 50 === 0)
                        assert.equal(await sha256(bytes), wanted);
        }
        assert.equal(sha256Plain(new Uint8Array(0)), 'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855');
});

test('random numbers are uniform and repeat with their seed', () => {
        const counts = new Array(10).fill(0);
        const one = new Random(5);
        const same = new Random(5);

        for (let i = 0; i < 100000; i++) {
                const n = one.between(3, 12);

                assert.equal(same.between(3, 12), n);
                counts[n - 3]++;
        }
        assert.ok(counts.every((count) => Math.abs(count - 10000) < 500), `${counts}`);
        assert.equal(one.below(0), 0);
        assert.notEqual(new Random(1).unit(), new Random(1 + 0x100000000).unit(), 'the high half of a seed counts');
});

const cut = (bytes, random) => {
        const pieces = [];

        for (let at = 0; at < bytes.length;) {
                const end = at + 1 + random.below(7);

                pieces.push(bytes.slice(at, end));
                at = end;
        }
        return pieces;
};

test('a CR and its LF are one line end, also in two pieces; the LF after that is another', () => {
        const got = [];
        const stream = new EventStream((data) => got.push(data), () => {});

        for (const piece of ['data: a\r', '\n', '\n', 'data: b\r', '\n', '\r', '\n'])
                stream.push(piece);
        assert.deepEqual(got, ['a', 'b']);
});

test('an event stream means the same wherever it is cut', () => {
        const text = '\ufeff: hello\n\nid: 1\ndata: {"t":\ndata: "a"}\n\r\ndata:two\r\rdata\n\nevent: x\nretry: 5\n\n:\n' +
                'nonsense\ndata: kick-off für alle\r\n\r\n';
        const wanted = ['{"t":\n"a"}', 'two', '', 'kick-off für alle'];

        for (let seed = 1; seed <= 500; seed++) {
                const got = [];
                let heard = 0;
                const stream = new EventStream((data) => got.push(data), () => heard++);

                for (const piece of seed === 1 ? [text] : cut(text, new Random(seed)))
                        assert.ok(stream.push(piece));
                assert.deepEqual(got, wanted, `seed ${seed}`);
                assert.ok(heard >= 2);
        }
});

test('an event stream without an end is given up', () => {
        const stream = new EventStream(() => {}, () => {});

        assert.equal(Array.from({ length: 40 }, () => stream.push('x'.repeat(65536))).includes(false), true);
});

const frame = (first, payload) => Buffer.concat([
        Buffer.from(payload.length < 126 ? [first, payload.length] : [first, 126, payload.length >> 8, payload.length & 255]),
        Buffer.from(payload)]);

test('frames mean the same wherever they are cut', () => {
        const long = 'x'.repeat(5000);
        const bytes = Buffer.concat([frame(0x81, 'one'), frame(0x01, 'tw'), frame(0x89, 'ping'), frame(0x00, ''),
                frame(0x80, 'o'), frame(0x81, long), frame(0x88, '\x03A')]);
        const wanted = [[1, 'one'], [9, 'ping'], [1, 'two'], [1, long], [8, '\x03A']].map(([opcode, text]) =>
                ({ opcode, payload: Buffer.from(text) }));

        for (let seed = 1; seed <= 200; seed++) {
                const reader = new FrameReader();
                const got = cut(bytes, new Random(seed)).flatMap((piece) => reader.push(piece));

                assert.deepEqual(got, wanted);
        }
});

test('frames that RFC 6455 forbids to a server are a breach', () => {
        for (const bytes of [[0xc1, 0], [0x81, 0x80, 0, 0, 0, 0], [0x83, 0], [0x09, 0], [0x89, 126, 0, 126], [0x8b, 0],
                [0x80, 0], [0x01, 0, 0x81, 0]])
                assert.equal(new FrameReader().push(Buffer.from(bytes)).at(-1).code, 1002, `${bytes}`);
        assert.equal(new FrameReader().push(Buffer.from([0x81, 127, 0, 0, 0, 0, 0, 0x20, 0, 0])).at(-1).code, 1009);
        assert.equal(new FrameReader().push(Buffer.from([0x81, 127, 0, 0, 0, 1, 0, 0, 0, 0])).at(-1).code, 1009);
});

test('a URL is an origin, by either of its names', () => {
        for (const text of ['ws://tv.example:81', 'http://tv.example:81', 'http://tv.example:81/'])
                assert.deepEqual(parsePlace(text), { ws: 'ws://tv.example:81', http: 'http://tv.example:81' });
        assert.deepEqual(parsePlace('wss://[::1]'), { ws: 'wss://[::1]', http: 'https://[::1]' });
        for (const text of ['', 'tv.example', 'ftp://x', 'ws://x/path', 'ws://x?y', 'ws://x#y', 'ws://u@x', undefined])
                assert.throws(() => parsePlace(text), TypeError, `${text}`);
});

test('names that a node would refuse are refused at home', () => {
        assert.equal(whoAsks({ device: 'a', cohort: 'n', platform: 'tv', ack: false }), 'device=a&cohort=n&platform=tv&ack=0');
        for (const options of [{}, { device: '' }, { device: 'a b' }, { device: 'x'.repeat(129) },
                { device: 'a', cohort: '' }, { device: 'a', region: 'x'.repeat(65) }, { device: 'a', app: 7 }])
                assert.throws(() => whoAsks(options), TypeError, JSON.stringify(options));
});

test('Retry-After is whole seconds or nothing', () => {
        assert.deepEqual(['7', ' 7 ', '0', '-1', '1.5', 'Fri, 31 Dec 1999 23:59:59 GMT', null, ''].map(retryAfterOf),
                [7, 7, 0, null, null, null, null, null]);
});

test('what is stored comes back byte for byte', () => {
        const items = new Map();
        const area = { getItem: (key) => items.get(key) ?? null, setItem: (key, text) => items.set(key, text),
                removeItem: (key) => items.delete(key) };

        for (const storage of [memoryStorage(), localStorageStorage('k:', area)]) {
                const record = { meta: { hash: 'h', bundle: 3 }, body: new Uint8Array(randomBytes(100001)) };

                assert.equal(storage.get('a'), undefined);
                storage.set('a', record);
                assert.deepEqual(storage.get('a'), record);
                storage.delete('a');
                assert.equal(storage.get('a'), undefined);
        }
});
