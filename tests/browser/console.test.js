/* The console, as a producer has it: a real Chromium, a real node, some hundred real devices. Each test is named
 * after what is promised. Waiting is always for what is to be seen. */
import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";

import { artefacts, card, connectDevices, disconnect, Node, openBrowser, openConsole, poorContrasts, shoot } from "./scene.js";

const DEVICES = 300;
const MINUTE = 60000;
let browser, node, devices;

before(async () => {
    [browser, node] = await Promise.all([openBrowser(), Node.start()]);
    devices = await connectDevices(node, DEVICES);
}, { timeout: 300000 });

after(async () => {
    disconnect(devices ?? []);
    await browser?.close();
    await node?.end();
});

const dialog = (page) => page.locator("#change-dialog");
const text = (locator, wanted) => locator.filter({ hasText: wanted }).waitFor();

test("an event is announced, started after a word on whom it reaches, and the delivery curve fills", async () => {
    const page = await openConsole(browser, node);

    await page.locator("#who").click();
    await page.locator("#actor").fill("Kim, studio 2");
    await page.keyboard.press("Enter");
    await page.locator("#new-event").click();
    await dialog(page).getByLabel("Id", { exact: false }).first().fill("final");
    await dialog(page).getByLabel("Title").fill("Cup Final: North against South");
    await dialog(page).getByLabel("Stages").fill("halftime overtime");
    await shoot(page, "create-dialog");
    await page.locator("#change-go").click();
    await card(page, "final").waitFor();
    await text(page.locator("#total"), String(DEVICES));
    await card(page, "final").getByRole("button", { name: "Start" }).click();
    await text(page.locator("#change-reach"), new RegExp(`Reaches ${DEVICES} devices within about`));
    await shoot(page, "start-dialog");
    await page.locator("#change-go").click();
    await dialog(page).waitFor({ state: "hidden" });
    await text(page.locator("#report-what"), "start: final");
    await page.locator(".curve .told-line").waitFor();
    await text(page.locator("#figure-told"), "100 %");
    await text(page.locator("#figure-acked"), "100 %");
    await text(page.locator("#report-state"), "complete");
    await page.locator(".curve .acked-line").waitFor();
    await text(page.locator("#slowest"), "studio");
    await text(page.locator("#announce"), /reached 300 devices/);
    await text(page.locator("#audit li", { hasText: "start final" }), /Kim, studio 2, 127\.0\.0\.1, signal 2 · lead 2s/);
    await shoot(page, "delivered", { fullPage: true });
    assert.equal((await node.event("final")).stage, "live");
    assert.ok(devices.every((device) => device.stages.get("final") === "live"));
    assert.deepEqual(page.strange, []);
    await page.close();
});

test("only what is legal now is offered", async () => {
    await node.create("offered", "Offered", 60 * MINUTE);
    const page = await openConsole(browser, node);
    const offered = async () => {
        const buttons = await card(page, "offered").locator("button:visible").all();

        return Promise.all(buttons.map((button) => button.getAttribute("data-action")));
    };

    await card(page, "offered").waitFor();
    assert.deepEqual(await offered(), ["start", "delay", "stage", "cancel"]);
    await node.ask("POST", "/v1/events/offered/start", {});
    await text(card(page, "offered").locator(".badge"), "live");
    assert.deepEqual(await offered(), ["stage", "end", "cancel"]);
    await node.ask("POST", "/v1/events/offered/end", {});
    await page.locator("#over-list [data-event=offered]").waitFor({ state: "attached" });
    await page.locator("#over summary").click();
    assert.deepEqual(await offered(), ["reopen"]);
    await page.close();
});

test("a late event is red and counts up; a delay puts it off, by exactly what was asked", async () => {
    await node.create("late", "Evening Show", 1000);
    const page = await openConsole(browser, node);
    const before = Date.parse((await node.event("late")).starts_at);

    await card(page, "late").locator(".countdown[data-kind=late]").waitFor();
    await text(card(page, "late").locator(".what"), "late by");
    await shoot(page, "late");
    await card(page, "late").getByRole("button", { name: "Delay" }).click();
    await dialog(page).getByLabel("15 minutes").check();
    await dialog(page).getByLabel("Why").fill("rain");
    await page.locator("#change-go").click();
    await dialog(page).waitFor({ state: "hidden" });
    await text(card(page, "late").locator(".what"), "starts in");
    assert.equal(Date.parse((await node.event("late")).starts_at) - before, 15 * MINUTE);
    assert.equal((await node.signalsOf("late")).at(-1).kind, "delay");
    await page.close();
});

