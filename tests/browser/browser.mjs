// Chromium, and pages that fail the test when they misbehave.
//
// A page may say nothing on its console, break no policy, open no dialog and ask nobody but the gateway that served it.

import assert from "node:assert/strict";
import { createRequire } from "node:module";
import path from "node:path";

import { PATIENCE } from "./running.mjs";

const folder = path.resolve(process.env.LLM_GATEWAY_BROWSER ?? path.join(import.meta.dirname, "../../target/browser"));
const require = createRequire(path.join(folder, "package.json"));
const { chromium } = require("playwright-core");

export const SHOTS = path.join(folder, "screenshots");
export const AXE = require.resolve("axe-core");

const FLAGS = [
  "--headless",
  "--no-sandbox",
  "--disable-gpu",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
];

export function launch() {
  return chromium.launch({ executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium", args: FLAGS });
}

// Opens the console of a gateway. `refusals` says that the gateway is expected to refuse something, which Chromium
// reports as a failed load; `address` is the part of the address after the host.
export async function openConsole(browser, gateway, { refusals = false, ready = true, address = "", ...options } = {}) {
  const context = await browser.newContext({ viewport: { width: 1280, height: 900 }, ...options });
  context.setDefaultTimeout(PATIENCE);
  const page = await context.newPage();
  const wrong = [];
  page.on("console", (message) => {
    const isRefusal = message.text().startsWith("Failed to load resource:");
    if (!(refusals && isRefusal)) wrong.push(`${message.type()}: ${message.text()}`);
  });
  page.on("pageerror", (error) => wrong.push(`error: ${error.stack}`));
  page.on("dialog", (dialog) => {
    wrong.push(`dialog: ${dialog.message()}`);
    dialog.dismiss();
  });
  page.on("request", (request) => {
    if (!request.url().startsWith(`${gateway.console}/`)) wrong.push(`request: ${request.url()}`);
  });
  await page.addInitScript(() => {
    addEventListener("securitypolicyviolation", (event) => console.error(`policy: ${event.violatedDirective} ${event.blockedURI}`));
  });
  await page.goto(`${gateway.console}/${address}`);
  if (ready) await page.locator("article[data-provider]").first().waitFor();
  return {
    page,
    // Closes the page, which has to have behaved.
    async close() {
      assert.deepEqual(wrong, []);
      await context.close();
    },
  };
}

// Awaits that what can be seen of an element holds `text`.
export async function shows(page, selector, text) {
  const matching = page.locator(`${selector}:visible`).filter({ hasText: text });
  try {
    await matching.first().waitFor();
  } catch {
    const now = await page.locator(selector).allInnerTexts();
    assert.fail(`${selector} does not show ${text}, but ${JSON.stringify(now).slice(0, 1_000)}`);
  }
}

export function card(name) {
  return `article[data-provider="${name}"]`;
}
