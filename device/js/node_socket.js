/* device/js/node_socket.js -- a WebSocket client for Node, as a link (see socket.js). Node has had one of its own only
 * since version 22, and that one tells neither why an upgrade was refused nor that a ping came; both are what a device
 * needs to come back in time. RFC 6455, client side, no extensions. One message at a time, nothing else. */
import { createHash, randomBytes } from 'node:crypto';
import http from 'node:http';
import https from 'node:https';

import { MESSAGE_MAX_BYTES } from './message.js';
import { SUBPROTOCOL } from './socket.js';
import { retryAfterOf } from './stream.js';

const GUID = '258EAFA5-E914-47DA-95CA-C5AB0DC85B11';
const LINGER_MS = 3000; /* for the node's close frame, after ours */
const TEXT = 1;
const BINARY = 2;
const CLOSE = 8;
const PING = 9;
const PONG = 10;

function frame(opcode, payload) {
        const long = payload.length < 126 ? 0 : payload.length < 65536 ? 2 : 8;
        const head = Buffer.alloc(2 + long + 4);
        const mask = randomBytes(4);
        const masked = Buffer.from(payload);

        head[0] = 0x80 | opcode;
        head[1] = 0x80 | (long === 0 ? payload.length : long === 2 ? 126 : 127);
        if (long === 2)
                head.writeUInt16BE(payload.length, 2);
        else if (long === 8)
                head.writeBigUInt64BE(BigInt(payload.length), 2);
        mask.copy(head, 2 + long);
        for (let i = 0; i < masked.length; i++)
                masked[i] ^= mask[i % 4];
        return Buffer.concat([head, masked]);
}

/**
 * Bytes in, frames out. Pure. push(bytes) returns a list of {opcode, payload} (whole messages, and control frames between
 * their fragments); a breach of RFC 6455 is the last of the list, {error, code}.
 */
export class FrameReader {
        #held = Buffer.alloc(0);
        #opcode = 0; /* of the message under way; 0 = none */
        #parts = [];
        #size = 0;

        push(bytes) {
                const out = [];

                this.#held = this.#held.length === 0 ? bytes : Buffer.concat([this.#held, bytes]);
                for (;;) {
                        const one = this.#take();

                        if (one === null)
                                return out;
                        if (one.opcode !== 0)
                                out.push(one);
                        if (one.error)
                                return out;
                }
        }

        /* The next of the bytes held: null = not yet whole; opcode 0 = a fragment that ends nothing. */
        #take() {
                const held = this.#held;

                if (held.length < 2)
                        return null;

                const isLast = (held[0] & 0x80) !== 0;
                const opcode = held[0] & 0x0f;
                let size = held[1] & 0x7f;
                let at = 2;

                if ((held[0] & 0x70) !== 0 || (held[1] & 0x80) !== 0)
                        return { error: 'a frame with reserved or mask bits', code: 1002 };
                if (size === 126) {
                        if (held.length < 4)
                                return null;
                        size = held.readUInt16BE(2);
                        at = 4;
                } else if (size === 127) {
                        if (held.length < 10)
                                return null;
                        if (held.readUInt32BE(2) !== 0)
                                return { error: 'a message that is too large', code: 1009 };
                        size = held.readUInt32BE(6);
                        at = 10;
                }

                const isControl = opcode >= CLOSE;

