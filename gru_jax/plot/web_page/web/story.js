// @ts-check
// A guided story for readers who have never seen a GRU. Its numbers are those of the page's net.

import { drawComparison } from "./compare.js";
import { element, number } from "./dom.js";

/**
 * @typedef {import("./model.js").Model} Model
 * @typedef {import("./model.js").Place} Place
 * @typedef {import("./gru.js").Step} Step
 * @typedef {import("./net.js").CellChange} CellChange
 * @typedef {{title: string, text: string, place: Partial<Place>, change: CellChange,
 *   draw?: () => Node}} Chapter
 */

const HALF = 0.5; // Of its old state, that a unit keeps over a stretch of steps.

/**
 * Returns the story of the first cell.
 * @param {Model} model
 * @returns {Chapter[]}
 */
export function tell(model) {
  const trace = model.original.cells[0];
  const { steps, cell, reverse, own } = trace;
  const [first, last] = [steps[0], steps.length - 1];
  const { input, hidden } = cell;
  const after = cell.reset === "after";
  const percent = (/** @type {number} */ value) => `${number(100 * value, 0)} %`;

  const [t, unit] = find(steps, (s, j) => Math.abs(s.h[j] - s.before[j]));
  const [old, c, z, h] = /** @type {const} */ (["before", "c", "z", "h"]).map(
    (name) => steps[t][name][unit],
  );
  const [shut_t, shut] = find(steps, (s, j) => (1 - s.r[j]) * Math.abs(s.before[j]));
  const r = steps[shut_t].r[shut];
  const stretch = findStretch(steps, reverse);
  const names = Array.from(first.x, (_, i) => model.inputName(i));
  const read = own && model.names.length && input <= 4 ? `: ${names.join(" and ")}` : "";
  const terms = input + hidden + 1;
  const extra = cell.b_h ? hidden : 0;
  const weights = 3 * hidden * terms + extra;
  const lstm = 4 * hidden * terms;

  /**
   * @param {string} title @param {Partial<Place>} place @param {string[]} sentences
   * @param {CellChange} change
   * @returns {Chapter}
   */
  const chapter = (title, place, sentences, change = {}) => {
    return { title, place: { cell: 0, ...place }, text: sentences.join(" "), change };
  };
  return [
    chapter("It reads a sequence", { level: "sequence", t: reverse ? last : 0 }, [
      `The GRU reads a sequence of ${plural(last + 1, "step")}, from left to right.`,
      ...(reverse ? ["But its first cell, shown here, reads from right to left."] : []),
      `At each step it gets ${plural(input, "number")}, the input x${read}.`,
      `Its memory is ${plural(hidden, "number")}, the state h.`,
      `It starts at ${cell.h0 ? "learned values" : "0"}.`,
      "Each number of the state belongs to one unit.",
      "In the pictures of r, z, c and h, each row is a unit.",
      "In r and z, dark is 0 and light is 1.",
      "Elsewhere, dark is negative, grey is 0 and yellow is positive.",
    ]),
    chapter("One step", { level: "cell", t, unit }, [
      `This is step ${t}. The diagram begins with the input and the old state,`,
      "and ends with the new state, which is the next step's old state.",
      "Between them are a reset gate, a candidate and an update gate.",
      "Every step uses the same weights. Training has set them.",
    ]),
    chapter("The reset gate", { level: "unit", t: shut_t, unit: shut, gate: "r" }, [
      "A gate is a number between 0 (shut) and 1 (open). Each unit has two.",
      `A gate is computed from the inputs and the old states: a weighted sum of ${terms} terms.`,
      "The sigmoid σ turns the sum into a number between 0 and 1.",
      `At step ${shut_t}, the reset gate of unit ${shut} is ${number(r)}.`,
      after
        ? `So this unit's candidate uses ${percent(r)} of what the old states contribute.`
        : `So the candidates see ${percent(r)} of this unit's old state.`,
      "Near 0, the old state is ignored: a reset. Near 1, it counts in full.",
    ]),
    chapter("The candidate", { level: "unit", t, unit, gate: "c" }, [
      "The candidate is the proposed new state.",
      "It is a weighted sum of the input and of what the reset gates let through.",
      "The curve tanh keeps it between −1 and 1.",
      `For unit ${unit} at step ${t} it is ${number(c)}.`,
    ]),
    chapter("The update gate", { level: "unit", t, unit, gate: "z" }, [
      "The update gate decides how much of the candidate the unit takes.",
      "It is computed like the reset gate, with weights of its own.",
      `For unit ${unit} at step ${t} it is ${number(z)}:`,
      `the unit takes ${percent(z)} of the candidate and keeps ${percent(1 - z)} of its old state.`,
    ]),
    chapter("The new state", { level: "unit", t, unit, gate: "h" }, [
      "new state = (1 − z) × old state + z × candidate.",
      `From ${number(old)} and ${number(c)} this gives ${number(h)}.`,
      "It is the largest change of any unit in this sequence.",
    ]),
    ...tellOfMemory(model, stretch, chapter, percent),
    chapter(
      "Why not a plain recurrent network?",
      { level: "sequence", t: reverse ? 0 : last, unit },
      [
        "A plain recurrent network has only the candidate.",
        "It replaces its whole state at every step,",
        "so a memory must pass through weights and tanh each time.",
        "The memory and its gradient usually fade.",
        "To see this, r = 1 and z = 1 are held here:",
        "the cell is now a plain recurrent network, with weights that were trained for a GRU.",
        "Below the pictures you can see what becomes of the output.",
      ],
      { r: 1, z: 1 },
    ),
    {
      ...chapter("And the LSTM?", { level: "cell", t, unit }, [
        "The LSTM is older. It has two states: a memory (the cell state) and an output.",
        "Its forget gate sets what it keeps, its input gate what it adds,",
        "and its output gate what it shows. A GRU has one state and shows all of it.",
        "Its update gate does the work of two: it adds with z and keeps with 1 − z,",
        "so the two always sum to 1. Neither is better in general.",
        `An LSTM with as many units has ${extra ? "about " : ""}a third more weights.`,
      ]),
      draw: () => drawComparison({ step: steps[t], t, unit, reverse, weights, lstm }),
    },
  ];
}

