/** Saves frames of a run as files, one request after the other. Plain DOM. */

import { make } from "./slider/elements.js";
import { say } from "./slider/texts.js";

/**
 * What is to be saved: a run's frames, the one number `index` or all.
 * @typedef {object} Download
 * @property {string} folder
 * @property {"png" | "zip" | "webp" | "mp4"} kind
 * @property {number} [index]
 * @property {number} [fps]
 * @property {string} [repeat]
 */

/**
 * @typedef {object} SaverHost
 * @property {(asked: Download) => Promise<Response>} save asks for frames as one file
 * @property {(text: string) => void} tell says what goes on
 * @property {() => void} done hears that a file was saved
 */

export class FrameSaver {
  /** @type {Promise<void>} what is being saved */
  #saving = Promise.resolve();
  /** @type {SaverHost} */
  #host;

  /** @param {SaverHost} host */
  constructor(host) {
    this.#host = host;
  }

  /**
   * Save after all that was asked for before.
   * @param {Download} asked
   * @param {string} name of the file
   */
  save(asked, name) {
    this.#saving = this.#saving.then(() => this.#download(asked, name));
  }

  /**
   * @param {Download} asked
   * @param {string} name
   */
  async #download(asked, name) {
    this.#host.tell(say("Preparing the file…"));
    try {
      const answer = await this.#host.save(asked);
      if (!answer.ok) throw new Error((await answer.json()).error);
      offer(await answer.blob(), name);
      this.#host.done();
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error);
      this.#host.tell(say("Could not save: {reason}", { reason }));
    }
  }
}

/**
 * Have the browser save a file.
 * @param {Blob} blob
 * @param {string} name
 */
function offer(blob, name) {
  const url = URL.createObjectURL(blob);
  make("a", "", { href: url, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(url), 60_000); // by then the browser has it
}
