/* Asking the node. Reads are plain; a change is asked for until its outcome is known, always with the same
 * Idempotency-Key, so that a start that got lost on its way is made once, and one that was made is not made
 * again. */

const ANSWER_MS = 5000; /* the node answers within two seconds */
const GIVE_UP_MS = 45000;
const TOKEN = "kickoff-token";
const ACTOR = "kickoff-actor";

export const token = {
    get: () => sessionStorage.getItem(TOKEN) ?? "",
    set: (text) => sessionStorage.setItem(TOKEN, text),
};
export const actor = {
    get: () => localStorage.getItem(ACTOR) ?? "",
    set: (name) => localStorage.setItem(ACTOR, name.replace(/[^ -~]/g, "").trim().slice(0, 100)),
};

/* The node said no, in its own words (RFC 9457). */
export class Refused extends Error {
    constructor(status, problem, retryAfter = null) {
        super(problem.detail ?? problem.title ?? `The node answered ${status}.`);
        this.status = status;
        this.problem = problem;
        this.retryAfter = retryAfter; /* seconds, or null */
        this.slug = String(problem.type ?? "").split("/").pop();
    }
}

/* Nobody could say what became of it. `again()` goes on asking, with the same key. */
export class Unknown extends Error {
    constructor(key, again) {
        super("No answer. The change was made once or not at all: nobody could say which yet.");
        this.key = key;
        this.again = again;
    }
}

export function authorized(headers = {}) {
    return token.get() === "" ? headers : { ...headers, Authorization: `Bearer ${token.get()}` };
}

/* Who says so, for the audit trail. */
export const signed = () => (actor.get() === "" ? {} : { "Kickoff-Actor": actor.get() });

/* Throws Refused, or whatever fetch throws when no answer came. */
export async function ask(method, path, { body, headers = {} } = {}) {
    const response = await fetch(path, {
        method,
        headers: authorized(body === undefined ? headers : { ...headers, "Content-Type": "application/json" }),
        body: body === undefined ? undefined : JSON.stringify(body),
        cache: "no-store",
        signal: AbortSignal.timeout(ANSWER_MS),
    });
    const answer = await response.json().catch(() => ({}));

    if (!response.ok)
        throw new Refused(response.status, answer, response.headers.get("Retry-After"));
    return { status: response.status, answer };
}

/* 128 bits, also where the page is not a "secure context" and crypto.randomUUID is missing. */
export function newKey() {
    const bytes = crypto.getRandomValues(new Uint8Array(16));

    return "console-" + [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}

const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/* What became of `key`: its result, or null if that is not known (yet), or nothing was done. */
async function outcomeOf(key) {
    const { status, answer } = await ask("GET", `/v1/requests/${key}`);

    return status === 200 ? answer : null;
}

/* `attempt.hasDoubt`: an earlier try may have been carried out, so a later "not done" is about that try alone. */
async function pursue(attempt) {
    const until = performance.now() + GIVE_UP_MS;

    for (let wait = 250; performance.now() < until; wait = Math.min(wait * 2, 4000)) {
        try {
            return (await ask("POST", attempt.path, { body: attempt.body, headers: attempt.headers })).answer;
        } catch (error) {
            const isRefusal = error instanceof Refused;

            if (isRefusal && error.status !== 504 && !(error.status === 503 && attempt.hasDoubt))
                throw error;
            attempt.hasDoubt = true;
            attempt.progress(isRefusal ? "The node does not know yet whether it was made. Asking …"
                                       : "No answer from the node. Asking again, with the same key …");
        }
        await pause(wait);
        const known = await outcomeOf(attempt.key).catch(() => null);

        if (known !== null)
            return known;
    }
    throw new Unknown(attempt.key, () => pursue(attempt));
}

/* Resolves to {seq, durability, event ...}. `version` null: of an event that does not exist yet. */
export function change(path, body, version, progress) {
    const key = newKey();
    const headers = { "Idempotency-Key": key, ...signed() };

    if (version !== null)
        headers["If-Match"] = `"${version}"`;
    return pursue({ path, body, headers, key, progress, hasDoubt: false });
}

/* What it would do: {devices, estimated_ms, event, would}; null if this node cannot say. */
export async function dryRun(path, body, version) {
    const headers = version === null ? {} : { "If-Match": `"${version}"` };

    try {
        const { answer } = await ask("POST", `${path}?dry_run=1`, { body, headers });

        return answer.dry_run === true ? answer : null;
    } catch (error) {
        if (error instanceof Refused && error.status === 501)
            return null;
        throw error;
    }
}
