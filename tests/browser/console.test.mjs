// What an operator does with the console, in a real browser against the real binary.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";

import { card, launch, openConsole, shows } from "./browser.mjs";
import { chat, chats, eventually, gateway, provider, upstream } from "./running.mjs";

const KEYS = `
[[keys]]
name = "team-a"
key = "sk-a"
[[keys]]
name = "team-b"
key = "sk-b"
`;
const HOSTILE = '<img src=x onerror="alert(1)">';

let browser;
before(async () => {
  browser = await launch();
});
after(() => browser.close());

// Runs `body` with a gateway before a provider that holds its calls, and with its console.
async function withConsole({ more = "max_concurrency = 2", keys = "", gatewayOptions = {}, ...options }, body) {
  const model = await upstream();
  const toml = keys + provider("ollama", model.url, more);
  const running = await gateway(toml, gatewayOptions);
  const opened = await openConsole(browser, running, options);
  try {
    await body({ gateway: running, upstream: model, page: opened.page, toml });
    await opened.close();
  } finally {
    model.release();
    await running.stop();
    await model.stop();
  }
}

async function provider0({ providers }) {
  return (await providers())[0];
}

test("cards move under load and come to rest", () =>
  withConsole({ keys: KEYS }, async ({ gateway, upstream, page }) => {
    await shows(page, card("ollama"), "0 of 2 used, 2 free");
    await shows(page, "#requests-empty", "No requests yet");
    const first = chats(gateway, 4, { key: "sk-a" });
    await eventually("two calls run", () => upstream.busy() === 2);
    const others = chats(gateway, 3, { key: "sk-b" });
    await shows(page, card("ollama"), "2 of 2 used, 0 free");
    await shows(page, `${card("ollama")} .legend`, "team-a 2");
    await shows(page, `${card("ollama")} .legend`, "team-b 3");
    await shows(page, card("ollama"), "5 of 64 places taken");
    await shows(page, card("ollama"), "Oldest has waited");
    await shows(page, "#figure-flight", "7");
    await shows(page, "#figure-queued", "5");
    await shows(page, '#requests tr[data-phase="live"]', "Waiting");
    await shows(page, '#requests tr[data-phase="live"]', "Called");
    upstream.release();
    assert.deepEqual(await Promise.all([...first, ...others]), Array(7).fill(200));
    await shows(page, card("ollama"), "0 of 2 used, 2 free");
    await shows(page, card("ollama"), "empty, 64 places");
    await shows(page, "#requests-count", "0 under way, 7 ended requests remembered");
    await shows(page, "#keys tr", "team-a");
    await eventually("the row of team-b counts", async () => {
      const cells = await page.locator("#keys tr", { hasText: "team-b" }).locator("td").allInnerTexts();
      return cells.map((cell) => cell.split("\n").at(-1)).join(" ") === "0 0 3 3 0 0 0 21 / 12 –";
    });
    await shows(page, `${card("ollama")} .spark`, "peak 2");
  }));

test("a limit changed in the page takes effect", () =>
  withConsole({ more: "max_concurrency = 4" }, async ({ gateway, upstream, page }) => {
    const form = page.locator(`${card("ollama")} form`);
    assert.equal(await form.getByRole("button", { name: "Apply" }).isDisabled(), true);
    await form.getByLabel("Slots").fill("2");
    await form.getByLabel("Places in line").fill("9");
    await form.getByLabel("Max wait, s").fill("12.5");
    await form.getByRole("button", { name: "Apply" }).click();
    await eventually("the gateway has the limits", async () => {
      const { limit, max_queue, max_queue_wait_ms } = await provider0(gateway);
      return limit === 2 && max_queue === 9 && max_queue_wait_ms === 12_500;
    });
    await shows(page, card("ollama"), "0 of 2 used");
    const sent = chats(gateway, 5);
    await shows(page, card("ollama"), "3 of 9 places taken");
    assert.deepEqual([upstream.busy(), upstream.peak()], [2, 2]);
    upstream.release();
    assert.deepEqual(await Promise.all(sent), Array(5).fill(200));
  }));

