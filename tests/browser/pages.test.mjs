// A page of another origin that calls the gateway as applications in browsers do: what Chromium lets it read.

import assert from "node:assert/strict";
import http from "node:http";
import { after, before, test } from "node:test";

import { launch } from "./browser.mjs";
import { gateway, provider, upstream } from "./running.mjs";

const KEYS = `
[[keys]]
name = "team-a"
key = "sk-a"
`;

let browser;
let site;
before(async () => {
  browser = await launch();
  // Whatever is asked for is an empty page.
  site = http.createServer((_, response) => response.writeHead(200, { "content-type": "text/html" }).end("<title>x</title>"));
  await new Promise((resolve) => site.listen(0, "127.0.0.1", resolve));
});
after(async () => {
  site.closeAllConnections();
  await Promise.all([browser.close(), new Promise((resolve) => site.close(resolve))]);
});

// Runs `body` with a page of this host, which is of another origin than the gateway in any case, and an open provider.
async function withPage(host, keys, body) {
  const model = await upstream();
  model.release();
  const running = await gateway(keys + provider("ollama", model.url));
  const context = await browser.newContext();
  const page = await context.newPage();
  try {
    await page.goto(`http://${host}:${site.address().port}/`);
    await body((asked) => page.evaluate(call, { url: running.url, ...asked }), model);
  } finally {
    await context.close();
    await running.stop();
    await model.stop();
  }
}

// In the page: asks as OpenAI's client does, and says what it may read of the answer.
async function call({ url, key, stream }) {
  const body = { model: "llama3.1", stream, messages: [{ role: "user", content: "hi" }] };
  const headers = { authorization: `Bearer ${key}`, "content-type": "application/json", "x-stainless-lang": "js" };
  let response;
  try {
    response = await fetch(`${url}/v1/chat/completions`, { method: "POST", headers, body: JSON.stringify(body) });
  } catch (error) {
    return { error: error.name };
  }
  const decoder = new TextDecoder();
  let text = "";
  for (const reader = response.body.getReader(); ; ) {
    const { value, done } = await reader.read();
    if (done) break;
    text += decoder.decode(value, { stream: true });
  }
  const names = ["x-request-id", "x-gateway-provider", "x-gateway-attempts", "x-accel-buffering"];
  const read = Object.fromEntries(names.map((name) => [name, response.headers.get(name)]));
  return { status: response.status, text, read };
}

test("a page of this machine reads a stream from its preflight to its last piece, and what the gateway says of it", () =>
  withPage("127.0.0.1", KEYS, async (ask) => {
    const { status, text, read } = await ask({ key: "sk-a", stream: true });
    assert.equal(status, 200);
    const said = [...text.matchAll(/"content":"([^"]*)"/g)].map(([, piece]) => piece).join("");
    assert.equal(said, "The sky is blue.");
    assert.ok(text.endsWith("data: [DONE]\n\n"), text);
    assert.ok(read["x-request-id"]);
    assert.equal(read["x-gateway-provider"], "ollama");
    assert.equal(read["x-gateway-attempts"], "1");
    assert.equal(read["x-accel-buffering"], null, "the page may read more than it is told");
  }));

test("it reads whole answers and errors too", () =>
  withPage("localhost", KEYS, async (ask) => {
    const whole = await ask({ key: "sk-a", stream: false });
    assert.equal(whole.status, 200);
    assert.equal(JSON.parse(whole.text).choices[0].message.content, "The sky is blue.");
    const refused = await ask({ key: "sk-b", stream: true });
    assert.equal(refused.status, 401);
    assert.equal(JSON.parse(refused.text).error.code, "invalid_api_key");
    assert.ok(refused.read["x-request-id"]);
  }));

test("a page of another origin reads nothing, and reaches no provider", async () => {
  for (const keys of [KEYS, ""]) {
    await withPage("stranger.localhost", keys, async (ask, model) => {
      model.hold();
      assert.deepEqual(await ask({ key: "sk-a", stream: true }), { error: "TypeError" });
      assert.equal(model.peak(), 0);
    });
  }
});
