// The gateway under test, the providers behind it, and the clients before it.
//
// Each process gets its ports from the kernel and a folder of its own; addresses are read from its log. Nothing here
// waits for a time: `eventually` looks until something is so, and says what was not when it gives up.

import { spawn } from "node:child_process";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import http from "node:http";
import { tmpdir } from "node:os";
import path from "node:path";

const ROOT = path.resolve(import.meta.dirname, "../..");
const BINARY = path.resolve(process.env.LLM_GATEWAY_BIN ?? path.join(ROOT, "target/debug/llm-gateway"));
// Milliseconds; generous, because tests run on loaded machines.
export const PATIENCE = 30_000;

// Awaits a truthy value of `look`, which may be asynchronous.
export async function eventually(what, look) {
  const until = Date.now() + PATIENCE;
  for (;;) {
    const found = await look();
    if (found) return found;
    if (Date.now() > until) throw new Error(`this did not happen: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 25));
  }
}

// A running command of the binary.
class Running {
  constructor(args, folder) {
    // An empty environment: no variable of the developer configures what is tested.
    this.child = spawn(BINARY, args, { cwd: folder, env: {}, stdio: ["ignore", "ignore", "pipe"] });
    this.log = "";
    this.child.stderr.setEncoding("utf8").on("data", (text) => (this.log += text));
    this.ended = new Promise((resolve) => this.child.on("exit", resolve));
  }

  address(announcement) {
    const line = new RegExp(`${announcement} (http://[\\w.:\\[\\]]+)`);
    return eventually(`a line ${announcement} in ${this.log}`, () => this.log.match(line)?.[1]);
  }

  async stop() {
    this.child.kill("SIGTERM");
    const status = await this.ended;
    if (status !== 0) throw new Error(`ended with status ${status}: ${this.log}`);
  }
}

// A gateway with this configuration; listeners that it does not name get free ports.
export async function gateway(toml, { listen = "127.0.0.1:0", admin = "127.0.0.1:0", token = "" } = {}) {
  const folder = await mkdtemp(path.join(tmpdir(), "console-"));
  const file = path.join(folder, "gateway.toml");
  const listeners = `[server]\nlisten = "${listen}"\n[admin]\nlisten = "${admin}"\ntoken = "${token}"\n`;
  await writeFile(file, listeners + toml);
  const running = new Running(["serve", "--config", file], folder);
  const url = await running.address("gateway listening on");
  const console = await running.address("admin listening on");
  const bearer = token ? { authorization: `Bearer ${token}` } : {};
  return {
    url,
    console,
    write: (changed) => writeFile(file, listeners + changed),
    providers: async () => (await (await fetch(`${console}/admin/providers`, { headers: bearer })).json()).providers,
    async stop() {
      await running.stop();
      await rm(folder, { recursive: true });
    },
  };
}

// The simulated Ollama.
export async function simulator(slots, firstTokenMs, tokensPerSecond, more = {}) {
  const numbers = { slots, "first-token-ms": firstTokenMs, "tokens-per-second": tokensPerSecond, "load-ms": 0, ...more };
  const options = Object.entries(numbers).flatMap(([name, value]) => [`--${name}`, String(value)]);
  const running = new Running(["sim", "--listen", "127.0.0.1:0", ...options], tmpdir());
  return { url: await running.address("listening on"), stop: () => running.stop() };
}

// The configuration of one provider.
export function provider(name, url, more = "") {
  return `[providers.${name}]\nbackend = "ollama"\nbase_url = "${url}"\ndefault_model = "llama3.1"\n${more}\n`;
}

// A provider that holds every call until it is told to let go, and counts how many it has at one time. A prompt of the
// form `fail: words` is answered with an error that says these words, the prompt `crash` with the end of the connection.
export async function upstream() {
  const held = new Set();
  let open = false;
  let peak = 0;
  const server = http.createServer((request, response) => {
    let body = "";
    request.setEncoding("utf8").on("data", (text) => (body += text));
    request.on("end", () => {
      if (request.url !== "/api/chat") return response.writeHead(404).end("{}");
      const prompt = JSON.parse(body).messages[0].content;
      if (prompt === "crash") return response.destroy();
      const failure = prompt.match(/^fail: (.*)/)?.[1];
      if (failure) return response.writeHead(500).end(JSON.stringify({ error: failure }));
      if (open) return answer(response);
      held.add(response);
      peak = Math.max(peak, held.size);
      response.on("close", () => held.delete(response));
    });
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    url: `http://127.0.0.1:${server.address().port}`,
    busy: () => held.size,
    peak: () => peak,
    // Lets everything through from now on.
    release() {
      open = true;
      for (const response of held) answer(response);
      held.clear();
    },
    hold() {
      open = false;
      peak = 0;
    },
    async stop() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

function answer(response) {
  response.writeHead(200, { "content-type": "application/x-ndjson" });
  const line = (content, more) =>
    `${JSON.stringify({ model: "llama3.1", message: { role: "assistant", content }, done: false, ...more })}\n`;
  for (const piece of ["The ", "sky ", "is ", "blue."]) response.write(line(piece));
  response.end(line("", { done: true, done_reason: "stop", prompt_eval_count: 7, eval_count: 4 }));
}

// A chat as a client sends it; gives the status.
export async function chat(gateway, { content = "hi", model, key, headers = {}, more = {} } = {}) {
  const response = await fetch(`${gateway.url}/v1/chat`, {
    method: "POST",
    headers: { "content-type": "application/json", ...(key && { "x-api-key": key }), ...headers },
    body: JSON.stringify({ messages: [{ role: "user", content }], ...(model && { model }), ...more }),
  });
  await response.text();
  return response.status;
}

export function chats(gateway, count, options) {
  return Array.from({ length: count }, () => chat(gateway, options));
}
