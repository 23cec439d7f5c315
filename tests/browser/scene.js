/* What the browser tests stand on: real nodes, each with a Redis of its own, real devices (WebSockets of our
 * own making: Node 20 has none), and one Chromium. Everything ends with the process that started it. */
import { execFile, spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { closeSync, mkdirSync, mkdtempSync, openSync, readFileSync, rmSync } from "node:fs";
import { createConnection, createServer } from "node:net";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { after, before } from "node:test";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";

import { chromium } from "playwright-core";

const here = dirname(fileURLToPath(import.meta.url));
export const binDir = process.env.KICKOFF_BIN_DIR ?? join(here, "../../build/dev/bin");
export const artefacts = join(here, "artefacts");
mkdirSync(artefacts, { recursive: true });

const children = new Set();
process.on("exit", () => { for (const child of children) child.kill("SIGKILL"); });

let lastPort = process.pid * 61 % 18000;

/* As tests/support/free_port.h: from below those that the kernel gives to who connects. */
async function freePort() {
    for (let tried = 0; tried < 18000; tried++) {
        const server = createServer();
        const port = 12000 + (lastPort = (lastPort + 1) % 18000);
        const bound = await new Promise((resolve) => {
            server.once("error", () => resolve(false));
            server.listen(port, "127.0.0.1", () => resolve(true));
        });

        if (bound) {
            await new Promise((resolve) => server.close(resolve));
            return port;
        }
    }
    throw new Error("no port is free between 12000 and 30000");
}

/* A killed node's Redis ends after it, and writes until then. maxRetries would not do: it does not look for new files. */
async function removeAll(dir) {
    for (let tries = 100; ; tries--) {
        try {
            return rmSync(dir, { recursive: true, force: true });
        } catch (error) {
            if (error.code !== "ENOTEMPTY" || tries === 0)
                throw error;
            await new Promise((resolve) => setTimeout(resolve, 100));
        }
    }
}

/* --- a node ------------------------------------------------------------------------------------------------ */

export class Node {
    static async start(options = []) {
        const node = new Node();

        node.dir = mkdtempSync(join(tmpdir(), "kickoff-browser-"));
        node.ports = { listen: await freePort(), admin: await freePort() };
        node.options = options;
        await node.run();
        return node;
    }

    get origin() {
        return `http://127.0.0.1:${this.ports.admin}`;
    }

    async run() {
        const log = openSync(join(this.dir, "log"), "a");

        this.child = spawn(join(binDir, "kickoffd"), ["--listen", `127.0.0.1:${this.ports.listen}`,
            "--admin", `127.0.0.1:${this.ports.admin}`, "--data", join(this.dir, "data"), "--name", "studio",
            ...this.options], { stdio: ["ignore", log, log] });
        closeSync(log);
        children.add(this.child);
        this.exited = new Promise((resolve) => this.child.once("exit", resolve));
        for (;;) {
            if (this.child.exitCode !== null)
                throw new Error(`kickoffd ended: ${readFileSync(join(this.dir, "log"), "utf8")}`);
            const answer = await fetch(`${this.origin}/readyz`).catch(() => null);

            if (answer?.ok)
                return;
            await new Promise((resolve) => setTimeout(resolve, 100)); /* asking, not hoping: the loop ends by the answer */
        }
    }

    async kill(signal = "SIGKILL") {
        this.child.kill(signal);
        await this.exited;
        children.delete(this.child);
    }

    async end() {
        if (this.child.exitCode === null && this.child.signalCode === null) {
            this.child.kill("SIGCONT");
            await this.kill("SIGKILL");
        }
        await removeAll(this.dir);
    }

    /* What other producers do meanwhile. */
    async ask(method, path, body, headers = {}) {
        const response = await fetch(this.origin + path, {
            method, headers: { "Content-Type": "application/json", "Idempotency-Key": randomBytes(8).toString("hex"), ...headers },
            body: body === undefined ? undefined : JSON.stringify(body),
        });
        const answer = await response.json();

        if (!response.ok)
            throw new Error(`${method} ${path}: ${response.status} ${answer.detail}`);
        return answer;
    }

    create(id, title, inMs, more = {}) {
        return this.ask("POST", "/v1/events", { id, title, starts_at: new Date(Date.now() + inMs).toISOString(), ...more });
    }

    event(id) {
        return this.ask("GET", `/v1/events/${id}`);
    }

    async signalsOf(event) {
        return (await this.ask("GET", "/v1/signals?limit=1000")).signals.filter((signal) => signal.event === event);
    }
}

/* --- devices: RFC 6455 as a client that is only told things and says "ack" ------------------------------------ */

const TEXT = 1, PING = 9, PONG = 10;

function frame(opcode, bytes) {
    const payload = Buffer.from(bytes), mask = randomBytes(4);

    for (let i = 0; i < payload.length; i++)
        payload[i] ^= mask[i % 4];
    return Buffer.concat([Buffer.from([0x80 | opcode, 0x80 | payload.length]), mask, payload]); /* < 126 bytes */
}

class Device {
    constructor(port, id, more, onHello) {
        this.socket = createConnection(port, "127.0.0.1");
        this.bytes = Buffer.alloc(0);
        this.isOpen = false;
        this.onHello = onHello;
        this.stages = new Map();
        this.messages = [];
        this.socket.on("error", () => {});
        this.socket.on("data", (bytes) => this.take(bytes));
        this.socket.write(`GET /v1/connect?device=${id}${more} HTTP/1.1\r\nHost: t\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n` +
            `Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: ${randomBytes(16).toString("base64")}\r\n` +
            "Sec-WebSocket-Protocol: kickoff.v1.json\r\n\r\n");
    }

    take(more) {
        this.bytes = Buffer.concat([this.bytes, more]);
        if (!this.isOpen) {
            const end = this.bytes.indexOf("\r\n\r\n");

            if (end < 0)
                return;
            this.isOpen = true;
            this.bytes = this.bytes.subarray(end + 4);
        }
        while (this.bytes.length >= 2) {
            let len = this.bytes[1] & 127, at = 2;

            if (len === 126 && this.bytes.length >= 4)
                [len, at] = [this.bytes.readUInt16BE(2), 4];
            else if (len >= 126)
                return;
            if (this.bytes.length < at + len)
                return;
            const payload = this.bytes.subarray(at, at + len);

            if ((this.bytes[0] & 15) === TEXT)
                this.hear(JSON.parse(payload.toString()));
            else if ((this.bytes[0] & 15) === PING)
                this.socket.write(frame(PONG, payload));
            this.bytes = this.bytes.subarray(at + len);
        }
    }

    hear(message) {
        if (message.t === "hello")
            this.onHello();
        if (message.t === "message")
            this.messages.push(message);
        if (message.t === "signal") {
            this.stages.set(message.event, message.stage);
            setTimeout(() => this.socket.writable && this.socket.write(frame(TEXT, JSON.stringify({ t: "ack", seq: message.seq }))),
                Math.random() * 1500);
        }
    }
}

/* Resolves when all are let in. `more` goes into the request: "&platform=tv". */
export function connectDevices(node, n, name = "browser-test", more = "") {
    return new Promise((resolve) => {
        let here = 0;
        const devices = [];

        for (let i = 0; i < n; i++)
            devices.push(new Device(node.ports.listen, `${name}-${i}`, more, () => { if (++here === n) resolve(devices); }));
    });
}

export function disconnect(devices) {
    for (const device of devices)
        device.socket.destroy();
}

/* --- the browser --------------------------------------------------------------------------------------------- */

const chromiumOptions = {
    executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
    headless: true,
    args: ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
        "--disable-background-networking", "--disable-component-update", "--disable-sync"],
    timeout: 180000,
};

