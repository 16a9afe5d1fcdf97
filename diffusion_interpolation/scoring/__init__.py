"""Ranks pictures, and measures paths of pictures."""
