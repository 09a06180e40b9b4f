// @ts-check
// The Gated Recurrent Unit, forwards and back, in plain loops.
//
//   r = sigmoid([x, h] W_r + b_r)              the reset gate
//   z = sigmoid([x, h] W_z + b_z)              the update gate
//   c = tanh([x, r h] W_c + b_c)               the candidate; with reset "after" it is
//   c = tanh(x W_cx + b_c + r q), q = h W_ch + b_h
//   h' = (1 - z) h + z c                       the new state

/**
 * W_* is [input + hidden, hidden], row by row.
 * @typedef {{reset: string, clip: number | null, input: number, hidden: number,
 *   W_r: Float32Array, W_z: Float32Array, W_c: Float32Array, b_r: Float32Array,
 *   b_z: Float32Array, b_c: Float32Array, b_h: Float32Array | null, h0: Float32Array | null}} Cell
 * @typedef {ArrayLike<number>} Vector
 * @typedef {{x: Vector, before: Vector, r: Vector, z: Vector, c: Vector, q: Vector | null,
 *   h: Vector}} Step
 * What holds in place of the equations: gates at a value, units at 0, the other form.
 * @typedef {{r?: number | null, z?: number | null, off?: number[], reset?: string | null}} Change
 */

export const sigmoid = (/** @type {number} */ a) => 1 / (1 + Math.exp(-a));

/**
 * Returns b + v W, of the rows of W from `first` on.
 * @param {Vector} v @param {Float32Array} W @param {number} first @param {Vector} b
 * @returns {Float64Array}
 */
export function multiply(v, W, first, b) {
  const sum = Float64Array.from(b);
  for (let i = 0; i < v.length; i++) {
    const row = (first + i) * b.length;
    for (let j = 0; j < b.length; j++) sum[j] += v[i] * W[row + j];
  }
  return sum;
}

/**
 * Returns all that one step computes.
 * @param {Cell} cell @param {Vector} x @param {Vector} h @param {Change} change
 * @returns {Step}
 */
export function step(cell, x, h, change = {}) {
  const { input, W_c, b_h } = cell;
  /** @type {(W: Float32Array, b: Float32Array, held?: number | null) => Float64Array} */
  const gate = (W, b, held) =>
    held == null
      ? multiply(h, W, input, multiply(x, W, 0, b)).map(sigmoid)
      : new Float64Array(b.length).fill(held);
  const r = gate(cell.W_r, cell.b_r, change.r);
  const z = gate(cell.W_z, cell.b_z, change.z);
  const a = multiply(x, W_c, 0, cell.b_c);
  let q = null;
  let c;
  if ((change.reset ?? cell.reset) === "after") {
    const product = (q = multiply(h, W_c, input, b_h ?? new Float32Array(h.length)));
    c = a.map((value, j) => Math.tanh(value + r[j] * product[j]));
  } else {
    const bias = b_h ? a.map((value, j) => value + b_h[j]) : a; // if it was trained for "after"
    const gated = r.map((value, j) => value * h[j]);
    c = multiply(gated, W_c, input, bias).map(Math.tanh);
  }
  const limit = cell.clip ?? Infinity;
  const next = z.map((s, j) => Math.max(-limit, Math.min(limit, (1 - s) * h[j] + s * c[j])));
  for (const unit of change.off ?? []) next[unit] = 0;
  return { x, before: h, r, z, c, q, h: next };
}

/**
 * Returns v times the transpose of W's rows from `first` on.
 * @param {Vector} v @param {Float32Array} W @param {number} first @param {number} rows
 */
function multiplyBack(v, W, first, rows) {
  const sum = new Float64Array(rows);
  for (let i = 0; i < rows; i++) {
    for (let j = 0; j < v.length; j++) sum[i] += v[j] * W[(first + i) * v.length + j];
  }
  return sum;
}

/**
 * Returns dL/dh of the state before a step, from dL/dh' of the state after it.
 * @param {Cell} cell @param {Step} s @param {Vector} later @param {Change} change
 * @returns {Float64Array}
 */
export function stepBack(cell, s, later, change = {}) {
  const { before: h, r, z, c, q } = s;
  const g = Float64Array.from(later, (value, j) => {
    const mixed = (1 - z[j]) * h[j] + z[j] * c[j];
    return cell.clip !== null && Math.abs(mixed) > cell.clip ? 0 : value;
  });
  for (const unit of change.off ?? []) g[unit] = 0;
  /** @type {(v: Vector, W: Float32Array) => Float64Array} */
  const back = (v, W) => multiplyBack(v, W, cell.input, h.length);
  const d_c = g.map((value, j) => value * z[j] * (1 - c[j] ** 2));
  const inner = back(q ? d_c.map((value, j) => value * r[j]) : d_c, cell.W_c);
  const d_r = g.map((_, j) =>
    change.r == null ? (q ? d_c[j] * q[j] : inner[j] * h[j]) * r[j] * (1 - r[j]) : 0,
  );
  const d_z = g.map((value, j) =>
    change.z == null ? value * (c[j] - h[j]) * z[j] * (1 - z[j]) : 0,
  );
  const from_r = back(d_r, cell.W_r);
  const from_z = back(d_z, cell.W_z);
  return g.map(
    (value, j) => value * (1 - z[j]) + inner[j] * (q ? 1 : r[j]) + from_r[j] + from_z[j],
  );
}
