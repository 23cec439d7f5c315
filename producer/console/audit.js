/* Who did what, from where: read again after each signal. A node that keeps no audit trail has no such panel. */
import { ask, Refused } from "./api.js";
import { byId, keyed, make, show } from "./dom.js";
import { clock } from "./format.js";

const LIMIT = 50;

function row(entry) {
    const from = [entry.who || "nobody said who", entry.from].filter(Boolean).join(", ");
    const what = [entry.kind, entry.event].filter(Boolean).join(" ");

    return make("li", {},
        make("time", {}, clock(Date.parse(entry.at ?? entry.when))), " ", make("strong", {}, what),
        make("span", { class: "small" }, ` ${from}${entry.seq ? `, signal ${entry.seq}` : ""}`));
}

export async function readAudit() {
    try {
        const { answer } = await ask("GET", `/v1/audit?limit=${LIMIT}`);
        const entries = answer.entries ?? answer.audit ?? [];

        keyed(byId("audit"), [...entries].reverse(), (entry) => entry.id ?? `${entry.at}${entry.seq}`, row, () => {});
        show(byId("audit-panel"), true);
    } catch (error) {
        if (error instanceof Refused && error.status === 404)
            show(byId("audit-panel"), false);
    }
}