test("a limit that makes no sense is refused in words", () =>
  withConsole({ more: "max_concurrency = 4" }, async ({ gateway, page }) => {
    const form = page.locator(`${card("ollama")} form`);
    const slots = form.getByLabel("Slots");
    for (const wrong of ["0", "-1", "2.5", "100001", "many"]) {
      await slots.fill(wrong);
      await form.getByRole("button", { name: "Apply" }).click();
      await shows(page, `${card("ollama")} .problem`, "write a whole number from 1 to 100000, or auto");
      assert.equal(await slots.getAttribute("aria-invalid"), "true", wrong);
    }
    assert.equal((await provider0(gateway)).limit, 4);
    await slots.press("Escape");
    assert.equal(await slots.inputValue(), "4");
    await slots.fill("auto");
    await form.getByRole("button", { name: "Apply" }).click();
    await eventually("the limit is found out", async () => (await provider0(gateway)).max_concurrency === "auto");
    await shows(page, card("ollama"), "(found out)");
  }));

test("a provider is drained and resumed", () =>
  withConsole({}, async ({ gateway, upstream, page }) => {
    upstream.release();
    await page.getByRole("button", { name: "Drain ollama" }).click();
    await shows(page, `${card("ollama")} .badge`, "Draining");
    await shows(page, "#state", "Draining: no provider takes new work");
    assert.equal(await chat(gateway), 503);
    await shows(page, "#undo", "ollama takes no new work");
    await page.getByRole("button", { name: "Resume ollama" }).click();
    await shows(page, `${card("ollama")} .badge`, "Taking work");
    assert.equal(await chat(gateway), 200);
    await shows(page, "#errors", "draining");
  }));

test("a request that crashes its model is seen in quarantine, and the provider at work", () =>
  withConsole({ more: "retry = { max_retries = 0 }", keys: KEYS }, async ({ gateway, upstream, page }) => {
    upstream.release();
    await shows(page, `${card("ollama")} .badge`, "Taking work");
    for (let times = 0; times < 4; times += 1) {
      assert.equal(await chat(gateway, { key: "sk-a", content: "crash" }), 502);
    }
    await shows(page, `${card("ollama")} .badge`, "Request in quarantine");
    await shows(page, card("ollama"), "a request of team-a made llama3.1 fail 3 times");
    await shows(page, card("ollama"), "turned away");
    assert.equal(await chat(gateway, { key: "sk-b" }), 200);
  }));

test("a flood of refusals is seen on the card", () =>
  withConsole({ more: "max_concurrency = 1\nmax_queue = 0" }, async ({ gateway, upstream, page }) => {
    const held = chat(gateway);
    await eventually("a call runs", () => upstream.busy() === 1);
    // A few are no incident.
    assert.deepEqual(await Promise.all(chats(gateway, 20)), Array(20).fill(503));
    await shows(page, `${card("ollama")} .badge`, "Taking work");
    assert.deepEqual(await Promise.all(chats(gateway, 50)), Array(50).fill(503));
    await shows(page, `${card("ollama")} .badge`, "Turning away");
    await shows(page, card("ollama"), "70 requests turned away in the last minute");
    upstream.release();
    assert.equal(await held, 200);
  }));

test("a reload shows what is wrong with the configuration", () =>
  withConsole({ refusals: true }, async ({ gateway, page, toml }) => {
    const wrong = `${toml}max_concurency = 3\nmax_queue = -1\n`;
    await gateway.write(wrong);
    const reload = page.getByRole("button", { name: "Reload configuration" });
    await reload.click();
    await shows(page, "#reload-words", "refused and the old one stays in force");
    await shows(page, "#reload-problems li", "max_concurency: unknown key; did you mean `max_concurrency`?");
    await shows(page, "#reload-problems li", "max_queue");
    assert.equal(await page.locator("#reload-problems li").count(), 2);
    await gateway.write(toml.replace("max_concurrency = 2", "max_concurrency = 3"));
    await reload.click();
    await shows(page, "#reload-words", "The configuration was read again");
    await shows(page, card("ollama"), "0 of 3 used");
    assert.equal(await page.locator("#reload-problems").isVisible(), false);
    await page.getByRole("button", { name: "Dismiss" }).click();
    assert.equal(await page.locator("#reload-notice").isVisible(), false);
  }));

