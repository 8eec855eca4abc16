// The stream of events, over `fetch`, because an EventSource cannot send a token. It reconnects by
// itself.

import { call } from "./api.js";

// The gateway sends an event every second; after this long without one the connection is closed.
const SILENCE = 6_000;
const FIRST_PAUSE = 500;
const LONGEST_PAUSE = 8_000;

// Calls `on(event, content)` for every event, and `state(word, detail)` when the connection
// changes: connecting, live, or lost.
export async function follow(on, state) {
  let pause = FIRST_PAUSE;
  for (;;) {
    state("connecting");
    const why = await once(on, () => {
      pause = FIRST_PAUSE;
      state("live");
    });
    state("lost", why);
    await new Promise((resolve) => setTimeout(resolve, pause));
    pause = Math.min(pause * 2, LONGEST_PAUSE);
  }
}

// Reads one connection until it ends; returns why it ended.
async function once(on, begun) {
  const ending = new AbortController();
  let watch = 0;
  const heard = () => {
    clearTimeout(watch);
    watch = setTimeout(() => ending.abort(), SILENCE);
  };
  try {
    const response = await call("/admin/events", { signal: ending.signal });
    if (!response.ok) return (await response.json().catch(() => ({}))).detail ?? `status ${response.status}`;
    heard();
    await read(response.body, heard, (event, content) => {
      if (event === "snapshot") begun();
      on(event, content);
    });
    return "the gateway ended it";
  } catch {
    return ending.signal.aborted ? "nothing was heard" : "the gateway does not answer";
  } finally {
    clearTimeout(watch);
  }
}

// Reads server-sent events from a body. Each has one line of data, which is JSON.
async function read(body, heard, on) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    heard();
    const events = (text + value).split("\n\n");
    text = events.pop();
    for (const event of events) {
      const name = field(event, "event: ");
      const content = field(event, "data: ");
      if (name && content) on(name, JSON.parse(content));
    }
  }
}

function field(event, name) {
  return event.split("\n").find((line) => line.startsWith(name))?.slice(name.length);
}
