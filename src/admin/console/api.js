// Calls to the admin listener, with the token if one is required.

import { askForToken, token } from "./token.js";

export async function call(path, options = {}) {
  for (;;) {
    const used = token();
    const headers = new Headers(options.headers);
    if (used) headers.set("authorization", `Bearer ${used}`);
    const response = await fetch(path, { ...options, headers, cache: "no-store", credentials: "omit" });
    if (response.status !== 401 || response.headers.has("x-request-id")) return response;
    // Another call may have got a better token meanwhile.
    if (token() === used) await askForToken();
  }
}

// Makes a call whose answer is JSON and returns `{ ok, status, body }`. A failure is a sentence in
// `body.detail`.
export async function callJson(path, options) {
  try {
    const response = await call(path, options);
    const body = await response.json().catch(() => ({ detail: `status ${response.status}` }));
    return { ok: response.ok, status: response.status, body };
  } catch {
    return { ok: false, status: 0, body: { detail: "the gateway does not answer" } };
  }
}
