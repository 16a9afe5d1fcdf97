"""The host's networks, made to give gradients."""
