/* The delivery curve: how much of all was told, and has acknowledged, by when. Time in powers of ten, since
 * the first thousand are told in milliseconds and the last ack comes after seconds. */
import { makeSvg } from "./dom.js";
import { percent, took } from "./format.js";

const HEIGHT = 240, LEFT = 44, RIGHT = 12, TOP = 10, BOTTOM = 26;
const AT_LEAST_MS = 1000; /* so that the picture does not jump while it fills */
const AT_MOST_MS = 100000; /* who comes back an hour later is told, too, and would press all else together */

const DECADES = ["1 ms", "10 ms", "0.1 s", "1 s", "10 s", "100 s"];

/* [[ms, share of all 0..1], ...], rising. */
function toldPoints({ curve, report }, all) {
    const share = report.written / all;

    return curve.told_ms === null ? []
        : curve.told_ms.map((ms, i) => [ms, share * Math.min(1, (i * curve.percent_step) / 100)]);
}

/* From the last moment at which nobody had; or from where somebody began to look on: of before nothing is known. */
function ackedPoints({ samples }, all) {
    const first = samples.findIndex(([, , acked]) => acked > 0);

    return first < 0 || samples.length < 2 ? []
        : samples.slice(Math.max(0, first - 1)).map(([ms, , acked]) => [ms, Math.min(1, acked / all)]);
}

/* `isStep`: nothing happens between two points, and nothing had before the first. */
function path(points, x, y, isStep) {
    const parts = [`M${x(points[0][0])} ${y(isStep ? 0 : points[0][1])}`];

    for (const [i, [ms, share]] of points.entries()) {
        if (isStep && i > 0)
            parts.push(`L${x(ms)} ${y(points[i - 1][1])}`);
        parts.push(`L${x(ms)} ${y(share)}`);
    }
    return parts.join("");
}

function axis(x, y, decades, width) {
    const lines = [];

    for (const share of [0, 0.25, 0.5, 0.75, 1]) {
        lines.push(makeSvg("line", { class: "grid", x1: LEFT, x2: width - RIGHT, y1: y(share), y2: y(share) }));
        lines.push(makeSvg("text", { class: "label", x: LEFT - 6, y: Number(y(share)) + 4, "text-anchor": "end" }, `${100 * share} %`));
    }
    for (let decade = 0; decade <= decades; decade++) {
        const ms = 10 ** decade;

        lines.push(makeSvg("line", { class: "grid", x1: x(ms), x2: x(ms), y1: TOP, y2: HEIGHT - BOTTOM }));
        lines.push(makeSvg("text", { class: "label", x: x(ms), y: HEIGHT - 8,
            "text-anchor": decade === decades ? "end" : "middle" }, DECADES[decade]));
    }
    return lines;
}

/* `message` is a `report` message of the live stream; `width` in pixels, so that labels are as large as other text.
 * Returns an <svg>. */
export function drawCurve(message, width) {
    const all = Math.max(message.report.connected, message.report.written, 1);
    const told = toldPoints(message, all), acked = ackedPoints(message, all);
    const last = Math.min(AT_MOST_MS, Math.max(AT_LEAST_MS, ...told.map(([ms]) => ms), ...acked.map(([ms]) => ms)));
    const decades = Math.ceil(Math.log10(last));
    const x = (ms) => (LEFT + (width - LEFT - RIGHT) * Math.min(1, Math.log10(Math.max(1, ms)) / decades)).toFixed(1);
    const y = (share) => (TOP + (HEIGHT - TOP - BOTTOM) * (1 - share)).toFixed(1);
    const label = `Delivery curve: ${percent(message.report.written, all)} told within ${took(message.report.max_ms)}, ` +
        `${percent(message.report.acked, all)} acknowledged.`;
    const svg = makeSvg("svg", { viewBox: `0 0 ${width} ${HEIGHT}`, role: "img", "aria-label": label, class: "curve" },
        ...axis(x, y, decades, width));

    if (told.length > 0) {
        const end = told[told.length - 1];
        const line = path(told, x, y, true) + `L${width - RIGHT} ${y(end[1])}`;

        svg.append(makeSvg("path", { class: "told-area", d: `${line}L${width - RIGHT} ${y(0)}Z` }));
        svg.append(makeSvg("path", { class: "told-line", d: line }));
    }
    if (acked.length > 0) {
        const end = acked[acked.length - 1];

        svg.append(makeSvg("path", { class: "acked-line", d: path(acked, x, y, false) + `L${width - RIGHT} ${y(end[1])}` }));
    }
    return svg;
}