/* Presses Tab until `selector` has the focus, and checks on the way that one sees where it is. */
async function tabTo(page, selector) {
    for (let i = 0; i < 60; i++) {
        await page.keyboard.press("Tab");
        const [isThere, isSeen] = await page.evaluate((wanted) => {
            const style = getComputedStyle(document.activeElement);

            return [document.activeElement.matches(wanted), style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 2];
        }, selector);

        if (isThere)
            return assert.ok(isSeen, `${selector} has the focus, but nobody sees it`);
    }
    assert.fail(`${selector} cannot be reached by Tab`);
}

test("everything can be done by keyboard alone, Esc takes back, and the focus returns", async () => {
    await node.create("keys", "By Keyboard", 60 * MINUTE);
    const page = await openConsole(browser, node);
    const start = "[data-event=keys] [data-action=start]";

    await card(page, "keys").waitFor();
    await tabTo(page, ".skip");
    await tabTo(page, start);
    await page.keyboard.press("Enter");
    await dialog(page).waitFor();
    await page.keyboard.press("Escape");
    await dialog(page).waitFor({ state: "hidden" });
    assert.ok(await page.evaluate((wanted) => document.activeElement.matches(wanted), start));
    assert.equal((await node.event("keys")).stage, "scheduled");
    await page.keyboard.press("Enter");
    await dialog(page).waitFor();
    const chosen = () => page.evaluate(() => document.activeElement.checked ? document.activeElement.value : null);
    assert.equal(await chosen(), "2s");
    await page.keyboard.press("ArrowUp"); /* from "in 2 seconds" to "now" */
    assert.equal(await chosen(), "0");
    await page.keyboard.press("Enter");
    await dialog(page).waitFor({ state: "hidden" });
    await text(card(page, "keys").locator(".badge"), "live");
    await tabTo(page, "[data-event=keys] [data-action=end]");
    await page.keyboard.press("Enter");
    await dialog(page).waitFor();
    /* What cannot be taken back begins on Back. */
    assert.ok(await page.evaluate(() => document.activeElement.matches("#change-dialog [data-close]")));
    await tabTo(page, "#change-go");
    await page.keyboard.press("Enter");
    await page.locator("#over-list [data-event=keys]").waitFor({ state: "attached" });
    assert.equal((await node.event("keys")).stage, "ended");
    await page.close();
});

test("a change for some only: how many that is stands there before it is sent, and the others are not told", async () => {
    const own = await Node.start();
    const tvs = await connectDevices(own, 5, "target-tv", "&cohort=sports&platform=tv");
    const phones = await connectDevices(own, 7, "target-phone", "&cohort=sports&platform=phone");

    await own.create("some", "For Some", 60 * MINUTE);
    const page = await openConsole(browser, own);

    await text(page.locator("#total"), "12");
    await card(page, "some").getByRole("button", { name: "Start" }).click();
    await text(page.locator("#change-reach"), "Reaches 12 devices within");
    await dialog(page).getByText("Tell everyone").click();
    await dialog(page).getByLabel("Cohorts").fill("sports");
    await dialog(page).getByLabel("Platforms").fill("tv, web");
    await text(page.locator("#change-reach"), "Reaches 5 of 12 devices within");
    await text(dialog(page).locator("summary"), "Tell only cohort sports, platform tv or web");
    await shoot(page, "target-dialog");
    await dialog(page).getByLabel("Platforms").fill("t v!");
    await text(page.locator("#change-reach"), "The node would refuse");
    await dialog(page).getByLabel("Platforms").fill("radio");
    await text(page.locator("#change-reach"), "Nobody who is connected is meant");
    await dialog(page).getByLabel("Platforms").fill("tv");
    await text(page.locator("#change-reach"), "Reaches 5 of 12 devices within");
    await page.locator("#change-go").click();
    await dialog(page).waitFor({ state: "hidden" });
    await text(page.locator("#figure-told-of"), "5 of");
    assert.ok(tvs.every((device) => device.stages.get("some") === "live"));
    assert.ok(phones.every((device) => device.stages.get("some") === "scheduled"), "they heard of the event, not of its start");
    await text(page.locator("#audit li", { hasText: "start some" }), /cohorts \["sports"\] · attributes \{"platform":\["tv"\]\}/);
    assert.deepEqual(page.strange, []);
    disconnect([...tvs, ...phones]);
    await page.close();
    await own.end();
});

