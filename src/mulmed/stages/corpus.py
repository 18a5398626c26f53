"""The stage that reads and cleans the corpora."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

from mulmed.pipeline import Progress, Stage
from mulmed.stages.common import VERSIONS

if TYPE_CHECKING:
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
        known = [
            (task, language)
            for task in TASKS
            for language in sorted(languages)
            if task == "instruction" or language in run.template.instructions[task]
        ]
        build_corpus(
            recipe.corpus,
            data,
            out,
            seed=recipe.seed,
            cutoff=recipe.cutoff,
            overhead={(t, lang): run.renderer.overhead(t, lang) for t, lang in known},
            count_tokens=TokenCounter(run.renderer.tokenizer),
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
        },
        make=make,
    )


def _fingerprint(key: str | None) -> str | None:
    """What tells one secret from another without giving either away."""
    if key is None:
        return None
    return hashlib.pbkdf2_hmac("sha256", key.encode(), b"mulmed corpus key", 600_000).hex()[:16]
