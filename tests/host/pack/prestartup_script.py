"""Imports what the host needs to read any pack's pyproject.toml, before it times the packs.

It charges that time to the pack that comes first, which is a matter of chance.
"""

import gc

import comfy_config.config_parser  # noqa: F401

# while all is imported, nothing is garbage; searching for it would take a quarter of the start
gc.disable()
