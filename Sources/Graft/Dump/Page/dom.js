// Creation of elements. Text only becomes a text node or an attribute value, so nothing of the model is
// parsed as markup.

const byId = (id) => document.getElementById(id);

/** The namespace of the page's own drawings, so that no address has to be written down. */
const svgNamespace = byId("graph-canvas").namespaceURI;

/** An HTML element: h("button", { class: "x", onclick: f }, "text", child …). */
function h(name, attributes, ...children) {
  return fill(document.createElement(name), attributes, children);
}

/** An SVG element, made in the same way. */
function s(name, attributes, ...children) {
  return fill(document.createElementNS(svgNamespace, name), attributes, children);
}

function fill(element, attributes, children) {
  for (const [key, value] of Object.entries(attributes ?? {})) {
    if (value === null || value === undefined || value === false) continue;
    if (typeof value === "function") element.addEventListener(key.slice(2), value);
    else element.setAttribute(key, value === true ? "" : value);
  }
  append(element, children);
  return element;
}

function append(element, children) {
  for (const child of children.flat(Infinity)) {
    if (child === null || child === undefined || child === false) continue;
    element.append(child instanceof Node ? child : String(child));
  }
}

function replace(element, ...children) {
  element.replaceChildren();
  append(element, children);
}

/** A name of the model, in a separate typeface and with isolated text direction. */
function nameText(text, attributes) {
  return h("bdi", { class: "name", ...attributes }, printable(text));
}

/** The swatch of a family of operators. */
function swatch(family) {
  return h("span", { class: `swatch ${family}`, "aria-hidden": "true" });
}

const measure = document.createElement("canvas").getContext("2d");

/** The width of text in pixels. */
function textWidth(text, font) {
  measure.font = font;
  return measure.measureText(text).width;
}

/** Shortens text to a width in pixels, with `tail` at its start or with `head` at its end. */
function fitText(text, width, font, shorten = tail) {
  let fitted = shorten(text, 120);
  let length = Array.from(fitted).length;
  while (length > 1) {
    const excess = textWidth(fitted, font) / width;
    if (excess <= 1) break;
    length = Math.min(length - 1, Math.ceil(length / excess));
    fitted = shorten(text, length);
  }
  return fitted;
}

const prefersStillness = matchMedia("(prefers-reduced-motion: reduce)");
