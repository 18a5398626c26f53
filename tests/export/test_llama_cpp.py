"""llama.cpp reads the export as we mean it: our prompts' tokens, and the tokens transformers chooses."""

from __future__ import annotations

import contextlib
import json
import shutil
import urllib.request
from collections.abc import Callable, Iterator
from importlib.metadata import files
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
import torch
from gguf.quants import dequantize
from hypothesis import given
from hypothesis import strategies as st
from transformers import AutoModelForCausalLM

from mulmed.base.embedded import EMBEDDED, identity
from mulmed.export.gguf import export_gguf
from mulmed.prompts import Renderer
from tests.export.conftest import Exported
from tests.export.merges import PROMPTS, make_merged

xllamacpp = pytest.importorskip(
    "xllamacpp", reason="llama.cpp (the extra `llamacpp`) is not installed: pip install xllamacpp"
)
pytestmark = pytest.mark.usefixtures("single_thread")
Ask = Callable[[str, dict[str, Any]], Any]


@contextlib.contextmanager
def serving(file: Path) -> Iterator[Ask]:
    """What llama.cpp's own server answers to a request."""
    parameters = xllamacpp.CommonParams()
    parameters.model.path = str(file)
    parameters.n_ctx, parameters.n_parallel, parameters.use_jinja = 512, 1, True
    parameters.warmup, parameters.verbosity = False, -1
    parameters.cpuparams.n_threads = parameters.cpuparams_batch.n_threads = 1
    server = xllamacpp.Server(parameters)

    def ask(route: str, body: dict[str, Any]) -> Any:
        request = urllib.request.Request(
            server.listening_address + route, json.dumps(body).encode(), {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request) as answer:
            return json.load(answer)

    yield ask


@pytest.fixture(scope="module")
def asks(llama: Exported, gemma3: Exported) -> Iterator[dict[str, Ask]]:
    with serving(llama.file) as first, serving(gemma3.file) as second:
        yield {llama.small.base.name: first, gemma3.small.base.name: second}


@pytest.fixture
def ask(asks: dict[str, Ask], exported: Exported) -> Ask:
    return asks[exported.small.base.name]


def tokens(ask: Ask, messages: Any) -> list[int]:
    """Those llama.cpp makes of a conversation by itself."""
    text = ask("/apply-template", {"messages": messages})["prompt"]
    found: list[int] = ask("/tokenize", {"content": text, "add_special": True, "parse_special": True})[
        "tokens"
    ]
    return found


def chosen_by_llama_cpp(ask: Ask, ids: list[int], count: int) -> list[int]:
    body = {"n_predict": count, "temperature": 0, "repeat_penalty": 1.2, "repeat_last_n": 512}
    found: list[int] = ask("/completion", {"prompt": ids, "return_tokens": True, "ignore_eos": True, **body})[
        "tokens"
    ]
    return found


def chosen_by_transformers(model: Any, ids: list[int], count: int) -> list[int]:
    with torch.inference_mode():
        output = model.generate(
            torch.tensor([ids]),
            attention_mask=torch.ones(
                1, len(ids), dtype=torch.long
            ),  # an end of text may also be the padding
            max_new_tokens=count,
            do_sample=False,
            repetition_penalty=1.2,
            eos_token_id=None,
            suppress_tokens=[model.config.eos_token_id],
        )
    found: list[int] = output[0, len(ids) :].tolist()
    return found


def test_it_builds_our_prompts(ask: Ask, exported: Exported) -> None:
    for messages in PROMPTS:
        assert tokens(ask, messages) == exported.renderer.prompt(messages)


@given(
    st.text(
        st.characters(exclude_categories=("Cs", "Cn", "Co")) | st.sampled_from(" \n①½²Ⅳ38.5°C二十三度'sé"),
        max_size=40,
    )
)
def test_it_cuts_any_text_as_training_did(asks: dict[str, Ask], llama: Exported, text: str) -> None:
    """Numerals beyond 0 to 9 among them, which the base's own file has llama.cpp part from a blank before them."""
    if not any(special in text for special in llama.renderer.tokenizer.all_special_tokens):
        messages = [{"role": "user", "content": text}]
        assert tokens(asks[llama.small.base.name], messages) == llama.renderer.prompt(messages)


def test_it_chooses_the_tokens_transformers_chooses(ask: Ask, exported: Exported) -> None:
    """Beyond the answers it knows by heart, where the choice is no longer easy: an end of text is forbidden."""
    model = AutoModelForCausalLM.from_pretrained(exported.merged).eval()
    for messages in PROMPTS:
        ids = exported.renderer.prompt(messages)
        assert chosen_by_llama_cpp(ask, ids, 40) == chosen_by_transformers(model, ids, 40)


def test_a_published_base_untrained(smollm: Path, renderer: Renderer, tmp_path: Path) -> None:
    """SmolLM2: its publisher's tensors, each where its own file has it; the same tokens in and out."""
    base = EMBEDDED["smollm2-135m"]
    file = tmp_path / "model.gguf"
    export_gguf(make_merged(tmp_path / "merge-step", identity(base), smollm, renderer), file, "f32")
    (published,) = (f.locate() for f in files(base.packages[0].split("==")[0]) or () if f.suffix == ".gguf")
    source, written = (gguf.GGUFReader(f).tensors for f in (published, file))
    assert [t.name for t in source] == [t.name for t in written]
    for theirs, ours in zip(source, written, strict=True):
        weights = dequantize(theirs.data, theirs.tensor_type).reshape(ours.data.shape)
        assert np.array_equal(weights, ours.data), theirs.name
    model = AutoModelForCausalLM.from_pretrained(smollm).eval()
    with serving(file) as ask:
        for messages in PROMPTS[:2]:
            ids = renderer.prompt(messages)
            assert tokens(ask, messages) == ids
            assert chosen_by_llama_cpp(ask, ids, 8) == chosen_by_transformers(model, ids, 8)
    shutil.rmtree(tmp_path)  # a gigabyte
