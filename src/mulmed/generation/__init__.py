"""Generation: models -> answers on file."""
