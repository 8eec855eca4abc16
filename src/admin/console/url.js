// What the page shows, kept in its address, so that it can be sent to a colleague and survives a
// reload: the filter, which requests, and the open providers.

const known = new URLSearchParams(location.search);

export function read(name) {
  return known.get(name) ?? "";
}

// Changes the address without a new entry in the history. An empty value removes the name.
export function write(name, value) {
  if (read(name) === value) return;
  if (value) known.set(name, value);
  else known.delete(name);
  const query = known.toString();
  history.replaceState(null, "", query ? `?${query}` : location.pathname);
}
