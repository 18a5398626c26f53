"""The engine of llama.cpp answers as transformers does."""

from __future__ import annotations

import importlib.util
import sys
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from mulmed.base.embedded import identity
from mulmed.errors import MulmedError
from mulmed.export.gguf import export_gguf
from mulmed.generation.agreement import compare_engines
from mulmed.generation.answers import choose_questions
from mulmed.generation.engine import TransformersEngine
from mulmed.generation.llamacpp import LlamaCppEngine
from mulmed.prompts import Renderer
from mulmed.recipe import Decoding
from tests.bases import installed
from tests.conftest import TEXTS, Small
from tests.export.merges import make_merged
from tests.generation.test_answers import RECORDS

needs_llama_cpp = pytest.mark.skipif(
    importlib.util.find_spec("xllamacpp") is None,
    reason="llama.cpp (the extra `llamacpp`) is not installed: pip install xllamacpp",
)
pytestmark = pytest.mark.usefixtures("single_thread")
GREEDY = Decoding(max_new_tokens=60, repetition_penalty=1.0)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory, small_llama: Small) -> Path:
    folder = tmp_path_factory.mktemp("gguf")
    with installed(small_llama.packages, small_llama.base):
        merged = make_merged(
            folder / "merge", identity(small_llama.base), small_llama.taught, small_llama.renderer
        )
        export_gguf(merged, folder / "model.gguf", "f32")
    return folder / "model.gguf"


@pytest.fixture(scope="module")
def renderer(small_llama: Small) -> Renderer:
    return small_llama.renderer


@pytest.fixture(scope="module")
def engine(model: Path, renderer: Renderer) -> LlamaCppEngine:
    return LlamaCppEngine(model, renderer.eos_id, slots=3, context=256, threads=1)


@pytest.fixture
def prompts(renderer: Renderer) -> list[tuple[int, ...]]:
    return [q.prompt for q in choose_questions(RECORDS, None, renderer)]


@needs_llama_cpp
@pytest.mark.parametrize(
    "decoding",
    [GREEDY, Decoding(max_new_tokens=24), Decoding(max_new_tokens=24, repetition_penalty=4.0)],
    ids=["greedy", "default", "penalty"],
)
def test_it_agrees_with_the_reference(
    engine: LlamaCppEngine, small_llama: Small, renderer: Renderer, prompts: Any, decoding: Decoding
) -> None:
    reference = TransformersEngine(small_llama.taught, renderer.eos_id)
    found = compare_engines(reference, engine, prompts, decoding)
    assert found["identical"] == found["answers"] == len(TEXTS)
    assert found["leading_share"] == 1


@needs_llama_cpp
def test_answers_end_at_the_end_of_text(engine: LlamaCppEngine, renderer: Renderer, prompts: Any) -> None:
    got = engine.complete(prompts, GREEDY, 1)
    assert [renderer.tokenizer.decode(c.ids) for c in got] == [t[2][-1] for t in TEXTS]
    assert {c.finish for c in got} == {"stop"}
    short = engine.complete(prompts, GREEDY.model_copy(update={"max_new_tokens": 3}), 1)
    assert [(c.ids, c.finish) for c in short] == [
        (c.ids[:3], "stop" if len(c.ids) < 3 else "length") for c in got
    ]


@needs_llama_cpp
def test_sampling_is_decided_by_its_seed(engine: LlamaCppEngine, prompts: Any) -> None:
    decoding = Decoding(max_new_tokens=12, temperature=3.0, top_p=0.9)
    once = engine.complete(prompts, decoding, 1)
    assert engine.complete(prompts, decoding, 1) == once
    assert engine.complete(prompts, decoding, 2) != once
    # Equal questions get answers of their own.
    same = engine.complete([prompts[0]] * 3, decoding, 1)
    assert len({c.ids for c in same}) == 3


@needs_llama_cpp
def test_what_it_has_not_is_refused(engine: LlamaCppEngine, prompts: Any) -> None:
    for key in ("num_beams", "no_repeat_ngram"):
        with pytest.raises(MulmedError, match=f"no decoding with {key}"):
            engine.complete(prompts, GREEDY.model_copy(update={key: 4}), 1)


@needs_llama_cpp
def test_a_prompt_without_room_is_refused(engine: LlamaCppEngine) -> None:
    """llama.cpp itself would shorten the answer, or the prompt."""
    with pytest.raises(MulmedError, match="A prompt of 197 tokens and 60 new ones"):
        engine.complete([[30] * 50, [30] * 197], GREEDY, 1)
    assert engine.complete([[30] * 196], GREEDY, 1)


@needs_llama_cpp
def test_nobody_else_on_the_machine_can_ask(engine: LlamaCppEngine) -> None:
    address = engine.address
    assert address.startswith("http://127.0.0.1:")
    request = urllib.request.Request(
        f"{address}/completion", b'{"prompt": "x", "n_predict": 1}', {"Content-Type": "application/json"}
    )
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(request)
    assert caught.value.code == 401


@needs_llama_cpp
def test_a_file_that_is_no_model_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "model.gguf"
    path.write_bytes(b"GGUF" + bytes(100))
    with pytest.raises(MulmedError, match=r"llama\.cpp cannot read the model") as caught:
        LlamaCppEngine(path, 2, slots=1, context=64)
    assert str(path) in caught.value.where


def test_without_the_library_the_user_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "xllamacpp", None)
    with pytest.raises(MulmedError, match=r"llama\.cpp is not installed") as caught:
        LlamaCppEngine(tmp_path / "x.gguf", 2, slots=1, context=64)
    assert "mulmed[llamacpp]" in caught.value.remedy
