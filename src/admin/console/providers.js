// One row for each provider, those in trouble first. A row opens to the provider's card.

import { bar, callers, drawLine, drawSlots } from "./bars.js";
import { card } from "./card.js";
import { announce, arrange, el, mark, say, show } from "./dom.js";
import { NOTHING, bytes, clock, count, ms, rate } from "./format.js";
import { stateOf, trouble } from "./state.js";
import { read, write } from "./url.js";

// A row's bar has at most so many parts.
const SEGMENTS = 16;

const list = document.getElementById("providers");
const head = document.getElementById("providers-head");
const rows = new Map();
const opened = new Set(read("open").split(",").filter(Boolean));
// A single provider is open from the beginning, unless the operator closes it.
let isUntouched = opened.size === 0;
let latest = { providers: [], now: 0 };
let order = [];

// Shows these providers, which are in the order of the configuration; `now` is the gateway's time in milliseconds.
export function updateProviders(providers, now) {
  latest = { providers, now };
  for (const name of rows.keys()) {
    if (!providers.some((provider) => provider.name === name)) rows.delete(name);
  }
  if (isUntouched && providers.length === 1) opened.add(providers[0].name);
  for (const provider of providers) {
    if (!rows.has(provider.name)) rows.set(provider.name, row(provider));
    rows.get(provider.name).update(provider, now);
  }
  const nodes = sorted(providers).map((provider) => rows.get(provider.name).node);
  show(head, nodes.length > 0);
  const focused = document.activeElement;
  arrange(list, nodes.length ? nodes : [el("p", { class: "empty" }, "No provider is configured.")]);
  if (focused !== document.activeElement && list.contains(focused)) focused.focus({ preventScroll: true });
}

// Rows keep their places while somebody points at one or types into one.
function sorted(providers) {
  const isHeld = list.matches(":hover") || list.querySelector("input:focus") !== null;
  const place = (provider) => (isHeld ? order.indexOf(provider.name) : -trouble(provider));
  const all = [...providers].sort((one, other) => place(one) - place(other));
  order = all.map(({ name }) => name);
  return all;
}

function toggle(name) {
  isUntouched = false;
  if (!opened.delete(name)) opened.add(name);
  write("open", [...opened].join(","));
  updateProviders(latest.providers, latest.now);
}

function row(first) {
  const { name } = first;
  const button = el("button", { type: "button", class: "row-name", "aria-controls": `card-${name}`, on: { click: () => toggle(name) } }, name);
  const badge = el("span", { class: "badge" });
  const slots = { bar: bar(), words: el("span", { class: "row-number" }) };
  const line = { bar: bar(), words: el("span", { class: "row-number" }) };
  const numbers = ["Oldest wait", "Newcomer", "p95 first", "Served/s", "Refused/s", "Failed/s"].map((label) => cell(label, "number"));
  const models = cell("Models", "row-models");
  const strip = el(
    "div",
    { class: "row" },
    el("h3", {}, button),
    el("div", { class: "row-state" }, badge),
    el("div", { class: "row-bar", "data-label": "Slots" }, slots.bar, slots.words),
    el("div", { class: "row-bar", "data-label": "Line" }, line.bar, line.words),
    ...numbers.map(({ node }) => node),
    models.node,
  );
  const node = el("article", { class: "provider", "aria-label": name, "data-provider": name }, strip);
  strip.addEventListener("click", (event) => {
    if (event.target.closest("button") === null) toggle(name);
  });
  let details = null;
  let word = null;
  return { node, update };

  function update(provider, now) {
    const state = stateOf(provider);
    say(badge, state.word);
    mark(badge, "data-tone", state.tone);
    mark(badge, "title", state.notes.join("\n") || null);
    if (word !== null && word !== state.word) announce(`${name}: ${state.word}`);
    word = state.word;
    drawSlots(slots.bar, provider, SEGMENTS);
    say(slots.words, `${count(provider.in_flight)} of ${count(provider.limit)}`);
    drawLine(line.bar, provider);
    say(line.words, `${count(provider.queued)} of ${count(provider.max_queue)}`);
    mark(line.bar.parentNode, "title", callers(provider).map(([caller, waiting]) => `${caller} ${count(waiting)}`).join("\n") || null);
    drawNumbers(provider);
    const [shown, all] = modelWords(provider);
    models.say(shown);
    mark(models.node, "title", all.join("\n") || null);
    const isOpen = opened.has(name);
    mark(button, "aria-expanded", String(isOpen));
    if (!isOpen) {
      if (details) show(details.node, false);
      return;
    }
    details ??= card(provider);
    if (!details.node.parentNode) node.append(details.node);
    show(details.node, true);
    details.update(provider, now);
  }

  function drawNumbers({ queued, oldest_wait_ms: oldest, predicted_wait_ms: predicted, rates }) {
    const { first_p95_ms: first, served_per_second: served, refused_per_second: refused, failed_per_second: failed } = rates;
    const values = [queued ? ms(oldest) : NOTHING, predicted ? ms(predicted) : NOTHING, ms(first), rate(served), rate(refused), rate(failed)];
    const tones = [null, null, null, null, refused > 0 && "warn", failed > 0 && "bad"];
    values.forEach((value, index) => {
      numbers[index].say(value);
      mark(numbers[index].node, "data-tone", tones[index] || null);
    });
  }
}

function cell(label, kind) {
  const value = el("span", {});
  return { node: el("div", { class: kind, "data-label": label }, value), say: (text) => say(value, text) };
}

// What a server has loaded: a few words, and a line for each model. Of a server whose loads nobody
// schedules only the default model is known.
function modelWords({ models, default_model: main, scheduling }) {
  const known = models.filter(({ load }) => load);
  if (scheduling !== "warm" || known.length === 0) return [main, []];
  const is = (...states) => known.filter(({ load }) => states.includes(load.state));
  const [loaded, loading, cold] = [is("loaded", "leaving"), is("loading"), is("cold", "waiting")];
  const words = [
    ...loaded.map(({ model, load }) => [model, load.size && bytes(load.size)].filter(Boolean).join(" ")),
    ...loading.map(({ model }) => `${model} loading`),
    cold.length && `${count(cold.length)} cold`,
  ].filter(Boolean);
  const lines = known.map(({ model, load }) => {
    const until = load.expires_at && load.state === "loaded" ? `until ${clock(Date.parse(load.expires_at))}` : "";
    return [model, load.state, load.size && bytes(load.size), until].filter(Boolean).join(", ");
  });
  return [words.join(" · "), lines];
}
