/* The simulator, and in it the JavaScript SDK, in a real Chromium: the page with twelve screens. */
import assert from "node:assert/strict";
import { test } from "node:test";

import { browserAndNode, poorContrasts, shoot, watchStrange } from "./scene.js";

const SCREENS = 12;
const COHORTS = 3; /* screen N is of the (N - 1) % 3rd */
const both = browserAndNode();

const text = (locator, wanted) => locator.filter({ hasText: wanted }).waitFor();

async function openSimulator(options = {}) {
    const page = await both.browser.newPage({ viewport: { width: 1366, height: 900 }, ...options });

    watchStrange(page, [both.node.origin, `http://127.0.0.1:${both.node.ports.listen}`]);
    await page.goto(`${both.node.origin}/simulator`);
    await text(page.locator("#connected"), `${SCREENS} / ${SCREENS}`);
    return page;
}

test("the simulator's twelve screens fetch ahead, switch, and say how far apart; who was cut off catches up", async () => {
    const page = await openSimulator();
    const stages = () => page.locator(".screen").evaluateAll((screens) => screens.map((screen) => screen.dataset.stage));

    await page.getByRole("button", { name: "New demo event" }).click();
    await text(page.locator("#said"), "is there");
    const [event] = (await page.locator("#said").textContent()).split(" ");

    await page.waitForFunction((name) => window.kickoffScreens.every((screen) => screen.holds(name)), event, { polling: 250 });
    await text(page.locator("#holding"), `${SCREENS} / ${SCREENS}`);
    await page.waitForFunction(() => window.kickoffScreens.every((screen) => screen.clock !== null), null, { polling: 250 });
    await shoot(page, "simulator-before", { fullPage: true });
    await page.getByRole("button", { name: "Start in 2 s" }).click();
    await text(page.locator("#spread-what"), `${SCREENS} screens that switched to “live”`);
    assert.deepEqual(await stages(), Array(SCREENS).fill("live"));
    assert.equal(await page.locator("#fetched").textContent(), "0");
    for (const own of ["The Final: we are live", "together: we are live", "by the numbers: we are live"])
        assert.equal(await page.locator(".glass .headline", { hasText: own }).count(), SCREENS / COHORTS, own);
    await page.locator(".screen:not(.flash) >> nth=11").waitFor();
    await shoot(page, "simulator-live", { fullPage: true });
    await page.locator(".plug").first().click();
    await text(page.locator(".screen").first().locator(".state"), "cut off");
    await page.getByRole("button", { name: "Half-time in 2 s" }).click();
    await text(page.locator("#spread-what"), `${SCREENS - 1} screens that switched to “halftime”`);
    assert.equal((await stages())[0], "live");
    await shoot(page, "simulator-cut-off", { fullPage: true });
    await page.locator(".plug").first().click();
    await page.locator(".screen[data-stage=halftime] >> nth=11").waitFor();
    await text(page.locator("#spread-what"), `${SCREENS - 1} screens that switched`); /* it was not there then */
    assert.deepEqual(page.strange, []);
    await page.close();
}, { timeout: 300000 });

for (const colorScheme of ["light", "dark"]) {
    for (const width of [1366, 400]) {
        test(`simulator, ${colorScheme}, ${width} px: texts have contrast enough, and nothing sticks out`, async () => {
            const page = await openSimulator({ colorScheme, viewport: { width, height: 900 } });

            await page.locator(".screen[data-stage=halftime], .screen[data-stage=live]").first().waitFor();
            /* The glass is a television, with a picture behind its words. */
            assert.deepEqual(await page.evaluate(poorContrasts, ".unseen, .glass"), []);
            assert.ok(await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth), "one has to scroll sideways");
            await shoot(page, `simulator-${colorScheme}-${width}`, { fullPage: true });
            assert.deepEqual(page.strange, []);
            await page.close();
        });
    }
}
