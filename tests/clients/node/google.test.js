// Google's client for Node.

import assert from "node:assert/strict";
import { test } from "node:test";
import { ApiError, GoogleGenAI } from "@google/genai";
import { all, key, model, question, url } from "./gateway.js";

const client = (apiKey) => new GoogleGenAI({ apiKey, httpOptions: { baseUrl: url, apiVersion: "v1beta" } });
const google = client(key);
const schema = { type: "OBJECT", properties: { city: { type: "STRING" } }, required: ["city"] };
const tools = [{ functionDeclarations: [{ name: "get_weather", parameters: schema }] }];

test("a streamed answer joins to the whole one", async () => {
  const whole = await google.models.generateContent({ model, contents: question });
  assert.equal(whole.candidates[0].finishReason, "STOP");
  assert.equal(whole.modelVersion, model);
  const pieces = await all(await google.models.generateContentStream({ model, contents: question }));
  assert.equal(pieces.map((piece) => piece.text ?? "").join(""), whole.text);
  assert.deepEqual(pieces.at(-1).usageMetadata, whole.usageMetadata);
});

test("a function is called and its result taken", async () => {
  const asked = await google.models.generateContent({ model, contents: "get_weather 'Oslo'", config: { tools } });
  const [call] = asked.functionCalls;
  assert.deepEqual([call.name, call.args], ["get_weather", { city: "Oslo" }]);
  const functionResponse = { id: call.id, name: call.name, response: { output: "rain" } };
  const contents = [
    { role: "user", parts: [{ text: "get_weather 'Oslo'" }] },
    asked.candidates[0].content,
    { role: "user", parts: [{ functionResponse }] },
  ];
  const answer = await google.models.generateContent({ model, contents, config: { tools } });
  assert.ok(answer.text && !answer.functionCalls);
});

test("a conversation goes on after a stream", async () => {
  const chat = google.chats.create({ model });
  await all(await chat.sendMessageStream({ message: question }));
  assert.ok((await chat.sendMessage({ message: "And now?" })).text);
  const roles = chat.getHistory(true).map((content) => content.role);
  assert.ok(roles[0] === "user" && roles.at(-1) === "model" && roles.filter((role) => role === "user").length === 2);
});

test("schemas, thoughts, vectors, counts and models", async () => {
  const config = { responseMimeType: "application/json", responseSchema: schema };
  const shaped = await google.models.generateContent({ model, contents: question, config });
  assert.equal(typeof JSON.parse(shaped.text).city, "string");
  const thinking = { thinkingConfig: { includeThoughts: true } };
  const thought = await google.models.generateContent({ model: "qwen3", contents: question, config: thinking });
  assert.deepEqual(thought.candidates[0].content.parts.map((part) => part.thought ?? false), [true, false]);
  const embedded = await google.models.embedContent({ model: "nomic-embed-text", contents: ["a", "b"] });
  assert.equal(embedded.embeddings.length, 2);
  assert.ok((await google.models.countTokens({ model, contents: question })).totalTokens > 0);
  const listed = await all(await google.models.list());
  assert.ok(listed.some((entry) => entry.name.startsWith(`models/${model}`)));
});

test("failures are errors with a status", async () => {
  const fails = (promise, status) =>
    assert.rejects(promise, (error) => {
      assert.ok(error instanceof ApiError, String(error));
      assert.equal(error.status, status);
      return true;
    });
  await fails(google.models.generateContent({ model: "no-such-model", contents: question }), 404);
  await fails(client("sk-wrong").models.generateContent({ model, contents: question }), 401);
  await fails(
    (async () => all(await google.models.generateContentStream({ model: "fail-late", contents: question })))(),
    502,
  );
});
