/** Says which node on the screen failed, and why. */

import { findNode } from "../preview_run.js";
import { isOfShown, rootGraph } from "./comfy_page.js";
import { workflowOf } from "./comfy_server.js";

/** @typedef {import("../../../scripts/app.js").ComfyNode} ComfyNode */

/**
 * The node that an execution failed at, with the text of the error; null where no node on the screen
 * failed.
 * @param {{ prompt_id: string, node_id?: string, exception_message?: string }} end
 * @returns {Promise<{ node: ComfyNode, text: string } | null>}
 */
export async function failureOf({ prompt_id, node_id = "", exception_message }) {
  if (!exception_message || !isOfShown(await workflowOf(prompt_id))) return null;
  const node = findNode(rootGraph(), node_id);
  return node && { node, text: exception_message.trim() };
}
