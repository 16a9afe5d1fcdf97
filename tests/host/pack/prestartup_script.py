"""Imports what the host needs to read any pack's pyproject.toml, before it times the packs.

It charges that time to the pack that comes first, which is a matter of chance.
"""

import comfy_config.config_parser  # noqa: F401
