import assert from "node:assert/strict";
import test from "node:test";

import {
  addFrame,
  descendants,
  findNode,
  plural,
  positionsOf,
  readOutput,
  remade,
  startRun,
  willChange,
} from "../../js/preview_run.js";

const HALF_WAY = {
  index: 4,
  position: 0.5,
  depth: 1,
  candidate: 2,
  first: 0,
  scores: [0.1, 0.2, 0.4, 0.3],
  strip: "0004_candidates.jpg",
  picked: false,
};
const LATE = {
  ...HALF_WAY,
  index: 1,
  position: 0.125,
  depth: 3,
  candidate: 0,
  scores: [0.5, 0.1, 0.2],
  strip: "0001_candidates.jpg",
};

function output(changes = {}) {
  const told = {
    version: 2,
    folder: "interpolation_0123456789ab",
    pictures: "interpolation_frames_012345",
    files: Array.from({ length: 9 }, (_, index) => `000${index}.png`),
    gaps: [7],
    depths: 3,
    made: [LATE, HALF_WAY],
    seed: 5,
    failure: "",
    ...changes,
  };
  return { frames: [], interpolation: [told] };
}

test("an output is read, the last run of several", () => {
  const several = { interpolation: [...output().interpolation, ...output({ seed: 6 }).interpolation] };
  const run = readOutput(several);
  assert.equal(run.seed, 6);
  assert.equal(run.pictures, "interpolation_frames_012345");
  assert.equal(run.files.length, 9);
  assert.equal(run.made.get(4).candidate, 2);
});

test("what is no output of this version is none", () => {
  for (const other of [null, undefined, {}, { images: [] }, { interpolation: [] }]) {
    assert.equal(readOutput(other), null);
  }
  assert.equal(readOutput(output({ version: 1 })), null);
  assert.equal(readOutput(output({ files: undefined })), null);
});

test("positions follow the gaps, or are even where there are none", () => {
  const run = readOutput(output());
  assert.deepEqual(positionsOf(run), [0, 0.125, 0.25, 0.375, 0.5, 0.625, 0.75, 0.875, 1]);
  assert.deepEqual(positionsOf({ ...run, gaps: [1, 0, 2] }), [0, 0.5, 1, 2, 2 + 1 / 3, 2 + 2 / 3, 3]);
  assert.deepEqual(positionsOf({ ...run, gaps: null, files: ["a", "b", "c"] }), [0, 0.5, 1]);
});

test("the half-way frame of a gap is the ancestor of all others in it", () => {
  assert.deepEqual(descendants(4, [7]), [1, 2, 3, 5, 6, 7]);
  assert.deepEqual(descendants(4, [7, 7]), [1, 2, 3, 5, 6, 7]);
  assert.deepEqual(descendants(12, [7, 7]), [9, 10, 11, 13, 14, 15]);
});

test("later frames have the frames between their neighbours", () => {
  assert.deepEqual(descendants(2, [7]), [1, 3]);
  assert.deepEqual(descendants(6, [7]), [5, 7]);
  assert.deepEqual(descendants(3, [7]), []);
  assert.deepEqual(descendants(2, [4]), [1, 3, 4]);
  assert.deepEqual(descendants(3, [4]), [4]);
});

test("keyframes have no descendants, nor has what lies outside", () => {
  for (const index of [0, 8, 9, 40]) assert.deepEqual(descendants(index, [7]), []);
  assert.deepEqual(descendants(5, [4, 4]), []);
});

test("a pick remakes its frame and what descends from it", () => {
  const run = readOutput(output());
  assert.deepEqual(remade(run, ""), new Set());
  assert.deepEqual(remade(run, "0.5: 2"), new Set());
  assert.deepEqual(remade(run, "0.5: 3"), new Set([4, 1, 2, 3, 5, 6, 7]));
  assert.deepEqual(remade(run, "0.125: 1"), new Set([1]));
  assert.deepEqual(remade({ ...run, gaps: null }, "0.5: 3"), new Set());
});

test("to take a pick back matters where the reranker chose another", () => {
  assert.equal(willChange({ ...HALF_WAY, candidate: 1, picked: true }, ""), true);
  assert.equal(willChange({ ...HALF_WAY, candidate: 2, picked: true }, ""), false);
});

test("new noise remakes a frame until it has that noise", () => {
  assert.equal(willChange(HALF_WAY, "0.5: roll 1"), true);
  const rolled = { ...HALF_WAY, first: 4, candidate: 6 };
  assert.equal(willChange(rolled, "0.5: roll 1"), false);
  assert.equal(willChange(rolled, "0.5: roll 2"), true);
  assert.equal(willChange(rolled, ""), true);
  assert.equal(willChange(rolled, "0.5: 6"), false);
});

test("without a reranker a frame has one candidate, and each roll is another", () => {
  const alone = { ...HALF_WAY, candidate: 0, scores: [], strip: null };
  assert.equal(willChange(alone, ""), false);
  assert.equal(willChange(alone, "0.5: roll 1"), true);
  assert.equal(willChange({ ...alone, first: 1, candidate: 1 }, "0.5: roll 1"), false);
});

test("live frames fill a run that begins empty", () => {
  const begun = { folder: "f", pictures: "p", gaps: [7], depths: 3, seed: 1, total: 9 };
  const live = { ...begun, index: null, file: null };
  const run = startRun(live);
  assert.equal(run.pictures, "p");
  addFrame(run, live);
  assert.deepEqual(run.files, Array(9).fill(null));
  addFrame(run, { ...live, index: 4, file: "0004.png", made: HALF_WAY });
  addFrame(run, { ...live, index: 0, file: "0000.png", made: null });
  assert.equal(run.files[4], "0004.png");
  assert.equal(run.files[0], "0000.png");
  assert.deepEqual([...run.made.keys()], [4]);
});

test("nodes are found in subgraphs, by numbers or texts", () => {
  const inner = { name: "inner" };
  const graphOf = (nodes) => ({ getNodeById: (id) => nodes[id] });
  const subgraph = graphOf({ 7: inner });
  const graph = {
    ...graphOf({ 3: { subgraph }, 7: { name: "outer" } }),
    subgraphs: new Map([["5f0e", subgraph]]),
  };
  assert.equal(findNode(graph, "3:7"), inner);
  assert.equal(findNode(graph, "5f0e:7"), inner);
  assert.equal(findNode(graph, "7").name, "outer");
  assert.equal(findNode(graph, 7).name, "outer");
  assert.equal(findNode(graph, "3:8"), null);
  assert.equal(findNode(graph, "7:1"), null);
  assert.equal(findNode(null, "1"), null);
});

test("one is not several", () => {
  assert.equal(plural(1, "frame"), "1 frame");
  assert.equal(plural(0, "frame"), "0 frames");
});
