// @ts-check
// The third level: one number of one unit, term by term, and the curve that it goes through.

import { bar, drawTable, element, largest, number, tabulate } from "./dom.js";
import { sigmoid } from "./gru.js";
import { math } from "./words.js";

/**
 * @typedef {import("./model.js").Model} Model
 * @typedef {{name: string, weight: number, value: number, product: number}} Term
 */

const LISTED = 12; // Terms, each with a bar.
const TITLES = { r: "reset gate", z: "update gate", c: "candidate", h: "new state" };

/** Returns the view. @param {Model} model */
export function drawUnit(model) {
  const { gate, unit, t } = model.place;
  const tabs = Object.entries(TITLES).map(([name, title]) =>
    element(
      "button",
      {
        "aria-pressed": String(name === gate),
        onclick: () => model.go({ gate: /** @type {any} */ (name) }),
      },
      math(`${name}_t`),
      ` ${title}`,
    ),
  );
  return element(
    "div",
    { class: "unit" },
    element("h2", {}, `unit ${unit}, step ${t}`),
    element("div", { class: "tabs", role: "group", "aria-label": "number to explain" }, ...tabs),
    element(
      "div",
      { class: "work", style: `view-transition-name: map-${gate}` },
      ...(gate === "h" ? drawMix(model) : drawSum(model, gate)),
    ),
  );
}

/**
 * Returns all terms of the sum of a gate or of the candidate.
 * @param {Model} model @param {"r" | "z" | "c"} gate
 */
function terms(model, gate) {
  const { trace, step, place } = model;
  const { input, hidden, b_h } = trace.cell;
  const { unit } = place;
  const [W, b] = /** @type {const} */ ([trace.cell[`W_${gate}`], trace.cell[`b_${gate}`]]);
  const weigh = (/** @type {number} */ row) => W[row * hidden + unit];
  const after = step.q !== null;
  const r = gate === "c" ? step.r : null;
  const states = Array.from(step.before, (h, i) =>
    r
      ? term(`r·h${i}`, weigh(input + i), r[after ? unit : i] * h)
      : term(`h${i}`, weigh(input + i), h),
  );
  const more = r && b_h ? [term("bias of h", b_h[unit], after ? r[unit] : 1)] : [];
  return [
    ...Array.from(step.x, (x, i) => term(model.readName(i), weigh(i), x)),
    ...states,
    ...more,
    term("bias", b[unit], 1),
  ];
}

/** @type {(name: string, weight: number, value: number) => Term} */
const term = (name, weight, value) => ({ name, weight, value, product: weight * value });

/** @param {Term[]} terms */
const total = (terms) => terms.reduce((sum, one) => sum + one.product, 0);

/** Returns a table of terms, each with a bar, and of their sum. @param {Term[]} every */
function drawTerms(every) {
  const order = [...every].sort((a, b) => Math.abs(b.product) - Math.abs(a.product));
  const [shown, rest] = [order.slice(0, LISTED), order.slice(LISTED)];
  const others = total(rest);
  const top = largest([shown.map((one) => one.product), [others]]);
  const rows = shown.map(({ name, weight, value, product }) => [
    ...[name, ...[weight, value, product].map((a) => number(a, 3))],
    bar(product, top, true),
  ]);
  if (rest.length) {
    const name = `${rest.length} other term${rest.length > 1 ? "s" : ""}`;
    rows.push([name, "", "", number(others, 3), bar(others, top, true)]);
  }
  return drawTable({
    kind: "terms",
    caption: `The ${every.length} terms of the sum, largest effect first`,
    head: ["term", "weight", "value", "weight × value", "bar"],
    rows,
    foot: [["sum", "", "", number(total(every), 3), ""]],
  });
}

/** @param {Model} model @param {"r" | "z" | "c"} gate */
function drawSum(model, gate) {
  const every = terms(model, gate);
  const { step, place } = model;
  return [drawTerms(every), drawCurve(total(every), step[gate][place.unit], gate === "c", place.t)];
}

