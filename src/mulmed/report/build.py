"""From the folders that a run's stages wrote to one report."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from mulmed.errors import MulmedError
from mulmed.recipe import Recipe
from mulmed.report import (
    care_tables,
    corpus_tables,
    figures,
    names,
    review_figures,
    review_tables,
    score_tables,
    tables,
)
from mulmed.report.account import (
    BaseInfo,
    cleaning_left_out,
    energy_sentence,
    loss_sentence,
    merge_sentence,
    what_was_made,
)
from mulmed.report.curves import Curve, read_curve
from mulmed.report.engines import engines_table
from mulmed.report.examples import choose_examples
from mulmed.report.files import broken, read_json
from mulmed.report.headline import comparison, findings, lead
from mulmed.report.html import Page, Picture, ReviewSection, render
from mulmed.report.markdown import results_document
from mulmed.report.scores import Scores, read_scores
from mulmed.review.results import read_results

#: Saves a figure under a name; the picture has a caption and a text for ears.
_Picturing = Callable[[str, Figure, str, str], Picture]


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportInputs:
    """Where the stages of a run left what the report shows.

    Attributes:
        recipe: the whole recipe.
        base: name, licence line and parameters of the base model.
        corpus: folder with ``funnel.json`` and ``statistics.json``, and ``vocabulary.json`` where tokens were learned.
        training: by step, the folder with ``log.jsonl``, ``outcome.json`` and ``run.json``.
        merges: by step, the folder with ``proof.json``.
        generations: by model, the folder with ``answers.jsonl``; their order is the report's.
        evaluation: folder with ``scores.json``, ``care.json`` and ``engines.json``.
        lineage: a mapping a stage with ``stage``, ``key``, ``manifest_sha256`` and ``seconds``.
        versions: version by package.
        review: ``results.json`` of a blind review, if there was one.
    """

    recipe: Recipe
    base: BaseInfo
    corpus: Path
    training: Mapping[str, Path]
    merges: Mapping[str, Path]
    generations: Mapping[str, Path]
    evaluation: Path
    lineage: Sequence[Mapping[str, Any]]
    versions: Mapping[str, str]
    review: Path | None = None


def build_report(out: Path, inputs: ReportInputs) -> Path:
    """Write ``index.html``, ``results.md``, ``scores.json`` and ``figures/`` into ``out``; returns the page's path.

    The same inputs give the same bytes.

    Raises:
        MulmedError: an input is missing or broken, or a table would have an empty cell.
    """
    (out / "figures").mkdir(parents=True, exist_ok=True)
    page = out / "index.html"
    try:
        page.write_text(render(_page(inputs, out / "figures")), encoding="utf-8")
        (out / "results.md").write_text(_results(inputs), encoding="utf-8")
    except (KeyError, TypeError) as error:
        raise MulmedError(
            f"A file that the report reads is not in the expected form: {error!r}.",
            where=f"{inputs.corpus}, {inputs.evaluation} or a folder of a step",
            remedy="Delete the folders of an older version of MulMed and run the recipe again.",
        ) from error
    shutil.copyfile(inputs.evaluation / "scores.json", out / "scores.json")
    return page


def _results(inputs: ReportInputs) -> str:
    scores = read_scores(inputs.evaluation / "scores.json", tuple(inputs.generations))
    curves = [read_curve(step, path) for step, path in inputs.training.items()]
    losses = [tables.training_table(curves), tables.validation_table(curves)]
    return results_document(
        inputs.recipe.name, comparison(inputs.recipe, scores), scores, [table for table in losses if table]
    )


def _review(results: Mapping[str, Any], picture: _Picturing) -> ReviewSection:
    with figures.style():
        return ReviewSection(
            account=review_tables.account(results),
            scores_picture=picture(
                "review-scores",
                review_figures.scores_figure(results),
                f"Mean score of every model on each axis (Figure 4 of the paper), with {100 * results['confidence']:g}% intervals over questions.",
                "Grouped bar chart of the review's scores table: a panel for each language, a group of bars for each"
                " axis, one bar for each model.",
            ),
            shares_picture=picture(
                "review-shares",
                review_figures.shares_figure(results),
                "How often each score was given, over all languages.",
                "Stacked bar chart of the shares in the review's scores table.",
            ),
            scores=review_tables.scores_table(results),
            agreement=review_tables.agreement_table(results),
            judge=review_tables.judge_table(results),
            comparisons=review_tables.comparisons_table(results),
            leave_one_out=review_tables.leave_one_out_table(results),
            remarks=review_tables.remarks_table(results),
            missing=review_tables.missing_table(results),
        )


def _pictures(
    scores: Scores,
    funnel: Mapping[str, Any],
    curves: Sequence[Curve],
    care: Mapping[str, Any],
    statistics: Mapping[str, Any],
    model: str,
    picture: _Picturing,
) -> dict[str, Any]:
    """The page's pictures under its names for them; ``None`` where there is nothing to show."""
    with figures.style():
        drawn: dict[str, Any] = {
            "words_picture": None,
            "lengths_picture": None,
            "scores_picture": picture(
                "scores",
                figures.scores_figure(scores),
                f"F1, ROUGE and diversity of every model over all tasks (Figure 3 of the paper). Whiskers: {scores.interval}.",
                "Grouped bar chart of the scores table: a row of panels for each language, groups of bars"
                " for the measures, one bar for each model.",
            ),
            "funnel_picture": picture(
                "funnel",
                figures.funnel_figure(funnel),
                "Records left after each cleaning stage; in brackets, how many the stage dropped, not"
                " counting those over a source's limit in the recipe.",
                "Bar chart of the cleaning table: records kept and dropped by each stage.",
            ),
            "loss_picture": picture(
                "loss",
                figures.loss_figure(curves),
                "Loss of every training batch and of the validation records. Lower is better.",
                "Line chart of training and validation loss over the optimizer steps of each training"
                " step. First and last values are in the training table.",
            ),
        }
        if care["words"]:
            drawn["words_picture"] = picture(
                "words",
                figures.words_figure(care, model),
                "The words used most often in answers to patients (Figure 5 of the paper), function words left out, and how often in 1,000"
                " words. Coloured are"
                " words of care and of the clinic.",
                "Bar charts of the most frequent words of the model and of the doctors, for each language.",
            )
        if statistics["lengths"]:
            drawn["lengths_picture"] = picture(
                "lengths",
                figures.lengths_figure(statistics),
                "Lengths of the texts after cleaning. The last bar also holds everything longer.",
                "Histograms of text lengths for each source and field. The means are in the corpus table.",
            )
    return drawn


