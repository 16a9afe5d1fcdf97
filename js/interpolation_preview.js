/**
 * The extension: puts a `FramePreview` on the nodes that make or show frames, and keeps it at what
 * the node last made, through reload, undo, copies, subgraphs and other workflows.
 *
 * A node remembers the folder of its last run in its property `frames`, which the workflow holds, and
 * the speed that somebody gave its slider in `frames_per_second`. Whatever makes a node again from a
 * workflow therefore brings both back, the frames while the server has them.
 */

import { app } from "../../scripts/app.js";

import {
  chain,
  change,
  comfyClass,
  isOfShown,
  jobOnScreen,
  locale,
  rootGraph,
  setWidget,
  valuesOf,
  widgetOf,
} from "./host/comfy_page.js";
import { ShownRuns, listen, outputsOf, post, runOf, urlOf, workflowOf } from "./host/comfy_server.js";
import { addElement, hideOutputPictures, offerPicture, widen } from "./host/dom_widget.js";
import { failureOf } from "./host/failure.js";
import { leavePresetOnChange, showDecided } from "./host/preset.js";
import { followRenderer, keepShort } from "./host/short_node.js";
import { FramePreview } from "./frame_preview.js";
import { findNode, readOutput, startRun } from "./preview_run.js";
import { setTexts } from "./slider/texts.js";
import { CHINESE } from "./slider/texts_zh.js";

/** @typedef {import("../../scripts/app.js").ComfyNode} ComfyNode */
/** @typedef {import("./preview_run.js").LiveFrame} LiveFrame */
/** @typedef {import("./preview_run.js").Run} Run */

/** @typedef {{ folder: string | undefined, index: number }} Place */

/** The nodes, and the least height of their previews in pixels; candidates take a third of it. */
const HEIGHTS = new Map([["FrameBisector", 460], ["InterpolationPreview", 320]]);
/** The nodes, and the least width and height of a new one in pixels. */
const SIZES = new Map([["FrameBisector", [560, 850]], ["InterpolationPreview", [540, 680]]]);
const PROPERTY = "frames";
/** Of a node whose slider was given a speed: how many frames it plays in a second. */
const SPEED = "frames_per_second";
/** Of a node in a template: whether its slider plays when its first frames are there. */
const PLAYS = "play_when_done";

/** Of the nodes on the page. @type {Map<ComfyNode, FramePreview>} */
const previews = new Map();
/**
 * Runs that their nodes do not remember yet: they still go on, or have ended while another workflow
 * was on the screen. By workflow and node, the last one of each.
 * @type {Map<string, { workflow: string, node: string, promptId: string, folder: string }>}
 */
const begun = new Map();
/** Which frame of which run a removed node showed, by the node's id. @type {Map<unknown, Place>} */
const left = new Map();

const shownRuns = new ShownRuns(() =>
  [...previews.values()].flatMap(({ run }) => (run ? [run.folder] : [])),
);

app.registerExtension({
  name: "DiffusionInterpolation.Preview",

  init() {
    if (locale() === "zh") setTexts(CHINESE);
  },

  setup() {
    listen("diffusion_interpolation.frame", onFrame);
    listen("status", () => shownRuns.retry());
    listen("executed", onExecuted);
    for (const type of ["execution_error", "execution_interrupted"]) listen(type, onStopped);
    followRenderer();
  },

  /** @param {ComfyNode} node */
  nodeCreated(node) {
    const height = HEIGHTS.get(comfyClass(node));
    if (height) addPreview(node, height);
  },

  /** Outputs came back: another workflow, or one from the history. @param {any} outputs */
  onNodeOutputsUpdated(outputs) {
    for (const [id, output] of Object.entries(outputs ?? {})) {
      const node = findNode(rootGraph(), id);
      const run = readOutput(output);
      // what is kept of a workflow on another tab may be older than what came meanwhile
      if (node && run && isOfShown(run.workflow) && !begunBy(node)) showRun(node, run);
    }
  },
});

/**
 * @param {ComfyNode} node
 * @param {number} height
 */
function addPreview(node, height) {
  const preview = new FramePreview(hostOf(node));
  previews.set(node, preview);
  keepShort(node);
  addElement(node, "preview", preview.element, height);
  hideOutputPictures(node);
  offerPicture(node, () => preview.pictureUrl);
  const [least, lowest] = SIZES.get(comfyClass(node)) ?? [0, 0];
  widen(node, least, lowest);

  chain(node, "onConfigure", () => {
    preview.refresh();
    restore(node);
  });
  chain(node, "onRemoved", () => {
    left.set(node.id, { folder: preview.run?.folder, index: preview.index });
    previews.delete(node);
    preview.destroy();
    shownRuns.changed();
  });
  // another seed for each run would throw away the frames that the last one has made
  setWidget(node, "control_after_generate", "fixed");
  leavePresetOnChange(node);
  dropPicksWithSeed(node, preview);
  for (const widget of node.widgets ?? []) chain(widget, "callback", () => preview.refresh());
}

/**
 * @param {ComfyNode} node
 * @returns {import("./frame_preview.js").Host}
 */
function hostOf(node) {
  return {
    urlOf,
    shown: () => shownRuns.changed(),
    save: (asked) => post("save", asked),
    picks: () => String(widgetOf(node, "picks")?.value ?? ""),
    inputs: () => valuesOf(node),
    setPicks: (text, seed) => change(() => setPicks(node, text, seed)),
    speed: () => /** @type {number | undefined} */ (node.properties[SPEED]) ?? null,
    setSpeed: (fps) => change(() => (node.properties[SPEED] = fps)),
    runAgain: () => app.queuePrompt(0),
  };
}

