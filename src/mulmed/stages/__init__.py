"""A recipe's stages: which room does what, from which artifacts."""

from mulmed.stages.common import RECORDS, VERSIONS
from mulmed.stages.run import Run

__all__ = ["RECORDS", "VERSIONS", "Run"]
