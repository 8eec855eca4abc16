// The AI SDK, by the Responses API, by chat completions, and as a client of anything compatible.

import assert from "node:assert/strict";
import { test } from "node:test";
import { createOpenAI } from "@ai-sdk/openai";
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { generateText, jsonSchema, Output, stepCountIs, streamText, tool } from "ai";
import { all, key, model, question, url } from "./gateway.js";

const openai = createOpenAI({ baseURL: `${url}/v1`, apiKey: key });
const compatible = createOpenAICompatible({
  name: "gateway",
  baseURL: `${url}/v1`,
  apiKey: key,
  includeUsage: true,
  supportsStructuredOutputs: true,
});
const schema = jsonSchema({
  type: "object",
  properties: { city: { type: "string" }, population: { type: "integer" } },
  required: ["city", "population"],
  additionalProperties: false,
});

const ways = [
  ["responses", (name) => openai(name)],
  ["chat completions", (name) => openai.chat(name)],
  ["compatible", (name) => compatible(name)],
];

for (const [way, named] of ways) {
  const ask = { model: named(model), prompt: question, maxRetries: 0 };

  test(`${way}: a stream joins to the whole answer and counts the same`, async () => {
    const whole = await generateText(ask);
    assert.equal(whole.finishReason, "stop");
    assert.ok(whole.text);
    const stream = streamText(ask);
    assert.equal((await all(stream.textStream)).join(""), whole.text);
    assert.equal(await stream.finishReason, "stop");
    assert.equal((await stream.usage).outputTokens, whole.usage.outputTokens);
    assert.ok(whole.usage.outputTokens > 0);
  });

  test(`${way}: a tool is called, its result is taken, and words follow`, async () => {
    const called = [];
    const tools = {
      get_weather: tool({
        description: "Says how the weather is.",
        inputSchema: jsonSchema({ type: "object", properties: { city: { type: "string" } }, required: ["city"] }),
        execute: async ({ city }) => (called.push(city), "rain"),
      }),
    };
    const more = { prompt: "get_weather 'Oslo'", tools, stopWhen: stepCountIs(3) };
    const whole = await generateText({ ...ask, ...more });
    assert.equal(whole.steps.length, 2);
    assert.ok(whole.text);
    const stream = streamText({ ...ask, ...more });
    assert.equal((await all(stream.textStream)).join(""), whole.text);
    assert.deepEqual(called, ["Oslo", "Oslo"]);
  });

  test(`${way}: structured output fits its schema`, async () => {
    const { output } = await generateText({ ...ask, output: Output.object({ schema }) });
    assert.equal(typeof output.city, "string");
    assert.ok(Number.isInteger(output.population));
  });

  test(`${way}: an answer cut short says so`, async () => {
    const { finishReason } = await generateText({ ...ask, maxOutputTokens: 16 });
    assert.equal(finishReason, "length");
  });

  test(`${way}: failures carry their status and words`, async () => {
    await assert.rejects(generateText({ ...ask, model: named("no-such-model") }), (error) => {
      assert.equal(error.statusCode, 404);
      assert.match(error.message, /no-such-model/);
      assert.equal(error.isRetryable, false);
      return true;
    });
    const errors = [];
    const stream = streamText({ ...ask, model: named("fail-cut"), onError: ({ error }) => errors.push(error) });
    await stream.consumeStream();
    assert.ok(errors.length > 0);
  });
}

test("compatible: reasoning is kept apart from the text", async () => {
  const answer = await generateText({ model: compatible("qwen3"), prompt: question });
  assert.ok(answer.reasoningText && answer.text);
  const stream = streamText({ model: compatible("qwen3"), prompt: question });
  assert.equal((await all(stream.textStream)).join(""), answer.text);
  assert.equal(await stream.reasoningText, answer.reasoningText);
});
