// Bars with parts, and the colours of keys.

import { arrange, el, mark, say, show } from "./dom.js";
import { count, plural } from "./format.js";

// More slots than this are drawn as one bar.
const MOST_SEGMENTS = 40;
const HUES = 8;
// Callers beyond these share one colour and one name.
const MOST_CALLERS = 7;

// The class of a name's colour: the same on every card, in every browser and after every restart.
export function hue(name) {
  let hash = 0x811c9dc5;
  for (let index = 0; index < name.length; index += 1) {
    hash = Math.imul(hash ^ name.charCodeAt(index), 0x01000193);
  }
  return `hue-${((hash ^ (hash >>> 15)) >>> 0) % HUES}`;
}

// A bar that says nothing by itself: the words are beside it.
export function bar() {
  return el("div", { class: "meter-bar", "aria-hidden": "true" });
}

// A name, a number in words, and a bar.
export function meter(name) {
  const words = el("span", { class: "meter-words" });
  const line = bar();
  const legend = el("ul", { class: "legend" });
  const head = el("div", { class: "meter-head" }, el("span", { class: "meter-name" }, name), words);
  return { node: el("div", { class: "meter" }, head, line, legend), words, bar: line, legend };
}

// Fills a bar with parts, each with a class and a share.
function segments(line, parts) {
  const shown = parts.filter(([, share]) => share > 0);
  const nodes = shown.map((_, index) => line.children[index] ?? el("span"));
  arrange(line, nodes);
  nodes.forEach((node, index) => {
    const [kind, share] = shown[index];
    mark(node, "class", kind);
    if (node.style.flexGrow !== String(share)) node.style.flexGrow = share;
  });
  mark(line, "data-many", parts.length > 12 ? "" : null);
}

// Draws a provider's slots, one part for each if there are few.
export function drawSlots(line, { limit, in_flight: used, usable }, most = MOST_SEGMENTS) {
  if (Math.max(limit, used) > most) {
    segments(line, [
      ["used", used],
      ["held", Math.max(0, limit - Math.max(usable, used))],
      ["free", Math.max(0, Math.max(usable, used) - used)],
    ]);
    return;
  }
  const kinds = Array.from({ length: Math.max(limit, used) }, (_, index) => {
    if (index < used) return [index >= limit ? "over" : "used", 1];
    return [index < Math.max(usable, used) ? "free" : "held", 1];
  });
  segments(line, kinds);
}

// Draws a provider's line by key.
export function drawLine(line, provider) {
  const parts = callers(provider).map(([, waiting, kind]) => [kind, waiting]);
  segments(line, [...parts, ["free", Math.max(0, provider.max_queue - provider.queued)]]);
}

// The keys in a line with their counts and colours, those with most first.
export function callers({ queued_by_caller: waiting }) {
  const all = Object.entries(waiting).sort(([one, many], [other, more]) => more - many || (one < other ? -1 : 1));
  const named = all.slice(0, MOST_CALLERS).map(([name, number]) => [name, number, hue(name)]);
  const rest = all.slice(MOST_CALLERS);
  if (rest.length) {
    const number = rest.reduce((sum, [, more]) => sum + more, 0);
    named.push([plural(rest.length, "other key", "other keys"), number, "hue-rest"]);
  }
  return named;
}

// Fills a legend with names, numbers and colours.
export function drawLegend(legend, named) {
  show(legend, named.length > 0);
  const items = named.map((_, index) => legend.children[index] ?? el("li", {}, el("i"), el("span")));
  arrange(legend, items);
  items.forEach((item, index) => {
    const [name, number, kind] = named[index];
    mark(item.firstChild, "class", kind);
    say(item.lastChild, `${name} ${typeof number === "number" ? count(number) : number}`);
  });
}
