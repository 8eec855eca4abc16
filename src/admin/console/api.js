// Calls to the admin listener, with the token where one is needed.

import { askForToken, token } from "./token.js";

export async function call(path, options = {}) {
  for (;;) {
    const used = token();
    const headers = new Headers(options.headers);
    if (used) headers.set("authorization", `Bearer ${used}`);
    const response = await fetch(path, { ...options, headers, cache: "no-store", credentials: "omit" });
    if (response.status !== 401 || response.headers.has("x-request-id")) return response;
    // Another call may have been told a better one meanwhile.
    if (token() === used) await askForToken();
  }
}

// A call whose answer is JSON: `{ ok, status, body }`. Whatever goes wrong is a sentence in `body.detail`.
export async function callJson(path, options) {
  try {
    const response = await call(path, options);
    const body = await response.json().catch(() => ({ detail: `status ${response.status}` }));
    return { ok: response.ok, status: response.status, body };
  } catch {
    return { ok: false, status: 0, body: { detail: "the gateway does not answer" } };
  }
}
