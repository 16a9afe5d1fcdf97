/** How what nodes show of frames looks, in the colours of the front end. */

import { addStyle } from "./slider/elements.js";

export function addPreviewStyle() {
  addStyle("di-preview-style", STYLE);
}

const STYLE = `
.di-preview, .di-preview .di-slider {
  --di-ink: var(--input-text, #ddd); --di-soft: var(--descrip-text, #999);
  --di-line: var(--border-color, #4e4e4e); --di-surface: var(--comfy-input-bg, #222);
  --di-hover: var(--comfy-menu-bg, #353535); --di-accent: var(--p-primary-color, #5f9ff2);
  --di-on-accent: #fff; --di-thumb: 16px;
}
@media (forced-colors: active) {
  .di-preview, .di-preview .di-slider {
    forced-color-adjust: none; --di-ink: CanvasText; --di-soft: CanvasText; --di-line: GrayText;
    --di-surface: Canvas; --di-hover: Canvas; --di-accent: Highlight;
    --di-on-accent: HighlightText;
  }
  .di-preview { background: Canvas; } /* the canvas below has its own colours */
}
.di-preview {
  display: flex; flex-direction: column; gap: 4px; box-sizing: border-box; width: 100%;
  height: 100%; min-height: 0; overflow: hidden; padding: 2px; container: di-preview / size;
}
.di-view {
  flex: 1 1 0; display: flex; flex-direction: column; gap: 4px; min-height: 0; container-type: size;
}
.di-preview.di-muted { opacity: 0.5; }
.di-preview .di-slider { flex: 1 1 0; min-width: 0; min-height: 0; }
.di-preview .di-strip, .di-preview .di-status { flex: 0 0 auto; }
.di-preview button.di-pill {
  flex: 0 0 auto; appearance: none; height: 24px; padding: 0 7px; border: 1px solid var(--di-line);
  border-radius: 99px; background-color: var(--di-surface); color: var(--di-ink);
  font: 12px/22px system-ui, sans-serif; cursor: pointer;
}
.di-preview .di-pill:not(:disabled, [aria-pressed="true"]):hover { background-color: var(--di-hover); }
.di-preview .di-pill:disabled { opacity: 0.4; cursor: default; }
.di-preview .di-pill[aria-pressed="true"] {
  border-color: var(--di-accent); background-color: var(--di-accent); color: var(--di-on-accent);
}
.di-preview :focus-visible { outline: 2px solid var(--di-ink); outline-offset: -2px; }
.di-preview .di-candidate.di-pill { height: auto; }
@container di-preview (min-width: 440px) and (min-aspect-ratio: 4/5) {
  .di-view { flex-direction: row; }
}
.di-status {
  display: flex; align-items: center; gap: 8px; min-height: 24px; color: var(--di-ink);
  font: 11px/12px system-ui, sans-serif; /* two lines are as high as the button */
}
.di-status [hidden] { display: none; }
.di-status-text { flex: 1; min-width: 0; }
`;
