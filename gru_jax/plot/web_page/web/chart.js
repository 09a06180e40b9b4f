// @ts-check
// A chart of a series and its forecast.

import { element } from "./dom.js";

/**
 * @typedef {{observed: (number | null)[], now: number[][], before: number[], begin: number,
 *   ticks: number[], t: number, wide: number, words: string, name: (t: number) => string,
 *   tick: (value: number) => string}} Chart
 */

const LETTER = 6.6; // Width of a digit, in pixels.

/**
 * Returns the chart; a click on it goes to a step.
 * @param {Chart} chart @param {(t: number) => void} go
 */
export function drawChart({ observed, now, before, begin, ticks, t, wide, words, name, tick }, go) {
  const steps = begin + now.length;
  const left = 12 + LETTER * Math.max(...ticks.map((value) => tick(value).length));
  const each = (wide - left - 8) / steps;
  const x = (/** @type {number} */ step) => left + each * (step + 0.5);
  const [bottom, top] = [ticks[0], ticks[ticks.length - 1]];
  const y = (/** @type {number} */ value) => 200 - (185 * (value - bottom)) / (top - bottom);
  const corner = (/** @type {number} */ step, /** @type {number} */ value) =>
    `${x(begin + step).toFixed(1)} ${y(value).toFixed(1)}`;
  const middle = now[0].length >> 1;
  const bands = Array.from({ length: middle }, (_, i) => {
    const upper = now.map((row, step) => corner(step, row[row.length - 1 - i]));
    const lower = now.map((row, step) => corner(step, row[i])).reverse();
    return element("path", { d: `M${[...upper, ...lower].join("L")}Z`, class: "range" });
  });
  /** @param {(number | null)[]} values @param {number} from @param {string} kind */
  const line = (values, from, kind) =>
    element("path", { d: trail(values, (step) => x(from + step), y), class: kind });
  const grid = ticks.flatMap((value) => [
    element("line", { x1: left, x2: wide, y1: y(value), y2: y(value), class: "axis" }),
    element("text", { x: left - 6, y: y(value) + 4, "text-anchor": "end" }, tick(value)),
  ]);
  const edge = x(begin - 0.5);
  const anchor = edge > wide / 2 ? "end" : "start";
  const svg = element(
    "svg",
    {
      ...{ viewBox: `0 0 ${wide} 240`, width: wide, role: "img", "aria-label": words },
      onclick: (/** @type {MouseEvent} */ event) => {
        const box = svg.getBoundingClientRect();
        const place = ((event.clientX - box.left) / box.width) * wide;
        go(Math.floor((place - left) / each));
      },
    },
    ...grid,
    element("text", { x: left, y: 218 }, name(0)),
    element("text", { x: wide, y: 218, "text-anchor": "end" }, name(steps - 1)),
    element("text", { x: edge, y: 236, "text-anchor": anchor }, `forecast from ${name(begin)}`),
    element("line", { x1: edge, x2: edge, y1: 8, y2: 206, class: "begins" }),
    ...bands,
    line(observed, 0, "observed"),
    line(before, begin, "before"),
    line(
      now.map((row) => row[middle]),
      begin,
      "median",
    ),
    element("line", { x1: x(t), x2: x(t), y1: 8, y2: 206, class: "drop" }),
  );
  return svg;
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

/**
 * Returns round numbers from below to above two values.
 * @param {number} low @param {number} high
 */
export function makeTicks(low, high) {
  const wanted = (high - low || Math.abs(high) || 1) / 4;
  const power = 10 ** Math.floor(Math.log10(wanted));
  const step = power * ([1, 2, 5].find((factor) => factor * power >= wanted) ?? 10);
  const first = Math.floor(low / step);
  const count = Math.max(2, Math.ceil(high / step) - first + 1);
  return Array.from({ length: count }, (_, i) => (first + i) * step);
}
