"""What several nodes share: their inputs, types, pictures and lists of files."""
