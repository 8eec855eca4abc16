// One card for each provider: its present state, its last minutes, and its knobs.

import { announce, arrange, el, mark, say, show } from "./dom.js";
import { NOTHING, brief, clock, count, left, ms, plural, rate } from "./format.js";
import { knobs } from "./knobs.js";
import { models } from "./models.js";
import { SAMPLES, spark } from "./spark.js";

// More slots than this are drawn as one bar.
const MOST_SEGMENTS = 40;
const HUES = 8;
// Callers beyond these share one colour and one name.
const MOST_CALLERS = 7;

const grid = document.getElementById("providers");
const cards = new Map();
const hues = new Map();
// The last minutes of each provider, one sample a second.
const past = new Map();

// Records a sample of every provider; `history`, which comes with a snapshot, has all samples
// before it.
export function rememberProviders(providers, history = null) {
  if (history) past.clear();
  for (const { name, rates } of providers) {
    if (!past.has(name)) past.set(name, history?.[name] ?? { in_flight: [], queued: [], tokens: [] });
    if (!history && rates.sample) add(past.get(name), rates.sample);
  }
}

// Shows these providers, in the order of the configuration.
export function updateProviders(providers) {
  for (const name of cards.keys()) {
    if (!providers.some((provider) => provider.name === name)) cards.delete(name);
  }
  for (const provider of providers) {
    if (!cards.has(provider.name)) cards.set(provider.name, card(provider));
    cards.get(provider.name).update(provider);
  }
  const nodes = providers.map((provider) => cards.get(provider.name).node);
  arrange(grid, nodes.length ? nodes : [el("p", { class: "empty" }, "No provider is configured.")]);
}

// The state of a provider: a word, a tone, and sentences that explain it.
export function stateOf(provider) {
  const notes = [];
  const { breaker, models } = provider;
  for (const model of models) {
    if (model.breaker.state !== "closed") notes.push(`${model.model}: ${breakerWords(model.breaker)}`);
    if (model.cooldown_left_ms > 0) {
      notes.push(`${model.model}: asked to be left alone, ${left(model.cooldown_left_ms)} left`);
    }
  }
  for (const request of provider.quarantined) {
    notes.push(
      `a request of ${request.caller} made ${request.model} fail ${request.crashes} times (${request.why}): ` +
        `turned away, ${left(request.left_ms)} left`,
    );
  }
  if (provider.usable < provider.limit && breaker.state === "closed") {
    notes.push(`${count(provider.usable)} of ${plural(provider.limit, "slot", "slots")} usable while it recovers`);
  }
  if (breaker.state !== "closed") notes.unshift(breakerWords(breaker));
  if (breaker.state === "auth_failed") return { word: "Key refused", tone: "bad", notes };
  if (breaker.state === "open") return { word: "Left alone", tone: "bad", notes };
  if (provider.draining) return { word: "Draining", tone: "warn", notes: ["takes no new work", ...notes] };
  if (breaker.state === "half_open") return { word: "On probation", tone: "warn", notes };
  if (models.some((model) => model.breaker.state !== "closed")) return { word: "Model left alone", tone: "warn", notes };
  if (provider.quarantined.length) return { word: "Request in quarantine", tone: "warn", notes };
  if (provider.cooldown_left_ms > 0) return { word: "Cooling down", tone: "warn", notes };
  // A few pushed-out requests are not an incident; more than one a second are.
  if (provider.refused_last_minute > 60) {
    notes.unshift(`${brief(provider.refused_last_minute)} requests turned away in the last minute`);
    return { word: "Turning away", tone: "warn", notes };
  }
  return { word: "Taking work", tone: "good", notes };
}

function breakerWords({ state, left_ms: remaining }) {
  const next = remaining > 0 ? `, next probe in ${left(remaining)}` : "";
  switch (state) {
    case "open":
      return `breaker open after failures${next}`;
    case "half_open":
      return "breaker half open: the next call tries whether it works again";
    case "auth_failed":
      return `it does not accept the gateway’s key${next}`;
    default:
      return `breaker ${state}`;
  }
}

