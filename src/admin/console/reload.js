// Reads the configuration again, and shows its problems until they are fixed.

import { callJson } from "./api.js";
import { arrange, el, mark, say, show } from "./dom.js";
import { clock } from "./format.js";

const button = document.getElementById("reload");
const notice = document.getElementById("reload-notice");
const words = document.getElementById("reload-words");
const list = document.getElementById("reload-problems");
const dismiss = document.getElementById("reload-dismiss");

// How often the gateway had read its configuration according to the latest data. Answers and events
// may overtake each other.
let reads = 0;
let isRefused = false;

export function startReload() {
  button.addEventListener("click", reload);
  dismiss.addEventListener("click", () => {
    show(notice, false);
    button.focus();
  });
}

// Shows the result of any reload of the configuration. A restarted gateway starts its count again.
export function showConfiguration(configuration, { isFirst = false } = {}) {
  if (!configuration || (!isFirst && configuration.reads <= reads)) return;
  reads = configuration.reads;
  if (configuration.problems.length) refuse(configuration.problems);
  else if (isRefused) tell(`The configuration was mended and read again at ${clock(configuration.at)}.`, []);
}

async function reload() {
  button.disabled = true;
  const { ok, body } = await callJson("/admin/reload", { method: "POST" });
  button.disabled = false;
  const isNews = body.reads > reads;
  if (isNews) reads = body.reads;
  if (ok) tell(`The configuration was read again at ${clock(Date.now())}.`, remarks(body));
  else if (isNews) refuse(body.problems);
  else if (!isRefused) notify("bad", `The configuration was not read: ${body.detail}.`, body.problems ?? []);
}

function remarks({ overridden = [], next_start = [], warnings = [] }) {
  return [
    ...overridden.map(({ key, variable }) => `${key} has changed in the file, to no effect: ${variable} sets it`),
    ...next_start.map((key) => `${key} changes with the next start`),
    ...warnings,
  ];
}

// It stays until the configuration is fixed.
function refuse(problems) {
  isRefused = true;
  notify("bad", "The configuration is refused and the old one stays in force:", problems);
}

function tell(text, items) {
  isRefused = false;
  notify("good", text, items);
}

function notify(tone, text, items) {
  mark(notice, "data-tone", tone);
  mark(notice, "role", tone === "good" ? "status" : "alert");
  arrange(list, items.map((item) => el("li", {}, item)));
  show(list, items.length > 0);
  show(dismiss, !isRefused);
  show(notice, true);
  say(words, text);
}
