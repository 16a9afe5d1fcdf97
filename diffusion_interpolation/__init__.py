"""The frames between two pictures, made with a latent diffusion model (Wang & Golland, 2023)."""

__version__ = "0.1.0"
