/** The elements of the slider. */

import { icon, make } from "./elements.js";
import { SPEEDS } from "./frame_player.js";
import { say } from "./texts.js";

export const ICONS = {
  play: "M8 5.2v13.6a.8.8 0 0 0 1.2.7l10.9-6.8a.8.8 0 0 0 0-1.4L9.2 4.5a.8.8 0 0 0-1.2.7z",
  pause: "M7 5h3.4v14H7zM13.6 5H17v14h-3.4z",
};

/** @typedef {{ figure: HTMLElement, canvas: HTMLCanvasElement, caption: HTMLElement }} End */

/** The elements of a slider. @param {string} label */
export function buildSlider(label) {
  const now = picture();
  const message = make("p", "di-message", { role: "status" });
  const middle = make("div", "di-now", {}, now, message);
  const ends = [buildEnd(), buildEnd()];
  const stage = make("div", "di-stage", {}, ends[0].figure, middle, ends[1].figure);

  const { button: play, path: playIcon } = buildPlay();
  const range = make("input", "di-range", { type: "range", min: "0", step: "1" });
  range.setAttribute("aria-label", say("Frame"));
  const ticks = make("div", "di-ticks", { "aria-hidden": "true" });
  const rail = make("div", "di-rail", {}, ticks, range);

  const place = make("b", "");
  const of = make("span", "");
  const where = make("p", "di-where", { "aria-hidden": "true" }, place, of);
  const speed = select(say("Speed"), SPEEDS.map((fps) => [String(fps), say("{fps} fps", { fps })]));
  const mode = select(say("Repeat"), [
    ["bounce", say("Back and forth")],
    ["loop", say("Loop")],
  ]);
  const compare = make("button", "di-pill", { type: "button" }, say("Compare"));
  compare.title = say("Show the keyframes on either side");
  const tools = make("div", "di-tools", {}, speed, mode, compare);
  const controls = make("div", "di-controls", {}, play, rail, where, tools);

  const root = make("div", "di-slider", { role: "group", "aria-label": label }, stage, controls);
  return {
    root, stage, now, message, ends, play, playIcon, range, ticks, place, of, speed, mode, compare,
    tools,
  };
}

/** @returns {End} */
function buildEnd() {
  const canvas = picture();
  const caption = make("figcaption", "");
  return { figure: make("figure", "di-end", { hidden: "" }, canvas, caption), canvas, caption };
}

function picture() {
  return make("canvas", "di-picture", { role: "img", width: "1", height: "1" });
}

function buildPlay() {
  const { svg, path } = icon(ICONS.play);
  return { button: make("button", "di-play", { type: "button" }, svg), path };
}

/**
 * @param {string} label
 * @param {string[][]} choices value and text of each
 */
function select(label, choices) {
  const options = choices.map(([value, text]) => make("option", "", { value }, text));
  return make("select", "di-pill", { "aria-label": label, title: label }, ...options);
}

/** @param {number} share of the way, 0 to 1 */
export function tickAt(share) {
  const tick = make("i", "");
  tick.style.setProperty("--di-at", String(share));
  return tick;
}
