"""What a metric is called and what it means, carried into every report beside its numbers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Metric:
    """A metric's name, its definition in plain words with the source, and which way is better."""

    name: str
    definition: str
    better: Literal["higher", "lower", "neither"]
