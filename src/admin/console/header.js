// The verdict on top, in words, with the page's title and icon; and the gateway's load in numbers.

import { announce, mark, say } from "./dom.js";
import { NOTHING, OUTCOMES, brief, count, rate, seconds } from "./format.js";

// The outcomes that count as errors here: all failures that the client did not cause.
const ERRORS = ["upstream_error", "timeout", "overloaded", "unavailable", "rate_limited"];
// The tone of each state.
const TONES = {
  idle: "calm",
  working: "good",
  busy: "live",
  waiting: "warn",
  refusing: "bad",
  draining: "warn",
  broken: "bad",
};
const ICONS = { warn: "/console/icon-warn.svg", bad: "/console/icon-bad.svg" };

const byId = (id) => document.getElementById(id);
const icon = document.querySelector('link[rel="icon"]');
let said = "";

// `connection` is connecting, live or lost; `gateway` and `providers` are the last data received.
export function updateHeader(connection, gateway, providers) {
  const [words, tone] = verdict(connection, gateway);
  const state = words.split(":")[0];
  say(byId("state"), words);
  mark(byId("state"), "data-tone", tone);
  mark(byId("state"), "data-state", state.toLowerCase());
  mark(icon, "href", ICONS[tone] ?? "/console/icon.svg");
  // Numbers change every second; a screen reader is told when the state does.
  if (state !== said) announce(words);
  said = state;
  document.title = `${title(words)} · llm-gateway`;
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

function verdict(connection, gateway) {
  if (connection === "lost") return ["Connection lost", "bad"];
  if (!gateway) return ["Connecting", "calm"];
  return [gateway.verdict.words.replaceAll("`", ""), TONES[gateway.verdict.state] ?? "calm"];
}

// A tab has room for the beginning.
function title(words) {
  return words.split(/[,;]/)[0];
}
