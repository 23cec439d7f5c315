/* Every change is asked about first: what will happen, to whom, and how long it takes. The version on which the
 * producer decided goes with it, so that nobody decides on what has changed meanwhile. */
import { change, dryRun, Refused, Unknown } from "./api.js";
import { announce, byId, make, setAttribute, setText, show } from "./dom.js";
import { count, devices, fromLocalInput, moment, took, toLocalInput } from "./format.js";

const MINUTE = 60000;
const REACH_AGAIN_MS = 2000; /* devices come and go while one decides */

/* --- fields: each is {element, value()}; value() throws a sentence if it makes no sense ------------------- */

function choice(name, legend, options, initial, more = {}) {
    const rows = options.map(([value, label]) => {
        const input = make("input", { type: "radio", name, value, checked: value === initial });
        const row = make("label", { class: "option" }, input, " ", label);

        if (more[value] !== undefined) {
            more[value].addEventListener("focus", () => {
                if (!input.checked) {
                    input.checked = true;
                    input.dispatchEvent(new Event("input", { bubbles: true }));
                }
            });
            row.append(" ", more[value]);
        }
        return row;
    });
    const element = make("fieldset", {}, make("legend", {}, legend), ...rows);

    return { element, value: () => element.querySelector("input:checked")?.value };
}

function timeInput(label, ms) {
    return make("input", { type: "datetime-local", step: "1", value: toLocalInput(ms), "aria-label": label });
}

/* `now` is a function: a dialog may stay open for long. */
function timeFrom(input, now) {
    const ms = fromLocalInput(input.value);

    if (Number.isNaN(ms))
        throw new Error("Give a day and a time.");
    if (ms <= now())
        throw new Error("That time has passed.");
    return new Date(ms).toISOString();
}

const nothing = () => ({ elements: [], body: () => ({}) });

function whenFields(now, legend) {
    const exact = timeInput("Time", now() + 5 * MINUTE);
    const when = choice("when", legend, [["0", "now"], ["2s", "in 2 seconds, all together"], ["5s", "in 5 seconds, all together"],
        ["10s", "in 10 seconds, all together"], ["at", "at"]], "2s", { at: exact });

    return {
        elements: [when.element],
        body: () => {
            if (when.value() === "at")
                return { at: timeFrom(exact, now) };
            return when.value() === "0" ? {} : { lead: when.value() };
        },
    };
}

function delayFields(now, event) {
    const planned = Date.parse(event.starts_at);
    const exact = timeInput("New planned start", Math.max(planned, now()) + 5 * MINUTE);
    const by = choice("by", "Delay by", [["5m", "5 minutes"], ["15m", "15 minutes"], ["30m", "30 minutes"], ["exact", "to exactly"]],
        "5m", { exact });
    const reason = make("input", { type: "text", maxlength: "200", autocomplete: "off" });

    return {
        elements: [by.element, make("label", {}, "Why (for the log; may be empty) ", reason)],
        body: () => ({
            ...(by.value() === "exact" ? { starts_at: timeFrom(exact, now) } : { by: by.value() }),
            ...(reason.value.trim() === "" ? {} : { reason: reason.value.trim() }),
        }),
    };
}

function stageFields(now, event) {
    const others = event.stages.filter((stage) => stage !== event.stage);
    const stage = others.length > 0 ? choice("stage", "To stage", others.map((key) => [key, key]), others[0])
                                    : null;
    const text = make("input", { type: "text", maxlength: "32", pattern: "[A-Za-z0-9._:~\\-]+", autocomplete: "off" });
    const when = whenFields(now, "When");

    return {
        elements: [stage !== null ? stage.element : make("label", {}, "Stage ", text), ...when.elements],
        body: () => {
            const key = stage !== null ? stage.value() : text.value.trim();

            if (key === "")
                throw new Error("Name the stage.");
            return { stage: key, ...when.body() };
        },
    };
}

