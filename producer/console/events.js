/* The events: one card each, with what may be done to it now. A card is made once and then changed, so that
 * whoever is on a button stays on it. */
import { byId, keyed, make, setAttribute, setText, show } from "./dom.js";
import { countdown, moment } from "./format.js";

const SOON_MS = 15 * 60000;

/* In the order in which they stand on a card. `publish` and `refresh` are for `kickoff prefetch`. */
const actions = [
    ["start", "Start …", "primary"],
    ["delay", "Delay …", ""],
    ["stage", "Stage …", ""],
    ["end", "End …", "danger"],
    ["reopen", "Reopen …", ""],
    ["cancel", "Call off …", "danger"],
];

const isOver = (event) => event.phase === "ended" || event.phase === "cancelled";
const timeOf = (text) => (text === null ? null : Date.parse(text));

function createCard(event, onAction) {
    const buttons = actions.map(([kind, label, look]) => {
        const button = make("button", { type: "button", class: `big ${look}`, "data-action": kind }, label);

        button.addEventListener("click", () => {
            if (button.getAttribute("aria-disabled") !== "true")
                onAction(kind, event.id);
        });
        return button;
    });

    return make("article", { class: "card", "aria-label": event.title, "data-event": event.id },
        make("div", { class: "card-head" },
            make("h3", {}, event.title),
            make("span", { class: "badge" })),
        make("p", { class: "countdown" }, make("span", { class: "what" }), " ", make("strong", { class: "count" })),
        make("p", { class: "facts" }),
        make("div", { class: "buttons", role: "group", "aria-label": `What can be done to ${event.title} now` }, ...buttons));
}

/* What the big line says: [words, count, kind]. */
export function standing(event, now) {
    const starts = timeOf(event.starts_at);
    const at = timeOf(event.at);

    if (event.phase === "scheduled")
        return starts > now ? ["starts in", countdown(starts - now + 999), starts - now < SOON_MS ? "soon" : ""]
                            : ["late by", countdown(now - starts), "late"];
    if (isOver(event))
        return [event.phase === "ended" ? "ended" : "called off", "", "over"];
    if (at !== null && at > now)
        return [`goes to ${event.stage} in`, countdown(at - now + 999), "soon"];
    return at !== null ? [`${event.stage} for`, countdown(now - at), "live"] : [event.stage, "", "live"];
}

function updateCountdown(card, event, now) {
    const [what, count, kind] = standing(event, now);

    setText(card.querySelector(".what"), what);
    setText(card.querySelector(".count"), count);
    setAttribute(card.querySelector(".countdown"), "data-kind", kind);
}

function updateCard(card, event, now) {
    const badge = card.querySelector(".badge");
    const facts = [`planned ${moment(timeOf(event.starts_at), now)}`, event.id, `version ${event.version}`];

    facts.push(event.bundle > 0 ? `bundle ${event.bundle}` : "nothing to prefetch yet");
    if (event.auto_start)
        facts.splice(1, 0, "starts by itself");
    setText(card.querySelector("h3"), event.title);
    setText(badge, event.stage);
    setAttribute(badge, "data-phase", event.phase);
    setText(card.querySelector(".facts"), facts.join(" · "));
    setAttribute(card, "data-phase", event.phase);
    for (const button of card.querySelectorAll("button[data-action]"))
        show(button, event.legal.includes(button.dataset.action));
    updateCountdown(card, event, now);
}

/* Live ones first, then by planned start. */
function order(a, b) {
    const rank = (event) => (event.phase === "live" ? 0 : 1);

    return rank(a) - rank(b) || timeOf(a.starts_at) - timeOf(b.starts_at) || (a.id < b.id ? -1 : 1);
}

export class EventList {
    /* `onAction(kind, id)`; `now()` is the node's time. */
    constructor(onAction, now) {
        this.onAction = onAction;
        this.now = now;
        this.events = new Map();
    }

    get(id) {
        return this.events.get(id);
    }

    take({ events }) {
        const over = events.filter(isOver).sort((a, b) => timeOf(b.starts_at) - timeOf(a.starts_at));
        const now = this.now();
        const fill = (parent, list) => keyed(parent, list, (event) => event.id,
            (event) => createCard(event, this.onAction), (card, event) => updateCard(card, event, now));

        this.events = new Map(events.map((event) => [event.id, event]));
        fill(byId("event-list"), events.filter((event) => !isOver(event)).sort(order));
        fill(byId("over-list"), over);
        setText(byId("over-count"), String(over.length));
        show(byId("over"), over.length > 0);
        setText(byId("no-events"), over.length > 0 ? "Nothing is planned." : "There are no events yet. Make the first one.");
        show(byId("no-events"), over.length === events.length);
    }

    /* The countdowns, each second. */
    tick() {
        const now = this.now();

        for (const card of document.querySelectorAll(".card")) {
            const event = this.events.get(card.dataset.event);

            if (event !== undefined)
                updateCountdown(card, event, now);
        }
    }
}
