/**
 * A slider through the frames of a path: drag, and one picture becomes the other.
 *
 * Plain DOM, no dependencies. Make a `FrameSlider`, put its `element` somewhere, give it frames now
 * or later, and `destroy()` it in the end. The command's page and the ComfyUI widget share it.
 */

import { addStyle, icon, make } from "./elements.js";
import {
  FramePlayer,
  SPEEDS,
  clampFrame,
  defaultSpeed,
  evenPositions,
  frameForKey,
  frameText,
  keyframesAround,
  keyframesOf,
  nearest,
  positionText,
  wheelFrames,
} from "./frame_player.js";

/**
 * @typedef {object} SliderOptions
 * @property {(string | null)[]} [frames] URLs of the pictures; null for a frame yet to come
 * @property {number[]} [positions] of the frames, in keyframes; evenly from 0 to 1 if left out
 * @property {string} [label] what the frames show, for screen readers
 * @property {boolean} [autoplay] play once loaded, unless the reader prefers less motion
 * @property {boolean} [pageKeys] take left, right and space from the whole page
 * @property {boolean} [fill] fit into the element around it, as high as that is, and leave the wheel
 *   to it until the slider has the focus
 */

/**
 * A frame: its URL, how far loading is, and what can be drawn meanwhile (after a change of URL, the
 * old picture until the new one is there).
 * @typedef {object} Entry
 * @property {string | null} url
 * @property {"absent" | "waiting" | "loading" | "ready" | "failed"} state
 * @property {ImageBitmap | HTMLImageElement | null} picture
 */

const LOADERS = 6;
/** Bytes of pictures kept decoded. Frames beyond them are decoded again whenever they are drawn. */
const DECODED_BYTES = 256 * 2 ** 20;
/** Pictures up to this width (pixels) are enlarged with hard edges, larger ones smoothly. */
const PIXEL_ART = 128;

const ICONS = {
  play: "M8 5.2v13.6a.8.8 0 0 0 1.2.7l10.9-6.8a.8.8 0 0 0 0-1.4L9.2 4.5a.8.8 0 0 0-1.2.7z",
  pause: "M7 5h3.4v14H7zM13.6 5H17v14h-3.4z",
};

/**
 * The slider. Sends a `di-frame` event with `detail.index` whenever another frame is shown, and
 * `di-failed` for a picture that cannot be loaded.
 */
export class FrameSlider {
  #player = new FramePlayer();
  /** @type {Entry[]} */
  #entries = [];
  /** @type {number[]} */
  #positions = [];
  /** @type {number[]} */
  #keyframes = [];
  #decodedBytes = 0;
  /** Of the pictures so far, in bytes. */
  #largest = 0;
  #loading = 0;
  #tick = 0;
  #wheelRest = 0;
  #autoplay = false;
  #destroyed = false;
  #comparing = false;
  #fill;
  #listeners = new AbortController();
  #parts;

