// @ts-check
// The panel in which the story's chapters are read.

import { element } from "./dom.js";

/** @typedef {import("./story.js").Chapter} Chapter */

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
  const again = element("button", { onclick: () => turn(shown) }, "show this chapter's view again");
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
