/* device/js/kickoff_device.d.ts -- the public interface of the SDK. Times are Unix milliseconds; names are those of
 * proto/PROTOCOL.md. */

export type Kind = 'create' | 'start' | 'delay' | 'end' | 'cancel' | 'stage' | 'refresh';
export type ResetReason = 'new' | 'trimmed' | 'forked' | 'unknown';
export type GoawayReason = 'recycle' | 'drain' | 'overload' | 'replaced';
/** waiting: for the moment of the next attempt. connected: hello was received. stopped: for good; make a new one. */
export type State = 'waiting' | 'connecting' | 'connected' | 'stopped';

/** What is true of one event. */
export interface EventState {
        event: string;
        /** From `at` on. */
        stage: string;
        at: number;
        /** Planned start. */
        starts_at: number;
        version: number;
        /** Version of its bundle; 0 = none yet. */
        bundle: number;
}

export interface Signal extends EventState {
        seq: number;
        token: string;
        kind: Kind;
        /** When the producer's request came in. */
        sent: number;
        window_ms?: number;
}

export interface Reset {
        reason: ResetReason;
        token: string;
        events: EventState[];
}

export interface Hello {
        node: string;
        session: string;
        token: string;
        now: number;
        ping_s: number;
        lifetime_s: number;
        ack_spread_ms: number;
        prefetch_ms?: number;
        /** true: signals since the token follow. false: a reset follows. */
        recovered: boolean;
        reason?: ResetReason;
}

export interface Goaway {
        reason: GoawayReason;
        min_ms: number;
        max_ms: number;
}

export interface DeviceMessage {
        id: string;
        body: string;
}

/** A stage whose moment has come: show it. */
export interface Due extends EventState {
        /** The signal that said so; 0: a reset did. */
        seq: number;
        /** ms since `at`, by the node's clock. */
        late: number;
}

/** What to show, for every stage. Its bytes have the hash that came with it, always. */
export interface Bundle {
        event: string;
        bundle: number;
        /** SHA-256 of `body`, 64 hex digits. */
        hash: string;
        /** Its Content-Type. */
        type: string;
        /** Kickoff-Position: the token of the change that published it, if the node said so. */
        position: string | null;
        body: Uint8Array;
        text(): string;
        json(): any;
}

export interface StoredBundle {
        meta: object;
        body: Uint8Array;
}

/** Where bundles, and the place, are kept over a restart. May fail in any way: that costs a fetch. */
export interface Storage {
        get(key: string): StoredBundle | undefined | Promise<StoredBundle | undefined>;
        set(key: string, record: StoredBundle): void | Promise<unknown>;
        delete(key: string): void | Promise<unknown>;
}

export interface DeviceEvents {
        hello: (hello: Hello) => void;
        /** In order, without holes, each once. */
        signal: (signal: Signal) => void;
        /** Forget all you knew: this is the state. */
        reset: (reset: Reset) => void;
        /** For this one device. */
        message: (message: DeviceMessage) => void;
        goaway: (goaway: Goaway) => void;
        /** `why` is a sentence for people: "refused: 503, again in 2.1 s". */
        state: (state: State, why: string) => void;
        /** A stage's `at` has come. Once for each event, stage and `at`. */
        due: (due: Due) => void;
        /** Good bytes are here. From `cache` it may be an older version than the event's, until the new one is fetched. */
        bundle: (bundle: Bundle, from: 'network' | 'cache') => void;
}

export interface DeviceOptions {
        /** `ws://host:port`, or wss, http, https; without a path. */
        url: string;
        /** This device's id, the same at each start: 1 to 128 characters of `A-Z a-z 0-9 . _ : ~ -`. */
        device: string;
        cohort?: string;
        platform?: string;
        region?: string;
        app?: string;
        /**
         * `token` of an earlier run, to get what was missed since. For apps that keep all that they know of events by
         * themselves, together with it: nobody tells them again. Others give a `storage` that lasts instead.
         */
        since?: string;
        /** false: tell the node not to expect acks, and send none. */
        ack?: boolean;
        /** true (default): fetch the bundle of each event. A function: of those that it says true of. */
        prefetch?: boolean | ((event: EventState) => boolean);
        /** Keeps bundles and, unless `since` is given, the place in the log and what is known of events. Default: memory, bundles only. */
        storage?: Storage;
        /** First and longest step of the full-jitter backoff: 500 and 30000. */
        backoffMinMs?: number;
        backoffMaxMs?: number;
        /** false: never fall back to Server-Sent Events. */
        stream?: boolean;
        /** false: Server-Sent Events only. */
        webSocket?: boolean;
        /** A constructor with the browser's interface, in the place of what the platform has. */
        WebSocket?: new (url: string, protocols: string[]) => any;
        fetch?: typeof globalThis.fetch;
        /** For tests: a clock that is wrong on purpose. ms; mono never steps. */
        clock?: { mono(): number; wall(): number };
        /** For tests: jitter that can be repeated. */
        seed?: number;

        onHello?: DeviceEvents['hello'];
        onSignal?: DeviceEvents['signal'];
        onReset?: DeviceEvents['reset'];
        onMessage?: DeviceEvents['message'];
        onGoaway?: DeviceEvents['goaway'];
        onState?: DeviceEvents['state'];
        onDue?: DeviceEvents['due'];
        onBundle?: DeviceEvents['bundle'];
}

/** One device. It connects by itself, and stays so until close(). Callbacks may call anything here. */
export class KickoffDevice {
        /** Throws TypeError on an option that no node would take. */
        constructor(options: DeviceOptions);

        /** The place in the log, to be kept over a restart; '' before the first reset. */
        readonly token: string;
        readonly state: State;
        /** How it is connected just now. */
        readonly via: 'ws' | 'sse' | null;
        /** Node's clock minus this device's, ms; 0 before the first hello. */
        readonly clockOffset: number;
        /** By how much that may be wrong, ms: half a round trip, and what clocks drift. null before the node has answered once. */
        readonly clockError: number | null;
        /** The node's clock, now. */
        now(): number;

        /** Returns the function that takes the listener away again. */
        on<Name extends keyof DeviceEvents>(name: Name, listener: DeviceEvents[Name]): () => void;
        /** What is held for an event, or null. */
        bundle(event: string): Bundle | null;
        /** The app has acted on signal `seq` just now. By itself after a `due` listener; needed without one. */
        activated(seq: number): void;
        /** Drop the connection, as a dead network would; it comes back by itself. For tests. */
        cut(): void;
        /** Ends it, with close code 1000. The last event is `state` 'stopped'. */
        close(): void;
}

export function memoryStorage(): Storage;
/** Up to a few MB. */
export function localStorageStorage(prefix?: string, area?: any): Storage;
export function indexedDBStorage(name?: string, factory?: any): Storage;
