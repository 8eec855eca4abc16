// Ollama's and Anthropic's clients for Node.

import assert from "node:assert/strict";
import { test } from "node:test";
import Anthropic from "@anthropic-ai/sdk";
import { Ollama } from "ollama";
import { all, key, model, question, url } from "./gateway.js";

const ollama = new Ollama({ host: url, headers: { authorization: `Bearer ${key}` } });
const anthropic = new Anthropic({ baseURL: url, apiKey: key, maxRetries: 0 });
const messages = [{ role: "user", content: question }];
const weather = [{ role: "user", content: "get_weather 'Oslo'" }];
const schema = { type: "object", properties: { city: { type: "string" } }, required: ["city"] };
const ask = { model, max_tokens: 500, messages };

test("Ollama: a streamed chat joins to the whole answer", async () => {
  const whole = await ollama.chat({ model, messages });
  assert.equal(whole.done_reason, "stop");
  const pieces = await all(await ollama.chat({ model, messages, stream: true }));
  assert.equal(pieces.map((piece) => piece.message.content).join(""), whole.message.content);
  assert.equal(pieces.at(-1).eval_count, whole.eval_count);
});

test("Ollama: generate, tools, schemas and thinking", async () => {
  const pieces = await all(await ollama.generate({ model, prompt: question, stream: true }));
  assert.equal(pieces.map((piece) => piece.response).join(""), (await ollama.generate({ model, prompt: question })).response);
  const tools = [{ type: "function", function: { name: "get_weather", description: "", parameters: schema } }];
  const asked = await ollama.chat({ model, messages: weather, tools });
  assert.deepEqual(asked.message.tool_calls[0].function.arguments, { city: "Oslo" });
  const shaped = await ollama.chat({ model, messages, format: schema });
  assert.equal(typeof JSON.parse(shaped.message.content).city, "string");
  const thought = await ollama.chat({ model: "qwen3", messages, think: true });
  assert.ok(thought.message.thinking && thought.message.content);
});

test("Ollama: failures carry their status and words", async () => {
  await assert.rejects(ollama.chat({ model: "no-such-model", messages }), (error) => {
    assert.equal(error.status_code, 404);
    assert.match(error.message, /no-such-model/);
    return true;
  });
  await assert.rejects(async () => all(await ollama.chat({ model: "fail-cut", messages, stream: true })));
});

test("Anthropic: the stream collector gives the whole message", async () => {
  const whole = await anthropic.messages.create(ask);
  assert.equal(whole.stop_reason, "end_turn");
  const final = await anthropic.messages.stream(ask).finalMessage();
  assert.deepEqual(final.content.map((block) => block.text), whole.content.map((block) => block.text));
  assert.equal(final.usage.output_tokens, whole.usage.output_tokens);
});

test("Anthropic: tools and thinking", async () => {
  const tools = [{ name: "get_weather", input_schema: schema }];
  const asked = await anthropic.messages.stream({ ...ask, messages: weather, tools }).finalMessage();
  assert.equal(asked.stop_reason, "tool_use");
  assert.deepEqual(asked.content[0].input, { city: "Oslo" });
  const result = { type: "tool_result", tool_use_id: asked.content[0].id, content: "rain" };
  const turns = [...weather, { role: "assistant", content: asked.content }, { role: "user", content: [result] }];
  assert.equal((await anthropic.messages.create({ ...ask, messages: turns, tools })).stop_reason, "end_turn");
  const thinking = { type: "enabled", budget_tokens: 1024 };
  const thought = await anthropic.messages.stream({ ...ask, model: "qwen3", max_tokens: 4000, thinking }).finalMessage();
  assert.deepEqual(thought.content.map((block) => block.type), ["thinking", "text"]);
});

test("Anthropic: failures arrive as the errors that clients catch", async () => {
  await assert.rejects(anthropic.messages.create({ ...ask, model: "no-such-model" }), Anthropic.NotFoundError);
  const stranger = anthropic.withOptions({ apiKey: "sk-wrong" });
  await assert.rejects(stranger.messages.create(ask), Anthropic.AuthenticationError);
  await assert.rejects(anthropic.messages.create({ ...ask, messages: [] }), Anthropic.BadRequestError);
  await assert.rejects(anthropic.messages.stream({ ...ask, model: "fail-cut" }).finalMessage());
});
