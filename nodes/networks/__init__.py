"""Networks of this pack that ComfyUI holds in its memory."""
