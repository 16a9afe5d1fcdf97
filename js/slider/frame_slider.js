/**
 * A slider through the frames of a path: drag, and one picture becomes the other.
 *
 * Plain DOM, no dependencies. Make a `FrameSlider`, put its `element` somewhere, give it frames now
 * or later, and `destroy()` it in the end. The command's page and the ComfyUI widget share it.
 */

import { addStyle, make } from "./elements.js";
import { FramePictures, paint, ratioOf } from "./frame_pictures.js";
import {
  FramePlayer,
  defaultSpeed,
  frameAt,
  frameText,
  keyframesAround,
  keyframesOf,
  positionText,
} from "./frame_player.js";
import { SliderInput } from "./slider_input.js";
import { ICONS, buildSlider, tickAt } from "./slider_parts.js";
import { SLIDER_STYLE } from "./slider_style.js";
import { say } from "./texts.js";

/** @typedef {Pick<import("../frame_info.js").FrameInfo, "position">} Placed */

/**
 * @typedef {object} SliderOptions
 * @property {Placed[]} [frames] what is known of the frames
 * @property {(string | null)[]} [urls] of their pictures; null for a frame yet to come
 * @property {string} [label] what the frames show, for screen readers
 * @property {boolean} [autoplay] play once loaded, unless the reader prefers less motion
 * @property {boolean} [pageKeys] take left, right and space from the whole page
 * @property {boolean} [fill] fit into the element around it, as high as that is, and leave the wheel
 *   to it until the slider has the focus
 */

/**
 * The slider. Sends a `di-frame` event with `detail.index` whenever another frame is shown,
 * `di-failed` for a picture that cannot be loaded, and `di-speed` when somebody chooses a speed.
 */
