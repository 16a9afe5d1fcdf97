/**
 * What a node shows of its frames: the slider, the candidates of the shown frame, and a line that
 * says what goes on. Plain DOM; all it needs of ComfyUI comes from its `Host`.
 */

import { FrameSaver } from "./frame_saver.js";
import { CandidateStrip, titleOf } from "./slider/candidate_strip.js";
import { make } from "./slider/elements.js";
import { FrameSlider, prefersLessMotion } from "./slider/frame_slider.js";
import { choiceAt, withChoice } from "./picks.js";
import { addPreviewStyle } from "./preview_style.js";
import { addFrame, isMade, statusOf } from "./preview_run.js";
import { SaveMenu } from "./save_menu.js";
import { StripFollower } from "./slider/strip_follower.js";
import { say } from "./slider/texts.js";

/** @typedef {import("./preview_run.js").Run} Run */
/** @typedef {import("./preview_run.js").LiveFrame} LiveFrame */
/** @typedef {import("./picks.js").Choice} Choice */
/** @typedef {import("./frame_saver.js").Download} Download */

/**
 * @typedef {object} Host
 * @property {(folder: string, file: string) => string} urlOf a picture of a run
 * @property {() => void} shown hears that another run is shown, or none
 * @property {(asked: Download) => Promise<Response>} save asks for frames as one file
 * @property {() => string} picks the text of the node's input; empty where it has none
 * @property {() => import("./preview_run.js").Inputs} inputs what the node has now
 * @property {(text: string, seed: number | null) => void} setPicks for the run of that seed
 * @property {() => number | null} speed that was chosen, in frames per second; null where none was
 * @property {(fps: number) => void} setSpeed
 * @property {() => void} runAgain
 */

const GONE =
  "These frames are gone: ComfyUI keeps those of a node's last runs until it is restarted.";

const NOTHING = { text: "", offerRun: false };

