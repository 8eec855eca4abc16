// Builds and changes elements. Text is always text: nothing here or elsewhere turns a string into markup.

const SVG = "http://www.w3.org/2000/svg";

// An element: el("p", { class: "note", on: { click } }, "text", child). What is false or null is left out.
export function el(tag, attributes = {}, ...children) {
  return fill(document.createElement(tag), attributes, children);
}

// The same for drawings.
export function svg(tag, attributes = {}, ...children) {
  return fill(document.createElementNS(SVG, tag), attributes, children);
}

// Changes a text only when it differs, so that a selection survives and nothing is painted in vain.
export function say(node, text) {
  const value = String(text);
  if (node.textContent !== value) node.textContent = value;
}

// Sets or removes an attribute only when it differs.
export function mark(node, name, value) {
  if (value === null || value === false || value === undefined) {
    if (node.hasAttribute(name)) node.removeAttribute(name);
  } else if (node.getAttribute(name) !== String(value)) {
    node.setAttribute(name, String(value));
  }
}

// Shows or hides.
export function show(node, visible) {
  if (node.hidden === visible) node.hidden = !visible;
}

// Makes `parent` hold exactly these children, moving as few as possible.
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

// Says something to those who do not see the page. The same words twice are said once.
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
