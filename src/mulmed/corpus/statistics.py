"""Table 1 of the paper, counts of the splits and histograms of lengths, recomputed from the records."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import polars as pl

from mulmed.corpus.moderate import removal
from mulmed.corpus.record import Record
from mulmed.recipe.language import added, by_words

#: Languages written without spaces between words; their lengths are counted in characters.
UNSPACED = ("zh", "ja")
#: Bars of a histogram below the 95th percentile; one more bar takes the tail.
BARS = 20


def lengths(records: Sequence[Record]) -> pl.DataFrame:
    """Lengths of every record's fields, in the unit of its language, one row a record.

    Words are what white space separates, as far as they hold a letter or digit. Characters are all but
    white space, punctuation included, as Table 1 of the paper counts haodf.

    Columns: ``source``, ``task``, ``language``, ``unit`` (``words`` or ``characters``), ``abstract``
    and ``summary`` of a summary, else ``question`` and ``answer``; ``turns``, the rounds of a dialogue.
    What does not apply is null. A dialogue's question and answer are its first, which is what the paper
    trains on and its Table 1 measures; the context of an instruction belongs to the question.
    """

    spaceless = [*UNSPACED, *(code for code in added() if not by_words(code))]
    unspaced = pl.col("language").is_in(spaceless)
    is_summary = pl.col("task") == "summary"
    counted = [record.language in spaceless for record in records]
    asked = [f"{r.turns[0].text}\n{r.context}" if r.context else r.turns[0].text for r in records]
    answered = [r.turns[1].text for r in records]
    first, second = pl.col("first"), pl.col("second")
    texts = pl.DataFrame(
        {
            "source": [r.source for r in records],
            "task": [r.task for r in records],
            "language": [r.language for r in records],
            "first": _lengths(asked, counted),
            "second": _lengths(answered, counted),
            "rounds": [len(r.turns) // 2 for r in records],
        },
        schema=_MEASURED,
    )
    return texts.select(
        "source",
        "task",
        "language",
        pl.when(unspaced).then(pl.lit("characters")).otherwise(pl.lit("words")).alias("unit"),
        pl.when(is_summary).then(first).alias("abstract"),
        pl.when(is_summary).then(second).alias("summary"),
        pl.when(~is_summary).then(first).alias("question"),
        pl.when(~is_summary).then(second).alias("answer"),
        pl.when(pl.col("task") == "dialogue").then(pl.col("rounds")).alias("turns"),
    )


_MEASURED = {
    **dict.fromkeys(("source", "task", "language"), pl.String()),
    **dict.fromkeys(("first", "second", "rounds"), pl.Int64()),
}
#: White space stays, letters and digits are all alike, and nothing else is left of ASCII text.
_SHAPES = bytes(32 if chr(c) in "\t\n\v\f\r " else 97 for c in range(256))
_SIGNS = bytes(c for c in range(128) if not chr(c).isalnum() and chr(c) not in "\t\n\v\f\r ")


def _lengths(texts: Sequence[str], in_characters: Sequence[bool]) -> list[int]:
    """Of each text its characters, or its words."""
    found = [0] * len(texts)
    other = {True: list[int](), False: list[int]()}
    for i, (text, characters) in enumerate(zip(texts, in_characters, strict=True)):
        if characters or not text.isascii():
            other[characters].append(i)
        else:  # four times as fast as the pattern
            shape = text.encode().translate(_SHAPES, _SIGNS)
            found[i] = shape.count(b" a") + shape.startswith(b"a")
    for characters, places in other.items():
        column = pl.Series([texts[i] for i in places], dtype=pl.String)
        if characters:
            counts = column.str.len_chars() - column.str.count_matches(r"\s")
        else:
            counts = column.str.count_matches(r"[\p{L}\p{N}]\S*")
        for i, count in zip(places, counts.to_list(), strict=True):
            found[i] = count
    return found


def table1(measured: pl.DataFrame) -> list[dict[str, Any]]:
    """Size and mean :func:`lengths` by source, task and language, in order of appearance.

    Means are rounded to two decimals, and ``None`` where they do not apply.
    """
    means = [pl.col(name).mean().round(2) for name in ("abstract", "summary", "question", "answer", "turns")]
    grouped = measured.group_by("source", "task", "language", maintain_order=True)
    return grouped.agg(pl.len().alias("size"), *means).to_dicts()


def splits(batch: pl.DataFrame) -> list[dict[str, Any]]:
    """Number of records by source, task, language and split."""
    names = ["source", "task", "language", "split"]
    return batch.group_by(names).len("records").sort(names).to_dicts()


def histograms(measured: pl.DataFrame) -> list[dict[str, Any]]:
    """Histogram of every field's :func:`lengths`, by source and unit, see :func:`histogram`."""
    fields = ("question", "answer", "abstract", "summary")
    long = measured.unpivot(fields, index=["source", "unit"], variable_name="field").drop_nulls()
    names = ["source", "field", "unit"]
    return [
        dict(zip(names, key, strict=True)) | histogram(group["value"].to_list())
        for key, group in sorted(long.group_by(names), key=lambda item: item[0])
    ]


