// OpenAI's client for Node.

import assert from "node:assert/strict";
import { test } from "node:test";
import OpenAI from "openai";
import { zodResponseFormat, zodTextFormat } from "openai/helpers/zod";
import { z } from "zod";
import { all, key, model, question, url } from "./gateway.js";

const client = new OpenAI({ baseURL: `${url}/v1`, apiKey: key, maxRetries: 0 });
const messages = [{ role: "user", content: question }];
const Place = z.object({ city: z.string(), population: z.number().int() });
const parameters = { type: "object", properties: { city: { type: "string" } }, required: ["city"] };

test("a stream joins to the whole answer", async () => {
  const whole = await client.chat.completions.create({ model, messages });
  assert.equal(whole.choices[0].finish_reason, "stop");
  const chunks = await all(await client.chat.completions.create({ model, messages, stream: true }));
  const text = chunks.map((chunk) => chunk.choices[0].delta.content ?? "").join("");
  assert.equal(text, whole.choices[0].message.content);
});

test("usage comes last in a stream when asked for", async () => {
  const ask = { model, messages, stream: true, stream_options: { include_usage: true } };
  const last = (await all(await client.chat.completions.create(ask))).at(-1);
  assert.deepEqual(last.choices, []);
  assert.ok(last.usage.total_tokens > last.usage.completion_tokens);
});

test("the stream collector is content with text and with tools", async () => {
  // It throws when a role, a finish reason or the type of a call is missing.
  const text = await client.chat.completions.stream({ model, messages }).finalChatCompletion();
  assert.equal(text.choices[0].message.role, "assistant");
  const ask = {
    model,
    messages: [{ role: "user", content: "get_weather 'Oslo' and read_clock" }],
    tools: [
      { type: "function", function: { name: "get_weather", parameters } },
      { type: "function", function: { name: "read_clock" } },
    ],
  };
  const { choices } = await client.chat.completions.stream(ask).finalChatCompletion();
  const calls = choices[0].message.tool_calls.map((call) => [call.function.name, JSON.parse(call.function.arguments)]);
  assert.deepEqual(calls, [["get_weather", { city: "Oslo" }], ["read_clock", {}]]);
  assert.equal(choices[0].finish_reason, "tool_calls");
});

test("the tool runner calls our function and ends with words", async () => {
  const called = [];
  const runner = client.chat.completions.runTools({
    model,
    messages: [{ role: "user", content: "get_weather 'Oslo'" }],
    tools: [
      {
        type: "function",
        function: { name: "get_weather", parameters, parse: JSON.parse, function: ({ city }) => (called.push(city), "rain") },
      },
    ],
  });
  assert.ok(await runner.finalContent());
  assert.deepEqual(called, ["Oslo"]);
});

test("structured output is parsed", async () => {
  const ask = { model, messages, response_format: zodResponseFormat(Place, "place") };
  const answer = await client.chat.completions.parse(ask);
  assert.ok(Place.safeParse(answer.choices[0].message.parsed).success);
});

test("responses are answered whole, in pieces, with tools and parsed", async () => {
  const whole = await client.responses.create({ model, input: question });
  assert.ok(whole.output_text);
  const streamed = await client.responses.stream({ model, input: question }).finalResponse();
  assert.equal(streamed.output_text, whole.output_text);
  const tools = [{ type: "function", name: "get_weather", parameters, strict: false }];
  const asked = await client.responses.create({ model, input: "get_weather 'Oslo'", tools });
  assert.deepEqual(JSON.parse(asked.output[0].arguments), { city: "Oslo" });
  const parsed = await client.responses.parse({ model, input: question, text: { format: zodTextFormat(Place, "place") } });
  assert.ok(Place.safeParse(parsed.output_parsed).success);
});

test("failures arrive as the errors that clients catch", async () => {
  const ask = (more, own = client) => own.chat.completions.create({ model, messages, ...more });
  await assert.rejects(ask({ model: "no-such-model" }), (error) => {
    assert.ok(error instanceof OpenAI.NotFoundError);
    assert.equal(error.code, "model_not_found");
    assert.ok(error.requestID);
    return true;
  });
  await assert.rejects(ask({}, client.withOptions({ apiKey: "sk-wrong" })), OpenAI.AuthenticationError);
  await assert.rejects(ask({ messages: [] }), OpenAI.BadRequestError);
  await assert.rejects(ask({ model: "fail-429" }), OpenAI.RateLimitError);
  await assert.rejects(ask({ model: "fail-503" }), OpenAI.InternalServerError);
  await assert.rejects(async () => all(await ask({ model: "fail-cut", stream: true })));
});
