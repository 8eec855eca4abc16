// The console: draws the gateway's events, at most four times a second.

import { addChange, drawChanges, replaceChanges } from "./changes.js";
import { mark, say, show } from "./dom.js";
import { addError, drawErrors, replaceErrors } from "./errors.js";
import { follow } from "./feed.js";
import { updateHeader } from "./header.js";
import { drawKeys, startKeys } from "./keys.js";
import { offerModels, startPlayground } from "./playground.js";
import { remember } from "./past.js";
import { updateProviders } from "./providers.js";
import { drawRefusals } from "./refusals.js";
import { showConfiguration, startReload } from "./reload.js";
import { addRequest, drawRequests, keepLive, replaceRequests, setClock, setHint, startRequests } from "./requests.js";
import { startTheme } from "./theme.js";

const notice = document.getElementById("connection-notice");
const known = { connection: "connecting", gateway: null, providers: [], keys: [], refusals: [] };
// The shortest time between two drawings, in milliseconds.
const PAUSE = 250;
// The parts that must be drawn, and when something was drawn last.
const stale = new Set();
let last = 0;

const events = {
  snapshot(content) {
    seen(content);
    remember(content.providers, content.history);
    known.keys = content.keys;
    known.refusals = content.refusals;
    replaceRequests(content.requests);
    replaceErrors(content.errors);
    replaceChanges(content.changes);
    showConfiguration(content.configuration, { isFirst: true });
    draw("header", "changes", "providers", "requests", "errors", "refusals", "keys");
  },
  providers(content) {
    seen(content);
    remember(content.providers);
    keepLive(content.live);
    draw("header", "providers", "requests");
  },
  request(content) {
    addRequest(content);
    draw("requests");
  },
  error(content) {
    addError(content);
    draw("errors");
  },
  change(content) {
    addChange(content);
    draw("changes");
  },
  refusals(content) {
    known.refusals = content;
    draw("refusals");
  },
  configuration(content) {
    showConfiguration(content);
  },
  keys(content) {
    known.keys = content;
    draw("keys");
  },
};

const drawings = {
  header: () => updateHeader(known.connection, known.gateway, known.providers),
  providers() {
    if (!known.gateway) return;
    updateProviders(known.providers, known.gateway.now * 1_000);
    offerModels(known.providers);
  },
  requests() {
    setHint(`No requests yet. Try: curl ${known.gateway?.address ?? ""}/v1/chat -H 'content-type: application/json' -d '{"messages":[{"role":"user","content":"Why is the sky blue?"}]}' or the playground below.`);
    drawRequests(known.gateway?.in_flight ?? 0);
  },
  changes: drawChanges,
  errors: drawErrors,
  refusals: () => drawRefusals(known.refusals),
  keys: () => drawKeys(known.keys),
};

function seen({ gateway, providers }) {
  known.gateway = gateway;
  known.providers = providers;
  setClock(gateway.now);
}

function draw(...parts) {
  if (stale.size === 0) setTimeout(frame, Math.max(0, last + PAUSE - performance.now()));
  for (const part of parts) stale.add(part);
}

// Draws what an operator has just asked for, without delay.
function drawNow(part) {
  requestAnimationFrame(drawings[part]);
}

function frame() {
  last = performance.now();
  const parts = [...stale];
  stale.clear();
  for (const part of parts) drawings[part]();
}

function connection(state, why) {
  known.connection = state === "connecting" && known.connection === "lost" ? "lost" : state;
  mark(document.body, "data-connection", known.connection);
  show(notice, known.connection === "lost");
  if (known.connection === "lost" && why) say(notice, `Connection lost: ${why}. What you see is old; trying again.`);
  draw("header");
}

startTheme();
startReload();
startPlayground();
startRequests(() => drawNow("requests"));
startKeys(() => drawNow("keys"));
follow((event, content) => events[event]?.(content), connection);