/* For pages that are to know nothing of each other: newContext() for each. */
export const launchBrowser = () => chromium.launch(chromiumOptions);

export async function openBrowser() {
    const profile = mkdtempSync(join(tmpdir(), "kickoff-chromium-"));
    const context = await chromium.launchPersistentContext(profile, {
        ...chromiumOptions,
        viewport: { width: 1366, height: 900 },
    });

    context.setDefaultTimeout(90000);
    return {
        context,
        close: async () => {
            await context.close();
            rmSync(profile, { recursive: true, force: true, maxRetries: 20 }); /* its Redis ends after it */
        },
    };
}

/* For whoever works on the page: its files as they are on disk, without building. */
async function serveFrom(page, origin, dir) {
    const serve = (name) => (route) => route.fulfill({ path: join(dir, name), headers: { "Content-Security-Policy": "default-src 'self'" },
        contentType: { html: "text/html", css: "text/css", svg: "image/svg+xml", js: "text/javascript" }[name.split(".").pop()] });

    await page.route(`${origin}/`, serve("index.html"));
    await page.route(`${origin}/console/*`, (route) => serve(route.request().url().split("/").pop())(route));
}

/* `page.strange` collects what must not be: requests to elsewhere than `origins`, errors, and what the content policy
 * had to stop. */
