// The console: draws the gateway's events, at most once per frame.

import { mark, say, show } from "./dom.js";
import { addError, drawErrors, replaceErrors } from "./errors.js";
import { follow } from "./feed.js";
import { updateHeader } from "./header.js";
import { drawKeys } from "./keys.js";
import { offerModels, startPlayground } from "./playground.js";
import { rememberProviders, updateProviders } from "./providers.js";
import { showConfiguration, startReload } from "./reload.js";
import { addRequest, drawRequests, replaceRequests, setClock, setHint, startRequests } from "./requests.js";
import { startTheme } from "./theme.js";

const notice = document.getElementById("connection-notice");
const known = { connection: "connecting", gateway: null, providers: [], keys: [] };
// The parts that must be drawn in the next frame.
const stale = new Set();

const events = {
  snapshot(content) {
    seen(content);
    rememberProviders(content.providers, content.history);
    known.keys = content.keys;
    replaceRequests(content.requests);
    replaceErrors(content.errors);
    showConfiguration(content.configuration, { isFirst: true });
    draw("header", "providers", "requests", "errors", "keys");
  },
  providers(content) {
    seen(content);
    rememberProviders(content.providers);
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
    updateProviders(known.providers);
    offerModels(known.providers);
  },
  requests() {
    setHint(`No requests yet. Try: curl ${known.gateway?.address ?? ""}/v1/chat -H 'content-type: application/json' -d '{"messages":[{"role":"user","content":"Why is the sky blue?"}]}' or the playground below.`);
    drawRequests();
  },
  errors: drawErrors,
  keys: () => drawKeys(known.keys),
};

function seen({ gateway, providers }) {
  known.gateway = gateway;
  known.providers = providers;
  setClock(gateway.now);
}

function draw(...parts) {
  if (stale.size === 0) requestAnimationFrame(frame);
  for (const part of parts) stale.add(part);
}

function frame() {
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
startRequests(() => draw("requests"));
follow((event, content) => events[event]?.(content), connection);
