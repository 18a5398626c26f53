"""The stage that reads and cleans the corpora."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

from mulmed.pipeline import Progress, Stage
from mulmed.recipe.language import BUILT_IN
from mulmed.stages.common import VERSIONS, languages_of
from mulmed.stages.vocabulary import learn

if TYPE_CHECKING:
    from mulmed.corpus.build import Texts
    from mulmed.corpus.truncate import CountTokens, Overhead
    from mulmed.prompts import Renderer
    from mulmed.stages.run import Run


def corpus_stage(run: Run) -> Stage:
    """Published corpora -> cleaned records and what was done to them."""
    from mulmed.corpus.files import resolve

    recipe = run.recipe
    data = Path(recipe.data)
    inputs = {
        name: [
            [path.name, run.hashes(path)]
            for path in resolve(data, source.paths, f"corpus.sources.{name}.path")
        ]
        for name, source in recipe.corpus.sources.items()
    }

    def make(out: Path, progress: Progress) -> None:
        from mulmed.corpus.build import build_corpus
        from mulmed.corpus.record import TASKS
        from mulmed.prompts.counting import TokenCounter

        languages = {source.language for source in recipe.corpus.sources.values()}
        if any(s.columns is not None and s.columns.language for s in recipe.corpus.sources.values()):
            languages |= {*BUILT_IN, *(language.code for language in recipe.languages)}
        known = [
            (task, language)
            for task in TASKS
            for language in sorted(languages)
            if task == "instruction" or language in run.template.instructions[task]
        ]

        def overhead(renderer: Renderer) -> Overhead:
            return {(task, language): renderer.overhead(task, language) for task, language in known}

        def extend(texts: Texts, report: Progress) -> tuple[Overhead, CountTokens]:
            assert recipe.vocabulary is not None
            renderer = learn(run, texts, recipe.vocabulary.tokens, out, report)
            return overhead(renderer), TokenCounter(renderer.tokenizer)

        build_corpus(
            recipe.corpus,
            data,
            out,
            seed=recipe.seed,
            cutoff=recipe.cutoff,
            overhead=overhead(run.base_renderer),
            count_tokens=TokenCounter(run.base_renderer.tokenizer),
            extend=None if recipe.vocabulary is None else extend,
            progress=progress,
        )

    return Stage(
        name="corpus",
        title="read and clean the corpora",
        version=VERSIONS["corpus"],
        parents={},
        config={
            # Where it is worked on changes nothing; the key is a secret, and manifests are published.
            "corpus": recipe.corpus.model_dump(mode="json", exclude={"executor", "key"}),
            "key": _fingerprint(recipe.corpus.key),
            "cutoff": recipe.cutoff,
            "seed": recipe.seed,
            "template": run.template.sha256,
            "base": run.base.content,
            "inputs": inputs,
            **({} if recipe.vocabulary is None else {"vocabulary": recipe.vocabulary.model_dump()}),
            **languages_of(recipe),
        },
        make=make,
    )


def _fingerprint(key: str | None) -> str | None:
    """What tells one secret from another without giving either away."""
    if key is None:
        return None
    return hashlib.pbkdf2_hmac("sha256", key.encode(), b"mulmed corpus key", 600_000).hex()[:16]
