/* The console: joins the live stream to the panels, and says how far what is shown can be believed. */
import { actor, token } from "./api.js";
import { readAudit } from "./audit.js";
import { Delivery } from "./delivery.js";
import { watchDevicePanel } from "./device.js";
import { ChangeDialog, simpleDialog } from "./dialogs.js";
import { announce, byId, setAttribute, setText, show } from "./dom.js";
import { EventList } from "./events.js";
import { Fleet } from "./fleet.js";
import { clock } from "./format.js";
import { watchLive } from "./live.js";

const STALE_MS = 4000; /* what Redis told longer ago is not "now" */
const KINDS = ["events", "nodes", "signal", "report"];

const state = {
    link: "connecting",
    skewMs: 0,      /* the node's clock less ours */
    heardMs: null,  /* our clock, when the node last said something */
    status: null,   /* its last `status` */
    lostMs: null,   /* our clock */
    liveMs: null,   /* our clock: since when it is live */
    refusal: "",
};
const now = () => Date.now() + state.skewMs;

const fleet = new Fleet();
const delivery = new Delivery();
const dialog = new ChangeDialog({ now, connected: () => fleet.connected });
const events = new EventList((kind, id) => dialog.ask(kind, events.get(id)), now);

/* --- what can be believed --------------------------------------------------------------------------------- */

function pill(id, text, look) {
    setText(byId(id), text);
    setAttribute(byId(id), "data-look", look);
    show(byId(id), true);
}

/* Since when this kind is old, in our clock; null: it is fresh. */
function staleSince(kind) {
    const asOf = state.status?.as_of[kind];

    if (state.link !== "live")
        return state.lostMs;
    if (asOf === null || asOf === undefined) {
        /* Still what was shown before; or there is none of this kind, which the node knows after a moment. */
        const isNone = state.status?.redis && Date.now() - state.liveMs >= STALE_MS;

        return isNone ? null : state.lostMs;
    }
    /* A report that is complete is read seldom. */
    const bound = kind === "report" ? 15000 : STALE_MS;
    const age = Date.parse(state.status.now) - Date.parse(asOf);

    return age > bound ? Date.parse(asOf) - state.skewMs : null;
}

function markStale() {
    for (const kind of KINDS) {
        const since = staleSince(kind);
        const panel = document.querySelector(`[data-kind=${kind}]`);

        setAttribute(panel, "data-stale", since !== null);
        setText(panel.querySelector(".as-of"), since === null ? "" : `as of ${clock(since + state.skewMs)}`);
        show(panel.querySelector(".as-of"), since !== null);
    }
}

function bannerText() {
    const { status } = state;

    if (state.link === "lost")
        return state.heardMs === null ? "No connection to the node. Trying again …"
            : `No connection to the node since ${clock(state.lostMs + state.skewMs)}. What you see is from then. Trying again …`;
    if (state.link === "refused")
        return `No live view: ${state.refusal}`;
    if (state.link === "token")
        return "This node asks for a token.";
    if (status !== null && !status.redis)
        return "Redis is away. Devices stay connected and are served; changes are refused until it is back. What you see may be old.";
    if (status !== null && !status.writable)
        return `Changes are refused: ${status.why_not_writable}`;
    return "";
}

function render() {
    const { status, link } = state;
    const text = bannerText();

    setAttribute(document.body, "data-link", link);
    pill("health-link", { live: "live", lost: "connection lost", connecting: "connecting", token: "token needed",
        refused: "no live view" }[link], link === "live" ? "good" : link === "connecting" ? "" : "bad");
    if (status !== null && link === "live") {
        pill("health-redis", status.redis ? "Redis up" : "Redis away", status.redis ? "good" : "bad");
        pill("health-ready", status.ready ? `${status.node} ready` : `${status.node} not ready`, status.ready ? "good" : "bad");
        byId("health-ready").title = status.why_not_ready ?? "";
        pill("health-writes", status.writable ? "changes taken" : "changes refused", status.writable ? "good" : "bad");
        byId("health-writes").title = status.why_not_writable ?? "";
    } else {
        for (const id of ["health-redis", "health-ready", "health-writes"])
            show(byId(id), false); /* unknown is not shown as known */
    }
    setText(byId("banner"), text);
    show(byId("banner"), text !== "");
    for (const button of document.querySelectorAll("[data-action], #new-event"))
        setAttribute(button, "aria-disabled", link === "live" ? null : "true");
    markStale();
}

