// @ts-check
// What the net says of a series: its forecast, in the series' units, behind the past.

import { element, number, tabulate } from "./dom.js";

/**
 * @typedef {import("./model.js").Model} Model
 * @typedef {{past: (number | null)[], names: string[], center: number, scale: number,
 *   base: number | null, truth: (number | null)[], times: string[], label: string}} Horizon
 */

const LEFT = 64; // Of the axes, in pixels.
const WIDEST = 1100;

/**
 * Returns the forecast: a chart, the shown step in words, and a table.
 * @param {Model} model @param {Horizon} horizon
 */
export function drawForecast(model, horizon) {
  const { past, names, truth, label } = horizon;
  const [now, before] = [true, false].map((changed) => predict(model, horizon, changed));
  const middle = names.length >> 1;
  const changed = now.some((row, t) => Math.abs(row[middle] - before[t][middle]) > 1e-9);
  const values = [...past, ...truth, ...now.flat(), ...(changed ? before.flat() : [])];
  const ticks = makeTicks(values.filter((y) => y !== null));
  const digits = Math.max(0, -Math.floor(Math.log10(ticks[1] - ticks[0])));
  const show = (/** @type {number | null} */ y) => (y == null ? "" : number(y, digits + 1));
  const name = (/** @type {number} */ t) => horizon.times[t] ?? `step ${t}`;
  const lines = [
    `line: ${names[middle]}`,
    ...(names.length > 1 ? [`band: ${names[0]} to ${names[names.length - 1]}`] : []),
    "grey: observed",
    ...(changed ? ["dashed: before your changes"] : []),
  ];
  const words = `Forecast of ${label} from ${name(past.length)} (${lines.join("; ")})`;
  const { t } = model.place;
  const at = t - past.length;
  const said =
    at < 0
      ? `${name(t)}: ${show(past[t]) || "missing"}, before the forecast.`
      : `${name(t)}: ${names.map((one, i) => `${one} ${show(now[at][i])}`).join(", ")}` +
        (truth[at] == null ? "." : `; observed ${show(truth[at])}.`);
  const known = truth.length > 0;
  const table = tabulate("forecast", () => ({
    caption: words,
    head: ["step", ...names, ...(known ? ["observed"] : [])],
    rows: now.map((row, i) => [
      name(past.length + i),
      ...row.map(show),
      ...(known ? [show(truth[i])] : []),
    ]),
    here: at,
  }));
  const course = changed ? before.map((row) => row[middle]) : [];
  return element(
    "figure",
    { class: "forecast" },
    element("figcaption", {}, `${words}.`),
    drawChart({ ...horizon, now, course, ticks, t, words, name, digits }),
    element("p", {}, said),
    table,
  );
}

/**
 * @param {Horizon & {now: number[][], course: number[], ticks: number[], t: number, words: string,
 *   name: (t: number) => string, digits: number}} chart
 */
function drawChart({ past, truth, now, course, ticks, t, words, name, digits }) {
  const [begin, steps] = [past.length, past.length + now.length];
  const wide = Math.min(WIDEST, Math.max(320, document.documentElement.clientWidth - 40));
  const x = (/** @type {number} */ step) => LEFT + ((wide - LEFT - 10) * (step + 0.5)) / steps;
  const [bottom, top] = [ticks[0], ticks[ticks.length - 1]];
  const y = (/** @type {number} */ value) => 200 - (185 * (value - bottom)) / (top - bottom);
  /** @param {(number | null)[]} values @param {string} kind @param {number} from */
  const line = (values, kind, from = begin) =>
    element("path", { d: trail(values, (step) => x(from + step), y), class: kind });
  const middle = now[0].length >> 1;
  const corner = (/** @type {number} */ value, /** @type {number} */ step) =>
    `${x(begin + step).toFixed(1)} ${y(value).toFixed(1)}`;
  const upper = now.map((row, step) => corner(row[row.length - 1], step));
  const lower = now.map((row, step) => corner(row[0], step)).reverse();
  const edge = x(begin - 0.5);
  const grid = ticks.map((tick) =>
    element(
      "g",
      {},
      element("line", { x1: LEFT, x2: wide, y1: y(tick), y2: y(tick), class: "axis" }),
      element("text", { x: LEFT - 6, y: y(tick) + 4, "text-anchor": "end" }, number(tick, digits)),
    ),
  );
  return element(
    "svg",
    { viewBox: `0 0 ${wide} 240`, role: "img", "aria-label": words },
    ...grid,
    element("text", { x: LEFT, y: 218 }, name(0)),
    element("text", { x: edge, y: 234, "text-anchor": "middle" }, name(begin)),
    element("text", { x: wide, y: 218, "text-anchor": "end" }, name(steps - 1)),
    element("line", { x1: edge, x2: edge, y1: 8, y2: 222, class: "begins" }),
    element("path", { d: `M${[...upper, ...lower].join("L")}Z`, class: "range" }),
    line([...past, ...truth], "observed", 0),
    line(course, "earlier"),
    line(
      now.map((row) => row[middle]),
      "median",
    ),
    element("line", { x1: x(t), x2: x(t), y1: 8, y2: 206, class: "drop" }),
  );
}

/**
 * Returns the forecast of each step in units of y, lowest first.
 * @param {Model} model @param {Horizon} horizon @param {boolean} changed
 */
function predict(model, { past, center, scale, base }, changed) {
  const { ys } = changed ? model.current : model.original;
  return Array.from(ys.slice(past.length), (row, at) => {
    const t = past.length + at;
    const moved = changed && base !== null ? model.changes.inputs[t]?.[base] : undefined;
    const more = base === null ? 0 : (moved ?? model.xs[t][base]);
    return Array.from(row, (value) => center + scale * (value + more)).sort((a, b) => a - b);
  });
}

/**
 * Returns a line through values, with a gap where one is missing.
 * @param {(number | null)[]} values
 * @param {(step: number) => number} x @param {(value: number) => number} y
 */
function trail(values, x, y) {
  let draws = false;
  const parts = values.map((value, step) => {
    const begins = !draws;
    draws = value !== null;
    if (value === null) return "";
    const place = `${x(step).toFixed(1)} ${y(value).toFixed(1)}`;
    return begins ? `M${place}h0` : `L${place}`;
  });
  return parts.join("");
}

/** Returns round numbers from below to above all values. @param {number[]} values */
function makeTicks(values) {
  const [low, high] = [Math.min(...values), Math.max(...values)];
  const rough = (high - low || Math.abs(high) || 1) / 4;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = power * ([1, 2, 5].find((factor) => factor * power >= rough) ?? 10);
  const first = Math.floor(low / step);
  const count = Math.max(2, Math.ceil(high / step) - first + 1);
  return Array.from({ length: count }, (_, i) => (first + i) * step);
}
