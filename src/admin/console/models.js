// The models of a server that loads them: what is loaded, what comes next and why, and the operator's own loads.

import { callJson } from "./api.js";
import { announce, arrange, el, mark, say, show } from "./dom.js";
import { bytes, clock, count, day, left, seconds } from "./format.js";

// A state in a word and a tone.
const STATES = {
  loaded: ["Loaded", "good"],
  leaving: ["Leaving", "warn"],
  loading: ["Loading", "live"],
  waiting: ["Waiting", "wait"],
  cold: ["Cold", "calm"],
};

// The rule's reasons, of which the gateway sends the word.
const REASONS = {
  fits: () => "it fits beside what is loaded",
  untried: () => "whether it fits beside the others is tried once",
  reload: () => "it is loaded with other options than it is to have",
  stray: () => "a call for it stands in the server’s own line",
  paused: () => "its last load did not succeed",
  unused: (victims) => `nobody has used ${victims} since the load`,
  idle: (victims) => `${victims} ${are(victims)} idle`,
  quiet: (victims) => `only batch work waits for it, and people use ${victims}`,
  batch: (victims) => `only batch work waits for ${victims}`,
  turn: () => "by then it has waited for what both loads cost",
  promised: (victims) => `those who waited before ${victims} came are served first`,
  had_more: (victims) => `its callers have had more than those of ${victims}`,
};

// A date so far away means that the model stays.
const FOREVER = 365 * 86_400_000;

export function models(name) {
  const words = el("span", { class: "meter-words" });
  const next = el("p", { class: "next" });
  const list = el("ul", { class: "models-list" });
  const problem = el("p", { class: "problem", role: "alert" });
  const id = `load-${name}`;
  const input = el("input", { id, autocomplete: "off", spellcheck: "false", placeholder: "another model", required: true });
  const button = el("button", { type: "submit" }, "Load");
  const other = el(
    "form",
    { class: "load-other", "aria-label": `Load a model at ${name}`, on: { submit } },
    el("label", { class: "unseen", for: id }, `Model to load at ${name}`),
    input,
    button,
  );
  const node = el(
    "section",
    { class: "models", "aria-label": `Models of ${name}` },
    el("div", { class: "meter-head" }, el("span", { class: "meter-name" }, "Models"), words),
    next,
    list,
    other,
    problem,
  );
  const rows = new Map();
  return { node, update };

  function update(provider) {
    show(node, provider.scheduling === "warm");
    const known = provider.models.filter((model) => model.load).sort((one, other) => (one.model < other.model ? -1 : 1));
    const loaded = known.filter(({ load }) => load.state === "loaded" || load.state === "leaving");
    say(words, known.length ? `${count(loaded.length)} of ${count(known.length)} loaded` : "none asked for yet");
    const comes = provider.next_load;
    show(next, comes !== undefined);
    if (comes) say(next, sentence(comes));
    for (const model of rows.keys()) {
      if (!known.some((one) => one.model === model)) rows.delete(model);
    }
    show(list, known.length > 0);
    arrange(list, known.map((model) => drawn(model)));
  }

  function drawn(model) {
    if (!rows.has(model.model)) rows.set(model.model, row(model.model));
    const known = rows.get(model.model);
    known.draw(model);
    return known.node;
  }

  function row(model) {
    const tag = el("span", { class: "tag" });
    const details = el("span", { class: "quiet" });
    const button = el("button", { type: "button", class: "plain", on: { click } });
    const node = el("li", { "data-model": model }, el("span", { class: "model-name" }, model), tag, button, details);
    let verb = "load";
    return { node, draw };

    function draw({ load, in_flight: running, queued }) {
      const [word, tone] = STATES[load.state] ?? [load.state, "calm"];
      say(tag, word);
      mark(tag, "data-tone", tone);
      const work = [running && `${count(running)} run`, queued && `${count(queued)} wait`];
      say(details, [...about(load), ...work].filter(Boolean).join(", "));
      verb = load.state === "loaded" || load.state === "leaving" ? "unload" : "load";
      say(button, verb === "unload" ? "Unload" : "Load");
      mark(button, "aria-label", `${verb === "unload" ? "Unload" : "Load"} ${model} at ${name}`);
      mark(button, "title", verb === "unload" ? "Once its calls have ended; the next request loads it again" : "As if a request asked for it");
      show(button, load.state !== "loading");
    }

    function click() {
      order(model, verb, button);
    }
  }

  async function submit(event) {
    event.preventDefault();
    const model = input.value.trim();
    if (model && (await order(model, "load", button))) input.value = "";
  }

  // Has the gateway load or unload a model, and waits for it; returns whether it did.
  async function order(model, verb, button) {
    button.disabled = true;
    say(problem, "");
    const path = `/admin/providers/${encodeURIComponent(name)}/models/${encodeURIComponent(model)}/${verb}`;
    const { ok, body } = await callJson(path, { method: "POST" });
    button.disabled = false;
    if (ok) announce(`${name}: ${model} is ${verb}ed`);
    else say(problem, `Not ${verb}ed: ${body.detail}`);
    return ok;
  }
}

// What comes next and why, as a sentence.
function sentence({ model, phase, leaving, why, wanted_ms: wanted, begins_ms: begins, left_ms: remaining }) {
  const victims = leaving.join(" and ");
  const comes = {
    due: `${model} comes next in about ${left(begins)}`,
    drain: victims ? `${model} comes next, once the calls of ${victims} have ended` : `${model} comes next`,
    load: remaining > 0 ? `${model} is being loaded, about ${left(remaining)} left` : `${model} is being loaded`,
  };
  const goes = victims && `${victims} ${leaving.length > 1 ? "may leave" : "leaves"}`;
  const asked = wanted === undefined ? "" : `asked for ${seconds(wanted / 1_000)} ago`;
  const reason = REASONS[why]?.(victims || "the others") ?? why;
  return `${comes[phase] ?? model}: ${[asked, goes, reason].filter(Boolean).join("; ")}`;
}

function are(victims) {
  return victims.includes(" ") ? "are" : "is";
}

// What is known of a load, in pieces.
function about({ state, since_ms: since, left_ms: remaining, failed_loads: failed, size, expires_at: expires }) {
  const age = since === undefined ? "" : seconds(since / 1_000);
  const words = {
    loaded: [age && `for ${age}`, size && bytes(size), expires && stay(Date.parse(expires))],
    leaving: [age && `takes no calls for ${age}`, size && bytes(size)],
    loading: [age && `for ${age}`, remaining > 0 && `about ${left(remaining)} left`],
    waiting: [age && `asked for ${age} ago`, remaining > 0 && `loaded in about ${left(remaining)}`],
    cold: [age && `since ${age}`],
  };
  return [...(words[state] ?? []), failed > 0 && `${count(failed)} failed in a row`];
}

// The server is not asked while it has no work, so that the time may have passed.
function stay(until) {
  const ahead = until - Date.now();
  if (Number.isNaN(until)) return "";
  if (ahead > FOREVER) return "stays";
  if (ahead < 0) return `may have gone at ${clock(until)}`;
  return `stays until ${ahead < 43_200_000 ? clock(until) : day(until)}`;
}
