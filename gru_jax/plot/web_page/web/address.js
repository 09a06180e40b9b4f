// @ts-check
// What the page shows and what its reader has changed, as its address has them.
//
//   #level=unit&cell=0&t=3&unit=2&gate=z&sort=speed&chapter=4&x=3_0_0.5&r0=1&off0=2_5&h1=4_0_-0.25
//
// A number after a name is that of a cell. Values that are set are step_number_value.

import { GATES, LEVELS } from "./model.js";

/**
 * @typedef {import("./model.js").Model} Model
 * @typedef {import("./model.js").Place} Place
 * @typedef {import("./net.js").Values} Values
 * @typedef {import("./net.js").CellChange} CellChange
 */

const SORTS = ["number", "speed"];

/** Returns the address. @param {Model} model */
export function write({ place, choice, chapter, changes }) {
  /** @type {Array<[string, any]>} */
  const parts = [
    ...Object.entries(place),
    ["sort", choice === null ? null : SORTS[Number(choice)]],
    ["chapter", chapter || null],
    ["x", join(changes.inputs)],
  ];
  for (const [cell, { r, z, reset, off, states }] of Object.entries(changes.cells)) {
    const values = { r, z, reset, off: off?.join("_"), h: join(states) };
    for (const [name, value] of Object.entries(values)) parts.push([`${name}${cell}`, value]);
  }
  const used = parts.filter(([, value]) => value != null && value !== "");
  return `#${new URLSearchParams(used.map(([name, value]) => [name, String(value)]))}`;
}

/**
 * Goes where an address says; what is impossible in it is left out.
 * @param {Model} model @param {string} text @param {number} chapters
 */
export function read(model, text, chapters) {
  const words = new URLSearchParams(text.replace(/^#/, ""));
  const cells = model.original.cells;
  const steps = model.xs.length;
  /** @type {Record<number, CellChange>} */
  const changes = {};
  cells.forEach(({ cell }, i) => {
    const reset = words.get(`reset${i}`);
    const off = (words.get(`off${i}`) ?? "").split("_").map((unit) => whole(unit, cell.hidden));
    changes[i] = {
      r: share(words.get(`r${i}`)),
      z: share(words.get(`z${i}`)),
      reset: ["before", "after"].find((form) => form === reset && form !== cell.reset) ?? null,
      off: [...new Set(off)].filter((unit) => unit !== null),
      states: split(words.get(`h${i}`), steps, cell.hidden),
    };
  });
  const sort = SORTS.indexOf(words.get("sort") ?? "");
  model.choice = sort < 0 ? null : Boolean(sort);
  model.chapter = whole(words.get("chapter"), chapters) ?? 0;
  const inputs = split(words.get("x"), steps, model.xs[0].length);
  const { tokens } = model;
  if (tokens) {
    for (const row of Object.values(inputs)) {
      row[0] = Math.max(0, Math.min(tokens - 1, Math.round(row[0])));
    }
  }
  model.alter({ cells: changes, inputs });
  const cell = whole(words.get("cell"), cells.length) ?? 0;
  model.go({
    cell,
    t: whole(words.get("t"), steps) ?? model.end(cell),
    unit: whole(words.get("unit"), cells[cell].cell.hidden) ?? 0,
    level: LEVELS.find((level) => level === words.get("level")) ?? "sequence",
    gate: GATES.find((gate) => gate === words.get("gate")) ?? "z",
  });
}

/** Returns a number, or null. @param {string | null | undefined} text */
const finite = (text) => (text && Number.isFinite(Number(text)) ? Number(text) : null);

/**
 * Returns a whole number below a limit, or null.
 * @param {string | null} text @param {number} end
 */
function whole(text, end) {
  const value = finite(text);
  return value !== null && Number.isInteger(value) && value >= 0 && value < end ? value : null;
}

/** Returns a number from 0 to 1, or null. @param {string | null} text */
function share(text) {
  const value = finite(text);
  return value !== null && value >= 0 && value <= 1 ? value : null;
}

/** @param {Values | undefined} values */
const join = (values) =>
  Object.entries(values ?? {})
    .flatMap(([t, row]) =>
      Object.entries(row).map(([i, value]) => `${t}_${i}_${Number(value.toPrecision(6))}`),
    )
    .join(" ");

/** @param {string | null} text @param {number} steps @param {number} size @returns {Values} */
function split(text, steps, size) {
  /** @type {Values} */
  const values = {};
  for (const part of (text ?? "").split(" ")) {
    const [first, second, third] = part.split("_");
    const [t, i, value] = [whole(first, steps), whole(second ?? null, size), finite(third)];
    if (t !== null && i !== null && value !== null) (values[t] ??= {})[i] = value;
  }
  return values;
}
