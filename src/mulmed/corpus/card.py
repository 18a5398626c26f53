"""The data card beside a corpus, in the form of the Hugging Face hub's data set cards (Gebru et al. 2021)."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from importlib.resources import files
from typing import Any

from mulmed.corpus.deidentify.leak import wilson
from mulmed.recipe import Corpus, Holdout, Source

_CATEGORIES = {
    "instruction": "text-generation",
    "summary": "summarization",
    "qa": "question-answering",
    "dialogue": "text-generation",
}
#: The hub's names for numbers of records, with the number below which each holds.
_SIZES = (
    (1_000, "n<1K"),
    (10_000, "1K<n<10K"),
    (100_000, "10K<n<100K"),
    (1_000_000, "100K<n<1M"),
    (10_000_000, "1M<n<10M"),
)


def data_card(settings: Corpus, statistics: Mapping[str, Any], funnel: Mapping[str, Any]) -> str:
    """Markdown with a head in YAML: what is in the corpus, where it came from, what was done to it, its limits.

    It tells numbers and names of the recipe, and no text of a record.

    Args:
        statistics, funnel: the contents of ``statistics.json`` and ``funnel.json``.
    """
    splits = statistics["splits"]
    records = sum(row["records"] for row in splits)
    by_task: Counter[str] = Counter()
    for row in splits:
        by_task[row["task"]] += row["records"]
    head = [
        "---",
        "language:",
        *(f"- {language}" for language in sorted({row["language"] for row in splits})),
        f"license: {_licence(settings)}",
        "task_categories:",
        *(f"- {category}" for category in sorted({_CATEGORIES[task] for task in by_task})),
        "size_categories:",
        f"- {next((name for most, name in _SIZES if records < most), 'n>10M')}",
        "tags:",
        "- medical",
        "---",
    ]
    parts = [
        "\n".join(head),
        "# Data card",
        f"{records:,} records for training, validating and testing a medical language model, written by"
        " `mulmed corpus build` (`records.parquet`; SHA-256 over the records"
        f" `{statistics['records_sha256']}`).",
        "## Sources",
        markdown_table(
            ("Source", "Layout", "Language", "Files", "Licence", "Used for", "Records kept"),
            [
                (
                    name, source.layout, source.language, _code(source.paths), source.licence or "not stated",
                    _use(source), _kept(splits, name),
                )
                for name, source in settings.sources.items()
            ],
        ),
        "The licence of each source is its publisher's, as the recipe states it. Read them before this corpus, or"
        " a model trained on it, is passed on.",
        "## Composition",
        markdown_table(
            ("Source", "Task", "Language", "Split", "Records", "Share"),
            [
                (r["source"], r["task"], r["language"], r["split"], f"{r['records']:,}", f"{r['records'] / records:.1%}")
                for r in splits
            ],
        ),
        "Mean lengths before texts were cut to the tokenizer's budget, in words, in languages without spaces in"
        " characters; a dialogue's question and answer are its first:",
        markdown_table(
            ("Source", "Task", "Language", "Size", "Abstract", "Summary", "Question", "Answer", "Rounds"),
            [
                (
                    r["source"], r["task"], r["language"], f"{r['size']:,}",
                    *("" if r[key] is None else f"{r[key]:.1f}" for key in ("abstract", "summary", "question", "answer", "turns")),
                )
                for r in statistics["table1"]
            ],
        ),
        "## Cleaning",
        markdown_table(
            ("Stage", "In", "Changed", "Dropped", "Out", "What fired most often"),
            [
                (
                    s["stage"], *(f"{s[key]:,}" for key in ("in", "changed", "dropped", "out")),
                    ", ".join(f"{rule} {count:,}" for rule, count in Counter(s["rules"]).most_common(5)),
                )
                for s in funnel["stages"]
            ],
        ),
        "Every change is a row of `audit.parquet`: record, stage, rule, place and length, never the words."
        " Rows that could not be used are in `rejected.jsonl`. Records removed by moderation are counted by the"
        " group of people they name, in `statistics.json` (`removals_by_group`), and so are the drugs, doses,"
        " allergies and negations that survived shortening (`mentions`).",
        "## Personal and sensitive information",
        _privacy(settings),
        "## Limits",
        _LIMITS,
    ]  # fmt: skip
    if tags := statistics["tags"]:
        told = ", ".join(f"`{tag}` {count:,}" for tag, count in tags.items())
        parts.insert(-2, f"Records kept and tagged for what they are about: {told}.")
    if languages := funnel.get("languages"):
        lines = [f"- {code}: {gap}" for code, gaps in languages.items() for gap in gaps]
        parts[-2:-2] = ["## Languages of which less is known", "\n".join(lines)]
    return "\n\n".join(parts) + "\n"


def _licence(settings: Corpus) -> str:
    """What the hub is told of the whole: the sources' licence where they have but one."""
    stated = {source.licence for source in settings.sources.values()}
    if None in stated:
        return "unknown"
    return stated.pop().lower() if len(stated) == 1 else "other"  # type: ignore[union-attr]


