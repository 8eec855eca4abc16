// Changes the limits of a provider immediately, takes them back to what the file says, and drains and
// resumes the provider.

import { callJson } from "./api.js";
import { announce, el, mark, say, show } from "./dom.js";
import { offerUndo } from "./undo.js";

const FIELDS = [
  {
    key: "max_concurrency",
    label: "Slots",
    hint: "1–100000 or auto",
    shown: (provider) => String(provider.max_concurrency),
    read: (text) => (text === "auto" ? "auto" : whole(text, 1, 100_000)),
    wrong: "Slots: write a whole number from 1 to 100000, or auto",
  },
  {
    key: "max_queue",
    label: "Places in line",
    hint: "0–100000",
    shown: (provider) => String(provider.max_queue),
    read: (text) => whole(text, 0, 100_000),
    wrong: "Places in line: write a whole number from 0 to 100000",
  },
  {
    key: "max_queue_wait_ms",
    label: "Max wait, s",
    hint: "0–86400",
    shown: (provider) => String(provider.max_queue_wait_ms / 1_000),
    read: (text) => (/^\d{1,5}(\.\d{1,3})?$/.test(text) && Number(text) <= 86_400 ? Math.round(Number(text) * 1_000) : null),
    wrong: "Max wait: write seconds from 0 to 86400",
  },
];

export function knobs(name) {
  const path = `/admin/providers/${encodeURIComponent(name)}`;
  const id = (key) => `knob-${name}-${key}`;
  const problem = el("p", { class: "problem", id: id("problem"), role: "alert" });
  const inputs = FIELDS.map((field) =>
    el("input", {
      id: id(field.key),
      name: field.key,
      inputmode: field.key === "max_concurrency" ? null : "decimal",
      autocomplete: "off",
      spellcheck: "false",
      "aria-describedby": problem.id,
      on: { input: changed, keydown: escape },
    }),
  );
  const files = FIELDS.map(() => el("span", { class: "file" }));
  const back = el("button", { type: "button", class: "plain", on: { click: restore } }, "Back to the file");
  const apply = el("button", { type: "submit", disabled: true }, "Apply");
  const drain = el("button", { type: "button", class: "plain", on: { click: turn } }, "Drain");
  const node = el(
    "form",
    { class: "knobs", "aria-label": `Limits of ${name}`, novalidate: true, on: { submit } },
    el(
      "div",
      { class: "fields" },
      ...FIELDS.map((field, index) =>
        el("div", { class: "field" }, el("label", { for: id(field.key), title: field.hint }, field.label, files[index]), inputs[index]),
      ),
    ),
    el("div", { class: "actions" }, apply, back, drain),
    problem,
  );
  let latest = null;
  return { node, update };

  // Fields that the operator has changed and not yet applied keep their text.
  function update(provider) {
    latest = provider;
    FIELDS.forEach((field, index) => {
      const input = inputs[index];
      const isDirty = input.value !== input.defaultValue;
      const shown = field.shown(provider);
      if (input.defaultValue !== shown) input.defaultValue = shown;
      if (!isDirty && input.value !== shown) input.value = shown;
      say(files[index], differs(field, provider) ? `file: ${field.shown(provider.configured)}` : "");
    });
    show(back, FIELDS.some((field) => differs(field, provider)));
    say(drain, provider.draining ? "Resume" : "Drain");
    mark(drain, "aria-label", `${provider.draining ? "Resume" : "Drain"} ${name}`);
    mark(drain, "title", provider.draining ? "Give it work again" : "Give it no new work; what runs and waits is served");
    changed();
  }

  function dirty() {
    return FIELDS.map((field, index) => [field, inputs[index]]).filter(([, input]) => input.value !== input.defaultValue);
  }

  function changed() {
    const isChanged = dirty().length > 0;
    if (apply.disabled === isChanged) apply.disabled = !isChanged;
    mark(node, "data-changed", isChanged ? "" : null);
  }

  function escape(event) {
    if (event.key !== "Escape") return;
    event.target.value = event.target.defaultValue;
    say(problem, "");
    mark(event.target, "aria-invalid", null);
    changed();
  }

  async function submit(event) {
    event.preventDefault();
    const change = {};
    const wrong = [];
    for (const [field, input] of dirty()) {
      const value = field.read(input.value.trim());
      mark(input, "aria-invalid", value === null ? "true" : null);
      if (value === null) wrong.push([field.wrong, input]);
      else change[field.key] = value;
    }
    if (wrong.length) {
      say(problem, wrong.map(([words]) => words).join(". "));
      wrong[0][1].focus();
      return;
    }
    if (Object.keys(change).length === 0) return;
    await patch(change);
  }

  // A limit that is null goes back to what the file says.
  async function restore() {
    const changed = FIELDS.filter((field) => differs(field, latest));
    await patch(Object.fromEntries(changed.map((field) => [field.key, null])));
  }

  async function patch(change) {
    const { ok, body } = await callJson(path, {
      method: "PATCH",
      headers: { "content-type": "application/json" },
      body: JSON.stringify(change),
    });
    if (!ok) {
      say(problem, `Refused: ${body.detail}`);
      return;
    }
    say(problem, "");
    for (const input of inputs) input.value = input.defaultValue;
    update({ ...latest, ...body });
    announce(`Limits of ${name} changed`);
  }

  async function turn() {
    const isDraining = !latest?.draining;
    if ((await send(isDraining ? "drain" : "resume")) && isDraining) {
      offerUndo(`${name} takes no new work.`, () => send("resume"));
    }
  }

  async function send(verb) {
    const { ok, body } = await callJson(`${path}/${verb}`, { method: "POST" });
    say(problem, ok ? "" : `Refused: ${body.detail}`);
    if (ok) update({ ...latest, ...body });
    return ok;
  }
}

// Whether a limit is another one than the file says.
function differs(field, provider) {
  return provider?.configured !== undefined && field.shown(provider.configured) !== field.shown(provider);
}

function whole(text, least, most) {
  const number = /^\d{1,6}$/.test(text) ? Number(text) : NaN;
  return number >= least && number <= most ? number : null;
}
