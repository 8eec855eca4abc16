// The table of requests: those under way on top, the longest first; below them the latest that
// ended, of which floods take one row.

import { arrange, el, mark, say, show } from "./dom.js";
import { count, outcomeWords, plural } from "./format.js";
import { fold, row } from "./request_row.js";
import { timeline } from "./timeline.js";
import { read, write } from "./url.js";
import { whyOf } from "./why.js";

// More than the gateway itself remembers.
const KEPT = 600;
const LIVE_SHOWN = 60;
const SHOWN = 120;
// So many of one kind are a flood.
const FLOOD = 5;

const body = document.querySelector("#requests tbody");
const empty = document.getElementById("requests-empty");
const counted = document.getElementById("requests-count");
const filter = document.getElementById("filter");
const which = document.getElementById("which");
const pause = document.getElementById("pause");

let requests = new Map();
const rows = new Map();
const folds = new Map();
const details = new Map();
// The rows that are open: numbers of requests, and the names of floods.
const opened = new Set();
// The server's time minus the page's, so that running times do not depend on the operator's clock.
let skew = 0;
let redraw = () => {};

export function startRequests(changed) {
  redraw = changed;
  filter.value = read("q");
  which.value = read("which") || "all";
  if (!which.value) which.value = "all";
  const filtered = () => {
    write("q", filter.value.trim());
    write("which", which.value === "all" ? "" : which.value);
    changed();
  };
  filter.addEventListener("input", filtered);
  which.addEventListener("change", filtered);
  pause.addEventListener("click", () => {
    const paused = pause.getAttribute("aria-pressed") === "true";
    mark(pause, "aria-pressed", !paused);
    say(pause, paused ? "Pause" : "Resume");
    changed();
  });
}

// Shows the requests that have all these words.
export function filterRequests(words) {
  filter.value = words;
  filter.dispatchEvent(new Event("input"));
  document.getElementById("requests-title").scrollIntoView({ block: "start" });
  filter.focus({ preventScroll: true });
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

// Forgets requests that have ended without word: in a flood the gateway does not tell every end.
export function keepLive(numbers) {
  const live = new Set(numbers);
  for (const [number, request] of requests) {
    if (!isOver(request) && !live.has(number)) requests.delete(number);
  }
}

// Draws the changed rows. While paused, rows keep their content and their place.
export function drawRequests(underWay) {
  if (pause.getAttribute("aria-pressed") === "true") return;
  const words = filter.value.trim().toLowerCase();
  const all = [...requests.values()];
  const found = all.filter((request) => isWanted(request) && matches(request, words));
  const live = found.filter((request) => !isOver(request)).sort(longestFirst);
  const over = found.filter(isOver).sort((one, other) => other.number - one.number);
  const groups = folded(over);
  forget();
  const shown = [...live.slice(0, LIVE_SHOWN).map((request) => [request]), ...groups.slice(0, SHOWN)];
  arrange(body, shown.flatMap(drawn));
  const known = all.filter((request) => !isOver(request)).length;
  say(counted, all.length || underWay ? summary(Math.max(underWay, known), all.length - known, found.length < all.length ? found.length : null) : "");
  show(empty, shown.length === 0);
  if (all.length) say(empty, "No request matches the filter.");
}

export function setHint(text) {
  if (requests.size === 0) say(empty, text);
}

function summary(live, over, found) {
  const filtered = found === null ? "" : `, ${count(found)} match`;
  return `${count(live)} under way, ${plural(over, "ended request", "ended requests")} remembered${filtered}`;
}

// Those that a provider works on, then those that wait; in each the oldest first.
function longestFirst(one, other) {
  const waits = (request) => Number(request.phase === "wait" || request.phase === "begin");
  return waits(one) - waits(other) || one.at - other.at || one.number - other.number;
}

// Groups ended requests: those that were turned away alike are one group where the latest stands.
function folded(over) {
  const groups = new Map();
  for (const request of over) {
    const kind = floodOf(request) ?? `request ${request.number}`;
    if (groups.has(kind)) groups.get(kind).push(request);
    else groups.set(kind, [request]);
  }
  const all = [...groups.values()].flatMap((group) => (group.length < FLOOD ? group.map((request) => [request]) : [group]));
  return all.sort(([one], [other]) => other.number - one.number);
}

// What requests of one flood have in common; null for a request that was not turned away.
function floodOf(request) {
  if (request.outcome === "ok" || request.attempts > 0) return null;
  return ["flood", request.caller, request.provider, request.outcome, request.reason ?? request.code].join("\n");
}

// The rows of a group of requests.
function drawn(group) {
  if (group.length === 1) return requestRows(group[0]);
  const kind = floodOf(group[0]);
  if (!folds.has(kind)) folds.set(kind, fold(() => toggle(kind)));
  const known = folds.get(kind);
  known.draw(group, opened.has(kind));
  return opened.has(kind) ? [known.node, ...group.flatMap(requestRows)] : [known.node];
}

function requestRows(request) {
  if (!rows.has(request.number)) rows.set(request.number, row(() => toggle(request.number)));
  const known = rows.get(request.number);
  const isOpen = opened.has(request.number);
  known.draw(request, { isOpen, now: Date.now() + skew });
  if (!isOpen) return [known.node];
  if (!details.has(request.number)) details.set(request.number, timeline());
  details.get(request.number).draw(request, Date.now() + skew);
  return [known.node, details.get(request.number).node];
}

function toggle(name) {
  if (!opened.delete(name)) opened.add(name);
  redraw();
}

// Drops the rows of forgotten requests.
function forget() {
  for (const number of rows.keys()) {
    if (requests.has(number)) continue;
    rows.delete(number);
    details.delete(number);
    opened.delete(number);
  }
  if (folds.size <= KEPT) return;
  folds.clear();
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
    request.reason,
    whyOf(request),
    isOver(request) && outcomeWords(request.outcome)[0],
  ];
  const whole = text.join("\n").toLowerCase();
  return words.split(/\s+/).every((word) => whole.includes(word));
}
