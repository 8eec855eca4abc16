// The table of requests: those in progress, and the latest that ended.

import { arrange, el, mark, say, show } from "./dom.js";
import { NOTHING, PHASES, clock, count, day, ms, outcomeWords, plural } from "./format.js";

// As many as the gateway itself remembers, and a few more.
const KEPT = 600;
const SHOWN = 120;
const COLUMNS = ["Time", "Outcome", "Request", "Key", "API", "Asked for", "Ran on", "Queue", "First token", "Total", "Tokens in / out"];
const NUMBERS = 7;

const body = document.querySelector("#requests tbody");
const empty = document.getElementById("requests-empty");
const counted = document.getElementById("requests-count");
const filter = document.getElementById("filter");
const which = document.getElementById("which");
const pause = document.getElementById("pause");

let requests = new Map();
const rows = new Map();
// The server's time minus the page's, so that running times do not depend on the operator's clock.
let skew = 0;

export function startRequests(changed) {
  filter.addEventListener("input", changed);
  which.addEventListener("change", changed);
  pause.addEventListener("click", () => {
    const paused = pause.getAttribute("aria-pressed") === "true";
    mark(pause, "aria-pressed", !paused);
    say(pause, paused ? "Pause" : "Resume");
    changed();
  });
}

export function setClock(seconds) {
  skew = seconds * 1_000 - Date.now();
}

export function replaceRequests(list) {
  requests = new Map(list.map((request) => [request.number, request]));
}

export function addRequest(request) {
  requests.set(request.number, request);
  if (requests.size <= KEPT) return;
  const over = [...requests.values()].filter(isOver).sort((one, other) => one.number - other.number);
  for (const old of over.slice(0, requests.size - KEPT)) requests.delete(old.number);
}

// Draws the changed rows. While paused, rows keep their content and their place.
export function drawRequests() {
  if (pause.getAttribute("aria-pressed") === "true") return;
  const words = filter.value.trim().toLowerCase();
  const all = [...requests.values()].sort((one, other) => other.number - one.number);
  const found = all.filter((request) => isWanted(request) && matches(request, words));
  const shown = found.slice(0, SHOWN);
  for (const number of rows.keys()) {
    if (!requests.has(number)) rows.delete(number);
  }
  arrange(body, shown.map((request) => row(request)));
  const live = all.filter((request) => !isOver(request)).length;
  say(counted, all.length ? summary(live, all.length - live, found.length, shown.length) : "");
  show(empty, shown.length === 0);
  if (all.length) say(empty, "No request matches the filter.");
}

export function setHint(text) {
  if (requests.size === 0) say(empty, text);
}

function summary(live, over, found, shown) {
  const filtered = found < live + over ? `, ${count(found)} match` : "";
  const cut = shown < found ? `, the latest ${count(shown)} shown` : "";
  return `${count(live)} under way, ${plural(over, "ended request", "ended requests")} remembered${filtered}${cut}`;
}

function isOver(request) {
  return request.phase === "end";
}

function isWanted(request) {
  if (which.value === "live") return !isOver(request);
  if (which.value === "failed") return isOver(request) && request.outcome !== "ok";
  return true;
}

function matches(request, words) {
  if (!words) return true;
  const text = [
    request.request_id,
    request.caller,
    request.dialect,
    request.asked,
    request.provider,
    request.model,
    request.outcome,
    request.code,
    outcome(request)[0],
  ];
  const whole = text.join("\n").toLowerCase();
  return words.split(/\s+/).every((word) => whole.includes(word));
}

function row(request) {
  let known = rows.get(request.number);
  if (!known) {
    const cells = COLUMNS.map((name, index) =>
      el("td", { role: "cell", "data-label": name, class: index >= NUMBERS ? "number" : null }),
    );
    cells[1].append(el("span", { class: "tag" }));
    known = { node: el("tr", { role: "row" }, ...cells), cells, drawn: null };
    rows.set(request.number, known);
  }
  if (known.drawn !== request) {
    draw(known, request);
    known.drawn = request;
  }
  if (!isOver(request)) say(known.cells[9], ms(Math.max(0, Date.now() + skew - request.at)));
  return known.node;
}

function draw({ node, cells }, request) {
  const [word, tone] = outcome(request);
  mark(node, "data-phase", isOver(request) ? "end" : "live");
  say(cells[0], clock(request.at));
  mark(cells[0], "title", day(request.at));
  const tag = cells[1].firstChild;
  say(tag, request.code && request.code !== request.outcome ? `${word}: ${request.code}` : word);
  mark(tag, "data-tone", tone);
  mark(cells[1], "title", request.status ? `status ${request.status}` : null);
  say(cells[2], request.request_id);
  mark(cells[2], "title", request.request_id);
  say(cells[3], request.caller ?? NOTHING);
  say(cells[4], request.dialect);
  say(cells[5], request.asked ?? (request.caller ? "the default" : NOTHING));
  mark(cells[5], "title", request.asked);
  const ran = request.provider ? `${request.provider}/${request.model}` : NOTHING;
  const notes = [request.attempts > 1 && `call ${request.attempts}`, request.is_resumed && "resumed"].filter(Boolean);
  say(cells[6], [ran, ...notes].join(", "));
  mark(cells[6], "title", [ran, ...notes].join(", "));
  say(cells[7], ms(request.queue_ms));
  mark(cells[7], "title", request.load_ms === null ? null : `${ms(request.load_ms)} of it for the load of the model`);
  say(cells[8], ms(request.first_ms));
  say(cells[9], ms(request.total_ms));
  const counts = [request.prompt_tokens, request.completion_tokens];
  say(cells[10], counts.every((tokens) => tokens === null) ? NOTHING : counts.map(count).join(" / "));
}

function outcome(request) {
  return isOver(request) ? outcomeWords(request.outcome) : PHASES[request.phase];
}