def _page(inputs: ReportInputs, folder: Path) -> Page:
    recipe = inputs.recipe
    if not inputs.generations or not inputs.training:
        raise MulmedError(
            "The report needs at least one trained step and one model that answered.",
            where=recipe.name,
            remedy="Run the training and generation stages first.",
        )
    scores = read_scores(inputs.evaluation / "scores.json", tuple(inputs.generations))
    review = read_results(inputs.review, "report.review") if inputs.review else None
    funnel = read_json(inputs.corpus / "funnel.json")
    statistics = read_json(inputs.corpus / "statistics.json")
    if not funnel["stages"]:
        raise broken(inputs.corpus / "funnel.json", "The cleaning funnel names no stage.")
    curves = [read_curve(step, path) for step, path in inputs.training.items()]
    pair = comparison(recipe, scores)
    care = read_json(inputs.evaluation / "care.json")

    def picture(name: str, figure: Figure, caption: str, alt: str) -> Picture:
        return Picture(figures.inline(figures.save(figure, folder, name), name, alt), caption)

    return Page(
        name=recipe.name,
        model=pair.model,
        lead=lead(pair, scores),
        made=[*what_was_made(recipe, inputs.base, funnel, statistics), loss_sentence(curves)],
        findings=findings(pair, scores),
        interval=scores.interval,
        resamples=scores.resamples,
        cleaning_left_out=cleaning_left_out(recipe),
        licence=inputs.base["licence"],
        base=inputs.base["name"],
        care=care_tables.care_table(care, recipe.models),
        distinctive=care_tables.distinctive_table(care, recipe.models),
        scores=score_tables.main_table(scores),
        engines=engines_table(recipe, read_json(inputs.evaluation / "engines.json")),
        differences=score_tables.difference_table(scores),
        all_scores=score_tables.all_scores_table(scores),
        slices=score_tables.slices_table(scores),
        examples=choose_examples(inputs.generations, recipe.report.examples),
        gaps=[(names.language(code), gaps) for code, gaps in funnel.get("languages", {}).items()],
        corpus=corpus_tables.corpus_table(statistics),
        splits=corpus_tables.splits_table(statistics),
        funnel=corpus_tables.funnel_table(funnel),
        funnel_sources=corpus_tables.funnel_sources_table(funnel),
        leaks=corpus_tables.leak_table(recipe.corpus.deidentify.profile)
        if recipe.corpus.deidentify
        else None,
        rules=corpus_tables.rules_table(funnel),
        mentions=corpus_tables.mentions_table(statistics),
        vocabulary=corpus_tables.vocabulary_table(read_json(inputs.corpus / "vocabulary.json"))
        if recipe.vocabulary
        else None,
        removals=corpus_tables.removals_table(statistics),
        training=tables.training_table(curves),
        validation=tables.validation_table(curves),
        shares=tables.shares_table(curves),
        step_settings=tables.step_settings_table(recipe),
        merges=[merge_sentence(step, read_json(path / "proof.json")) for step, path in inputs.merges.items()],
        decoding=tables.decoding_table(recipe),
        run=tables.run_table({s: read_json(p / "run.json") for s, p in inputs.training.items()}),
        energy=energy_sentence(
            [read_json(path / "run.json") for path in inputs.training.values()], inputs.lineage
        ),
        lineage=tables.lineage_table(inputs.lineage),
        versions=tables.versions_table(inputs.versions),
        metrics=list(scores.metrics.values()),
        # Last, because drawing takes longest: what is missing is told before.
        **_pictures(scores, funnel, curves, care, statistics, pair.model, picture),
        review=_review(review, picture) if review else None,
    )
