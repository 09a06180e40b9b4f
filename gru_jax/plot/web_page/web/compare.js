// @ts-check
// A GRU and an LSTM side by side. Orange is what they keep from step to step.

import { colour, css, element, ink, number, tabulate } from "./dom.js";
import { math } from "./words.js";

/**
 * @typedef {import("./gru.js").Step} Step
 * A letter at (x, y), a name beside it, and whether it is kept, or a share.
 * @typedef {[letter: string, x: number, y: number, name: string, across: number, down: number,
 *   kind?: "kept" | "gate"]} Box
 * Paths of the lines, and of their arrows and junctions; the first two of each are of what is kept.
 * @typedef {{boxes: Box[], kept: string[], wires: string[], signs: Array<[string, number, number]>,
 *   words: Array<[string, number, number]>}} Circuit
 */

/** @type {Circuit} */
const GRU = {
  boxes: [
    ["h", 28, 30, "old state", -24, -18, "kept"],
    ["r", 92, 140, "reset", 5, 25, "gate"],
    ["z", 222, 140, "update", 5, 25, "gate"],
    ["c", 152, 85, "candidate", -24, -18],
    ["h", 312, 30, "new state", -30, -18, "kept"],
    ["x", 28, 222, "input", -24, 25],
  ],
  kept: ["M52 30H288", "M195 30l-6-3v6zM231 30l-6-3v6zM288 30l-6-3v6z"],
  wires: [
    "M28 43V180H222V153M92 180V153M28 85H128M92 127V94M176 85H231M240 127V39M204 127V39" +
      "M52 222H152V98M66 222V180",
    "M92 153l-3 6h6zM222 153l-3 6h6zM83 85l-6-3v6zM92 94l-3 6h6zM128 85l-6-3v6zM231 85l-6-3v6z" +
      "M240 94l-3 6h6zM240 39l-3 6h6zM204 39l-3 6h6zM152 98l-3 6h6zM66 180l-3 6h6z" +
      "M26 83h4v4h-4zM90 178h4v4h-4zM64 220h4v4h-4z",
  ],
  signs: [
    ["×", 92, 85],
    ["×", 204, 30],
    ["×", 240, 85],
    ["+", 240, 30],
  ],
  words: [
    ["1 − z", 208, 62],
    ["gate", 97, 176],
    ["gate", 227, 176],
  ],
};

/** @type {Circuit} */
const AFTER = { ...GRU, words: [...GRU.words, ["q", 52, 80]] };

/** @type {Circuit} */
const LSTM = {
  boxes: [
    ["c", 28, 30, "old memory", -24, -18, "kept"],
    ["c", 312, 30, "memory", -24, -18, "kept"],
    ["h", 28, 180, "old output", -24, -18, "kept"],
    ["h", 312, 195, "output", -24, 25, "kept"],
    ["f", 92, 140, "forget", 5, 25, "gate"],
    ["i", 150, 140, "input", 5, 25, "gate"],
    ["g", 208, 140, "candidate", -55, -18],
    ["o", 262, 140, "output", 5, 25, "gate"],
    ["x", 28, 222, "input", -24, 25],
  ],
  kept: ["M52 30H288", "M83 30l-6-3v6zM170 30l-6-3v6zM288 30l-6-3v6z"],
  wires: [
    "M52 180H262V153M92 180V153M150 180V153M208 180V153M92 127V39M150 127V85H208V127M179 85V39" +
      "M262 127V85H312M312 43V182M52 222H66V180",
    "M92 153l-3 6h6zM150 153l-3 6h6zM208 153l-3 6h6zM262 153l-3 6h6zM92 39l-3 6h6z" +
      "M170 85l-6-3v6zM188 85l6-3v6zM179 39l-3 6h6zM303 85l-6-3v6zM312 76l-3-6h6z" +
      "M312 182l-3-6h6zM66 180l-3 6h6zM90 178h4v4h-4zM148 178h4v4h-4zM206 178h4v4h-4z",
  ],
  signs: [
    ["×", 92, 30],
    ["+", 179, 30],
    ["×", 179, 85],
    ["×", 312, 85],
  ],
  words: [
    ["tanh", 280, 64],
    ["gate", 97, 176],
    ["gate", 155, 176],
    ["gate", 267, 176],
  ],
};

