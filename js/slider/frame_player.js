/**
 * Which frame the slider shows, and when: everything that needs no DOM, so it can be tested alone.
 *
 * Frames count from 0 in code and from 1 in texts. A position is in keyframes: 0 is the first
 * keyframe, 1 the second, 0.5 half-way between them.
 */

import { say } from "./texts.js";

/** @typedef {"bounce" | "loop"} Mode Back and forth, or from the last frame to the first. */

/** Speeds on offer, in frames per second. */
export const SPEEDS = [2, 4, 8, 12, 24, 30, 60];

const SECONDS_PER_GAP = 2.5;
const LONGEST_PAUSE = 1000; // ms; a hidden tab gets no ticks, and must not catch up afterwards
const EARLY = 0.25; // of a frame; screens tick unevenly, and 60 fps should not stutter for it

/**
 * The frame nearest to `index`; 0 when there are none.
 * @param {number} index
 * @param {number} count
 */
export function clampFrame(index, count) {
  return Math.max(0, Math.min(Math.round(index) || 0, count - 1));
}

/**
 * Where playback is after `steps` frames (0 or more), and which way it goes on (1 or -1).
 * @param {{ index: number, direction: number }} from
 * @param {number} steps
 * @param {number} count
 * @param {Mode} mode
 * @returns {{ index: number, direction: number }}
 */
export function advance(from, steps, count, mode) {
  if (count < 2) return { index: 0, direction: 1 };
  if (mode === "loop") return { index: (from.index + steps) % count, direction: 1 };
  // Back and forth is a circle over all frames and, on the way back, all but the two ends.
  const circle = 2 * (count - 1);
  const start = from.direction > 0 ? from.index : circle - from.index;
  const place = (start + steps) % circle;
  const forth = place < count - 1;
  return { index: place < count ? place : circle - place, direction: forth ? 1 : -1 };
}

/**
 * The speed on offer that shows a gap between keyframes in about 2.5 seconds.
 * @param {number} count
 * @param {number} gaps
 */
export function defaultSpeed(count, gaps = 1) {
  const wanted = Math.max(1, count) / (SECONDS_PER_GAP * Math.max(1, gaps));
  const distance = (/** @type {number} */ speed) => Math.abs(Math.log(speed / wanted));
  return SPEEDS.reduce((best, speed) => (distance(speed) < distance(best) ? speed : best));
}

/**
 * The frames that are keyframes: whole positions, and always the first and, but in a loop, the last
 * frame.
 * @param {number[]} positions
 * @param {boolean} [loop]
 */
export function keyframesOf(positions, loop = false) {
  const last = loop ? 0 : positions.length - 1;
  return positions.flatMap((position, index) =>
    Number.isInteger(position) || index === 0 || index === last ? [index] : [],
  );
}

/**
 * The keyframes on either side of a frame. A keyframe begins its gap; the last one ends it, but in
 * a loop begins the one that the first keyframe ends.
 * @param {number} index
 * @param {number[]} keyframes in order
 * @param {boolean} [loop]
 * @returns {[number, number] | null} null when there is no gap
 */
export function keyframesAround(index, keyframes, loop = false) {
  if (keyframes.length < 2) return null;
  const next = keyframes.findIndex((keyframe) => keyframe > index);
  if (loop && next < 0) return [keyframes[keyframes.length - 1], keyframes[0]];
  const end = next < 1 ? keyframes.length - 1 : next;
  return [keyframes[end - 1], keyframes[end]];
}

/**
 * The frame nearest to `index` that `fits`, or -1; of two as near, the earlier.
 * @param {number} index
 * @param {number} count
 * @param {(index: number) => boolean} fits
 */
export function nearest(index, count, fits) {
  for (let away = 0; away < count; away += 1) {
    if (index - away >= 0 && fits(index - away)) return index - away;
    if (index + away < count && fits(index + away)) return index + away;
  }
  return -1;
}

/**
 * The frame whose position is nearest to this one; of two as near, the earlier.
 * @param {number} position
 * @param {number[]} positions
 */
