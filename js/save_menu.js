/** A button that opens a menu of things to save. Plain DOM. */

import { addStyle, make } from "./slider/elements.js";
import { say } from "./slider/texts.js";

/** @typedef {{ text: string, act: () => void }} Item */

const GAP = 4; // pixels between the button and its menu

export class SaveMenu {
  #menu = make("div", "di-menu", { role: "menu", popover: "auto", "aria-label": say("Save") });
  button = make(
    "button",
    "di-pill",
    { type: "button", "aria-haspopup": "menu", "aria-expanded": "false", title: say("Save frames") },
    say("Save"),
  );

  /** @param {Item[]} items */
  constructor(items) {
    addStyle("di-menu-style", STYLE);
    this.#menu.append(...items.map((item) => this.#entry(item)));
    // in the body, away from what a host does to the elements of a node
    document.body.append(this.#menu);
    this.button.addEventListener("click", () => this.#menu.togglePopover());
    this.#menu.addEventListener("toggle", (event) => {
      const open = /** @type {ToggleEvent} */ (event).newState === "open";
      this.button.setAttribute("aria-expanded", String(open));
      if (open) this.#open();
    });
    this.#menu.addEventListener("keydown", (event) => this.#onKey(event));
  }

  destroy() {
    this.#menu.remove();
  }

  /** @param {Item} item */
  #entry({ text, act }) {
    const entry = make("button", "", { type: "button", role: "menuitem" }, text);
    entry.addEventListener("click", () => {
      this.#close();
      act();
    });
    return entry;
  }

  /** Under the button, or above it where there is no room; the first entry takes the focus. */
  #open() {
    const at = this.button.getBoundingClientRect();
    const { width, height } = this.#menu.getBoundingClientRect();
    const below = at.bottom + GAP;
    const top = below + height > innerHeight ? at.top - GAP - height : below;
    const left = Math.min(at.left, innerWidth - width);
    Object.assign(this.#menu.style, { left: `${Math.max(0, left)}px`, top: `${Math.max(0, top)}px` });
    this.#entries[0]?.focus();
  }

  #close() {
    this.#menu.hidePopover();
    this.button.focus();
  }

  get #entries() {
    return [...this.#menu.querySelectorAll("button")];
  }

  /** @param {KeyboardEvent} event */
  #onKey(event) {
    const entries = this.#entries;
    const at = entries.findIndex((entry) => entry === document.activeElement);
    /** @type {Record<string, number>} */
    const targets = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: -1 };
    if (event.key in targets) entries.at(targets[event.key] % entries.length)?.focus();
    else if (event.key === "Escape") this.#close();
    else return;
    event.preventDefault();
    event.stopPropagation();
  }
}

const STYLE = `
.di-menu {
  position: fixed; margin: 0; padding: 4px; border: 1px solid var(--border-color, #4e4e4e);
  border-radius: 8px; background: var(--comfy-menu-bg, #353535); color: var(--input-text, #ddd);
  font: 13px/1.4 system-ui, sans-serif; box-shadow: 0 4px 16px #0006;
}
.di-menu button {
  display: block; width: 100%; padding: 5px 12px; border: 0; border-radius: 5px; background: none;
  color: inherit; font: inherit; text-align: left; cursor: pointer;
}
.di-menu button:hover, .di-menu button:focus {
  outline: none; background: var(--comfy-input-bg, #222);
}
`;
