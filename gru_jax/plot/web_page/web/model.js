// @ts-check
// What the page shows, and what its reader has changed. Views read it, and are drawn anew after
// each change.

import { gradientNorms, run } from "./net.js";

/**
 * @typedef {import("./net.js").Layer} Layer
 * @typedef {import("./net.js").CellChange} CellChange
 * @typedef {import("./net.js").CellTrace} CellTrace
 * @typedef {import("./net.js").Values} Values
 * @typedef {import("./gru.js").Vector} Vector
 * @typedef {"sequence" | "cell" | "unit"} Level
 * @typedef {"r" | "z" | "c" | "h"} Gate
 * @typedef {{level: Level, cell: number, t: number, unit: number, gate: Gate}} Place
 * What the reader has changed: cells, by number, and inputs.
 * @typedef {{cells: Record<number, CellChange>, inputs: Values}} Changes
 */

export const LEVELS = /** @type {Level[]} */ (["sequence", "cell", "unit"]);
export const GATES = /** @type {Gate[]} */ (["r", "z", "c", "h"]);
export const NAMED = 9; // Rows that have their names beside them.

export class Model {
  /** @param {Layer} net @param {Vector[]} xs @param {string[]} names of the inputs, or [] */
  constructor(net, xs, names) {
    this.net = net;
    this.xs = xs;
    this.names = names;
    this.original = run(net, xs);
    this.current = this.original;
    // The units of each cell from slow to fast. Changes do not move them.
    this.slowest = this.original.cells.map(rank);
    /** Whether they are shown so, if the reader has said. @type {boolean | null} */
    this.choice = null;
    /** @type {Changes} */
    this.changes = { cells: {}, inputs: {} };
    /** @type {Place} */
    this.place = { level: "sequence", cell: 0, t: this.end(0), unit: 0, gate: "z" };
    this.chapter = 0;
    /** The first step of a forecast. @type {number | null} */
    this.begin = null;
    /** Names of the steps, or []. @type {string[]} */
    this.times = [];
    /** @type {Array<(moved: boolean) => void>} */
    this.listeners = [];
  }

  /** Returns the last step in a cell's own order: all others affect it. @param {number} cell */
  end(cell) {
    const { reverse, steps } = this.original.cells[cell];
    return reverse ? 0 : steps.length - 1;
  }

  /** @returns {CellTrace} */
  get trace() {
    return this.current.cells[this.place.cell];
  }

  /** The same cell before any change. @returns {CellTrace} */
  get before() {
    return this.original.cells[this.place.cell];
  }

  get step() {
    return this.trace.steps[this.place.t];
  }

  /** @returns {CellChange} */
  get change() {
    return this.changes.cells[this.place.cell] ?? {};
  }

  /** Whether units are sorted by speed: where their rows have no names, unless chosen. */
  get sorted() {
    return this.choice ?? this.trace.cell.hidden > NAMED;
  }

  /** The units of the shown cell, in the order of their rows. */
  get order() {
    const slowest = this.slowest[this.place.cell];
    return this.sorted ? slowest : [...slowest.keys()];
  }

  /** How much of the gradient of the shown step's state reaches each step. */
  get gradient() {
    return gradientNorms(this.trace, this.place.t, this.change);
  }

  /**
   * Returns how strongly the state of a step affects that of another, in parts of its own.
   * @param {number} cell @param {number} end the affected step @param {number} t
   * @param {CellChange} change of this cell, the only one
   */
  reach(cell, end, t, change = {}) {
    const trace = run(this.net, this.xs, { [cell]: change }, {}).cells[cell];
    const norms = gradientNorms(trace, end, change);
    return norms[t] / norms[end];
  }

  /** Returns the name of an input of the net. @param {number} i */
  inputName(i) {
    return this.names[i] ?? `input ${i}`;
  }

  /** Returns the name of what the shown cell reads. @param {number} i */
  readName(i) {
    return this.trace.own ? this.inputName(i) : `x${i}`;
  }

