// Where the gateway under test is, and what every test asks of it.

export const url = process.env.GATEWAY_URL;
export const key = process.env.GATEWAY_KEY;
export const model = "llama3.1";
export const question = "Why is the line long?";

// The last of what an async iterable gives, and everything.
export async function all(iterable) {
  const items = [];
  for await (const item of iterable) items.push(item);
  return items;
}