  /** @param {SliderOptions} [options] */
  constructor(options = {}) {
    addStyle("di-slider-style", STYLE);
    this.#fill = Boolean(options.fill);
    this.#parts = build(options.label ?? "Frames between two pictures");
    this.element.classList.toggle("di-fill", this.#fill);
    this.#listen(options.pageKeys ? document : this.element);
    this.#autoplay = Boolean(options.autoplay) && !prefersLessMotion();
    this.setFrames(options.frames ?? [], options.positions);
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

  /** Frames per second, and what comes after the last. */
  get playback() {
    return { fps: this.#player.fps, mode: this.#player.mode };
  }

  /** The number of the shown frame, from 0. */
  get index() {
    return this.#player.index;
  }

  get playing() {
    return this.#player.playing;
  }

  /**
   * Show other frames. Pictures whose URL stays at its place are not loaded again.
   * @param {(string | null)[]} urls
   * @param {number[]} [positions]
   */
  setFrames(urls, positions = evenPositions(urls.length)) {
    if (positions.length !== urls.length) {
      const wanted = `needs one for each of ${urls.length} frames`;
      throw new RangeError(`positions: got ${positions.length}, ${wanted}`);
    }
    const other = positions.join() !== this.#positions.join();
    this.#positions = positions;
    this.#keyframes = keyframesOf(positions);
    this.#entries.splice(urls.length).forEach((entry) => this.#release(entry));
    urls.forEach((url, index) => this.#assign(index, url));
    this.#player.setCount(urls.length);
    if (other) this.#player.fps = defaultSpeed(urls.length, this.#keyframes.length - 1);
    this.#updateControls();
    this.#load();
    this.#redraw();
  }

  /**
   * Put a picture in its place, or null to take it away. The frame shown does not flicker.
   * @param {number} index an existing place
   * @param {string | null} url
   */
  setFrame(index, url) {
    if (!Number.isInteger(index) || index < 0 || index >= this.#entries.length) {
      throw new RangeError(`index: got ${index}, there are ${this.#entries.length} frames`);
    }
    this.#assign(index, url);
    this.#load();
    this.#redraw();
  }

  /**
   * Go to a frame (the nearest, if there is no such one).
   * @param {number} index
   */
  show(index) {
    if (this.#player.show(index)) this.#moved();
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
    this.#listeners.abort();
    cancelAnimationFrame(this.#tick);
    this.#entries.splice(0).forEach((entry) => this.#release(entry));
    this.element.remove();
  }

  // Loading

  /**
   * @param {number} index
   * @param {string | null} url
   */
  #assign(index, url) {
    const old = this.#entries[index];
    if (old && old.url === url && old.state !== "failed") return;
    if (old && url === null) this.#release(old);
    const state = url === null ? "absent" : "waiting";
    this.#entries[index] = { url, state, picture: old?.picture ?? null };
  }

  /** Keep the loaders busy; the frames nearest to the shown one come first. */
  #load() {
    const waits = (/** @type {number} */ index) => this.#entries[index].state === "waiting";
    while (this.#loading < LOADERS && !this.#destroyed) {
      const index = nearest(this.index, this.#entries.length, waits);
      if (index < 0) break;
      this.#loadOne(this.#entries[index]);
    }
    const done = this.#loading === 0 && this.#entries.length > 0;
    if (done && this.#autoplay) {
      this.#autoplay = false;
      this.play();
    }
  }

  /** @param {Entry} entry */
  async #loadOne(entry) {
    entry.state = "loading";
    this.#loading += 1;
    const picture = await this.#decode(/** @type {string} */ (entry.url));
    this.#loading -= 1;
    if (this.#entries.includes(entry)) {
      this.#release(entry);
      entry.picture = picture;
      entry.state = picture ? "ready" : "failed";
      if (!picture) this.#tell("di-failed", this.#entries.indexOf(entry));
      this.#redraw();
    } else if (picture) {
      this.#release({ url: null, state: "absent", picture }); // replaced while it loaded
    }
    if (!this.#destroyed) this.#load();
  }

  /**
   * The picture, decoded and kept so while there is room; null if it cannot be had.
   * @param {string} url
   */
  async #decode(url) {
    try {
      if (this.#decodedBytes + this.#largest > DECODED_BYTES) return await imageOf(url);
      const picture = await bitmapOf(url);
      if (picture instanceof ImageBitmap) {
        this.#decodedBytes += byteSize(picture);
        this.#largest = Math.max(this.#largest, byteSize(picture));
      }
      return picture;
    } catch {
      return null;
    }
  }

  /** @param {Entry} entry */
  #release(entry) {
    if (entry.picture instanceof ImageBitmap) {
      this.#decodedBytes -= byteSize(entry.picture);
      entry.picture.close();
    }
    entry.picture = null;
  }

  // Showing

  /** The shown frame is another one. */
  #moved() {
    this.#redraw();
    this.#tell("di-frame", this.index);
  }

  /**
   * @param {string} event
   * @param {number} index
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
    const { root, now, ends, range, place, of, message } = this.#parts;
    const count = this.#entries.length;
    const entry = this.#entries[this.index];
    const shown = this.#drawable(this.index);
    const position = this.#positions[this.index] ?? 0;
    const text = frameText(this.index, count, position);

    root.style.setProperty("--di-ratio", String(ratio(this.#nearestPicture(0))));
    paint(now, shown);
    now.setAttribute("aria-label", text);
    message.textContent = messageFor(entry, this.index, shown !== null);
    root.classList.toggle("di-blank", shown === null);
    this.#drawEnds(ends);

    range.value = String(this.index);
    range.setAttribute("aria-valuetext", text);
    range.style.setProperty("--di-done", String(count > 1 ? this.index / (count - 1) : 0));
    place.textContent = count ? String(this.index + 1) : "–";
    of.textContent = count ? ` / ${count}  ·  ${positionText(position, count)}` : "";
  }

  /** @param {End[]} ends */
  #drawEnds(ends) {
    const around = this.#comparing ? keyframesAround(this.index, this.#keyframes) : null;
    ends.forEach((end, side) => {
      end.figure.hidden = around === null;
      if (around === null) return;
      const name = `Keyframe ${this.#keyframes.indexOf(around[side]) + 1}`;
      paint(end.canvas, this.#entries[around[side]].picture);
      end.canvas.setAttribute("aria-label", name);
      end.caption.textContent = name;
    });
  }

  /**
   * What to draw for a frame: its picture, that of the nearest frame while it has none, nothing
   * for one that failed, since another picture would be a lie there.
   * @param {number} index
   */
  #drawable(index) {
    return this.#entries[index]?.state === "failed" ? null : this.#nearestPicture(index);
  }

  /** @param {number} index */
  #nearestPicture(index) {
    const has = (/** @type {number} */ other) => this.#entries[other].picture !== null;
    return this.#entries[nearest(index, this.#entries.length, has)]?.picture ?? null;
  }

  /** What changes with the number of frames or with a button, but not from frame to frame. */
  #updateControls() {
    const { root, range, play, playIcon, speed, mode, compare, ticks } = this.#parts;
    const count = this.#entries.length;
    const label = this.playing ? "Pause" : "Play";
    root.classList.toggle("di-comparing", this.#comparing && count > 1);
    range.max = String(Math.max(0, count - 1));
    for (const control of [range, play, compare]) control.disabled = count < 2;
    playIcon.setAttribute("d", this.playing ? ICONS.pause : ICONS.play);
    play.setAttribute("aria-label", label);
    play.title = `${label} (space)`;
    speed.value = String(this.#player.fps);
    mode.value = this.#player.mode;
    compare.setAttribute("aria-pressed", String(this.#comparing));
    const last = Math.max(1, count - 1);
    ticks.replaceChildren(...this.#keyframes.map((index) => tickAt(index / last)));
  }

  // Using

  /** @param {HTMLElement | Document} keySource */
  #listen(keySource) {
    const { range, play, speed, mode, compare, now, stage } = this.#parts;
    const signal = this.#listeners.signal;
    const on = (
      /** @type {EventTarget} */ target,
      /** @type {string} */ type,
      /** @type {(event: any) => void} */ listener,
    ) => target.addEventListener(type, listener, { signal, passive: false });

    on(keySource, "keydown", (event) => this.#onKey(event));
    on(range, "input", () => this.#take(Number(range.value)));
    on(play, "click", () => this.#toggle());
    on(speed, "change", () => (this.#player.fps = Number(speed.value)));
    on(mode, "change", () => {
      this.#player.mode = mode.value === "loop" ? "loop" : "bounce";
    });
    on(compare, "click", () => {
      this.#comparing = !this.#comparing;
      this.#updateControls();
      this.#redraw();
    });
    for (const area of [stage, range]) on(area, "wheel", (event) => this.#onWheel(event));
    this.#listenToDrags(on, now, range);
  }

  /**
   * Dragging the picture sideways moves through the frames, its whole width through all of them.
   * @param {(target: EventTarget, type: string, listener: (event: any) => void) => void} on
   * @param {HTMLCanvasElement} picture
   * @param {HTMLInputElement} range
   */
  #listenToDrags(on, picture, range) {
    /** @type {{ x: number, index: number } | null} */
    let start = null;
    on(picture, "pointerdown", (event) => {
      if (event.button !== 0) return;
      this.pause();
      start = { x: event.clientX, index: this.index };
      picture.setPointerCapture(event.pointerId);
    });
    on(picture, "pointermove", (event) => {
      if (!start) return;
      const share = (event.clientX - start.x) / Math.max(1, picture.clientWidth);
      this.#take(start.index + share * (this.#entries.length - 1));
    });
    for (const type of ["pointerup", "pointercancel"]) {
      on(picture, type, () => {
        if (start) range.focus({ preventScroll: true }); // so that the arrow keys go on from here
        start = null;
      });
    }
  }

  /**
   * Somebody takes hold of the slider: playback makes way.
   * @param {number} index
   */
  #take(index) {
    this.pause();
    this.show(index);
  }

  #toggle() {
    if (this.playing) this.pause();
    else this.play();
  }

  /** @param {KeyboardEvent} event */
  #onKey(event) {
    const target = event.target instanceof Element ? event.target : this.element;
    const inside = this.element.contains(target);
    if (event.altKey || event.ctrlKey || event.metaKey || event.defaultPrevented) return;
    if (target.closest("select, textarea, input:not(.di-range), [contenteditable]")) return;
    if (!inside && !["ArrowLeft", "ArrowRight", " "].includes(event.key)) return;

    const index = frameForKey(event.key, this.index, this.#entries.length);
    if (index !== null) this.#take(index);
    else if (event.key === " " && !target.closest("button, a, summary")) this.#toggle();
    else return;
    event.preventDefault();
    event.stopPropagation(); // a host's own shortcuts must not answer as well
  }

  /** @param {WheelEvent} event */
  #onWheel(event) {
    if (event.ctrlKey || event.metaKey) return; // zooms the page
    if (this.#fill && !this.element.contains(document.activeElement)) return;
    const sideways = Math.abs(event.deltaX) > Math.abs(event.deltaY);
    const delta = sideways ? event.deltaX : event.deltaY;
    const turn = wheelFrames(this.#wheelRest, delta, event.deltaMode);
    this.#wheelRest = turn.rest;
    // At an end the page scrolls on, so that nobody is caught over the picture.
    const ahead = clampFrame(this.index + Math.sign(delta), this.#entries.length);
    if (ahead === this.index) return;
    event.preventDefault();
    event.stopPropagation();
    if (turn.frames) this.#take(this.index + turn.frames);
  }
}

/** @typedef {{ figure: HTMLElement, canvas: HTMLCanvasElement, caption: HTMLElement }} End */

/** The elements of a slider. @param {string} label */
function build(label) {
  const now = picture();
  const message = make("p", "di-message", { role: "status" });
  const middle = make("div", "di-now", {}, now, message);
  const ends = [buildEnd(), buildEnd()];
  const stage = make("div", "di-stage", {}, ends[0].figure, middle, ends[1].figure);

  const { button: play, path: playIcon } = buildPlay();
  const range = make("input", "di-range", { type: "range", min: "0", step: "1" });
  range.setAttribute("aria-label", "Frame");
  const ticks = make("div", "di-ticks", { "aria-hidden": "true" });
  const rail = make("div", "di-rail", {}, ticks, range);

  const place = make("b", "");
  const of = make("span", "");
  const where = make("p", "di-where", { "aria-hidden": "true" }, place, of);
  const speed = select("Speed", SPEEDS.map((fps) => [String(fps), `${fps} fps`]));
  const mode = select("Repeat", [["bounce", "Back and forth"], ["loop", "Loop"]]);
  const compare = make("button", "di-pill", { type: "button" }, "Compare");
  compare.title = "Show the keyframes on either side";
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
function tickAt(share) {
  const tick = make("i", "");
  tick.style.setProperty("--di-at", String(share));
  return tick;
}

/**
 * Draw a picture at its own size; the style sheet scales the canvas.
 * @param {HTMLCanvasElement} canvas
 * @param {ImageBitmap | HTMLImageElement | null} picture
 */
function paint(canvas, picture) {
  const context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
  if (picture === null) {
    context.clearRect(0, 0, canvas.width, canvas.height);
    return;
  }
  const { width, height } = sizeOf(picture);
  // Setting a size clears the canvas and is slow, even when it is the same.
  if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
  else context.clearRect(0, 0, width, height);
  canvas.classList.toggle("di-pixels", width <= PIXEL_ART);
  context.drawImage(picture, 0, 0, width, height);
}

/** @param {ImageBitmap | HTMLImageElement} picture */
function sizeOf(picture) {
  const image = picture instanceof HTMLImageElement;
  const width = image ? picture.naturalWidth : picture.width;
  const height = image ? picture.naturalHeight : picture.height;
  return { width: width || 300, height: height || 300 };
}

/**
 * A picture that is decoded once. From a server without an `<img>`, which would have the browser
 * keep its own copies of frames that are long gone.
 * @param {string} url
 * @returns {Promise<ImageBitmap | HTMLImageElement>} an image for what makes no bitmap
 */
async function bitmapOf(url) {
  if (/^https?:/.test(new URL(url, document.baseURI).protocol)) {
    const answer = await fetch(url);
    if (!answer.ok) throw new Error(`${answer.status} ${answer.statusText}`);
    // drawings without a size of their own, for one, make none
    return createImageBitmap(await answer.blob()).catch(() => imageOf(url));
  }
  const image = await imageOf(url);
  return createImageBitmap(image).catch(() => image);
}

/**
 * A picture that the browser decodes again whenever it likes.
 * @param {string} url
 */
async function imageOf(url) {
  const image = new Image();
  image.src = url;
  await image.decode();
  return image;
}

/** @param {ImageBitmap | HTMLImageElement} picture */
function byteSize(picture) {
  const { width, height } = sizeOf(picture);
  return 4 * width * height;
}

/** @param {ImageBitmap | HTMLImageElement | null | undefined} picture */
function ratio(picture) {
  if (!picture) return 1;
  const { width, height } = sizeOf(picture);
  return width / height;
}

/**
 * @param {Entry | undefined} entry
 * @param {number} index
 * @param {boolean} shown whether a picture is shown, if only a neighbour's
 */
function messageFor(entry, index, shown) {
  if (!entry) return "No frames yet";
  if (entry.state === "failed") return `Frame ${index + 1} could not be loaded`;
  if (entry.state === "absent") return `Frame ${index + 1} is yet to come`;
  return shown ? "" : "Loading…";
}

function prefersLessMotion() {
  return matchMedia("(prefers-reduced-motion: reduce)").matches;
}

// A background image cannot use custom properties; this grey suits light and dark.
const CHEVRON = `url("data:image/svg+xml,\
%3Csvg xmlns='http://www.w3.org/2000/svg' width='12' height='12' fill='none' \
stroke='%23858291' stroke-width='1.8' stroke-linecap='round' stroke-linejoin='round'%3E\
%3Cpath d='M2.5 4.5 6 8l3.5-3.5'/%3E%3C/svg%3E")`;

// Colours and sizes are custom properties set with no specificity, so that a plain
// `.di-slider { --di-accent: red }` anywhere in a page overrides them.
const STYLE = `
:where(.di-slider) {
  --di-ink: #1c1b22; --di-soft: #6a6874; --di-line: #dcdae2; --di-surface: #fff;
  --di-hover: #f2f0f7; --di-accent: #5a48d6; --di-on-accent: #fff;
  --di-shadow: 0 1px 2px #1c1b2214, 0 12px 32px -8px #1c1b2233;
  --di-height: 70vh; --di-radius: 12px; --di-thumb: 20px;
}
@media (prefers-color-scheme: dark) {
  :where(.di-slider) {
    --di-ink: #ecebf1; --di-soft: #9d9aa9; --di-line: #393743; --di-surface: #232129;
    --di-hover: #2e2b37; --di-accent: #9c8cff; --di-on-accent: #17151d;
    --di-shadow: 0 1px 2px #0006, 0 16px 40px -8px #000a;
  }
}
.di-slider {
  container-type: inline-size; color: var(--di-ink); font: 14px/1.4 system-ui, sans-serif;
  -webkit-tap-highlight-color: transparent;
}
.di-slider *, .di-slider *::before { box-sizing: border-box; }
.di-slider [hidden] { display: none; }
.di-stage {
  display: flex; flex-wrap: wrap; justify-content: center; align-items: center; gap: 16px;
}
.di-now {
  position: relative; flex: 0 0 auto; aspect-ratio: var(--di-ratio, 1);
  width: min(100%, calc(var(--di-height) * var(--di-ratio, 1)));
}
.di-picture {
  display: block; width: 100%; height: 100%; object-fit: contain;
  border-radius: var(--di-radius); box-shadow: var(--di-shadow);
}
.di-pixels { image-rendering: pixelated; }
.di-now .di-picture { cursor: ew-resize; touch-action: pan-y; user-select: none; }
.di-blank .di-now .di-picture { background: var(--di-hover); cursor: default; }
.di-message {
  position: absolute; left: 50%; bottom: 12px; translate: -50% 0; margin: 0; padding: 4px 12px;
  width: max-content; max-width: calc(100% - 24px); border-radius: 99px; text-align: center;
  background: #17151dcc; color: #fff; font-size: 13px; pointer-events: none;
}
.di-message:empty { display: none; }
.di-blank .di-message {
  bottom: 50%; translate: -50% 50%; background: none; color: var(--di-soft); font-size: 15px;
}
.di-end {
  position: relative; z-index: 1; flex: 0 1 auto; width: calc(50% - 8px); margin: 0 0 22px;
  aspect-ratio: var(--di-ratio, 1);
}
.di-end .di-picture { box-shadow: none; }
.di-end figcaption {
  position: absolute; top: 100%; inset-inline: 0; margin-top: 6px; text-align: center;
  color: var(--di-soft); font-size: 12px;
}
.di-end:first-child { order: 1; }
.di-end:last-child { order: 2; }
@container (min-width: 560px) {
  .di-comparing .di-stage { flex-wrap: nowrap; }
  .di-comparing .di-now {
    flex: 0 1 auto; width: min(50%, calc(var(--di-height) * var(--di-ratio, 1)));
  }
  .di-comparing .di-end { flex: 0 1 25%; margin-bottom: 0; }
  .di-end:first-child { order: 0; }
}
.di-controls {
  display: grid; grid-template-columns: auto 1fr; align-items: center; gap: 6px 14px;
  max-width: clamp(560px, calc(var(--di-height) * var(--di-ratio, 1)), 720px);
  margin: 18px auto 0;
}
.di-play {
  display: grid; place-items: center; width: 44px; height: 44px; padding: 0; border: 0;
  border-radius: 50%; background: var(--di-accent); color: var(--di-on-accent); cursor: pointer;
}
.di-play svg { width: 24px; height: 24px; fill: currentColor; }
.di-play:not(:disabled):hover { filter: brightness(1.1); }
.di-slider :disabled { opacity: 0.4; cursor: default; }
.di-rail { position: relative; height: 44px; }
.di-range {
  appearance: none; position: absolute; inset: 0; width: 100%; height: 100%; margin: 0;
  border-radius: 8px; background: none; cursor: pointer; touch-action: pan-y;
  --di-edge: calc(var(--di-thumb) / 2 + var(--di-done, 0) * (100% - var(--di-thumb)));
}
.di-range::-webkit-slider-runnable-track {
  height: 6px; border-radius: 3px;
  background: linear-gradient(to right, var(--di-accent) var(--di-edge), var(--di-line) 0);
}
.di-range::-moz-range-track {
  height: 6px; border-radius: 3px;
  background: linear-gradient(to right, var(--di-accent) var(--di-edge), var(--di-line) 0);
}
.di-range::-webkit-slider-thumb {
  appearance: none; width: var(--di-thumb); height: var(--di-thumb); margin-top: -7px;
  border: 3px solid var(--di-accent); border-radius: 50%; background: var(--di-surface);
  box-shadow: 0 1px 4px #0004;
}
.di-range::-moz-range-thumb {
  box-sizing: border-box; width: var(--di-thumb); height: var(--di-thumb);
  border: 3px solid var(--di-accent); border-radius: 50%; background: var(--di-surface);
  box-shadow: 0 1px 4px #0004;
}
.di-ticks i {
  position: absolute; top: 31px; width: 2px; height: 6px; border-radius: 1px;
  background: var(--di-soft); opacity: 0.6;
  left: calc(var(--di-thumb) / 2 - 1px + var(--di-at) * (100% - var(--di-thumb)));
}
.di-where {
  grid-column: 1 / -1; margin: 0; color: var(--di-soft); text-align: center; white-space: pre;
  font-variant-numeric: tabular-nums;
}
.di-where b { color: var(--di-ink); font-size: 16px; font-weight: 600; }
.di-tools {
  grid-column: 1 / -1; display: flex; flex-wrap: wrap; justify-content: center; gap: 8px;
}
@container (min-width: 560px) {
  .di-where { grid-column: 1 / -1; grid-row: 2; justify-self: start; padding-left: 58px; }
  .di-tools { grid-row: 2; justify-self: end; }
}
.di-pill {
  appearance: none; height: 32px; padding: 0 14px; border: 1px solid var(--di-line);
  border-radius: 99px; background: var(--di-surface); color: inherit;
  font: inherit; font-size: 13px; line-height: 30px; cursor: pointer;
}
select.di-pill {
  padding-right: 30px; background: var(--di-surface) ${CHEVRON} no-repeat right 11px center;
}
.di-pill:not(:disabled, [aria-pressed="true"]):hover { background-color: var(--di-hover); }
.di-pill[aria-pressed="true"] {
  border-color: var(--di-accent); background: var(--di-accent); color: var(--di-on-accent);
}
.di-fill { display: flex; flex-direction: column; height: 100%; min-height: 0; }
.di-fill .di-stage { flex: 1 1 0; flex-wrap: nowrap; gap: 8px; min-height: 0; }
.di-fill .di-now, .di-fill .di-end {
  flex: 1 1 0; width: auto; min-width: 0; height: 100%; margin: 0; order: 0; aspect-ratio: auto;
}
.di-fill .di-picture { border-radius: 0; box-shadow: none; }
.di-fill .di-end {
  max-width: 28%; height: auto; max-height: calc(100% - 40px); aspect-ratio: var(--di-ratio, 1);
}
.di-fill .di-end figcaption { margin-top: 2px; }
.di-fill .di-controls { gap: 0 8px; max-width: none; margin: 4px 0 0; width: 100%; }
.di-fill .di-play { width: 32px; height: 32px; }
.di-fill .di-play svg { width: 18px; height: 18px; }
.di-fill .di-rail { height: 32px; }
.di-fill .di-ticks i { top: 25px; }
.di-fill .di-where { grid-column: 1 / -1; grid-row: auto; padding: 0; font-size: 12px; }
.di-fill .di-where b { font-size: 13px; }
.di-fill .di-tools { grid-row: auto; justify-self: center; gap: 4px; margin-top: 4px; }
.di-fill .di-pill { height: 24px; padding: 0 7px; font-size: 12px; line-height: 22px; }
.di-fill select.di-pill { padding-right: 15px; background-position: right 3px center; }
.di-slider :focus { outline: none; }
.di-slider :focus-visible { outline: 2px solid var(--di-accent); outline-offset: 2px; }
`;
