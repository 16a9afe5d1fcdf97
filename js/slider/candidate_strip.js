/**
 * The candidates of a frame as thumbnails with their scores: press one, and the next run takes it.
 *
 * Plain DOM. `element` sends `di-pick` with `detail.candidate` and its `detail.picture`, `di-roll`
 * for new noise and `di-reset` to leave the frame to the reranker; what they lead to is up to the
 * listener. A candidate under the mouse, or with the focus of the keyboard, is sent as `di-peek`
 * with `detail.picture`, which is null when there is none any more.
 */

import { addStyle, icon, make } from "./elements.js";
import { say } from "./texts.js";

/** @typedef {import("../frame_info.js").FrameInfo} FrameInfo */
/** @typedef {import("../picks.js").Choice} Choice */

const DICE =
  "M17.7 6.3A8 8 0 1 0 19.7 14h-2.1a6 6 0 1 1-1.4-6.2L13 11h7V4z";

export class CandidateStrip {
  /** @type {FrameInfo | null} */
  #made = null;
  /** @type {HTMLImageElement | null} all candidates side by side, once they are loaded */
  #sheet = null;
  #title = make("span", "di-strip-title");
  #roll = button(
    say("New noise"),
    say("Draw this frame's candidates from new noise in the next run"),
  );
  #reset = button(say("Reset"), say("Leave this frame to the reranker again"));
  #row = make("div", "di-candidates", { role: "group", "aria-label": say("Candidates") });
  #picks;
  element;

  /**
   * @param {object} [options]
   * @param {boolean} [options.picks] whether there is a next run, for which a candidate is picked
   */
  constructor({ picks = true } = {}) {
    addStyle("di-strip-style", STRIP_STYLE);
    this.#picks = picks;
    const head = make("div", "di-strip-head", {}, this.#title);
    if (picks) head.append(this.#roll, this.#reset);
    this.element = make("div", "di-strip", {}, head, this.#row);
    this.#roll.prepend(icon(DICE).svg);
    this.#roll.addEventListener("click", () => this.#tell("di-roll"));
    this.#reset.addEventListener("click", () => this.#tell("di-reset"));
  }

  /** The frame whose candidates are shown, or were last. */
  get made() {
    return this.#made;
  }

  /**
   * Show the candidates of a frame.
   * @param {FrameInfo} made
   * @param {string | null} url of the picture that shows them side by side
   * @param {Choice | null} choice what the next run is told of this frame
   */
  show(made, url, choice) {
    if (made !== this.#made) this.#build(made, url);
    this.element.classList.remove("di-empty");
    this.#mark(made, choice);
  }

  /**
   * Show that there is nothing to choose from, in as much room as before.
   * @param {string} title what is there instead
   */
  clear(title) {
    this.#title.textContent = title;
    this.element.classList.add("di-empty");
  }

  /**
   * @param {FrameInfo} made
   * @param {string | null} url
   */
  #build(made, url) {
    this.#made = made;
    this.#sheet = null;
    this.#tell("di-peek", { picture: null });
    const several = url !== null && made.count > 1;
    const scores = several ? made.scores : [];
    this.#row.replaceChildren(...scores.map((score, place) => this.#thumbnail(made, place, score)));
    this.#row.hidden = !several;
    if (several) this.#paint(url, scores.length);
  }

  /**
   * @param {FrameInfo} made
   * @param {number} place
   * @param {number} score
   */
  #thumbnail(made, place, score) {
    const candidate = made.first + place;
    const share = place / Math.max(1, made.scores.length - 1);
    const picture = make("span", "di-thumbnail");
    picture.style.setProperty("--di-place", `${100 * share}%`);
    const text = signed(score);
    const thumbnail = button("", say("Candidate {number}, score {score}", { number: candidate, score: text }));
    thumbnail.dataset.name = thumbnail.title;
    thumbnail.className = "di-candidate";
    thumbnail.dataset.candidate = String(candidate);
    const mark = make("span", "di-mark", { "aria-hidden": "true" });
    picture.append(mark);
    thumbnail.append(picture, make("span", "di-score", { "aria-hidden": "true" }, text));
    const cell = () => this.#cell(place, made.scores.length);
    thumbnail.addEventListener("click", () => this.#tell("di-pick", { candidate, picture: cell() }));
    const peek = () => this.#tell("di-peek", { picture: cell() });
    const leave = () => this.#tell("di-peek", { picture: null });
    // a page that changes under a mouse at rest sends events, too
    thumbnail.addEventListener("pointermove", ({ movementX, movementY }) => {
      if (movementX || movementY) peek();
    });
    thumbnail.addEventListener("focus", () => thumbnail.matches(":focus-visible") && peek());
    for (const type of ["pointerleave", "blur"]) thumbnail.addEventListener(type, leave);
    return thumbnail;
  }

  /**
   * One candidate of those that are side by side; null until they are loaded.
   * @param {number} place
   * @param {number} count
   */
  #cell(place, count) {
    const sheet = this.#sheet;
    if (!sheet) return null;
    const [width, height] = [sheet.naturalWidth / count, sheet.naturalHeight];
    const canvas = make("canvas", "", { width: String(width), height: String(height) });
    canvas.getContext("2d")?.drawImage(sheet, -place * width, 0);
    return canvas;
  }

  /**
   * The picture is known only when it is there, and with it the shape of its cells.
   * @param {string} url
   * @param {number} count
   */
  #paint(url, count) {
    const image = new Image();
    const row = this.#row;
    image.addEventListener("load", () => {
      if (row.dataset.url !== url) return; // another frame's by now
      this.#sheet = image;
      row.style.setProperty("--di-cell", String(image.naturalWidth / count / image.naturalHeight));
      row.style.setProperty("--di-sheet", `url(${JSON.stringify(url)})`);
    });
    row.dataset.url = url;
    row.style.setProperty("--di-count", String(count));
    row.style.removeProperty("--di-sheet");
    image.src = url;
  }

  /**
   * @param {FrameInfo} made
   * @param {Choice | null} choice
   */
  #mark(made, choice) {
    const rolled = choice !== null && choice.candidate === null;
    const again = rolled && choice.roll !== made.roll;
    const legend = this.#picks || made.count < 2 ? "" : ` · ${say("✓ best score")}`;
    this.#title.textContent = titleOf(made) + legend;
    this.#roll.setAttribute("aria-pressed", String(again));
    this.#reset.classList.toggle("di-idle", choice === null);
    for (const thumbnail of this.#row.querySelectorAll("button")) {
      const candidate = Number(thumbnail.dataset.candidate);
      const isPicked = candidate === choice?.candidate;
      thumbnail.classList.toggle("di-shown", candidate === made.candidate);
      thumbnail.setAttribute("aria-current", String(candidate === made.candidate));
      if (!this.#picks) continue;
      thumbnail.setAttribute("aria-pressed", String(isPicked));
      label(thumbnail, isPicked ? YOURS : candidate === made.best ? BEST : null);
    }
  }

  /**
   * @param {string} event
   * @param {object} [detail]
   */
  #tell(event, detail) {
    this.element.dispatchEvent(new CustomEvent(event, { detail }));
  }
}

