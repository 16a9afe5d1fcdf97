/** How the slider is used: by keys, by the wheel, and by dragging the picture or the bar. */

import { clampFrame, frameForKey, wheelFrames } from "./frame_player.js";

/** @typedef {ReturnType<import("./slider_parts.js").buildSlider>} Parts */

/**
 * What input does to a slider.
 * @typedef {object} Controlled
 * @property {() => { index: number, count: number }} place of the shown frame
 * @property {(index: number) => void} take somebody goes to a frame: playback makes way
 * @property {() => void} pause
 * @property {() => void} toggle play or pause
 */

/**
 * @typedef {object} Reach
 * @property {boolean} pageKeys whether left, right and space of the whole page are the slider's
 * @property {boolean} needsFocus whether the wheel is the slider's only while it has the focus
 */

export class SliderInput {
  #parts;
  #slider;
  #reach;
  #wheelRest = 0;
  #listeners = new AbortController();

  /**
   * @param {Parts} parts
   * @param {Controlled} slider
   * @param {Reach} reach
   */
  constructor(parts, slider, reach) {
    this.#parts = parts;
    this.#slider = slider;
    this.#reach = reach;
    const { root, range, play, compare, stage, now } = parts;
    this.on(reach.pageKeys ? document : root, "keydown", (event) => this.#onKey(event));
    this.on(range, "input", () => slider.take(Number(range.value)));
    this.on(play, "click", () => slider.toggle());
    // after a click, space is the slider's again, not the button's
    for (const button of [play, compare]) {
      this.on(button, "click", ({ detail: byMouse }) => byMouse && this.#takeFocus());
    }
    for (const area of [stage, range]) this.on(area, "wheel", (event) => this.#onWheel(event));
    this.#listenToDrags(now);
  }

  /**
   * Listen as long as the slider is there.
   * @param {EventTarget} target
   * @param {string} type
   * @param {(event: any) => void} listener
   */
  on(target, type, listener) {
    target.addEventListener(type, listener, { signal: this.#listeners.signal, passive: false });
  }

  /** Hear nothing more. */
  close() {
    this.#listeners.abort();
  }

  /**
   * Dragging the picture sideways moves through the frames, its whole width through all of them.
   * @param {HTMLCanvasElement} picture
   */
  #listenToDrags(picture) {
    /** @type {{ x: number, index: number } | null} */
    let start = null;
    this.on(picture, "pointerdown", (event) => {
      if (event.button !== 0) return;
      this.#slider.pause();
      start = { x: event.clientX, index: this.#slider.place().index };
      picture.setPointerCapture(event.pointerId);
    });
    this.on(picture, "pointermove", (event) => {
      if (!start) return;
      const fraction = (event.clientX - start.x) / Math.max(1, picture.clientWidth);
      this.#slider.take(start.index + fraction * (this.#slider.place().count - 1));
    });
    for (const type of ["pointerup", "pointercancel"]) {
      this.on(picture, type, () => {
        if (start) this.#takeFocus();
        start = null;
      });
    }
  }

  /** Let the keys go on from here. */
  #takeFocus() {
    this.#parts.range.focus({ preventScroll: true });
  }

  /** @param {KeyboardEvent} event */
  #onKey(event) {
    const { root } = this.#parts;
    const target = event.target instanceof Element ? event.target : root;
    const inside = root.contains(target);
    if (event.altKey || event.ctrlKey || event.metaKey || event.defaultPrevented) return;
    if (target.closest("select, textarea, input:not(.di-range), [contenteditable], .di-strip")) return;
    if (!inside && !["ArrowLeft", "ArrowRight", " "].includes(event.key)) return;

    const { index, count } = this.#slider.place();
    const next = frameForKey(event.key, index, count);
    if (next !== null) this.#slider.take(next);
    else if (event.key === " " && !target.closest("button, a, summary")) this.#slider.toggle();
    else return;
    event.preventDefault();
    event.stopPropagation(); // a host's own shortcuts must not answer as well
  }

  /** @param {WheelEvent} event */
  #onWheel(event) {
    if (event.ctrlKey || event.metaKey) return; // zooms the page
    const { root } = this.#parts;
    if (this.#reach.needsFocus && !root.contains(document.activeElement)) return;
    const sideways = Math.abs(event.deltaX) > Math.abs(event.deltaY);
    const delta = sideways ? event.deltaX : event.deltaY;
    const turn = wheelFrames(this.#wheelRest, delta, event.deltaMode);
    this.#wheelRest = turn.rest;
    // At an end the page scrolls on, so that nobody is caught over the picture.
    const { index, count } = this.#slider.place();
    if (clampFrame(index + Math.sign(delta), count) === index) return;
    event.preventDefault();
    event.stopPropagation();
    if (turn.frames) this.#slider.take(index + turn.frames);
  }
}