/**
 * Returns both cells as pictures, and their equations as a table.
 * @param {{step: Step, t: number, unit: number, reverse: boolean, weights: number, lstm: number}}
 *   cell a unit at a step of the GRU, and how many weights it and an LSTM of its size have
 */
export function drawComparison({ step, t, unit, reverse, weights, lstm }) {
  const { before, r, z, c, h, q } = step;
  const values = [before, r, z, c, h].map((vector) => vector[unit]);
  const spoken = ["old h", "r", "z", "c", "h"].map((name, i) => `${name} ${number(values[i])}`);
  const place = `unit ${unit} at step ${t}`;
  const [ours, theirs] = [weights, lstm].map((n) => n.toLocaleString("en"));
  const old = reverse ? "{t+1}" : "{t−1}";
  const read = `( [ x_t , h_${old} ] W`;
  const candidate = q ? "x_t W_cx + b_c + r_t q_t" : `[ x_t , r_t h_${old} ] W_c + b_c`;
  const row = (/** @type {string} */ name, /** @type {string[]} */ ...formulas) => [
    name,
    ...formulas.map((text) => math(text)),
  ];
  const passed = "Orange: state passed to the next step.";
  const gru = `GRU: 2 gates, 1 state, ${ours} weights and biases. Numbers: ${place}. ${passed}`;
  const other = `LSTM: 3 gates, 2 states, ${theirs} weights and biases. ${passed}`;
  return element(
    "div",
    {},
    element(
      "div",
      { class: "comparison" },
      drawCircuit(q ? AFTER : GRU, gru, `${gru} ${spoken.join(", ")}`, values),
      drawCircuit(LSTM, other, other),
    ),
    tabulate("comparison", () => ({
      kind: "equations",
      caption: "Each gate has a W and a b of its own.",
      head: ["part", "GRU", "LSTM"],
      rows: [
        row("gates", `r_t , z_t = σ ${read} + b )`, `f_t , i_t , o_t = σ ${read} + b )`),
        row("candidate", `c_t = 'tanh' ( ${candidate} )`, `g_t = 'tanh' ${read}_g + b_g )`),
        row("memory", `h_t = ( 1 − z_t ) h_${old} + z_t c_t`, `c_t = f_t c_${old} + i_t g_t`),
        row("output", "h_t", "h_t = o_t 'tanh' ( c_t )"),
        row("kept", "h_t", "c_t , h_t"),
        ["weights and biases", ours, theirs],
        [place, spoken.join(", "), "not computed"],
      ],
    })),
  );
}

/**
 * @param {Circuit} circuit @param {string} caption @param {string} label
 * @param {number[]} values of its first boxes
 */
function drawCircuit({ boxes, kept, wires, signs, words }, caption, label, values = []) {
  const text = (
    /** @type {any} */ x,
    /** @type {number} */ y,
    /** @type {string} */ inner,
    more = {},
  ) => element("text", { x, y, ...more }, inner);
  const centre = { "text-anchor": "middle" };
  const svg = element(
    "svg",
    { viewBox: "0 0 340 250", role: "img", "aria-label": label },
    ...[wires, kept].flatMap(([line, heads], i) => [
      element("path", { d: line, class: i ? "wire kept" : "wire" }),
      element("path", { d: heads, class: i ? "head kept" : "head" }),
    ]),
    ...boxes.flatMap(([letter, x, y, name, across, down, kind], i) => {
      const rgb = i in values ? colour(values[i], kind === "gate") : null;
      const inner = rgb ? `${letter} ${number(values[i])}` : letter;
      const box = { x: x - 26, y: y - 13, width: 52, height: 26, class: kind };
      return [
        element("rect", { ...box, style: rgb && `fill: ${css(rgb)}` }),
        text(x, y + 4, inner, { ...centre, style: rgb && `fill: ${ink(rgb)}` }),
        text(x + across, y + down, name),
      ];
    }),
    ...signs.flatMap(([sign, cx, cy]) => [
      element("circle", { cx, cy, r: 9 }),
      text(cx, cy + 4, sign, centre),
    ]),
    ...words.map(([word, x, y]) => text(x, y, word)),
  );
  return element("figure", {}, svg, element("figcaption", {}, caption));
}
