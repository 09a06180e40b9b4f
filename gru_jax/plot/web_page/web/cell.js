// @ts-check
// The second level: one step as a diagram, in the order of the equations. A row is a unit.

import { colour, css, element, ink, largest, number, tabulate } from "./dom.js";
import { math } from "./words.js";

/**
 * @typedef {import("./model.js").Model} Model
 * @typedef {import("./model.js").Gate} Gate
 * @typedef {import("./gru.js").Vector} Vector
 */

const BOXES = 6; // Units, and inputs, in the diagram.
const PLAY = 3; // Pixels that a finger may tremble before a click is a drag.
const TRAVEL = 100; // Pixels from the middle of a value's range to its end.

/** Returns the view. @param {Model} model */
export function drawCell(model) {
  const { step, trace, place } = model;
  const { cell, reverse, own } = trace;
  const units = choose(model);
  const inputs = chooseInputs(step.x);
  const old = reverse ? "h_{t+1}" : "h_{t−1}";
  const after = step.q !== null;
  const product = step.q ?? step.before;
  const each = (/** @type {(j: number) => number} */ value) =>
    Float64Array.from(step.h, (_, j) => value(j));
  /** @type {Array<[string, Vector]>} */
  const columns = [];
  /** @type {(name: string, values: Vector, gate: Gate, share?: boolean) => Node} */
  const column = (name, values, gate, share = false) => {
    columns.push([name, values]);
    return drawColumn(model, { name, values, gate, share, units });
  };
  const scale = largest(trace.steps.map((s) => s.x));
  const boxes = inputs.map((i) => {
    const rgb = colour(step.x[i], false, scale);
    const box = drawBox(step.x[i], rgb, model.readName(i), "x");
    return own
      ? drag(
          box,
          () => step.x[i],
          scale,
          (value) => model.setInput(i, value),
        )
      : box;
  });
  const diagram = element(
    "div",
    { class: "diagram" },
    drawBand(
      `step ${place.t}`,
      `x_t , ${old}`,
      `${some(inputs.length, step.x.length, "input")}; ` +
        `${some(units.length, cell.hidden, "unit")}${model.sorted ? ", slowest first" : ""}`,
      element(
        "div",
        { class: "column x", style: "view-transition-name: map-x" },
        element("div", { class: "head" }, math("x_t")),
        ...boxes,
      ),
      column(old, step.before, "h"),
    ),
    drawBand(
      "1 reset gate",
      `r_t = σ ( [ x_t , ${old} ] W_r + b_r )`,
      after
        ? "how much the old states count: q = h W + b"
        : "how much of the old state the candidate sees",
      column("r_t", step.r, "r", true),
      column(
        after ? "r_t q_t" : `r_t ${old}`,
        each((j) => step.r[j] * product[j]),
        "c",
      ),
    ),
    drawBand(
      "2 candidate",
      `c_t = 'tanh' ( ${after ? "x_t W_cx + b_c + r_t q_t" : `[ x_t , r_t ${old} ] W_c + b_c`} )`,
      "the proposed new state, between −1 and 1",
      column("c_t", step.c, "c"),
    ),
    drawBand(
      "3 update gate",
      `z_t = σ ( [ x_t , ${old} ] W_z + b_z )`,
      "how much of the candidate goes into the new state",
      column("z_t", step.z, "z", true),
    ),
    drawBand(
      "4 new state",
      `h_t = ( 1 − z_t ) ${old} + z_t c_t`,
      `kept from the old state, plus taken from the candidate${explain(model, units)}`,
      column(
        `( 1 − z_t ) ${old}`,
        each((j) => (1 - step.z[j]) * step.before[j]),
        "h",
      ),
      element("span", { class: "sign" }, "+"),
      column(
        "z_t c_t",
        each((j) => step.z[j] * step.c[j]),
        "h",
      ),
      element("span", { class: "sign" }, "="),
      column("h_t", step.h, "h"),
    ),
  );
  return element(
    "div",
    {},
    diagram,
    tabulate("all units", () => ({
      caption: `All units at step ${place.t}`,
      head: ["unit", ...columns.map(([name]) => say(name))],
      rows: model.order.map((j) => [
        String(j),
        ...columns.map(([, values]) => number(values[j], 3)),
      ]),
      here: model.order.indexOf(place.unit),
    })),
    tabulate("all inputs", () => ({
      caption: `All inputs at step ${place.t}`,
      head: ["input", "x"],
      rows: Array.from(step.x, (x, i) => [model.readName(i), number(x, 3)]),
    })),
  );
}

/** Returns a column's name in plain text. @param {string} name */
const say = (name) => name.replace(/h_\{[^}]*\}/, "old h").replaceAll("_t", "");

