/**
 * The frames of one run, as the server tells of them, and what a pick means for them. Without a
 * DOM, so it can be tested alone.
 */

import { withDescendants } from "./frame_info.js";
import { choiceAt, unreadable } from "./picks.js";
import { say } from "./slider/texts.js";

/** @typedef {import("./frame_info.js").FrameInfo} FrameInfo */

/**
 * A frame of a run: what is known of it, the file of its picture (null while it has none), and the
 * file that shows its candidates side by side (null where there is no choice).
 * @typedef {FrameInfo & { file: string | null, strip: string | null }} RunFrame
 */

/**
 * A sentence about the frames, or, with `running`, about the run while it goes on.
 * @typedef {{ text: string, values: Record<string, string | number>, running?: boolean }} Note
 */
/** @typedef {Record<string, unknown>} Inputs the values in a node, by input */

/**
 * @typedef {object} Run
 * @property {string} folder of the run's own in the server's temporary files, which names it
 * @property {string} pictures the folder of the pictures there, which runs share
 * @property {string} workflow the id of the workflow that ran; empty where the server cannot tell
 * @property {RunFrame[]} frames all of the path
 * @property {number | null} seed
 * @property {number} done how many frames are finished, the keyframes included
 * @property {"running" | "finished" | "cancelled" | "failed"} state
 * @property {string} failure why frames are missing, or what else went wrong
 * @property {Note[]} notes what else there is to say
 * @property {boolean} loop whether the first frame comes after the last
 * @property {Record<string, string | number>} settings what a preset has decided, by input
 * @property {Inputs} inputs what the node had when it ran
 */

/**
 * What the server sends while it works: all frames at the start of a run, then each finished one.
 * @typedef {object} LiveFrame
 * @property {string} node the id of the node that runs, as `7` or, in a subgraph, `3:7`
 * @property {string} prompt_id
 * @property {string} workflow
 * @property {string} folder
 * @property {string} pictures
 * @property {number | null} seed
 * @property {number} done
 * @property {Note[]} notes
 * @property {boolean} loop
 * @property {Record<string, string | number>} settings
 * @property {Inputs} inputs
 * @property {RunFrame[] | null} frames
 * @property {RunFrame | null} frame
 */

/** The version of the output that this module reads. */
const VERSION = 5;
/** Inputs of which frames do not depend, or of which more is known than that they have changed. */
const NO_CHANGE = ["picks", "max_batch"];
const CUSTOM = "custom";
const UNREADABLE =
  "picks has an entry that cannot be read: {entries}. A click on a candidate takes it out.";
const OUTDATED = "Inputs have changed since these frames were made.";

/**
 * The run in a node's output, the last where there are several; null where there is none, or one of
 * another version.
 * @param {any} output
 * @returns {Run | null}
 */
export function readOutput(output) {
  const told = output?.interpolation?.at?.(-1);
  if (told?.version !== VERSION || !Array.isArray(told.frames)) return null;
  return told;
}

/**
 * The run that a live event begins; null where it is not the first of its run.
 * @param {LiveFrame} live
 * @returns {Run | null}
 */
export function startRun({ folder, pictures, workflow, seed, notes, loop, settings, inputs, frames }) {
  if (frames === null) return null;
  const about = { folder, pictures, workflow, seed, notes, loop, settings, inputs };
  return { ...about, frames, done: 0, state: "running", failure: "" };
}

/**
 * Put a finished frame in its place.
 * @param {Run} run
 * @param {LiveFrame} live
 */
export function addFrame(run, { done, frame }) {
  run.done = done;
  if (frame) run.frames[frame.index] = frame;
}

/**
 * Whether a frame was made from candidates.
 * @param {RunFrame} frame
 */
export function isMade(frame) {
  return frame.candidate !== null;
}

/**
 * Whether the next run makes this frame from another candidate, going by the text of `picks`.
 * @param {FrameInfo} frame
 * @param {string} picks
 */
export function willChange(frame, picks) {
  if (frame.candidate === null) return false;
  return nextCandidate(frame, choiceAt(picks, frame.position)) !== frame.candidate;
}

