"""The model card of a step, in the form of the Hugging Face hub (Mitchell et al. 2019), from the run's manifests.

It tells what the manifests say and no more: what was not measured is said to be not measured.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from mulmed.artifact import Artifact, read_artifact
from mulmed.base.embedded import EmbeddedBase, embedded_of
from mulmed.corpus.card import markdown_table
from mulmed.errors import MulmedError
from mulmed.recipe import Language
from mulmed.recipe.language import using
from mulmed.report import names
from mulmed.report.account import merge_sentence
from mulmed.report.files import read_json
from mulmed.review.results import reviewed_as

_HEADLINE = ("f1", "rouge1", "rouge2", "rougeL")

INTENDED = """- Research on medical language models: how two-step, multi-task and cross-lingual training works, and how to judge it.
- Comparison with other models on held-out questions, and blind review by clinicians.
- Drafts that a clinician reads, checks and answers for, inside a service that has the safety layer around it."""
FORBIDDEN = """- **No advice, diagnosis, triage or treatment without a clinician** who reads each answer before anybody acts on it.
- No use in emergencies, for people in crisis, or for decisions on a person's care, insurance, work or rights.
- No use as, or as a part of, a medical device without the approval that the law asks for.
- No attempt to find out who stands in its training data.
- No use in languages, tasks or groups of patients that the tables below do not measure."""
LIMITS = """- It may state what is wrong, out of date or dangerous, fluently. The scores below count words that an answer shares with one
  reference answer; none says whether an answer is right or safe.
