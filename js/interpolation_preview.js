/**
 * The extension: puts a `FramePreview` on the nodes that make or show frames, and keeps it at what
 * the node last made, through reload, undo, copies, subgraphs and other workflows.
 *
 * A node remembers the folder of its last run in its property `frames`, which the workflow holds.
 * Whatever makes a node again from a workflow therefore brings its frames back, while the server has
 * them.
 */

import { api } from "../../scripts/api.js";
import { app } from "../../scripts/app.js";

import { FramePreview } from "./frame_preview.js";
import { findNode, readOutput } from "./preview_run.js";

/** @typedef {import("../../scripts/app.js").ComfyNode} ComfyNode */
/** @typedef {import("./preview_run.js").LiveFrame} LiveFrame */
/** @typedef {import("./preview_run.js").Run} Run */

/** The nodes, and the least height of their previews in pixels; candidates take a third of it. */
const HEIGHTS = new Map([["FrameBisector", 460], ["InterpolationPreview", 320]]);
const WIDTH = 360; // pixels, of a new node at least
const MARGIN = 10; // pixels that the canvas renderer leaves around a widget
const PROPERTY = "frames";

const TELLING = 200; // ms after a change until the server hears which runs are shown
const MAX_RUNS = 256; // that the server takes

/** Of the nodes on the page. @type {Map<ComfyNode, FramePreview>} */
const previews = new Map();
/**
 * The node whose frames came last, for when its prompt ends early.
 * @type {{ promptId: string, node: ComfyNode } | null}
 */
let working = null;
/** Where the previews of removed nodes stood, by the node's id. @type {Map<unknown, WeakRef<Element>>} */
const places = new Map();

