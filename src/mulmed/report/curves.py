"""A training step's log as a curve."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mulmed.report.files import broken, read_json, read_lines


@dataclass(frozen=True, slots=True)
class Point:
    """Mean negative log-likelihood of a target token (nats) at an optimizer step."""

    step: int
    loss: float


@dataclass(frozen=True, slots=True)
class GroupLoss:
    """Validation loss of one task and language, None where it was not measured before the first step."""

    task: str
    language: str
    before: float | None
    after: float


@dataclass(frozen=True, slots=True)
class Share:
    """What a training step saw of one task and language.

    ``examples`` are there, ``seen`` were learned from (repetitions counted); shares are of the examples
    seen, ``token_share`` of the target tokens; ``asked`` is None where the recipe asks for none.
    """

    task: str
    language: str
    examples: int
    seen: int
    share: float
    asked: float | None
    token_share: float


@dataclass(frozen=True, slots=True)
class Curve:
    """The losses of one training step of the recipe.

    ``tokens`` and ``target_tokens`` are sums over the run; ``by_language`` holds validation losses;
    ``planned`` is how many optimizer steps there would have been without an early stop; the adapter is that
    after ``kept`` of them.
    """

    name: str
    train: tuple[Point, ...]
    validation: tuple[Point, ...]
    by_language: Mapping[str, tuple[Point, ...]]
    epochs: float
    tokens: int
    target_tokens: int
    planned: int
    kept: int
    groups: tuple[GroupLoss, ...]
    shares: tuple[Share, ...]

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
        """Validation loss of the adapter that was kept, None where it was not measured."""
        return next((p.loss for p in self.validation if p.step == self.kept), None)


def read_curve(name: str, folder: Path) -> Curve:
    """The curve in a training step's ``log.jsonl`` and ``outcome.json``.

    Raises:
        MulmedError: one of them is broken, or the log holds no optimizer step.
    """
    path = folder / "log.jsonl"
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
    outcome = read_json(folder / "outcome.json")
    try:
        planned, kept = outcome["planned_steps"], outcome["kept"]
        before, after = (_groups(outcome[when]) for when in ("before", "after"))
        shares = tuple(
            Share(
                s["task"], s["language"], s["examples"], s["seen"],
                s["share"], s["target_share"], s["token_share"],
            )
            for s in outcome["shares"]
        )  # fmt: skip
    except (KeyError, TypeError, AttributeError) as error:
        raise broken(
            folder / "outcome.json", f"The training's outcome is not in the expected form: {error!r}."
        ) from error
    return Curve(
        name,
        tuple(train),
        tuple(validation),
        {language: tuple(points) for language, points in by_language.items()},
        float(epochs),
        tokens,
        target_tokens,
        planned,
        kept,
        tuple(GroupLoss(*group, before.get(group), loss) for group, loss in after.items()),
        shares,
    )


def _groups(row: Mapping[str, Any] | None) -> dict[tuple[str, str], float]:
    """The losses of a validation row by task and language."""
    by_group = row["validation_loss_by_group"] if row else {}
    return {(task, language): loss for task, losses in by_group.items() for language, loss in losses.items()}
