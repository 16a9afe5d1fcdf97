/** Shows beside a slider the candidates of the frame that it rests on. */

import { CandidateStrip, titleOf } from "./candidate_strip.js";

/** @typedef {import("./frame_slider.js").FrameSlider} FrameSlider */
/** @typedef {import("../frame_info.js").FrameInfo} FrameInfo */

const RESTING = 120; // ms on a frame until its candidates are shown

export class StripFollower {
  #slider;
  #show;
  #resting = 0;

  /**
   * @param {FrameSlider} slider
   * @param {CandidateStrip} strip a candidate that is looked at there is shown in place of the frame
   * @param {(index: number, playing: boolean) => void} show shows the candidates of a frame in the
   *   strip, or, while the slider plays, only which frame it is
   */
  constructor(slider, strip, show) {
    this.#slider = slider;
    this.#show = show;
    slider.element.addEventListener("di-frame", () => this.#move());
    strip.element.addEventListener("di-peek", (event) => {
      slider.peek(/** @type {CustomEvent} */ (event).detail.picture);
    });
  }

  /** Show what the strip should show now. */
  update() {
    this.#show(this.#slider.index, this.#slider.playing);
  }

  close() {
    clearTimeout(this.#resting);
  }

  #move() {
    if (this.#slider.playing) this.update();
    this.#rest();
  }

  /** Show the candidates once the slider rests on a frame, however slowly it plays before. */
  #rest() {
    clearTimeout(this.#resting);
    const act = () => (this.#slider.playing ? this.#rest() : this.update());
    this.#resting = setTimeout(act, RESTING);
  }
}

/**
 * Show the candidates of finished frames under a slider, to look at.
 * @param {FrameSlider} slider
 * @param {FrameInfo[]} frames
 * @param {(string | null)[]} strips the pictures of their candidates side by side
 */
export function showCandidates(slider, frames, strips) {
  const strip = new CandidateStrip({ picks: false });
  strip.element.addEventListener("di-pick", (event) => {
    slider.peek(/** @type {CustomEvent} */ (event).detail.picture);
  });
  const follower = new StripFollower(slider, strip, (index, playing) => {
    const frame = frames[index];
    if (playing || frame.candidate === null) strip.clear(titleOf(frame));
    else strip.show(frame, strips[index], null);
  });
  slider.element.append(strip.element);
  follower.update();
}
