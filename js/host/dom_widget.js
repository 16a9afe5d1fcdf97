/** Puts an element on a node, in both renderers, and through all that makes nodes again. */

import { chain, dimWhenMuted, leavePlace, leaveToCanvas, takePlace, undoFrom } from "./comfy_page.js";

/** @typedef {import("../../../scripts/app.js").ComfyNode} ComfyNode */

const MARGIN = 10; // pixels that the canvas renderer leaves around a widget

/**
 * @param {ComfyNode} node
 * @param {string} name of the widget
 * @param {HTMLElement} element
 * @param {number} height the least, in pixels
 */
export function addElement(node, name, element, height) {
  leaveToCanvas(element);
  dimWhenMuted(node, element);
  undoFrom(element);
  const widget = node.addDOMWidget(name, `interpolation_${name}`, element, {
    serialize: false,
    hideOnZoom: false,
    getMinHeight: () => height,
  });
  widget.serialize = false;
  // the properties panel would take it for an input, and make the node as narrow as itself
  Object.assign(widget.options, { hideInPanel: true });
  // Nodes 2.0 does not ask for a height, it takes that of the content
  element.style.minHeight = `${height - 2 * MARGIN}px`;
  chain(node, "onConfigure", () => takePlace(node, element));
  chain(node, "onRemoved", () => leavePlace(node, element));
}

/**
 * Make a new node at least this large. Nodes 2.0 makes it as high as its rows need by itself.
 * @param {ComfyNode} node
 * @param {number} width
 * @param {number} height
 */
export function widen(node, width, height) {
  const least = LiteGraph.vueNodesMode ? 0 : node.computeSize()[1];
  node.setSize([Math.max(node.size[0], width), Math.max(least, height)]);
}

/**
 * Keep the front end from drawing the output pictures of a node that shows them itself.
 * @param {ComfyNode} node
 */
export function hideOutputPictures(node) {
  // the one is for Nodes 2.0, the other for the canvas renderer
  Object.assign(node, { hideOutputImages: true, onDrawBackground: () => {} });
}

/**
 * Let the menu of a node open, copy and save a picture, as the front end has it for pictures.
 * @param {ComfyNode} node
 * @param {() => string | null} shown the address of the picture
 */
export function offerPicture(node, shown) {
  /** @type {HTMLImageElement | null} */
  let image = null;
  const read = () => {
    const url = shown();
    if (url === null) return null;
    const { href } = new URL(url, document.baseURI);
    if (image?.src !== href) image = Object.assign(new Image(), { src: href });
    return [image];
  };
  // whatever else the front end would put there
  Object.defineProperty(node, "imgs", { get: read, set: () => {}, configurable: true });
  Object.defineProperty(node, "imageIndex", { get: () => 0, set: () => {}, configurable: true });
}
