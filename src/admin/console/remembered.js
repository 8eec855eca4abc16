// What a provider is believed to have in its prompt cache: conversations, their tokens, and which part of all prompts was
// not read again.

import { arrange, el, say, show } from "./dom.js";
import { brief, percent, plural } from "./format.js";

export function remembered(name) {
  const words = el("span", { class: "meter-words" });
  const list = el("ul", { class: "memory-list", tabindex: "0", "aria-label": "Remembered conversations by model" });
  const node = el(
    "section",
    { class: "memory", "aria-label": `Remembered by ${name}` },
    el("div", { class: "meter-head" }, el("span", { class: "meter-name" }, "Remembered"), words),
    list,
  );
  const rows = new Map();
  return { node, update };

  function update(provider) {
    const known = provider.models
      .filter((model) => model.remembered && (model.remembered.conversations || model.remembered.reused))
      .sort((one, other) => (one.model < other.model ? -1 : 1));
    show(node, known.length > 0);
    const sum = (field) => known.reduce((all, model) => all + model.remembered[field], 0);
    say(words, `${plural(sum("conversations"), "conversation", "conversations")}, ${brief(sum("tokens"))} tokens`);
    for (const model of rows.keys()) {
      if (!known.some((one) => one.model === model)) rows.delete(model);
    }
    arrange(list, known.map((model) => drawn(model)));
  }

  function drawn({ model, remembered: memory }) {
    if (!rows.has(model)) rows.set(model, row(model));
    const known = rows.get(model);
    known.draw(memory);
    return known.node;
  }
}

function row(model) {
  const reused = el("span", { class: "reused", title: "Of the tokens of all prompts since the start" });
  const details = el("span", { class: "quiet" });
  const node = el("li", { "data-remembered": model }, el("span", { class: "model-name" }, model), reused, details);
  return { node, draw };

  function draw({ conversations, tokens, reused: part, room, read_rate: speed, kept_slots: kept }) {
    say(reused, part === undefined ? "" : `${percent(part)} reused`);
    const pieces = [
      `${plural(conversations, "conversation", "conversations")}, ${brief(tokens)} tokens`,
      room && `room for ${brief(room)}`,
      speed && `reads ${brief(speed)} / s`,
      kept > 0 && `${plural(kept, "slot", "slots")} kept free`,
    ];
    say(details, pieces.filter(Boolean).join("; "));
  }
}
