// Curves of the last five minutes with an axis, marks of what was changed, and one cursor for all.

import { arrange, el, mark, say, show, svg } from "./dom.js";
import { seconds } from "./format.js";
import { SAMPLES } from "./past.js";

const WIDTH = 600;
const HEIGHT = 84;
const MINUTES = [4, 3, 2, 1];

// How many seconds ago the cursor stands, on every curve; null without one.
let cursor = null;
const drawn = new Set();

// A chart called `name`. Use `update({ series, unit, marks, now })`: a series is [label, class, samples]; they are
// stacked. `now` is the time of the last sample in milliseconds.
export function curve(name) {
  const grid = svg("g", { class: "curve-grid" }, ...MINUTES.map((minute) => line(x(minute * 60))));
  const areas = svg("g", {});
  const marks = svg("g", { class: "curve-marks" });
  const pointer = line(-5);
  mark(pointer, "class", "curve-cursor");
  const drawing = svg(
    "svg",
    { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", role: "img", class: "curve-drawing" },
    grid,
    areas,
    marks,
    pointer,
  );
  const top = el("span", { class: "curve-top" });
  const said = el("span", { class: "curve-said" });
  const legend = el("ul", { class: "legend" });
  const letters = el("div", { class: "curve-letters", "aria-hidden": "true" });
  const labels = MINUTES.map((minute) => el("span", {}, `−${minute} min`));
  const axis = el("div", { class: "curve-axis", "aria-hidden": "true" }, ...labels, el("span", {}, "now"));
  const plot = el("div", { class: "curve-plot" }, drawing, top, letters);
  const head = el("div", { class: "curve-head" }, el("span", { class: "meter-name" }, name), said);
  const node = el("figure", { class: "curve" }, head, plot, axis, legend);
  let latest = null;
  plot.addEventListener("pointermove", (event) => {
    const box = plot.getBoundingClientRect();
    point(Math.round((1 - (event.clientX - box.left) / box.width) * (SAMPLES - 1)));
  });
  plot.addEventListener("pointerleave", () => point(null));
  const chart = { node, update, follow };
  drawn.add(chart);
  return chart;

  function update(content) {
    latest = content;
    const { series, unit, now } = content;
    const length = Math.max(0, ...series.map(([, , samples]) => samples.length));
    const totals = Array.from({ length }, (_, index) => series.reduce((sum, [, , samples]) => sum + (samples[index] ?? 0), 0));
    const highest = Math.max(0, ...totals);
    const scale = highest || 1;
    const below = new Array(length).fill(0);
    const paths = series.map(([, kind, samples]) => {
      const path = area(samples, below, scale);
      samples.forEach((sample, index) => (below[index] += sample));
      return [kind, path];
    });
    const nodes = paths.map((_, index) => areas.children[index] ?? svg("path", {}));
    arrange(areas, nodes);
    nodes.forEach((path, index) => {
      mark(path, "class", `curve-area ${paths[index][0]}`);
      mark(path, "d", paths[index][1]);
    });
    say(top, highest ? unit(highest) : "");
    const named = series.filter(([label, , samples]) => label && samples.some((sample) => sample > 0));
    show(legend, named.length > 0);
    const items = named.map((_, index) => legend.children[index] ?? el("li", {}, el("i"), el("span")));
    arrange(legend, items);
    items.forEach((item, index) => {
      mark(item.firstChild, "class", named[index][1]);
      say(item.lastChild, named[index][0]);
    });
    drawMarks(content.marks, now);
    mark(drawing, "aria-label", `${name}, last 5 minutes: now ${unit(totals.at(-1) ?? 0)}, at most ${unit(highest)}`);
    follow();
  }

  function drawMarks(all, now) {
    const seen = all.map((one) => ({ ...one, ago: (now - one.at) / 1_000 })).filter(({ ago }) => ago >= 0 && ago < SAMPLES - 1);
    const lines = seen.map((_, index) => marks.children[index] ?? line(0));
    const tags = seen.map((_, index) => letters.children[index] ?? el("span"));
    arrange(marks, lines);
    arrange(letters, tags);
    seen.forEach(({ ago, letter, words }, index) => {
      const at = x(ago);
      for (const end of ["x1", "x2"]) mark(lines[index], end, at.toFixed(1));
      say(tags[index], letter);
      mark(tags[index], "title", `${words} ${seconds(ago)} ago`);
      tags[index].style.left = `${((at / WIDTH) * 100).toFixed(2)}%`;
    });
  }

  // Draws the cursor, and says the values there; without one the present values.
  function follow() {
    if (!latest) return;
    const at = cursor === null ? -5 : x(cursor).toFixed(1);
    for (const end of ["x1", "x2"]) mark(pointer, end, at);
    const value = (samples) => samples[samples.length - 1 - (cursor ?? 0)] ?? 0;
    const many = latest.series.filter(([label, , samples]) => label && value(samples) > 0);
    const total = latest.series.reduce((sum, [, , samples]) => sum + value(samples), 0);
    const parts = many.length > 1 ? `: ${many.map(([label, , samples]) => `${label} ${latest.unit(value(samples))}`).join(", ")}` : "";
    const when = cursor === null ? "now" : `${seconds(cursor)} ago`;
    say(said, `${latest.unit(total)} ${when}${parts}`);
  }
}

// Moves the cursor of every curve.
function point(ago) {
  const next = ago === null ? null : Math.min(SAMPLES - 1, Math.max(0, ago));
  if (next === cursor) return;
  cursor = next;
  for (const chart of drawn) {
    if (chart.node.isConnected) chart.follow();
    else if (!chart.node.parentNode) drawn.delete(chart);
  }
}

function line(at) {
  return svg("line", { x1: at, x2: at, y1: 0, y2: HEIGHT, "vector-effect": "non-scaling-stroke" });
}

function x(ago) {
  return WIDTH - ago * (WIDTH / (SAMPLES - 1));
}

function area(samples, below, scale) {
  if (samples.length === 0) return "M0 0";
  const y = (value) => (HEIGHT - (value / scale) * (HEIGHT - 4)).toFixed(1);
  const at = (index) => x(samples.length - 1 - index).toFixed(1);
  const upper = samples.map((sample, index) => `${at(index)} ${y(below[index] + sample)}`);
  const lower = samples.map((_, index) => `${at(index)} ${y(below[index])}`).reverse();
  return `M${[...upper, ...lower].join("L")}Z`;
}
