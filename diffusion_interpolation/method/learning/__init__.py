"""Prompts that are learned from keyframes (method, step 1)."""
