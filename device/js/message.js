/* device/js/message.js -- what comes over the wire, believed only as far as proto/PROTOCOL.md goes: the
 * tables of section 3 as data, and one reader for them. Unknown fields and types are skipped; a
 * message that lacks a field, or has one of the wrong type, is malformed as a whole. Pure. */

export const MESSAGE_MAX_BYTES = 1048576;

const KINDS = ['create', 'start', 'delay', 'end', 'cancel', 'stage', 'refresh'];
const RESET_REASONS = ['new', 'trimmed', 'forked', 'unknown'];
const GOAWAY_REASONS = ['recycle', 'drain', 'overload', 'replaced'];
const U32_MAX = 4294967295;
const TOKEN = /^([0-9a-f]{16})\.(0|[1-9][0-9]{0,15})\.([0-9a-f]{16})$/;

const isText = (value) => typeof value === 'string' && !value.includes('\0');
const isNumber = (value) => Number.isSafeInteger(value) && value >= 0;
const isU32 = (value) => isNumber(value) && value <= U32_MAX;
const isInteger = (value) => Number.isSafeInteger(value);
const isBool = (value) => typeof value === 'boolean';
const isWord = (words) => (value) => words.includes(value);
const isToken = (value) => typeof value === 'string' && parseToken(value) !== null;
const optional = (is) => (value) => value === undefined || is(value);

const STATE = {
        event: isText,
        stage: isText,
        at: isNumber,
        starts_at: isNumber,
        version: isNumber,
        bundle: isNumber,
};
const MESSAGES = {
        hello: {
                node: isText,
                session: isText,
                token: isToken,
                now: isNumber,
                ping_s: isU32,
                lifetime_s: isU32,
                ack_spread_ms: isU32,
                prefetch_ms: optional(isU32),
                recovered: isBool,
                reason: optional(isWord(RESET_REASONS)),
        },
        signal: {
                seq: isNumber,
                token: isToken,
                ...STATE,
                kind: isWord(KINDS),
                sent: isNumber,
                window_ms: optional(isNumber),
        },
        reset: {
                reason: isWord(RESET_REASONS),
                token: isToken,
                events: (list) => Array.isArray(list) && list.every((state) => fits(state, STATE)),
        },
        skip: { token: isToken },
        goaway: { reason: isWord(GOAWAY_REASONS), min_ms: isU32, max_ms: isU32 },
        time: { t0: isInteger, t1: isNumber },
        message: { id: isText, body: isText },
};

function fits(value, fields) {
        if (value === null || typeof value !== 'object' || Array.isArray(value))
                return false;
        return Object.entries(fields).every(([name, is]) => is(value[name]));
}

/** `EPOCH.SEQ.TAG` -> {text, epoch, seq, tag}, or null. */
export function parseToken(text) {
        const parts = TOKEN.exec(text);

        if (parts === null || !Number.isSafeInteger(Number(parts[2])))
                return null;
        return { text, epoch: parts[1], seq: Number(parts[2]), tag: parts[3] };
}

/**
 * One message of a node. Returns {message}, {ignored: true} for a type of a later version, or
 * {error: sentence}.
 */
export function readMessage(text) {
        let message;

        try {
                message = JSON.parse(text);
        } catch {
                return { error: 'a message that is no JSON' };
        }
        if (message === null || typeof message !== 'object' || typeof message.t !== 'string')
                return { error: 'a message without a type' };
        if (message.t === 'ack')
                return { error: 'a message only devices send' };
        if (!Object.prototype.hasOwnProperty.call(MESSAGES, message.t))
                return { ignored: true };
        if (!fits(message, MESSAGES[message.t]))
                return { error: `a malformed ${message.t}` };
        if (message.t === 'signal' && message.seq !== parseToken(message.token).seq)
                return { error: 'a signal whose number is not that of its token' };
        return { message };
}