export class FramePreview {
  /** @type {Run | null} */
  #run = null;
  /** @type {Host} */
  #host;
  #slider = new FrameSlider({ fill: true });
  #strip = new CandidateStrip();
  #text = make("span", "di-status-text", { role: "status" });
  #again = make("button", "di-pill", { type: "button" }, say("Run"));
  #status = make("div", "di-status", {}, this.#text, this.#again);
  #menu;
  #follower = new StripFollower(this.#slider, this.#strip, (index, playing) => {
    this.#showStrip(index, playing);
  });
  /** Whether the slider goes to each frame as it is finished, and where it was before. */
  #following = false;
  #before = 0;
  #saver;
  element = make("div", "di-preview", { "data-capture-wheel": "true" });

  /** @param {Host} host */
  constructor(host) {
    addPreviewStyle();
    this.#host = host;
    this.#saver = new FrameSaver({
      save: (asked) => host.save(asked),
      tell: (text) => this.#say(text),
      done: () => this.refresh(),
    });
    this.#menu = new SaveMenu([
      { text: say("This frame (PNG)"), act: () => this.#saveFrame() },
      { text: say("All frames (ZIP)"), act: () => this.#saveAll("zip") },
      { text: say("Animation (WebP)"), act: () => this.#saveAll("webp") },
      { text: say("Film (MP4)"), act: () => this.#saveAll("mp4") },
    ]);
    this.#slider.addTool(this.#menu.button);
    this.#slider.addBeside(this.#strip.element);
    this.element.append(this.#slider.element, this.#status);
    this.#listen();
    this.refresh();
  }

  /** The run that is shown. */
  get run() {
    return this.#run;
  }

  /** The frame that is shown, from 0. */
  get index() {
    return this.#slider.index;
  }

  /** The address of the picture of the frame that is shown; null where it has none yet. */
  get pictureUrl() {
    const run = this.#run;
    const file = run?.frames[this.#slider.index]?.file;
    return run && file ? this.#host.urlOf(run.pictures, file) : null;
  }

  /** @param {number} index of the frame to show */
  goTo(index) {
    this.#slider.show(index);
  }

  /** Play, unless the reader prefers less motion. */
  play() {
    if (!prefersLessMotion()) this.#slider.play();
  }

  /**
   * Show the frames of a run; null shows that there are none yet. The slider goes to each frame of a
   * running one as it is finished.
   * @param {Run | null} run
   */
  show(run) {
    const other = run?.folder !== this.#run?.folder;
    this.#run = run;
    this.#host.shown();
    const running = run?.state === "running";
    this.#slider.peek(null);
    this.#setFrames();
    if (running && other) this.#follow();
    if (!running) this.#unfollow();
    this.refresh();
  }

  /** The files of the run that was to be shown are no longer there. */
  gone() {
    this.show(null);
    this.complain(say(GONE));
  }

  /**
   * Say why there are no new frames.
   * @param {string} text
   */
  complain(text) {
    this.#say(text, true);
  }

  /**
   * A frame of the run that is shown is finished.
   * @param {LiveFrame} live
   */
  add(live) {
    const { frame } = live;
    if (!this.#run || !frame) return;
    addFrame(this.#run, live);
    if (frame.file !== null) {
      this.#slider.setFrame(frame.index, this.#host.urlOf(this.#run.pictures, frame.file));
      if (this.#following) this.#slider.show(frame.index);
    }
    this.refresh();
  }

  /** Show the speed, the picks, and what these lead to, as they are now. */
  refresh() {
    const run = this.#run;
    this.#slider.chosenSpeed = this.#host.speed();
    this.#updateStrip();
    // in the middle of a run, too: what is there is saved
    this.#menu.button.disabled = !run?.frames.some(({ file }) => file !== null);
    const { text, offerRun } = run ? statusOf(run, this.#host.picks(), this.#host.inputs()) : NOTHING;
    this.#say(text, offerRun);
  }

  destroy() {
    this.#follower.close();
    this.#slider.destroy();
    this.#menu.destroy();
    this.element.remove();
  }

  // Showing

  #setFrames() {
    const run = this.#run;
    const frames = run?.frames ?? [];
    const urls = frames.map(({ file }) => run && file && this.#host.urlOf(run.pictures, file));
    this.#slider.setFrames(frames, urls, run?.loop);
  }

  #follow() {
    this.#before = this.#slider.index;
    this.#following = true;
    this.#slider.pause();
  }

  /** Back to the frame that was shown when the run began, unless somebody has gone elsewhere. */
  #unfollow() {
    if (this.#following) this.#slider.show(this.#before);
    this.#following = false;
  }

  #updateStrip() {
    const run = this.#run;
    this.#strip.element.hidden = !run?.frames.some(isMade);
    if (run) this.#follower.update();
  }

  /**
   * @param {number} index of the frame whose candidates are to be shown
   * @param {boolean} playing whether the next frame is about to be shown
   */
  #showStrip(index, playing) {
    const run = this.#run;
    if (!run) return;
    const frame = run.frames[index];
    const title = frame?.file ? titleOf(frame) : say("Frame {number}", { number: index + 1 });
    if (!frame || playing || !isMade(frame)) return this.#strip.clear(title);
    const url = frame.strip && this.#host.urlOf(run.pictures, frame.strip);
    this.#strip.show(frame, url, choiceAt(this.#host.picks(), frame.position));
  }

  /**
   * @param {string} text
   * @param {boolean} [offerRun]
   */
  #say(text, offerRun = false) {
    this.#text.textContent = text;
    this.#again.hidden = !offerRun;
  }

  // Using

  #listen() {
    const slider = this.#slider.element;
    slider.addEventListener("di-failed", () => this.complain(say(GONE)));
    slider.addEventListener("di-speed", () => this.#host.setSpeed(this.#slider.playback.fps));
    for (const type of ["pointerdown", "keydown", "wheel"]) {
      slider.addEventListener(type, () => (this.#following = false), { capture: true });
    }
    slider.addEventListener("dblclick", ({ target }) => {
      if (target instanceof Element && target.closest(".di-now")) this.#open();
    });
    const strip = this.#strip.element;
    strip.addEventListener("di-pick", (event) => {
      this.#pick(/** @type {CustomEvent} */ (event).detail.candidate);
    });
    strip.addEventListener("di-roll", () => this.#roll());
    strip.addEventListener("di-reset", () => this.#choose(null));
    this.#again.addEventListener("click", () => this.#host.runAgain());
  }

  /** Open the picture of the shown frame in a tab of its own. */
  #open() {
    const url = this.pictureUrl;
    if (url) window.open(url, "_blank");
  }

  /**
   * Pick a candidate of the shown frame; a second time takes it back.
   * @param {number} candidate
   */
  #pick(candidate) {
    const { made, choice } = this.#shown();
    if (choice?.candidate !== candidate) return this.#choose({ candidate, roll: 0 });
    const { roll } = made;
    this.#choose(roll ? { candidate: null, roll } : null);
  }

  /** The next roll after the one that is shown; a second time takes it back. */
  #roll() {
    const { made, choice } = this.#shown();
    const shown = made.roll;
    const rolled = choice?.candidate === null && choice.roll === shown + 1;
    const roll = rolled ? shown : shown + 1;
    this.#choose(roll ? { candidate: null, roll } : null);
  }

  /** The frame of the strip: until the slider rests, it may be at another. */
  #shown() {
    const run = /** @type {Run} */ (this.#run);
    const made = /** @type {import("./preview_run.js").RunFrame} */ (this.#strip.made);
    return { run, made, choice: choiceAt(this.#host.picks(), made.position) };
  }

  /** @param {Choice | null} choice */
  #choose(choice) {
    const { run, made } = this.#shown();
    const text = withChoice(this.#host.picks(), made.position, choice);
    this.#host.setPicks(text, run.seed);
    this.#slider.pause();
    this.#slider.show(made.index);
    this.refresh();
  }

  // Saving

  #saveFrame() {
    const run = this.#run;
    const index = this.#slider.index;
    if (!run?.frames[index]?.file) {
      return this.#say(say("Frame {number} is yet to come", { number: index + 1 }));
    }
    const name = `${String(index + 1).padStart(4, "0")}.png`;
    this.#saver.save({ folder: run.folder, kind: "png", index }, name);
  }

  /** @param {"zip" | "webp" | "mp4"} kind */
  #saveAll(kind) {
    if (!this.#run) return;
    const { fps, mode } = this.#slider.playback;
    const asked = { folder: this.#run.folder, kind, fps, repeat: mode };
    this.#saver.save(asked, `interpolation.${kind}`);
  }
}
