"""A training step's log as a curve."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from mulmed.report.files import broken, read_lines


@dataclass(frozen=True, slots=True)
class Point:
    """Mean negative log-likelihood of a target token (nats) at an optimizer step."""

    step: int
    loss: float


@dataclass(frozen=True, slots=True)
class Curve:
    """The losses of one training step of the recipe.

    ``tokens`` and ``target_tokens`` are sums over the run; ``by_language`` holds validation losses.
    """

    name: str
    train: tuple[Point, ...]
    validation: tuple[Point, ...]
    by_language: Mapping[str, tuple[Point, ...]]
    epochs: float
    tokens: int
    target_tokens: int

    @property
    def steps(self) -> int:
        return self.train[-1].step

    @property
    def target_share(self) -> float:
        """Share of the tokens that the model learned to write."""
        return self.target_tokens / self.tokens

    @property
    def before(self) -> float | None:
        """Validation loss before the first step, None where none was measured."""
        return self.validation[0].loss if self.validation and self.validation[0].step == 0 else None

    @property
    def after(self) -> float | None:
        """Validation loss after the last step, None where none was measured."""
        return self.validation[-1].loss if self.validation and self.validation[-1].step else None


def read_curve(name: str, path: Path) -> Curve:
    """The curve in a training step's ``log.jsonl``.

    Raises:
        MulmedError: the log is broken or holds no optimizer step.
    """
    train, validation = [], []
    by_language: dict[str, list[Point]] = {}
    epochs, tokens, target_tokens = 0.0, 0, 0
    try:
        for line in read_lines(path):
            if "validation_loss" in line:
                validation.append(Point(line["step"], line["validation_loss"]))
                for language, loss in line["validation_loss_by"].items():
                    by_language.setdefault(language, []).append(Point(line["step"], loss))
            if "loss" in line:
                train.append(Point(line["step"], line["loss"]))
                epochs = line["epoch"]
                tokens += line["tokens"]
                target_tokens += line["target_tokens"]
    except (KeyError, TypeError) as error:
        raise broken(path, f"The training log is not in the expected form: {error!r}.") from error
    if not train or not tokens:
        raise broken(path, f"The training log of step {name} holds no optimizer step.")
    return Curve(
        name,
        tuple(train),
        tuple(validation),
        {language: tuple(points) for language, points in by_language.items()},
        float(epochs),
        tokens,
        target_tokens,
    )
