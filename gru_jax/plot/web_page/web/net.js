// @ts-check
// A net of layers over one sequence: its outputs, and the trace of each of its cells.

import { multiply, step, stepBack } from "./gru.js";

/**
 * @typedef {import("./gru.js").Cell} Cell
 * @typedef {import("./gru.js").Step} Step
 * @typedef {import("./gru.js").Change} Change
 * @typedef {import("./gru.js").Vector} Vector
 * @typedef {{kind: string, parts?: Layer[], cell?: Cell, forward?: Cell, backward?: Cell,
 *   reverse?: boolean, merge?: string, pool?: string, size?: number,
 *   W?: Float32Array, b?: Float32Array}} Layer
 * One cell in the sequence. Steps are in the order of time, also of a cell that reads backwards.
 * `own` says whether it reads the net's own inputs.
 * @typedef {{cell: Cell, reverse: boolean, layer: number, own: boolean, steps: Step[]}} CellTrace
 * Values that are set, by step and number.
 * @typedef {Record<number, Record<number, number>>} Values
 * @typedef {Change & {states?: Values}} CellChange
 */

/** @param {Vector} values @param {Record<number, number>} [set] @returns {Vector} */
const overwrite = (values, set) =>
  set ? Float64Array.from(values, (a, i) => set[i] ?? a) : values;

/**
 * Runs a net over a sequence.
 * @param {Layer} net @param {Vector[]} xs @param {Record<number, CellChange>} changes by cell
 * @param {Values} inputs that are set
 * @returns {{ys: Vector[], cells: CellTrace[]}}
 */
export function run(net, xs, changes = {}, inputs = {}) {
  const start = xs.map((x, t) => overwrite(x, inputs[t]));
  /** @type {CellTrace[]} */
  const cells = [];
  let layer = 0;

  /** @param {Cell} cell @param {Vector[]} values @param {boolean} reverse */
  function recur(cell, values, reverse) {
    const change = changes[cells.length] ?? {};
    /** @type {Step[]} */
    const steps = new Array(values.length);
    /** @type {Vector} */
    let h = cell.h0 ?? new Float64Array(cell.hidden);
    for (let i = 0; i < values.length; i++) {
      const t = reverse ? values.length - 1 - i : i;
      steps[t] = step(cell, values[t], h, change);
      h = steps[t].h = overwrite(steps[t].h, change.states?.[t]);
    }
    cells.push({ cell, reverse, layer, own: values === start, steps });
    return steps.map((s) => s.h);
  }

  /** @param {Layer} one @param {Vector[]} values @returns {Vector[]} */
  function apply(one, values) {
    const parts = /** @type {Layer[]} */ (one.parts);
    const W = /** @type {Float32Array} */ (one.W);
    const size = /** @type {number} */ (one.size);
    switch (one.kind) {
      case "stack":
        return parts.reduce((ys, part) => apply(part, ys), values);
      case "residual":
        return apply(parts[0], values).map((y, t) => add(y, values[t]));
      case "recurrent":
        layer++;
        return recur(/** @type {Cell} */ (one.cell), values, one.reverse ?? false);
      case "bidirectional": {
        layer++;
        const ahead = recur(/** @type {Cell} */ (one.forward), values, false);
        const back = recur(/** @type {Cell} */ (one.backward), values, true);
        if (one.merge === "sum") return ahead.map((y, t) => add(y, back[t]));
        return ahead.map((y, t) => [...Array.from(y), ...Array.from(back[t])]);
      }
      case "dense":
        return values.map((x) => multiply(x, W, 0, /** @type {Float32Array} */ (one.b)));
      case "embed":
        return values.map((x) => W.subarray(x[0] * size, (x[0] + 1) * size));
      case "pool":
        return [pool(one.pool ?? "max", values)];
      default:
        return values; // Dropout and noise: nothing happens except in training.
    }
  }

  return { ys: apply(net, start), cells };
}

/** @param {Vector} a @param {Vector} b @returns {Vector} */
const add = (a, b) => Float64Array.from(a, (value, j) => value + b[j]);

/** @param {string} kind @param {Vector[]} xs */
function pool(kind, xs) {
  if (kind === "last") return xs[xs.length - 1];
  return Float64Array.from(xs[0], (_, j) => {
    const values = xs.map((x) => x[j]);
    return kind === "max" ? Math.max(...values) : values.reduce((a, b) => a + b) / xs.length;
  });
}

/**
 * Returns |dL/dh_t| of each step, where L is the sum of the states of step `end`. Steps that come
 * later in the cell's own order have none.
 * @param {CellTrace} trace @param {number} end @param {CellChange} change
 * @returns {Float64Array}
 */
export function gradientNorms(trace, end, change = {}) {
  const { steps, reverse, cell } = trace;
  const norms = new Float64Array(steps.length);
  let g = new Float64Array(cell.hidden).fill(1);
  for (let t = end; t >= 0 && t < steps.length; t += reverse ? 1 : -1) {
    norms[t] = Math.hypot(...g);
    const set = change.states?.[t] ?? {}; // A state that is set depends on no earlier one.
    const later = g.map((value, j) => (j in set ? 0 : value));
    g = Float64Array.from(stepBack(cell, steps[t], later, change));
  }
  return norms;
}
