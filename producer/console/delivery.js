/* The newest signal: whom it has reached so far, how fast, and which nodes hang behind. */
import { announce, byId, keyed, make, setAttribute, setText, show } from "./dom.js";
import { clock, count, devices, percent, took } from "./format.js";
import { drawCurve } from "./curve.js";

const SLOWEST = 5;

function state(report) {
    if (report.complete)
        return ["complete", "good"];
    if (report.partial)
        return ["a node is missing", "bad"];
    return ["filling", ""];
}

function slowest(nodes) {
    const late = (node) => node.told.p99 ?? (node.connected > 0 ? Infinity : -1);

    return nodes.filter((node) => node.connected > 0 || node.written > 0)
        .sort((a, b) => late(b) - late(a)).slice(0, SLOWEST);
}

function updateRow(row, node) {
    const cells = row.children;

    setText(cells[0], node.gone ? `${node.name} (gone)` : node.name);
    setText(cells[1], took(node.told.p99));
    setText(cells[2], took(node.told.max));
    setText(cells[3], `${count(node.written)} of ${count(node.connected)}`);
    setText(cells[4], count(node.acked));
}

export class Delivery {
    constructor() {
        this.announced = 0; /* number of the signal that was announced as complete */
        this.message = null;
        new ResizeObserver(() => this.draw()).observe(byId("curve"));
    }

    draw() {
        const width = Math.round(byId("curve").clientWidth);

        if (this.message !== null && width > 0)
            byId("curve").replaceChildren(drawCurve(this.message, Math.max(240, width)));
    }

    clear() {
        this.message = null;
        show(byId("no-report"), true);
        show(byId("report"), false);
    }

    take(message) {
        const { report } = message;
        const [words, look] = state(report);
        const all = Math.max(report.connected, report.written);

        show(byId("no-report"), false);
        show(byId("report"), true);
        setText(byId("report-what"), `${message.kind}: ${message.event}`);
        setText(byId("report-when"), `signal ${message.seq}, sent ${clock(Date.parse(message.sent))}`);
        setText(byId("report-state"), words);
        setAttribute(byId("report-state"), "data-look", look);
        setAttribute(byId("report"), "data-seq", message.seq);
        setText(byId("figure-told"), percent(report.written, all));
        setText(byId("figure-told-of"), `${count(report.written)} of ${count(report.connected)}`);
        setText(byId("figure-acked"), percent(report.acked, report.written - report.silent));
        setText(byId("figure-acked-of"), `${count(report.acked)} of ${count(report.written - report.silent)}`);
        setText(byId("figure-p50"), took(report.p50_ms));
        setText(byId("figure-p99"), took(report.p99_ms));
        setText(byId("figure-max"), took(report.max_ms));
        this.message = message;
        this.draw();
        const late = slowest(report.nodes);

        show(byId("slowest-nodes"), late.length > 0);
        keyed(byId("slowest"), late, (node) => `${node.name} ${node.started}`,
            () => make("tr", {}, make("th", { scope: "row" }), ...[1, 2, 3, 4].map(() => make("td", { class: "n" }))), updateRow);
        if (report.complete && this.announced !== message.seq) {
            this.announced = message.seq;
            announce(`Signal ${message.seq} has reached ${devices(report.written)}, 99 percent within ${took(report.p99_ms)}.`);
        }
    }
}
