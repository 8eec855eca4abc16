// The usage of each key since the start.

import { arrange, el, say, show } from "./dom.js";
import { brief, count } from "./format.js";

const body = document.querySelector("#keys tbody");
const empty = document.getElementById("keys-empty");
const COLUMNS = ["Under way", "Requests", "OK", "Refused", "Failed", "Tokens in / out"];
const rows = new Map();

export function drawKeys(keys) {
  const busiest = [...keys].sort((one, other) => other.requests - one.requests || one.name.localeCompare(other.name));
  arrange(body, busiest.map(row));
  show(empty, keys.length === 0);
}

function row(key) {
  let known = rows.get(key.name);
  if (!known) {
    const cells = COLUMNS.map((column) => el("td", { role: "cell", "data-label": column, class: "number" }));
    const name = key.name === "-" ? "no valid key" : key.name;
    known = { node: el("tr", { role: "row" }, el("th", { scope: "row", role: "rowheader" }, name), ...cells), cells };
    rows.set(key.name, known);
  }
  const tokens = `${brief(key.prompt_tokens)} / ${brief(key.completion_tokens)}`;
  const values = [key.in_flight, key.requests, key.ok, key.refused, key.failed].map(count);
  [...values, tokens].forEach((value, index) => say(known.cells[index], value));
  return known.node;
}