/**
 * Returns the chapters on what a unit keeps, if one keeps something.
 * @param {Model} model
 * @param {{unit: number, steps: number[], kept: number} | null} stretch
 * @param {(title: string, place: Partial<Place>, sentences: string[]) => Chapter} chapter
 * @param {(value: number) => string} percent
 */
function tellOfMemory(model, stretch, chapter, percent) {
  if (!stretch) return [];
  const { unit, steps, kept } = stretch;
  const [begin, end] = [steps[0], steps[steps.length - 1]];
  const reach = model.reach(0, end);
  const before = begin + (begin <= end ? -1 : 1);
  return [
    chapter("Keeping a memory", { level: "sequence", t: end, unit }, [
      `At steps ${begin} to ${end}, the update gate of unit ${unit} is nearly shut:`,
      `after these ${plural(steps.length, "step")} the unit still holds ${percent(kept)}`,
      "of its old state. So the GRU decides at each step, and for each unit,",
      "what to keep. Where the picture of z is dark, a unit keeps its state.",
    ]),
    chapter("The way back", { level: "sequence", t: end, unit }, [
      "Training needs to know how an earlier state affects a later one.",
      `The gradient measures that. The last picture shows it for step ${end}.`,
      ...(before in reach
        ? [`At step ${before} it is ${percent(reach[before] / reach[end])} as large.`]
        : []),
      "A shut update gate passes both the memory and the gradient on almost unchanged.",
      "An open one replaces them.",
    ]),
  ];
}

/**
 * Returns step and unit with the largest value.
 * @param {Step[]} steps @param {(s: Step, j: number) => number} value
 * @returns {[number, number]}
 */
function find(steps, value) {
  /** @type {[number, number]} */
  let best = [0, 0];
  let top = -Infinity;
  steps.forEach((s, t) => {
    for (let j = 0; j < s.h.length; j++) {
      if (value(s, j) > top) [best, top] = [[t, j], value(s, j)];
    }
  });
  return best;
}

/**
 * Returns the longest stretch, in the cell's own order, over which a unit keeps half of its state.
 * @param {Step[]} steps @param {boolean} reverse
 */
function findStretch(steps, reverse) {
  const order = [...steps.keys()];
  if (reverse) order.reverse();
  let best = null;
  for (let unit = 0; unit < steps[0].h.length; unit++) {
    for (let begin = 1; begin < order.length; begin++) {
      let kept = 1;
      let end = begin;
      while (end < order.length && kept * (1 - steps[order[end]].z[unit]) >= HALF) {
        kept *= 1 - steps[order[end++]].z[unit];
      }
      const stretch = order.slice(begin, end);
      // A state of nothing is no memory.
      const full = Math.abs(steps[order[begin - 1]].h[unit]) > 0.1;
      if (full && stretch.length > Math.max(1, best?.steps.length ?? 0)) {
        best = { unit, steps: stretch, kept };
      }
    }
  }
  return best;
}

/** @param {number} n @param {string} word */
const plural = (n, word) => `${n} ${word}${n === 1 ? "" : "s"}`;

/**
 * Makes the story's panel, once, so that what it says is read out.
 * @param {Chapter[]} chapters @param {(at: number) => void} turn
 * @returns {{node: Node, update: (at: number, there: boolean) => void}}
 */
export function makeStory(chapters, turn) {
  let shown = -1;
  const title = element("h2");
  const text = element("p", { "aria-live": "polite" });
  const back = element("button", { id: "story-back", onclick: () => turn(shown - 1) }, "back");
  const on = element("button", { id: "story-on", onclick: () => turn(shown + 1) }, "next");
  const again = element("button", { onclick: () => turn(shown) }, "return to this chapter");
  const picture = element("div");
  const buttons = element("p", {}, back, " ", on, " ", again);
  const parts = [title, text, picture, buttons];
  const node = element("section", { class: "story", "aria-label": "Story" }, ...parts);
  const update = (/** @type {number} */ at, /** @type {boolean} */ there) => {
    const { draw } = chapters[at];
    if (shown !== at) picture.replaceChildren(...(draw ? [draw()] : []));
    shown = at;
    title.textContent = `Chapter ${at + 1} of ${chapters.length}: ${chapters[at].title}`;
    if (text.textContent !== chapters[at].text) text.textContent = chapters[at].text;
    back.disabled = at === 0;
    on.disabled = at === chapters.length - 1;
    again.hidden = there;
  };
  return { node, update };
}
