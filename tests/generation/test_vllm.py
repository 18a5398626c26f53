"""vLLM as an engine: what can be said of it where it is not installed, and its answers where it is."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from mulmed.errors import MulmedError
from mulmed.generation.agreement import compare_engines
from mulmed.generation.answers import choose_questions
from mulmed.generation.engine import Completion, TransformersEngine
from mulmed.generation.vllm import VllmEngine, completion
from mulmed.prompts import Renderer
from mulmed.recipe import Decoding
from tests.conftest import TEXTS
from tests.generation.test_answers import RECORDS


def test_without_the_library_the_user_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "vllm", None)
    with pytest.raises(MulmedError, match="vLLM is not installed") as caught:
        VllmEngine(tmp_path, 2, slots=1, context=64)
    assert "mulmed[vllm]" in caught.value.remedy


@pytest.mark.parametrize(
    ("ids", "reason", "expected"),
    [
        ([5, 6, 2], "stop", Completion((5, 6), "stop")),  # the end of text is no part of the answer
        ([5, 6], "stop", Completion((5, 6), "stop")),
        ([5, 6], "length", Completion((5, 6), "length")),
        ([2], "stop", Completion((), "stop")),
    ],
)
def test_the_end_of_text_is_no_part_of_an_answer(ids: list[int], reason: str, expected: Completion) -> None:
    assert completion(SimpleNamespace(token_ids=ids, finish_reason=reason), 2) == expected


@pytest.mark.skipif(
    importlib.util.find_spec("vllm") is None,
    reason="vLLM (the extra `vllm`) is not installed: pip install vllm",
)
def test_it_agrees_with_the_reference(taught: Path, renderer: Renderer) -> None:
    prompts = [q.prompt for q in choose_questions(RECORDS, None, renderer)]
    engine = VllmEngine(taught, renderer.eos_id, slots=4, context=512)
    reference = TransformersEngine(taught, renderer.eos_id)
    found = compare_engines(reference, engine, prompts, Decoding(max_new_tokens=60, repetition_penalty=1.0))
    assert found["identical"] == len(TEXTS)