- It was trained on answers of people on web sites who saw no patient, and on what their cleaning left.
- Identifiers were removed by rules that miss some: it may say what identifies someone.
- How well it serves groups of people (age, sex, origin, illness) was not measured: the sources do not state them."""


def model_card(run: Path, step: str, review: Mapping[str, Any] | None = None) -> str:
    """Markdown with a head in YAML, about the model of one step of a run.

    Args:
        run: the run's output folder.
        step: whose merge it is about.
        review: the content of ``results.json`` of a blind review, if there was one; told only if it was of these very weights.

    Raises:
        MulmedError: the step is not merged, or a stage it comes from is gone or of an earlier version.
    """
    merge = _artifact(run, f"merge-{step}")
    config = merge.manifest["config"]
    with using([Language.model_validate(language) for language in config.get("languages", ())]):
        try:
            return _card(run, step, merge, review)
        except KeyError as error:
            raise MulmedError(
                f"The run was made by an earlier version, which did not note {error}.",
                where=str(run),
                remedy="Bring it up to date with `mulmed run RECIPE`.",
            ) from error


def _card(run: Path, step: str, merge: Artifact, review: Mapping[str, Any] | None) -> str:
    corpus = _artifact(run, "corpus")
    steps = list(_steps(run, step))
    base = embedded_of(merge.manifest["config"]["base"])
    sources = corpus.manifest["config"]["corpus"]["sources"]
    statistics = read_json(run / "corpus" / "statistics.json")
    learned = {name for _, train in steps for name in train.manifest["config"]["step"]["sources"]}
    trained_on = sorted(
        {
            row["language"]
            for row in statistics["splits"]
            if row["source"] in learned and row["split"] == "train"
        }
    )
    scores = read_json(run / "evaluate" / "scores.json") if read_artifact(run / "evaluate") else None
    rows = [r for r in scores["rows"] if r["model"] == step] if scores else []
    proven, proof = merge_sentence(step, read_json(run / f"merge-{step}" / "proof.json"))
    first = steps[0][1].manifest["config"]
    parts = [
        "---\n" + yaml.safe_dump(_head(step, base, first["base_name"], trained_on, rows), allow_unicode=True, sort_keys=False) + "---",
        f"# Model card: {step}",
        "**Research software, not a medical device.** Nothing that this model writes may be used to diagnose, to treat or to"
        " advise a patient unless a clinician has checked it.",
        f"A medical language model for {names.joined([names.language(code) for code in trained_on])}, made with MulMed from"
        f" {first['base_name']} by {len(steps)} LoRA fine-tuning{'s' if len(steps) > 1 else ''}, each merged into the weights. "
        + (base.notice if base else "The base model's own licence applies to it."),
        "## Intended use", INTENDED,
        "## Forbidden use", FORBIDDEN,
        "## How it was trained",
        markdown_table(
            ("Step", "From", "Sources", "Epochs", "Batch", "Learning rate", "LoRA r, alpha", "Adapted"),
            [_step(name, train) for name, train in steps],
        ),
        proof,
        "## Data",
        markdown_table(
            ("Source", "Language", "Licence", "Records: training", "validation", "test", "Taught to"),
            [
                (
                    name, names.language(source["language"]), source["licence"] or "not stated",
                    *(f"{_count(statistics, name, split):,}" for split in ("train", "validation", "test")),
                    ", ".join(s for s, train in steps if name in train.manifest["config"]["step"]["sources"]) or "nobody",
                )
                for name, source in sources.items()
            ],
        ),
        "How the records were cleaned, and of what the cleaning is known to miss how much, is in the data card.",
        "## Results",
        *_results(scores, rows),
        "## Review by people",
        *_review(merge.content, review),
        "## Limits", LIMITS,
    ]  # fmt: skip
    if gaps := read_json(run / "corpus" / "funnel.json").get("languages"):
        lines = [f"- {names.language(code)}: {gap}" for code, said in gaps.items() for gap in said]
        parts += ["Languages that a file added, and what they do not get:", "\n".join(lines)]
    parts += [
        "## Lineage",
        "Each stage's content is a SHA-256 over the hashes of all files it wrote; its manifest names those of its parents.",
        markdown_table(
            ("Stage", "Content"), [(f"`{name}`", f"`{content}`") for name, content in _lineage(run, step)]
        ),
        f"Prompt template: SHA-256 `{merge.manifest['config']['template']}`; the tokenizer's chat template builds the same prompts.",
        "Made with "
        + ", ".join(f"{name} {version}" for name, version in merge.manifest["versions"].items())
        + ".",
    ]
    if not proven:
        parts.insert(3, "**The merge is not proven: do not use this model.**")
    return "\n\n".join(parts) + "\n"


def _head(
    step: str,
    base: EmbeddedBase | None,
    base_name: str,
    languages: Sequence[str],
    rows: Sequence[Mapping[str, Any]],
) -> dict[str, Any]:
    licence: dict[str, str] = (
        {"license": base.hub_licence} if base else {"license": "other", "license_name": "of-the-base-model"}
    )
    hub = base.hub if base else base_name
    results = [
        {
            "task": {"type": "text-generation"},
            "dataset": {
                "type": "mulmed-held-out",
                "name": f"Held-out questions, {names.language(row['language'])}",
            },
            "metrics": [{"type": row["metric"], "name": row["metric"], "value": row["value"]}],
        }
        for row in rows
        if row["task"] == "all" and row["metric"] in ("f1", "rougeL")
    ]
    return {
        "language": list(languages),
        **licence,
        "library_name": "transformers",
        "pipeline_tag": "text-generation",
        # The hub refuses what is no name of its own: a folder's is left out.
        **({"base_model": hub, "base_model_relation": "finetune"} if re.fullmatch(r"[\w.-]+/[\w.-]+", hub) else {}),
        "tags": ["medical", "lora", "mulmed"],
        **({"model-index": [{"name": step, "results": results}]} if results else {}),
    }  # fmt: skip


def _steps(run: Path, step: str) -> Iterator[tuple[str, Artifact]]:
    """The training stages behind a model, the first one first."""
    train = _artifact(run, f"train-{step}")
    parent = train.manifest["config"]["step"]["parent"]
    if parent != "base":
        yield from _steps(run, parent)
    yield step, train


def _step(name: str, train: Artifact) -> tuple[str, ...]:
    step = train.manifest["config"]["step"]
    lora = step["lora"]
    return (
        name, step["parent"], ", ".join(step["sources"]), f"{step['epochs']:g}", str(step["batch"]),
        f"{step['learning_rate']:g}", f"{lora['r']}, {lora['alpha']:g}", ", ".join(lora["targets"]),
    )  # fmt: skip


def _count(statistics: Mapping[str, Any], source: str, split: str) -> int:
    return sum(r["records"] for r in statistics["splits"] if (r["source"], r["split"]) == (source, split))


def _results(scores: Mapping[str, Any] | None, rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """By language and task, and by source and length of the reference."""
    if scores is None or not rows:
        return ["**It was not evaluated.** Nobody knows how good its answers are."]
    level = f"{100 * scores['confidence']:g}%"

    def cell(found: Mapping[str, Any]) -> str:
        return f"{names.decimal(found['value'])} ({names.decimal(found['low'])} to {names.decimal(found['high'])})"

    def table(heads: Sequence[str], found: Sequence[Mapping[str, Any]], keys: Sequence[str]) -> str:
        by_group: dict[tuple[str, ...], dict[str, Mapping[str, Any]]] = {}
        for row in found:
            if row["metric"] in _HEADLINE:
                by_group.setdefault(tuple(str(row[key]) for key in keys), {})[row["metric"]] = row
        titles = [scores["metrics"][metric]["name"] for metric in _HEADLINE]
        return markdown_table(
            (*heads, "Questions", *titles),
            [
                (names.language(key[0]), *map(names.task, key[1:]), f"{next(iter(of.values()))['n']:,}",
                 *(cell(of[metric]) if metric in of else "" for metric in _HEADLINE))
                for key, of in by_group.items()
            ],
        )  # fmt: skip

    said = [
        f"On held-out questions; in brackets {level} intervals over the choice of questions. Definitions are in MulMed's documentation.",
        table(("Language", "Task"), rows, ("language", "task")),
    ]
    slices = [r for r in scores["slices"] if r["model"] == rows[0]["model"]]
    if slices:
        said += [
            "By source, and by thirds of the reference's length:",
            table(("Language", "By", "Part"), slices, ("language", "by", "slice")),
        ]
    return said


def _review(content: str, review: Mapping[str, Any] | None) -> list[str]:
    if review is None:
        return ["**No clinician has rated its answers** in a review that this card was given."]
    titles = {axis["key"]: axis["title"]["en"] for axis in review["axes"]}
    name = reviewed_as(review, content)
    if name is None:
        return [
            f"There was a blind review of {', '.join(review['models'])}, and not of this model: of other weights than these."
        ]
    rated = [row for row in review["scores"] if row["model"] == name]
    return [
        f"Blind review by {review['annotators']} annotators of {review['study']['questions']} questions; mean scores with {100 * review['confidence']:g}% intervals:",
        markdown_table(
            ("Axis", "Language", "Questions", "Mean"),
            [
                (
                    titles[row["axis"]], names.language(row["language"]), f"{row['questions']:,}",
                    "" if row["mean"] is None else f"{row['mean']:.2f}"
                    + ("" if row["low"] is None else f" ({row['low']:.2f} to {row['high']:.2f})"),
                )
                for row in rated
            ],
        ),
    ]  # fmt: skip


def _lineage(run: Path, step: str) -> Iterator[tuple[str, str]]:
    names_of = ["corpus"]
    for name, _ in _steps(run, step):
        names_of += [f"train-{name}", f"merge-{name}"]
    for name in (*names_of, f"generate-{step}", "evaluate"):
        if artifact := read_artifact(run / name):
            yield name, artifact.content


def _artifact(run: Path, stage: str) -> Artifact:
    artifact = read_artifact(run / stage)
    if artifact is None:
        raise MulmedError(
            f"The stage {stage} is not finished, so nothing can be told of it.",
            where=str(run / stage),
            remedy="Run the recipe's training again: `mulmed train RECIPE`.",
        )
    return artifact
