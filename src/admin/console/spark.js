// A line chart of the last minutes, with its present value as text beside it.

import { el, mark, say, svg } from "./dom.js";
import { SAMPLES } from "./past.js";

const WIDTH = 300;
const HEIGHT = 36;

// A chart called `name`; `unit` writes a value. Use `update(samples, ceiling)`.
export function spark(name, unit) {
  const area = svg("path", { class: "spark-area" });
  const line = svg("path", { class: "spark-line", "vector-effect": "non-scaling-stroke" });
  const top = svg("line", { class: "spark-ceiling", x1: 0, x2: WIDTH, "vector-effect": "non-scaling-stroke" });
  const drawing = svg(
    "svg",
    { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", role: "img", class: "spark-drawing" },
    area,
    top,
    line,
  );
  const value = el("span", { class: "spark-value" });
  const peak = el("span", { class: "spark-peak" });
  const node = el(
    "div",
    { class: "spark" },
    el("div", { class: "spark-head" }, el("span", { class: "spark-name" }, name), value, peak),
    drawing,
  );
  return { node, update };

  // `now` is the value shown as text, if that is not the last sample. A ceiling is drawn as a
  // dashed line.
  function update(samples, { ceiling = null, now = samples.at(-1) ?? null } = {}) {
    const known = samples.filter((sample) => sample !== null);
    const highest = known.length ? Math.max(...known) : 0;
    const scale = Math.max(highest, ceiling ?? 0, 1);
    const x = (index) => WIDTH - (samples.length - 1 - index) * (WIDTH / (SAMPLES - 1));
    const y = (sample) => HEIGHT - 1 - (sample / scale) * (HEIGHT - 3);
    let path = "";
    let first = null;
    let last = null;
    samples.forEach((sample, index) => {
      if (sample === null) return;
      path += `${path ? "L" : "M"}${x(index).toFixed(1)} ${y(sample).toFixed(1)}`;
      first ??= index;
      last = index;
    });
    mark(line, "d", path || "M0 0");
    mark(area, "d", path ? `${path}L${x(last).toFixed(1)} ${HEIGHT}L${x(first).toFixed(1)} ${HEIGHT}Z` : "M0 0");
    const height = ceiling === null ? -5 : y(ceiling).toFixed(1);
    mark(top, "y1", height);
    mark(top, "y2", height);
    say(value, unit(now));
    say(peak, known.length ? `peak ${unit(highest)}` : "");
    mark(drawing, "aria-label", `${name}, last 5 minutes: now ${unit(now)}, peak ${unit(highest)}`);
  }
}