/** @param {number} sum @param {number} result @param {boolean} tanh @param {number} t */
function drawCurve(sum, result, tanh, t) {
  const f = tanh ? Math.tanh : sigmoid;
  const edge = Math.max(4, Math.ceil(Math.abs(sum)) + 1);
  const x = (/** @type {number} */ a) => 150 + (130 * a) / edge;
  const y = (/** @type {number} */ a) => (tanh ? 100 - 80 * a : 180 - 160 * a);
  const points = Array.from({ length: 81 }, (_, i) => (i / 40 - 1) * edge);
  const sums = [...points.filter((_, i) => i % 10 === 0 && points[i] !== sum), sum];
  sums.sort((a, b) => a - b);
  const path = points.map((a) => `${x(a).toFixed(1)} ${y(f(a)).toFixed(1)}`).join("L");
  const held = Math.abs(f(sum) - result) > 1e-6 ? `, held at ${number(result)}` : "";
  const label = `${tanh ? "tanh" : "σ"}(${number(sum)}) = ${number(f(sum))}${held}`;
  return element(
    "figure",
    { class: "curve" },
    element(
      "svg",
      { viewBox: "0 0 300 200", role: "img", "aria-label": label },
      element("line", { x1: 20, x2: 280, y1: y(0), y2: y(0), class: "axis" }),
      element("line", { x1: 150, x2: 150, y1: 15, y2: 185, class: "axis" }),
      element("path", { d: `M${path}`, class: "line" }),
      element("line", { x1: x(sum), x2: x(sum), y1: y(0), y2: y(f(sum)), class: "drop" }),
      element("circle", { cx: x(sum), cy: y(result), r: 5, class: "point" }),
    ),
    element("figcaption", {}, label),
    tabulate("curve", () => ({
      caption: `The curve, and this sum at step ${t}`,
      head: ["sum", tanh ? "tanh(sum)" : "σ(sum)"],
      rows: sums.map((a) =>
        a === sum
          ? [`${number(a, 3)}, this step`, `${number(f(a), 3)}${held}`]
          : [number(a), number(f(a), 3)],
      ),
      here: sums.indexOf(sum),
    })),
  );
}

/** Draws the new state between the old state and the candidate. @param {Model} model */
function drawMix({ step, place, change, trace }) {
  const j = place.unit;
  const [before, c, z, h] = [step.before[j], step.c[j], step.z[j], step.h[j]];
  const parts = [term("old state", 1 - z, before), term("candidate", z, c)];
  const mixed = total(parts);
  const x = (/** @type {number} */ a) => 160 + 130 * a;
  let why = "";
  if (j in (change.states?.[place.t] ?? {})) why = `, then set to ${number(h)}`;
  else if (change.off?.includes(j)) why = ", then off: 0";
  else if (Math.abs(mixed) > (trace.cell.clip ?? Infinity)) why = `, clipped to ${number(h)}`;
  const label =
    `(1 − ${number(z)}) × ${number(before)} + ${number(z)} × ${number(c)}` +
    ` = ${number(mixed)}${why}`;
  const mark = (
    /** @type {number} */ value,
    /** @type {string} */ name,
    /** @type {number} */ height,
    /** @type {string} */ kind,
  ) =>
    element(
      "g",
      {},
      element("circle", { cx: x(value), cy: 60, r: kind === "point" ? 7 : 5, class: kind }),
      element(
        "text",
        { x: x(value), y: height, "text-anchor": "middle" },
        `${name} ${number(value)}`,
      ),
    );
  const figure = element(
    "figure",
    { class: "mix" },
    element(
      "svg",
      { viewBox: "-50 0 420 110", role: "img", "aria-label": label },
      element("line", { x1: x(-1), x2: x(1), y1: 60, y2: 60, class: "axis" }),
      element("text", { x: x(-1) - 8, y: 64, "text-anchor": "end" }, "−1"),
      element("text", { x: x(1) + 8, y: 64 }, "1"),
      element("line", { x1: x(before), x2: x(c), y1: 60, y2: 60, class: "line" }),
      mark(before, "old state", 40, "end"),
      mark(c, "candidate", 24, "end"),
      mark(h, "new state", 92, "point"),
    ),
    element("figcaption", {}, label),
  );
  const share = `${number(100 * z, 0)} %`;
  const words = `The new state lies ${share} of the way from the old state to the candidate.`;
  return [drawTerms(parts), figure, ...(why ? [] : [element("p", {}, words)])];
}