                if (isControl ? !isLast || size > 125 || opcode > PONG : opcode > BINARY)
                        return { error: 'a frame of no known sort', code: 1002 };
                if (!isControl && (opcode === 0) !== (this.#opcode !== 0))
                        return { error: 'a fragment out of place', code: 1002 };
                if (!isControl && this.#size + size > MESSAGE_MAX_BYTES)
                        return { error: 'a message that is too large', code: 1009 };
                if (held.length < at + size)
                        return null;

                const payload = held.subarray(at, at + size);

                this.#held = held.subarray(at + size);
                if (isControl)
                        return { opcode, payload };
                this.#opcode = this.#opcode || opcode;
                this.#parts.push(payload);
                this.#size += size;
                if (!isLast)
                        return { opcode: 0 };

                const whole = { opcode: this.#opcode, payload: Buffer.concat(this.#parts) };

                this.#opcode = 0;
                this.#parts = [];
                this.#size = 0;
                return whole;
        }
}

class NodeLink {
        #on;
        #request;
        #socket = null;
        #reader = new FrameReader();
        #utf8 = new TextDecoder('utf-8', { fatal: true });
        #isOver = false;

        constructor(url, on) {
                const target = new URL(url);
                const key = randomBytes(16).toString('base64');

                this.#on = on;
                target.protocol = target.protocol === 'wss:' ? 'https:' : 'http:';
                this.#request = (target.protocol === 'https:' ? https : http).request(target, {
                        agent: false,
                        headers: {
                                Connection: 'Upgrade', Upgrade: 'websocket', 'Sec-WebSocket-Version': '13',
                                'Sec-WebSocket-Key': key, 'Sec-WebSocket-Protocol': SUBPROTOCOL,
                        },
                });
                this.#request.on('error', (error) => this.#end('failed', error.code || error.message));
                this.#request.on('response', (response) => {
                        response.resume();
                        this.#end('refused', response.statusCode, retryAfterOf(response.headers['retry-after']));
                        this.#request.destroy();
                });
                this.#request.on('upgrade', (response, socket, head) => this.#onUpgrade(response, socket, head, key));
                this.#request.end();
        }

        #end(call, ...args) {
                if (this.#isOver)
                        return;
                this.#isOver = true;
                this.#on[call](...args);
        }

        #onUpgrade(response, socket, head, key) {
                const accept = createHash('sha1').update(key + GUID).digest('base64');

                this.#socket = socket;
                socket.on('error', () => {}); /* a close follows */
                if (this.#isOver) {
                        socket.destroy();
                        return;
                }
                if (response.headers['sec-websocket-accept'] !== accept ||
                    response.headers['sec-websocket-protocol'] !== SUBPROTOCOL) {
                        socket.destroy();
                        this.#end('failed', 'what answered does not speak our WebSocket');
                        return;
                }
                socket.setNoDelay(true);
                socket.on('data', (bytes) => this.#onBytes(bytes));
                socket.on('close', () => this.#end('closed', 0, ''));
                socket.on('end', () => socket.destroy());
                this.#on.opened();
                if (head.length > 0)
                        this.#onBytes(head);
        }

        #onBytes(bytes) {
                for (const one of this.#reader.push(bytes)) {
                        if (this.#isOver)
                                break;
                        if (one.error)
                                this.#on.garbage(one.error);
                        else
                                this.#onFrame(one);
                }
        }

        #onFrame({ opcode, payload }) {
                switch (opcode) {
                case TEXT:
                        this.#onText(payload);
                        break;
                case BINARY:
                        this.#on.garbage('a binary frame');
                        break;
                case PING:
                        this.#socket.write(frame(PONG, payload));
                        this.#on.heard();
                        break;
                case PONG:
                        this.#on.heard();
                        break;
                case CLOSE:
                        this.#socket.end(frame(CLOSE, payload.subarray(0, 2)));
                        this.#linger();
                        this.#end('closed', payload.length < 2 ? 1005 : payload.readUInt16BE(0),
                                payload.subarray(2).toString());
                        break;
                }
        }

        #onText(payload) {
                let text;

                try {
                        text = this.#utf8.decode(payload);
                } catch {
                        this.#on.garbage('a text that is not UTF-8');
                        return;
                }
                this.#on.message(text);
        }

        send(text) {
                if (this.#socket !== null && !this.#isOver)
                        this.#socket.write(frame(TEXT, Buffer.from(text)));
        }

        close(code) {
                const wasOver = this.#isOver;

                this.#isOver = true;
                if (this.#socket === null) {
                        this.#request.destroy();
                        return;
                }
                if (!wasOver) {
                        const payload = Buffer.alloc(2);

                        payload.writeUInt16BE(code);
                        this.#socket.end(frame(CLOSE, payload));
                        this.#socket.resume();
                }
                this.#linger();
        }

        /* The other side closes its half, or loses it. */
        #linger() {
                setTimeout(() => this.#socket.destroy(), LINGER_MS).unref();
        }

        cut() {
                this.#isOver = true;
                if (this.#socket !== null)
                        this.#socket.destroy();
                else
                        this.#request.destroy();
        }
}

export function openNodeSocket({ url }, on) {
        return new NodeLink(url, on);
}
