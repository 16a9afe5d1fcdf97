/** The extension of Denoise Probe: a click on one of its frames gives Frame Bisector the denoise. */

import { app } from "../../scripts/app.js";

import {
  chain,
  change,
  comfyClass,
  isLinked,
  originOf,
  rootGraph,
  widgetOf,
} from "./host/comfy_page.js";
import { listen, urlOf } from "./host/comfy_server.js";
import { addElement, hideOutputPictures, widen } from "./host/dom_widget.js";
import { failureOf } from "./host/failure.js";
import { chooseDenoise, leavePresetOnChange, showPreset } from "./host/preset.js";
import { keepShort } from "./host/short_node.js";
import { findNode } from "./preview_run.js";
import { ProbeGrid } from "./probe_grid.js";
import { say } from "./slider/texts.js";

/** @typedef {import("../../scripts/app.js").ComfyNode} ComfyNode */

/**
 * What the server tells of a probe.
 * @typedef {object} Told
 * @property {{ filename: string, subfolder: string, denoise: number }[]} frames
 * @property {Record<string, Record<string, string | number>>} presets values of the inputs by preset
 */

const HEIGHT = 300; // pixels, the least
const [WIDTH, LOWEST] = [440, 700]; // of a new node, at least
const PICTURES = ["first", "keyframes", "last"];

/** What the nodes on the page show. @type {Map<ComfyNode, { grid: ProbeGrid, told: Told | null }>} */
const probes = new Map();

app.registerExtension({
  name: "DiffusionInterpolation.Probe",

  setup() {
    listen("execution_error", async (end) => {
      const failed = await failureOf(end);
      if (failed) probes.get(failed.node)?.grid.say(failed.text);
    });
  },

  /** @param {ComfyNode} node */
  nodeCreated(node) {
    if (comfyClass(node) === "DenoiseProbe") addProbe(node);
  },

  /** Outputs came back with another workflow. @param {any} outputs */
  onNodeOutputsUpdated(outputs) {
    for (const [id, output] of Object.entries(outputs ?? {})) show(findNode(rootGraph(), id), output);
  },
});

/** @param {ComfyNode} node */
function addProbe(node) {
  const grid = new ProbeGrid();
  probes.set(node, { grid, told: null });
  keepShort(node);
  leavePresetOnChange(node);
  addElement(node, "probe", grid.element, HEIGHT);
  hideOutputPictures(node);
  widen(node, WIDTH, LOWEST);
  grid.element.addEventListener("di-denoise", (event) => {
    choose(node, /** @type {CustomEvent} */ (event).detail.denoise);
  });
  chain(node, "onExecuted", (output) => {
    show(node, output);
    showPreset(node, output?.probe?.[0]?.presets ?? {});
  });
  chain(node, "onConfigure", () => restore(node));
  chain(node, "onRemoved", () => probes.delete(node));
}

/**
 * Show what a node put out, if it is a probe.
 * @param {ComfyNode} node
 * @param {any} output
 */
function show(node, output) {
  const probe = probes.get(node);
  const told = output?.probe?.[0];
  if (!probe || !told) return;
  probe.told = told;
  probe.grid.show(told.frames.map(framed));
  mark(node);
}

/** @param {Told["frames"][number]} frame */
function framed({ subfolder, filename, denoise }) {
  return { url: urlOf(subfolder, filename), denoise };
}

/** Undo, for one, makes nodes again. @param {ComfyNode} node */
async function restore(node) {
  await new Promise(requestAnimationFrame); // until the whole workflow is there
  const outputs = Object.entries(/** @type {any} */ (app).nodeOutputs ?? {});
  for (const [id, output] of outputs) if (findNode(rootGraph(), id) === node) show(node, output);
}

/**
 * @param {ComfyNode} node
 * @param {number} denoise
 */
function choose(node, denoise) {
  const { grid, told } = probes.get(node) ?? {};
  const meant = meantBy(node);
  if (!grid || !told) return;
  if (!meant.length) return grid.say(say("No Frame Bisector here can take it: select the one you mean."));
  change(() => meant.forEach((one) => chooseDenoise(one, denoise, told.presets)));
  mark(node);
  const name = meant.map(({ title }) => title).join(", ");
  grid.say(say("max_denoise of {name} is now {denoise}.", { name, denoise }));
}

/** Show which frame has the denoise that is in use. @param {ComfyNode} node */
function mark(node) {
  const values = meantBy(node).map((one) => widgetOf(one, "max_denoise")?.value);
  const isOne = new Set(values).size === 1;
  probes.get(node)?.grid.mark(isOne ? Number(values[0]) : null);
}

/**
 * The nodes that make frames between the same pictures with the same model; else the selected ones;
 * else the only one there is.
 * @param {ComfyNode} node
 * @returns {ComfyNode[]}
 */
function meantBy(node) {
  /** @type {ComfyNode[]} */
  const all = /** @type {any} */ (node.graph)?._nodes ?? [];
  const able = all.filter((one) => comfyClass(one) === "FrameBisector" && !isLinked(one, "max_denoise"));
  const sees = (/** @type {string} */ name) => (/** @type {ComfyNode} */ one) =>
    originOf(one, name) === originOf(node, name);
  const samePictures = able.filter((one) => PICTURES.every((name) => sees(name)(one)));
  const sameModel = samePictures.filter(sees("model"));
  const selected = able.filter((one) => /** @type {any} */ (app.canvas).selectedItems.has(one));
  return [sameModel, samePictures, selected].find(({ length }) => length) ?? (able.length === 1 ? able : []);
}
