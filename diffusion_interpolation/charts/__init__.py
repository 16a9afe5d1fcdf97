"""Curves and arrows as pictures."""
