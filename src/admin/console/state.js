// The state of a provider: a word, a tone, the sentences that explain it, and how bad it is.

import { brief, count, left, plural } from "./format.js";

// The order of rows: trouble first.
const LEVELS = { bad: 4, warn: 2, good: 0 };

export function stateOf(provider) {
  const notes = notesOf(provider);
  const { breaker, models } = provider;
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

// How bad it is, in steps, so that rows keep their places while numbers change.
export function trouble(provider) {
  const { refused_per_second: refused = 0, failed_per_second: failed = 0 } = provider.rates;
  const level = LEVELS[stateOf(provider).tone] ?? 0;
  if (level === LEVELS.bad) return 5;
  if (refused >= 1 || failed >= 1) return 4;
  if (level > 0) return 3;
  if (refused > 0 || failed > 0) return 2;
  return provider.queued > 0 ? 1 : 0;
}

function notesOf(provider) {
  const notes = [];
  for (const model of provider.models) {
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
  if (provider.usable < provider.limit && provider.breaker.state === "closed") {
    notes.push(`${count(provider.usable)} of ${plural(provider.limit, "slot", "slots")} usable while it recovers`);
  }
  return notes;
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