/** @param {number} shown @param {number} all @param {string} word */
const some = (shown, all, word) =>
  shown < all
    ? `${shown} of ${all} ${word}s`
    : `${all > 2 ? `all ${all}` : all} ${word}${all > 1 ? "s" : ""}`;

/** Says why a new state is not the sum. @param {Model} model @param {number[]} units */
function explain({ step, change, place, trace }, units) {
  const { z, before, c } = step;
  const off = units.some((j) => change.off?.includes(j));
  const set = units.some((j) => j in (change.states?.[place.t] ?? {}));
  const limit = trace.cell.clip ?? Infinity;
  const cut = units.some((j) => Math.abs((1 - z[j]) * before[j] + z[j] * c[j]) > limit);
  const why = [cut ? `clipped to ±${limit}` : "", off ? "or off" : "", set ? "or set by you" : ""];
  const words = why.filter(Boolean).join(", ").replace(/^or /, "");
  return words ? `; then ${words}` : "";
}

/** Returns the shown unit, and others of all speeds. @param {Model} model */
function choose({ slowest, order, place }) {
  const speeds = slowest[place.cell];
  const count = Math.min(BOXES, order.length);
  const chosen = new Set([place.unit]);
  for (let i = 0; chosen.size < count && i < count; i++) {
    chosen.add(speeds[Math.round((i * (order.length - 1)) / Math.max(1, count - 1))]);
  }
  return order.filter((j) => chosen.has(j));
}

/** Returns the largest inputs, in their order. @param {Vector} x */
function chooseInputs(x) {
  const order = [...Array.from(x).keys()].sort((a, b) => Math.abs(x[b]) - Math.abs(x[a]));
  return order.slice(0, BOXES).sort((a, b) => a - b);
}

/**
 * @param {string} title @param {string} formula @param {string} meaning @param {...Node} columns
 */
function drawBand(title, formula, meaning, ...columns) {
  return element(
    "section",
    { class: "band" },
    element("h2", {}, title),
    element("div", { class: "columns" }, ...columns),
    element("p", { class: "formula" }, math(formula)),
    element("p", {}, meaning),
  );
}

/**
 * @param {Model} model
 * @param {{name: string, values: Vector, gate: Gate, share: boolean, units: number[]}} column
 */
function drawColumn(model, { name, values, gate, share, units }) {
  const limit = model.trace.cell.clip ?? 1;
  const boxes = units.map((j) => {
    const open = () => model.go({ level: "unit", unit: j, gate });
    const box = drawBox(values[j], colour(values[j], share), String(j), `${say(name)}, unit`, open);
    if (j === model.place.unit) box.classList.add("chosen");
    if (name !== "h_t") return box;
    return drag(
      box,
      () => model.step.h[j],
      limit,
      (value) => model.setState(j, value),
    );
  });
  const move = /^[rzch]_t$/.test(name) ? `view-transition-name: map-${name[0]}` : null;
  const head = element("div", { class: "head" }, math(name));
  return element("div", { class: "column", style: move }, head, ...boxes);
}

/**
 * @param {number} value @param {number[]} rgb @param {string} label @param {string} spoken
 * @param {(() => void) | null} onclick
 */
function drawBox(value, rgb, label, spoken, onclick = null) {
  const text = `${label} ${number(value)}`;
  return element(
    onclick ? "button" : "span",
    {
      class: "box",
      "aria-label": onclick ? `${spoken} ${text}` : null,
      style: `background: ${css(rgb)}; color: ${ink(rgb)}`,
      ...(onclick ? { onclick } : {}),
    },
    element("small", {}, label),
    ` ${number(value)}`,
  );
}

/**
 * Lets a box be dragged up and down, which sets its value.
 * @param {HTMLElement} box @param {() => number} read @param {number} limit
 * @param {(value: number) => void} set
 */
function drag(box, read, limit, set) {
  box.classList.add("drag");
  box.title = "drag up or down to change it";
  box.addEventListener("pointerdown", (down) => {
    if (down.button !== 0) return;
    const first = read();
    const ending = new AbortController();
    let dragging = false;
    const move = (/** @type {PointerEvent} */ event) => {
      const distance = down.clientY - event.clientY;
      dragging ||= Math.abs(distance) > PLAY;
      if (event.pointerId !== down.pointerId || !dragging) return;
      const value = first + (limit * distance) / TRAVEL;
      set(Math.max(-limit, Math.min(limit, value)));
    };
    const { signal } = ending;
    addEventListener("pointermove", move, { signal });
    for (const end of ["pointerup", "pointercancel"]) {
      addEventListener(end, () => ending.abort(), { signal });
    }
  });
  return box;
}
