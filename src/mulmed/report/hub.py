"""A model as a folder that could be handed to a hub: weights, tokenizer, adapter, cards, licences. Nothing is uploaded."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mulmed.artifact import MANIFEST, disk_errors, read_artifact, write_json
from mulmed.base.embedded import embedded_of
from mulmed.errors import MulmedError
from mulmed.export.merged import finished_merge
from mulmed.report.croissant import croissant
from mulmed.report.files import read_json
from mulmed.report.model_card import model_card
from mulmed.review.results import read_results

CARD, DATA_CARD, CROISSANT = "README.md", "data_card.md", "croissant.json"
ADAPTER = ("adapter_config.json", "adapter_model.safetensors")


def write_cards(
    run: Path, steps: Sequence[str], out: Path, name: str, review: Mapping[str, Any] | None
) -> None:
    """Write a model card a step (``model_card_STEP.md``), the data card and its Croissant file into ``out``.

    Raises:
        MulmedError: see :func:`~mulmed.report.model_card.model_card`.
    """
    for step in steps:
        (out / f"model_card_{step}.md").write_text(model_card(run, step, review), encoding="utf-8")
    shutil.copyfile(run / "corpus" / DATA_CARD, out / DATA_CARD)
    write_json(out / CROISSANT, croissant(run / "corpus", name))


def export_folder(merge: Path, out: Path, review: Path | None = None) -> None:
    """Lay out a merged model for the hub.

    ``out`` gets the merged model with its tokenizer and chat template, ``README.md`` (the model card), ``NOTICE.md`` (licences),
    ``adapter/`` (in peft's format) and ``data/`` (the data card and its Croissant file, no records). It appears when it is whole.

    Args:
        merge: a run's folder ``merge-STEP``.
        review: ``results.json`` of a blind review.

    Raises:
        MulmedError: the folder is no finished merge, was changed since, or its merge is not proven; ``out`` is there already; a
            stage that the cards tell of is gone.
    """
    artifact = finished_merge(merge)
    stage = str(artifact.manifest["stage"])
    if read_json(merge / "proof.json")["holds"] is not True:
        raise MulmedError(
            "The merge is not proven: this is not the model that was trained.",
            where=str(merge / "proof.json"),
            remedy="Merge the step again.",
        )
    if out.exists():
        raise MulmedError(
            "There is something of this name already.",
            where=str(out),
            remedy="Name another folder, or remove this one.",
        )
    run, step = merge.resolve().parent, stage.removeprefix("merge-")
    results = read_results(review, "--review") if review else None
    work = out.with_name(f"{out.name}.partial")
    with disk_errors(out.parent):
        shutil.rmtree(work, ignore_errors=True)
        work.mkdir(parents=True)
        (work / CARD).write_text(model_card(run, step, results), encoding="utf-8")
        (work / "NOTICE.md").write_text(_notice(run, artifact.manifest["config"]["base"]), encoding="utf-8")
        (work / "data").mkdir()
        shutil.copyfile(run / "corpus" / DATA_CARD, work / "data" / DATA_CARD)
        write_json(work / "data" / CROISSANT, croissant(run / "corpus", f"{run.name}-corpus"))
        (work / "adapter").mkdir()
        for file in ADAPTER:
            shutil.copyfile(run / f"train-{step}" / file, work / "adapter" / file)
        for file in (MANIFEST, *artifact.manifest["files"]):
            (work / file).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(merge / file, work / file)
        work.replace(out)


def _notice(run: Path, content: str) -> str:
    """Whose licences bind who passes the model on."""
    base = embedded_of(content)
    of_base = (
        f"{base.title}: {base.licence}. {base.notice}"
        if base
        else "The base model is not one that MulMed knows: its publisher's licence applies. Look it up before you pass this on."
    )
    corpus = read_artifact(run / "corpus")
    assert corpus is not None  # the card has told of it
    sources = corpus.manifest["config"]["corpus"]["sources"]
    lines = [f"- {name}: {source['licence'] or 'the recipe states none'}" for name, source in sources.items()]
    return (
        f"# Licences\n\n## Base model\n\n{of_base} The weights were changed by fine-tuning with MulMed.\n\n"
        "## Training and test data\n\nThe records are not in this folder; the model has learned from those that the model card names."
        " Their publishers' licences, as the recipe states them:\n\n" + "\n".join(lines) + "\n"
    )
