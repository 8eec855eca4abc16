// A chat through the gateway's main listener, and how long its parts took.

import { call } from "./api.js";
import { arrange, el, mark, say } from "./dom.js";
import { NOTHING, count, ms, rate } from "./format.js";

const byId = (id) => document.getElementById(id);
const form = byId("play-form");
const send = byId("play-send");
const stop = byId("play-stop");
const answer = byId("play-answer");
const state = byId("play-state");

let running = null;

export function startPlayground() {
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    if (!running) play();
  });
  stop.addEventListener("click", () => running?.abort());
}

// Offers the configured names.
export function offerModels(providers) {
  const names = providers.flatMap((provider) => [provider.default_model, `${provider.name}/${provider.default_model}`]);
  const known = new Set(names);
  const list = byId("play-models");
  const offered = new Map([...list.children].map((option) => [option.value, option]));
  arrange(list, [...known].map((name) => offered.get(name) ?? el("option", { value: name })));
}

async function play() {
  running = new AbortController();
  send.disabled = true;
  stop.disabled = false;
  clear();
  tell("Sent, waiting for the answer", "live");
  const sent = performance.now();
  const since = () => performance.now() - sent;
  try {
    const response = await call("/admin/playground", {
      method: "POST",
      headers: headers(),
      body: JSON.stringify(question()),
      signal: running.signal,
    });
    const told = (name) => response.headers.get(name);
    if (told("x-gateway-provider")) say(byId("play-ran"), `${told("x-gateway-provider")}/${told("x-gateway-model")}`);
    if (told("x-gateway-queue-ms")) say(byId("play-queue"), ms(Number(told("x-gateway-queue-ms"))));
    if (response.ok) await read(response, since);
    else await refused(response, since);
  } catch {
    const stopped = running.signal.aborted;
    tell(stopped ? "Stopped" : "The connection broke", stopped ? "calm" : "bad");
  } finally {
    say(byId("play-total"), ms(since()));
    running = null;
    send.disabled = false;
    stop.disabled = true;
  }
}

function question() {
  const model = byId("play-model").value.trim();
  const most = Number(byId("play-tokens").value);
  return {
    messages: [{ role: "user", content: byId("play-prompt").value }],
    stream: true,
    ...(model && { model }),
    ...(most > 0 && { max_tokens: most }),
  };
}

function headers() {
  const key = byId("play-key").value.trim();
  return { "content-type": "application/json", ...(key && { "x-api-key": key }) };
}

async function refused(response, since) {
  say(byId("play-total"), ms(since()));
  const body = await response.json().catch(() => ({}));
  const detail = typeof body.detail === "string" ? body.detail : JSON.stringify(body.detail ?? "no reason given");
  tell(`Refused: ${response.status} ${body.code ?? ""}`.trim(), "bad");
  const after = response.headers.get("retry-after");
  say(answer, after ? `${detail}\n\nRetry-After: ${after} s` : detail);
}

// Reads the native stream. It is complete if its end is marked; otherwise it was cut off.
async function read(response, since) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  let first = null;
  let ended = false;
  for (;;) {
    const { done, value } = await reader.read();
    if (done) break;
    const events = (text + value).split("\n\n");
    text = events.pop();
    for (const event of events) {
      const content = event.split("\n").find((line) => line.startsWith("data: "))?.slice("data: ".length);
      if (!content) continue;
      if (content === "[DONE]") {
        ended = true;
        continue;
      }
      const said = JSON.parse(content);
      if (said.delta && first === null) {
        first = since();
        say(byId("play-first"), ms(first));
        tell("Answering", "live");
      }
      if (said.delta) answer.append(said.delta);
      if (said.provider) say(byId("play-ran"), `${said.provider}/${said.model}`);
      if (said.usage) used(said.usage, since() - (first ?? 0));
      if (event.startsWith("event: error")) {
        tell(`Failed midway: ${said.code}`, "bad");
        answer.append(el("em", {}, `\n${said.detail}`));
        return;
      }
    }
  }
  tell(ended ? "Complete" : "Cut off before its end", ended ? "good" : "bad");
}

function used(usage, took) {
  say(byId("play-usage"), `${count(usage.prompt_tokens)} / ${count(usage.completion_tokens)}`);
  const speed = usage.completion_tokens > 1 && took > 0 ? usage.completion_tokens / (took / 1_000) : null;
  say(byId("play-speed"), rate(speed));
}

function clear() {
  say(answer, "");
  for (const id of ["ran", "queue", "first", "total", "usage", "speed"]) say(byId(`play-${id}`), NOTHING);
}

function tell(words, tone) {
  say(state, words);
  mark(state, "data-tone", tone);
}
