/* One device: where it is, and a message for it alone. What became of that is the node's word: 200 it is in the
 * device's socket, 404 the device is nowhere, 503 later. */
import { ask, newKey, Refused, signed } from "./api.js";
import { readAudit } from "./audit.js";
import { byId, setAttribute, setText, show } from "./dom.js";
import { moment } from "./format.js";

const looks = { 200: "good", 404: "warn", 503: "warn" };

let isBusy = false;
let unsettled = null; /* {to, id}: of a message that may have arrived. Sent again it has the same id, so that the device can tell */

/* `status` null: there is none yet, or nobody gave one. */
function say(status, words, look = looks[status] ?? "bad") {
    const said = byId("device-said");

    setAttribute(said, "data-status", status);
    setText(said.querySelector(".pill"), status === null ? "" : String(status));
    setAttribute(said.querySelector(".pill"), "data-look", look);
    show(said.querySelector(".pill"), status !== null);
    setText(said.querySelector(".words"), words);
    show(said, true);
}

/* A problem in the node's words, but where its names for things are not the reader's. */
function problemWords({ status, message, problem, retryAfter }, device) {
    if (status === 404 && problem.device !== undefined)
        return `${device} is not connected to any node. ` +
            (problem.last_seen ? `It was last known to be at ${moment(Date.parse(problem.last_seen), Date.now())}.` : "When it last was is not known.");
    return retryAfter === null ? message : `${message} Worth another try in ${retryAfter} s.`;
}

/* One question at a time. `put()` resolves to what is to be said. */
async function pose(words, device, put) {
    if (isBusy)
        return;
    isBusy = true;
    say(null, words);
    try {
        say(200, await put());
    } catch (error) {
        if (error instanceof Refused)
            say(error.status, problemWords(error, device));
        else
            say(null, "No answer from the node. A message may have arrived all the same: send it again, and the device can tell.");
    } finally {
        isBusy = false;
    }
}

const pathOf = (device) => `/v1/devices/${encodeURIComponent(device)}`;

function look() {
    const device = byId("device-id").value.trim();

    if (device === "")
        return say(null, "Name the device.");
    return pose("Looking …", device, async () => {
        const { answer } = await ask("GET", pathOf(device));

        return `${answer.device} is connected to ${answer.node} since ${moment(Date.parse(answer.connected_since), Date.now())}, ` +
            `${answer.transport === "sse" ? "by event stream" : "by WebSocket"}${answer.cohort ? `, cohort ${answer.cohort}` : ""}.`;
    });
}

function send() {
    const device = byId("device-id").value.trim(), body = byId("device-text").value;
    const to = JSON.stringify([device, body]);

    if (device === "" || body === "")
        return say(null, "Name the device, and write what it is to be told.");
    return pose("Sending …", device, async () => {
        if (unsettled?.to !== to)
            unsettled = { to, id: newKey() };
        const { answer } = await ask("POST", `${pathOf(device)}/messages`, { body: { id: unsettled.id, body }, headers: signed() });

        unsettled = null;
        readAudit();
        return `Delivered to ${answer.device}: it is in its socket at ${answer.node}.`;
    });
}

export function watchDevicePanel() {
    byId("device-look").addEventListener("click", look);
    byId("device-form").addEventListener("submit", (submit) => { submit.preventDefault(); send(); });
}
