/* device/js/device.js -- options in, events out: carries out what core.js and bundles.js decide, with timers, sockets
 * and requests. It decides nothing.
 *
 * One rule of order: inputs are taken one at a time. Whatever an app does in a callback (close, cut, activated) waits
 * until the actions of the input at hand are done. */
import { Bundles } from './bundles.js';
import { Core } from './core.js';
import { parseToken, readMessage } from './message.js';
import { parsePlace, whoAsks } from './place.js';
import { anySeed, Random } from './random.js';
import { sha256 } from './sha256.js';
import { openSocket } from './socket.js';
import { memoryStorage } from './storage.js';
import { openStream, retryAfterOf } from './stream.js';

const TIMER_MAX_MS = 30000; /* setTimeout in steps: clocks are set and machines sleep while one waits */
const FETCH_MAX_MS = 30000;
const EVENTS = ['hello', 'signal', 'reset', 'message', 'goaway', 'state', 'due', 'bundle'];

let ownSocket = null; /* node.js brings one */

/** For node.js alone. */
export function useSocket(open) {
        ownSocket = open;
}

const realClock = {
        mono: () => performance.now(),
        wall: () => Date.now(),
};

/* Errors of the app are the app's: they must not leave the SDK half way through a step. */
function throwLater(error) {
        setTimeout(() => { throw error; }, 0);
}

function numberOf(text, pattern) {
        const match = pattern.exec(text || '');

        return match === null ? null : Number(match[1]);
}

export class KickoffDevice {
        #place;
        #who;
        #clock;
        #core;
        #bundles = null; /* null: the app fetches by itself, or has none */
        #storage;
        #storagePrefix;
        #cohort;
        #fetch;
        #WebSocket;
        #links = new Map(); /* id of the core -> link */
        #listeners = new Map(EVENTS.map((name) => [name, new Set()]));
        #inputs = [];
        #isBusy = false;
        #timer = null;
        #held = new Map(); /* event -> {meta, body}: good ones only */
        #requests = new Set(); /* AbortControllers of the fetches under way */
        #isClosed = false;
        #placeKey = null; /* where token and states are kept in storage; null: they are not */
        #states = new Map(); /* event -> {...state, shown: has been due} */
        #isPlaceNew = false; /* something of it has changed since it was stored */

