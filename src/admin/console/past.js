// The last five minutes of each provider, one sample a second.

// One sample a second, five minutes.
export const SAMPLES = 300;

const COLUMNS = ["in_flight", "queued", "tokens", "wait_ms", "refused"];
const past = new Map();

// Records a sample of every provider; `history`, which comes with a snapshot, has all samples
// before it.
export function remember(providers, history = null) {
  if (history) past.clear();
  for (const { name, rates } of providers) {
    if (!past.has(name)) past.set(name, history?.[name] ?? Object.fromEntries(COLUMNS.map((column) => [column, []])));
    if (!history && rates.sample) add(past.get(name), rates.sample);
  }
  for (const name of past.keys()) {
    if (!providers.some((provider) => provider.name === name)) past.delete(name);
  }
}

export function pastOf(name) {
  return past.get(name);
}

function add(known, sample) {
  for (const column of COLUMNS) {
    known[column].push(sample[column]);
    if (known[column].length > SAMPLES) known[column].shift();
  }
}

// Tokens are counted when an answer ends; a mean over ten seconds shows the rate.
export function smooth(samples) {
  let sum = 0;
  return samples.map((sample, index) => {
    sum += sample - (index >= 10 ? samples[index - 10] : 0);
    return sum / Math.min(index + 1, 10);
  });
}
