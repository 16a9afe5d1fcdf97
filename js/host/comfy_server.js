/** What the extension asks and tells the server. */

import { api } from "../../../scripts/api.js";

import { readOutput } from "../preview_run.js";

const TELLING = 200; // ms after a change until the server hears which runs are shown
const MAX_RUNS = 256; // that the server takes

/**
 * Hear what the server tells all pages.
 * @param {string} type of the event
 * @param {(detail: any) => void} act
 */
export function listen(type, act) {
  api.addEventListener(/** @type {any} */ (type), (event) => {
    act(/** @type {CustomEvent} */ (/** @type {unknown} */ (event)).detail);
  });
}

/**
 * What the server answers; null where it does not.
 * @param {string} route
 * @returns {Promise<any>}
 */
export async function ask(route) {
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
export function post(route, content) {
  return api.fetchApi(`/diffusion_interpolation/${route}`, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(content),
  });
}

/**
 * The address of a picture among the server's temporary files.
 * @param {string} folder
 * @param {string} file
 */
export function urlOf(folder, file) {
  const query = new URLSearchParams({ filename: file, subfolder: folder, type: "temp" });
  return api.apiURL(`/view?${query}`);
}

/**
 * A run, as far as it has come; null where the server does not have it any more.
 * @param {string} folder
 */
export async function runOf(folder) {
  const query = new URLSearchParams({ folder });
  return readOutput(await ask(`/diffusion_interpolation/run?${query}`));
}

/**
 * The workflow of a prompt that runs or has just ended; empty where the server does not know.
 * @param {string} promptId
 * @returns {Promise<string>}
 */
export async function workflowOf(promptId) {
  /** @type {any[][]} */
  const running = (await ask("/queue"))?.queue_running ?? [];
  const prompt = running.find(([, id]) => id === promptId)
    ?? (await ask(`/history/${promptId}`))?.[promptId]?.prompt;
  return prompt?.[3]?.extra_pnginfo?.workflow?.id ?? "";
}

/**
 * What the nodes of a job put out, by their ids.
 * @param {string} promptId
 * @returns {Promise<Record<string, any>>}
 */
export async function outputsOf(promptId) {
  return (await ask(`/history/${promptId}`))?.[promptId]?.outputs ?? {};
}

/** Which runs are shown: the server keeps the files of those for as long as the page is open. */
export class ShownRuns {
  #folders;
  #untold = false;
  #telling = 0;

  /** @param {() => string[]} folders of the runs that are shown, with repeats */
  constructor(folders) {
    this.#folders = folders;
  }

  /** Tell the server soon, once for all changes of a moment. */
  changed() {
    this.#untold = true;
    clearTimeout(this.#telling);
    this.#telling = setTimeout(() => this.#tell(), TELLING);
  }

  /** Tell what the server has not heard yet. */
  retry() {
    if (this.#untold) this.changed();
  }

  /** A page that is not connected yet is not heard; it tries again when it is. */
  async #tell() {
    if (!api.clientId) return;
    const folders = [...new Set(this.#folders())].slice(-MAX_RUNS);
    this.#untold = false;
    try {
      const answer = await post("shown", { page: api.clientId, folders });
      this.#untold = !(await answer.json()).held;
    } catch {
      this.#untold = true;
    }
  }
}
