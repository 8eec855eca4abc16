// What operators and reloads changed: a list, and the marks in the curves.

import { arrange, el, mark, say, show } from "./dom.js";
import { clock, day } from "./format.js";

// What happened, in words; the letter of its mark; and a tone.
const KINDS = {
  start: ["Started", "S", "calm"],
  reload: ["Configuration read again", "R", "good"],
  refused: ["Configuration refused", "R", "bad"],
  limits: ["Limits changed", "L", "live"],
  drain: ["Drained", "D", "warn"],
  resume: ["Resumed", "D", "good"],
  load: ["Model loaded", "M", "calm"],
  unload: ["Model unloaded", "M", "calm"],
};
const KEPT = 50;

const list = document.getElementById("changes");
const empty = document.getElementById("changes-empty");
const items = new Map();
let changes = [];

export function replaceChanges(all) {
  changes = [...all];
}

export function addChange(change) {
  if (changes.some((known) => known.number === change.number)) return;
  changes.push(change);
  changes.splice(0, changes.length - KEPT);
}

// The changes that concern a provider, with the letters of their marks.
export function marksOf(provider) {
  const own = changes.filter((change) => change.provider === null || change.provider === provider);
  return own.filter(({ kind }) => kind in KINDS).map(({ at, kind }) => ({ at, letter: KINDS[kind][1], words: KINDS[kind][0] }));
}

export function drawChanges() {
  const latest = [...changes].reverse();
  for (const number of items.keys()) {
    if (!changes.some((change) => change.number === number)) items.delete(number);
  }
  arrange(list, latest.map(item));
  show(empty, latest.length === 0);
}

function item(change) {
  let known = items.get(change.number);
  if (!known) {
    const parts = ["time", "tag", "where", "message"].map((part) => el("span", { class: part }));
    known = { node: el("li", {}, ...parts), parts };
    items.set(change.number, known);
  }
  const [time, tag, where, message] = known.parts;
  const [word, , tone] = KINDS[change.kind] ?? [change.kind, "", "calm"];
  say(time, clock(change.at));
  mark(time, "title", day(change.at));
  say(tag, word);
  mark(tag, "data-tone", tone);
  say(where, change.provider ?? "");
  say(message, change.text);
  return known.node;
}
