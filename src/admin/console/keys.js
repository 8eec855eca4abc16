// What each key has now, has used since the start, and has left.

import { hue } from "./bars.js";
import { arrange, el, mark, say, show } from "./dom.js";
import { NOTHING, brief, count } from "./format.js";

const COLUMNS = [
  ["Slots", (key) => key.slots],
  ["Under way", (key) => key.in_flight],
  ["Requests", (key) => key.requests],
  ["OK", (key) => key.ok],
  ["Refused", (key) => key.refused],
  ["Failed", (key) => key.failed],
  ["Left the line", (key) => key.left],
  ["Tokens in / out", (key) => key.prompt_tokens + key.completion_tokens],
  ["Left of its limits", (key) => -tightest(key)],
];

const table = document.getElementById("keys");
const body = table.tBodies[0];
const empty = document.getElementById("keys-empty");
const rows = new Map();
// The column that orders the rows; the name is the one before the first.
let sorting = { column: 2, isDown: true };

// Makes the heads of the columns buttons that sort.
export function startKeys(changed) {
  [...table.tHead.rows[0].cells].forEach((head, index) => {
    const button = el("button", { type: "button", class: "sort", on: { click } }, head.textContent);
    head.replaceChildren(button);

    function click() {
      const column = index - 1;
      sorting = { column, isDown: sorting.column === column ? !sorting.isDown : column >= 0 };
      changed();
    }
  });
}

export function drawKeys(keys) {
  const used = keys.reduce((sum, key) => sum + key.slots, 0);
  for (const name of rows.keys()) {
    if (!keys.some((key) => key.name === name)) rows.delete(name);
  }
  arrange(body, [...keys].sort(byColumn).map((key) => row(key, used)));
  show(empty, keys.length === 0);
  [...table.tHead.rows[0].cells].forEach((head, index) => {
    const isSorted = index - 1 === sorting.column;
    mark(head, "aria-sort", isSorted ? (sorting.isDown ? "descending" : "ascending") : null);
  });
}

function byColumn(one, other) {
  const names = one.name.localeCompare(other.name);
  if (sorting.column < 0) return sorting.isDown ? -names : names;
  const [, of] = COLUMNS[sorting.column];
  return (sorting.isDown ? of(other) - of(one) : of(one) - of(other)) || names;
}

function row(key, used) {
  let known = rows.get(key.name);
  if (!known) {
    const cells = COLUMNS.map(([column]) => el("td", { role: "cell", "data-label": column, class: "number" }));
    const name = key.name === "-" ? "no valid key" : key.name;
    const head = el("th", { scope: "row", role: "rowheader" }, el("i", { class: hue(key.name) }), name);
    known = { node: el("tr", { role: "row" }, head, ...cells), cells };
    rows.set(key.name, known);
  }
  const slots = key.slots ? `${count(key.slots)} (${Math.round((key.slots / used) * 100)} %)` : "0";
  const numbers = [key.in_flight, key.requests, key.ok, key.refused, key.failed, key.left].map(count);
  const tokens = `${brief(key.prompt_tokens)} / ${brief(key.completion_tokens)}`;
  [slots, ...numbers, tokens, limits(key)].forEach((value, index) => say(known.cells[index], value));
  mark(known.cells.at(-1), "data-tone", tightest(key) >= 0.9 ? "bad" : null);
  return known.node;
}

function meters({ limits: has }) {
  const all = [
    ["requests", has?.requests],
    ["tokens/min", has?.tokens_per_minute],
    ["tokens/day", has?.tokens_per_day],
  ];
  return all.filter(([, meter]) => meter);
}

function limits(key) {
  const words = meters(key).map(([unit, { remaining, limit }]) => `${brief(remaining)} of ${brief(limit)} ${unit}`);
  const most = key.limits?.max_concurrency;
  if (most) words.push(`${count(Math.max(0, most - key.limits.in_flight))} of ${count(most)} at once`);
  return words.join(", ") || NOTHING;
}

// The used part of the limit of which least is left, from 0 to 1.
function tightest(key) {
  return Math.max(0, ...meters(key).map(([, { remaining, limit }]) => 1 - remaining / Math.max(1, limit)));
}
