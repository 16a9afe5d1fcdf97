"""The models of the contract over the parts of diffusers."""
