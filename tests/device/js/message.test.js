import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import test from 'node:test';

import { parseToken, readMessage } from '../../../device/js/message.js';

const protocol = readFileSync(new URL('../../../proto/PROTOCOL.md', import.meta.url), 'utf8');
const examples = [...protocol.matchAll(/```json example=(\S+)\n(.*)\n```/g)].map(([, name, text]) => [name, text]);

test('every example of a node\'s message in PROTOCOL.md is read, field for field', () => {
        let read = 0;

        for (const [name, text] of examples) {
                if (name.startsWith('ack') || name === 'time-request')
                        continue;
                assert.deepEqual(readMessage(text), { message: JSON.parse(text) }, name);
                read++;
        }
        assert.ok(read >= 9, `there are ${read} of them`);
});

test('each required field that is absent, null or of another type makes a message malformed', () => {
        const optional = ['reason', 'prefetch_ms', 'window_ms'];

        for (const [name, text] of examples) {
                const message = JSON.parse(text);

                if (message.t === 'ack' || name === 'time-request')
                        continue;
                for (const field of Object.keys(message)) {
                        for (const wrong of [undefined, null, {}, typeof message[field] === 'string' ? 7 : 'x']) {
                                if (wrong === undefined && message.t === 'hello' && optional.includes(field))
                                        continue;
                                if (wrong === undefined && message.t === 'signal' && optional.includes(field))
                                        continue;
                                assert.ok(readMessage(JSON.stringify({ ...message, [field]: wrong })).error,
                                        `${name}.${field} = ${JSON.stringify(wrong)}`);
                        }
                }
        }
});

test('types of a later version are ignored, whatever is in them, and whatever they are called', () => {
        for (const t of ['weather', 'constructor', '__proto__', 'toString', ''])
                assert.deepEqual(readMessage(JSON.stringify({ t, deep: [{ a: null }] })), { ignored: true }, t);
});

test('a token is EPOCH.SEQ.TAG and nothing else', () => {
        assert.deepEqual(parseToken('8c1f0a2b3d4e5f60.40.5eed5eed5eed5eed'),
                { text: '8c1f0a2b3d4e5f60.40.5eed5eed5eed5eed', epoch: '8c1f0a2b3d4e5f60', seq: 40, tag: '5eed5eed5eed5eed' });
        for (const text of ['', 'x', '8c1f0a2b3d4e5f60.040.5eed5eed5eed5eed', '8C1f0a2b3d4e5f60.40.5eed5eed5eed5eed',
                '8c1f0a2b3d4e5f60.-1.5eed5eed5eed5eed', '8c1f0a2b3d4e5f60.9007199254740993.5eed5eed5eed5eed',
                '8c1f0a2b3d4e5f60.40.5eed5eed5eed5eed\n', ' 8c1f0a2b3d4e5f60.40.5eed5eed5eed5eed'])
                assert.equal(parseToken(text), null, text);
});
