"""The training of the embedded models."""
