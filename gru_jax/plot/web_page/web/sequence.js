// @ts-check
// The first level: all units at all steps, as heat maps on one axis of time.

import { colour, css, element, largest, number, tabulate } from "./dom.js";
import { clamp, describe, NAMED } from "./model.js";
import { math } from "./words.js";

/**
 * @typedef {import("./model.js").Model} Model
 * @typedef {import("./gru.js").Vector} Vector
 * A row is a unit, an input or, if there is one, no more than a row. `order` has their places in
 * the values.
 * @typedef {{name: string, meaning: string, values: Vector[], share: boolean, scale: number,
 *   kind: string, rows: string[], order: number[]}} HeatMap
 */

/** Returns the view. @param {Model} model */
export function drawSequence(model) {
  const maps = heatMaps(model).map((map) => drawMap(model, map));
  const key = element(
    "p",
    { class: "key" },
    ...["r, z, ∂h: 0", ramp(true), "1. x, c, h: negative", ramp(false), "positive."],
    model.begin ? " Dashed line: start of the forecast." : "",
    model.sorted ? " Units are sorted from slow to fast, by mean z." : "",
  );
  return element("div", { class: "sequence" }, key, ...maps);
}

/** Returns a ramp of colours. @param {boolean} share */
function ramp(share) {
  const stops = share ? [0, 0.5, 1] : [-1, 0, 1];
  const colours = stops.map((value) => css(colour(value, share)));
  return element("span", { style: `background: linear-gradient(90deg, ${colours.join(", ")})` });
}

/** @param {Model} model @returns {HeatMap[]} */
function heatMaps(model) {
  const { steps, cell, reverse } = model.trace;
  const { order } = model;
  const units = { kind: "unit", rows: order.map(String), order };
  const inputs = Array.from(steps[0].x, (_, i) => model.readName(i));
  const scale = cell.clip ?? 1;
  /**
   * @param {string} name @param {string} meaning @param {Vector[]} values
   * @param {Partial<HeatMap>} more
   * @returns {HeatMap}
   */
  const map = (name, meaning, values, more = {}) => ({
    ...{ name, meaning, values, share: false, scale: 1, ...units },
    ...more,
  });
  const xs = steps.map((s) => s.x);
  const norms = model.gradient;
  const reach = Array.from(norms, (norm) => [norm / (norms[model.place.t] || 1)]);
  const change = steps.map((s, t) => differ(s.h, model.before.steps[t].h));
  const way = reverse ? "later" : "earlier";
  const seen =
    steps[0].q === null
      ? "reset gate: how much of the old state the candidate sees"
      : "reset gate: how much the old states count in the candidate";
  return [
    map("x", "input", xs, {
      ...{ scale: largest(xs), kind: "input", rows: inputs, order: [...inputs.keys()] },
    }),
    map(
      "r",
      seen,
      steps.map((s) => s.r),
      { share: true },
    ),
    map(
      "z",
      "update gate: how much of the candidate goes into the new state",
      steps.map((s) => s.z),
      {
        share: true,
      },
    ),
    map(
      "c",
      "candidate: the proposed new state",
      steps.map((s) => s.c),
    ),
    map(
      "h",
      "state: what the GRU remembers",
      steps.map((s) => s.h),
      { scale },
    ),
    ...(describe(model).length
      ? [map("Δh", "effect of the changes on the state", change, { scale: largest(change) })]
      : []),
    map(
      "∂h",
      `gradient: how strongly each ${way} state affects the state of step ${model.place.t}`,
      reach,
      {
        share: true,
        scale: largest(reach),
        kind: "",
        rows: ["share"],
        order: [0],
      },
    ),
  ];
}

/** @param {Vector} a @param {Vector} b */
const differ = (a, b) => Float64Array.from(a, (value, j) => value - b[j]);

/** @param {Model} model @param {HeatMap} map */
function drawMap(model, map) {
  const { t, unit } = model.place;
  const { begin } = model;
  const [time, count] = [map.values.length, map.rows.length];
  const label = `${map.name}, ${map.meaning}: ${count} row${count > 1 ? "s" : ""}, ${time} steps`;
  const canvas = element("canvas", {
    width: time,
    height: count,
    role: "img",
    "aria-label": label,
  });
  paint(canvas, map);
  const of_units = map.kind === "unit";
  const now = `left: ${(100 * t) / time}%; width: ${100 / time}%`;
  const row = `top: ${(100 * map.order.indexOf(unit)) / count}%; height: ${100 / count}%`;
  /** @param {PointerEvent} event */
  const point = (event) => {
    if (event.type === "pointermove" && !event.buttons) return;
    const box = canvas.getBoundingClientRect();
    const place = { t: Math.floor(((event.clientX - box.left) / box.width) * time) };
    const at = Math.floor(((event.clientY - box.top) / box.height) * count);
    frame.closest("[tabindex]")?.focus({ preventScroll: true });
    model.go(of_units ? { ...place, unit: map.order[clamp(at, count)] } : place);
  };
  const frame = element(
    "div",
    { class: "map", style: `--rows: ${count}`, onpointerdown: point, onpointermove: point },
    canvas,
    element("div", { class: "now", style: now }),
    ...(of_units ? [element("div", { class: "row", style: row })] : []),
    ...(begin
      ? [element("div", { class: "begins", style: `left: ${(100 * begin) / time}%` })]
      : []),
  );
  const names = count > 1 && count <= NAMED ? map.rows : [];
  const move = /^[xrzch]$/.test(map.name) ? `view-transition-name: map-${map.name}` : null;
  return element(
    "figure",
    { class: "heat-map", style: move },
    element("figcaption", {}, math(map.name), " ", element("span", {}, map.meaning)),
    element(
      "div",
      { class: "labelled" },
      element(
        "div",
        { class: "labels", "aria-hidden": "true" },
        ...names.map((name) => element("span", {}, name)),
      ),
      frame,
    ),
    tabulate(map.name, () => ({
      caption: `${map.name}: ${map.meaning}`,
      head: [`${map.kind} \\ step`, ...map.values.keys()].map(String),
      rows: map.order.map((at, row) => [
        map.rows[row],
        ...map.values.map((column) => number(column[at], 3)),
      ]),
    })),
  );
}

/** @param {HTMLCanvasElement} canvas @param {HeatMap} map */
function paint(canvas, map) {
  const context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
  const image = context.createImageData(canvas.width, canvas.height);
  map.values.forEach((column, t) => {
    for (let row = 0; row < canvas.height; row++) {
      const place = 4 * (row * canvas.width + t);
      image.data.set([...colour(column[map.order[row]], map.share, map.scale), 255], place);
    }
  });
  context.putImageData(image, 0, 0);
}
