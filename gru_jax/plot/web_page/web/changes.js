// @ts-check
// What if: inputs and states that the reader sets, gates that are held, units that are off.

import { element, largest, makeCheck, number } from "./dom.js";
import { describe } from "./model.js";

/** @typedef {import("./model.js").Model} Model */

/**
 * Makes the controls, once: a slider that were made anew would slip out of the reader's hand.
 * @param {Model} model
 * @returns {{node: Node, update: () => void}}
 */
export function makeChanges(model) {
  let input = 0;
  const names = Array.from(model.xs[0], (_, i) => model.inputName(i));
  const select = element(
    "select",
    {
      "aria-label": "input to change",
      onchange: () => {
        input = Number(select.value);
        model.go({});
      },
    },
    ...names.map((name, i) => element("option", { value: i }, name)),
  );
  const input_limit = Math.max(1, largest(model.xs));
  const value = makeSlider((x) => model.setInput(input, x), model.tokens);
  const state = makeSlider((x) => model.setState(model.place.unit, x));
  const boxes = [
    makeCheck((on) => model.hold({ r: on ? 1 : null })),
    makeCheck((on) => model.hold({ z: on ? 0 : null })),
    makeCheck((on) => model.hold({ z: on ? 1 : null })),
    makeCheck((on) => {
      const { unit } = model.place;
      const off = (model.change.off ?? []).filter((one) => one !== unit);
      model.hold({ off: on ? [...off, unit] : off });
    }),
    makeCheck((on) => model.hold({ reset: on ? other(model) : null })),
  ];
  const words = element("span", { role: "status" });
  const undo = element("button", { id: "undo", onclick: () => model.reset() }, "undo all changes");
  const node = element(
    "div",
    { class: "changes" },
    element("div", { class: "sliders" }, element("div", {}, select, value.node), state.node),
    element("div", { class: "checks" }, ...boxes.map((box) => box.node)),
    element("p", {}, words, " ", undo),
  );
  const update = () => {
    const { place, change, trace, step } = model;
    const { t, unit } = place;
    const { clip, reset } = trace.cell;
    const x = model.changes.inputs[t]?.[input] ?? model.xs[t][input];
    value.update(`${model.tokens ? "token" : names[input]} at step ${t}`, x, input_limit);
    state.update(`state of unit ${unit} after step ${t}`, step.h[unit], clip ?? 1);
    const off = (change.off ?? []).includes(unit);
    boxes[0].update("r = 1: the candidates see all of the old state", change.r === 1);
    boxes[1].update("z = 0: every unit keeps its old state", change.z === 0);
    const plain = change.r === 1 ? " (a plain recurrent network)" : "";
    boxes[2].update(`z = 1: the candidate replaces the state${plain}`, change.z === 1);
    boxes[3].update(`unit ${unit} is off: its state is 0`, off);
    boxes[4].update(
      `apply r ${other(model)} the weights (in this net: ${reset} them)`,
      change.reset === other(model),
    );
    const all = describe(model);
    const text = all.length ? `Changed: ${all.join("; ")}.` : "No changes.";
    if (words.textContent !== text) words.textContent = text;
    undo.disabled = !all.length;
  };
  return { node, update };
}

/** @param {Model} model */
const other = (model) => (model.trace.cell.reset === "before" ? "after" : "before");

/**
 * @param {(value: number) => void} set
 * @param {number | null} tokens the values are 0 to `tokens` - 1, if there are so many
 */
function makeSlider(set, tokens = null) {
  const input = element("input", { type: "range", oninput: () => set(Number(input.value)) });
  const [name, output] = [element("span"), element("output")];
  const node = element("label", { class: "slider" }, name, input, output);
  const update = (
    /** @type {string} */ text,
    /** @type {number} */ value,
    /** @type {number} */ limit,
  ) => {
    const edge = Math.max(limit, Math.abs(value));
    name.textContent = text;
    const range = { min: -edge, max: edge, step: edge / 200 };
    Object.assign(input, tokens ? { min: 0, max: tokens - 1, step: 1 } : range);
    if (Math.abs(Number(input.value) - value) > edge / 200) input.value = String(value);
    input.setAttribute("aria-valuetext", number(value, tokens ? 0 : 3));
    output.textContent = number(value, tokens ? 0 : 2);
  };
  return { node, update };
}