function card(first) {
  const badge = el("p", { class: "badge" });
  const notes = el("ul", { class: "notes" });
  const slots = meter("Slots");
  const line = meter("Line");
  const wait = el("p", { class: "under" });
  const figures = figureList();
  const charts = {
    in_flight: spark("In flight", count),
    queued: spark("Waiting", count),
    tokens: spark("Tokens / s", rate),
  };
  const trouble = el("p", { class: "trouble" });
  const loads = models(first.name);
  const controls = knobs(first.name);
  const title = `provider-${first.name}`;
  const node = el(
    "article",
    { class: "card", "aria-labelledby": title, "data-provider": first.name },
    el(
      "header",
      { class: "card-head" },
      el("div", {}, el("h3", { id: title }, first.name), el("p", { class: "quiet" }, about(first))),
      badge,
    ),
    notes,
    slots.node,
    line.node,
    wait,
    loads.node,
    figures.node,
    el("div", { class: "sparks" }, ...Object.values(charts).map((chart) => chart.node)),
    trouble,
    controls.node,
  );
  let word = null;
  return { node, update };

  function update(provider) {
    const state = stateOf(provider);
    say(badge, state.word);
    mark(badge, "data-tone", state.tone);
    if (word !== null && word !== state.word) announce(`${provider.name}: ${state.word}`);
    word = state.word;
    arrangeNotes(notes, state.notes);
    updateSlots(slots, provider);
    updateLine(line, wait, provider);
    loads.update(provider);
    figures.update(provider);
    const history = past.get(provider.name);
    charts.in_flight.update(history.in_flight, { ceiling: provider.limit, now: provider.in_flight });
    charts.queued.update(history.queued, { now: provider.queued });
    charts.tokens.update(smooth(history.tokens), { now: provider.rates.tokens_per_second });
    const failed = provider.last_error;
    show(trouble, failed !== null);
    if (failed) say(trouble, `Last failure ${clock(failed.at * 1_000)}: ${failed.message}`);
    mark(trouble, "title", failed?.message);
    controls.update(provider);
  }
}

function about(provider) {
  return `${provider.backend} · ${provider.trust} · ${provider.default_model}`;
}

function arrangeNotes(list, notes) {
  show(list, notes.length > 0);
  const items = notes.map((note, index) => list.children[index] ?? el("li"));
  arrange(list, items);
  items.forEach((item, index) => say(item, capital(notes[index])));
}

// A name, a number in words, and a bar.
function meter(name) {
  const words = el("span", { class: "meter-words" });
  const bar = el("div", { class: "meter-bar", "aria-hidden": "true" });
  const legend = el("ul", { class: "legend" });
  const node = el(
    "div",
    { class: "meter" },
    el("div", { class: "meter-head" }, el("span", { class: "meter-name" }, name), words),
    bar,
    legend,
  );
  return { node, words, bar, legend };
}

