/** Keeps the inputs of a node that its preset decides in step with the preset. */

import { chain, setWidget, widgetOf } from "./comfy_page.js";

/** @typedef {import("../../../scripts/app.js").ComfyNode} ComfyNode */

export const CUSTOM = "custom";

/** Nodes whose inputs are being set to what a preset has decided. @type {WeakSet<ComfyNode>} */
const deciding = new WeakSet();

/**
 * A person who changes an input that the preset decides wants values of their own from then on.
 * @param {ComfyNode} node
 */
export function leavePresetOnChange(node) {
  for (const name of decidedBy(node)) {
    const widget = widgetOf(node, name);
    if (widget) chain(widget, "callback", () => deciding.has(node) || setWidget(node, "preset", CUSTOM));
  }
}

/**
 * Show in the inputs what the preset of a run has decided, for as long as the node has that preset.
 * @param {ComfyNode} node
 * @param {Record<string, string | number>} settings by input
 */
export function showDecided(node, settings) {
  if (widgetOf(node, "preset")?.value === CUSTOM) return;
  deciding.add(node);
  for (const [name, value] of Object.entries(settings)) setWidget(node, name, value);
  deciding.delete(node);
}

/**
 * Show in the inputs what the node's own preset decides, if `presets` has it.
 * @param {ComfyNode} node
 * @param {Record<string, Record<string, string | number>>} presets values of the inputs by preset
 */
export function showPreset(node, presets) {
  showDecided(node, presets[String(widgetOf(node, "preset")?.value)] ?? {});
}

/**
 * Give a node a denoise of its own; whatever else its preset has decided stays.
 * @param {ComfyNode} node
 * @param {number} denoise
 * @param {Record<string, Record<string, string | number>>} presets values of the inputs by preset
 */
export function chooseDenoise(node, denoise, presets) {
  showPreset(node, presets);
  setWidget(node, "preset", CUSTOM);
  setWidget(node, "max_denoise", denoise);
  if (Number(widgetOf(node, "min_denoise")?.value) > denoise) setWidget(node, "min_denoise", denoise);
}

/** @param {ComfyNode} node @returns {string[]} */
function decidedBy(node) {
  const preset = /** @type {any} */ (node.constructor).nodeData?.input?.required?.preset;
  return preset?.[1]?.decides ?? [];
}
