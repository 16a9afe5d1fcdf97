/**
 * The frames of one run, as the server tells of them, and what a pick means for them. Without a
 * DOM, so it can be tested alone.
 */

import { evenPositions } from "./frame_player.js";
import { choiceAt } from "./picks.js";

/**
 * How a frame came about. `candidate` is the one it is, `first` the number of the first of those it
 * was chosen from, `scores` theirs (none without a reranker), `strip` the file that shows them side
 * by side.
 * @typedef {object} Made
 * @property {number} index
 * @property {number} position in keyframes
 * @property {number} depth 1 for frames made from keyframes alone
 * @property {number} candidate
 * @property {number} first
 * @property {number[]} scores
 * @property {string | null} strip
 * @property {boolean} picked
 */

/**
 * @typedef {object} Run
 * @property {string} folder of the run's own in the server's temporary files, which names it
 * @property {string} pictures the folder of the pictures there, which runs share
 * @property {string} workflow the id of the workflow that ran; empty where the server cannot tell
 * @property {(string | null)[]} files a picture for each frame; null for one that is missing
 * @property {number[] | null} gaps new frames between each two keyframes; null where not known
 * @property {number} depths
 * @property {Map<number, Made>} made by the number of the frame
 * @property {number | null} seed
 * @property {string} failure why frames are missing
 */

/**
 * What the server sends while it works: a frame that is finished, or, without one, a new run.
 * @typedef {object} LiveFrame
 * @property {string} node the id of the node that runs, as `7` or, in a subgraph, `3:7`
 * @property {string} prompt_id
 * @property {string} [workflow]
 * @property {string} folder
 * @property {string} pictures
 * @property {number[] | null} gaps
 * @property {number} depths
 * @property {number | null} seed
 * @property {number} total
 * @property {number} done
 * @property {number | null} index
 * @property {string | null} file
 * @property {number} depth
 * @property {Made | null} made
 */

/** The version of the output that this module reads. */
const VERSION = 2;

/**
 * The run in a node's output, the last where there are several; null where there is none, or one of
 * another version.
 * @param {any} output
 * @returns {Run | null}
 */
export function readOutput(output) {
  const told = output?.interpolation?.at?.(-1);
  if (told?.version !== VERSION || !Array.isArray(told.files)) return null;
  return {
    folder: told.folder,
    pictures: told.pictures,
    workflow: told.workflow ?? "",
    files: told.files,
    gaps: told.gaps,
    depths: told.depths,
    made: new Map(told.made.map((/** @type {Made} */ made) => [made.index, made])),
    seed: told.seed,
    failure: told.failure,
  };
}

/**
 * The run that a live frame belongs to, before any frame is finished.
 * @param {LiveFrame} live
 * @returns {Run}
 */
export function startRun(live) {
  const { folder, pictures, gaps, depths, seed, total } = live;
  const files = Array(total).fill(null);
  const workflow = live.workflow ?? "";
  return { folder, pictures, workflow, files, gaps, depths, made: new Map(), seed, failure: "" };
}

/**
 * Put a finished frame in its place.
 * @param {Run} run
 * @param {LiveFrame} live
 */
export function addFrame(run, live) {
  if (live.index === null) return;
  run.files[live.index] = live.file;
  if (live.made) run.made.set(live.index, live.made);
}

/**
 * The position of every frame, in keyframes.
 * @param {Run} run
 * @returns {number[]}
 */
export function positionsOf(run) {
  if (run.gaps === null) return evenPositions(run.files.length);
  const gaps = run.gaps.flatMap((between, gap) =>
    Array.from({ length: between + 1 }, (_, place) => gap + place / (between + 1)),
  );
  return [...gaps, run.gaps.length];
}

/**
 * The frames that are made from frame `index`, directly or by way of others: all that lie between
 * its two neighbours at the time it was made.
 * @param {number} index
 * @param {number[]} gaps
 * @returns {number[]}
 */
export function descendants(index, gaps) {
  let [low, high] = gapAround(index, gaps);
  if (index <= low || index >= high) return [];
  for (let middle = half(low, high); middle !== index; middle = half(low, high)) {
    if (middle < index) low = middle;
    else high = middle;
  }
  const inside = Array.from({ length: high - low - 1 }, (_, place) => low + 1 + place);
  return inside.filter((other) => other !== index);
}

/**
 * @param {number} low
 * @param {number} high
 */
function half(low, high) {
  return Math.floor((low + high) / 2);
}

/**
 * The keyframes on either side of a frame, or the one it is and the next.
 * @param {number} index
 * @param {number[]} gaps
 * @returns {[number, number]}
 */
function gapAround(index, gaps) {
  let first = 0;
  for (const between of gaps) {
    const last = first + between + 1;
    if (index < last) return [first, last];
    first = last;
  }
  return [first, first];
}

/**
 * How many candidates a frame was chosen from.
 * @param {Made} made
 */
export function candidatesOf(made) {
  return made.scores.length || 1;
}

/**
 * Which roll of its noise a frame's candidates are from.
 * @param {Made} made
 */
export function rollOf(made) {
  return made.first / candidatesOf(made);
}

/**
 * Whether the next run makes this frame from another candidate, going by the text of `picks`.
 * @param {Made} made
 * @param {string} picks
 */
export function willChange(made, picks) {
  return nextCandidate(made, choiceAt(picks, made.position)) !== made.candidate;
}

/**
 * The candidate that the next run takes; null for one that is yet to be made.
 * @param {Made} made
 * @param {import("./picks.js").Choice | null} choice
 */
function nextCandidate(made, choice) {
  if (choice && choice.candidate !== null) return choice.candidate;
  if ((choice?.roll ?? 0) !== rollOf(made)) return null;
  return made.first + Math.max(0, made.scores.indexOf(Math.max(...made.scores)));
}

/**
 * The frames that the next run makes again, going by the text of `picks`: those of other candidates
 * and all that descend from them.
 * @param {Run} run
 * @param {string} picks
 * @returns {Set<number>}
 */
export function remade(run, picks) {
  const gaps = run.gaps;
  if (gaps === null) return new Set();
  const changed = [...run.made.values()].filter((made) => willChange(made, picks));
  return new Set(changed.flatMap(({ index }) => [index, ...descendants(index, gaps)]));
}

/**
 * @param {number} count
 * @param {string} thing
 */
export function plural(count, thing) {
  return `${count} ${thing}${count === 1 ? "" : "s"}`;
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