app.registerExtension({
  name: "DiffusionInterpolation.Preview",

  setup() {
    const listen = (/** @type {string} */ type, /** @type {(detail: any) => void} */ act) =>
      api.addEventListener(/** @type {any} */ (type), (event) => {
        act(/** @type {CustomEvent} */ (/** @type {unknown} */ (event)).detail);
      });
    listen("diffusion_interpolation.frame", onFrame);
    listen("status", () => untold && tellSoon());
    listen("executed", onExecuted);
    for (const type of ["execution_error", "execution_interrupted"]) listen(type, onStopped);
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
      if (node && run && isOfShown(run.workflow)) showRun(node, run);
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
  leaveToCanvas(preview.element);
  const widget = node.addDOMWidget("preview", "interpolation_preview", preview.element, {
    serialize: false,
    hideOnZoom: false,
    getMinHeight: () => height,
  });
  widget.serialize = false;
  // Nodes 2.0 does not ask for a height, it takes that of the content
  preview.element.style.minHeight = `${height - 2 * MARGIN}px`;
  node.setSize([Math.max(node.size[0], WIDTH), node.size[1]]);

  chain(node, "onConfigure", () => {
    takePlace(node, preview.element);
    restore(node);
  });
  chain(node, "onRemoved", () => {
    const place = preview.element.parentElement;
    if (place?.isConnected) places.set(node.id, new WeakRef(place));
    previews.delete(node);
    preview.destroy();
    tellSoon();
  });
  const picks = widgetOf(node, "picks");
  if (picks) chain(picks, "callback", () => preview.refresh());
}

/**
 * @param {ComfyNode} node
 * @returns {import("./frame_preview.js").Host}
 */
function hostOf(node) {
  return {
    urlOf: (folder, file) => {
      const query = new URLSearchParams({ filename: file, subfolder: folder, type: "temp" });
      return api.apiURL(`/view?${query}`);
    },
    shown: tellSoon,
    save: (asked) => post("save", asked),
    picks: () => String(widgetOf(node, "picks")?.value ?? ""),
    setPicks: (text, seed) => change(() => setPicks(node, text, seed)),
    runAgain: () => app.queuePrompt(0),
  };
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
  if (isOfShown(run.workflow)) return showRun(node, run);
  const before = previews.get(node)?.run;
  const workflow = await workflowOf(prompt_id);
  const newer = previews.get(node)?.run !== before;
  if (workflow && isOfShown(workflow) && !newer) showRun(node, run);
}

/**
 * Show a run on its node, which remembers it.
 * @param {ComfyNode} node
 * @param {Run} run
 */
function showRun(node, run) {
  const preview = previews.get(node);
  if (!preview) return;
  preview.show(run);
  remember(node, run.folder);
}

/** @param {LiveFrame} live */
function onFrame(live) {
  const node = findNode(rootGraph(), live.node);
  const preview = node && previews.get(node);
  if (!node || !preview || !isOfShown(live.workflow)) return;
  working = { promptId: live.prompt_id, node };
  preview.add(live);
}

/** @param {{ prompt_id: string }} end */
function onStopped({ prompt_id }) {
  const node = working?.promptId === prompt_id ? working.node : null;
  const preview = node && previews.get(node);
  working = null;
  if (!node || !preview?.run) return;
  preview.stopped();
  remember(node, preview.run.folder);
}

/**
 * Whether a workflow is the one on the screen; another's nodes may have the same numbers. What
 * names no workflow may be of any.
 * @param {string | undefined} workflow
 */
function isOfShown(workflow) {
  const shown = rootGraph()?.id;
  return !workflow || !shown || workflow === String(shown);
}

/**
 * The workflow of a prompt that runs or has just ended; empty where the server does not know.
 * @param {string} promptId
 * @returns {Promise<string>}
 */
async function workflowOf(promptId) {
  /** @type {any[][]} */
  const running = (await ask("/queue"))?.queue_running ?? [];
  const prompt = running.find(([, id]) => id === promptId)
    ?? (await ask(`/history/${promptId}`))?.[promptId]?.prompt;
  return prompt?.[3]?.extra_pnginfo?.workflow?.id ?? "";
}

/**
 * What the server answers; null where it does not.
 * @param {string} route
 * @returns {Promise<any>}
 */
async function ask(route) {
  try {
    const answer = await api.fetchApi(route);
    return answer.ok ? await answer.json() : null;
  } catch {
    return null;
  }
}

/**
 * @param {string} route
 * @param {object} content
 */
function post(route, content) {
  return api.fetchApi(`/diffusion_interpolation/${route}`, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(content),
  });
}

// Which runs are shown: the server keeps the files of those for as long as the page is open

/** Whether the server has yet to hear of a change. */
let untold = false;
let telling = 0;

/** Tell the server which runs are shown, once for all changes of a moment. */
function tellSoon() {
  untold = true;
  clearTimeout(telling);
  telling = setTimeout(tellShown, TELLING);
}

/** A page that is not connected yet is not heard; it tries again when it is. */
async function tellShown() {
  if (!api.clientId) return;
  const folders = [...previews.values()].flatMap(({ run }) => (run ? [run.folder] : []));
  const content = { page: api.clientId, folders: [...new Set(folders)].slice(-MAX_RUNS) };
  untold = false;
  try {
    untold = !(await (await post("shown", content)).json()).held;
  } catch {
    untold = true;
  }
}

/** Show the frames that a node of a loaded workflow remembers. @param {ComfyNode} node */
async function restore(node) {
  const folder = node.properties[PROPERTY];
  const preview = previews.get(node);
  if (!preview || typeof folder !== "string" || preview.run?.folder === folder) return;
  const query = new URLSearchParams({ folder });
  const run = readOutput(await ask(`/diffusion_interpolation/run?${query}`));
  if (previews.get(node) !== preview || preview.run) return; // gone, or something newer came
  if (run) preview.show(run);
  else preview.gone();
}

/**
 * @param {ComfyNode} node
 * @param {string} folder
 */
function remember(node, folder) {
  if (node.properties[PROPERTY] === folder) return;
  change(() => (node.properties[PROPERTY] = folder));
}

// What goes into the workflow

/**
 * Change the workflow in a step of its own for undo, which is also what keeps a change through a
 * reload of the page.
 * @param {() => void} act
 */
function change(act) {
  app.canvas.emitBeforeChange();
  act();
  app.canvas.emitAfterChange();
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
 * @param {ComfyNode} node
 * @param {string} name
 * @param {string | number} value
 */
function setWidget(node, name, value) {
  const widget = widgetOf(node, name);
  if (!widget || widget.value === value) return;
  widget.value = value;
  widget.callback?.(value);
}

/**
 * @param {ComfyNode} node
 * @param {string} name
 */
function widgetOf(node, name) {
  return node.widgets?.find((widget) => widget.name === name);
}

// What is ComfyUI's

/**
 * Put an element where that of the node's forerunner stood. Undo, as the making of a subgraph, makes
 * nodes again, yet Nodes 2.0 keeps what it has drawn for one with the same id, and does not look for
 * its new elements.
 * @param {ComfyNode} node
 * @param {HTMLElement} element
 */
async function takePlace(node, element) {
  const place = places.get(node.id)?.deref();
  places.delete(node.id);
  for (let frame = 0; frame < 2; frame += 1) await new Promise(requestAnimationFrame);
  if (place?.isConnected && !element.isConnected) place.replaceChildren(element);
}

/**
 * Zooming and panning go on over an element on the canvas, but for the wheel where the element has
 * the focus. Nodes 2.0 sees to that itself.
 * @param {HTMLElement} element
 */
function leaveToCanvas(element) {
  const { canvas } = app;
  const hasFocus = () => element.contains(document.activeElement);
  const passOn = (
    /** @type {string} */ type,
    /** @type {(event: any) => boolean} */ isMeant,
    /** @type {(event: any) => void} */ process,
  ) =>
    element.addEventListener(type, (event) => {
      if (!LiteGraph.vueNodesMode && isMeant(event)) process(event);
    });
  const zooms = (/** @type {any} */ event) => event.ctrlKey || event.metaKey || !hasFocus();
  passOn("wheel", zooms, (event) => canvas.processMouseWheel(event));
  passOn("pointerdown", ({ button }) => button === 1, (event) => canvas.processMouseDown(event));
  passOn("pointermove", ({ buttons }) => Boolean(buttons & 4), (event) => canvas.processMouseMove(event));
  passOn("pointerup", ({ button }) => button === 1, (event) => canvas.processMouseUp(event));
}

/** The class of a node as the server names it. @param {any} node */
function comfyClass(node) {
  return node.comfyClass ?? node.constructor.comfyClass ?? "";
}

/** The workflow itself, whatever subgraph is on the screen. */
function rootGraph() {
  return /** @type {any} */ (app).rootGraph ?? app.graph;
}

/**
 * Do something after what an object's method does already.
 * @param {any} object
 * @param {string} method
 * @param {(...given: any[]) => void} act
 */
function chain(object, method, act) {
  const before = object[method];
  object[method] = function (/** @type {any[]} */ ...given) {
    const result = before?.apply(this, given);
    act(...given);
    return result;
  };
}