test("one device: it is looked up, a message reaches it, and what became of it is said as the node says it", async () => {
    const page = await openConsole(browser, node);
    const panel = page.locator("#device-panel");
    const send = panel.getByRole("button", { name: "Send" });

    await panel.getByLabel("Device").fill("browser-test-0");
    await panel.getByRole("button", { name: "Where is it?" }).click();
    await text(page.locator("#device-said"), /^200\s*browser-test-0 is connected to studio/);
    await panel.getByLabel("Message").fill("Kick-off für alle: „los“ <b>");
    await send.click();
    await text(page.locator("#device-said"), /^200\s*Delivered to browser-test-0/);
    assert.equal(devices[0].messages.at(-1).body, "Kick-off für alle: „los“ <b>");
    await text(page.locator("#audit li", { hasText: "message browser-test-0" }), "los");
    await shoot(page, "device-delivered", { fullPage: true });
    await panel.getByLabel("Device").fill("nobody-home");
    await send.click();
    await text(page.locator("#device-said"), /^404\s*nobody-home is not connected to any node/);
    await panel.getByLabel("Device").fill("no such name!");
    await send.click();
    await text(page.locator("#device-said"), /^400/);
    /* A device is sent three in two seconds: ask for more at once until one is refused. */
    await panel.getByLabel("Device").fill("browser-test-1");
    for (let i = 0; (await page.locator("#device-said[data-status='503']").count()) === 0; i++) {
        assert.ok(i < 20, "more than three at once, and none was refused");
        await Promise.allSettled([1, 2, 3].map(() => node.ask("POST", "/v1/devices/browser-test-1/messages", { body: "more" })));
        await send.click();
        await page.locator("#device-said[data-status]").waitFor();
    }
    await text(page.locator("#device-said"), /^503\s*A device is sent at most 3 messages.*another try in \d+ s/);
    await shoot(page, "device-later");
    assert.deepEqual(page.strange, []);
    await page.close();
});

test("a message that nobody answered for is sent again under the same id, so the device can tell", async () => {
    const page = await openConsole(browser, node);
    const ids = [];

    await page.route("**/v1/devices/*/messages", async (route) => {
        ids.push(route.request().postDataJSON().id);
        await (ids.length === 1 ? route.abort() : route.continue());
    });
    await page.locator("#device-id").fill("browser-test-2");
    await page.locator("#device-text").fill("once");
    await page.locator("#device-send").click();
    await text(page.locator("#device-said"), "No answer");
    await page.locator("#device-send").click();
    await text(page.locator("#device-said"), "Delivered");
    await page.locator("#device-text").fill("twice");
    await Promise.all([page.waitForResponse(/messages$/), page.locator("#device-send").click()]);
    assert.equal(ids.length, 3);
    assert.equal(ids[0], ids[1]);
    assert.notEqual(ids[1], ids[2]);
    await page.close();
});

test("an answer that is lost makes no second signal: the same key is sent again", async () => {
    await node.create("lost-answer", "Lost Answer", 60 * MINUTE);
    const page = await openConsole(browser, node);
    const keys = [];

    await page.route("**/v1/events/lost-answer/start", async (route) => {
        keys.push(route.request().headers()["idempotency-key"]);
        await route.fetch(); /* the node has done it ... */
        await route.abort(); /* ... and nobody heard */
    });
    await page.route("**/v1/requests/*", (route) => (keys.length < 2 ? route.abort() : route.fallback()));
    await card(page, "lost-answer").getByRole("button", { name: "Start" }).click();
    await page.locator("#change-go").click();
    await text(page.locator("#change-note"), "with the same key");
    await dialog(page).waitFor({ state: "hidden" });
    assert.equal(keys.length, 2);
    assert.equal(keys[0], keys[1]);
    assert.equal((await node.signalsOf("lost-answer")).filter(({ kind }) => kind === "start").length, 1);
    await page.close();
});