export function watchStrange(page, origins) {
    page.strange = [];
    page.on("request", (request) => {
        if (!origins.some((origin) => request.url().startsWith(origin)))
            page.strange.push(`asks elsewhere: ${request.url()}`);
    });
    page.on("pageerror", (error) => page.strange.push(`error: ${error.message}`));
    page.on("console", (line) => {
        if (line.type() === "error" && !/Failed to load resource/.test(line.text()))
            page.strange.push(`console: ${line.text()}`);
    });
}

/* A page of the console that has heard its node. */
export async function openConsole(browser, node, { wait = true } = {}) {
    const page = await browser.context.newPage();

    watchStrange(page, [node.origin]);
    if (process.env.KICKOFF_CONSOLE_DIR !== undefined)
        await serveFrom(page, node.origin, process.env.KICKOFF_CONSOLE_DIR);
    await page.goto(node.origin);
    if (wait)
        await page.locator("body[data-link=live]").waitFor();
    return page;
}

/* For page.evaluate(). WCAG 2.2, 1.4.3: relative luminance, and what each text stands on. */
export function poorContrasts(except = ".unseen, .skip, noscript") {
    const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
    const rgba = (colour) => {
        canvas.clearRect(0, 0, 1, 1);
        canvas.fillStyle = colour;
        canvas.fillRect(0, 0, 1, 1);
        return [...canvas.getImageData(0, 0, 1, 1).data];
    };
    const luminance = (colour) => {
        const [r, g, b] = colour.slice(0, 3).map((c) => (c / 255 <= 0.04045 ? c / 255 / 12.92 : ((c / 255 + 0.055) / 1.055) ** 2.4));

        return 0.2126 * r + 0.7152 * g + 0.0722 * b;
    };
    const backOf = (element) => {
        for (let at = element; at !== null; at = at.parentElement) {
            const back = rgba(getComputedStyle(at).backgroundColor);

            if (back[3] === 255)
                return back;
        }
        return [255, 255, 255, 255];
    };
    const poor = new Set();
    const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);

    while (walker.nextNode()) {
        const element = walker.currentNode.parentElement;

        if (walker.currentNode.textContent.trim() === "" || !element.checkVisibility() || element.closest(except))
            continue;
        const style = getComputedStyle(element);
        const front = luminance(rgba(element instanceof SVGElement ? style.fill : style.color)), back = luminance(backOf(element));
        const ratio = (Math.max(front, back) + 0.05) / (Math.min(front, back) + 0.05);

        if (ratio < 4.5)
            poor.add(`${ratio.toFixed(2)} "${walker.currentNode.textContent.trim()}" (${element.tagName} ${element.className})`);
    }
    return [...poor];
}

/* A browser and a node, there before the first test of a file and gone after its last. Acks at once, and so the questions
 * for the time: screens are ready sooner. */
export function browserAndNode() {
    const both = { browser: null, node: null };

    before(async () => {
        [both.browser, both.node] = await Promise.all([launchBrowser(), Node.start(["--ack-spread", "0s"])]);
    }, { timeout: 300000 });
    after(async () => {
        await both.browser?.close();
        await both.node?.end();
    });
    return both;
}

export const card = (page, id) => page.locator(`[data-event="${id}"]`);

/* A screenshot among the artefacts. From the top: a head that sticks would be in the middle of a full page otherwise. */
export async function shoot(page, name, options = {}) {
    if (options.fullPage)
        await page.evaluate(() => scrollTo(0, 0));
    await page.screenshot({ path: join(artefacts, `${name}.png`), animations: "disabled", ...options });
}
export const run = promisify(execFile);
