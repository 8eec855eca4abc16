// What became of a request, step by step: in line, called, failed, answering, over.

import { arrange, el, mark, say } from "./dom.js";
import { ms, outcomeWords, plural } from "./format.js";
import { COLUMNS } from "./request_row.js";
import { whyOf } from "./why.js";

// The class of the time after each step.
const KINDS = { begin: "free", wait: "held", call: "used", failed: "over", first: "hue-1" };

export function timeline() {
  const line = el("div", { class: "meter-bar", "aria-hidden": "true" });
  const list = el("ol", { class: "steps" });
  const cell = el("td", { role: "cell", colspan: COLUMNS.length }, line, list);
  const node = el("tr", { role: "row", class: "timeline" }, cell);
  return { node, draw };

  function draw(request, now) {
    const end = request.total_ms ?? Math.max(0, now - request.at);
    const steps = [{ at_ms: 0, phase: "begin" }, ...(request.steps ?? [])];
    const parts = steps.map((step, index) => [KINDS[step.phase], Math.max(0, (steps[index + 1]?.at_ms ?? end) - step.at_ms)]);
    const spans = parts.map((_, index) => line.children[index] ?? el("span"));
    arrange(line, spans);
    spans.forEach((span, index) => {
      mark(span, "class", parts[index][0]);
      span.style.flexGrow = Math.max(parts[index][1], end / 200);
    });
    const sentences = [...worded(steps), last(request, end)];
    const items = sentences.map((_, index) => list.children[index] ?? el("li", {}, el("span", { class: "time" }), el("span")));
    arrange(list, items);
    items.forEach((item, index) => {
      say(item.firstChild, sentences[index][0]);
      say(item.lastChild, sentences[index][1]);
    });
  }
}

function worded(steps) {
  let calls = 0;
  return steps.map((step) => {
    const place = [step.provider, step.model].filter(Boolean).join("/");
    if (step.phase === "call") calls += 1;
    const words = {
      begin: "arrived",
      wait: `waits in the line of ${place}`,
      call: `call ${calls} to ${place}`,
      failed: `call ${calls} failed: ${step.cause}`,
      first: "the answer begins",
    };
    return [step.at_ms ? `+${ms(step.at_ms)}` : "0 ms", words[step.phase] ?? step.phase];
  });
}

function last(request, end) {
  if (request.phase !== "end") return [`+${ms(end)}`, "now"];
  const why = whyOf(request);
  const calls = request.attempts > 1 ? `, ${plural(request.attempts, "call", "calls")}` : "";
  return [`+${ms(end)}`, `${outcomeWords(request.outcome)[0]}${why ? `: ${why}` : ""}, status ${request.status}${calls}`];
}
