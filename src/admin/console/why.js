// Why a request was turned away, in a few words.

import { count } from "./format.js";

const WORDS = {
  queue_full: "line full",
  over_share: "its share of the line",
  pushed_out: "pushed out by a key with less",
  predicted_wait: "wait would be too long",
  waited_too_long: "waited too long",
  deadline_passed: "deadline passed in line",
  breaker_open: "provider keeps failing",
  cooling_down: "provider asked for a pause",
  auth_failed: "provider refuses the key",
  quarantined: "crashes the model",
  draining: "being drained",
  requests: "requests used up",
  tokens_per_minute: "tokens of the minute used up",
  tokens_per_day: "tokens of the day used up",
  concurrency: "too many at one time",
  too_large: "larger than its limit",
  failures: "too many wrong keys",
  invalid_api_key: "no valid key",
  not_allowed: "not allowed",
  model_not_found: "no such model",
  no_provider_for_policy: "no provider by data policy",
  left_waiting: "left the line",
  mailbox_full: "gateway overloaded",
  bodies_full: "gateway holds too many bytes",
  stopping: "gateway stops",
};

export function whyWords(reason) {
  return WORDS[reason] ?? reason.replaceAll("_", " ");
}

// Why a request is where it is, or ended as it did; empty if there is nothing to explain.
export function whyOf(request) {
  const failed = (request.steps ?? []).filter((step) => step.phase === "failed").at(-1);
  if (request.phase === "wait") return request.attempts ? `again, after: ${failed?.cause ?? "a failure"}` : "no slot is free";
  if (request.outcome === "ok" || request.phase !== "end") return failed ? `call ${count(request.attempts)}, after: ${failed.cause}` : "";
  if (request.reason) return whyWords(request.reason);
  if (request.outcome === "cancelled") return request.attempts ? "" : "left the line";
  return failed?.cause ?? (request.code && request.code !== request.outcome ? whyWords(request.code) : "");
}
