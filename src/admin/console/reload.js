// Reading the configuration again, and what was wrong with it.

import { callJson } from "./api.js";
import { arrange, el, mark, say, show } from "./dom.js";
import { clock } from "./format.js";

const button = document.getElementById("reload");
const notice = document.getElementById("reload-notice");
const words = document.getElementById("reload-words");
const problems = document.getElementById("reload-problems");

export function startReload() {
  button.addEventListener("click", reload);
  document.getElementById("reload-dismiss").addEventListener("click", () => {
    show(notice, false);
    button.focus();
  });
}

async function reload() {
  button.disabled = true;
  const { ok, body } = await callJson("/admin/reload", { method: "POST" });
  button.disabled = false;
  const found = body.problems ?? [];
  mark(notice, "data-tone", ok ? "good" : "bad");
  mark(notice, "role", ok ? "status" : "alert");
  arrange(problems, found.map((problem) => el("li", {}, problem)));
  show(problems, found.length > 0);
  show(notice, true);
  if (ok) say(words, `The configuration was read again at ${clock(Date.now())}.`);
  else if (found.length) say(words, "The configuration is refused and the old one stays in force:");
  else say(words, `The configuration was not read: ${body.detail}.`);
}