function reopenFields(now) {
    const exact = timeInput("New planned start", now() + 15 * MINUTE);
    const when = choice("when", "It goes on", [["0", "live, at once"], ["at", "as planned for"]], "at", { at: exact });

    return {
        elements: [when.element],
        body: () => (when.value() === "at" ? { starts_at: timeFrom(exact, now) } : {}),
    };
}

function createFields(now) {
    const field = (label, attributes, help) => {
        const input = make("input", { type: "text", autocomplete: "off", ...attributes });

        return { input, element: make("label", {}, `${label} `, input, make("small", {}, help)) };
    };
    const id = field("Id", { required: true, maxlength: "64", pattern: "[A-Za-z0-9._:~\\-]+" },
        "Letters, digits and . _ : ~ - ; devices ask for it by this name.");
    const title = field("Title", { required: true, maxlength: "256" }, "What people call it.");
    const starts = field("Planned start", {
        type: "datetime-local", step: "1", value: toLocalInput(Math.ceil((now() + 15 * MINUTE) / (5 * MINUTE)) * 5 * MINUTE),
    }, "In your time zone.");
    const stages = field("Stages", {}, "Of its own, such as halftime; separated by spaces. None: any.");
    const auto = make("input", { type: "checkbox" });

    return {
        elements: [id.element, title.element, starts.element, stages.element,
            make("label", { class: "option" }, auto, " Starts by itself at that time")],
        body: () => {
            const list = stages.input.value.split(/[\s,]+/).filter((stage) => stage !== "");

            if (!id.input.checkValidity())
                throw new Error("The id needs 1 to 64 letters, digits or . _ : ~ -");
            if (title.input.value.trim() === "")
                throw new Error("Give it a title.");
            return {
                id: id.input.value,
                title: title.input.value.trim(),
                starts_at: timeFrom(starts.input, now),
                ...(list.length > 0 ? { stages: list } : {}),
                ...(auto.checked ? { auto_start: true } : {}),
            };
        },
    };
}

const wordsOf = (input) => input.value.split(/[\s,]+/).filter((word) => word !== "");

/* Whom to tell. Nothing filled in: everyone. Closed again, it still says whom. */
function targetFields() {
    const field = (label) => {
        const input = make("input", { type: "text", autocomplete: "off", autocapitalize: "none", spellcheck: "false" });

        return { input, element: make("label", {}, `${label} `, input) };
    };
    const cohorts = field("Cohorts"), platform = field("Platforms"), region = field("Regions"), app = field("Apps");
    const rows = { cohort: cohorts, platform, region, app };
    const summary = make("summary", {}, "Tell everyone");
    const element = make("details", { class: "target" }, summary,
        make("p", { class: "small" }, "Only devices that fit each line filled in are told now. Several words in a line: any of them. " +
            "The others see the new state when they next ask for it."),
        make("div", { class: "target-rows" }, ...Object.values(rows).map((row) => row.element)));
    const filled = () => Object.entries(rows).map(([name, { input }]) => [name, wordsOf(input)]).filter(([, words]) => words.length > 0);

    element.addEventListener("input", () => {
        const whom = filled().map(([name, words]) => `${name} ${words.join(" or ")}`).join(", ");

        setText(summary, whom === "" ? "Tell everyone" : `Tell only ${whom}`);
    });
    /* Enter would send at once: to whom is to be read before that. */
    element.addEventListener("keydown", (key) => {
        if (key.key === "Enter" && key.target.matches("input"))
            key.preventDefault();
    });
    return {
        element,
        body: () => {
            const { cohort, ...attributes } = Object.fromEntries(filled());

            return {
                ...(cohort !== undefined ? { cohorts: cohort } : {}),
                ...(Object.keys(attributes).length > 0 ? { attributes } : {}),
            };
        },
    };
}

/* The fields of a kind of change and, of an event that is there already, whom to tell. */
function fieldsOf(kind, now, event) {
    const own = kinds[kind].fields(now, event);

    if (event === undefined)
        return own;
    const target = targetFields();

    return { elements: [...own.elements, target.element], body: () => ({ ...own.body(), ...target.body() }) };
}

