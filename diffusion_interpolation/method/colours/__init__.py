"""Colours of frames, brought back to those of the keyframes."""
