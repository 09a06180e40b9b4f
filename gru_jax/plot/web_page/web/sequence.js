// @ts-check
// The first level: all units at all steps, as heat maps on one axis of time.

import { colour, css, element, largest, number } from "./dom.js";
import { describe } from "./model.js";
import { math } from "./words.js";

/**
 * @typedef {import("./model.js").Model} Model
 * @typedef {import("./gru.js").Vector} Vector
 * A row of the values is a unit, an input or, if there is one, no more than a row.
 * @typedef {{name: string, meaning: string, values: Vector[], share: boolean, scale: number,
 *   rows: string[]}} HeatMap
 */

const READABLE = 9; // Rows that have their names beside them.

/** Returns the view. @param {Model} model */
export function drawSequence(model) {
  const maps = heatMaps(model).map((map) => drawMap(model, map));
  const key = element(
    "p",
    { class: "key" },
    ...["r, z, ∂h: 0", ramp(true), "1. x, c, h: negative", ramp(false), "positive."],
    model.begin ? " A dashed line: the forecast begins." : "",
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
  const units = Array.from(steps[0].h, (_, j) => String(j));
  const inputs = Array.from(steps[0].x, (_, i) => model.readName(i));
  const scale = cell.clip ?? 1;
  /**
   * @param {string} name @param {string} meaning @param {Vector[]} values
   * @param {Partial<HeatMap>} more
   * @returns {HeatMap}
   */
  const map = (name, meaning, values, more = {}) => ({
    ...{ name, meaning, values, share: false, scale: 1, rows: units },
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
    map("x", "input", xs, { scale: largest(xs), rows: inputs }),
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
      ? [map("Δh", "effect of your changes on the state", change, { scale: largest(change) })]
      : []),
    map(
      "∂h",
      `gradient: how strongly each ${way} state affects the state of step ${model.place.t}`,
      reach,
      {
        share: true,
        scale: largest(reach),
        rows: ["share"],
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
  const of_units = map.name !== "x" && map.name !== "∂h";
  const now = `left: ${(100 * t) / time}%; width: ${100 / time}%`;
  const row = `top: ${(100 * unit) / count}%; height: ${100 / count}%`;
  /** @param {PointerEvent} event */
  const point = (event) => {
    if (event.type === "pointermove" && !event.buttons) return;
    const box = canvas.getBoundingClientRect();
    const place = { t: Math.floor(((event.clientX - box.left) / box.width) * time) };
    const at = Math.floor(((event.clientY - box.top) / box.height) * count);
    frame.closest("[tabindex]")?.focus({ preventScroll: true });
    model.go(of_units ? { ...place, unit: at } : place);
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
  const names = count > 1 && count <= READABLE ? map.rows : [];
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
    tabulate(map),
  );
}

/** @param {HTMLCanvasElement} canvas @param {HeatMap} map */
function paint(canvas, map) {
  const context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
  const image = context.createImageData(canvas.width, canvas.height);
  map.values.forEach((column, t) => {
    for (let row = 0; row < canvas.height; row++) {
      const place = 4 * (row * canvas.width + t);
      image.data.set([...colour(column[row], map.share, map.scale), 255], place);
    }
  });
  context.putImageData(image, 0, 0);
}

/** Returns a picture's numbers, filled in when they are asked for. @param {HeatMap} map */
function tabulate(map) {
  const details = element("details", {}, element("summary", {}, "numbers"));
  details.addEventListener("toggle", () => {
    if (!details.open || details.childElementCount > 1) return;
    const kind = map.name === "x" ? "input" : map.name === "∂h" ? "" : "unit";
    const head = [`${kind} \\ step`, ...map.values.keys()];
    details.append(
      element(
        "div",
        { class: "scroll", tabindex: 0, role: "group", "aria-label": `${map.name}, numbers` },
        element(
          "table",
          {},
          element("caption", {}, `${map.name}: ${map.meaning}`),
          element(
            "thead",
            {},
            element("tr", {}, ...head.map((text) => element("th", { scope: "col" }, `${text}`))),
          ),
          element(
            "tbody",
            {},
            ...map.rows.map((name, row) =>
              element(
                "tr",
                {},
                element("th", { scope: "row" }, name),
                ...map.values.map((column) => element("td", {}, number(column[row], 3))),
              ),
            ),
          ),
        ),
      ),
    );
  });
  return details;
}
