// @ts-check
// Small helpers: elements, colours, numbers, bars.

const SVG = "http://www.w3.org/2000/svg";
const SVG_TAGS = ["svg", "g", "rect", "line", "path", "circle", "text"];

/**
 * Makes an element. Attributes named on* are listeners; null and false leave an attribute out.
 * @param {string} tag @param {Record<string, any>} attributes @param {...(Node | string)} children
 * @returns {any}
 */
export function element(tag, attributes = {}, ...children) {
  const node = SVG_TAGS.includes(tag)
    ? document.createElementNS(SVG, tag)
    : document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (value === true) node.setAttribute(name, "");
    else if (value != null && value !== false) node.setAttribute(name, String(value));
  }
  node.append(...children);
  return node;
}

/** From shut and dark to open and light, and from negative by grey to positive. */
const SHARES = [
  [8, 36, 74],
  [43, 123, 186],
  [227, 243, 255],
];
const SIGNED = [
  [42, 10, 107],
  [145, 140, 150],
  [255, 223, 92],
];

/**
 * Returns red, green and blue of a value from 0 to 1 or, of no share, from -scale to scale.
 * @param {number} value @param {boolean} share @param {number} scale
 */
export function colour(value, share, scale = 1) {
  const stops = share ? SHARES : SIGNED;
  const place = Math.max(0, Math.min(1, share ? value / scale : (value / scale + 1) / 2)) * 2;
  const i = Math.min(1, Math.floor(place));
  return stops[i].map((low, k) => Math.round(low + (place - i) * (stops[i + 1][k] - low)));
}

/** Returns a colour for CSS. @param {number[]} rgb */
export const css = (rgb) => `rgb(${rgb.join(" ")})`;

/**
 * Returns black or white, whichever has the greater contrast to a colour (WCAG 2.2).
 * @param {number[]} rgb
 */
export function ink(rgb) {
  const linear = (/** @type {number} */ v) =>
    v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
  const [r, g, b] = rgb.map((value) => linear(value / 255));
  return 0.2126 * r + 0.7152 * g + 0.0722 * b > 0.179 ? "#000" : "#fff";
}

/** Returns a number with a true minus sign. @param {number} value @param {number} digits */
export function number(value, digits = 2) {
  const text = value.toFixed(digits);
  return (Number(text) === 0 ? text.replace("-", "") : text).replace("-", "\u2212");
}

/** Returns the largest size of a value. @param {Iterable<ArrayLike<number>>} vectors */
export function largest(vectors) {
  let top = 1e-9;
  for (const values of vectors) {
    for (let i = 0; i < values.length; i++) top = Math.max(top, Math.abs(values[i]));
  }
  return top;
}

/**
 * Returns a bar of a value from 0 to `top` or, if signed, from -top to top, and a line at a mark.
 * @param {number} value @param {number} top @param {boolean} signed @param {number} mark
 */
export function bar(value, top, signed, mark = 0) {
  const x = (/** @type {number} */ a) => (signed ? 50 + (50 * a) / top : (100 * a) / top);
  const ends = [x(0), x(value)].sort((a, b) => a - b);
  const kind = value < 0 ? "less" : "more";
  return element(
    "svg",
    { viewBox: "0 0 100 10", class: "bar", preserveAspectRatio: "none", "aria-hidden": "true" },
    element("rect", { x: ends[0], width: ends[1] - ends[0], y: 1, height: 8, class: kind }),
    element("line", { x1: x(mark), x2: x(mark), y1: 0, y2: 10 }),
  );
}

/**
 * @typedef {Array<string | Node>} Row its name, and its cells
 * `here` is the number of the row that is shown in the picture.
 * @typedef {{caption: string, head: Row, rows: Row[], foot?: Row[], here?: number, kind?: string}}
 *   Table
 */

/** Returns a table. @param {Table} table */
export function drawTable({ caption, head, rows, foot = [], here, kind }) {
  const line = (/** @type {Row} */ [name, ...cells], /** @type {boolean} */ current) =>
    element(
      "tr",
      { "aria-current": current && "true" },
      element("th", { scope: "row" }, name),
      ...cells.map((cell) => element("td", {}, cell)),
    );
  const heads = head.map((name) => element("th", { scope: "col" }, name));
  return element(
    "table",
    { class: kind },
    element("caption", {}, caption),
    element("thead", {}, element("tr", {}, ...heads)),
    element("tbody", {}, ...rows.map((row, i) => line(row, i === here))),
    ...(foot.length ? [element("tfoot", {}, ...foot.map((row) => line(row, false)))] : []),
  );
}

/**
 * Returns a picture's numbers, filled in when they are asked for.
 * @param {string} name of the picture, or of its rows @param {() => Table} make
 */
export function tabulate(name, make) {
  const text = name.startsWith("all ") ? `numbers of ${name}` : "numbers";
  const details = element("details", { "data-of": name }, element("summary", {}, text));
  details.addEventListener("toggle", () => {
    if (!details.open || details.childElementCount > 1) return;
    const group = { class: "scroll", tabindex: 0, role: "group", "aria-label": `${name}, numbers` };
    details.append(element("div", group, drawTable(make())));
  });
  return details;
}

/** Returns a box to tick, and what sets its label. @param {(on: boolean) => void} set */
export function makeCheck(set) {
  const input = element("input", { type: "checkbox", onchange: () => set(input.checked) });
  const name = element("span");
  const node = element("label", {}, input, " ", name);
  const update = (/** @type {string} */ text, /** @type {boolean} */ on) => {
    name.textContent = text;
    input.checked = on;
  };
  return { node, update };
}
