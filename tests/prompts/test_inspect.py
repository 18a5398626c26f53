"""The gate before training, and the token accounting of the preview."""

from __future__ import annotations

from typing import Any

import pytest

from mulmed.errors import MulmedError
from mulmed.prompts import Example, Renderer, load_template
from mulmed.prompts.inspect import check_examples, spans, target_shares
from tests.prompts.test_render import record


def example(targets: int, length: int, task: str = "qa", language: str = "en") -> Example:
    mask = (False,) * (length - targets) + (True,) * targets
    return Example(tuple(range(length)), mask, f"{task}-{language}-{length}", task, language)


def test_nothing_to_learn_is_refused_and_named() -> None:
    with pytest.raises(MulmedError, match="1 of 2 examples have no target token") as caught:
        check_examples([example(3, 10), example(0, 12)], 256, "mulmed")
    assert "qa-en-12" in caught.value.where


def test_no_example_at_all_is_refused() -> None:
    with pytest.raises(MulmedError, match="no training example"):
        check_examples([], 256, "mulmed")


def test_too_long_is_refused_and_one_token_less_is_not() -> None:
    check_examples([example(3, 256)], 256, "mulmed")
    with pytest.raises(MulmedError, match="longest has 257"):
        check_examples([example(3, 256), example(3, 257)], 256, "mulmed")


def test_a_first_token_is_never_a_target() -> None:
    only_first = Example((1, 2), (True, False), "r", "qa", "en")
    with pytest.raises(MulmedError, match="no target token"):
        check_examples([only_first], 256, "mulmed")


def test_shares_are_summed_by_task_and_language() -> None:
    shares = target_shares([example(3, 10), example(5, 20), example(4, 8, "summary", "zh")])
    assert [(s.task, s.language, s.examples, s.tokens, s.targets, s.longest) for s in shares] == [
        ("qa", "en", 2, 30, 8, 20),
        ("summary", "zh", 1, 8, 4, 8),
    ]
    assert shares[0].target_share == pytest.approx(8 / 30)


def test_spans_show_the_whole_text_and_what_is_learned(smollm_tokenizer: Any) -> None:
    renderer = Renderer(smollm_tokenizer, load_template("alpaca"))
    shown = renderer.example(record("I cough.", "Rest.", "Thanks.", "Get well.", task="dialogue"))
    pieces = list(spans(renderer, shown))
    assert [text for text, learned in pieces if learned] == ["Rest.<|im_end|>", "Get well.<|im_end|>"]
    assert "".join(text for text, _ in pieces) == smollm_tokenizer.decode(list(shown.ids))
