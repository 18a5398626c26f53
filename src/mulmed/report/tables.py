"""The report's tables: plain data with a caption, in which no cell may be empty."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mulmed.errors import MulmedError
from mulmed.recipe import Lora, Recipe, Step
from mulmed.report import names
from mulmed.report.curves import Curve

NOT_APPLICABLE = "\N{EM DASH}"


@dataclass(frozen=True, slots=True)
class Cell:
    """What a cell shows; ``notes`` are smaller lines below, ``exact`` is the unrounded number behind it."""

    text: str
    notes: tuple[str, ...] = ()
    exact: float | None = None


@dataclass(frozen=True, slots=True)
class Group:
    """Rows under a common heading (empty: none)."""

    title: str
    rows: tuple[tuple[Cell, ...], ...]


@dataclass(frozen=True, slots=True)
class Table:
    """A captioned table whose first ``text_columns`` columns are words, the others numbers.

    Raises:
        MulmedError: a row is too short or long, or a cell is empty.
    """

    caption: str
    columns: tuple[str, ...]
    groups: tuple[Group, ...]
    text_columns: int = 1

    def __post_init__(self) -> None:
        for group in self.groups:
            for row in group.rows:
                if len(row) != len(self.columns) or not all(cell.text for cell in row):
                    raise MulmedError(
                        "A table of the report has an empty cell.",
                        where=f"{self.caption}, row {row[0].text if row else ''!r}",
                        remedy="Delete the folder of the stage it comes from and run the recipe again.",
                    )


def to_cell(value: str | int | float | Cell) -> Cell:
    if isinstance(value, Cell):
        return value
    if isinstance(value, int):
        return Cell(names.count(value), exact=value)
    return Cell(names.decimal(value), exact=value) if isinstance(value, float) else Cell(value)


def plain_table(
    caption: str,
    columns: Sequence[str],
    rows: Iterable[Sequence[str | int | float | Cell]],
    text_columns: int = 1,
) -> Table:
    cells = tuple(tuple(to_cell(value) for value in row) for row in rows)
    return Table(caption, tuple(columns), (Group("", cells),), text_columns)


def training_table(curves: Sequence[Curve]) -> Table:
    """What each training step consumed and what it did to the loss."""

    def loss(value: float | None) -> Cell:
        return Cell("not measured") if value is None else Cell(names.decimal(value, 4), exact=value)

    return plain_table(
        "Training, step by step. The loss is the mean negative log-likelihood of a target token, in nats.",
        (
            "Step",
            "Optimizer steps",
            "Epochs",
            "Tokens",
            "Target tokens",
            "First training loss",
            "Last training loss",
            "Validation before",
            "Validation after",
        ),
        (
            (
                c.name,
                Cell(names.count(c.steps), _early_stop(c), c.steps),
                Cell(f"{c.epochs:.2f}", exact=c.epochs),
                c.tokens,
                Cell(names.count(c.target_tokens), (f"{100 * c.target_share:.1f}%",), c.target_tokens),
                loss(c.train[0].loss),
                loss(c.train[-1].loss),
                loss(c.before),
                loss(c.after),
            )
            for c in curves
        ),
    )


def _early_stop(curve: Curve) -> tuple[str, ...]:
    if curve.kept == curve.planned:
        return ()
    return (f"of {names.count(curve.planned)}; the adapter after step {names.count(curve.kept)} is kept",)


def validation_table(curves: Sequence[Curve]) -> Table | None:
    """Validation loss by task and language; None where nothing was measured."""
    if not any(curve.groups for curve in curves):
        return None

    def cell(loss: float | None) -> Cell:
        return Cell("not measured") if loss is None else Cell(names.decimal(loss, 4), exact=loss)

    return Table(
        "Validation loss of each task and language, before the step and of the adapter that was kept, in nats"
        " a target token.",
        ("Task", "Language", "Before", "After"),
        tuple(
            Group(
                f"Step {curve.name}",
                tuple(
                    (
                        Cell(names.task(g.task)),
                        Cell(names.language(g.language)),
                        cell(g.before),
                        cell(g.after),
                    )
                    for g in curve.groups
                ),
            )
            for curve in curves
            if curve.groups
        ),
        text_columns=2,
    )


def _lora_kind(lora: Lora) -> str:
    kinds = [name for name, on in (("rsLoRA", lora.rslora), ("DoRA", lora.dora)) if on]
    return " with ".join(kinds) or "LoRA"


def shares_table(curves: Sequence[Curve]) -> Table:
    """What each step learned from, and how much of it the recipe asked for."""

    def percent(share: float | None) -> Cell:
        return Cell(NOT_APPLICABLE) if share is None else Cell(f"{100 * share:.1f}%", exact=share)

    return Table(
        "What each step learned from: examples there are, examples seen with repetitions, their share of all"
        " seen, the share that the recipe asks for, and their share of the target tokens.",
        ("Task", "Language", "Examples", "Seen", "Share", "Asked for", "Share of tokens"),
        tuple(
            Group(
                f"Step {curve.name}",
                tuple(
                    (
                        Cell(names.task(s.task)),
                        Cell(names.language(s.language)),
                        to_cell(s.examples),
                        to_cell(s.seen),
                        percent(s.share),
                        percent(s.asked),
                        percent(s.token_share),
                    )
                    for s in curve.shares
                ),
            )
            for curve in curves
        ),
        text_columns=2,
    )


def step_settings_table(recipe: Recipe) -> Table:
    """The recipe's settings of every training step, one column a step."""
    rows: dict[str, Callable[[Step], str]] = {
        "trained from": lambda step: step.parent,
        "sources": lambda step: ", ".join(step.sources),
        "epochs": lambda step: f"{step.epochs:g}",
        "examples an optimizer step": lambda step: str(step.batch),
        "peak learning rate": lambda step: f"{step.learning_rate:g}",
        "warm-up": lambda step: f"{100 * step.warmup:g}% of the steps",
        "weight decay": lambda step: f"{step.weight_decay:g}",
        "LoRA rank": lambda step: str(step.lora.r),
        "LoRA alpha": lambda step: f"{step.lora.alpha:g}",
        "LoRA dropout": lambda step: f"{step.lora.dropout:g}",
        "LoRA kind": lambda step: _lora_kind(step.lora),
        "LoRA on": lambda step: ", ".join(step.lora.targets),
        "precision": lambda step: step.precision,
        "cutoff": lambda _: f"{recipe.cutoff} tokens",
        "seed": lambda _: str(recipe.seed),
    }
    return plain_table(
        "Training settings.",
        ("Setting", *recipe.steps),
        [(key, *map(value, recipe.steps.values())) for key, value in rows.items()],
        text_columns=1 + len(recipe.steps),
    )