/* --- the stream ------------------------------------------------------------------------------------------- */

function onStatus(status) {
    state.status = status;
    state.skewMs = Date.parse(status.now) - Date.now();
    render();
}

let auditHead = -1;

function onMessage(kind, message) {
    state.heardMs = Date.now();
    if (kind === "status")
        onStatus(message);
    else if (kind === "nodes")
        fleet.takeNodes(message);
    else if (kind === "report")
        delivery.take(message);
    else if (kind === "events") {
        events.take(message);
        dialog.take(message.events);
        render();
    } else if (kind === "signal") {
        fleet.takeSignals(message);
        if (message.head === 0)
            delivery.clear(); /* also of a log that was lost */
        if (message.head !== auditHead) {
            auditHead = message.head;
            readAudit();
        }
    }
}

function onLink(link, problem) {
    const before = state.link;

    if (link === "lost" && before === "token")
        link = "token"; /* nothing new: it still asks */
    if (link !== "live" && before === "live")
        state.lostMs = state.heardMs ?? Date.now(); /* not when it was noticed: silence counts */
    state.link = link;
    state.refusal = problem?.detail ?? "";
    if (link === "live" && before !== "live") {
        state.status = null;
        state.liveMs = Date.now();
        auditHead = -1;
        byId("token-dialog").close(); /* it may have been asked for again while the right one was on its way */
        announce(before === "lost" ? "The connection to the node is back." : "Connected to the node.");
    }
    if (link === "token" && !byId("token-dialog").open) {
        show(byId("token-note"), token.get() !== "");
        setText(byId("token-note"), "The node does not take this token.");
        byId("token-dialog").showModal();
    }
    render();
}

const live = watchLive(onMessage, onLink);

/* --- the tools -------------------------------------------------------------------------------------------- */

simpleDialog("token-dialog", () => {
    const typed = byId("token").value.trim();

    if (!/^[!-~]+$/.test(typed)) { /* no header could carry it */
        setText(byId("token-note"), "This cannot be the token: it has letters without accents, digits and signs, and no spaces.");
        show(byId("token-note"), true);
        return false;
    }
    token.set(typed);
    byId("token").value = "";
    live.go();
    return true;
});

const whoDialog = simpleDialog("who-dialog", () => {
    if (!byId("actor").checkValidity())
        return false;
    actor.set(byId("actor").value);
    nameWho();
    return true;
});

function nameWho() {
    setText(byId("who"), actor.get() === "" ? "Sign as …" : actor.get());
}

byId("who").addEventListener("click", () => {
    byId("actor").value = actor.get();
    whoDialog.showModal();
});
byId("new-event").addEventListener("click", () => {
    if (state.link === "live")
        dialog.ask("create", undefined);
});

watchDevicePanel();
byId("theme").value = document.documentElement.dataset.theme ?? "auto";
byId("theme").addEventListener("change", () => {
    const theme = byId("theme").value;

    if (theme === "auto") {
        localStorage.removeItem("kickoff-theme");
        delete document.documentElement.dataset.theme;
    } else {
        localStorage.setItem("kickoff-theme", theme);
        document.documentElement.dataset.theme = theme;
    }
});

setInterval(() => {
    events.tick();
    setText(byId("clock"), state.link === "live" ? clock(now()) : "--:--:--");
}, 250);
nameWho();
render();
