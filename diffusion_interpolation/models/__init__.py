"""The contract with a model, and what models share."""