/* title(event title), go: the button; `done`: what is announced. `careful`: the focus begins on Back. */
const kinds = {
    create: { title: () => "New event", go: "Announce it", done: "announced", fields: createFields },
    start: { title: (t) => `Start ${t}?`, go: "Start", done: "started", fields: (now) => whenFields(now, "Devices switch") },
    delay: { title: (t) => `Delay ${t}?`, go: "Delay", done: "delayed", fields: delayFields },
    stage: { title: (t) => `Move ${t} to another stage?`, go: "Move", done: "moved", fields: stageFields },
    end: { title: (t) => `End ${t}?`, go: "End it", done: "ended", fields: nothing, careful: true },
    cancel: { title: (t) => `Call ${t} off?`, go: "Call it off", done: "called off", fields: nothing, careful: true },
    reopen: { title: (t) => `Reopen ${t}?`, go: "Reopen", done: "reopened", fields: reopenFields },
};

/* --- the dialog ------------------------------------------------------------------------------------------- */

export class ChangeDialog {
    /* `now()`: the node's time; `connected()`: devices connected now. */
    constructor({ now, connected }) {
        Object.assign(this, { now, connected });
        this.element = byId("change-dialog");
        this.form = this.element.querySelector("form");
        this.open = null; /* {kind, event, fields, isSending, again} */
        this.asked = 0;
        this.form.addEventListener("submit", (submit) => { submit.preventDefault(); this.send(); });
        this.form.addEventListener("input", () => { this.note(""); this.reach(this.open.event === undefined ? 600 : 80); });
        this.element.addEventListener("cancel", (cancel) => { if (this.open?.isSending) cancel.preventDefault(); });
        this.element.addEventListener("close", () => { this.open = null; clearTimeout(this.timer); });
        this.element.querySelector("[data-close]").addEventListener("click", () => {
            if (!this.open?.isSending)
                this.element.close();
        });
    }

    /* `event` is undefined for create. */
    ask(kind, event) {
        const { title, go, careful } = kinds[kind];
        const made = fieldsOf(kind, this.now, event);

        this.open = { kind, event, fields: made, isSending: false, again: null };
        setText(byId("change-title"), title(event?.title));
        this.goButton = byId("change-go");
        this.goText = go;
        setAttribute(this.goButton, "class", `big ${careful ? "danger-solid" : "primary"}`);
        byId("change-fields").replaceChildren(...made.elements);
        this.note("");
        setText(byId("change-reach"), event === undefined ? "" : "Asking the node whom it reaches …");
        this.facts();
        this.sending(false);
        this.element.showModal();
        /* On the choice that stands: the arrow keys go on from what has the focus, not from what is checked. */
        (careful ? this.element.querySelector("[data-close]")
                 : made.elements[0]?.querySelector("input:checked")
                   ?? made.elements[0]?.querySelector("input") ?? this.goButton).focus();
        this.reach();
    }

    facts() {
        const { event } = this.open;

        setText(byId("change-facts"), event === undefined ? "It is scheduled, and devices that connect hear of it."
            : `Now ${event.stage}, planned for ${moment(Date.parse(event.starts_at), this.now())}, version ${event.version}.`);
    }

    note(text, isGood = false) {
        setText(byId("change-note"), text);
        setAttribute(byId("change-note"), "data-good", isGood);
        show(byId("change-note"), text !== "");
    }

    sending(isSending) {
        this.open.isSending = isSending;
        setAttribute(this.form, "aria-busy", isSending ? "true" : null);
        for (const input of this.form.querySelectorAll("input, button"))
            setAttribute(input, "aria-disabled", isSending ? "true" : null);
        setText(this.goButton, isSending ? "Sending …" : this.goText);
    }

    path() {
        const { kind, event } = this.open;

        return event === undefined ? "/v1/events" : `/v1/events/${encodeURIComponent(event.id)}/${kind}`;
    }