def histogram(values: Sequence[int]) -> dict[str, list[int]]:
    """Edges and counts; bar ``i`` holds the values from ``edges[i]`` up to, not with, ``edges[i + 1]``.

    Bars have one round width up to the 95th percentile or a little beyond. One last, wider bar holds
    whatever is longer, so that a few very long texts do not squeeze all others into one bar.
    """
    ordered = sorted(values)
    reach = ordered[math.ceil(0.95 * len(ordered)) - 1] + 1
    width = _round_up(reach / BARS)
    edges = list(range(0, reach + width, width))
    if ordered[-1] >= edges[-1]:
        edges.append(ordered[-1] + 1)
    counts = [0] * (len(edges) - 1)
    for value in ordered:
        counts[min(value // width, len(counts) - 1)] += 1
    return {"edges": edges, "counts": counts}


def _round_up(width: float) -> int:
    """The smallest of 1, 2, 5, 10, 20, 50, ... that is no less than ``width``."""
    magnitude = 1
    while True:
        for step in (1, 2, 5):
            if step * magnitude >= width:
                return step * magnitude
        magnitude *= 10


def statistics(
    read: pl.DataFrame,
    cleaned: pl.DataFrame,
    written: pl.DataFrame,
    *,
    removals: Mapping[str, int],
    mentions: Mapping[str, int],
) -> dict[str, Any]:
    """The content of ``statistics.json``.

    Table 1 stands there as read and cleaned. Both it and the histograms measure the texts before they
    are cut to a tokenizer's budget, as the paper's Table 1 does: its summaries are longer than its
    cutoff. The counts of the splits are those of the records that are written.

    Args:
        read, cleaned: :func:`lengths` of the records as read, and before they are shortened.
        written: the records in the end.
        removals: ``GROUP records`` and ``GROUP removed`` (moderation).
        mentions: ``mentions`` of :class:`~mulmed.corpus.truncate.Truncated`, summed over the corpus.
    """
    return {
        "table1": table1(cleaned),
        "table1_raw": table1(read),
        "splits": splits(written),
        "lengths": histograms(cleaned),
        "removals_by_group": removals_by_group(removals),
        "mentions": dict(mentions),
        "tags": dict(written["tags"].explode().drop_nulls().value_counts().sort("tags").rows()),
    }


def removals_by_group(counts: Mapping[str, int]) -> list[dict[str, Any]]:
    """How many of the records that name a group of people moderation removed, with Wilson's 95% interval.

    Records that name none are the line ``none``, those that name any ``any``.
    """
    groups = {name.removesuffix(" records") for name in counts if name.endswith(" records")}
    return [
        asdict(removal(group, counts[f"{group} records"], counts[f"{group} removed"]))
        for group in sorted(groups)
    ]
