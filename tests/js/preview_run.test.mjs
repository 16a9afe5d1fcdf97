import assert from "node:assert/strict";
import test from "node:test";

import { withDescendants } from "../../js/frame_info.js";
import {
  addFrame,
  findNode,
  isOutdated,
  readOutput,
  remade,
  startRun,
  statusOf,
  willChange,
} from "../../js/preview_run.js";

const PLANNED = {
  depth: 0,
  parents: [],
  first: 0,
  count: 0,
  scores: [],
  candidate: null,
  picked: false,
  best: null,
  roll: 0,
  file: null,
  strip: null,
};
/** Nine frames between two keyframes, as the server sends them before any is made. */
const PATH = [
  { depth: 0, parents: [] },
  { depth: 3, parents: [0, 2] },
  { depth: 2, parents: [0, 4] },
  { depth: 3, parents: [2, 4] },
  { depth: 1, parents: [0, 8] },
  { depth: 3, parents: [4, 6] },
  { depth: 2, parents: [4, 8] },
  { depth: 3, parents: [6, 8] },
  { depth: 0, parents: [] },
].map((frame, index) => ({ ...PLANNED, ...frame, index, position: index / 8 }));
const HALF_WAY = {
  ...PATH[4],
  candidate: 2,
  best: 2,
  count: 4,
  scores: [0.1, 0.2, 0.4, 0.3],
  file: "0004.png",
  strip: "0004_candidates.jpg",
};
const LATE = {
  ...PATH[1],
  candidate: 0,
  best: 0,
  count: 3,
  scores: [0.5, 0.1, 0.2],
  file: "0001.png",
  strip: "0001_candidates.jpg",
};
/** As if all frames were there, of which two had candidates. */
const WHOLE = PATH.map(({ index }) => ({ ...PATH[index], file: `000${index}.png` }))
  .with(1, LATE)
  .with(4, HALF_WAY);

function output(changes = {}) {
  const told = {
    version: 5,
    folder: "interpolation_0123456789ab",
    pictures: "interpolation_frames_012345",
    workflow: "",
    frames: WHOLE,
    seed: 5,
    done: 9,
    state: "finished",
    failure: "",
    notes: [],
    loop: false,
    settings: {},
    inputs: {},
    ...changes,
  };
  return { frames: [], interpolation: [told] };
}

test("an output is read, the last run of several", () => {
  const several = { interpolation: [...output().interpolation, ...output({ seed: 6 }).interpolation] };
  const run = readOutput(several);
  assert.equal(run.seed, 6);
  assert.equal(run.pictures, "interpolation_frames_012345");
  assert.equal(run.frames[4].candidate, 2);
});

test("what is no output of this version is none", () => {
  for (const other of [null, undefined, {}, { images: [] }, { interpolation: [] }]) {
    assert.equal(readOutput(other), null);
  }
  assert.equal(readOutput(output({ version: 2 })), null);
  assert.equal(readOutput(output({ frames: undefined })), null);
});

const descendants = (index) => {
  const found = withDescendants([index], PATH);
  found.delete(index);
  return [...found].sort((a, b) => a - b);
};

test("the half-way frame is the ancestor of all others", () => {
  assert.deepEqual(descendants(4), [1, 2, 3, 5, 6, 7]);
});

test("later frames have those that were made from them", () => {
  assert.deepEqual(descendants(2), [1, 3]);
  assert.deepEqual(descendants(6), [5, 7]);
  assert.deepEqual(descendants(3), []);
});

test("the descendants of several frames come with these", () => {
  assert.deepEqual(withDescendants([3, 6], PATH), new Set([3, 6, 5, 7]));
  assert.deepEqual(withDescendants([], PATH), new Set());
});

test("a pick remakes its frame and what descends from it", () => {
  const run = readOutput(output());
  assert.deepEqual(remade(run, ""), new Set());
  assert.deepEqual(remade(run, "0.5: 2"), new Set());
  assert.deepEqual(remade(run, "0.5: 3"), new Set([4, 1, 2, 3, 5, 6, 7]));
  assert.deepEqual(remade(run, "0.125: 1"), new Set([1]));
  assert.deepEqual(remade(run, "0: 3"), new Set(), "a keyframe stays as it is");
});

test("to take a pick back matters where the reranker chose another", () => {
  assert.equal(willChange({ ...HALF_WAY, candidate: 1, picked: true }, ""), true);
  assert.equal(willChange({ ...HALF_WAY, candidate: 2, picked: true }, ""), false);
});

test("new noise remakes a frame until it has that noise", () => {
  assert.equal(willChange(HALF_WAY, "0.5: roll 1"), true);
  const rolled = { ...HALF_WAY, first: 4, roll: 1, candidate: 6, best: 6 };
  assert.equal(willChange(rolled, "0.5: roll 1"), false);
  assert.equal(willChange(rolled, "0.5: roll 2"), true);
  assert.equal(willChange(rolled, ""), true);
  assert.equal(willChange(rolled, "0.5: 6"), false);
});