/**
 * Store the picks; they belong to the frames of a seed, so that one is used again and kept.
 * @param {ComfyNode} node
 * @param {string} text
 * @param {number | null} seed
 */
function setPicks(node, text, seed) {
  setWidget(node, "picks", text);
  if (seed === null) return;
  setWidget(node, "seed", seed);
  setWidget(node, "control_after_generate", "fixed");
}

/**
 * A pick is a number of a candidate, whose noise comes from the seed: under another seed it would
 * overrule the scores with a candidate that nobody has seen.
 * @param {ComfyNode} node
 * @param {FramePreview} preview
 */
function dropPicksWithSeed(node, preview) {
  const seed = widgetOf(node, "seed");
  if (!seed) return;
  chain(seed, "callback", (value) => {
    const made = preview.run?.seed ?? null;
    if (made !== null && Number(value) !== made) setWidget(node, "picks", "");
  });
}

// What comes from the server

/**
 * A node is done. A run that the server had in its cache names the workflow that it was made for,
 * which a copy of that workflow is not; then the prompt tells.
 * @param {{ node: string, display_node?: string, prompt_id: string, output: any }} done
 */
async function onExecuted({ node: id, display_node, prompt_id, output }) {
  const run = readOutput(output);
  const node = findNode(rootGraph(), display_node ?? id);
  if (!run || !node) return;
  if (isOfShown(run.workflow)) return showMade(node, run);
  const before = previews.get(node)?.run;
  const workflow = await workflowOf(prompt_id);
  const newer = previews.get(node)?.run !== before;
  if (workflow && isOfShown(workflow) && !newer) showMade(node, run);
}

/**
 * Show a run that has just ended; the first one of a template plays.
 * @param {ComfyNode} node
 * @param {Run} run
 */
function showMade(node, run) {
  const isFirst = typeof node.properties[PROPERTY] !== "string";
  showRun(node, run);
  if (isFirst && node.properties[PLAYS]) previews.get(node)?.play();
}

/**
 * Show a run on its node, which remembers it once it has ended. Undo makes nodes again, and nobody
 * has gone to another frame by that.
 * @param {ComfyNode} node
 * @param {Run} run
 */
function showRun(node, run) {
  const preview = previews.get(node);
  if (!preview) return;
  preview.show(run);
  const place = left.get(node.id);
  left.delete(node.id);
  if (place?.folder === run.folder) preview.goTo(place.index);
  if (run.state !== "running") remember(node, run);
}

/**
 * A run begins, or a frame of one is finished. A page that was opened in the middle of a run has not
 * heard of its beginning, and asks.
 * @param {LiveFrame} live
 */
async function onFrame(live) {
  const { workflow, node: id, prompt_id: promptId, folder } = live;
  begun.set(`${workflow} ${id}`, { workflow, node: id, promptId, folder });
  const node = findNode(rootGraph(), id);
  const preview = node && previews.get(node);
  if (!node || !preview || !isOfShown(workflow)) return;
  if (preview.run?.folder !== folder) {
    const run = startRun(live) ?? (await runOf(folder));
    if (!run || previews.get(node) !== preview) return;
    if (preview.run?.folder !== folder) showRun(node, run);
  }
  preview.add(live);
}

/**
 * A prompt ended early. A node that failed before its first frame has no run that says why.
 * @param {{ prompt_id: string, node_id?: string, exception_message?: string }} end
 */
async function onStopped(end) {
  const { prompt_id, node_id } = end;
  const stopped = [...begun.values()].filter(({ promptId }) => promptId === prompt_id);
  for (const { workflow, node: id, folder } of stopped) {
    const run = await runOf(folder);
    const node = isOfShown(workflow) && findNode(rootGraph(), id);
    if (run && node) showRun(node, run);
  }
  if (stopped.some(({ node }) => node === node_id)) return;
  const failed = await failureOf(end);
  if (failed) previews.get(failed.node)?.complain(failed.text);
}

/**
 * The run of a node that goes on, or ended while another workflow was on the screen.
 * @param {ComfyNode} node
 */
function begunBy(node) {
  return [...begun.values()].find(
    ({ workflow, node: id }) => isOfShown(workflow) && findNode(rootGraph(), id) === node,
  );
}

/**
 * Show the frames that a node of a loaded workflow remembers, or those that are newer.
 * @param {ComfyNode} node
 */
async function restore(node) {
  await new Promise(requestAnimationFrame); // until the whole workflow is there, and has its name
  const preview = previews.get(node);
  const folder = begunBy(node)?.folder ?? (await folderInJob(node)) ?? node.properties[PROPERTY];
  if (!preview || typeof folder !== "string" || preview.run?.folder === folder) return;
  const run = await runOf(folder);
  if (previews.get(node) !== preview || preview.run) return; // gone, or something newer came
  if (!run) return preview.gone();
  showRun(node, run);
}

/**
 * The run of a node in the job whose workflow is on the screen; undefined where that is of no job.
 * @param {ComfyNode} node
 */
async function folderInJob(node) {
  const job = jobOnScreen();
  const outputs = job ? await outputsOf(job) : {};
  const id = Object.keys(outputs).find((id) => findNode(rootGraph(), id) === node);
  return id && readOutput(outputs[id])?.folder;
}

/**
 * @param {ComfyNode} node
 * @param {Run} run
 */
function remember(node, { folder, settings }) {
  for (const [key, run] of begun) if (run.folder === folder) begun.delete(key);
  if (node.properties[PROPERTY] === folder) return;
  change(() => {
    node.properties[PROPERTY] = folder;
    showDecided(node, settings);
  });
}
