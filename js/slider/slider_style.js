/** How the slider looks. */

// A background image cannot use custom properties; this grey suits light and dark.
const CHEVRON = `url("data:image/svg+xml,\
%3Csvg xmlns='http://www.w3.org/2000/svg' width='12' height='12' fill='none' \
stroke='%23858291' stroke-width='1.8' stroke-linecap='round' stroke-linejoin='round'%3E\
%3Cpath d='M2.5 4.5 6 8l3.5-3.5'/%3E%3C/svg%3E")`;

// Colours and sizes are custom properties set with no specificity, so that a plain
// `.di-slider { --di-accent: red }` anywhere in a page overrides them.
export const SLIDER_STYLE = `
:where(.di-slider) {
  --di-ink: #1c1b22; --di-soft: #6a6874; --di-line: #dcdae2; --di-surface: #fff;
  --di-hover: #f2f0f7; --di-accent: #5a48d6; --di-on-accent: #fff;
  --di-shadow: 0 1px 2px #1c1b2214, 0 12px 32px -8px #1c1b2233;
  --di-height: 70vh; --di-radius: 12px; --di-thumb: 20px;
}
@media (prefers-color-scheme: dark) {
  :where(.di-slider) {
    --di-ink: #ecebf1; --di-soft: #9d9aa9; --di-line: #393743; --di-surface: #232129;
    --di-hover: #2e2b37; --di-accent: #9c8cff; --di-on-accent: #17151d;
    --di-shadow: 0 1px 2px #0006, 0 16px 40px -8px #000a;
  }
}
/* the system's colours take the place of all others, also where it would take away backgrounds */
@media (forced-colors: active) {
  :where(.di-slider) {
    forced-color-adjust: none; --di-ink: CanvasText; --di-soft: CanvasText; --di-line: GrayText;
    --di-surface: Canvas; --di-hover: Canvas; --di-accent: Highlight;
    --di-on-accent: HighlightText; --di-shadow: none;
  }
}
.di-slider {
  container-type: inline-size; color: var(--di-ink); font: 14px/1.4 system-ui, sans-serif;
  -webkit-tap-highlight-color: transparent;
}
.di-slider *, .di-slider *::before { box-sizing: border-box; }
.di-slider [hidden] { display: none; }
.di-stage {
  display: flex; flex-wrap: wrap; justify-content: center; align-items: center; gap: 16px;
}
.di-now {
  position: relative; flex: 0 0 auto; aspect-ratio: var(--di-ratio, 1);
  width: min(100%, calc(var(--di-height) * var(--di-ratio, 1)));
}
.di-picture {
  display: block; width: 100%; height: 100%; object-fit: contain;
  border-radius: var(--di-radius); box-shadow: var(--di-shadow);
}
.di-pixels { image-rendering: pixelated; }
.di-now .di-picture { cursor: ew-resize; touch-action: pan-y; user-select: none; }
.di-blank .di-now .di-picture { background: var(--di-hover); cursor: default; }
.di-message {
  position: absolute; left: 50%; bottom: 12px; translate: -50% 0; margin: 0; padding: 4px 12px;
  width: max-content; max-width: calc(100% - 24px); border-radius: 99px; text-align: center;
  background: #17151dcc; color: #fff; font-size: 13px; pointer-events: none;
}
.di-message:empty { display: none; }
.di-blank .di-message {
  bottom: 50%; translate: -50% 50%; background: none; color: var(--di-soft); font-size: 15px;
}
.di-end {
  position: relative; z-index: 1; flex: 0 1 auto; margin: 0 0 22px;
  width: min(50% - 8px, var(--di-height) * var(--di-ratio, 1) / 2);
  aspect-ratio: var(--di-ratio, 1);
}
.di-end .di-picture { box-shadow: none; }
.di-end figcaption {
  position: absolute; top: 100%; inset-inline: 0; margin-top: 6px; text-align: center;
  color: var(--di-soft); font-size: 12px;
}
.di-end:first-child { order: 1; }
.di-end:last-child { order: 2; }
@container (min-width: 560px) {
  .di-comparing .di-stage { flex-wrap: nowrap; }
  .di-comparing .di-now {
    flex: 0 1 auto; width: min(50%, calc(var(--di-height) * var(--di-ratio, 1)));
  }
  .di-comparing .di-end {
    width: min(25%, var(--di-height) * var(--di-ratio, 1) / 2); margin-bottom: 0;
  }
  .di-end:first-child { order: 0; }
}
.di-controls {
  display: grid; grid-template-columns: auto 1fr; align-items: center; gap: 6px 14px;
  max-width: clamp(560px, calc(var(--di-height) * var(--di-ratio, 1)), 720px);
  margin: 18px auto 0;
}
.di-play {
  display: grid; place-items: center; width: 44px; height: 44px; padding: 0; border: 0;
  border-radius: 50%; background: var(--di-accent); color: var(--di-on-accent); cursor: pointer;
}
.di-play svg { width: 24px; height: 24px; fill: currentColor; }
.di-play:not(:disabled):hover { filter: brightness(1.1); }
.di-slider :disabled { opacity: 0.4; cursor: default; }
.di-rail { position: relative; height: 44px; }
.di-range {
  appearance: none; position: absolute; inset: 0; width: 100%; height: 100%; margin: 0;
  border-radius: 8px; background: none; cursor: pointer; touch-action: pan-y;
  --di-edge: calc(var(--di-thumb) / 2 + var(--di-done, 0) * (100% - var(--di-thumb)));
}
.di-range::-webkit-slider-runnable-track {
  height: 6px; border-radius: 3px;
  background: linear-gradient(to right, var(--di-accent) var(--di-edge), var(--di-line) 0);
}
.di-range::-moz-range-track {
  height: 6px; border-radius: 3px;
  background: linear-gradient(to right, var(--di-accent) var(--di-edge), var(--di-line) 0);
}
.di-range::-webkit-slider-thumb {
  appearance: none; width: var(--di-thumb); height: var(--di-thumb); margin-top: -7px;
  border: 3px solid var(--di-accent); border-radius: 50%; background: var(--di-surface);
  box-shadow: 0 1px 4px #0004;
}
.di-range::-moz-range-thumb {
  box-sizing: border-box; width: var(--di-thumb); height: var(--di-thumb);
  border: 3px solid var(--di-accent); border-radius: 50%; background: var(--di-surface);
  box-shadow: 0 1px 4px #0004;
}
.di-ticks i {
  position: absolute; top: 31px; width: 2px; height: 6px; border-radius: 1px;
  background: var(--di-soft); opacity: 0.6;
  left: calc(var(--di-thumb) / 2 - 1px + var(--di-at) * (100% - var(--di-thumb)));
}
.di-where {
  grid-column: 1 / -1; margin: 0; color: var(--di-soft); text-align: center; white-space: pre;
  font-variant-numeric: tabular-nums;
}
.di-where b { color: var(--di-ink); font-size: 16px; font-weight: 600; }
.di-tools {
  grid-column: 1 / -1; display: flex; flex-wrap: wrap; justify-content: center; gap: 8px;
}
@container (min-width: 560px) {
  .di-where { grid-column: 1 / -1; grid-row: 2; justify-self: start; padding-left: 58px; }
  .di-tools { grid-row: 2; justify-self: end; }
}
.di-pill {
  appearance: none; height: 32px; padding: 0 14px; border: 1px solid var(--di-line);
  border-radius: 99px; background: var(--di-surface); color: inherit;
  font: inherit; font-size: 13px; line-height: 30px; cursor: pointer;
}
select.di-pill {
  padding-right: 30px; background: var(--di-surface) ${CHEVRON} no-repeat right 11px center;
}
.di-pill:not(:disabled, [aria-pressed="true"]):hover { background-color: var(--di-hover); }
.di-pill[aria-pressed="true"] {
  border-color: var(--di-accent); background: var(--di-accent); color: var(--di-on-accent);
}
.di-fill { display: flex; flex-direction: column; height: 100%; min-height: 0; }
.di-fill .di-stage { flex: 1 1 0; flex-wrap: nowrap; gap: 8px; min-height: 0; }
.di-fill .di-now, .di-fill .di-end {
  flex: 1 1 0; width: auto; min-width: 0; height: 100%; margin: 0; order: 0; aspect-ratio: auto;
}
.di-fill .di-picture { border-radius: 0; box-shadow: none; }
.di-fill .di-end {
  max-width: 28%; height: auto; max-height: calc(100% - 40px); aspect-ratio: var(--di-ratio, 1);
}
.di-fill .di-end figcaption { margin-top: 2px; }
.di-fill .di-controls {
  display: flex; flex-wrap: wrap; gap: 0 6px; max-width: none; margin: 4px 0 0; width: 100%;
}
.di-fill .di-play { width: 32px; height: 32px; }
.di-fill .di-play svg { width: 18px; height: 18px; }
.di-fill .di-rail { flex: 1 1 60px; height: 32px; }
.di-fill .di-ticks i { top: 25px; }
.di-fill .di-where { padding: 0; font-size: 12px; }
.di-fill .di-where b { font-size: 13px; }
.di-fill .di-tools { gap: 4px; margin: 2px auto; }
.di-fill .di-pill { height: 24px; padding: 0 7px; font-size: 12px; line-height: 22px; }
.di-fill select.di-pill { padding-right: 15px; background-position: right 3px center; }
.di-slider :focus { outline: none; }
.di-slider :focus-visible { outline: 2px solid var(--di-accent); outline-offset: 2px; }
/* inside, as what stands around it cuts off or covers the rest */
.di-fill :focus-visible { outline-color: var(--di-ink); outline-offset: -2px; }
`;