export class FrameSlider {
  #player = new FramePlayer();
  #pictures = new FramePictures({
    shown: () => this.index,
    changed: () => this.#redraw(),
    failed: (index) => this.#tell("di-failed", index),
    idle: () => this.#onLoaded(),
  });
  /** @type {number[]} */
  #positions = [];
  /** @type {number[]} */
  #keyframes = [];
  #loop = false;
  /** @type {number | null} frames per second */
  #chosenSpeed = null;
  /** @type {HTMLCanvasElement | null} what is shown in place of the frame */
  #peeked = null;
  #tick = 0;
  #autoplay = false;
  #destroyed = false;
  #comparing = false;
  #parts;
  #input;

  /** @param {SliderOptions} [options] */
  constructor(options = {}) {
    addStyle("di-slider-style", SLIDER_STYLE);
    const fill = Boolean(options.fill);
    this.#parts = buildSlider(options.label ?? say("Frames between two pictures"));
    this.element.classList.toggle("di-fill", fill);
    this.#input = this.#listen({ pageKeys: Boolean(options.pageKeys), needsFocus: fill });
    this.#autoplay = Boolean(options.autoplay) && !prefersLessMotion();
    this.setFrames(options.frames ?? [], options.urls ?? []);
  }

  /** The element to put into a page. */
  get element() {
    return this.#parts.root;
  }

  /**
   * Put a control of one's own beside the others.
   * @param {HTMLElement} element
   */
  addTool(element) {
    this.#parts.tools.append(element);
  }

  /**
   * Put an element of one's own beside the picture, or below it; the style sheet says which.
   * @param {HTMLElement} element
   */
  addBeside(element) {
    const { stage } = this.#parts;
    const view = make("div", "di-view");
    stage.replaceWith(view);
    view.append(stage, element);
  }

  /** Frames per second, and what comes after the last. */
  get playback() {
    return { fps: this.#player.fps, mode: this.#player.mode };
  }

  /** The speed that somebody has chosen, in frames per second; null takes one that suits the frames. */
  get chosenSpeed() {
    return this.#chosenSpeed;
  }

  set chosenSpeed(fps) {
    if (fps === this.#chosenSpeed) return;
    this.#chosenSpeed = fps;
    this.#pace();
    this.#updateControls();
  }

  /** The number of the shown frame, from 0. */
  get index() {
    return this.#player.index;
  }

  get playing() {
    return this.#player.playing;
  }

  /**
   * Show other frames. Pictures whose URL stays at its place are not loaded again. The place on the
   * path stays, and a speed that somebody has chosen; otherwise the speed suits the number of frames.
   * @param {Placed[]} frames
   * @param {(string | null)[]} urls of their pictures
   * @param {boolean} [loop] whether the first frame comes after the last
   */
  setFrames(frames, urls, loop = false) {
    if (frames.length !== urls.length) {
      throw new RangeError(`urls: got ${urls.length}, needs one for each of ${frames.length} frames`);
    }
    const positions = frames.map(({ position }) => position);
    const place = this.#positions[this.index];
    if (loop !== this.#loop) this.#player.mode = loop ? "loop" : "bounce";
    this.#loop = loop;
    this.#positions = positions;
    this.#keyframes = keyframesOf(positions, loop);
    this.#player.setCount(urls.length);
    this.#pace();
    this.#pictures.setAll(urls);
    this.#updateControls();
    this.#redraw();
    if (place !== undefined) this.show(frameAt(place, positions));
  }

  /**
   * Put a picture in its place, or null to take it away. The frame shown does not flicker.
   * @param {number} index an existing place
   * @param {string | null} url
   */
  setFrame(index, url) {
    this.#pictures.set(index, url);
    this.#redraw();
  }

  /**
   * Go to a frame (the nearest, if there is no such one).
   * @param {number} index
   */
  show(index) {
    if (this.#player.show(index)) this.#moved();
  }

  /**
   * Show a picture in place of the frame, until another frame or null is shown.
   * @param {HTMLCanvasElement | null} picture
   */
  peek(picture) {
    if (picture === this.#peeked) return;
    this.#peeked = picture;
    this.#redraw();
  }

  play() {
    this.#player.play();
    this.#updateControls();
    this.#redraw();
  }

  pause() {
    this.#autoplay = false;
    this.#player.pause();
    this.#updateControls();
  }

  /** Stop everything and leave the page. */
  destroy() {
    this.#destroyed = true;
    this.#player.pause();
    this.#input.close();
    cancelAnimationFrame(this.#tick);
    this.#pictures.close();
    this.element.remove();
  }

  // Showing

  /** Take the speed that was chosen, or the one that suits the frames, if there are any. */
  #pace() {
    const { count, fps } = this.#player;
    const gaps = this.#keyframes.length - (this.#loop ? 0 : 1);
    this.#player.fps = this.#chosenSpeed ?? (count ? defaultSpeed(count, gaps) : fps);
  }

  #onLoaded() {
    if (!this.#autoplay) return;
    this.#autoplay = false;
    this.play();
  }

  /** The shown frame is another one. */
  #moved() {
    this.#peeked = null;
    this.#redraw();
    this.#tell("di-frame", this.index);
  }

  /**
   * @param {string} event
   * @param {number} [index] of the frame that it is about
   */
  #tell(event, index) {
    this.element.dispatchEvent(new CustomEvent(event, { detail: { index }, bubbles: true }));
  }

  /** Draw before the next repaint, once however often this is asked. */
  #redraw() {
    if (this.#tick || this.#destroyed) return;
    this.#tick = requestAnimationFrame((now) => {
      this.#tick = 0;
      if (this.#player.tick(now)) this.#moved();
      this.#draw();
      if (this.#player.playing) this.#redraw();
    });
  }

  #draw() {
    const { root, now, range, place, of, message } = this.#parts;
    const { count, index } = this.#player;
    const shown = this.#pictures.drawable(index);
    const position = this.#positions[index] ?? 0;
    const text = frameText(index, count, position);

    root.style.setProperty("--di-ratio", String(ratioOf(this.#pictures.nearest(0))));
    paint(now, this.#peeked ?? shown);
    now.setAttribute("aria-label", text);
    message.textContent = messageFor(this.#pictures.state(index), index, shown !== null);
    root.classList.toggle("di-blank", shown === null);
    this.#drawEnds();

    range.value = String(index);
    range.setAttribute("aria-valuetext", text);
    range.style.setProperty("--di-done", String(count > 1 ? index / (count - 1) : 0));
    place.textContent = count ? String(index + 1) : "–";
    of.textContent = count ? ` / ${count}  ·  ${positionText(position, count)}` : "";
  }

  #drawEnds() {
    const around = this.#comparing ? keyframesAround(this.index, this.#keyframes, this.#loop) : null;
    this.#parts.ends.forEach((end, side) => {
      end.figure.hidden = around === null;
      if (around === null) return;
      const name = say("Keyframe {number}", { number: this.#keyframes.indexOf(around[side]) + 1 });
      paint(end.canvas, this.#pictures.own(around[side]));
      end.canvas.setAttribute("aria-label", name);
      end.caption.textContent = name;
    });
  }

  /** What changes with the number of frames or with a button, but not from frame to frame. */
  #updateControls() {
    const { root, range, play, playIcon, speed, mode, compare, ticks } = this.#parts;
    const { count } = this.#player;
    const label = say(this.playing ? "Pause" : "Play");
    root.classList.toggle("di-comparing", this.#comparing && count > 1);
    range.max = String(Math.max(0, count - 1));
    for (const control of [range, play, compare]) control.disabled = count < 2;
    playIcon.setAttribute("d", this.playing ? ICONS.pause : ICONS.play);
    play.setAttribute("aria-label", label);
    play.title = say("{action} (space)", { action: label });
    speed.value = String(this.#player.fps);
    mode.value = this.#player.mode;
    compare.setAttribute("aria-pressed", String(this.#comparing));
    const last = Math.max(1, count - 1);
    ticks.replaceChildren(...this.#keyframes.map((index) => tickAt(index / last)));
  }

  // Using

  /** @param {import("./slider_input.js").Reach} reach */
  #listen(reach) {
    const { speed, mode, compare } = this.#parts;
    const controlled = {
      place: () => this.#player,
      take: (/** @type {number} */ index) => this.#take(index),
      pause: () => this.pause(),
      toggle: () => (this.playing ? this.pause() : this.play()),
    };
    const input = new SliderInput(this.#parts, controlled, reach);
    input.on(speed, "change", () => {
      this.chosenSpeed = Number(speed.value);
      this.#tell("di-speed");
    });
    input.on(mode, "change", () => {
      this.#player.mode = mode.value === "loop" ? "loop" : "bounce";
    });
    input.on(compare, "click", () => {
      this.#comparing = !this.#comparing;
      this.#updateControls();
      this.#redraw();
    });
    return input;
  }

  /**
   * Somebody takes hold of the slider: playback makes way.
   * @param {number} index
   */
  #take(index) {
    this.pause();
    this.show(index);
  }
}

/**
 * @param {import("./frame_pictures.js").Entry["state"] | undefined} state of the frame, if there is one
 * @param {number} index
 * @param {boolean} shown whether a picture is shown, if only a neighbour's
 */
function messageFor(state, index, shown) {
  const number = index + 1;
  if (!state) return say("No frames yet");
  if (state === "failed") return say("Frame {number} could not be loaded", { number });
  if (state === "absent") return say("Frame {number} is yet to come", { number });
  return shown ? "" : say("Loading…");
}

export function prefersLessMotion() {
  return matchMedia("(prefers-reduced-motion: reduce)").matches;
}