export function frameAt(position, positions) {
  const away = positions.map((other) => Math.abs(other - position));
  return Math.max(0, away.indexOf(Math.min(...away)));
}

/**
 * Where a key leads, or null for a key that leads nowhere. Page Up and Down go a tenth of the way.
 * @param {string} key as in `KeyboardEvent.key`
 * @param {number} index
 * @param {number} count
 */
export function frameForKey(key, index, count) {
  const page = Math.max(1, Math.round(count / 10));
  /** @type {Record<string, number>} */
  const targets = {
    ArrowLeft: index - 1,
    ArrowDown: index - 1,
    ArrowRight: index + 1,
    ArrowUp: index + 1,
    PageDown: index - page,
    PageUp: index + page,
    Home: 0,
    End: count - 1,
  };
  return Object.hasOwn(targets, key) ? clampFrame(targets[key], count) : null;
}

/**
 * Frames to move for a turn of the wheel. A notch of a mouse is one frame; the small deltas of a
 * touchpad add up to one every 30 pixels.
 * @param {number} rest what the last turn left over, in pixels
 * @param {number} delta
 * @param {number} deltaMode as in `WheelEvent`: 0 pixels, 1 lines, 2 pages
 * @returns {{ frames: number, rest: number }}
 */
export function wheelFrames(rest, delta, deltaMode) {
  const pixels = delta * [1, 33, 100][deltaMode];
  if (Math.abs(pixels) >= 50) {
    return { frames: Math.sign(pixels) * Math.max(1, Math.round(Math.abs(pixels) / 120)), rest: 0 };
  }
  const turned = Math.sign(rest) === -Math.sign(pixels) ? pixels : rest + pixels;
  const frames = Math.trunc(turned / 30) + 0; // + 0 makes -0 an ordinary 0
  return { frames, rest: turned - 30 * frames };
}

/**
 * A position with as many digits as tell neighbouring frames apart.
 * @param {number} position
 * @param {number} count
 */
export function positionText(position, count) {
  return position.toFixed(Math.max(2, Math.ceil(Math.log10(count - 1))));
}

/**
 * What a screen reader says of a frame.
 * @param {number} index
 * @param {number} count
 * @param {number} position
 */
export function frameText(index, count, position) {
  if (count === 0) return say("No frames yet");
  const values = { number: index + 1, count, position: positionText(position, count) };
  return say("Frame {number} of {count}, position {position}", values);
}

/** The state of playback. Time comes from outside, in milliseconds. */
export class FramePlayer {
  count = 0;
  index = 0;
  direction = 1;
  playing = false;
  /** @type {Mode} */
  mode = "bounce";
  /** Frames per second. */
  fps = 12;
  /** @type {number | null} When the shown frame was due. */
  #since = null;

  /** @param {number} count */
  setCount(count) {
    this.count = count;
    this.index = clampFrame(this.index, count);
    if (count < 2) this.pause();
  }

  /**
   * Go to the frame nearest to `index`.
   * @param {number} index
   * @returns {boolean} whether it is another frame than before
   */
  show(index) {
    const before = this.index;
    this.index = clampFrame(index, this.count);
    this.direction = 1;
    return this.index !== before;
  }

  play() {
    this.playing = this.count > 1;
    this.#since = null;
  }

  pause() {
    this.playing = false;
  }

  /**
   * Let the time be `now`.
   * @param {number} now
   * @returns {boolean} whether another frame is due
   */
  tick(now) {
    if (!this.playing) return false;
    this.#since ??= now;
    const duration = 1000 / this.fps;
    const late = now - this.#since > Math.max(LONGEST_PAUSE, 2 * duration);
    const steps = late ? 1 : Math.floor((now - this.#since) / duration + EARLY);
    if (steps < 1) return false;
    this.#since = late ? now : this.#since + steps * duration;
    ({ index: this.index, direction: this.direction } = advance(
      this,
      steps,
      this.count,
      this.mode,
    ));
    return true;
  }
}