test("a refused configuration is told to every console until it is mended", () =>
  withConsole({}, async ({ gateway, page, toml }) => {
    const reload = page.getByRole("button", { name: "Reload configuration" });
    await reload.click();
    await shows(page, '#reload-notice[data-tone="good"]', "The configuration was read again");
    // Nobody presses anything: the gateway notices by itself.
    await gateway.write(`${toml}max_queue = -1\n`);
    await shows(page, '#reload-notice[data-tone="bad"]', "refused and the old one stays in force");
    await shows(page, "#reload-problems li", "max_queue");
    await shows(page, "#errors", "Configuration refused");
    assert.equal(await page.getByRole("button", { name: "Dismiss" }).isVisible(), false);
    const late = await openConsole(browser, gateway);
    await shows(late.page, "#reload-problems li", "max_queue");
    await page.reload();
    await shows(page, "#reload-problems li", "max_queue");
    await gateway.write(toml.replace("max_concurrency = 2", "max_concurrency = 3"));
    for (const console of [page, late.page]) {
      await shows(console, '#reload-notice[data-tone="good"]', "The configuration was mended and read again");
      await console.getByRole("button", { name: "Dismiss" }).click();
      assert.equal(await console.locator("#reload-notice").isVisible(), false);
    }
    await late.close();
  }));

test("what callers and providers say stays text", () => {
  const keys = `[[keys]]\nname = '${HOSTILE}'\nkey = "sk-a"\n`;
  return withConsole({ keys, more: "max_concurrency = 2\nretry = { max_retries = 0 }" }, async ({ gateway, upstream, page }) => {
    const elements = () => page.evaluate(() => document.querySelectorAll("img, script, iframe, object").length);
    const before = await elements();
    const headers = { "user-agent": "<script>alert(2)</script>" };
    const waiting = chats(gateway, 3, { key: "sk-a", headers });
    await shows(page, `${card("ollama")} .legend`, `${HOSTILE} 1`);
    upstream.release();
    await Promise.all(waiting);
    await chat(gateway, { key: "sk-a", model: `${HOSTILE}</td></table><script>alert(3)</script>`, headers });
    // Short enough not to be taken for a quotation of the request, which nobody but its caller may read.
    await chat(gateway, { key: "sk-a", content: "fail: <img src=a>", headers });
    await shows(page, "#requests td", "</td></table><script>alert(3)</script>");
    await shows(page, "#requests td", HOSTILE);
    await shows(page, "#keys th", HOSTILE);
    await shows(page, "#errors .message", "<img src=a>");
    await shows(page, `${card("ollama")} .trouble`, "<img src=a>");
    assert.equal(await elements(), before, "no element was made of a text");
  });
});

test("the table of requests fills, is filtered and can be held", () =>
  withConsole({ keys: KEYS }, async ({ gateway, upstream, page }) => {
    upstream.release();
    await chat(gateway, { key: "sk-a", headers: { "x-request-id": "first-one" } });
    await chat(gateway, { key: "sk-b", model: "ollama/mistral", headers: { "x-request-id": "second-one" } });
    await chat(gateway, { key: "wrong", headers: { "x-request-id": "third-one" } });
    await shows(page, "#requests tr", "third-one");
    const row = page.locator("#requests tr", { hasText: "second-one" });
    const cells = await row.locator("td").allInnerTexts();
    assert.deepEqual(cells.slice(1, 8), ["OK", "–", "second-one", "team-b", "native", "ollama/mistral", "ollama/mistral"]);
    assert.match(cells[0], /^\d\d:\d\d:\d\d$/);
    for (const time of cells.slice(8, 11)) assert.match(time, /^[\d.]+ (ms|s)$/);
    assert.equal(cells[11], "7 / 4");
    await page.getByLabel("Filter requests").fill("team-b mistral");
    await shows(page, "#requests-count", "1 match");
    assert.equal(await page.locator("#requests tbody tr").count(), 1);
    await page.getByLabel("Filter requests").fill("nothing like it");
    await shows(page, "#requests-empty", "No request matches the filter");
    await page.getByLabel("Filter requests").fill("");
    await page.getByLabel("Which requests").selectOption("failed");
    await eventually("one row is left", async () => (await page.locator("#requests tbody tr").count()) === 1);
    await shows(page, "#requests tbody", "no valid key");
    await page.getByLabel("Which requests").selectOption("all");
    await page.getByRole("button", { name: "Pause" }).click();
    await chat(gateway, { key: "sk-a", headers: { "x-request-id": "fourth-one" } });
    await shows(page, "#keys tr", "team-a");
    assert.equal(await page.locator("#requests tr", { hasText: "fourth-one" }).count(), 0);
    await page.locator("#pause").click();
    await shows(page, "#requests tr", "fourth-one");
  }));

