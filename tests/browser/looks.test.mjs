// How the console looks under load: at three widths, light and dark, readable for everybody, and never too wide.
//
// The screenshots are for people to look at; they are in the folder `screenshots` below that of the browser tests.

import assert from "node:assert/strict";
import { mkdir, readFile } from "node:fs/promises";
import path from "node:path";
import { after, before, test } from "node:test";

import { AXE, SHOTS, card, launch, openConsole, shows } from "./browser.mjs";
import { chat, eventually, gateway, provider, simulator } from "./running.mjs";

const WIDTHS = [360, 768, 1440];
const KEYS = { "team-chat": "sk-chat", "ide-plugin": "sk-ide", "nightly-batch": "sk-batch" };

let browser;
let running;
let simulators;
let clients;
let isOver = false;

// Clients that keep the gateway busy for as long as the tests run.
async function busy(key, models) {
  for (let turn = 0; !isOver; turn += 1) {
    const model = models[turn % models.length];
    const more = { max_tokens: 10 + ((turn * 7) % 40), stream: turn % 2 === 0 };
    await chat(running, { key, model, content: "Why is the sky blue?", more }).catch(() => {});
  }
}

before(async () => {
  simulators = await Promise.all([simulator(4, 150, 60), simulator(8, 60, 120)]);
  const keys = Object.entries(KEYS).map(
    ([name, key]) => `[[keys]]\nname = "${name}"\nkey = "${key}"\n${name.startsWith("nightly") ? 'priority = "batch"\n' : ""}`,
  );
  const [small, large] = simulators;
  // Nobody listens on the discard port of this machine.
  const dead = provider("spare", "http://127.0.0.1:9", "breaker = { open = '120s' }");
  running = await gateway(
    keys.join("") +
      provider("ollama", small.url, "max_concurrency = 4\nmax_queue = 32") +
      provider("big-gpu", large.url, "max_concurrency = 8") +
      dead +
      '[default]\nproviders = ["ollama"]\n',
  );
  clients = [
    ...Array.from({ length: 8 }, () => busy("sk-chat", ["ollama/llama3.1"])),
    ...Array.from({ length: 5 }, () => busy("sk-batch", ["ollama/llama3.1", "big-gpu/llama3.1"])),
    ...Array.from({ length: 4 }, () => busy("sk-ide", ["big-gpu/llama3.1", "ollama/llama3.1"])),
  ];
  for (let call = 0; call < 8; call += 1) await chat(running, { key: "sk-ide", model: "spare/llama3.1" });
  await chat(running, { key: "sk-ide", model: `ollama/${"a-name-without-end-".repeat(20)}` });
  await chat(running, { key: "not-a-key" });
  browser = await launch();
  await mkdir(SHOTS, { recursive: true });
});

after(async () => {
  isOver = true;
  await Promise.all(clients);
  await browser.close();
  await running.stop();
  await Promise.all(simulators.map((simulator) => simulator.stop()));
});

for (const colorScheme of ["light", "dark"]) {
  for (const width of WIDTHS) {
    test(`${width} pixels wide, ${colorScheme}: no wider than the screen`, async () => {
      const height = width < 500 ? 780 : 900;
      const { page, close } = await openConsole(browser, running, { colorScheme, viewport: { width, height }, address: "?open=ollama" });
      await shows(page, `${card("spare")} .badge`, "Left alone");
      await shows(page, `${card("ollama")} .legend`, "team-chat");
      await shows(page, "#requests tr", "OK");
      await shows(page, "#errors", "provider_unavailable");
      const over = await page.evaluate(() => {
        const all = [...document.querySelectorAll("body *")].filter((node) => !node.closest(".scroller, .unseen, .skip, svg"));
        const wide = all.filter((node) => node.getBoundingClientRect().right > innerWidth + 1);
        return [document.documentElement.scrollWidth - innerWidth, wide.map((node) => node.outerHTML.slice(0, 120))];
      });
      assert.deepEqual(over, [0, []]);
      await page.screenshot({ path: path.join(SHOTS, `${width}-${colorScheme}.png`), fullPage: true });
      await close();
    });
  }
}

for (const colorScheme of ["light", "dark"]) {
  test(`everybody can read and use it, ${colorScheme}`, async () => {
    const { page, close } = await openConsole(browser, running, { colorScheme, address: "?open=ollama" });
    await shows(page, `${card("ollama")} .legend`, "team-chat");
    // A few rows say as much as many, and are read faster.
    await page.getByLabel("Filter requests").fill("invalid_api_key");
    await shows(page, "#requests-count", "match");
    assert.deepEqual(await unfair(page), []);
    await close();
  });
}

// What axe finds hard to read or to use, contrast included.
async function unfair(page) {
  // Run by the debugger, which no policy of the page concerns.
  await page.evaluate(await readFile(AXE, "utf8"));
  const { violations } = await page.evaluate(() => globalThis.axe.run(document, { resultTypes: ["violations"] }));
  return violations.map(({ id, nodes }) => [id, nodes.map((node) => [node.html.slice(0, 150), node.failureSummary])]);
}

test("the theme can be chosen and is kept", async () => {
  const { page, close } = await openConsole(browser, running, { colorScheme: "light" });
  const background = () => page.evaluate(() => getComputedStyle(document.body).backgroundColor);
  const light = await background();
  const button = page.locator("#theme");
  await button.click();
  await shows(page, "#theme", "Theme: light");
  assert.equal(await background(), light);
  await button.click();
  await shows(page, "#theme", "Theme: dark");
  const dark = await background();
  assert.notEqual(dark, light);
  await page.reload();
  await shows(page, card("ollama"), "of 4");
  assert.equal(await background(), dark);
  await page.screenshot({ path: path.join(SHOTS, "chosen-dark.png") });
  await close();
});

test("a wide screen shows the whole table without scrolling sideways", async () => {
  const { page, close } = await openConsole(browser, running, { viewport: { width: 1440, height: 900 } });
  await shows(page, "#requests tr", "OK");
  await eventually("the table fits", () =>
    page.locator("#requests-scroller").evaluate((node) => node.scrollWidth <= node.clientWidth),
  );
  await close();
});