    /* Whom it would reach, asked of the node in `ms`, and again and again while the dialog is open. */
    reach(ms = 0) {
        const asked = ++this.asked;
        const { open } = this;
        const isMeant = () => asked === this.asked && open === this.open;

        clearTimeout(this.timer);
        this.timer = setTimeout(async () => {
            if (!open.isSending)
                await this.askReach(open, isMeant);
            if (isMeant() && open.event !== undefined)
                this.reach(REACH_AGAIN_MS);
        }, ms);
    }

    async askReach(open, isMeant) {
        let body;

        try {
            body = open.fields.body();
        } catch {
            return; /* not filled in yet */
        }
        try {
            const would = await dryRun(this.path(), body, open.event?.version ?? null);

            if (isMeant())
                this.sayReach(would, body.cohorts !== undefined || body.attributes !== undefined);
        } catch (error) {
            if (isMeant())
                setText(byId("change-reach"), error instanceof Refused ? `The node would refuse: ${error.message}`
                                                                       : "The node does not answer.");
        }
    }

    sayReach(would, isForSome) {
        const all = this.connected();

        if (would === null)
            setText(byId("change-reach"), `${devices(all)} are connected now.`);
        else if (would.devices === 0)
            setText(byId("change-reach"), isForSome ? "Nobody who is connected is meant: no device would be told now."
                                                    : "No device is connected: nobody would be told now.");
        else
            setText(byId("change-reach"), `Reaches ${would.approximate ? "up to " : ""}` +
                `${isForSome && all >= would.devices ? `${count(would.devices)} of ${devices(all)}` : devices(would.devices)} ` +
                `within about ${took(Number(would.estimated_ms.toPrecision(2)))}.`);
    }

    async send() {
        const { open } = this;

        if (open === null || open.isSending)
            return;
        try {
            const body = open.again === null ? open.fields.body() : null;
            const progress = (text) => { if (this.open === open) this.note(text); };

            this.note("");
            this.sending(true);
            const result = await (open.again !== null ? open.again()
                                                      : change(this.path(), body, open.event?.version ?? null, progress));

            this.done(open, result);
        } catch (error) {
            if (this.open === open)
                this.failed(open, error);
        }
    }

    done(open, result) {
        const title = result.event?.title ?? open.event?.title ?? "";

        announce(`${title}: ${kinds[open.kind].done}, signal ${result.seq}${result.durability ? `, kept (${result.durability})` : ""}.`);
        if (this.open === open)
            this.element.close();
    }

    failed(open, error) {
        this.sending(false);
        if (error instanceof Unknown) {
            open.again = error.again;
            this.goText = "Ask again";
            setText(this.goButton, this.goText);
            this.note(`${error.message} Its key is ${error.key}; “Ask again” can not make it twice.`);
            return;
        }
        open.again = null;
        if (error instanceof Refused && error.problem.event !== undefined && error.slug === "version-stale")
            this.changed({ ...open.event, ...error.problem.event });
        this.note(error.message);
        this.goButton.focus();
    }

    /* The event is not any more what the producer decided about: say so, and wait for another word. */
    changed(event) {
        this.open.event = event;
        this.facts();
        this.reach();
    }

    /* With each new list of events. */
    take(events) {
        const { open } = this;
        const event = open?.event === undefined ? undefined : events.find(({ id }) => id === open.event.id);

        if (event === undefined || open.isSending || open.again !== null || event.version <= open.event.version)
            return;
        this.changed(event);
        this.note(event.legal.includes(open.kind) ? "Somebody has changed it meanwhile: look again."
                                                  : "Somebody has changed it meanwhile, and this is not possible any more.");
    }
}

/* Small dialogs. `onSend` false: it stays open. One without a way back cannot be left by Esc either. */
export function simpleDialog(id, onSend) {
    const element = byId(id);
    const back = element.querySelector("[data-close]");

    element.querySelector("form").addEventListener("submit", (submit) => {
        submit.preventDefault();
        if (onSend() !== false)
            element.close();
    });
    back?.addEventListener("click", () => element.close());
    element.addEventListener("cancel", (cancel) => { if (back === null) cancel.preventDefault(); });
    return element;
}