test("the playground streams an answer with its timings, with the key that was typed", () =>
  withConsole({ keys: KEYS, refusals: true }, async ({ gateway, upstream, page }) => {
    await page.getByRole("button", { name: "Send" }).click();
    await shows(page, "#play-state", "Refused: 401 invalid_api_key");
    await shows(page, "#play-answer", "Invalid or missing API Key");
    await page.getByLabel("Client key, not stored").fill("sk-a");
    await page.getByRole("button", { name: "Send" }).click();
    await shows(page, "#play-state", "Sent, waiting");
    await eventually("the call runs", () => upstream.busy() === 1);
    upstream.release();
    await shows(page, "#play-state", "Complete");
    assert.equal(await page.locator("#play-answer").innerText(), "The sky is blue.");
    await shows(page, "#play-ran", "ollama/llama3.1");
    await shows(page, "#play-usage", "7 / 4");
    for (const id of ["#play-queue", "#play-first", "#play-total"]) {
      assert.match(await page.locator(id).innerText(), /^[\d.]+ (ms|s)$/, id);
    }
    await shows(page, "#requests tr", "team-a");
    upstream.hold();
    await page.getByRole("button", { name: "Send" }).click();
    await eventually("the call runs", () => upstream.busy() === 1);
    await page.getByRole("button", { name: "Stop" }).click();
    await shows(page, "#play-state", "Stopped");
    await eventually("the provider is rid of the call", () => upstream.busy() === 0);
    await shows(page, "#requests tr", "Client left");
    const kept = await page.evaluate(() => JSON.stringify([{ ...localStorage }, { ...sessionStorage }]));
    assert.ok(!kept.includes("sk-a"), kept);
    assert.equal((await provider0(gateway)).in_flight, 0);
  }));

test("a token that is needed is asked for, once", () =>
  withConsole({ gatewayOptions: { token: "t0ken" }, refusals: true, ready: false }, async ({ page }) => {
    const token = page.getByLabel("Token", { exact: true });
    await token.waitFor();
    assert.equal(await page.locator("article").count(), 0);
    await token.fill("wrong");
    await token.press("Enter");
    await shows(page, "#token-problem", "That token was not accepted");
    await token.fill("t0ken");
    await page.getByRole("button", { name: "Open the console" }).click();
    await shows(page, card("ollama"), "0 of 2 used");
    await page.reload();
    await shows(page, card("ollama"), "0 of 2 used");
    assert.equal(await page.locator("#token-dialog").isVisible(), false);
    await page.getByRole("button", { name: "Drain ollama" }).click();
    await shows(page, `${card("ollama")} .badge`, "Draining");
  }));

test("a limit can be changed without a mouse", () =>
  withConsole({}, async ({ gateway, page }) => {
    await shows(page, card("ollama"), "0 of 2 used");
    const focused = () => page.evaluate(() => document.activeElement.id || document.activeElement.textContent);
    await page.keyboard.press("Tab");
    assert.equal(await focused(), "Skip to the providers");
    await page.keyboard.press("Enter");
    const seen = [];
    for (let step = 0; step < 10 && seen.at(-1) !== "knob-ollama-max_concurrency"; step += 1) {
      await page.keyboard.press("Tab");
      seen.push(await focused());
    }
    assert.equal(seen.at(-1), "knob-ollama-max_concurrency", seen.join(", "));
    const outline = await page.evaluate(() => getComputedStyle(document.activeElement).outlineStyle);
    assert.equal(outline, "solid", "the focus is visible");
    await page.keyboard.press("Control+A");
    await page.keyboard.type("7");
    await page.keyboard.press("Enter");
    await eventually("the gateway has the limit", async () => (await provider0(gateway)).limit === 7);
    await shows(page, card("ollama"), "0 of 7 used");
    await shows(page, "#announcer", "Limits of ollama changed");
  }));

test("a lost connection is told and comes back by itself", async () => {
  const model = await upstream();
  const toml = provider("ollama", model.url, "max_concurrency = 2");
  const first = await gateway(toml);
  const { page, close } = await openConsole(browser, first, { refusals: true });
  await shows(page, "#state", "Idle: nothing under way");
  await first.stop();
  await shows(page, "#state", "Connection lost");
  await shows(page, "#connection-notice", "What you see is old; trying again");
  const admin = new URL(first.console).host;
  const second = await gateway(toml.replace("= 2", "= 5"), { admin });
  await shows(page, card("ollama"), "0 of 5 used");
  await shows(page, "#state", "Idle: nothing under way");
  assert.equal(await page.locator("#connection-notice").isVisible(), false);
  await close();
  await second.stop();
  await model.stop();
});
