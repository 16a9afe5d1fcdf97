import assert from "node:assert/strict";
import { test } from "node:test";

import {
  FramePlayer,
  SPEEDS,
  advance,
  clampFrame,
  defaultSpeed,
  frameAt,
  frameForKey,
  frameText,
  keyframesAround,
  keyframesOf,
  nearest,
  positionText,
  wheelFrames,
} from "../../js/slider/frame_player.js";

/** @param {number} count */
function evenPositions(count) {
  return Array.from({ length: count }, (_, index) => index / (count - 1));
}

/** Frames shown by `ticks` ticks of `ms` milliseconds. */
function played(player, ticks, ms) {
  player.play();
  player.tick(0);
  return Array.from({ length: ticks }, (_, tick) => {
    player.tick((tick + 1) * ms);
    return player.index;
  });
}

function playerOf(count, settings = {}) {
  const player = Object.assign(new FramePlayer(), { fps: 10 }, settings);
  player.setCount(count);
  return player;
}

test("a place on the path is that of the nearest frame", () => {
  assert.equal(frameAt(0.5, evenPositions(9)), 4);
  assert.equal(frameAt(0.51, evenPositions(17)), 8);
  assert.equal(frameAt(0.25, evenPositions(3)), 0);
  assert.equal(frameAt(3, evenPositions(5)), 4);
  assert.equal(frameAt(0, []), 0);
});

test("a frame outside the path is the nearest end", () => {
  const wanted = [-3, 0, 2.4, 2.6, 4, 99, NaN, Infinity].map((index) => clampFrame(index, 5));
  assert.deepEqual(wanted, [0, 0, 2, 3, 4, 4, 0, 4]);
  assert.equal(clampFrame(3, 0), 0);
});

test("a loop goes from the last frame to the first", () => {
  assert.deepEqual(played(playerOf(3, { mode: "loop" }), 7, 100), [1, 2, 0, 1, 2, 0, 1]);
});

test("back and forth shows the ends once", () => {
  assert.deepEqual(played(playerOf(4), 9, 100), [1, 2, 3, 2, 1, 0, 1, 2, 3]);
});

test("back and forth over two frames alternates", () => {
  assert.deepEqual(played(playerOf(2), 4, 100), [1, 0, 1, 0]);
});

test("several steps at once are the same as one after the other", () => {
  for (const mode of ["loop", "bounce"]) {
    let state = { index: 2, direction: 1 };
    for (let steps = 0; steps < 20; steps += 1) {
      assert.deepEqual(advance({ index: 2, direction: 1 }, steps, 5, mode), state);
      state = advance(state, 1, 5, mode);
    }
  }
});

test("playback drops frames rather than fall behind", () => {
  assert.deepEqual(played(playerOf(100, { fps: 60 }), 4, 50), [3, 6, 9, 12]);
});

test("a frame lasts as long as the speed says", () => {
  assert.deepEqual(played(playerOf(9, { fps: 4 }), 6, 125), [0, 1, 1, 2, 2, 3]);
});

test("after a long pause playback goes on where it was", () => {
  const player = playerOf(50);
  assert.deepEqual(played(player, 2, 100), [1, 2]);
  assert.ok(player.tick(60_000));
  assert.equal(player.index, 3);
  assert.ok(!player.tick(60_050));
});

test("slow playback is no long pause", () => {
  assert.deepEqual(played(playerOf(9, { fps: 0.5 }), 4, 1000), [0, 1, 1, 2]);
});

test("a paused player ignores time, and no player plays a single frame", () => {
  const player = playerOf(5);
  assert.ok(!player.tick(1e6));
  for (const count of [0, 1]) {
    const still = playerOf(count);
    still.play();
    assert.ok(!still.playing);
  }
});

test("losing frames keeps the shown one in range and stops a lone one", () => {
  const player = playerOf(9);
  player.show(8);
  player.play();
  player.setCount(4);
  assert.deepEqual([player.index, player.playing], [3, true]);
  player.setCount(1);
  assert.deepEqual([player.index, player.playing], [0, false]);
});

