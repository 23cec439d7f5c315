/* device/js/bundles.js -- which bundle is fetched when, and which may be shown. Everybody is told of a bundle in the
 * same instant, so nobody fetches at once: each at a random moment of the span that the node names (`window_ms` of a
 * signal, `prefetch_ms` of hello). What arrives counts only if its bytes have the hash that came with it.
 *
 *   told of a bundle ──► looking (storage) ──► current: nothing to do
 *                                         └──► planned ──► fetching ──► current
 *                                                 ▲            │ late, not there yet, shed, lost, wrong bytes
 *                                                 └────────────┘
 *
 * Bundle numbers are compared within an epoch only: after a lost log they begin anew. Freshness (max-age) is asked
 * about when a stored bundle is met again, and not while connected: signals say sooner what has changed.
 *
 * Pure, like core.js: methods return actions for device.js to carry out. {do: 'look', event}, {do: 'fetch', event,
 * etag, reload}, {do: 'keep', event, meta, body} (what was just fetched is good), {do: 'mark', event, meta} (the one held is
 * good, its meta has changed), {do: 'drop', event}. */

export const PREFETCH_MS = 10000; /* without prefetch_ms */
export const WINDOW_MS = 60000; /* without window_ms */
const AGAIN_MIN_MS = 1000; /* first step of the backoff after a failed fetch ... */
const AGAIN_MAX_MS = 60000; /* ... and the longest */
const NOT_YET_S = 10; /* a 404 without a lifetime */
const RETRY_AFTER_MAX_S = 3600;
const OVER = ['ended', 'cancelled'];

export class Bundles {
        #random;
        #wants;
        #events = new Map(); /* event -> {state, phase, held, due, failed, reload, looked, span, again} */
        #prefetchMs = PREFETCH_MS;
        #epoch = '';

        /** `wants(state)`: is this event's bundle to be fetched at all? */
        constructor(random, wants) {
                this.#random = random;
                this.#wants = wants;
        }

        hello(message) {
                this.#prefetchMs = message.prefetch_ms === undefined ? PREFETCH_MS : message.prefetch_ms;
        }

