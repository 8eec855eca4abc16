// Who was turned away, where and why. A click shows the requests.

import { arrange, el, mark, say, show } from "./dom.js";
import { NOTHING, brief } from "./format.js";
import { filterRequests } from "./requests.js";
import { whyWords } from "./why.js";

const COLUMNS = ["Key", "Provider", "Last minute", "Since the start"];

const body = document.querySelector("#refusals tbody");
const empty = document.getElementById("refusals-empty");
const rows = new Map();

export function drawRefusals(refusals) {
  const names = new Set(refusals.map(nameOf));
  for (const name of rows.keys()) {
    if (!names.has(name)) rows.delete(name);
  }
  arrange(body, refusals.map(row));
  show(empty, refusals.length === 0);
}

function nameOf({ reason, caller, provider }) {
  return [reason, caller, provider].join("\n");
}

function row(refusal) {
  const name = nameOf(refusal);
  if (!rows.has(name)) rows.set(name, made(refusal));
  const known = rows.get(name);
  say(known.cells[2], brief(refusal.last_minute));
  say(known.cells[3], brief(refusal.total));
  mark(known.node, "data-now", refusal.last_minute > 0 ? "" : null);
  return known.node;
}

function made({ reason, caller, provider }) {
  const words = [reason, caller === "-" ? "" : caller, provider].filter(Boolean).join(" ");
  const button = el("button", { type: "button", class: "plain", title: `${reason}: show these requests`, on: { click: () => filterRequests(words) } }, whyWords(reason));
  const cells = COLUMNS.map((column, index) => el("td", { role: "cell", "data-label": column, class: index > 1 ? "number" : null }));
  say(cells[0], caller === "-" ? "no valid key" : caller);
  say(cells[1], provider ?? NOTHING);
  return { node: el("tr", { role: "row" }, el("th", { scope: "row", role: "rowheader" }, button), ...cells), cells };
}
