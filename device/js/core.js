/* device/js/core.js -- everything a device decides about its sessions, and nothing that touches a socket:
 * when and how to connect, what to believe of the node, what to hand to the app, when to give up.
 * step(input, now) returns the list of actions that device.js carries out, in this order. The model is
 * device/c/device_core.c; what is more here is the hand-over and the second way in.
 *
 *            due             opened              hello
 *   waiting ──────► connecting ──────► greeting ───────► live ──── goaway ───► live, and the next link
 *      ▲                │                 │               │                    connecting, greeting
 *      └─── backoff ────┴─────────────────┴───────────────┘                          │ hello: the first
 *                     refused for good, 4001, 4009, leave ──► stopped        live ◄──┘ is closed
 *
 * Two links at most: `main`, and during a hand-over `next`. Inputs about a link name its id; those about a
 * link that the core has let go (it said close or cut, or was told of its end) are nothing.
 *
 * Order: after a recovered hello the only signal accepted is cursor + 1 of the cursor's epoch, or after a
 * `skip` the one after that. A number seen before is a repeat if its tag is the one remembered, and is
 * swallowed. All else means that this node and this device disagree about history: the link is
 * given up, and the node judges the token anew.
 *
 * Pure: no I/O, no clock, no timers. `now` is {mono, wall} in ms; spans are measured by mono. */
import { Clock } from './clock.js';
import { Due } from './due.js';
import { Random } from './random.js';
import { parseToken } from './message.js';

export const CONNECT_WAIT_MS = 15000; /* until the upgrade is answered */
export const HELLO_WAIT_MS = 15000; /* then until hello: a node may hold it back for a while */
export const STABLE_MS = 10000; /* connected for so long after hello: backoff begins anew */
export const RETRY_AFTER_MAX_MS = 3600000;
export const SILENCE_EXTRA_MS = 5000; /* dead after 2 x ping_s + this without a byte */
export const FALLBACK_AFTER = 3; /* attempts by WebSocket in vain before the first by /v1/stream */
export const WS_AGAIN_MIN_MS = 60000; /* who lives on /v1/stream tries WebSocket again after this, then
                                         * after twice as long ... */
export const WS_AGAIN_MAX_MS = 3600000; /* ... and so on up to this */
const TAGS = 256; /* of the newest signals, to tell a repeat from a fork */

export class Core {
        #random;
        #clock;
        #due;
        #backoffMin;
        #backoffMax;
        #wantsAcks;
        #attempts = 0; /* since the last stable connection: the step of the backoff */

        #stopped = false;
        #main = null; /* {id, via, phase, due, heard, probedAt, stable, resetDue, from} */
        #next = null; /* likewise: the second one of a hand-over */
        #connectAt = -Infinity; /* mono; no main: when to connect */
        #moveAt = Infinity; /* mono; main is live: when to do what #moveHow says */
        #moveHow = 'hand-over'; /* or 'leave': close, then connect; or 'upgrade': from /v1/stream to
                                 * WebSocket, if that works by now. The last is our wish alone */
        #ids = 0;

        #token = null; /* the cursor. Epoch, seq and tag change together or not at all */
        #tags = new Map(); /* seq -> tag */
        #ping = 0;
        #ackSpread = 0;
        #ackAt = Infinity;
        #ackSeq = 0; /* newest signal not yet acknowledged; 0 = none. Survives a lost connection */
        #activated = null; /* {seq, at}: the signal the app acted on last, and when, in the node's time */

        #canStream;
        #wsFailed = 0; /* attempts by WebSocket in a row that came to nothing */
        #streamWorked = false;
        #wsAgainAt = 0;
        #wsAgainWait = WS_AGAIN_MIN_MS;
        #lastVia = 'ws';

        /**
         * @param {{since?: string, ack?: boolean, backoffMinMs?: number, backoffMaxMs?: number,
         *          stream?: boolean, webSocket?: boolean, seed: number}} options
         */
        constructor(options) {
                this.#random = new Random(options.seed);
                this.#clock = new Clock(this.#random);
                this.#due = new Due();
                this.#backoffMin = options.backoffMinMs || 500;
                this.#backoffMax = Math.max(options.backoffMaxMs || 30000, this.#backoffMin);
                this.#wantsAcks = options.ack !== false;
                this.#canStream = options.stream !== false;
                if (options.webSocket === false)
                        this.#wsFailed = Infinity;
                if (options.since)
                        this.#adopt(parseToken(options.since), false);
        }

