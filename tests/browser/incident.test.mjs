// An incident as an operator sees it: a flood, a dead provider, a refused file, changed limits, a drain; and many
// providers and keys at once. The screenshots are for people to look at.

import assert from "node:assert/strict";
import { mkdir } from "node:fs/promises";
import path from "node:path";
import { after, before, test } from "node:test";

import { SHOTS, card, launch, openConsole, shows } from "./browser.mjs";
import { chat, chats, eventually, gateway, provider, upstream } from "./running.mjs";

const KEYS = `
[[keys]]
name = "nightly"
key = "sk-nightly"
[[keys]]
name = "team"
key = "sk-team"
rate = { capacity = 100000, refill_per_second = 1000.0 }
`;
// Nobody listens on the discard port of this machine.
const DEAD = "http://127.0.0.1:9";
const row = (name) => `${card(name)} .row`;

let browser;
before(async () => {
  browser = await launch();
  await mkdir(SHOTS, { recursive: true });
});
after(() => browser.close());

// Sends chats without end, a few at a time, until it is stopped; gives the function that stops it.
function flood(running, options, hands = 6) {
  let isOver = false;
  const hand = async () => {
    while (!isOver) await chat(running, options).catch(() => {});
  };
  const all = Array.from({ length: hands }, hand);
  return async () => {
    isOver = true;
    await Promise.all(all);
  };
}

// Runs `body` with a gateway before a provider that holds its calls, of which two run and two wait for the key
// `nightly` and one for the key `team`, while `nightly` asks for more and more than its share.
async function withFlood(body) {
  const model = await upstream();
  const toml = KEYS + provider("ollama", model.url, "max_concurrency = 2\nmax_queue = 4") + provider("spare", DEAD, "breaker = { open = '120s' }");
  const running = await gateway(`${toml}[default]\nproviders = ["ollama"]\n`);
  const held = chats(running, 4, { key: "sk-nightly" });
  const has = (slots, waiting) => async () => {
    const [ollama] = await running.providers();
    return ollama.in_flight === slots && ollama.queued === waiting;
  };
  await eventually("two run and two wait", has(2, 2));
  held.push(chat(running, { key: "sk-team" }));
  await eventually("two run and three wait", has(2, 3));
  const stop = flood(running, { key: "sk-nightly" });
  try {
    await body({ running, model, toml, held });
  } finally {
    model.release();
    await stop();
    await Promise.all(held);
    await running.stop();
    await model.stop();
  }
}

async function shoot(running, name, address) {
  for (const colorScheme of ["light", "dark"]) {
    for (const width of [360, 768, 1440]) {
      const viewport = { width, height: 900 };
      const { page, close } = await openConsole(browser, running, { colorScheme, viewport, address, refusals: true });
      await shows(page, "#requests tr", "requests");
      const over = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
      assert.equal(over, 0, `${width} pixels wide`);
      await page.screenshot({ path: path.join(SHOTS, `${name}-${width}-${colorScheme}.png`), fullPage: true });
      await close();
    }
  }
}

