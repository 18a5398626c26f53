"""The page: one file that asks nothing of any other."""

from __future__ import annotations

import functools
from dataclasses import dataclass

import jinja2

from mulmed.evaluation.metric import Metric
from mulmed.report import names
from mulmed.report.examples import Example
from mulmed.report.tables import Table


@dataclass(frozen=True, slots=True)
class Picture:
    """An inlined figure with its caption."""

    svg: str
    caption: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ReviewSection:
    """What a blind review found."""

    account: list[str]
    scores_picture: Picture
    shares_picture: Picture
    scores: Table
    agreement: Table
    judge: Table | None
    remarks: Table
    comparisons: Table
    leave_one_out: Table
    missing: Table


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """Everything the template shows, ready to be printed."""

    name: str
    model: str
    lead: str
    made: list[str]
    findings: list[str]
    interval: str
    resamples: int
    cleaning_left_out: list[str]
    licence: str
    base: str
    care: Table
    distinctive: Table | None
    words_picture: Picture | None
    scores: Table
    engines: Table
    differences: Table
    all_scores: Table
    slices: Table | None
    scores_picture: Picture
    examples: tuple[Example, ...]
    gaps: list[tuple[str, list[str]]]
    corpus: Table
    splits: Table
    funnel: Table
    funnel_sources: Table
    leaks: Table | None
    rules: Table
    mentions: Table | None
    removals: Table | None
    vocabulary: Table | None
    funnel_picture: Picture
    lengths_picture: Picture | None
    training: Table
    validation: Table | None
    shares: Table
    step_settings: Table
    loss_picture: Picture
    energy: str
    merges: list[tuple[bool, str]]
    decoding: Table
    run: Table
    lineage: Table
    versions: Table
    metrics: list[Metric]
    review: ReviewSection | None


def render(page: Page) -> str:
    """The whole report as HTML."""
    return render_page("report.html.j2", page)


def render_page(template: str, page: object) -> str:
    """A template of this package as HTML, with ``page`` as what it shows."""
    return _environment().get_template(template).render(page=page)


@functools.cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("mulmed.report"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(language=names.language, task=names.task, count=names.count)
    return environment
