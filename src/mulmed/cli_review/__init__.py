"""``mulmed review``: make a study, serve it, end it, and take its results out."""

from mulmed.cli_review import making, running, judging, keeping  # isort: skip  (the order is that of the help)
from mulmed.cli_review.common import app

__all__ = ["app", "judging", "keeping", "making", "running"]
