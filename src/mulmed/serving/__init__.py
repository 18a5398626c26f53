"""Serving: a model behind an HTTP API, the safety layer in front of it and behind it."""
