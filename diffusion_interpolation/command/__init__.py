"""The command `diffusion-interpolation`: its options, its runs and its page."""
