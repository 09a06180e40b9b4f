// @ts-check
// A guided story for readers who have never seen a GRU. Its numbers are those of the page's net.

import { drawComparison } from "./compare.js";
import { number } from "./dom.js";

/**
 * @typedef {import("./model.js").Model} Model
 * @typedef {import("./model.js").Place} Place
 * @typedef {import("./gru.js").Step} Step
 * @typedef {import("./net.js").CellChange} CellChange
 * @typedef {{title: string, text: string, place: Partial<Place>, change: CellChange,
 *   draw?: () => Node}} Chapter
 * What a unit keeps of its state over these steps.
 * @typedef {{unit: number, steps: number[], kept: number}} Stretch
 */

/** Gates of a plain recurrent network. @type {CellChange} */
const PLAIN = { r: 1, z: 1 };
const HALF = 0.5; // Of its old state, that a unit keeps over a stretch of steps.

/**
 * Returns the story of the first cell.
 * @param {Model} model @param {string} task what the net does, in sentences, or nothing
 * @returns {Chapter[]}
 */
export function tell(model, task) {
  const trace = model.original.cells[0];
  const { steps, cell, reverse, own } = trace;
  const [first, last] = [steps[0], steps.length - 1];
  const { input, hidden } = cell;
  const after = cell.reset === "after";
  const end = reverse ? 0 : last;
  const percent = (/** @type {number} */ value, digits = 0) => `${number(100 * value, digits)} %`;

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
      ...(task ? [task] : []),
      `It remembers ${plural(hidden, "number")}, called the state h, one for each unit.`,
      `They start at ${cell.h0 ? "learned values" : "0"}.`,
      "In the pictures of r, z, c and h, each row is a unit.",
      "In r, z and ∂h, dark blue is 0 and light blue is 1.",
      "In x, c and h, purple is negative, grey is 0 and yellow is positive.",
    ]),
    chapter("One step", { level: "cell", t, unit }, [
      `This is step ${t}. The diagram starts with the input and the old state.`,
      "It ends with the new state. The next step uses that as its old state.",
      "Between them are a reset gate, a candidate and an update gate.",
      "In the formulas, [x, h] is the list of all inputs and old states.",
      "Every step uses the same weights. Training chose them.",
    ]),
    chapter("The reset gate", { level: "unit", t: shut_t, unit: shut, gate: "r" }, [
      "A gate is a number between 0 (shut) and 1 (open). Each unit has two.",
      `The GRU adds ${terms} terms: weighted inputs, weighted old states and a bias.`,
      "The sigmoid σ turns the sum into a number between 0 and 1.",
      `At step ${shut_t}, the reset gate of unit ${shut} is ${number(r)}.`,
      ...(after
        ? [
            `So this unit's candidate uses ${percent(r)} of what the old states contribute.`,
            "Near 0, it ignores them and sees the input alone. Near 1, it uses all of them.",
          ]
        : [
            `So the candidates see ${percent(r)} of this unit's old state.`,
            "Near 0, they ignore it. Near 1, they use all of it.",
          ]),
      "The old state itself is not erased: that is up to the update gate.",
      "A net shuts the reset gate where the past does not help to propose a new state.",
    ]),
    chapter("The candidate", { level: "unit", t, unit, gate: "c" }, [
      "The candidate is the proposed new state. Each unit has one.",
      "The GRU adds the weighted inputs, what the reset gates let through, and a bias.",
      "The function tanh squeezes the sum into the range from −1 to 1.",
      `For unit ${unit} at step ${t} the result is ${number(c)}.`,
    ]),
    chapter("The update gate", { level: "unit", t, unit, gate: "z" }, [
      "The update gate decides how much of the candidate the unit takes.",
      "It is computed like the reset gate, with weights of its own.",
      `For unit ${unit} at step ${t} it is ${number(z, 3)}: the unit takes`,
      `${percent(z, 1)} of the candidate and keeps ${percent(1 - z, 1)} of its old state.`,
      "At 0 the unit would keep its old state; at 1 the candidate would replace it.",
    ]),
    chapter("The new state", { level: "unit", t, unit, gate: "h" }, [
      "new state = (1 − z) × old state + z × candidate.",
      `So unit ${unit} moves from ${number(old)} to ${number(h)}; its candidate is ${number(c)}.`,
      "No unit changes more in any one step.",
    ]),
    ...tellOfMemory(model, stretch, chapter, percent),
    chapter(
      "Why not a plain recurrent network?",
      { level: "sequence", t: stretch ? stretch.steps[stretch.steps.length - 1] : end, unit },
      [
        "A plain recurrent network has only the candidate.",
        "It replaces its whole state at every step,",
        "so a memory must pass through weights and tanh each time.",
        "The memory usually fades, and so does the gradient. Here, r and z are held at 1.",
        "The cell now works like a plain network, with weights that were trained for a GRU,",
        "so its output changes.",
        ...tellOfFading(model, stretch, percent),
      ],
      PLAIN,
    ),
    {
      ...chapter("And the LSTM?", { level: "cell", t, unit }, [
        "The LSTM is older. It has two states: a memory c (the cell state) and an output h.",
        "Its forget gate sets how much memory it keeps, its input gate how much it adds,",
        "and its output gate how much of the memory it outputs; g is its candidate.",
        "A GRU has one state and outputs all of it. Its update gate does the work of the",
        "forget and input gates: it keeps 1 − z of the old state and adds z of the candidate.",
        "Which one predicts better depends on the task.",
        `An LSTM with the same number of units has ${extra ? "about " : ""}a third more weights and biases.`,
      ]),
      draw: () => drawComparison({ step: steps[t], t, unit, reverse, weights, lstm }),
    },
  ];
}

