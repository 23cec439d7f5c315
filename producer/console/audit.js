/* Who did what, from where: read again after each signal. A node that keeps no audit trail has no such panel. */
import { ask, Refused } from "./api.js";
import { byId, keyed, make, show } from "./dom.js";
import { clock } from "./format.js";

const LIMIT = 50;

const about = ({ event, node, device }) => event ?? node ?? device ?? "";

/* `body` is what was asked, as JSON, cut where it was long: then it is shown as it is. */
function asked({ body }) {
    try {
        return Object.entries(JSON.parse(body)).filter(([name]) => name !== "id")
            .map(([name, value]) => ` · ${name} ${typeof value === "object" ? JSON.stringify(value) : value}`).join("");
    } catch {
        return body ? ` · ${body}` : "";
    }
}

function row(entry) {
    const from = [entry.who || "unsigned", entry.from].filter(Boolean).join(", ");

    return make("li", {},
        make("time", {}, clock(Date.parse(entry.at))), " ", make("strong", {}, entry.kind), ` ${about(entry)}`,
        make("span", { class: "small" }, ` ${from}${entry.seq ? `, signal ${entry.seq}` : ""}${asked(entry)}`));
}

let reads = 0;

export async function readAudit() {
    const mine = ++reads;

    try {
        const { answer } = await ask("GET", `/v1/audit?limit=${LIMIT}`);
        if (mine !== reads)
            return; /* a later answer has more */
        const newestFirst = [...answer.entries].sort((a, b) => Date.parse(b.at) - Date.parse(a.at));

        keyed(byId("audit"), newestFirst, (entry) => entry.id, row, () => {});
        show(byId("audit-panel"), true);
    } catch (error) {
        if (error instanceof Refused && error.status === 404)
            show(byId("audit-panel"), false);
    }
}