test("a flood is told on top, in the row, by reason and key, and hides no request under way", () =>
  withFlood(async ({ running }) => {
    const { page, close } = await openConsole(browser, running, { viewport: { width: 1440, height: 900 } });
    await shows(page, "#state", /^Refusing: ollama is full, [\d,]+ a second turned away, mostly key nightly: its share of the line$/);
    assert.match(await page.title(), /^Refusing: ollama is full/);
    assert.equal(await page.locator('link[rel="icon"]').getAttribute("href"), "/console/icon-bad.svg");
    const { verdict } = await (await fetch(`${running.console}/admin/providers`)).json();
    assert.deepEqual([verdict.state, verdict.provider], ["refusing", "ollama"]);
    await shows(page, `${card("ollama")} .badge`, "Turning away");
    await shows(page, row("ollama"), "2 of 2");
    await shows(page, row("ollama"), "3 of 4");
    // Trouble comes first.
    assert.deepEqual(await page.locator("article[data-provider]").evaluateAll((all) => all.map((one) => one.dataset.provider)), ["ollama", "spare"]);
    // The two that run come first, then those that wait; the flood is one row.
    const live = page.locator('#requests tr[data-phase="live"]');
    await eventually("the requests under way are on top", async () => {
      const outcomes = await page.locator("#requests tbody tr td:nth-child(2)").allInnerTexts();
      return outcomes.slice(0, 5).join() === "Called,Called,Waiting,Waiting,Waiting";
    });
    assert.ok((await live.count()) >= 5);
    await shows(page, "#requests [data-fold]", "its share of the line");
    await shows(page, "#requests [data-fold]", "requests");
    assert.ok((await page.locator("#requests tbody tr").count()) < 20, "the flood takes one row");
    await shows(page, '#requests tr[data-phase="live"]', "no slot is free");
    // A row opens to its steps.
    await live.first().locator("button").click();
    await shows(page, "#requests .timeline", "waits in the line of ollama/llama3.1");
    await shows(page, "#requests .timeline", "call 1 to ollama/llama3.1");
    // Who was turned away, and a click that shows the requests.
    await shows(page, "#refusals tr[data-now]", "its share of the line");
    await page.locator("#refusals tr", { hasText: "its share of the line" }).getByRole("button").click();
    await shows(page, "#requests-count", "match");
    assert.equal(new URL(page.url()).searchParams.get("q"), "over_share nightly ollama");
    await page.reload();
    await shows(page, "#requests-count", "match");
    assert.equal(await page.getByLabel("Filter requests").inputValue(), "over_share nightly ollama");
    await page.getByLabel("Filter requests").fill("");
    // The key has both slots, and the row opens to curves.
    await shows(page, "#keys tr", "2 (100 %)");
    await shows(page, "#keys tr", /of 100K requests/);
    await page.getByRole("button", { name: "ollama", exact: true }).click();
    await shows(page, `${card("ollama")} .curve`, "its share of the line");
    await shows(page, `${card("ollama")} .curve-letters span`, "S");
    await page.locator(`${card("ollama")} .curve-plot`).first().hover();
    await shows(page, `${card("ollama")} .curve-said`, /ago/);
    assert.equal(await page.locator(`${card("ollama")} .curve-said`, { hasText: "ago" }).count(), 2, "one cursor for all curves");
    await close();
    await shoot(running, "incident", "?open=ollama");
  }));

test("what was done is listed and marked, and can be taken back", () =>
  withFlood(async ({ running, toml }) => {
    const { page, close } = await openConsole(browser, running, { refusals: true, address: "?open=ollama" });
    const form = page.locator(`${card("ollama")} form.knobs`);
    await form.getByLabel("Slots").fill("3");
    await form.getByRole("button", { name: "Apply" }).click();
    await shows(page, "#changes li", "slots 2 → 3");
    await shows(page, `${card("ollama")} .file`, "file: 2");
    await form.getByRole("button", { name: "Back to the file" }).click();
    await eventually("the limit is that of the file", async () => (await running.providers())[0].limit === 2);
    await shows(page, "#changes li", "slots 3 → 2");
    assert.equal(await form.getByRole("button", { name: "Back to the file" }).isVisible(), false);
    await form.getByRole("button", { name: "Drain ollama" }).click();
    await shows(page, "#undo", "ollama takes no new work");
    await shows(page, "#changes li", "Drained");
    await shows(page, `${card("ollama")} .badge`, "Draining");
    await page.locator("#undo-button").click();
    await shows(page, "#changes li", "Resumed");
    assert.equal((await running.providers())[0].draining, false);
    await running.write(`${toml}max_queue = -1\n`);
    await shows(page, "#changes li", "Configuration refused");
    await shows(page, "#reload-problems li", "max_queue");
    const letters = page.locator(`${card("ollama")} .curve-letters`).first();
    await eventually("each change has a mark", async () => (await letters.textContent()) === "SLLDDR");
    await close();
  }));

test("a dead provider is the verdict once nobody is turned away for want of room", async () => {
  const model = await upstream();
  model.release();
  const toml = KEYS + provider("ollama", model.url) + provider("spare", DEAD, "breaker = { open = '120s' }\nretry = { max_retries = 0 }");
  const running = await gateway(`${toml}[default]\nproviders = ["ollama"]\n`);
  const { page, close } = await openConsole(browser, running);
  await shows(page, "#state", "Idle: nothing under way");
  await eventually("the provider is left alone", async () => {
    await chat(running, { key: "sk-team", model: "spare/llama3.1" });
    return (await running.providers()).find(({ name }) => name === "spare").breaker.state === "open";
  });
  await shows(page, "#state", /Broken: spare kept failing and is tried again in .*; 1 other works/);
  const first = page.locator("article[data-provider]").first();
  await eventually("the provider in trouble is the first", async () => (await first.getAttribute("data-provider")) === "spare");
  await shows(page, "#requests td", "Connection refused");
  await page.locator("#requests tr", { hasText: "Connection refused" }).first().locator("button").click();
  await shows(page, "#requests .timeline", "call 1 failed");
  await close();
  await running.stop();
  await model.stop();
});

