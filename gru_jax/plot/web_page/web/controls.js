// @ts-check
// Which level, which step, which cell; and play.

import { element, makeCheck } from "./dom.js";
import { LEVELS } from "./model.js";

/** @typedef {import("./model.js").Model} Model */

const PACE = 400; // Milliseconds per step, when it plays.

/**
 * Makes the controls, once.
 * @param {Model} model
 * @returns {{node: Node, update: () => void, play: () => void, stop: () => void}}
 */
export function makeControls(model) {
  let timer = 0;
  const stop = () => {
    clearInterval(timer);
    timer = 0;
  };
  const play = () => {
    const on = () => model.go({ t: (model.place.t + 1) % model.xs.length });
    if (timer) stop();
    else timer = setInterval(on, PACE);
    update();
  };
  const levels = LEVELS.map((level) =>
    element("button", { id: `level-${level}`, onclick: () => model.go({ level }) }),
  );
  const playing = element("button", { id: "play", onclick: play });
  const back = element(
    "button",
    { onclick: () => model.go({ t: model.place.t - 1 }), "aria-label": "one step back" },
    "◀",
  );
  const on = element(
    "button",
    {
      id: "on",
      onclick: () => model.go({ t: model.place.t + 1 }),
      "aria-label": "one step forward",
    },
    "▶",
  );
  const last = model.xs.length - 1;
  const slider = element("input", {
    ...{ type: "range", id: "step", min: 0, max: last, "aria-label": "step" },
    oninput: () => model.go({ t: Number(slider.value) }),
  });
  const output = element("output", { for: "step" });
  const cells = model.original.cells;
  const select = element(
    "select",
    { onchange: () => model.go({ cell: Number(select.value) }) },
    ...cells.map(({ layer, reverse }, i) =>
      element("option", { value: i }, `${i + 1}: layer ${layer}${reverse ? ", backwards" : ""}`),
    ),
  );
  const chosen = cells.length > 1 ? [element("label", {}, "cell ", select)] : [];
  const sort = makeCheck((sorted) => model.sort(sorted));
  const steps = element("div", { class: "controls" }, playing, back, slider, on, output, ...chosen);
  const nav = element("nav", { "aria-label": "Levels" }, ...levels);
  const node = element("div", {}, element("div", { class: "controls" }, nav, sort.node), steps);
  const update = () => {
    const { t, unit, level, cell } = model.place;
    const names = { sequence: "sequence", cell: `step ${t}`, unit: `unit ${unit}` };
    levels.forEach((button, i) => {
      button.textContent = names[LEVELS[i]];
      if (LEVELS[i] === level) button.setAttribute("aria-current", "page");
      else button.removeAttribute("aria-current");
    });
    playing.textContent = timer ? "pause" : "play";
    slider.value = String(t);
    const time = model.times.length ? `, ${model.times[t]}` : "";
    output.textContent = `step ${t}${time} (0 to ${last})`;
    select.value = String(cell);
    sort.update("sort units from slow to fast", model.sorted);
  };
  return { node, update, play, stop };
}