test("without a reranker a frame has one candidate, and each roll is another", () => {
  const alone = { ...HALF_WAY, count: 1, candidate: 0, best: 0, scores: [], strip: null };
  assert.equal(willChange(alone, ""), false);
  assert.equal(willChange(alone, "0.5: roll 1"), true);
  const rolled = { ...alone, first: 1, roll: 1, candidate: 1, best: 1 };
  assert.equal(willChange(rolled, "0.5: roll 1"), false);
});

test("live frames fill a run that begins empty", () => {
  const whole = { notes: [], loop: true, settings: {}, inputs: { steps: 4 } };
  const about = { folder: "f", pictures: "p", workflow: "w", seed: 1, ...whole };
  const run = startRun({ ...about, done: 0, frames: [...PATH], frame: null });
  assert.deepEqual(run, { ...about, frames: PATH, done: 0, state: "running", failure: "" });
  const live = { ...about, frames: null };
  assert.equal(startRun({ ...live, done: 1, frame: HALF_WAY }), null);
  addFrame(run, { ...live, done: 1, frame: { ...PATH[0], file: "0000.png" } });
  addFrame(run, { ...live, done: 2, frame: HALF_WAY });
  assert.deepEqual(run.frames, PATH.with(0, { ...PATH[0], file: "0000.png" }).with(4, HALF_WAY));
  assert.equal(run.done, 2);
});

test("what there is to say of a run", () => {
  const said = (changes, picks = "") => statusOf(readOutput(output(changes)), picks);
  assert.deepEqual(said({}), { text: "", offerRun: false });
  const note = { text: "The picture {name} was cropped.", values: { name: "last" } };
  assert.equal(said({ notes: [note, note] }).text, "The picture last was cropped. ".repeat(2).trim());
  const next = "The next run makes 7 of 9 frames again.";
  assert.deepEqual(said({}, "0.5: 1"), { text: next, offerRun: true });
  const wrong = "picks has an entry that cannot be read: nice. A click on a candidate takes it out.";
  assert.deepEqual(said({}, "0.5: 1, nice"), { text: wrong, offerRun: false });
  const failed = { state: "failed", failure: "no memory; 2 frames are missing" };
  assert.deepEqual(said(failed), { text: failed.failure, offerRun: true });
  const begun = { frames: PATH, done: 0, state: "running" };
  assert.deepEqual(said(begun), { text: "Making frames: 0 of 9", offerRun: false });
  const going = { frames: PATH.with(4, HALF_WAY), done: 3, state: "running" };
  assert.equal(said(going).text, "Making frames: depth 1 of 3, 3 of 9");
  const stopped = { ...going, state: "cancelled", failure: "cancelled; 6 frames are missing" };
  const there = "Stopped at 1 of 9 frames; Run goes on there.";
  assert.deepEqual(said(stopped), { text: there, offerRun: true });
  const alone = { frames: PATH.slice(0, 1), done: 0, state: "cancelled" };
  assert.equal(said(alone).text, "Stopped at 0 of 1 frame; Run goes on there.");
  assert.deepEqual(said({ state: "cancelled", failure: "cancelled; 0 frames are missing" }).text, "");
});

test("the price of a run is said while it goes on, and the notes of its frames at its end", () => {
  const notes = [
    { text: "Cropped.", values: {} },
    { text: "{count} runs of the model.", values: { count: 60 }, running: true },
  ];
  const said = (state) => statusOf(readOutput(output({ state, notes, frames: PATH })), "").text;
  assert.equal(said("running"), "Making frames: 9 of 9 · 60 runs of the model.");
  assert.equal(said("finished"), "Cropped.");
});

test("a run is outdated once the node has other values", () => {
  const inputs = { preset: "balanced", steps: 20, seed: 5, picks: "", max_batch: 0, first: 1 };
  const run = readOutput(output({ inputs, settings: { steps: 8 } }));
  const now = { preset: "balanced", steps: 8, seed: 5, picks: "", max_batch: 0 };
  const outdated = (changes) => isOutdated(run, { ...now, ...changes });
  assert.equal(outdated({}), false);
  assert.equal(outdated({ steps: 20 }), false, "the preset decides it");
  assert.equal(outdated({ picks: "0.5: 1" }), false, "a pick tells by itself");
  assert.equal(outdated({ max_batch: 4 }), false, "frames do not depend on it");
  assert.equal(outdated({ seed: "5" }), false, "the server may have made a text of a number");
  assert.equal(outdated({ preset: "custom" }), false, "these are the values of the preset");
  assert.equal(outdated({ preset: "custom", steps: 9 }), true);
  assert.equal(outdated({ preset: "best" }), true);
  assert.equal(outdated({ seed: 6 }), true);
  const stopped = { ...run, state: "cancelled", done: 3, frames: PATH };
  const text = "Inputs have changed since these frames were made.";
  assert.deepEqual(statusOf(stopped, "0.5: 3", { ...now, seed: 6 }), { text, offerRun: true });
  assert.deepEqual(isOutdated(readOutput(output()), now), false);
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
