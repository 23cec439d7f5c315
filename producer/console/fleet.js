/* The nodes, a bar each; and the latest signals. */
import { byId, keyed, make, setAttribute, setText } from "./dom.js";
import { clock, count } from "./format.js";

export class Fleet {
    constructor() {
        this.connected = 0;
        this.head = 0;
    }

    takeNodes({ nodes }) {
        const here = nodes.filter((node) => node.state !== "ended");
        const most = Math.max(1, ...here.map((node) => node.devices));
        const up = here.filter((node) => !node.gone);

        this.connected = up.reduce((sum, node) => sum + node.devices, 0);
        setText(byId("total"), count(this.connected));
        setText(byId("total-of"), `${this.connected === 1 ? "device" : "devices"} on ${up.length} ${up.length === 1 ? "node" : "nodes"}`);
        keyed(byId("nodes"), here, (node) => node.name, () => make("li", {},
            make("span", { class: "name" }), make("span", { class: "pill" }), make("span", { class: "number" }),
            make("span", { class: "bar", "aria-hidden": "true" }, make("span", {}))),
        (row, node) => this.updateNode(row, node, most));
    }

    updateNode(row, node, most) {
        const behind = this.head - node.seq;
        const words = node.state === "up" && behind > 0 ? `${behind} behind` : node.state;

        setText(row.querySelector(".name"), node.name);
        setText(row.querySelector(".pill"), words);
        setAttribute(row.querySelector(".pill"), "data-look", node.gone ? "bad" : words === "up" ? "good" : "warn");
        setText(row.querySelector(".number"), count(node.devices));
        setAttribute(row, "data-gone", node.gone);
        row.querySelector(".bar span").style.width = `${node.gone ? 0 : (100 * node.devices) / most}%`;
    }

    takeSignals({ head, signals }) {
        this.head = head;
        keyed(byId("signals"), [...signals].reverse(), (signal) => signal.token,
            (signal) => make("li", {},
                make("time", {}, clock(Date.parse(signal.sent))), " ",
                make("strong", {}, signal.kind), ` ${signal.event}`,
                make("span", { class: "small" }, ` ${signal.stage}, signal ${signal.seq}`)), () => {});
    }
}
