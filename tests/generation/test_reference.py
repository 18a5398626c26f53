"""The reference engine on a batch whose answers end at different times: who has ended is computed no more."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
import torch

from mulmed.generation.engine import Completion, TransformersEngine
from mulmed.recipe import Decoding
from tests.conftest import Small

LONGEST = 24


def prompts(count: int) -> list[list[int]]:
    generator = torch.Generator().manual_seed(3)
    lengths = [5 + 3 * (i % 4) for i in range(count)]
    return [torch.randint(5, 60, (length,), generator=generator).tolist() for length in lengths]


@pytest.fixture(params=["small_llama", "small_gemma"])
def folder(request: pytest.FixtureRequest) -> Path:
    small: Small = request.getfixturevalue(request.param)
    return small.converted


def an_end_that_comes(folder: Path, decoding: Decoding) -> int:
    """A token that some answers hold, at different places."""
    engine = TransformersEngine(folder, 1)
    answers = [engine.complete([prompt], decoding, 0)[0].ids for prompt in prompts(12)]
    holds = Counter(token for ids in answers for token in set(ids))
    return next(token for token, count in holds.most_common() if 3 <= count <= 10)


@pytest.mark.parametrize(
    "decoding",
    [
        Decoding(max_new_tokens=LONGEST, no_repeat_ngram=2),
        Decoding(max_new_tokens=LONGEST, no_repeat_ngram=3, repetition_penalty=1.02),
    ],
)
def test_a_batch_that_thins_out_answers_as_one_question_after_another(
    folder: Path, decoding: Decoding
) -> None:
    end = an_end_that_comes(folder, decoding)
    engine = TransformersEngine(folder, end)
    asked = prompts(12)
    alone = [engine.complete([prompt], decoding, 0)[0] for prompt in asked]
    assert len({len(c.ids) for c in alone if c.finish == "stop"}) > 1
    rows: list[int] = []
    embedding = engine._model.get_input_embeddings()
    embedding.register_forward_hook(lambda _, given, __: rows.append(len(given[0])))
    assert engine.complete(asked, decoding, 0) == alone
    assert rows[0] == 12
    assert rows == sorted(rows, reverse=True)
    assert rows[-1] <= 9  # a quarter had ended and was left out
    assert len(rows) <= LONGEST


def test_the_same_seed_draws_the_same_and_every_answer_is_the_model_s(folder: Path) -> None:
    decoding = Decoding(max_new_tokens=LONGEST, temperature=1.0)
    engine = TransformersEngine(folder, 7)
    first, again = (engine.complete(prompts(12), decoding, 5) for _ in range(2))
    assert first == again != engine.complete(prompts(12), decoding, 6)
    assert all(isinstance(c, Completion) and 7 not in c.ids for c in first)
    assert all(c.finish == "stop" or len(c.ids) == LONGEST for c in first)
