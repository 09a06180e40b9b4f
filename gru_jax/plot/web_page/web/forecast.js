// @ts-check
// What the net says of a series: its forecast, in the series' units, behind the past.

import { drawChart, makeTicks } from "./chart.js";
import { element, largest, number, tabulate } from "./dom.js";

/**
 * @typedef {import("./model.js").Model} Model
 * @typedef {(number | null)[]} Series null is missing
 * @typedef {{past: Series, names: string[], center: number, scale: number, base: number | null,
 *   truth: Series, times: string[], label: string}} Horizon
 */

/**
 * Returns the forecast: a chart, the shown step in words, and a table.
 * @param {Model} model @param {Horizon} horizon @param {number} wide in pixels
 */
export function drawForecast(model, horizon, wide) {
  const { past, names, truth, label } = horizon;
  const [now, before] = [true, false].map((changed) => predict(model, horizon, changed));
  const observed = [...past, ...truth];
  const small = 1e-6 * horizon.scale;
  const changed = now.some((row, t) => row.some((y, i) => Math.abs(y - before[t][i]) > small));
  const numbers = [...observed, ...now.flat(), ...(changed ? before.flat() : [])];
  const values = /** @type {number[]} */ (numbers.filter((y) => y !== null));
  const ticks = makeTicks(Math.min(...values), Math.max(...values));
  const gap = ticks[1] - ticks[0];
  const tick = makeFormat(gap, largest([ticks]));
  const exact = makeFormat(gap / 100, largest([ticks]));
  const show = (/** @type {number | null} */ y) => (y === null ? "missing" : exact(y));
  const name = (/** @type {number} */ t) => horizon.times[t] ?? `step ${t}`;

  const middle = names.length >> 1;
  const pairs = names.slice(0, middle).map((low, i) => `${low} to ${names[names.length - 1 - i]}`);
  const key = [
    `line: ${names[middle]}`,
    ...(pairs.length ? [`band: ${pairs.join(", ")}`] : []),
    "grey: observed",
    ...(changed ? ["dashed: before the changes"] : []),
  ];
  const words = `Forecast of ${label} from ${name(past.length)} (${key.join("; ")})`;
  const { t } = model.place;
  const at = t - past.length;
  const quantiles = at < 0 ? [] : names.map((one, i) => `${one}: ${show(now[at][i])}`);
  const seen = t < observed.length ? [`observed: ${show(observed[t])}`] : [];
  const table = tabulate("forecast", () => ({
    caption: words,
    head: [horizon.times.length ? "time" : "step", ...names, ...(truth.length ? ["observed"] : [])],
    rows: now.map((row, i) => [
      name(past.length + i),
      ...row.map(show),
      ...(truth.length ? [show(truth[i])] : []),
    ]),
    here: at,
  }));
  const chart = { observed, now, before: changed ? before.map((row) => row[middle]) : [] };
  return element(
    "figure",
    { class: "forecast" },
    element("figcaption", {}, `${words}.`),
    drawChart({ ...chart, begin: past.length, ticks, t, wide, words, name, tick }, (step) =>
      model.go({ t: step }),
    ),
    element("p", {}, `At ${name(t)}, ${[...quantiles, ...seen].join("; ")}.`),
    table,
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
 * Returns what writes numbers that differ by a gap, the largest of which has this size.
 * @param {number} gap @param {number} size @returns {(value: number) => string}
 */
function makeFormat(gap, size) {
  const decimals = -Math.floor(Math.log10(gap) + 1e-9);
  if (size < 1e7 && size >= 1e-3) return (value) => number(value, Math.max(0, decimals));
  const digits = Math.max(0, decimals + Math.floor(Math.log10(size)));
  return (value) => value.toExponential(digits).replaceAll("-", "\u2212");
}
