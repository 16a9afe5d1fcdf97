/** What the extension needs of ComfyUI's page: its graph, its nodes and their inputs. */

import { app } from "../../../scripts/app.js";

/** @typedef {import("../../../scripts/app.js").ComfyNode} ComfyNode */

/** Where the widgets of removed nodes stood, by the node's id. @type {Map<unknown, WeakRef<Element>>} */
const places = new Map();

/** The workflow itself, whatever subgraph is on the screen. */
export function rootGraph() {
  return /** @type {any} */ (app).rootGraph ?? app.graph;
}

/**
 * Whether a workflow is the one on the screen; another's nodes may have the same numbers. What
 * names no workflow may be of any.
 * @param {string | undefined} workflow
 */
export function isOfShown(workflow) {
  const shown = rootGraph()?.id;
  return !workflow || !shown || workflow === String(shown);
}

/** The id of the job whose workflow is on the screen, as the front end names its tab. */
export function jobOnScreen() {
  const { workflow } = /** @type {any} */ (app).extensionManager;
  return /^Job ([0-9a-f-]{36})$/.exec(workflow?.activeWorkflow?.filename ?? "")?.[1];
}

/** The language of the page, as `en`. */
export function locale() {
  return String(/** @type {any} */ (app).extensionManager.setting.get("Comfy.Locale") ?? "en");
}

/** The class of a node as the server names it. @param {any} node */
export function comfyClass(node) {
  return node.comfyClass ?? node.constructor.comfyClass ?? "";
}

/**
 * @param {ComfyNode} node
 * @param {string} name
 */
export function widgetOf(node, name) {
  return node.widgets?.find((widget) => widget.name === name);
}

/**
 * @param {ComfyNode} node
 * @param {string} name
 * @param {string | number} value
 */
export function setWidget(node, name, value) {
  const widget = widgetOf(node, name);
  if (!widget || widget.value === value) return;
  widget.value = value;
  widget.callback?.(value);
}

/**
 * Whether an input gets its value from another node.
 * @param {ComfyNode} node
 * @param {string} name
 */
export function isLinked(node, name) {
  return Boolean(node.inputs?.some((slot) => slot.name === name && slot.link != null));
}

/**
 * The values in a node, by input, but for those that come from other nodes.
 * @param {ComfyNode} node
 * @returns {Record<string, unknown>}
 */
export function valuesOf(node) {
  const own = node.widgets?.filter(({ name }) => !isLinked(node, name)) ?? [];
  return Object.fromEntries(own.map(({ name, value }) => [name, value]));
}

/**
 * The output that an input is connected to, past all reroutes; empty where there is none.
 * @param {ComfyNode} node
 * @param {string} name
 * @returns {string}
 */
export function originOf(node, name) {
  const link = node.getInputLink(node.findInputSlot(name));
  if (!link) return "";
  const origin = node.graph?.getNodeById(link.origin_id);
  if (origin?.type === "Reroute") return originOf(/** @type {any} */ (origin), origin.inputs[0].name);
  return `${link.origin_id}:${link.origin_slot}`;
}

/**
 * Change the workflow in a step of its own for undo, which is also what keeps a change through a
 * reload of the page.
 * @param {() => void} act
 */
export function change(act) {
  app.canvas.emitBeforeChange();
  act();
  app.canvas.emitAfterChange();
}

/**
 * Do something after what an object's method does already.
 * @param {any} object
 * @param {string} method
 * @param {(...given: any[]) => void} act
 */
export function chain(object, method, act) {
  const before = object[method];
  object[method] = function (/** @type {any[]} */ ...given) {
    const result = before?.apply(this, given);
    act(...given);
    return result;
  };
}

/**
 * Let undo and redo work in the bar of a slider, which the front end takes for an input with a
 * history of its own.
 * @param {HTMLElement} element
 */
export function undoFrom(element) {
  element.addEventListener("keydown", (event) => {
    const { target, key, ctrlKey, metaKey, shiftKey, altKey } = event;
    const inBar = target instanceof HTMLInputElement && target.type === "range";
    if (!inBar || altKey || !(ctrlKey || metaKey)) return;
    const name = { z: shiftKey ? "Redo" : "Undo", y: "Redo" }[key.toLowerCase()];
    if (!name) return;
    event.preventDefault();
    event.stopPropagation();
    /** @type {any} */ (app).extensionManager.command.execute(`Comfy.${name}`);
  });
}

/** Of a node that the next run leaves out: muted or bypassed. */
const LEFT_OUT = [2, 4];

/**
 * Dim the element of a node that is muted, as the canvas does what it draws itself. Nodes 2.0 sees
 * to that for the whole node.
 * @param {ComfyNode} node
 * @param {HTMLElement} element
 */
export function dimWhenMuted(node, element) {
  chain(node, "onDrawForeground", () => {
    const muted = !LiteGraph.vueNodesMode && LEFT_OUT.includes(node.mode);
    element.classList.toggle("di-muted", muted);
  });
}

/**
 * Remember where the element of a node stands, for the node that takes its place.
 * @param {ComfyNode} node
 * @param {HTMLElement} element
 */
export function leavePlace(node, element) {
  const place = element.parentElement;
  if (place?.isConnected) places.set(node.id, new WeakRef(place));
}

/**
 * Put an element where that of the node's forerunner stood. Undo, as the making of a subgraph, makes
 * nodes again, yet Nodes 2.0 keeps what it has drawn for one with the same id, and does not look for
 * its new elements.
 * @param {ComfyNode} node
 * @param {HTMLElement} element
 */
export async function takePlace(node, element) {
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
export function leaveToCanvas(element) {
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
