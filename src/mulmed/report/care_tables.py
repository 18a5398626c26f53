"""Words of care: rates by category, and the words that tell two speakers apart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mulmed.evaluation.empathy import DOCTORS
from mulmed.report import names
from mulmed.report.tables import NOT_APPLICABLE, Cell, Group, Table


def speaker(name: str) -> str:
    """What a speaker is called on the page."""
    return "doctors (reference)" if name == DOCTORS else name


def care_table(care: Mapping[str, Any], models: Sequence[str]) -> Table:
    """Phrases of each category in 1,000 words, of the doctors and of every model beside them.

    A model's rate is called higher or lower than the doctors' where the interval of the difference leaves out zero.
    """
    rates = {(r["language"], r["speaker"], r["category"]): r for r in care["rates"]}
    categories = dict.fromkeys(r["category"] for r in care["rates"])  # in evaluation's order
    apart = {
        (d["language"], d["model"], d["category"]): d for d in care["differences"] if d["against"] == DOCTORS
    }

    def cell(language: str, who: str, category: str) -> Cell:
        if (language, who, category) not in rates:  # not asked all of the language's questions
            return Cell(NOT_APPLICABLE)
        rate = rates[language, who, category]
        notes = [f"{rate['low']:.1f} to {rate['high']:.1f}"]
        if who != DOCTORS:
            difference = apart[language, who, category]
            if difference["low"] > 0 or difference["high"] < 0:
                notes.append("higher" if difference["low"] > 0 else "lower")
        return Cell(f"{rate['rate']:.1f}", tuple(notes), rate["rate"])

    return Table(
        "Phrases in 1,000 words of the answers to patients, with intervals below; higher or lower than the doctors' where that"
        " is beyond chance.",
        ("Words of", *map(speaker, (DOCTORS, *models))),
        tuple(
            Group(
                names.language(language),
                tuple(
                    (
                        Cell(category.capitalize(), (care["categories"][category],)),
                        *(cell(language, who, category) for who in (DOCTORS, *models)),
                    )
                    for category in categories
                ),
            )
            for language in sorted({key[0] for key in rates})
        ),
    )


def distinctive_table(care: Mapping[str, Any], models: Sequence[str]) -> Table | None:
    """For every model, the words that are most its own against the doctors, and the doctors' against it."""
    found: dict[tuple[str, str, str], list[str]] = {}
    for row in care["distinctive"]:
        found.setdefault((row["language"], row["speaker"], row["against"]), []).append(row["word"])
    groups = []
    for language in sorted({key[0] for key in found}):
        glue = "、" if language == "zh" else ", "
        rows = tuple(
            (
                Cell(model),
                Cell(glue.join(found.get((language, model, DOCTORS), [])) or "none"),
                Cell(glue.join(found.get((language, DOCTORS, model), [])) or "none"),
            )
            for model in models
            if any((r["language"], r["speaker"]) == (language, model) for r in care["rates"])
        )
        groups.append(Group(names.language(language), rows))
    if not groups:
        return None
    return Table(
        "Words that tell a model and the doctors apart, the clearest first (log-odds with a prior, Monroe et al. 2008).",
        ("Model", "Said more by the model", "Said more by the doctors"),
        tuple(groups),
        text_columns=3,
    )