test("twenty providers fit on a screen, and two hundred keys are sorted", async () => {
  const model = await upstream();
  const keys = Array.from({ length: 200 }, (_, index) => `[[keys]]\nname = "key-${index}"\nkey = "sk-${index}"\n`);
  const providers = Array.from({ length: 20 }, (_, index) => provider(`gpu-${index}`, model.url, "max_concurrency = 4"));
  const running = await gateway(`${keys.join("")}${providers.join("")}[default]\nproviders = ["gpu-0"]\n`);
  const held = chats(running, 6, { key: "sk-7", model: "gpu-13/llama3.1" });
  const { page, close } = await openConsole(browser, running, { viewport: { width: 1440, height: 900 } });
  await shows(page, "#state", /Waiting: 2 requests wait for gpu-13/);
  const rows = page.locator("article[data-provider]");
  await eventually("the provider with a line is the first", async () => (await rows.first().getAttribute("data-provider")) === "gpu-13");
  assert.equal(await rows.count(), 20);
  const bottom = await rows.last().evaluate((node) => node.getBoundingClientRect().bottom);
  assert.ok(bottom <= 900, `the last row ends at ${bottom}`);
  await page.screenshot({ path: path.join(SHOTS, "twenty-1440.png") });
  model.release();
  await Promise.all(held);
  for (let first = 0; first < 200; first += 50) {
    const some = Array.from({ length: 50 }, (_, index) => chat(running, { key: `sk-${first + index}` }));
    assert.deepEqual(new Set(await Promise.all(some)), new Set([200]));
  }
  await eventually("all keys have a row", async () => (await page.locator("#keys tbody tr").count()) === 200);
  await shows(page, "#keys tbody tr:first-child", "key-7");
  const name = page.locator("#keys").getByRole("button", { name: "Key", exact: true });
  await name.click();
  await shows(page, "#keys tbody tr:first-child", "key-0");
  assert.equal(await page.locator("#keys th").first().getAttribute("aria-sort"), "ascending");
  await name.click();
  await shows(page, "#keys tbody tr:first-child", "key-99");
  await close();
  await running.stop();
  await model.stop();
});

test("rows are drawn at most four times a second", () =>
  withFlood(async ({ running }) => {
    const { page, close } = await openConsole(browser, running);
    await shows(page, "#requests [data-fold]", "requests");
    // Draws of one frame are one batch of changes.
    const batches = await page.evaluate(
      () =>
        new Promise((resolve) => {
          const times = [];
          const watch = new MutationObserver(() => {
            times.push(performance.now());
            if (times.length < 9) return;
            watch.disconnect();
            resolve(times);
          });
          watch.observe(document.querySelector("#requests tbody"), { childList: true, characterData: true, subtree: true });
        }),
    );
    assert.ok(batches.at(-1) - batches[0] >= 1_800, `nine drawings within ${batches.at(-1) - batches[0]} ms`);
    await close();
  }));

test("Escape does no harm, once or twice", async () => {
  const model = await upstream();
  const running = await gateway(provider("ollama", model.url), { token: "t0ken" });
  const { page, close } = await openConsole(browser, running, { refusals: true, ready: false });
  const token = page.getByLabel("Token", { exact: true });
  await token.waitFor();
  for (let times = 0; times < 3; times += 1) await page.keyboard.press("Escape");
  await shows(page, "#token-dialog", "Admin token");
  await token.fill("t0ken");
  await token.press("Enter");
  const slots = page.locator(`${card("ollama")} form.knobs`).getByLabel("Slots");
  await slots.fill("9");
  await slots.press("Escape");
  await slots.press("Escape");
  assert.equal(await slots.inputValue(), "4");
  await close();
  await running.stop();
  await model.stop();
});

test("on a phone every control is large enough for a finger", async () => {
  const model = await upstream();
  const running = await gateway(provider("ollama", model.url));
  const { page, close } = await openConsole(browser, running, { viewport: { width: 360, height: 780 }, hasTouch: true, isMobile: true });
  await shows(page, card("ollama"), "used");
  const small = await page.evaluate(() =>
    [...document.querySelectorAll("button, input, select")]
      .filter((node) => node.checkVisibility() && node.getBoundingClientRect().height < 44)
      .map((node) => node.outerHTML.slice(0, 100)),
  );
  assert.deepEqual(small, []);
  await close();
  await running.stop();
  await model.stop();
});