/**
 * The candidate that the next run takes; null for one that is yet to be made.
 * @param {FrameInfo} frame
 * @param {import("./picks.js").Choice | null} choice
 */
function nextCandidate(frame, choice) {
  if (choice && choice.candidate !== null) return choice.candidate;
  return (choice?.roll ?? 0) === frame.roll ? frame.best : null;
}

/**
 * The frames that the next run makes again, going by the text of `picks`: those of other candidates
 * and all that are made from them.
 * @param {Run} run
 * @param {string} picks
 * @returns {Set<number>}
 */
export function remade(run, picks) {
  const changed = run.frames.filter((frame) => willChange(frame, picks));
  return withDescendants(changed.map(({ index }) => index), run.frames);
}

/**
 * Whether the node has other values now than when it made the run. Picks say more by themselves.
 * @param {Run} run
 * @param {Inputs} now
 */
export function isOutdated({ inputs, settings }, now) {
  const bySame = now.preset === inputs.preset;
  const made = { ...inputs, ...settings };
  return Object.keys(inputs).some((name) => {
    if (!(name in now) || NO_CHANGE.includes(name)) return false;
    if (bySame && name in settings) return false; // the preset decides, whatever stands there
    if (name === "preset" && now[name] === CUSTOM) return false; // values tell
    return String(now[name]) !== String(made[name]);
  });
}

/**
 * What there is to say of a run, and whether to offer another. Of a finished run that the next one
 * would not change, only the notes of its frames are said.
 * @param {Run} run
 * @param {string} picks the text of the node's input
 * @param {Inputs} [now] the values in the node
 * @returns {{ text: string, offerRun: boolean }}
 */
export function statusOf(run, picks, now = {}) {
  const all = framesText(run.frames.length);
  const there = run.frames.filter(({ file }) => file !== null).length;
  if (run.state === "running") return { text: progressOf(run), offerRun: false };
  const entries = unreadable(picks).join(", ");
  if (entries) return { text: say(UNREADABLE, { entries }), offerRun: false };
  if (isOutdated(run, now)) return { text: say(OUTDATED), offerRun: true };
  if (run.state === "cancelled" && there < run.frames.length) {
    const text = say("Stopped at {there} of {all}; Run goes on there.", { there, all });
    return { text, offerRun: true };
  }
  if (run.failure && run.state !== "cancelled") return { text: run.failure, offerRun: true };
  const count = remade(run, picks).size;
  if (count === 0) return { text: notesOf(run, false), offerRun: false };
  const text = say("The next run makes {count} of {all} again.", { count, all });
  return { text, offerRun: true };
}

/**
 * @param {Run} run
 * @param {boolean} running whether to say those of the run, or those of its frames
 */
function notesOf({ notes }, running) {
  const said = notes.filter((note) => Boolean(note.running) === running);
  return said.map(({ text, values }) => say(text, values)).join(" ");
}

/** @param {Run} run */
function progressOf(run) {
  const price = notesOf(run, true);
  return price ? `${doneOf(run)} · ${price}` : doneOf(run);
}

/** @param {Run} run */
function doneOf({ frames, done }) {
  const depth = Math.max(...frames.map((frame) => (isMade(frame) ? frame.depth : 0)));
  const depths = Math.max(...frames.map((frame) => frame.depth));
  const count = frames.length;
  if (!depth) return say("Making frames: {done} of {count}", { done, count });
  const values = { depth, depths, done, count };
  return say("Making frames: depth {depth} of {depths}, {done} of {count}", values);
}

/** @param {number} count */
function framesText(count) {
  return say(count === 1 ? "{count} frame" : "{count} frames", { count });
}

/**
 * The node of an id as the server gives it (`7`, or `3:7` for one in the subgraph of node 3), or as
 * the front end keys outputs (`<id of a subgraph>:7`).
 * @param {any} graph
 * @param {string} id
 * @returns {any} null where there is none
 */
export function findNode(graph, id) {
  const [first, ...rest] = String(id).split(":");
  const node = graph?.getNodeById(first) ?? graph?.getNodeById(Number(first)) ?? null;
  if (!rest.length) return node;
  const inside = node?.subgraph ?? graph?.subgraphs?.get(first);
  return findNode(inside, rest.join(":"));
}
