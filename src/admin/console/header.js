// The header: the gateway's state and its load.

import { announce, mark, say } from "./dom.js";
import { NOTHING, OUTCOMES, brief, count, rate, seconds } from "./format.js";
import { stateOf } from "./providers.js";

// The outcomes that count as errors here: all failures that the client did not cause.
const ERRORS = ["upstream_error", "timeout", "overloaded", "unavailable", "rate_limited"];

const byId = (id) => document.getElementById(id);
let said = "";

// `connection` is connecting, live or lost; `gateway` and `providers` are the last data received.
export function updateHeader(connection, gateway, providers) {
  const [words, tone] = stateWords(connection, gateway, providers);
  say(byId("state"), words);
  mark(byId("state"), "data-tone", tone);
  if (words !== said) announce(`Gateway: ${words}`);
  said = words;
  document.title = `${words} · llm-gateway`;
  if (!gateway) return;
  const { requests_per_second: requests, outcomes } = gateway.last_minute;
  const errors = ERRORS.reduce((sum, outcome) => sum + (outcomes[outcome] ?? 0), 0);
  say(byId("version"), gateway.version);
  say(byId("figure-rate"), `${rate(requests)} /s`);
  say(byId("figure-flight"), count(gateway.in_flight));
  say(byId("figure-queued"), count(providers.reduce((sum, provider) => sum + provider.queued, 0)));
  say(byId("figure-errors"), brief(errors));
  say(byId("figure-kinds"), kinds(outcomes));
  mark(byId("figure-errors"), "data-tone", errors ? "bad" : null);
  say(byId("figure-uptime"), gateway.now ? seconds(gateway.now - gateway.started_at) : NOTHING);
}

function kinds(outcomes) {
  const seen = ERRORS.filter((outcome) => outcomes[outcome]);
  return seen.map((outcome) => `${brief(outcomes[outcome])} ${OUTCOMES[outcome][0].toLowerCase()}`).join(", ");
}

function stateWords(connection, gateway, providers) {
  if (connection === "lost") return ["Connection lost", "bad"];
  if (!gateway) return ["Connecting", "calm"];
  if (gateway.draining) return ["Stopping: no new work", "warn"];
  const unwell = providers.filter((provider) => stateOf(provider).tone !== "good");
  if (unwell.length === 0) return ["Ready", "good"];
  if (unwell.length < providers.length) {
    return [`Ready, but ${unwell.map((provider) => provider.name).join(", ")} is not`, "warn"];
  }
  return unwell.some((provider) => stateOf(provider).tone === "bad")
    ? ["No provider takes work as it should", "bad"]
    : ["Ready, with restrictions", "warn"];
}