/**
 * Which frame of the path it is.
 * @param {FrameInfo} frame
 */
export function titleOf({ index, depth, candidate }) {
  const number = index + 1;
  if (candidate === null) return say("Frame {number} · keyframe", { number });
  return say("Frame {number} · depth {depth}", { number, depth });
}

/** What is written on a candidate. */
const BEST = "best score";
const YOURS = "your pick";

/**
 * @param {HTMLButtonElement} thumbnail
 * @param {string | null} said
 */
function label(thumbnail, said) {
  const mark = /** @type {HTMLElement} */ (thumbnail.querySelector(".di-mark"));
  mark.textContent = said ? say(said) : "";
  const name = [thumbnail.dataset.name, ...(said ? [say(said)] : [])].join(", ");
  thumbnail.title = name;
  thumbnail.setAttribute("aria-label", name);
}

/**
 * @param {string} text
 * @param {string} title
 */
function button(text, title) {
  const attributes = { type: "button", title, ...(text ? {} : { "aria-label": title }) };
  return make("button", "di-pill", attributes, text);
}

/**
 * Four digits, and a sign, as in the node's text.
 * @param {number} score
 */
function signed(score) {
  return (score < 0 ? "" : "+") + score.toFixed(4);
}

const STRIP_STYLE = `
.di-strip { font: 12px/1.4 system-ui, sans-serif; color: var(--di-ink); }
.di-strip[hidden], .di-strip [hidden] { display: none; }
.di-strip-head { display: flex; align-items: center; gap: 4px; min-height: 26px; }
.di-strip-title {
  flex: 1; overflow: hidden; color: var(--di-soft); text-overflow: ellipsis; white-space: nowrap;
}
/* in as much room as when they are there */
.di-empty button, .di-strip .di-idle { visibility: hidden; }
.di-strip-head svg { width: 12px; height: 12px; margin-right: 4px; fill: currentColor;
  vertical-align: -1px; }
.di-candidates { display: flex; gap: 4px; margin-top: 4px; padding: 2px; overflow: auto; }
.di-candidate {
  --di-side: var(--di-thumbnail, clamp(52px, 15cqh, 220px));
  flex: 0 0 auto; display: grid; gap: 1px; padding: 2px; border: 2px solid transparent;
  border-radius: 6px; background: none; color: var(--di-soft); font: inherit; font-size: 10px;
  font-variant-numeric: tabular-nums; cursor: pointer;
}
.di-candidate:hover { background: var(--di-hover); }
.di-candidate.di-shown { border-color: var(--di-soft); color: var(--di-ink); }
.di-candidate[aria-pressed="true"] { border-color: var(--di-accent); color: var(--di-ink); }
.di-candidate:focus-visible { outline: 2px solid var(--di-ink); outline-offset: -2px; }
.di-thumbnail {
  position: relative; display: block; width: calc(var(--di-side) * min(1, var(--di-cell, 1)));
  aspect-ratio: var(--di-cell, 1); border-radius: 3px;
  background: var(--di-sheet, var(--di-hover)) no-repeat var(--di-place) 0
    / calc(100% * var(--di-count)) 100%;
}
.di-score { text-align: center; }
.di-shown .di-score::before { content: "✓ "; }
.di-mark {
  position: absolute; left: 2px; bottom: 2px; padding: 0 3px; border-radius: 3px;
  background: #17151dcc; color: #fff; line-height: 14px; letter-spacing: -0.2px;
}
.di-mark:empty { display: none; }
@container di-preview (min-width: 440px) and (min-aspect-ratio: 4/5) {
  .di-strip { display: flex; flex-direction: column; min-width: 144px; }
  /* the buttons are side by side, and the title makes the strip no wider than they do */
  .di-strip-head { display: grid; grid-template-columns: auto 1fr; justify-items: start; }
  .di-strip-title { grid-column: 1 / -1; width: 0; min-width: 100%; white-space: normal; }
  .di-candidates { flex-direction: column; align-items: center; }
  .di-candidate {
    --di-room: calc((100cqh - 66px) / var(--di-count, 4) - 28px);
    --di-side: clamp(40px, min(20cqw, var(--di-room)), 260px);
  }
}
`;
