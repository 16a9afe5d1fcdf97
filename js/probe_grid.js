/**
 * The frames of Denoise Probe, each below its denoise: press one to take it. Plain DOM. `element`
 * sends `di-denoise` with `detail.denoise`; what that leads to is up to the listener.
 */

import { addPreviewStyle } from "./preview_style.js";
import { addStyle, make } from "./slider/elements.js";
import { say } from "./slider/texts.js";

/** @typedef {{ url: string, denoise: number }} ProbeFrame */

export class ProbeGrid {
  #tiles = make("div", "di-tiles", { role: "group", "aria-label": say("Frames by denoise") });
  #text = make("span", "di-status-text", { role: "status" }, say("No frames yet"));
  #status = make("div", "di-status", {}, this.#text);
  element = make("div", "di-preview di-probe", { "data-capture-wheel": "true" }, this.#tiles, this.#status);

  constructor() {
    addPreviewStyle();
    addStyle("di-probe-style", STYLE);
  }

  /** @param {ProbeFrame[]} frames */
  show(frames) {
    this.#tiles.style.setProperty("--di-columns", String(Math.ceil(Math.sqrt(frames.length))));
    this.#tiles.replaceChildren(...frames.map((frame) => this.#tile(frame)));
    this.say(say("Click on a frame, and Frame Bisector takes its denoise."));
  }

  /**
   * Show which denoise is in use; null where none of them is.
   * @param {number | null} denoise
   */
  mark(denoise) {
    for (const tile of this.#tiles.querySelectorAll("button")) {
      tile.setAttribute("aria-pressed", String(Number(tile.dataset.denoise) === denoise));
    }
  }

  /** @param {string} text */
  say(text) {
    this.#text.textContent = text;
  }

  /** @param {ProbeFrame} frame */
  #tile({ url, denoise }) {
    const name = `denoise ${denoise}`;
    const picture = make("img", "", { src: url, alt: "", draggable: "false" });
    const attributes = { type: "button", "data-denoise": String(denoise), "aria-label": name };
    const tile = make("button", "di-tile", attributes, picture, make("span", "", {}, name));
    tile.addEventListener("click", () => {
      this.element.dispatchEvent(new CustomEvent("di-denoise", { detail: { denoise } }));
    });
    return tile;
  }
}

const STYLE = `
.di-tiles {
  flex: 1 1 0; display: grid; grid-template-columns: repeat(var(--di-columns, 3), 1fr);
  grid-auto-rows: 1fr; gap: 4px; min-height: 0;
}
.di-tile {
  display: flex; flex-direction: column; min-width: 0; min-height: 0; padding: 2px;
  border: 2px solid transparent; border-radius: 6px; background: none; color: var(--di-soft);
  font: 12px/1.3 system-ui, sans-serif; font-variant-numeric: tabular-nums; cursor: pointer;
}
.di-tile img { flex: 1 1 0; width: 100%; min-height: 0; object-fit: contain; }
.di-tile:hover { background: var(--di-hover); color: var(--di-ink); }
.di-tile[aria-pressed="true"] { border-color: var(--di-accent); color: var(--di-ink); }
`;
