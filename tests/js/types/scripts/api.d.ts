/**
 * `/scripts/api.js` of ComfyUI's front end: the published types, and the pack's own events. Custom
 * events have methods of their own there, which the oldest supported front end (1.27) lacks.
 */

import type { ComfyApi as PublishedApi } from "@comfyorg/comfyui-frontend-types";

type OwnEvent = `diffusion_interpolation.${string}`;
type Listener<Detail> = ((event: CustomEvent<Detail>) => void) | null;

export type ComfyApi = Omit<PublishedApi, "addCustomEventListener" | "removeCustomEventListener"> & {
  addEventListener<Detail>(
    type: OwnEvent,
    callback: Listener<Detail>,
    options?: AddEventListenerOptions | boolean,
  ): void;
  removeEventListener<Detail>(
    type: OwnEvent,
    callback: Listener<Detail>,
    options?: EventListenerOptions | boolean,
  ): void;
};

export const api: ComfyApi;
