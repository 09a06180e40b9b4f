// @ts-check
// Puts the page together: the data, the controls, and the level that is shown.

import { read, write } from "./address.js";
import { drawCell } from "./cell.js";
import { makeChanges } from "./changes.js";
import { makeControls } from "./controls.js";
import { rows, unpack } from "./data.js";
import { element } from "./dom.js";
import { drawForecast } from "./forecast.js";
import { GATES, LEVELS, Model } from "./model.js";
import { drawOutput } from "./output.js";
import { makeStory } from "./panel.js";
import { drawSequence } from "./sequence.js";
import { tell } from "./story.js";
import { drawUnit } from "./unit.js";

const VIEWS = { sequence: drawSequence, cell: drawCell, unit: drawUnit };
const FOCUSED = "button, summary, [tabindex]";
const WIDE = 720; // Of a chart, in pixels, before it has a place.
const LATER = 200; // Milliseconds after which the address follows; browsers refuse many changes.

/**
 * Shows the net in an element: of a page of its own, or of a notebook, whose address and
 * transitions it leaves alone. Returns a function that ends it.
 * @param {any} data @param {HTMLElement} root @param {boolean} alone
 */
export function start(data, root, alone = true) {
  const model = new Model(unpack(data.net), rows(data.xs), data.inputs);
  const { horizon } = data;
  if (horizon) [model.begin, model.times] = [horizon.past.length, horizon.times];
  const chapters = data.story != null ? tell(model, data.story) : [];
  const turn = (/** @type {number} */ at) => {
    model.chapter = at;
    model.alter({ cells: { 0: chapters[at].change }, inputs: {} });
    model.go(chapters[at].place);
  };
  const story = chapters.length ? makeStory(chapters, turn) : null;
  const controls = makeControls(model);
  const changes = makeChanges(model);
  const view = element("div", { tabindex: 0, role: "group", class: "view" });
  const output = element("section", { "aria-label": "Output" });
  root.append(
    ...(story ? [story.node] : []),
    controls.node,
    view,
    element("h2", {}, "Output"),
    output,
    element("h2", {}, "What if?"),
    changes.node,
  );

  const draw = () => {
    const { level, cell, t, unit } = model.place;
    const text = `${level}, step ${t}, unit ${unit}: arrow keys change step and unit`;
    view.setAttribute("aria-label", text);
    const { place } = chapters[model.chapter] ?? {};
    story?.update(model.chapter, isThere(model, place ?? {}) && cell === 0);
    controls.update();
    replace(view, VIEWS[level](model));
    tellOutput();
    changes.update();
  };
  let wide = 0;
  const tellOutput = () => {
    wide = output.clientWidth || WIDE;
    const picture = horizon ? drawForecast(model, horizon, wide) : drawOutput(model, data.classes);
    replace(output, picture);
  };
  const fit = new ResizeObserver(() => horizon && output.clientWidth !== wide && tellOutput());
  fit.observe(output);

  const addressed = alone && location.protocol !== "about:"; // A frame in a notebook has none.
  let timer = 0;
  const follow = () => {
    clearTimeout(timer);
    timer = setTimeout(() => history.replaceState(null, "", write(model)), LATER);
  };
  let arrives = true; // From an address: nothing moves before the reader does.
  model.listeners.push((moved) => {
    const calm = matchMedia("(prefers-reduced-motion: reduce)").matches;
    const smooth = moved && alone && !arrives && !calm && document.startViewTransition;
    if (smooth) document.startViewTransition(draw);
    else draw();
    if (addressed) follow();
  });
  listen(model, view, controls.play);
  const go = () => {
    clearTimeout(timer);
    arrives = true;
    const at = Number(/^(?:#chapter=(\d+))?$/.exec(location.hash)?.[1] ?? (location.hash ? -1 : 0));
    if (chapters[at]) turn(at);
    else read(model, location.hash, chapters.length);
    arrives = false;
  };
  if (addressed) {
    addEventListener("hashchange", go);
    go();
    view.focus({ preventScroll: true });
  } else if (chapters.length) turn(0);
  else model.go({});
  arrives = false;
  return () => {
    controls.stop();
    fit.disconnect();
  };
}

/** @param {Model} model @param {any} place */
const isThere = (model, place) =>
  Object.entries(place).every(([name, value]) => /** @type {any} */ (model.place)[name] === value);

/**
 * Puts a new picture in place of the old one; focus and open tables stay.
 * @param {HTMLElement} view @param {Node} picture
 */
function replace(view, picture) {
  const active = /** @type {Document} */ (view.getRootNode()).activeElement;
  const at = [...view.querySelectorAll(FOCUSED)].findIndex((one) => one === active);
  const details = () => [...view.querySelectorAll("details")];
  const open = details().flatMap((one) => (one.open ? [one.dataset.of] : []));
  view.replaceChildren(picture);
  details().forEach((one) => (one.open = open.includes(one.dataset.of)));
  const again = at < 0 ? null : (view.querySelectorAll(FOCUSED)[at] ?? view);
  /** @type {HTMLElement | null} */ (again)?.focus({ preventScroll: true });
}

/**
 * Lets keys change what is shown, where the picture has the focus.
 * @param {Model} model @param {HTMLElement} view @param {() => void} play
 */
function listen(model, view, play) {
  view.addEventListener("keydown", (event) => {
    const target = /** @type {HTMLElement} */ (event.target);
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (target.closest(".scroll") || (event.key === " " && target !== view)) return;
    const { t, level, gate } = model.place;
    const depth = LEVELS.indexOf(level);
    const dive = (/** @type {number} */ by) =>
      model.go({ level: LEVELS[Math.max(0, Math.min(LEVELS.length - 1, depth + by))] });
    /** @type {Record<string, () => void>} */
    const keys = {
      ArrowLeft: () => model.go({ t: t - 1 }),
      ArrowRight: () => model.go({ t: t + 1 }),
      ArrowUp: () => model.pass(-1),
      ArrowDown: () => model.pass(1),
      Home: () => model.go({ t: 0 }),
      End: () => model.go({ t: model.xs.length - 1 }),
      "+": () => dive(1),
      "-": () => dive(-1),
      Escape: () => dive(-1),
      g: () => model.go({ gate: GATES[(GATES.indexOf(gate) + 1) % GATES.length] }),
      " ": play,
    };
    if (!(event.key in keys)) return;
    event.preventDefault();
    keys[event.key]();
  });
}
