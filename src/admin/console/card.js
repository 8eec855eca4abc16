// What a provider's row opens to: its present state, its last minutes, and its knobs.

import { callers, drawLegend, drawLine, drawSlots, hue, meter } from "./bars.js";
import { marksOf } from "./changes.js";
import { curve } from "./curves.js";
import { arrange, el, mark, say, show } from "./dom.js";
import { NOTHING, brief, clock, count, ms, plural, rate } from "./format.js";
import { knobs } from "./knobs.js";
import { models } from "./models.js";
import { remembered } from "./remembered.js";
import { pastOf, smooth } from "./past.js";
import { spark } from "./spark.js";
import { stateOf } from "./state.js";
import { whyWords } from "./why.js";

export function card(first) {
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
  const waits = curve("Oldest wait");
  const refusals = curve("Turned away a second");
  const trouble = el("p", { class: "trouble" });
  const loads = models(first.name);
  const memory = remembered(first.name);
  const controls = knobs(first.name);
  const node = el(
    "div",
    { class: "card", id: `card-${first.name}`, role: "region", "aria-label": `Details of ${first.name}` },
    el(
      "div",
      { class: "card-column" },
      el("p", { class: "quiet" }, `${first.backend} · ${first.trust} · ${first.default_model}`),
      notes,
      slots.node,
      line.node,
      wait,
      loads.node,
      memory.node,
      trouble,
    ),
    el("div", { class: "card-column" }, waits.node, refusals.node, el("div", { class: "sparks" }, ...Object.values(charts).map((chart) => chart.node))),
    el("div", { class: "card-column" }, figures.node, controls.node),
  );
  return { node, update };

  function update(provider, now) {
    arrangeNotes(notes, stateOf(provider).notes);
    say(slots.words, slotWords(provider));
    drawSlots(slots.bar, provider);
    show(slots.legend, false);
    updateLine(line, wait, provider);
    loads.update(provider);
    memory.update(provider);
    figures.update(provider);
    const history = pastOf(provider.name);
    charts.in_flight.update(history.in_flight, { ceiling: provider.limit, now: provider.in_flight });
    charts.queued.update(history.queued, { now: provider.queued });
    charts.tokens.update(smooth(history.tokens), { now: provider.rates.tokens_per_second });
    const marks = marksOf(provider.name);
    waits.update({ series: [["", "curve-plain", history.wait_ms]], unit: ms, marks, now });
    refusals.update({ series: byReason(history.refused), unit: count, marks, now });
    const failed = provider.last_error;
    show(trouble, failed !== null);
    if (failed) say(trouble, `Last failure ${clock(failed.at * 1_000)}: ${failed.message}`);
    mark(trouble, "title", failed?.message);
    controls.update(provider);
  }
}

// One series for each reason that occurred.
function byReason(samples) {
  const reasons = [...new Set(samples.flatMap((sample) => Object.keys(sample)))].sort();
  const series = reasons.map((reason) => [whyWords(reason), hue(reason), samples.map((sample) => sample[reason] ?? 0)]);
  return series.length ? series : [["", "curve-plain", samples.map(() => 0)]];
}

function arrangeNotes(list, notes) {
  show(list, notes.length > 0);
  const items = notes.map((note, index) => list.children[index] ?? el("li"));
  arrange(list, items);
  items.forEach((item, index) => say(item, capital(notes[index])));
}

function slotWords({ limit, in_flight: used, free, max_concurrency: most }) {
  const over = used > limit ? `, ${count(used - limit)} above the limit until they end` : "";
  const found = most === "auto" ? " (found out)" : "";
  return `${count(used)} of ${count(limit)} used${found}, ${count(free)} free${over}`;
}

function updateLine(line, wait, provider) {
  const { queued, max_queue: most } = provider;
  say(line.words, queued ? `${count(queued)} of ${count(most)} places taken` : `empty, ${plural(most, "place", "places")}`);
  drawLine(line.bar, provider);
  drawLegend(line.legend, callers(provider));
  const newcomer = provider.predicted_wait_ms ? `a newcomer would wait ${ms(provider.predicted_wait_ms)}` : "a newcomer starts at once";
  say(wait, queued ? `Oldest has waited ${ms(provider.oldest_wait_ms)}; ${newcomer}` : capital(newcomer));
}

function capital(text) {
  return text.charAt(0).toUpperCase() + text.slice(1);
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