        reset(message, now) {
                const told = new Set(message.events.map((state) => state.event));
                const out = [];

                this.#epoch = message.token.slice(0, 16);
                for (const event of [...this.#events.keys()])
                        if (!told.has(event)) {
                                this.#events.delete(event);
                                out.push({ do: 'drop', event });
                        }
                for (const state of message.events)
                        out.push(...this.#told(state, this.#prefetchMs, true, now));
                return out;
        }

        signal(message, now) {
                this.#epoch = message.token.slice(0, 16);
                return this.#told(message, message.window_ms === undefined ? WINDOW_MS : message.window_ms, false, now);
        }

        #told(state, span, asksFreshness, now) {
                let entry = this.#events.get(state.event);

                if (entry === undefined) {
                        entry = { state, phase: 'idle', held: null, due: Infinity, failed: 0, reload: false, looked: false,
                                again: null };
                        this.#events.set(state.event, entry);
                }
                entry.state = state;
                if (state.bundle === 0 || OVER.includes(state.stage) || !this.#wants(state)) {
                        if (entry.phase === 'planned')
                                entry.phase = 'idle';
                        entry.due = Infinity;
                        return [];
                }
                entry.span = entry.phase === 'looking' ? Math.min(entry.span, span) : span;
                if (!entry.looked) {
                        entry.looked = true;
                        entry.phase = 'looking';
                        return [{ do: 'look', event: state.event }];
                }
                if (entry.phase === 'fetching' && !this.#isCurrent(entry))
                        entry.again = entry.again === null ? span : Math.min(entry.again, span);
                if (entry.phase === 'looking' || entry.phase === 'fetching')
                        return []; /* judged when it comes back */
                if (!this.#isCurrent(entry) || (asksFreshness && entry.held.expires <= now.wall))
                        this.#plan(entry, span, now);
                return [];
        }

        /* What storage has, its bytes compared with their hash already; null = nothing. */
        found(event, meta, now) {
                const entry = this.#events.get(event);

                if (entry === undefined || entry.phase !== 'looking')
                        return [];
                entry.phase = 'idle';
                entry.held = meta;
                if (!this.#isCurrent(entry) || meta.expires <= now.wall)
                        this.#plan(entry, entry.span, now);
                return [];
        }

        #isCurrent(entry) {
                return entry.held !== null && entry.held.epoch === this.#epoch && entry.held.bundle >= entry.state.bundle;
        }

        /* A moment drawn before stands if it comes sooner: it, too, was drawn from a span. */
        #plan(entry, span, now) {
                const due = now.mono + this.#random.between(0, span);

                entry.due = entry.phase === 'planned' ? Math.min(entry.due, due) : due;
                entry.phase = 'planned';
        }

        dueAt() {
                let due = Infinity;

                for (const entry of this.#events.values())
                        due = Math.min(due, entry.due);
                return due;
        }

        tick(now) {
                const out = [];

                for (const [event, entry] of this.#events)
                        if (entry.phase === 'planned' && now.mono >= entry.due) {
                                entry.phase = 'fetching';
                                entry.again = null;
                                entry.due = Infinity;
                                out.push({ do: 'fetch', event, reload: entry.reload,
                                        etag: entry.held !== null && !entry.reload ? entry.held.etag : null });
                        }
                return out;
        }

        /**
         * A fetch came back. `result`: {status, bundle, hash, actual, etag, maxAge, position, retryAfter}; status 0 =
         * no answer; hash = what the node said, actual = what the bytes have; numbers null when not said.
         */
        fetched(event, result, now) {
                const entry = this.#events.get(event);

                if (entry === undefined || entry.phase !== 'fetching')
                        return [];
                entry.phase = 'idle';
                switch (result.status) {
                case 200:
                        return this.#onBody(entry, event, result, now);
                case 304:
                        return this.#onSame(entry, event, result, now);
                case 404: /* it may come any moment; jittered, since everybody was told the same lifetime */
                        this.#later(entry, (result.maxAge === null ? NOT_YET_S : result.maxAge) * 1000, now);
                        return [];
                case 429:
                case 503:
                        if (result.retryAfter !== null) {
                                this.#again(entry, Math.min(result.retryAfter, RETRY_AFTER_MAX_S) * 1000 +
                                        this.#random.below(1000), now);
                                return [];
                        }
                        break;
                case 410: /* over: nothing to wait for */
                        return [];
                }
                if (result.status < 400 || result.status >= 500 || [408, 425, 429].includes(result.status))
                        this.#retry(entry, now);
                return [];
        }

        #onBody(entry, event, result, now) {
                const held = entry.held;

                if (result.hash === null || result.hash !== result.actual || result.bundle === null) {
                        /* Not shown, not kept, and no cache on the way is asked again. */
                        entry.reload = true;
                        this.#retry(entry, now);
                        return [];
                }
                entry.reload = false;
                /* A node that cannot load the newest serves the one before: better than nothing, no better than ours. */
                if (held !== null && held.epoch === this.#epoch && held.bundle > result.bundle) {
                        this.#retry(entry, now);
                        return [];
                }
                entry.held = this.#meta(result, now);
                this.#settle(entry, now);
                return [{ do: 'keep', event, meta: entry.held, body: result.body }];
        }

        #onSame(entry, event, result, now) {
                if (entry.held === null) {
                        entry.reload = true;
                        this.#retry(entry, now);
                        return [];
                }
                entry.held = { ...this.#meta(result, now), hash: entry.held.hash, etag: entry.held.etag };
                if (result.bundle === null)
                        entry.held.bundle = entry.state.bundle;
                this.#settle(entry, now);
                return [{ do: 'mark', event, meta: entry.held }];
        }

        #meta(result, now) {
                return { epoch: this.#epoch, bundle: result.bundle, hash: result.hash, etag: result.etag,
                        type: result.type, position: result.position,
                        expires: now.wall + (result.maxAge === null ? 0 : result.maxAge * 1000) };
        }

        #settle(entry, now) {
                if (this.#isCurrent(entry))
                        entry.failed = 0;
                else if (entry.again !== null) /* told of a newer one meanwhile, as everybody was: in its window */
                        this.#plan(entry, entry.again, now);
                else /* this node is behind */
                        this.#retry(entry, now);
        }

        #retry(entry, now) {
                const step = Math.min(AGAIN_MIN_MS * 2 ** entry.failed, AGAIN_MAX_MS);

                entry.failed++;
                this.#again(entry, this.#random.between(step / 2, step), now);
        }

        #later(entry, ms, now) {
                this.#again(entry, this.#random.between(Math.floor(ms * 0.8), Math.ceil(ms * 1.2)), now);
        }

        #again(entry, ms, now) {
                entry.phase = 'planned';
                entry.due = now.mono + ms;
        }
}