test("showing says whether the frame changed, and playback then goes forward", () => {
  const player = playerOf(4);
  played(player, 4, 100);
  assert.equal(player.direction, -1);
  assert.ok(player.show(1));
  assert.ok(!player.show(1));
  assert.equal(player.direction, 1);
});

test("keys lead one frame, a tenth of the way, or to the ends", () => {
  const at = (key, index = 10, count = 41) => frameForKey(key, index, count);
  assert.deepEqual(["ArrowLeft", "ArrowDown", "ArrowRight", "ArrowUp"].map((k) => at(k)), [
    9, 9, 11, 11,
  ]);
  assert.deepEqual(["PageDown", "PageUp", "Home", "End"].map((k) => at(k)), [6, 14, 0, 40]);
  assert.equal(at("ArrowRight", 40), 40);
  assert.equal(at("ArrowLeft", 0), 0);
  assert.equal(at("a"), null);
  assert.equal(at("toString"), null);
  assert.equal(at("End", 0, 0), 0);
});

test("a notch of the wheel is a frame, small turns add up", () => {
  assert.deepEqual(wheelFrames(0, 120, 0), { frames: 1, rest: 0 });
  assert.deepEqual(wheelFrames(12, -100, 0), { frames: -1, rest: 0 });
  assert.deepEqual(wheelFrames(0, 3, 1), { frames: 1, rest: 0 });
  assert.deepEqual(wheelFrames(0, 360, 0), { frames: 3, rest: 0 });
  assert.deepEqual(wheelFrames(0, 20, 0), { frames: 0, rest: 20 });
  assert.deepEqual(wheelFrames(20, 20, 0), { frames: 1, rest: 10 });
  assert.deepEqual(wheelFrames(20, -10, 0), { frames: 0, rest: -10 });
});

test("keyframes are the whole positions and the ends", () => {
  assert.deepEqual(keyframesOf([0, 0.5, 1, 1.25, 1.5, 2]), [0, 2, 5]);
  assert.deepEqual(keyframesOf([0.1, 0.5, 0.9]), [0, 2]);
  assert.deepEqual(keyframesOf(evenPositions(17)), [0, 16]);
  assert.deepEqual(keyframesOf([0]), [0]);
  assert.deepEqual(keyframesOf([]), []);
  assert.deepEqual(keyframesOf([0, 0.5, 1, 1.5], true), [0, 2], "in a loop the last is none");
});

test("a frame lies between the keyframes of its gap", () => {
  const around = [0, 3, 4, 5, 8].map((index) => keyframesAround(index, [0, 4, 8]));
  assert.deepEqual(around, [[0, 4], [0, 4], [4, 8], [4, 8], [4, 8]]);
  const loop = [0, 3, 4, 5, 11].map((index) => keyframesAround(index, [0, 4, 8], true));
  assert.deepEqual(loop, [[0, 4], [0, 4], [4, 8], [4, 8], [8, 0]]);
  assert.equal(keyframesAround(0, [0]), null);
  assert.equal(keyframesAround(0, []), null);
});

test("the nearest frame that fits, the earlier of two", () => {
  const among = (index, ...fit) => nearest(index, 10, (frame) => fit.includes(frame));
  assert.equal(among(5, 5, 6), 5);
  assert.equal(among(5, 4, 6), 4);
  assert.equal(among(5, 9), 9);
  assert.equal(among(0, 9), 9);
  assert.equal(among(9, 0), 0);
  assert.equal(among(5), -1);
});

test("neighbouring frames differ in their text", () => {
  for (const count of [2, 17, 65, 101, 102, 1025]) {
    const texts = evenPositions(count).map((position) => positionText(position, count));
    assert.equal(new Set(texts).size, count);
  }
  assert.equal(positionText(0, 1), "0.00");
});

test("texts count from one", () => {
  assert.equal(frameText(4, 17, 0.25), "Frame 5 of 17, position 0.25");
  assert.equal(frameText(0, 0, 0), "No frames yet");
});

test("the first speed shows a gap in two or three seconds", () => {
  assert.equal(defaultSpeed(17), 8);
  assert.equal(defaultSpeed(65), 24);
  assert.equal(defaultSpeed(65, 4), 8);
  assert.equal(defaultSpeed(1025), 60);
  assert.ok(SPEEDS.includes(defaultSpeed(0)));
});
