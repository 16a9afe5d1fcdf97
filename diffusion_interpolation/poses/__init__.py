"""Poses: how they are found, read, paired, moved and drawn."""
