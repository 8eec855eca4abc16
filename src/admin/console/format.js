// Numbers with their units, and words for the gateway's codes.

const WHOLE = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const TENTHS = new Intl.NumberFormat("en", { minimumFractionDigits: 1, maximumFractionDigits: 1 });
const SHORT = new Intl.NumberFormat("en", { notation: "compact", maximumFractionDigits: 1 });
const CLOCK = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit", second: "2-digit" });
const DAY = new Intl.DateTimeFormat("en-GB", { dateStyle: "medium", timeStyle: "medium" });

export const NOTHING = "–";

export function count(number) {
  return number === null || number === undefined ? NOTHING : WHOLE.format(number);
}

// Writes 1,234 as 1.2K where space is scarce.
export function brief(number) {
  if (number === null || number === undefined) return NOTHING;
  return number < 1_000 ? WHOLE.format(number) : SHORT.format(number);
}

// A rate, with one decimal if it is small.
export function rate(number) {
  if (number === null || number === undefined) return NOTHING;
  return number === 0 ? "0" : number < 100 ? TENTHS.format(number) : WHOLE.format(number);
}

// A time in milliseconds: 340 ms, 2.4 s, 48 s, 3 min 05 s.
export function ms(time) {
  if (time === null || time === undefined) return NOTHING;
  if (time < 1_000) return `${WHOLE.format(time)} ms`;
  if (time < 10_000) return `${TENTHS.format(Math.floor(time / 100) / 10)} s`;
  return seconds(time / 1_000);
}

// A time in seconds: 48 s, 3 min 05 s, 2 h 10 min, 4 d 3 h.
export function seconds(time) {
  const whole = Math.max(0, Math.floor(time));
  const two = (number) => String(number).padStart(2, "0");
  if (whole < 60) return `${whole} s`;
  if (whole < 3_600) return `${Math.floor(whole / 60)} min ${two(whole % 60)} s`;
  if (whole < 86_400) return `${Math.floor(whole / 3_600)} h ${two(Math.floor(whole / 60) % 60)} min`;
  return `${Math.floor(whole / 86_400)} d ${Math.floor(whole / 3_600) % 24} h`;
}

// A remaining time, which is never shown as zero.
export function left(time) {
  return time < 1_000 ? "under 1 s" : seconds(Math.ceil(time / 1_000));
}

// A size in bytes: 640 MB, 4.7 GB.
export function bytes(size) {
  return size < 1_000_000_000 ? `${WHOLE.format(size / 1_000_000)} MB` : `${TENTHS.format(size / 1_000_000_000)} GB`;
}

// A part of 1, in percent.
export function percent(part) {
  return `${WHOLE.format(part * 100)} %`;
}

export function clock(at) {
  return CLOCK.format(new Date(at));
}

export function day(at) {
  return DAY.format(new Date(at));
}

export function plural(number, one, many) {
  return `${count(number)} ${number === 1 ? one : many}`;
}

// The outcome of a request, in words and as a tone: good, warn, bad or calm.
export const OUTCOMES = {
  ok: ["OK", "good"],
  client_error: ["Client error", "calm"],
  rate_limited: ["Rate limited", "warn"],
  overloaded: ["Overloaded", "warn"],
  unavailable: ["Unavailable", "bad"],
  timeout: ["Timed out", "bad"],
  upstream_error: ["Provider failed", "bad"],
  cancelled: ["Client left", "calm"],
};

// The stage of a request.
export const PHASES = {
  begin: ["Arrived", "live"],
  wait: ["Waiting", "wait"],
  call: ["Called", "live"],
  first: ["Answering", "live"],
};

export function outcomeWords(outcome) {
  return OUTCOMES[outcome] ?? [String(outcome), "calm"];
}
