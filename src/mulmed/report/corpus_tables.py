"""Tables of the corpus: what was read, what cleaning did, what is left."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mulmed.corpus.card import leaks
from mulmed.report import names
from mulmed.report.tables import NOT_APPLICABLE, Cell, Group, Table, plain_table, to_cell


def corpus_table(statistics: Mapping[str, Any]) -> Table:
    """The paper's Table 1, recomputed from the cleaned corpus."""

    def mean(value: float | None) -> Cell:
        return Cell(NOT_APPLICABLE) if value is None else Cell(names.decimal(value, 1), exact=value)

    fields = ("abstract", "summary", "question", "answer", "turns")
    return plain_table(
        "The corpus by source, as Table 1 of the MulMed paper: records after cleaning, and mean lengths in"
        f" words (English) or characters (Chinese). {NOT_APPLICABLE} does not apply.",
        ("Source", "Task", "Language", "Size", "Abstract", "Summary", "Question", "Answer", "Dialogue turns"),
        (
            (
                row["source"],
                names.task(row["task"]),
                names.language(row["language"]),
                row["size"],
                *(mean(row[field]) for field in fields),
            )
            for row in statistics["table1"]
        ),
        text_columns=3,
    )


def splits_table(statistics: Mapping[str, Any]) -> Table:
    """Records for training, validation and test, by source."""
    splits = ("train", "validation", "test")
    sizes: dict[tuple[str, str, str], dict[str, int]] = {}
    for row in statistics["splits"]:
        by_split = sizes.setdefault((row["source"], row["task"], row["language"]), dict.fromkeys(splits, 0))
        by_split[row["split"]] += row["records"]
    return plain_table(
        "Records by what they are used for.",
        ("Source", "Task", "Language", "Training", "Validation", "Test"),
        (
            (source, names.task(task), names.language(language), *by_split.values())
            for (source, task, language), by_split in sizes.items()
        ),
        text_columns=3,
    )


def leak_table(profile: str) -> Table:
    """What de-identification of a profile finds of what is labelled in other sets (:func:`mulmed.corpus.card.leaks`)."""
    return plain_table(
        "How much of what identifies someone the de-identification finds, measured on labelled sets that the rules were not"
        " made on. Nothing is labelled in this run's own corpus: there the share is not known.",
        ("Set", "Kind", "Labelled", "Found (touched)", "95% interval", "To the last letter"),
        leaks(profile),
        text_columns=2,
    )


def funnel_table(funnel: Mapping[str, Any]) -> Table:
    """Records in, changed, dropped and out of every cleaning stage."""
    return plain_table(
        "Records through the cleaning, stage by stage.",
        ("Stage", "In", "Changed", "Dropped", "Out"),
        ((names.stage(s["stage"]), s["in"], s["changed"], s["dropped"], s["out"]) for s in funnel["stages"]),
    )


def funnel_sources_table(funnel: Mapping[str, Any]) -> Table:
    """Records left of every source after each stage."""
    stages = [s["stage"] for s in funnel["stages"]]
    return plain_table(
        "Records left of each source after each stage.",
        ("Source", *map(names.stage, stages)),
        ((source, *(by_stage[stage] for stage in stages)) for source, by_stage in funnel["sources"].items()),
    )


def rules_table(funnel: Mapping[str, Any]) -> Table:
    """How often each rule of each stage fired."""
    return Table(
        "What the cleaning found, by rule. A record can fire several rules.",
        ("Rule", "Count"),
        tuple(
            Group(
                names.stage(s["stage"]),
                tuple(
                    (Cell(rule), to_cell(number))
                    for rule, number in sorted(s["rules"].items(), key=lambda item: (-item[1], item[0]))
                ),
            )
            for s in funnel["stages"]
            if s["rules"]
        ),
    )


def mentions_table(statistics: Mapping[str, Any]) -> Table | None:
    """Clinical mentions in the records that had to be shortened: before, kept, and kept by cutting the end.

    ``None`` where nothing was shortened.
    """
    mentions = statistics["mentions"]
    kinds = sorted({name.removesuffix(" before") for name in mentions if name.endswith(" before")})
    if not kinds:
        return None

    def share(kind: str, what: str) -> Cell:
        before = mentions[f"{kind} before"]
        return (
            Cell(names.percent(mentions.get(f"{kind} {what}", 0) / before))
            if before
            else Cell(NOT_APPLICABLE)
        )

    return plain_table(
        f"What {names.count(mentions['records'])} shortened records kept of what matters clinically, and what"
        " cutting them at the end, as is usual, would have kept.",
        ("Mention", "Before", "Kept", "Share", "Cut at the end: share"),
        (
            (
                kind,
                mentions[f"{kind} before"],
                mentions.get(f"{kind} kept", 0),
                share(kind, "kept"),
                share(kind, "cut at the right"),
            )
            for kind in kinds
        ),
    )


def vocabulary_table(vocabulary: Mapping[str, Any]) -> Table:
    """Tokens a character with the base's own vocabulary and with the learned tokens."""
    return plain_table(
        f"Tokens a character before and after {names.count(len(vocabulary['tokens']))} tokens of Chinese"
        " characters, learned from the Chinese training records, were added to the base's vocabulary; texts"
        " after cleaning, before shortening.",
        ("Language", "Split", "Characters", "Before", "After"),
        (
            (
                names.language(row["language"]),
                row["split"],
                row["characters"],
                *(
                    Cell(names.decimal(row[key] / row["characters"]), exact=row[key] / row["characters"])
                    for key in ("tokens_before", "tokens_after")
                ),
            )
            for row in vocabulary["worth"]
        ),
        text_columns=2,
    )


def removals_table(statistics: Mapping[str, Any]) -> Table | None:
    """Of the records that name a group of people, how many moderation removed; ``None`` without moderation."""
    rows = statistics["removals_by_group"]
    if not rows:
        return None
    return plain_table(
        "Records that moderation removed, by the group of people they name (any: at least one; none: no"
        " group), with 95% Wilson intervals: what names a group must not be removed for naming it.",
        ("Group named", "Records", "Removed", "Share", "95% interval"),
        (
            (
                row["group"],
                row["records"],
                row["removed"],
                Cell(names.percent(row["share"])),
                Cell(f"{names.percent(row['low'])} to {names.percent(row['high'])}"),
            )
            for row in rows
        ),
    )