test("a node that does not know yet is asked what became of the key", async () => {
    await node.create("unknown", "Unknown", 60 * MINUTE);
    const page = await openConsole(browser, node);
    let posts = 0;

    await page.route("**/v1/events/unknown/start", async (route) => {
        posts++;
        await route.fetch();
        await route.fulfill({ status: 504, contentType: "application/problem+json",
            body: JSON.stringify({ type: "/problems/outcome-unknown", title: "Outcome unknown", status: 504, detail: "?" }) });
    });
    await card(page, "unknown").getByRole("button", { name: "Start" }).click();
    await page.locator("#change-go").click();
    await dialog(page).waitFor({ state: "hidden" });
    assert.equal(posts, 1);
    await text(page.locator("#announce"), /started, signal \d+|reached/);
    await page.close();
});

test("who is about to decide on what is not so any more is told", async () => {
    await node.create("raced", "Raced", 60 * MINUTE);
    const page = await openConsole(browser, node);

    await card(page, "raced").getByRole("button", { name: "Call off" }).click();
    await dialog(page).waitFor();
    await node.ask("POST", "/v1/events/raced/delay", { by: "1m" });
    await text(page.locator("#change-note"), "changed it meanwhile");
    await text(page.locator("#change-facts"), "version 2");
    assert.equal((await node.event("raced")).stage, "scheduled");
    await page.close();
});

test("who decided a moment too late changes nothing until they say so again", async () => {
    await node.create("too-late", "Too Late", 60 * MINUTE);
    const page = await openConsole(browser, node);
    const versions = [];

    await page.route("**/v1/events/too-late/cancel", async (route) => {
        versions.push(route.request().headers()["if-match"]);
        if (versions.length === 1)
            await node.ask("POST", "/v1/events/too-late/delay", { by: "1m" });
        await route.continue();
    });
    await card(page, "too-late").getByRole("button", { name: "Call off" }).click();
    await page.locator("#change-go").click();
    await text(page.locator("#change-note"), "You expected version 1");
    await text(page.locator("#change-facts"), "version 2");
    assert.equal((await node.event("too-late")).stage, "scheduled");
    await page.locator("#change-go").click();
    await dialog(page).waitFor({ state: "hidden" });
    assert.deepEqual(versions, ['"1"', '"2"']);
    assert.equal((await node.event("too-late")).stage, "cancelled");
    await page.close();
});

for (const scheme of ["light", "dark"]) {
    for (const width of [1366, 400]) {
        test(`${scheme}, ${width} px: every text has contrast enough, and nothing sticks out`, async () => {
            const page = await openConsole(browser, node);

            await page.emulateMedia({ colorScheme: scheme });
            await page.setViewportSize({ width, height: 900 });
            await page.locator("#report .curve").waitFor();
            await text(page.locator("#total"), String(DEVICES));
            assert.deepEqual(await page.evaluate(poorContrasts), []);
            assert.ok(await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth), "one has to scroll sideways");
            await shoot(page, `${scheme}-${width}`, { fullPage: true });
            await page.locator("[data-action=delay]:visible").first().click();
            await text(page.locator("#change-reach"), /device/);
            assert.deepEqual(await page.evaluate(poorContrasts), []);
            await shoot(page, `${scheme}-${width}-dialog`);
            await page.close();
        });
    }
}

test("the switch overrules the system's colours, and is remembered", async () => {
    const page = await openConsole(browser, node);
    const back = () => page.evaluate(() => getComputedStyle(document.body).backgroundColor);

    await page.emulateMedia({ colorScheme: "light" });
    const light = await back();

    await page.locator("#theme").selectOption("dark");
    const dark = await back();

    assert.notEqual(dark, light);
    await page.reload();
    assert.equal(await back(), dark);
    await page.locator("#theme").selectOption("auto");
    assert.equal(await back(), light);
    await page.close();
});

