// Elements. What comes from the cluster is text, never markup.

export const byId = (id) => document.getElementById(id);

const SVG = "http://www.w3.org/2000/svg";

function fill(element, props, children) {
  for (const [name, value] of Object.entries(props ?? {})) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "style") for (const [what, how] of Object.entries(value)) element.style.setProperty(what, how);
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

export const h = (tag, props, ...children) => fill(document.createElement(tag), props, children);
export const s = (tag, props, ...children) => fill(document.createElementNS(SVG, tag), props, children);

const drawn = new WeakMap();

// Make the children of `parent` those that `items` tell of, each {key, sign, make}. What has the same key and sign as
// before stays as it is, with its focus; what has the same key keeps the focus though it is drawn anew.
export function keep(parent, items) {
  const before = drawn.get(parent) ?? new Map();
  const now = new Map();
  const focused = parent.contains(document.activeElement) ? document.activeElement.dataset.focus : null;
  let place = parent.firstChild;
  for (const { key, sign, make } of items) {
    const old = before.get(key);
    const element = old && old.sign === sign ? old.element : make();
    now.set(key, { sign, element });
    if (element === place) place = place.nextSibling;
    else parent.insertBefore(element, place);
  }
  while (place) {
    const next = place.nextSibling;
    place.remove();
    place = next;
  }
  drawn.set(parent, now);
  if (focused && !parent.contains(document.activeElement)) {
    parent.querySelector(`[data-focus="${CSS.escape(focused)}"]`)?.focus();
  }
}

// Write it only where it is another: what does not change is not announced and not laid out anew.
export function write(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

export const say = (text) => write(byId("said"), text);
