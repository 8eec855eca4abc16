// The latest errors; equal ones are counted together.

import { arrange, el, mark, say, show } from "./dom.js";
import { clock, count, day, outcomeWords } from "./format.js";

const KINDS = {
  breaker: ["Provider left alone", "bad"],
  actor: ["Actor restarted", "bad"],
  configuration: ["Configuration refused", "bad"],
};
// The meaning of a code, if the error has no message.
const WORDS = {
  overloaded: "No room: the line was full or the wait too long",
  provider_unavailable: "It kept failing and is left alone for a while",
  draining: "It takes no new work",
  no_provider_for_policy: "No provider that the data policy allows could take it",
  rate_limited: "Over a limit of the key, or of the provider",
  quota_exhausted: "The quota at the provider is used up",
  timeout: "The deadline passed",
};
const SHOWN = 50;

const list = document.getElementById("errors");
const empty = document.getElementById("errors-empty");
const items = new Map();
let errors = new Map();

export function replaceErrors(all) {
  errors = new Map(all.map((error) => [error.number, error]));
}

export function addError(error) {
  errors.set(error.number, error);
}

export function drawErrors() {
  const latest = [...errors.values()].sort((one, other) => other.at - one.at || other.number - one.number);
  for (const old of latest.splice(SHOWN)) errors.delete(old.number);
  for (const number of items.keys()) {
    if (!errors.has(number)) items.delete(number);
  }
  arrange(list, latest.map(item));
  show(empty, latest.length === 0);
}

function item(error) {
  let known = items.get(error.number);
  if (!known) {
    const parts = ["time", "tag", "times", "where", "message"].map((part) => el("span", { class: part }));
    known = { node: el("li", {}, ...parts), parts };
    items.set(error.number, known);
  }
  const [time, tag, times, where, message] = known.parts;
  const [word, tone] = KINDS[error.kind] ?? outcomeWords(error.outcome);
  say(time, clock(error.at));
  mark(time, "title", day(error.at));
  say(tag, error.code ?? word);
  mark(tag, "data-tone", tone);
  mark(tag, "title", word);
  say(times, error.count > 1 ? `${count(error.count)} times` : "");
  say(where, [error.provider, error.caller && `key ${error.caller}`].filter(Boolean).join(" · "));
  say(message, error.message ?? WORDS[error.code] ?? word);
  mark(message, "title", error.request_id ? `latest: ${error.request_id}` : null);
  return known.node;
}