        constructor(options) {
                const { url, prefetch = true, since = '', storage, fetch, clock, WebSocket } = options;

                this.#place = parsePlace(url);
                this.#who = whoAsks(options);
                if (since !== '' && parseToken(since) === null)
                        throw new TypeError('since must be a token that a node gave, or be left out');
                this.#clock = clock || realClock;
                this.#fetch = fetch || (globalThis.fetch && globalThis.fetch.bind(globalThis));
                this.#WebSocket = WebSocket || (ownSocket === null ? globalThis.WebSocket : null);

                const seed = options.seed || anySeed();

                this.#core = new Core({
                        since, seed, ack: options.ack, backoffMinMs: options.backoffMinMs,
                        backoffMaxMs: options.backoffMaxMs,
                        stream: options.stream !== false && Boolean(this.#fetch),
                        webSocket: options.webSocket !== false && Boolean(this.#WebSocket || ownSocket),
                });
                this.#cohort = options.cohort || 'default';
                this.#storage = storage || memoryStorage();
                this.#storagePrefix = `bundle:${this.#cohort}:`;
                if (storage && since === '')
                        this.#placeKey = `place:${options.device}`;
                if (prefetch !== false && this.#fetch)
                        this.#bundles = new Bundles(new Random(seed + 1),
                                typeof prefetch === 'function' ? (state) => this.#wants(prefetch, state) : () => true);
                for (const name of EVENTS) {
                        const listener = options[`on${name[0].toUpperCase()}${name.slice(1)}`];

                        if (listener)
                                this.on(name, listener);
                }
                /* Not before the caller has its object, and could say on(). */
                Promise.resolve(this.#placeKey === null ? undefined : this.#store('get', this.#placeKey))
                        .then((record) => this.#begin(record));
        }

        /* --- what the app sees ------------------------------------------------------------------ */

        get token() {
                return this.#core.token;
        }

        get state() {
                return this.#core.state;
        }

        get via() {
                return this.#core.via;
        }

        get clockOffset() {
                return this.#core.offset(this.#now());
        }

        get clockError() {
                return this.#core.clockError(this.#now());
        }

        now() {
                return this.#now().wall + this.clockOffset;
        }

        on(name, listener) {
                const set = this.#listeners.get(name);

                if (set === undefined)
                        throw new TypeError(`no event "${name}": there are ${EVENTS.join(', ')}`);
                set.add(listener);
                return () => set.delete(listener);
        }

        bundle(event) {
                const held = this.#held.get(event);

                return held === undefined ? null : viewOf(event, held);
        }

        activated(seq) {
                this.#core.activated(seq, this.#now());
        }

        cut() {
                this.#feed({ in: 'cut' });
        }

        close() {
                this.#feed({ in: 'leave' });
        }

        #emit(name, value, ...more) {
                if (this.#isClosed)
                        return;
                for (const listener of [...this.#listeners.get(name)]) {
                        try {
                                listener(value, ...more);
                        } catch (error) {
                                throwLater(error);
                        }
                }
        }

        /* --- the turn of the core --------------------------------------------------------------- */

        #now() {
                return { mono: this.#clock.mono(), wall: this.#clock.wall() };
        }

        #feed(input) {
                this.#inputs.push(input);
                if (this.#isBusy)
                        return;
                this.#isBusy = true;
                try {
                        while (this.#inputs.length > 0)
                                this.#take(this.#inputs.shift());
                } finally {
                        this.#isBusy = false;
                }
                this.#keepPlace();
                this.#setTimer();
        }

        /* An input for the core, or a question to the plan of bundles. */
        #take(input) {
                if (typeof input === 'function')
                        this.#carryOutAll(input(this.#now()));
                else
                        this.#carryOutAll(this.#core.step(input, this.#now()));
                if (input.in === 'tick' && this.#bundles !== null && this.#core.state !== 'stopped')
                        this.#carryOutAll(this.#bundles.tick(this.#now()));
        }

        #setTimer() {
                const now = this.#now();
                let due = this.#core.dueAt(now);

                clearTimeout(this.#timer);
                this.#timer = null;
                if (this.#core.state === 'stopped')
                        return;
                if (this.#bundles !== null)
                        due = Math.min(due, this.#bundles.dueAt());
                if (due !== Infinity)
                        this.#timer = setTimeout(() => this.#feed({ in: 'tick' }),
                                Math.ceil(Math.min(Math.max(due - now.mono, 0), TIMER_MAX_MS)));
        }

        #carryOutAll(actions) {
                for (const action of actions)
                        this.#carryOut(action);
        }

        #carryOut(action) {
                switch (action.do) {
                case 'connect':
                        this.#connect(action);
                        break;
                case 'send':
                        this.#links.get(action.link)?.send(JSON.stringify(action.message)); /* it may be gone by now */
                        break;
                case 'close':
                case 'cut':
                        this.#drop(action);
                        break;
                case 'deliver':
                        this.#deliver(action.message);
                        break;
                case 'due':
                        this.#act(action.state);
                        break;
                case 'state':
                        this.#emit('state', action.state, action.why);
                        if (action.state === 'stopped')
                                this.#end();
                        break;
                case 'look':
                        this.#look(action.event);
                        break;
                case 'fetch':
                        this.#get(action);
                        break;
                case 'keep':
                        this.#keep(action.event, { meta: action.meta, body: action.body }, 'network');
                        break;
                case 'mark':
                        this.#keep(action.event, { meta: action.meta, body: this.#held.get(action.event).body }, 'cache');
                        break;
                case 'drop':
                        this.#held.delete(action.event);
                        this.#store('delete', this.#storagePrefix + action.event);
                        break;
                }
        }

        /* --- the place, over a restart ------------------------------------------------------------ */

        #begin(record) {
                const place = record && record.meta;

                if (this.#isClosed)
                        return;

                if (place && parseToken(String(place.token)) !== null && Array.isArray(place.states)) {
                        this.#core.restore(place.token, place.states);
                        this.#states = new Map(place.states.map((state) => [state.event, state]));
                        for (const state of place.states)
                                if (state.shown) /* what the screen showed last, before any node is asked */
                                        this.#act({ ...state, seq: 0 });
                        if (this.#bundles !== null)
                                this.#feed((now) => this.#bundles.reset({ token: place.token, events: place.states }, now));
                }
                this.#feed({ in: 'tick' });
        }

        /* Together with what was done about it: after the app was told, and all at once. */
        #keepPlace() {
                if (this.#placeKey === null || !this.#isPlaceNew || this.#core.token === '')
                        return;
                this.#isPlaceNew = false;
                this.#store('set', this.#placeKey, { meta: { token: this.#core.token, states: [...this.#states.values()] },
                        body: new Uint8Array(0) });
        }

        #end() {
                this.#isClosed = true;
                clearTimeout(this.#timer);
                this.#timer = null;
                for (const request of this.#requests)
                        request.abort();
        }

        /* --- links ------------------------------------------------------------------------------ */

        #connect({ link, via, since }) {
                const base = via === 'ws' ? `${this.#place.ws}/v1/connect` : `${this.#place.http}/v1/stream`;
                const url = `${base}?${this.#who}${since === '' ? '' : `&since=${since}`}`;
                const feed = (input) => {
                        if (this.#links.has(link)) /* else the core has let it go */
                                this.#feed({ ...input, link });
                };
                const over = (input) => {
                        feed(input);
                        this.#links.delete(link);
                };
                const on = {
                        opened: () => feed({ in: 'opened' }),
                        heard: () => feed({ in: 'heard' }),
                        garbage: (why) => feed({ in: 'garbage', why }),
                        failed: (why) => over({ in: 'failed', why }),
                        refused: (status, retryAfter) => over({ in: 'refused', status, retryAfter }),
                        closed: (code, why) => over({ in: 'closed', code, why }),
                        message: (text) => {
                                const read = readMessage(text);

                                if (read.error)
                                        feed({ in: 'garbage', why: read.error });
                                else
                                        feed(read.ignored ? { in: 'heard' } : { in: 'message', message: read.message });
                        },
                };
                const open = via === 'sse' ? openStream : this.#WebSocket ? openSocket : ownSocket;

                this.#links.set(link, open({ url, WebSocket: this.#WebSocket, fetch: this.#fetch }, on));
        }

        #drop(action) {
                const link = this.#links.get(action.link);

                this.#links.delete(action.link);
                if (link === undefined)
                        return;
                if (action.do === 'cut')
                        link.cut();
                else
                        link.close(action.code);
        }

        /* --- messages --------------------------------------------------------------------------- */

        #deliver(message) {
                const { t, ...content } = message;

                if (t === 'reset')
                        this.#states = new Map(message.events.map((state) => [state.event, this.#stateOf(state)]));
                else if (t === 'signal')
                        this.#states.set(message.event, this.#stateOf(message));
                this.#isPlaceNew = true;
                this.#emit(t, content);
                if (this.#bundles === null)
                        return;
                if (t === 'hello')
                        this.#bundles.hello(message);
                else if (t === 'reset')
                        this.#carryOutAll(this.#bundles.reset(message, this.#now()));
                else if (t === 'signal')
                        this.#carryOutAll(this.#bundles.signal(message, this.#now()));
        }

        /* Of a signal, what is true of the event; what had been due stays so. */
        #stateOf({ event, stage, at, starts_at, version, bundle }) {
                const before = this.#states.get(event);
                const shown = before !== undefined && before.shown === true && before.stage === stage && before.at === at;

                return { event, stage, at, starts_at, version, bundle, shown };
        }

        #act(state) {
                const { event, stage, at, starts_at, version, bundle, seq } = state;
                const known = this.#states.get(event);

                if (known !== undefined && known.stage === stage && known.at === at) {
                        known.shown = true;
                        this.#isPlaceNew = true;
                }
                if (this.#isClosed || this.#listeners.get('due').size === 0)
                        return;

                this.#emit('due', { event, stage, at, starts_at, version, bundle, seq, late: this.now() - at });
                if (seq !== 0)
                        this.activated(seq);
        }

        /* --- bundles ---------------------------------------------------------------------------- */

        #wants(prefetch, state) {
                try {
                        return prefetch(state);
                } catch (error) {
                        throwLater(error);
                        return false;
                }
        }

        /* Storage may fail in any way it likes: that costs a fetch. */
        async #store(call, key, ...args) {
                try {
                        return await this.#storage[call](key, ...args);
                } catch {
                        return undefined;
                }
        }

        async #look(event) {
                const record = await this.#store('get', this.#storagePrefix + event);
                let isGood = false;

                try {
                        isGood = Boolean(record) && await sha256(record.body) === record.meta.hash;
                } catch {
                        /* not a record of ours */
                }
                if (isGood)
                        this.#feed(() => {
                                this.#show(event, record, 'cache');
                                return [];
                        });
                this.#feed((now) => this.#bundles.found(event, isGood ? record.meta : null, now));
        }

        async #get({ event, etag, reload }) {
                const result = await this.#request(event, etag, reload);

                if (this.#isClosed)
                        return;
                this.#feed((now) => this.#bundles.fetched(event, result, now));
        }

        async #request(event, etag, reload) {
                const url = `${this.#place.http}/v1/prefetch/${encodeURIComponent(event)}?cohort=${this.#cohort}`;
                const abort = new AbortController();
                const timer = setTimeout(() => abort.abort(), FETCH_MAX_MS);
                const headers = {};

                this.#requests.add(abort);
                /* A browser asks by itself whether its copy is good; a header of ours would make it ask the node
                 * for leave first (Fetch standard, CORS-preflight). */
                if (etag && typeof globalThis.location === 'undefined')
                        headers['If-None-Match'] = etag;
                try {
                        const response = await this.#fetch(url, { headers, signal: abort.signal,
                                cache: reload ? 'reload' : 'no-cache' });
                        const field = (name) => response.headers.get(name);
                        const result = {
                                status: response.status,
                                bundle: numberOf(field('kickoff-bundle'), /^([0-9]{1,15})$/),
                                maxAge: numberOf(field('cache-control'), /(?:^|[ ,])max-age=([0-9]{1,9})/),
                                retryAfter: retryAfterOf(field('retry-after')),
                                etag: field('etag'),
                                type: field('content-type') || '',
                                position: field('kickoff-position'),
                                hash: hashOf(field('kickoff-hash'), field('etag')),
                                actual: null,
                        };

                        if (response.status === 200) {
                                result.body = new Uint8Array(await response.arrayBuffer());
                                result.actual = await sha256(result.body);
                        } else {
                                abort.abort(); /* a problem detail, for people */
                        }
                        return result;
                } catch {
                        return { status: 0 };
                } finally {
                        clearTimeout(timer);
                        this.#requests.delete(abort);
                }
        }

        #keep(event, record, from) {
                this.#store('set', this.#storagePrefix + event, record);
                this.#show(event, record, from);
        }

        #show(event, record, from) {
                this.#held.set(event, record);
                this.#emit('bundle', viewOf(event, record), from);
        }
}

/* The hash that came with a body. Nodes from before Kickoff-Hash have it in the ETag, as each of theirs is. */
function hashOf(header, etag) {
        const match = /^sha-256=([0-9a-f]{64})$/.exec(header || '') ||
                /^"([0-9a-f]{64})(?:-gzip|-zstd)?"$/.exec(header ? '' : etag || '');

        return match === null ? null : match[1];
}

function viewOf(event, { meta, body }) {
        return {
                event, bundle: meta.bundle, hash: meta.hash, type: meta.type, position: meta.position, body,
                text: () => new TextDecoder().decode(body),
                json: () => JSON.parse(new TextDecoder().decode(body)),
        };
}
