"""Export: merged models -> files that other programs read."""