def decoding_table(recipe: Recipe) -> Table:
    """How every model decoded."""
    d, asked = recipe.generation.decoding, recipe.generation.questions
    search = f"beam search, {d.num_beams} beams" if d.num_beams > 1 else "greedy"
    sampled = f"sampling, temperature {d.temperature:g}, top-p {d.top_p:g}, seed {d.seed}"
    return plain_table(
        "Decoding, the same for every model that answered here; a model behind an API knows no penalties.",
        ("Setting", "Value"),
        (
            ("prompt template", recipe.template),
            ("search", sampled if d.temperature > 0 else search),
            ("longest answer", f"{d.max_new_tokens} tokens"),
            ("repetition penalty", f"{d.repetition_penalty:g}"),
            ("forbidden repeats", f"{d.no_repeat_ngram}-grams" if d.no_repeat_ngram else "none"),
            ("questions", f"at most {asked} a task and language" if asked else "all of the test split"),
        ),
        text_columns=2,
    )


def run_table(runs: Mapping[str, Mapping[str, Any]]) -> Table:
    """Machine and time of every training step, as the step recorded them."""

    def flat(value: Any, key: str) -> Iterable[tuple[str, str]]:
        if isinstance(value, Mapping):
            for below, inner in value.items():
                yield from flat(inner, f"{key} {below}".strip())
        elif key.endswith("seconds"):
            yield f"{key.removesuffix('seconds')}time".strip(), names.duration(float(value))
        else:
            shown = f"{value:,.6g}" if isinstance(value, float) else str(value)
            yield key.replace("_", " "), shown or "none"

    return Table(
        "Machine and time.",
        ("Fact", "Value"),
        tuple(
            Group(f"Step {name}", tuple((Cell(key), Cell(text)) for key, text in flat(run, "")))
            for name, run in runs.items()
        ),
        text_columns=2,
    )


def lineage_table(lineage: Sequence[Mapping[str, Any]]) -> Table:
    """Every stage with the hash of what could change it and the hash of what it wrote."""
    return plain_table(
        "Lineage: the key is the hash of everything that can change a stage's result, the manifest's"
        " SHA-256 seals what it wrote.",
        ("Stage", "Key", "Manifest SHA-256", "Time"),
        (
            (
                stage["stage"],
                stage["key"],
                stage["manifest_sha256"],
                "not recorded" if stage["seconds"] is None else names.duration(float(stage["seconds"])),
            )
            for stage in lineage
        ),
        text_columns=3,
    )


def versions_table(versions: Mapping[str, str]) -> Table:
    """Versions of the software."""
    return plain_table("Software.", ("Package", "Version"), tuple(versions.items()), text_columns=2)
