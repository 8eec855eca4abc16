// Builds and changes elements. Text stays text: neither this nor any other module makes markup from
// a string.

const SVG = "http://www.w3.org/2000/svg";

// Makes an element: el("p", { class: "note", on: { click } }, "text", child). Attributes and
// children that are false or null are omitted.
export function el(tag, attributes = {}, ...children) {
  return fill(document.createElement(tag), attributes, children);
}

// Makes an SVG element in the same way.
export function svg(tag, attributes = {}, ...children) {
  return fill(document.createElementNS(SVG, tag), attributes, children);
}

// Changes a text only if it differs, so that a selection survives and no unchanged text is painted
// again.
export function say(node, text) {
  const value = String(text);
  if (node.textContent !== value) node.textContent = value;
}

// Sets or removes an attribute only if it differs.
export function mark(node, name, value) {
  if (value === null || value === false || value === undefined) {
    if (node.hasAttribute(name)) node.removeAttribute(name);
  } else if (node.getAttribute(name) !== String(value)) {
    node.setAttribute(name, String(value));
  }
}

// Shows or hides an element.
export function show(node, visible) {
  if (node.hidden === visible) node.hidden = !visible;
}

// Gives `parent` exactly these children, and moves as few as possible.
export function arrange(parent, children) {
  let at = parent.firstChild;
  for (const child of children) {
    if (child === at) at = at.nextSibling;
    else parent.insertBefore(child, at);
  }
  while (at) {
    const next = at.nextSibling;
    at.remove();
    at = next;
  }
}

// Announces a text to screen readers. The same text twice in a row is announced once.
export function announce(text) {
  say(document.getElementById("announcer"), text);
}

function fill(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name === "on") {
      for (const [event, listener] of Object.entries(value)) node.addEventListener(event, listener);
    } else {
      node.setAttribute(name, value === true ? "" : String(value));
    }
  }
  node.append(...children.filter((child) => child !== null && child !== undefined));
  return node;
}