function updateSlots({ words, bar, legend }, provider) {
  const { limit, in_flight: used, free, usable } = provider;
  const over = used > limit ? `, ${count(used - limit)} above the limit until they end` : "";
  const found = provider.max_concurrency === "auto" ? " (found out)" : "";
  say(words, `${count(used)} of ${count(limit)} used${found}, ${count(free)} free${over}`);
  show(legend, false);
  if (Math.max(limit, used) > MOST_SEGMENTS) {
    segments(bar, [
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
  segments(bar, kinds);
}

// Fills a bar with parts, each with a class and a share.
function segments(bar, parts) {
  const shown = parts.filter(([, share]) => share > 0);
  const nodes = shown.map((_, index) => bar.children[index] ?? el("span"));
  arrange(bar, nodes);
  nodes.forEach((node, index) => {
    const [kind, share] = shown[index];
    mark(node, "class", kind);
    node.style.flexGrow = share;
  });
  mark(bar, "data-many", parts.length > 12 ? "" : null);
}

function updateLine({ words, bar, legend }, wait, provider) {
  const { queued, max_queue: most } = provider;
  const callers = Object.entries(provider.queued_by_caller).sort(([, one], [, other]) => other - one);
  const named = callers.slice(0, MOST_CALLERS).map(([name, waiting]) => [name, waiting, `hue-${hue(name)}`]);
  const rest = callers.slice(MOST_CALLERS);
  if (rest.length) {
    const waiting = rest.reduce((sum, [, count]) => sum + count, 0);
    named.push([plural(rest.length, "other key", "other keys"), waiting, "hue-rest"]);
  }
  say(words, queued ? `${count(queued)} of ${count(most)} places taken` : `empty, ${plural(most, "place", "places")}`);
  segments(bar, [...named.map(([, waiting, kind]) => [kind, waiting]), ["free", Math.max(0, most - queued)]]);
  show(legend, named.length > 0);
  const items = named.map((_, index) => legend.children[index] ?? el("li", {}, el("i"), el("span")));
  arrange(legend, items);
  items.forEach((item, index) => {
    const [name, waiting, kind] = named[index];
    mark(item.firstChild, "class", kind);
    say(item.lastChild, `${name} ${count(waiting)}`);
  });
  const newcomer = provider.predicted_wait_ms ? `a newcomer would wait ${ms(provider.predicted_wait_ms)}` : "a newcomer starts at once";
  say(wait, queued ? `Oldest has waited ${ms(provider.oldest_wait_ms)}; ${newcomer}` : capital(newcomer));
}

function capital(text) {
  return text.charAt(0).toUpperCase() + text.slice(1);
}

// A key has the same colour on every card while the page is open.
function hue(caller) {
  if (!hues.has(caller)) hues.set(caller, hues.size % HUES);
  return hues.get(caller);
}

function figureList() {
  const rows = [
    ["First token", (provider) => ms(provider.rates.first_ms), "Mean of the last minute, from the call to the first piece of the answer"],
    ["Tokens / s", (provider) => rate(provider.rates.tokens_per_second), "Completion tokens, mean of the last minute; counted when an answer ends"],
    ["Calls / s", (provider) => rate(provider.rates.calls_per_second), "Mean of the last minute"],
    ["Slot held for", (provider) => ms(provider.hold_ms), "Average time from connect to last byte"],
    ["Calls, failed", (provider) => `${brief(provider.attempts)}, ${brief(provider.failures)}`, "Since the start"],
    ["Retries left", (provider) => `${count(provider.retry_budget_left)}${provider.retries_in_flight ? `, ${count(provider.retries_in_flight)} run` : ""}`, "Retries that could begin now"],
    ["Refused", refused, "Turned away at the door or out of the line, since the start"],
    ["Tokens in, out", (provider) => `${brief(provider.prompt_tokens)}, ${brief(provider.completion_tokens)}`, "Since the start"],
  ];
  const values = rows.map(() => el("dd", {}, NOTHING));
  const cells = rows.map(([name, , title], index) => el("div", { title }, el("dt", {}, name), values[index]));
  const node = el("dl", { class: "facts" }, ...cells);
  return { node, update: (provider) => rows.forEach(([, of], index) => say(values[index], of(provider))) };
}

function refused(provider) {
  return brief(Object.values(provider.refused).reduce((sum, count) => sum + count, 0));
}

function add(known, sample) {
  for (const name of ["in_flight", "queued", "tokens"]) {
    known[name].push(sample[name]);
    if (known[name].length > SAMPLES) known[name].shift();
  }
}

// Tokens are counted when an answer ends; a mean over ten seconds shows the rate.
function smooth(samples) {
  let sum = 0;
  return samples.map((sample, index) => {
    sum += sample - (index >= 10 ? samples[index - 10] : 0);
    return sum / Math.min(index + 1, 10);
  });
}
