/* The live stream: fetch rather than EventSource, which cannot send a token. The node speaks at least once a
 * second; three seconds of silence are a lost node, whatever TCP says. */
import { authorized } from "./api.js";

const SILENCE_MS = 3000;
const CONNECT_MS = 5000;

/* "event: a\ndata: b" -> calls on(a, parsed b). Comments and unknown fields are passed over. */
function take(block, on) {
    let kind = "message";
    const data = [];

    for (const line of block.split("\n")) {
        if (line.startsWith("event: "))
            kind = line.slice(7);
        else if (line.startsWith("data: "))
            data.push(line.slice(6));
    }
    if (data.length === 0)
        return;
    const message = JSON.parse(data.join("\n"));

    try {
        on(kind, message);
    } catch (error) { /* ours, not the connection's: it must neither end it nor be lost */
        setTimeout(() => { throw error; });
    }
}

async function listen(response, heard, on) {
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    let text = "";

    for (;;) {
        const { done, value } = await reader.read();

        if (done)
            return;
        heard();
        text += value;
        const blocks = text.split("\n\n");

        text = blocks.pop();
        for (const block of blocks)
            take(block, on);
    }
}

/* on(kind, state) per message. onLink(state, detail): "live"; "lost"; "token" (then call go() when there is one);
 * "refused" with the node's problem. Never ends. */
export function watchLive(on, onLink) {
    let wake = () => {};
    let wait = 250;
    let pauseMs = 0; /* at least so long, says the node */

    const rest = (ms) => new Promise((resolve) => {
        const timer = setTimeout(resolve, ms);

        wake = () => { clearTimeout(timer); resolve(); };
    });

    async function once() {
        const ending = new AbortController();
        let timer = setTimeout(() => ending.abort(), CONNECT_MS);

        pauseMs = 0;
        const heard = () => {
            clearTimeout(timer);
            timer = setTimeout(() => ending.abort(), SILENCE_MS);
        };

        try {
            const response = await fetch("/v1/live", { headers: authorized(), cache: "no-store", signal: ending.signal });

            if (response.status === 401)
                return ["token"];
            if (!response.ok) {
                pauseMs = 1000 * (Number(response.headers.get("Retry-After")) || 0);
                return ["refused", await response.json().catch(() => ({}))];
            }
            heard();
            onLink("live");
            wait = 250;
            await listen(response, heard, on);
        } catch {
            /* broken off, or silent: the same to whoever looks on */
        } finally {
            clearTimeout(timer);
            ending.abort();
        }
        return ["lost"];
    }

    (async () => {
        for (;;) {
            onLink(...await once());
            await rest(pauseMs + wait * (0.5 + Math.random() / 2));
            wait = Math.min(wait * 2, 4000);
        }
    })();
    return { go: () => { wait = 250; wake(); } };
}
