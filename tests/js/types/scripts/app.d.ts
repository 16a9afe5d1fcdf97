/**
 * `/scripts/app.js` of ComfyUI's front end, for what this pack uses of it: the published types,
 * less what the oldest supported front end (1.27) lacks, and with what they leave out.
 */

import type {
  ComfyApp as PublishedApp,
  ComfyExtension as PublishedExtension,
  DOMWidget,
  DOMWidgetOptions,
} from "@comfyorg/comfyui-frontend-types";

type PublishedNode = Parameters<NonNullable<PublishedExtension["nodeCreated"]>>[0];

/** Without an index signature, under which a misspelt name would be an unknown one. */
type Named<T> = { [Key in keyof T as string extends Key ? never : Key]: T[Key] };

/** What a node sends to its page: each key of Python's `ui`, always a list. */
export type NodeOutput = Record<string, unknown[] | undefined>;

/** A node. The published one (1.45) lacks what the front end adds to LiteGraph's. */
export type ComfyNode = PublishedNode & {
  addDOMWidget<Element extends HTMLElement, Value extends object | string = string>(
    name: string,
    type: string,
    element: Element,
    options?: DOMWidgetOptions<Value>,
  ): DOMWidget<Element, Value>;
};

export type Widget = NonNullable<ComfyNode["widgets"]>[number];

/** Makes the widget of an input whose type is its key in `getCustomWidgets`. */
export type WidgetMaker = (
  node: ComfyNode,
  inputName: string,
  inputData: [type: string, options?: Record<string, unknown>],
  app: ComfyApp,
) => { widget: Widget; minWidth?: number; minHeight?: number };

type OwnHooks = {
  nodeCreated?(node: ComfyNode, app: ComfyApp): void;
  loadedGraphNode?(node: ComfyNode, app: ComfyApp): void;
  getCustomWidgets?(app: ComfyApp): Record<string, WidgetMaker>;
  /** `outputs` by the node's id, which has its subgraph's before it: `<uuid>:7`. */
  onNodeOutputsUpdated?(outputs: Record<string, NodeOutput>): void;
};

export type ComfyExtension = Omit<Named<PublishedExtension>, keyof OwnHooks> & OwnHooks;

export type ComfyApp = Omit<PublishedApp, "registerExtension" | "rootGraph" | "isGraphReady"> & {
  registerExtension(extension: ComfyExtension): void;
  /** Not in 1.27, where `graph` is the root. */
  rootGraph?: PublishedApp["rootGraph"];
};

export const app: ComfyApp;

declare global {
  /** Whether Nodes 2.0 draws the nodes. */
  const LiteGraph: { vueNodesMode: boolean };
}