/**
 * Returns the chapters on what a unit keeps, if one keeps something.
 * @param {Model} model @param {Stretch | null} stretch
 * @param {(title: string, place: Partial<Place>, sentences: string[]) => Chapter} chapter
 * @param {(value: number, digits?: number) => string} percent
 */
function tellOfMemory(model, stretch, chapter, percent) {
  if (!stretch) return [];
  const { unit, steps, kept } = stretch;
  const [begin, end] = [steps[0], steps[steps.length - 1]];
  const before = begin + (begin <= end ? -1 : 1);
  return [
    chapter("Keeping a memory", { level: "sequence", t: end, unit }, [
      `At steps ${begin} to ${end}, the update gate of unit ${unit} is nearly shut.`,
      `After these ${plural(steps.length, "step")}, it still holds ${percent(kept)} of its state`,
      `from step ${before}; its candidates supplied the rest.`,
      "Each unit's update gate decides at each step how much to keep.",
      "Where the picture of z is dark, a unit keeps its state.",
    ]),
    chapter("How the gradient travels back", { level: "sequence", t: end, unit }, [
      "Training needs to know how strongly an earlier state affects a later one.",
      "The gradient measures that. The bottom picture shows, for all units together,",
      `how strongly each state affects the state of step ${end}.`,
      `At step ${before}, the gradient is ${percent(model.reach(0, end, before))} of its size`,
      `at step ${end}. On its way back through a unit that keeps its state,`,
      "the gradient is multiplied by 1 − z at each step: by about 1 if the gate is shut.",
    ]),
  ];
}

/**
 * Returns how much of the gradient is left without gates, if a unit kept something with them.
 * @param {Model} model @param {Stretch | null} stretch @param {(value: number, digits?: number) => string} percent
 */
function tellOfFading(model, stretch, percent) {
  if (!stretch) return [];
  const [begin, end] = [stretch.steps[0], stretch.steps[stretch.steps.length - 1]];
  const before = begin + (begin <= end ? -1 : 1);
  const [gated, plain] = [{}, PLAIN].map((change) => model.reach(0, end, before, change));
  return [
    `Look at the bottom picture: at step ${before}, the gradient was ${percent(gated)}`,
    `of its size at step ${end}; now it is ${percent(plain, 1)}.`,
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
