/* device/js/stream.js -- GET /v1/stream as a link: Server-Sent Events read with fetch(). EventSource is not used, for
 * it hides the status of a refusal and comes back by itself, without jitter. What decides is core.js. */
import { MESSAGE_MAX_BYTES } from './message.js';

/**
 * Cuts an event stream into events, by the rules of the HTML standard, section 9.2.6. Pure. `take(data)` is called for
 * each event, `heard()` for a comment. push() returns false when an event is too large.
 */
export class EventStream {
        #take;
        #heard;
        #rest = '';
        #data = null;
        #size = 0;
        #cr = false; /* a CR ended the last chunk: a LF at the head of the next belongs to it */
        #first = true;

        constructor(take, heard) {
                this.#take = take;
                this.#heard = heard;
        }

        push(text) {
                if (this.#first && text.length > 0) {
                        this.#first = false;
                        if (text.charCodeAt(0) === 0xfeff)
                                text = text.slice(1);
                }
                if (text.length > 0) {
                        const isRest = this.#cr && text.startsWith('\n');

                        this.#cr = text.endsWith('\r');
                        if (isRest)
                                text = text.slice(1);
                }

                const lines = (this.#rest + text).split(/\r\n|\n|\r/);

                this.#rest = lines.pop();
                for (const line of lines)
                        this.#line(line);
                return this.#rest.length + this.#size <= 2 * MESSAGE_MAX_BYTES;
        }

        #line(line) {
                if (line === '') {
                        const data = this.#data;

                        this.#data = null;
                        this.#size = 0;
                        if (data !== null)
                                this.#take(data);
                        else
                                this.#heard();
                        return;
                }

                const colon = line.indexOf(':');
                const field = colon < 0 ? line : line.slice(0, colon);
                const value = colon < 0 ? '' : line.slice(colon + (line[colon + 1] === ' ' ? 2 : 1));

                if (colon === 0)
                        this.#heard();
                else if (field === 'data') {
                        this.#data = this.#data === null ? value : `${this.#data}\n${value}`;
                        this.#size += value.length;
                }
        }
}

/** Whole seconds of Retry-After, or null. Dates are not used by nodes, and clocks here may be wrong. */
export function retryAfterOf(text) {
        return typeof text === 'string' && /^[0-9]{1,9}$/.test(text.trim()) ? Number(text) : null;
}

/** The same five calls as socket.js; send() does nothing: there is no way back. */
export function openStream({ url, fetch }, on) {
        const abort = new AbortController();
        let isOver = false;
        const end = (call, ...args) => {
                if (!isOver) {
                        isOver = true;
                        on[call](...args);
                }
        };
        const run = async () => {
                const response = await fetch(url, { headers: { Accept: 'text/event-stream' }, cache: 'no-store',
                        signal: abort.signal });

                if (response.status !== 200 || !(response.headers.get('content-type') || '').startsWith('text/event-stream')) {
                        abort.abort();
                        if (response.status === 200)
                                end('failed', 'what answered is no event stream');
                        else
                                end('refused', response.status, retryAfterOf(response.headers.get('retry-after')));
                        return;
                }
                if (isOver)
                        return;
                on.opened();

                const reader = response.body.getReader();
                const decoder = new TextDecoder();
                const stream = new EventStream((data) => isOver || on.message(data), () => isOver || on.heard());

                while (!isOver) {
                        const { done, value } = await reader.read();

                        if (done)
                                break;
                        if (!isOver && !stream.push(decoder.decode(value, { stream: true }))) {
                                abort.abort();
                                end('garbage', 'a message that is too large');
                        }
                }
                end('closed', 0, '');
        };
        let isOpen = false;
        const wasOpened = on.opened;

        on = { ...on, opened: () => { isOpen = true; wasOpened(); } };
        run().catch((error) => {
                if (isOpen)
                        end('closed', 0, '');
                else
                        end('failed', error && error.cause && error.cause.code || 'the request failed');
        });

        const quit = () => {
                isOver = true;
                abort.abort();
        };

        return { send() {}, close: quit, cut: quit };
}
