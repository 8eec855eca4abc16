// The models of a server, and what an operator does with them. The screenshots are for people to look at.

import assert from "node:assert/strict";
import { mkdir } from "node:fs/promises";
import path from "node:path";
import { after, before, test } from "node:test";

import { SHOTS, card, launch, openConsole, shows } from "./browser.mjs";
import { chat, eventually, gateway, provider, simulator } from "./running.mjs";

const TOKEN = "operators-only";
const SMALL = "llama3.1";
const LARGE = "llama3.1:70b";
const row = (model) => `${card("ollama")} [data-model="${model}"]`;

let browser;
before(async () => {
  browser = await launch();
  await mkdir(SHOTS, { recursive: true });
});
after(() => browser.close());

// Runs `body` with a gateway before a simulated Ollama that has room for one of four models.
async function withModels({ tokensPerSecond, load, token = "" }, body) {
  const server = await simulator(1, 10, tokensPerSecond, { models: 4, loaded: 1, "load-ms": load, "unload-ms": 50 });
  const running = await gateway(provider("ollama", server.url, "max_concurrency = 2"), { token });
  try {
    await body(running);
  } finally {
    await running.stop();
    await server.stop();
  }
}

test("what is loaded is seen, and what comes next and why", () =>
  withModels({ tokensPerSecond: 24, load: 1_500 }, async (running) => {
    const { page, close } = await openConsole(browser, running, { viewport: { width: 1440, height: 900 } });
    await shows(page, `${card("ollama")} .models`, "none asked for yet");
    const short = { max_tokens: 2 };
    const first = chat(running, { model: SMALL, more: short });
    await shows(page, row(SMALL), "Loading");
    assert.equal(await first, 200);
    await shows(page, row(SMALL), "Loaded");
    await shows(page, row(SMALL), "GB, stays until");
    assert.equal(await chat(running, { model: LARGE, more: short }), 200);
    await shows(page, row(LARGE), "Loaded");
    await shows(page, row(SMALL), "Cold");
    await shows(page, `${card("ollama")} .models`, "1 of 2 loaded");
    const busy = Array.from({ length: 3 }, () => chat(running, { model: LARGE }));
    await shows(page, row(LARGE), "2 run, 1 wait");
    const waits = chat(running, { model: SMALL, more: short });
    await shows(page, row(SMALL), "Waiting");
    await shows(page, `${card("ollama")} .next`, `${SMALL} comes next in about`);
    await shows(page, `${card("ollama")} .next`, `${LARGE} leaves`);
    for (const colorScheme of ["light", "dark"]) {
      for (const width of [1440, 400]) {
        const viewport = { width, height: 900 };
        const other = await openConsole(browser, running, { colorScheme, viewport });
        await shows(other.page, row(SMALL), "Waiting");
        const over = await other.page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
        assert.equal(over, 0, `${width} pixels wide`);
        const shot = path.join(SHOTS, `models-${width}-${colorScheme}.png`);
        await other.page.locator(card("ollama")).screenshot({ path: shot });
        await other.close();
      }
    }
    // In whatever order, all are answered, and the row tells what became of it.
    assert.deepEqual(await Promise.all([waits, ...busy]), Array(4).fill(200));
    const queued = page.locator("#requests td[title$='for the load of the model']");
    await eventually("the table tells how long requests waited for loads", async () => (await queued.count()) >= 3);
    await close();
  }));

test("an operator with the token loads and unloads models", () =>
  withModels({ tokensPerSecond: 0, load: 300, token: TOKEN }, async (running) => {
    const opened = await openConsole(browser, running, { refusals: true, ready: false });
    const { page } = opened;
    await page.getByLabel("Token", { exact: true }).fill(TOKEN);
    await page.getByRole("button", { name: "Open the console" }).click();
    const other = page.getByRole("form", { name: "Load a model at ollama" });
    await other.getByLabel("Model to load at ollama").fill(LARGE);
    await other.getByRole("button", { name: "Load" }).click();
    await shows(page, row(LARGE), "Loaded");
    await page.getByRole("button", { name: `Unload ${LARGE} at ollama` }).click();
    await shows(page, row(LARGE), "Cold");
    await page.getByRole("button", { name: `Load ${LARGE} at ollama` }).press("Enter");
    await shows(page, row(LARGE), "Loaded");
    await eventually("the gateway says so too", async () => {
      const [{ models }] = await running.providers();
      return models.find(({ model }) => model === LARGE).load.state === "loaded";
    });
    await other.getByLabel("Model to load at ollama").fill("no-such/model:7b");
    await other.getByRole("button", { name: "Load" }).click();
    await shows(page, `${card("ollama")} .models .problem`, "does not have the model `no-such/model:7b`");
    await opened.close();
  }));

test("a server whose loads nobody schedules has no such list", async () => {
  const server = await simulator(1, 10, 0);
  const running = await gateway(provider("ollama", server.url, 'scheduling = "fair"'));
  const { page, close } = await openConsole(browser, running);
  assert.equal(await chat(running), 200);
  await shows(page, "#requests tr", "OK");
  assert.equal(await page.locator(`${card("ollama")} .models`).isVisible(), false);
  await close();
  await running.stop();
  await server.stop();
});