def _privacy(settings: Corpus) -> str:
    if settings.deidentify is None:
        return "**De-identification was switched off**: names, numbers and addresses stand as they were published."
    found = (
        "rules and a model of names" if settings.deidentify.profile == "full" else "rules (profile `fast`)"
    )
    given = (
        "made-up values, the same for the same person within a record"
        if settings.deidentify.surrogates == "consistent"
        else "typed placeholders"
    )
    return (
        f"People's names, places and numbers that identify someone were found by {found} and gave way to"
        f" {given}. No method finds all. Of what is labelled in sets the rules were not made on (not in this corpus,"
        " where nothing is labelled) this profile found:\n\n"
        + markdown_table(
            ("Set", "Kind", "Labelled", "Found (touched)", "95% interval", "To the last letter"),
            list(leaks(settings.deidentify.profile)),
        )
        + "\n\nMade by `python -m mulmed.corpus.deidentify.leak`, which also counts precision. Faker's values stand in"
        " sentences of this project's own, and in real consultations where the set says so."
    )


#: Kinds that have a form of their own, told together.
_FORMS = (
    "PHONE", "EMAIL", "URL", "IP", "ID", "LICENSE", "RECORD_NUMBER", "ACCOUNT", "PLATE", "DEVICE", "ZIP", "DATE_OF_BIRTH", "DATE",
)  # fmt: skip


def leaks(profile: str) -> Iterator[tuple[str, ...]]:
    """The rows of the measured leak report (``deidentify/leak.json``) for a profile; what has a form in one row a set."""
    measured = json.loads(files("mulmed.corpus.deidentify").joinpath("leak.json").read_text("utf-8"))
    counted: dict[tuple[str, str], list[int]] = {}
    for row in measured["rows"]:
        if row["profile"] == profile and row["labelled"]:
            kind = "numbers, dates, addresses on the net" if row["kind"] in _FORMS else row["kind"]
            count = counted.setdefault((row["set"], kind), [0, 0, 0])
            for place, key in enumerate(("labelled", "overlap", "covered")):
                count[place] += row[key]
    for (name, kind), (labelled, overlap, covered) in counted.items():
        low, high = wilson(overlap, labelled)
        yield (
            name, kind, f"{labelled:,}", f"{overlap / labelled:.1%}", f"{low:.1%} to {high:.1%}", f"{covered / labelled:.1%}",
        )  # fmt: skip


_LIMITS = """- Consultations were written on web sites by people who sought help and by doctors who saw no patient: answers
  may be wrong, out of date or unfit for another country, and no clinician has checked them for this corpus.
- What was masked by mistake is missing, and what was overlooked is still there.
- Shortened answers are no whole answers; they are marked (`answer_cut`).
- Moderation and the tagging of crises are rules and a small classifier, and miss what is put in other words.
- A model trained on it is for research, and gives no medical advice."""


def _use(source: Source) -> str:
    if not isinstance(source.split, Holdout):
        return source.split
    shares = {"validation": source.split.validation, "test": source.split.test}
    return ", ".join(["train", *(f"{name} {share:.1%}" for name, share in shares.items() if share)])


def _kept(splits: Sequence[Mapping[str, Any]], source: str) -> str:
    return f"{sum(row['records'] for row in splits if row['source'] == source):,}"


def _code(paths: Sequence[str]) -> str:
    return ", ".join(f"`{path}`" for path in paths)


def markdown_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table in Markdown; a bar in a cell stays one."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', '&#124;') for cell in row)} |" for row in lines)
