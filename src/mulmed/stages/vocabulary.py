"""The stage that gives the base model more tokens, and the part of the corpus stage that learns them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson

from mulmed.artifact import write_json
from mulmed.base import prepare_base
from mulmed.pipeline import Progress, Stage
from mulmed.stages.common import VERSIONS, VOCABULARY

if TYPE_CHECKING:
    from mulmed.prompts import Renderer
    from mulmed.prompts.vocabulary import Vocabulary
    from mulmed.stages.run import Run


def learn(
    run: Run, texts: Mapping[tuple[str, Any], Sequence[str]], size: int, out: Path, progress: Progress
) -> Renderer:
    """Learn tokens from the Chinese training texts and write them, with what they are worth, to ``out``.

    Args:
        texts: by language and split.
        size: how many tokens.

    Returns:
        The renderer with the extended tokenizer.

    Raises:
        MulmedError: the base model's tokenizer cannot be extended, or there is too little to learn from.
    """
    from mulmed.prompts import Renderer
    from mulmed.prompts.counting import TokenCounter
    from mulmed.prompts.vocabulary import extend_tokenizer, learn_vocabulary

    tokenizer = run.base_renderer.tokenizer
    vocabulary = learn_vocabulary(tokenizer, texts.get(("zh", "train"), ()), size, progress)
    renderer = Renderer(extend_tokenizer(tokenizer, vocabulary), run.template)
    before, after = TokenCounter(tokenizer), TokenCounter(renderer.tokenizer)
    worth = [
        {
            "language": language,
            "split": split,
            "characters": sum(map(len, of_split)),
            "tokens_before": sum(before(of_split)),
            "tokens_after": sum(after(of_split)),
        }
        for (language, split), of_split in sorted(texts.items())
    ]
    write_json(out / VOCABULARY, vocabulary.document() | {"worth": worth})
    return renderer


def read_vocabulary(run: Run) -> Vocabulary | None:
    """What the corpus stage learned; None where the recipe wants no more tokens."""
    if run.recipe.vocabulary is None:
        return None
    from mulmed.prompts.vocabulary import Vocabulary

    return Vocabulary.of(orjson.loads((run.pipeline.folder("corpus") / VOCABULARY).read_bytes()))


def vocabulary_stage(run: Run) -> Stage:
    """The base model and the learned tokens -> the base model that knows them."""

    def make(out: Path, progress: Progress) -> None:
        from mulmed.training.grow import grow_model

        prepare_base(run.base, run.tell)
        vocabulary = read_vocabulary(run)
        assert vocabulary is not None  # there is no such stage otherwise
        progress("growing the base", 0, 1)
        grow_model(run.base.folder, vocabulary, run.renderer.tokenizer, out)
        progress("grown", 1, 1)

    return Stage(
        name="vocabulary",
        title="give the base more tokens",
        version=VERSIONS["vocabulary"],
        parents={"corpus": (VOCABULARY,)},
        config={"base": run.base.content},
        make=make,
    )