        get token() {
                return this.#token === null ? '' : this.#token.text;
        }

        get state() {
                if (this.#stopped)
                        return 'stopped';
                if (this.#main === null)
                        return 'waiting';
                return this.#main.phase === 'live' ? 'connected' : 'connecting';
        }

        /** How it is connected: 'ws', 'sse', or null. */
        get via() {
                return this.#main !== null && this.#main.phase === 'live' ? this.#main.via : null;
        }

        /** Before the first step: what a former run knew at `token`; `shown` of a state: it had been due. */
        restore(token, states) {
                this.#adopt(parseToken(token), false);
                this.#due.reset(states, true);
        }

        offset(now) {
                return this.#clock.offset(now);
        }

        clockError(now) {
                return this.#clock.error(now);
        }

        /** The app has acted on `seq`. Before the ack of it, so that this can say when. */
        activated(seq, now) {
                this.#activated = { seq, at: Math.round(now.wall) + this.#clock.offset(now) };
        }

        /** Mono time of the next tick; Infinity when there is nothing to wait for. */
        dueAt(now) {
                if (this.#stopped)
                        return Infinity;

                let due = this.#main === null ? this.#connectAt : Infinity;

                for (const link of [this.#main, this.#next])
                        if (link !== null)
                                due = Math.min(due, link.due, link.stable, this.#probeAt(link), this.#silentAt(link));
                if (this.#main !== null && this.#main.phase === 'live')
                        due = Math.min(due, this.#ackAt, this.#clock.askAt, this.#moveAt);
                return Math.min(due, this.#due.nextAt(this.#clock.ahead(now)));
        }

        /**
         * Inputs: {in: 'tick'}, {in: 'cut'}, {in: 'leave'} and, with `link`: 'opened', 'heard', 'message'
         * (message), 'garbage' (why), 'failed' (why), 'refused' (status, retryAfter: s or null), 'closed'
         * (code: 0 = lost without a close frame, why).
         */
        step(input, now) {
                const out = [];

                if (this.#stopped)
                        return out;
                if (this.#clock.look(now) && this.via === 'ws')
                        this.#clock.askAt = now.mono + this.#random.below(1000);
                switch (input.in) {
                case 'tick':
                        this.#tick(now, out);
                        break;
                case 'leave':
                        this.#leave(out);
                        break;
                case 'cut':
                        this.#cut(now, out);
                        break;
                default:
                        this.#onLink(input, now, out);
                }
                if (!this.#stopped)
                        out.push(...this.#fireDue(now));
                return out;
        }

        #onLink(input, now, out) {
                const link = [this.#main, this.#next].find((one) => one !== null && one.id === input.link);

                if (link === undefined)
                        return;
                link.heard = now.mono;
                link.probedAt = null;
                switch (input.in) {
                case 'opened':
                        link.phase = 'greeting';
                        link.due = now.mono + HELLO_WAIT_MS;
                        break;
                case 'message':
                        this.#onMessage(link, input.message, now, out);
                        break;
                case 'garbage':
                        this.#giveUp(link, 1007, input.why, now, out);
                        break;
                case 'failed':
                        this.#noteFailure(link, now);
                        this.#lose(link, `no connection: ${input.why}`, this.#backoff(), now, out);
                        break;
                case 'refused':
                        this.#onRefused(link, input, now, out);
                        break;
                case 'closed':
                        this.#onClosed(link, input, now, out);
                        break;
                }
        }

        /* --- leaving a connection --------------------------------------------------------------- */

        #say(out, why) {
                out.push({ do: 'state', state: this.state, why });
        }

        #stop(out, why) {
                for (const link of [this.#main, this.#next])
                        if (link !== null && !link.gone)
                                out.push({ do: 'close', link: link.id, code: 1000 });
                this.#main = this.#next = null;
                this.#stopped = true;
                this.#say(out, why);
        }

        /* This link is no more; the other side of it, if any, has been told. */
        #lose(link, why, delay, now, out) {
                const again = `${why}, again in ${(delay / 1000).toFixed(1)} s`;

                if (link === this.#next) { /* the first one still serves us */
                        this.#next = null;
                        if (this.#moveHow === 'upgrade') {
                                this.#moveAt = Math.max(this.#wsAgainAt, now.mono + delay);
                                return;
                        }
                        this.#moveAt = now.mono + delay;
                        this.#say(out, `hand-over: ${again}`);
                        return;
                }
                this.#ackAt = Infinity;
                this.#clock.pause();
                this.#main = null;
                if (this.#next !== null) {
                        this.#main = this.#next;
                        this.#next = null;
                        this.#say(out, `${why}, the next connection is on its way`);
                        return;
                }
                if (this.#hasOrder()) /* the goaway says when, not the end of the link */
                        delay = Math.max(this.#moveAt - now.mono, 0);
                this.#moveAt = Infinity;
                this.#connectAt = now.mono + delay;
                this.#say(out, `${why}, again in ${(delay / 1000).toFixed(1)} s`);
        }

        /* A node has said when to come back. */
        #hasOrder() {
                return this.#moveAt !== Infinity && this.#moveHow !== 'upgrade';
        }

        /* "Full jitter": anywhere between 0 and the step, which doubles with each failure. Of the schemes
         * compared in M. Brooker, "Exponential Backoff And Jitter" (AWS Architecture Blog, 2015), the one
         * with the fewest calls made. */
        #backoff() {
                /* Who lives on the stream and looks whether WebSocket works by now has a session, and a rhythm
                 * of its own for that: it says nothing about how soon to come back if the stream is lost. */
                if (this.#next !== null && this.#moveHow === 'upgrade')
                        return this.#random.between(0, this.#backoffMax);

                const step = Math.min(this.#backoffMin * 2 ** this.#attempts, this.#backoffMax);

                if (step < this.#backoffMax)
                        this.#attempts++;
                return this.#random.between(0, step);
        }

        #giveUp(link, code, why, now, out) {
                out.push({ do: 'close', link: link.id, code });
                this.#lose(link, why, this.#backoff(), now, out);
        }

        /* A connection that does not answer is not worth a goodbye. */
        #dropSilent(link, why, now, out) {
                out.push({ do: 'cut', link: link.id });
                this.#noteFailure(link, now);
                this.#lose(link, why, this.#backoff(), now, out);
        }

        /* --- how an attempt or a connection ended ----------------------------------------------- */

        /* No session came about: is it the way that does not work, or the node? */
        #noteFailure(link, now) {
                if (link.phase === 'live')
                        return;
                if (link.via === 'ws')
                        this.#noteNoWs(1, now);
                else
                        this.#streamWorked = false;
        }

        #noteNoWs(weight, now) {
                this.#wsFailed += weight;
                this.#wsAgainAt = now.mono + this.#random.between(this.#wsAgainWait / 2, this.#wsAgainWait);
                if (this.#wsFailed >= FALLBACK_AFTER)
                        this.#wsAgainWait = Math.min(this.#wsAgainWait * 2, WS_AGAIN_MAX_MS);
        }

        #chooseWay(now) {
                if (!this.#canStream || this.#wsFailed < FALLBACK_AFTER)
                        return 'ws';
                if (this.#wsFailed === Infinity)
                        return 'sse';
                if (this.#streamWorked)
                        return now.mono < this.#wsAgainAt ? 'sse' : 'ws';
                return this.#lastVia === 'ws' ? 'sse' : 'ws'; /* neither works: in turns */
        }

        #onRefused(link, input, now, out) {
                const { status, retryAfter } = input;
                const why = `refused: ${status}`;

                /* Nodes from before /v1/stream, and middle boxes that strip the upgrade (the node then
                 * answers 426 to what reaches it): it is the way that is closed, not the door. */
                if (link.via === 'sse' && status === 404 && this.#wsFailed !== Infinity) {
                        this.#canStream = false;
                        this.#lose(link, why, this.#backoff(), now, out);
                } else if (link.via === 'ws' && (status === 426 || status === 501) && this.#canStream) {
                        this.#noteNoWs(FALLBACK_AFTER, now);
                        this.#lose(link, why, this.#backoff(), now, out);
                } else if (isRefusedForGood(status)) {
                        this.#refuseForGood(link, why, now, out);
                } else if ((status === 429 || status === 503) && retryAfter !== null && retryAfter !== undefined) {
                        /* The node spreads whole seconds (RFC 9110 10.2.3 knows no fractions); without a
                         * fraction of our own the herd would still arrive in ticks. */
                        const wait = Math.min(retryAfter * 1000, RETRY_AFTER_MAX_MS);

                        this.#lose(link, why, wait + this.#random.below(1000), now, out);
                } else {
                        this.#lose(link, why, this.#backoff(), now, out);
                }
        }

        /* Who still has a session keeps it to its end, and asks again then. */
        #refuseForGood(link, why, now, out) {
                link.gone = true;
                if (link === this.#next) {
                        this.#next = null;
                        this.#moveAt = Infinity;
                        this.#say(out, `hand-over: ${why}`);
                } else {
                        this.#stop(out, why);
                }
        }

        #onClosed(link, input, now, out) {
                const why = input.code === 0 ? 'connection lost'
                        : `closed ${input.code}${input.why ? `: ${input.why}` : ''}`;

                if (link.phase === 'connecting' || (link.phase === 'greeting' && input.code === 0))
                        this.#noteFailure(link, now);
                if (input.code === 4001 || (input.code === 4009 && !this.#isReplacedByUs(link))) {
                        link.gone = true;
                        this.#stop(out, why);
                } else if (input.code === 1008 || input.code === 1013) {
                        /* It asks for patience without saying how much: the longest step at once. */
                        this.#lose(link, why, this.#random.between(0, this.#backoffMax), now, out);
                } else {
                        const isPlanned = link === this.#main && (this.#hasOrder() || this.#next !== null);

                        this.#lose(link, why, isPlanned ? 0 : this.#backoff(), now, out);
                }
        }

        /* A node tells the older of two connections of a device. In a hand-over both are ours. */
        #isReplacedByUs(link) {
                return link === this.#main && this.#next !== null;
        }

        /* --- messages --------------------------------------------------------------------------- */

        #onMessage(link, message, now, out) {
                /* A node may turn a device away before it greets it; everything else comes after hello. */
                if (link.phase !== 'live' && message.t !== 'hello' && message.t !== 'goaway') {
                        this.#giveUp(link, 1002, 'the first message is not hello', now, out);
                        return;
                }
                switch (message.t) {
                case 'hello':
                        this.#onHello(link, message, now, out);
                        break;
                case 'signal':
                        this.#onSignal(link, message, now, out);
                        break;
                case 'reset':
                        this.#onReset(link, message, out);
                        break;
                case 'skip':
                        this.#onSkip(link, message, now, out);
                        break;
                case 'goaway':
                        this.#onGoaway(link, message, now, out);
                        break;
                case 'time':
                        this.#clock.answer(message.t0, message.t1, now);
                        break;
                case 'message':
                        out.push({ do: 'deliver', message });
                        break;
                }
        }

        #onHello(link, message, now, out) {
                if (link.phase === 'live') {
                        this.#giveUp(link, 1002, 'second hello', now, out);
                        return;
                }
                if (message.recovered &&
                    (this.#token === null || parseToken(message.token).epoch !== this.#token.epoch)) {
                        this.#giveUp(link, 1002, 'recovered, but not what we asked for', now, out);
                        return;
                }
                if (link === this.#next) { /* nothing is missed: this one replays what came meanwhile */
                        out.push({ do: 'close', link: this.#main.id, code: 1000 });
                        this.#main = link;
                        this.#next = null;
                }
                this.#moveAt = Infinity;
                link.phase = 'live';
                link.due = Infinity;
                link.resetDue = !message.recovered;
                link.stable = now.mono + STABLE_MS;
                this.#ping = message.ping_s * 1000;
                this.#ackSpread = message.ack_spread_ms;
                this.#clock.hello(message.now, this.#ackSpread, now);
                if (link.via === 'ws') {
                        this.#wsFailed = 0;
                        this.#wsAgainWait = WS_AGAIN_MIN_MS;
                } else {
                        this.#streamWorked = true;
                        this.#clock.pause(); /* there is no way to ask */
                        if (this.#wsFailed !== Infinity) {
                                this.#moveAt = Math.max(this.#wsAgainAt, now.mono + 1000);
                                this.#moveHow = 'upgrade';
                        }
                }
                this.#ackAt = Infinity;
                if (link.resetDue)
                        this.#ackSeq = 0;
                if (this.#ackSeq !== 0)
                        this.#oweAck(this.#ackSeq, now);
                this.#say(out, `connected to ${message.node}, session ${message.session}, ` +
                        `${message.recovered ? 'resumed' : 'from the start'}`);
                out.push({ do: 'deliver', message });
        }

        #adopt(token, keepsHistory) {
                if (!keepsHistory)
                        this.#tags.clear();
                this.#token = token;
                this.#tags.set(token.seq, token.tag);
                if (this.#tags.size > TAGS)
                        this.#tags.delete(this.#tags.keys().next().value); /* the oldest */
        }

        #oweAck(seq, now) {
                if (!this.#wantsAcks)
                        return;
                this.#ackSeq = seq;
                /* One in the spread answers for all that came meanwhile: it names the newest. */
                if (this.#ackAt === Infinity && this.via === 'ws')
                        this.#ackAt = now.mono + this.#random.between(0, this.#ackSpread);
        }

        #onSignal(link, message, now, out) {
                const token = parseToken(message.token);

                if (link.resetDue) {
                        this.#giveUp(link, 1002, 'a signal where the reset was due', now, out);
                } else if (this.#token === null || token.epoch !== this.#token.epoch) {
                        this.#giveUp(link, 1002, 'a signal of another epoch without a reset', now, out);
                } else if (token.seq > this.#token.seq + 1) {
                        this.#giveUp(link, 1002, `gap: signal ${token.seq} came after ${this.#token.seq}`, now, out);
                } else if (token.seq === this.#token.seq + 1) {
                        this.#adopt(token, true);
                        this.#oweAck(token.seq, now);
                        this.#due.signal(message);
                        out.push({ do: 'deliver', message });
                } else if (this.#tags.get(token.seq) !== token.tag) {
                        this.#giveUp(link, 1002, this.#tags.has(token.seq) ? `signal ${token.seq} again, with another tag`
                                : `signal ${token.seq} again, long after ${this.#token.seq}`, now, out);
                } else if (this.#ackSeq !== 0) {
                        this.#oweAck(this.#ackSeq, now);
                }
        }

        /* "Everything up to here was not for you." While a hand-over is caught up with, the new link
         * may skip what the old one had skipped already. */
        #onSkip(link, message, now, out) {
                const token = parseToken(message.token);

                if (link.resetDue || this.#token === null || token.epoch !== this.#token.epoch)
                        this.#giveUp(link, 1002, 'a skip out of place', now, out);
                else if (token.seq > this.#token.seq)
                        this.#adopt(token, true);
                else if (token.seq === this.#token.seq && token.tag !== this.#token.tag)
                        this.#giveUp(link, 1002, `skip to ${token.seq}, with another tag`, now, out);
                else if (token.seq < link.from)
                        this.#giveUp(link, 1002, `skip back to ${token.seq} from ${this.#token.seq}`, now, out);
        }

        /* Always believed, even when it leads back: "forget what you knew" is how a loss is told (delivery
         * contract, line 6). A device that argued with it would come back with the same token for
         * ever. Not acknowledged: it answers for no signal in particular, and every new device gets one. */
        #onReset(link, message, out) {
                this.#adopt(parseToken(message.token), false);
                link.resetDue = false;
                link.from = this.#token.seq;
                this.#ackSeq = 0;
                this.#ackAt = Infinity;
                this.#activated = null; /* of a history that may be gone */
                this.#due.reset(message.events, false);
                out.push({ do: 'deliver', message });
        }

        /* Who has a session keeps it until another one has said hello, so that it misses no start
         * meanwhile. A node that is overloaded is not asked for a second socket, though. */
        #onGoaway(link, message, now, out) {
                const why = `node says goaway: ${message.reason}`;

                if (message.max_ms < message.min_ms) {
                        this.#giveUp(link, 1002, 'goaway with an empty span', now, out);
                        return;
                }
                out.push({ do: 'deliver', message });
                if (message.reason === 'replaced') {
                        out.push({ do: 'close', link: link.id, code: 1000 });
                        link.gone = true;
                        if (this.#isReplacedByUs(link))
                                this.#lose(link, why, 0, now, out);
                        else
                                this.#stop(out, why);
                        return;
                }

                const delay = this.#random.between(message.min_ms, message.max_ms);

                if (link.phase !== 'live') {
                        out.push({ do: 'close', link: link.id, code: 1000 });
                        this.#lose(link, why, delay, now, out);
                        return;
                }
                /* A second link that is under way will do; if nothing comes of it, this says how to go on. */
                if (this.#next === null)
                        this.#moveAt = now.mono + delay;
                if (this.#next === null || this.#moveHow === 'upgrade')
                        this.#moveHow = message.reason === 'overload' ? 'leave' : 'hand-over';
        }

        /* --- time passes ------------------------------------------------------------------------ */

        /* Half way to the deadline after which silence means death, ask. Browsers answer pings
         * without telling us, so with them this is how a living link is heard at all. */
        #probeAt(link) {
                if (link.phase !== 'live' || link.via !== 'ws' || this.#ping === 0 || link.probedAt !== null)
                        return Infinity;
                return link.heard + this.#ping * 1.5;
        }

        /* Dead is who was asked and did not answer, counted from the question: in a hidden tab, whose timers come
         * once a minute, it leaves late, and silence before it says nothing. A stream cannot ask. */
        #silentAt(link) {
                if (link.phase !== 'live' || this.#ping === 0)
                        return Infinity;
                if (link.via === 'ws')
                        return link.probedAt === null ? Infinity : link.probedAt + this.#ping / 2 + SILENCE_EXTRA_MS;
                return link.heard + 2 * this.#ping + SILENCE_EXTRA_MS;
        }

        #connect(now, out) {
                const via = this.#chooseWay(now);
                const link = {
                        id: ++this.#ids, via, phase: 'connecting', due: now.mono + CONNECT_WAIT_MS,
                        heard: now.mono, probedAt: null, stable: Infinity, resetDue: false, gone: false,
                        from: this.#token === null ? 0 : this.#token.seq,
                };

                this.#lastVia = via;
                out.push({ do: 'connect', link: link.id, via, since: this.token });
                return link;
        }

        #tick(now, out) {
                if (this.#main === null) {
                        if (now.mono < this.#connectAt)
                                return;
                        this.#main = this.#connect(now, out);
                        out.unshift({ do: 'state', state: this.state, why: 'connecting' });
                        return;
                }
                for (const link of [this.#next, this.#main])
                        if (link !== null)
                                this.#tickLink(link, now, out);
                if (this.via !== null)
                        this.#tickLive(this.#main, now, out);
        }

        #tickLink(link, now, out) {
                if (now.mono >= link.due)
                        this.#dropSilent(link, link.phase === 'greeting' ? 'no hello' : 'no answer to the upgrade',
                                now, out);
                else if (now.mono >= this.#silentAt(link))
                        this.#dropSilent(link, 'nothing heard, not even pings', now, out);
        }

        #tickLive(link, now, out) {
                if (now.mono >= this.#moveAt) {
                        if (this.#moveHow === 'leave') {
                                out.push({ do: 'close', link: link.id, code: 1000 });
                                this.#lose(link, 'leaving, as the node asked', 0, now, out);
                                return;
                        }
                        this.#moveAt = Infinity;
                        this.#next = this.#connect(now, out);
                }
                if (now.mono >= link.stable) {
                        this.#attempts = 0;
                        link.stable = Infinity;
                }
                if (now.mono >= this.#ackAt)
                        this.#ack(link, out);
                if (now.mono >= this.#clock.askAt || now.mono >= this.#probeAt(link)) {
                        if (now.mono >= this.#probeAt(link))
                                link.probedAt = now.mono;
                        out.push({ do: 'send', link: link.id, message: { t: 'time', t0: this.#clock.ask(now) } });
                }
        }

        #ack(link, out) {
                const message = { t: 'ack', seq: this.#ackSeq };

                if (this.#activated !== null && this.#activated.seq === this.#ackSeq)
                        message.activated_at = this.#activated.at;
                out.push({ do: 'send', link: link.id, message });
                this.#ackAt = Infinity;
                this.#ackSeq = 0;
        }

        #fireDue(now) {
                return this.#due.take(this.#clock.ahead(now), now.mono).map((state) => ({ do: 'due', state }));
        }

        /* --- the app ---------------------------------------------------------------------------- */

        #leave(out) {
                this.#stop(out, 'done');
        }

        #cut(now, out) {
                if (this.#next !== null) {
                        out.push({ do: 'cut', link: this.#next.id });
                        this.#next = null;
                }
                if (this.#main !== null) {
                        out.push({ do: 'cut', link: this.#main.id });
                        this.#lose(this.#main, 'cut', this.#backoff(), now, out);
                }
        }
}

/* Everything in the 400s says that this request will never do, but for those that speak of now. */
function isRefusedForGood(status) {
        return status >= 400 && status < 500 && status !== 408 && status !== 425 && status !== 429;
}
