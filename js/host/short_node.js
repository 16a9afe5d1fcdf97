/**
 * Keeps a node short in the canvas renderer, which makes a row of every input: those that few people
 * change are rows only where they are asked for, as in Nodes 2.0.
 */

import { app } from "../../../scripts/app.js";

import { chain, change, isLinked, widgetOf } from "./comfy_page.js";
import { CUSTOM } from "./preset.js";
import { say } from "../slider/texts.js";

/** @typedef {import("../../../scripts/app.js").ComfyNode} ComfyNode */
/** @typedef {import("../../../scripts/app.js").Widget} Widget */

const RENDERER = "Comfy.VueNodes.Enabled";
/** Beside those that the server names: where it is a row, it follows a seed that stays. */
const ALWAYS = "control_after_generate";
const PADDING = 20; // pixels from a node to the edge of its group
/** Inputs that somebody sets who decides without a preset. */
const BY_HAND = ["steps", "cfg", "candidates", "max_denoise", "min_denoise"];

/** @type {Set<(byHost: boolean) => void>} */
const folding = new Set();

/** Follow a change of the renderer; Nodes 2.0 folds by itself. */
export function followRenderer() {
  const { settings } = /** @type {any} */ (app).ui;
  settings.addEventListener(`${RENDERER}.change`, (/** @type {CustomEvent} */ { detail }) => {
    for (const fold of folding) fold(Boolean(detail.value));
  });
}

/**
 * Fold the rows of a node that has just been made.
 * @param {ComfyNode} node
 */
export function keepShort(node) {
  const rare = foldedBy(node);
  if (!rare.length) return;
  const own = { serialize: false, canvasOnly: true, hideInPanel: true };
  const button = node.addWidget("button", "options", "", () => change(turn), own);
  button.serialize = false;
  const names = [...rare, ALWAYS];
  const fold = (byHost = LiteGraph.vueNodesMode) => {
    const open = Boolean(node.showAdvanced);
    const shown = widgetOf(node, "preset")?.value === CUSTOM ? BY_HAND : [];
    button.label = open ? say("Fewer options") : say("More options");
    for (const widget of node.widgets ?? []) {
      if (!names.includes(widget.name)) continue;
      const stays = open || shown.includes(widget.name) || isLinked(node, widget.name);
      hide(widget, !stays, byHost);
    }
  };
  const resize = (/** @type {() => void} */ act) => {
    const before = node.computeSize()[1];
    act();
    fold();
    if (LiteGraph.vueNodesMode) return;
    const more = node.computeSize()[1] - before;
    resizeGroups(node, more);
    node.setSize([node.size[0], node.size[1] + more]);
  };
  const turn = () => resize(() => (node.showAdvanced = !node.showAdvanced));
  followPreset(node, () => resize(() => {}));
  folding.add(fold);
  chain(node, "onRemoved", () => folding.delete(fold));
  for (const event of ["onConfigure", "onConnectionsChange"]) chain(node, event, () => fold());
  fold();
}

/**
 * Let the groups around a node grow and shrink with it, but never so far that another node in one of
 * them stands outside.
 * @param {ComfyNode} node which still has the height that it had
 * @param {number} more pixels
 */
function resizeGroups(node, more) {
  const { _groups: groups = [], _nodes: nodes = [] } = /** @type {any} */ (node).graph ?? {};
  for (const group of groups) {
    const [[left, top], [width, height]] = [group.pos, group.size];
    const isInside = (/** @type {ComfyNode} */ { pos, size }) =>
      pos[0] >= left && pos[1] >= top && pos[0] + size[0] <= left + width && pos[1] + size[1] <= top + height;
    if (!isInside(node)) continue;
    const others = nodes.filter((/** @type {ComfyNode} */ other) => other !== node && isInside(other));
    const needed = others.map((/** @type {ComfyNode} */ { pos, size }) => pos[1] + size[1] - top + PADDING);
    group.size = [width, Math.max(height + more, ...needed)];
  }
}

/**
 * Somebody who decides without a preset needs the inputs for that, which Nodes 2.0 shows all or none.
 * @param {ComfyNode} node
 * @param {() => void} act
 */
function followPreset(node, act) {
  const preset = widgetOf(node, "preset");
  if (!preset) return;
  chain(preset, "callback", () => {
    if (LiteGraph.vueNodesMode && preset.value === CUSTOM) node.showAdvanced = true;
    act();
  });
}

/** @param {ComfyNode} node @returns {string[]} */
function foldedBy(node) {
  const { required, optional } = /** @type {any} */ (node.constructor).nodeData?.input ?? {};
  const inputs = Object.entries({ ...required, ...optional });
  return inputs.filter(([, told]) => told[1]?.advanced).map(([name]) => name);
}

/**
 * @param {Widget} widget
 * @param {boolean} isFolded
 * @param {boolean} byHost
 */
function hide(widget, isFolded, byHost) {
  widget.hidden = isFolded && !byHost;
  // whoever does not draw it, be it Nodes 2.0 or a front end up to 1.27, leaves room for it when it
  // computes a node's height; there is a gap of 4 pixels
  widget.computeSize = isFolded ? () => [0, -4] : undefined;
}