test("a node that dies is said to be lost at once, and nothing old looks new; it comes back by itself", async () => {
    const own = await Node.start();

    await own.create("fragile", "Fragile", 5 * MINUTE);
    const page = await openConsole(browser, own);

    await card(page, "fragile").waitFor();
    const since = Date.now();

    await own.kill();
    await page.locator("body[data-link=lost]").waitFor({ timeout: 20000 });
    writeFileSync(join(artefacts, "lost-after-ms.txt"), `${Date.now() - since}\n`);
    await text(page.locator("#banner"), "No connection to the node since");
    for (const kind of ["events", "nodes", "signal", "report"]) {
        await page.locator(`[data-kind=${kind}][data-stale]`).waitFor();
        await text(page.locator(`[data-kind=${kind}] .as-of`), /as of \d/);
    }
    assert.equal(await page.locator("#health-redis").isVisible(), false);
    await card(page, "fragile").locator("[data-action=start]").click({ force: true });
    assert.equal(await dialog(page).isVisible(), false);
    await shoot(page, "node-lost", { fullPage: true });
    await own.run();
    await page.locator("body[data-link=live]").waitFor();
    await page.locator("[data-stale]").first().waitFor({ state: "detached" });
    assert.equal(await page.locator("#banner").isVisible(), false);
    await page.close();
    await own.end();
});

test("a node that hangs is as lost as one that died: silence is noticed", async () => {
    const own = await Node.start();
    const page = await openConsole(browser, own);

    own.child.kill("SIGSTOP");
    await page.locator("body[data-link=lost]").waitFor();
    await text(page.locator("#banner"), "No connection to the node since");
    own.child.kill("SIGCONT");
    await page.locator("body[data-link=live]").waitFor();
    await page.close();
    await own.end();
});

test("a token is asked for once, wrong ones are said to be wrong, and the page itself is open", async () => {
    const dir = mkdtempSync(join(tmpdir(), "kickoff-token-")), file = join(dir, "token");

    writeFileSync(file, "correct-horse-battery-staple\n", { mode: 0o600 });
    const own = await Node.start(["--admin-token-file", file]);
    const page = await openConsole(browser, own, { wait: false });

    await page.locator("#token-dialog[open]").waitFor();
    await shoot(page, "token-dialog");
    await page.locator("#token").fill("schlüssel");
    await page.keyboard.press("Enter");
    await text(page.locator("#token-note"), "cannot be the token");
    await page.locator("#token").fill("wrong");
    await page.keyboard.press("Enter");
    await text(page.locator("#token-note"), "does not take this token");
    await page.locator("#token").fill("correct-horse-battery-staple");
    await page.keyboard.press("Enter");
    await page.locator("body[data-link=live]").waitFor();
    await page.reload();
    await page.locator("body[data-link=live]").waitFor();
    assert.equal(await page.locator("#token-dialog").isVisible(), false);
    assert.equal((await fetch(`${own.origin}/v1/live`)).status, 401);
    assert.equal((await fetch(`${own.origin}/`)).status, 200);
    await page.close();
    await own.end();
    rmSync(dir, { recursive: true });
});

test("what strangers wrote stays text: titles, reasons, names in the audit trail, devices", async () => {
    const evil = '<img src=x onerror="document.title=1">\u202e</h3><script>document.title=1</script>';
    const own = await Node.start();

    await own.create("evil", evil, 60 * MINUTE);
    await own.ask("POST", "/v1/events/evil/delay", { by: "1m", reason: evil }, { "Kickoff-Actor": "<img src=x onerror=alert(1)>" });
    const page = await openConsole(browser, own);

    await text(page.locator("#audit li", { hasText: "delay evil" }), "<img src=x onerror=alert(1)>");
    assert.equal(await card(page, "evil").locator("h3").textContent(), evil);
    await card(page, "evil").getByRole("button", { name: "Call off" }).click();
    await text(page.locator("#change-title"), "<img");
    assert.equal(await page.locator("main img, dialog img, main script, dialog script").count(), 0);
    assert.equal(await page.title(), "Kickoff");
    assert.deepEqual(page.strange, []);
    await page.close();
    await own.end();
});

test("nothing is inline, nothing comes from elsewhere, and the policy says so", async () => {
    const response = await fetch(`${node.origin}/`);
    const policy = response.headers.get("content-security-policy");

    assert.match(policy, /default-src 'self'/);
    assert.doesNotMatch(policy, /unsafe|\*|https?:/);
    const html = await response.text();

    assert.doesNotMatch(html, /<script>|<style|\son[a-z]+=|\sstyle=/);
    const page = await openConsole(browser, node);

    assert.deepEqual(page.strange, []);
    await page.close();
});
