/**
 * The pictures of the frames: loads those nearest to the shown frame first, and keeps as many decoded
 * as there is room for.
 */

import { nearest } from "./frame_player.js";

/** @typedef {ImageBitmap | HTMLImageElement} Picture */

/**
 * A frame's picture: its URL, how far loading is, and what can be drawn meanwhile (after a change of
 * URL, the old picture until the new one is there).
 * @typedef {object} Entry
 * @property {string | null} url
 * @property {"absent" | "waiting" | "loading" | "ready" | "failed"} state
 * @property {Picture | null} picture
 */

/**
 * @typedef {object} Listener
 * @property {() => number} shown the frame that is shown, from 0
 * @property {() => void} changed hears that a picture has come, or cannot come
 * @property {(index: number) => void} failed hears of a picture that cannot be loaded
 * @property {() => void} idle hears that nothing is left to load
 */

const LOADERS = 6;
/** Bytes of pictures kept decoded. Frames beyond them are decoded again whenever they are drawn. */
const DECODED_BYTES = 256 * 2 ** 20;
/** Pictures up to this width (pixels) are enlarged with hard edges, larger ones smoothly. */
const PIXEL_ART = 128;

export class FramePictures {
  /** @type {Entry[]} */
  #entries = [];
  #decodedBytes = 0;
  /** Of the pictures so far, in bytes. */
  #largest = 0;
  #loading = 0;
  #closed = false;
  /** @type {Listener} */
  #listener;

  /** @param {Listener} listener */
  constructor(listener) {
    this.#listener = listener;
  }

  get count() {
    return this.#entries.length;
  }

  /**
   * Show other pictures. Those whose URL stays at its place are not loaded again.
   * @param {(string | null)[]} urls
   */
  setAll(urls) {
    this.#entries.splice(urls.length).forEach((entry) => this.#release(entry));
    urls.forEach((url, index) => this.#assign(index, url));
    this.load();
  }

  /**
   * Put a picture in its place, or null to take it away.
   * @param {number} index an existing place
   * @param {string | null} url
   */
  set(index, url) {
    if (!Number.isInteger(index) || index < 0 || index >= this.count) {
      throw new RangeError(`index: got ${index}, there are ${this.count} frames`);
    }
    this.#assign(index, url);
    this.load();
  }

  /**
   * How far loading is; undefined where there is no such frame.
   * @param {number} index
   */
  state(index) {
    return this.#entries[index]?.state;
  }

  /**
   * A frame's own picture, while there is one.
   * @param {number} index
   */
  own(index) {
    return this.#entries[index]?.picture ?? null;
  }

  /**
   * What to draw for a frame: its picture, that of the nearest frame while it has none, nothing
   * for one that failed, since another picture would be a lie there.
   * @param {number} index
   */
  drawable(index) {
    return this.state(index) === "failed" ? null : this.nearest(index);
  }

  /** @param {number} index */
  nearest(index) {
    return this.own(nearest(index, this.count, (other) => this.own(other) !== null));
  }

  /** Keep the loaders busy; the frames nearest to the shown one come first. */
  load() {
    const waits = (/** @type {number} */ index) => this.state(index) === "waiting";
    while (this.#loading < LOADERS && !this.#closed) {
      const index = nearest(this.#listener.shown(), this.count, waits);
      if (index < 0) break;
      this.#loadOne(this.#entries[index]);
    }
    if (this.#loading === 0 && this.count > 0) this.#listener.idle();
  }

  /** Let all pictures go, for good. */
  close() {
    this.#closed = true;
    this.#entries.splice(0).forEach((entry) => this.#release(entry));
  }

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
      if (!picture) this.#listener.failed(this.#entries.indexOf(entry));
      this.#listener.changed();
    } else if (picture) {
      this.#release({ url: null, state: "absent", picture }); // replaced while it loaded
    }
    if (!this.#closed) this.load();
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
}

/**
 * Draw a picture at its own size; the style sheet scales the canvas.
 * @param {HTMLCanvasElement} canvas
 * @param {Picture | HTMLCanvasElement | null} picture
 */
export function paint(canvas, picture) {
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

/** @param {Picture | HTMLCanvasElement} picture */
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
 * @returns {Promise<Picture>} an image for what makes no bitmap
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

/** @param {Picture} picture */
function byteSize(picture) {
  const { width, height } = sizeOf(picture);
  return 4 * width * height;
}

/** @param {Picture | null} picture */
export function ratioOf(picture) {
  if (!picture) return 1;
  const { width, height } = sizeOf(picture);
  return width / height;
}
