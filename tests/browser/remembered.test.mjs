// What providers remember of conversations. The screenshots are for people to look at.

import assert from "node:assert/strict";
import { mkdir } from "node:fs/promises";
import path from "node:path";
import { after, before, test } from "node:test";

import { SHOTS, card, launch, openConsole, shows } from "./browser.mjs";
import { chat, gateway, provider, simulator } from "./running.mjs";

const SMALL = "llama3.1";
const LARGE = "llama3.1:70b";
const row = (name, model) => `${card(name)} [data-remembered="${model}"]`;

let browser;
before(async () => {
  browser = await launch();
  await mkdir(SHOTS, { recursive: true });
});
after(() => browser.close());

// One turn of a conversation, which begins with a long text of its own.
function turn(running, number, of, model) {
  const messages = [{ role: "system", content: `${number} rules `.repeat(2_000) }];
  for (let said = 0; said < of; said += 1) messages.push({ role: "user", content: `and then ${said}` });
  return chat(running, { model, more: { messages, max_tokens: 2 } });
}

test("conversations, tokens and the share that was reused are seen for each model", async () => {
  const cache = { "prompt-cache": 65_536, read: 50_000, counts: "ollama", models: 2, loaded: 2 };
  const [one, other] = await Promise.all([simulator(2, 5, 0, cache), simulator(2, 5, 0)]);
  const running = await gateway(
    provider("ollama", one.url, "max_concurrency = 2") +
      provider("plain", other.url, "max_concurrency = 2\nremember = false") +
      '[default]\nproviders = ["ollama"]\n',
  );
  const { page, close } = await openConsole(browser, running, { viewport: { width: 1440, height: 900 }, address: "?open=ollama,plain" });
  assert.equal(await page.locator(`${card("ollama")} .memory`).isVisible(), false, "nothing was sent yet");
  for (let turns = 1; turns <= 4; turns += 1) {
    for (const conversation of [1, 2, 3]) {
      assert.equal(await turn(running, conversation, turns, `ollama/${SMALL}`), 200);
    }
  }
  assert.equal(await turn(running, 4, 1, `ollama/${LARGE}`), 200);
  assert.equal(await chat(running, { model: `plain/${SMALL}` }), 200);
  await shows(page, row("ollama", SMALL), "3 conversations");
  await shows(page, row("ollama", SMALL), "% reused");
  await shows(page, row("ollama", SMALL), "K / s");
  await shows(page, row("ollama", LARGE), "1 conversation, ");
  await shows(page, row("ollama", LARGE), "0 % reused");
  await shows(page, `${card("ollama")} .memory`, "4 conversations, ");
  const [{ models }] = await running.providers();
  const { reused } = models.find(({ model }) => model === SMALL).remembered;
  assert.ok(reused > 0.5 && reused < 1, `${reused} was reused`);
  await shows(page, row("ollama", SMALL), `${Math.round(reused * 100)} % reused`);
  assert.equal(await page.locator(`${card("plain")} .memory`).isVisible(), false);
  for (const colorScheme of ["light", "dark"]) {
    for (const width of [360, 768, 1440]) {
      const seen = await openConsole(browser, running, { colorScheme, viewport: { width, height: 900 }, address: "?open=ollama" });
      await shows(seen.page, row("ollama", SMALL), "3 conversations");
      const over = await seen.page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
      assert.equal(over, 0, `${width} pixels wide`);
      const shot = path.join(SHOTS, `remembered-${width}-${colorScheme}.png`);
      await seen.page.locator(card("ollama")).screenshot({ path: shot });
      await seen.close();
    }
  }
  await close();
  await running.stop();
  await Promise.all([one.stop(), other.stop()]);
});