  /**
   * Goes to another level, cell, step, unit or gate; from the end of a cell to that of another.
   * @param {Partial<Place>} place
   */
  go(place) {
    const moved = place.level !== undefined && place.level !== this.place.level;
    const next = { ...this.place, ...place };
    next.cell = clamp(next.cell, this.current.cells.length);
    if (place.t === undefined && next.t === this.end(this.place.cell)) next.t = this.end(next.cell);
    const { steps, cell } = this.current.cells[next.cell];
    next.t = clamp(next.t, steps.length);
    next.unit = clamp(next.unit, cell.hidden);
    this.place = next;
    this.listeners.forEach((draw) => draw(moved));
  }

  /** Goes to the unit some rows below. @param {number} by */
  pass(by) {
    const { order } = this;
    this.go({ unit: order[clamp(order.indexOf(this.place.unit) + by, order.length)] });
  }

  /** Sorts the units by speed, or by number. @param {boolean} choice */
  sort(choice) {
    this.choice = choice;
    this.go({});
  }

  /** Runs the net with these changes. @param {Changes} changes */
  alter(changes) {
    this.changes = changes;
    this.current = describe(this).length
      ? run(this.net, this.xs, changes.cells, changes.inputs)
      : this.original;
    this.listeners.forEach((draw) => draw(false));
  }

  /** Changes the shown cell. @param {CellChange} change */
  hold(change) {
    const cells = { ...this.changes.cells, [this.place.cell]: { ...this.change, ...change } };
    this.alter({ ...this.changes, cells });
  }

  /** Sets an input of the net at the shown step. @param {number} i @param {number} value */
  setInput(i, value) {
    this.alter({ ...this.changes, inputs: put(this.changes.inputs, this.place.t, i, value) });
  }

  /** The number of tokens that the net knows, if it reads tokens. */
  get tokens() {
    let layer = this.net;
    while (layer.parts) layer = layer.parts.find((part) => part.kind !== "same") ?? layer.parts[0];
    return layer.kind === "embed" && layer.W && layer.size ? layer.W.length / layer.size : null;
  }

  /** Sets a state of the shown cell at the shown step. @param {number} i @param {number} value */
  setState(i, value) {
    this.hold({ states: put(this.change.states ?? {}, this.place.t, i, value) });
  }

  /** Undoes all changes. */
  reset() {
    this.alter({ cells: {}, inputs: {} });
  }
}

/** Returns the units in the order of their mean update gates. @param {CellTrace} trace */
function rank({ steps, cell }) {
  const mean = Array.from(cell.b_z, (_, j) => steps.reduce((sum, s) => sum + s.z[j], 0));
  return [...mean.keys()].sort((a, b) => mean[a] - mean[b]);
}

/**
 * @param {Values} values @param {number} t @param {number} i @param {number} value
 * @returns {Values}
 */
const put = (values, t, i, value) => ({ ...values, [t]: { ...values[t], [i]: value } });

/** Returns the nearest of the whole numbers below a count.
 * @param {number} value @param {number} count */
export const clamp = (value, count) => Math.max(0, Math.min(count - 1, Math.round(value)));

/** Returns all changes in words. @param {Model} model @returns {string[]} */
export function describe({ changes, original }) {
  const several = original.cells.length > 1;
  const words = Object.entries(changes.cells).flatMap(([cell, { r, z, off, reset, states }]) =>
    [
      ...(r == null ? [] : [`reset gates held at ${r}`]),
      ...(z == null ? [] : [`update gates held at ${z}`]),
      ...(reset == null ? [] : [`reset gates act ${reset} the weights`]),
      ...(off?.length ? [`unit${off.length > 1 ? "s" : ""} ${off.join(", ")} off`] : []),
      ...count(states, "state"),
    ].map((text) => (several ? `${text} in cell ${Number(cell) + 1}` : text)),
  );
  return [...words, ...count(changes.inputs, "input")];
}

/** @param {Values | undefined} values @param {string} word */
function count(values, word) {
  const total = Object.values(values ?? {}).reduce((sum, row) => sum + Object.keys(row).length, 0);
  return total ? [`${total} ${word}${total > 1 ? "s" : ""} set`] : [];
}
