// A row of the table of requests: one request, or a flood of requests that were turned away alike.

import { el, mark, say } from "./dom.js";
import { NOTHING, PHASES, clock, count, day, ms, outcomeWords, seconds } from "./format.js";
import { whyOf } from "./why.js";

export const COLUMNS = ["Time", "Outcome", "Why", "Request", "Key", "API", "Asked for", "Ran on", "Queue", "First token", "Total", "Tokens in / out"];
const NUMBERS = 8;
const [TIME, OUTCOME, WHY, REQUEST, KEY, API, ASKED, RAN, QUEUE, FIRST, TOTAL, TOKENS] = COLUMNS.keys();

// A row of one request; `toggle` opens and closes its timeline.
export function row(toggle) {
  const { node, cells, button } = bare(toggle);
  let drawn = null;
  return { node, draw };

  function draw(request, { isOpen, now }) {
    if (drawn !== request) {
      fill(node, cells, button, request);
      drawn = request;
    }
    mark(button, "aria-expanded", String(isOpen));
    if (request.phase === "end") return;
    const lasted = Math.max(0, now - request.at);
    say(cells[TOTAL], ms(lasted));
    if (request.phase === "wait") say(cells[QUEUE], ms(lasted));
  }
}

// A row of a flood; `toggle` shows its requests.
export function fold(toggle) {
  const { node, cells, button } = bare(toggle);
  mark(node, "data-fold", "");
  return { node, draw };

  function draw(group, isOpen) {
    const [latest, earliest] = [group[0], group.at(-1)];
    fill(node, cells, button, latest);
    const lasted = (latest.at - earliest.at) / 1_000;
    say(button, `${count(group.length)} requests`);
    mark(button, "title", `The latest is ${latest.request_id}`);
    mark(cells[REQUEST], "data-plain", "");
    say(cells[QUEUE], NOTHING);
    say(cells[ASKED], lasted >= 1 ? `within ${seconds(Math.ceil(lasted))}` : "at once");
    say(cells[TOTAL], NOTHING);
    mark(button, "aria-expanded", String(isOpen));
  }
}

function bare(toggle) {
  const cells = COLUMNS.map((name, index) =>
    el("td", { role: "cell", "data-label": name, class: index >= NUMBERS ? "number" : null }),
  );
  cells[OUTCOME].append(el("span", { class: "tag" }));
  const button = el("button", { type: "button", class: "row-open", on: { click: toggle } });
  cells[REQUEST].append(button);
  const node = el("tr", { role: "row" }, ...cells);
  node.addEventListener("click", (event) => {
    // A click that ends a selection opens nothing.
    if (event.target.closest("button") === null && getSelection().isCollapsed) toggle();
  });
  return { node, cells, button };
}

function fill(node, cells, button, request) {
  const isOver = request.phase === "end";
  const [word, tone] = isOver ? outcomeWords(request.outcome) : PHASES[request.phase];
  mark(node, "data-phase", isOver ? "end" : "live");
  say(cells[TIME], clock(request.at));
  mark(cells[TIME], "title", day(request.at));
  const tag = cells[OUTCOME].firstChild;
  say(tag, word);
  mark(tag, "data-tone", tone);
  mark(cells[OUTCOME], "title", [request.status && `status ${request.status}`, request.code].filter(Boolean).join(", ") || null);
  const why = whyOf(request);
  say(cells[WHY], why || NOTHING);
  mark(cells[WHY], "title", [why, request.reason ?? request.code].filter(Boolean).join(" · ") || null);
  say(button, request.request_id);
  mark(button, "title", request.request_id);
  say(cells[KEY], request.caller ?? NOTHING);
  say(cells[API], request.dialect);
  say(cells[ASKED], request.asked ?? (request.caller ? "the default" : NOTHING));
  mark(cells[ASKED], "title", request.asked);
  const ran = request.provider ? [request.provider, request.model].filter(Boolean).join("/") : NOTHING;
  const notes = [request.attempts > 1 && `call ${request.attempts}`, request.is_resumed && "resumed"].filter(Boolean);
  say(cells[RAN], [ran, ...notes].join(", "));
  mark(cells[RAN], "title", [ran, ...notes].join(", "));
  say(cells[QUEUE], ms(request.queue_ms));
  mark(cells[QUEUE], "title", request.load_ms === null ? null : `${ms(request.load_ms)} of it for the load of the model`);
  say(cells[FIRST], ms(request.first_ms));
  say(cells[TOTAL], ms(request.total_ms));
  const counts = [request.prompt_tokens, request.completion_tokens];
  say(cells[TOKENS], counts.every((tokens) => tokens === null) ? NOTHING : counts.map(count).join(" / "));
}
