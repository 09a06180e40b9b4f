// @ts-check
// What the net says: of each step, or of the whole sequence.

import { bar, element, largest, number } from "./dom.js";

/** @typedef {import("./model.js").Model} Model */

const LONGEST = 9; // Outputs that are shown.

/**
 * Returns the outputs, of the shown step if there are several, as bars. A line marks what they were
 * before any change.
 * @param {Model} model @param {string[]} classes whose logits they are, or []
 */
export function drawOutput(model, classes) {
  const whole = model.current.ys.length === 1;
  const at = whole ? 0 : model.place.t;
  const [now, before] = [model.current, model.original].map(({ ys }) =>
    classes.length ? softmax(Array.from(ys[at])) : Array.from(ys[at]),
  );
  const order = [...now.keys()];
  if (order.length > LONGEST) order.sort((a, b) => Math.abs(now[b]) - Math.abs(now[a]));
  const shown = order.slice(0, LONGEST);
  const top = classes.length ? 1 : largest([...model.current.ys, ...model.original.ys]);
  const text = (/** @type {number} */ value) =>
    classes.length ? `${number(100 * value, 1)} %` : number(value, 3);
  const changed = shown.some((i) => Math.abs(now[i] - before[i]) > 1e-6);
  const caption = [
    classes.length ? "Class probabilities " : "Outputs ",
    whole ? "for the whole sequence" : `at step ${at}`,
    shown.length < now.length ? `: the ${shown.length} largest of ${now.length}` : "",
    changed ? ". A line marks the value before the changes." : "",
  ];
  const rows = shown.map((i) =>
    element(
      "tr",
      {},
      element("th", { scope: "row" }, classes[i] ?? (now.length > 1 ? `output ${i}` : "output")),
      element("td", {}, text(now[i])),
      element("td", {}, bar(now[i], top, !classes.length, before[i])),
      element(
        "td",
        { class: "was" },
        text(now[i]) === text(before[i]) ? "" : `was ${text(before[i])}`,
      ),
    ),
  );
  return element(
    "figure",
    { class: "output" },
    element("figcaption", {}, caption.join("")),
    element("table", {}, element("tbody", {}, ...rows)),
  );
}

/** @param {number[]} logits */
function softmax(logits) {
  const top = Math.max(...logits);
  const powers = logits.map((a) => Math.exp(a - top));
  const sum = powers.reduce((a, b) => a + b);
  return powers.map((a) => a / sum);
}
