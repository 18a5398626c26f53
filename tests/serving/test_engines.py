"""Engines of the service: the same words by each, tokens counted, processes that do not start."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Coroutine, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mulmed.errors import MulmedError
from mulmed.prompts import Renderer
from mulmed.recipe import Decoding
from mulmed.serving.engine import EngineFailed, Finish, ServingEngine
from mulmed.serving.model import Model
from mulmed.serving.reference import Detokenizer
from mulmed.serving.upstream import events
from mulmed.serving.vllm import Vllm, start_vllm
from tests.conftest import TEXTS, make_record

pytestmark = pytest.mark.usefixtures("single_thread")
GREEDY = Decoding(max_new_tokens=60, repetition_penalty=1.0)


def run(work: Coroutine[Any, Any, Any]) -> Any:
    """On a thread of its own: a browser of other tests may keep an event loop on this one."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(asyncio.run, work).result()


def written(
    engine: ServingEngine, prompt: Sequence[int], decoding: Decoding
) -> tuple[str, int, Finish | None]:
    """Text, tokens and finish of a completion."""

    async def read() -> tuple[str, int, Finish | None]:
        text, tokens, finish = "", 0, None
        async with aclosing(engine.stream(prompt, decoding)) as pieces:
            async for piece in pieces:
                text += piece.text
                tokens += piece.tokens
                finish = piece.finish or finish
        return text, tokens, finish

    return run(read())


def test_every_engine_writes_the_same(model: Model, llamacpp: Any, start: Any) -> None:
    """vLLM's client is given llama.cpp's server, which speaks the same protocol."""
    inner = llamacpp._engine
    vllm = Vllm(inner.address, inner.key, model.renderer.eos_id, slots=4, context=1024)
    engines: list[ServingEngine] = [llamacpp, start("transformers"), vllm]
    template = model.renderer.template
    for i, text in enumerate(TEXTS):
        prompt = model.renderer.prompt(template.messages(make_record(i, *text), with_answer=False))
        answer = text[2][-1]
        count = len(model.renderer.tokenizer(answer)["input_ids"])
        for engine in engines[:2]:
            assert written(engine, prompt, GREEDY) == (answer, count, "stop")
            short = written(engine, prompt, GREEDY.model_copy(update={"max_new_tokens": 2}))
            assert short[1:] == (2, "length")
        # llama.cpp does not know vLLM's `ignore_eos` beside `stop_token_ids`, and writes on: the beginning is the same.
        assert written(vllm, prompt, GREEDY.model_copy(update={"max_new_tokens": count}))[0].strip() == answer


@given(st.text(max_size=30))
def test_tokens_become_the_text_they_were(small_llama_renderer: Renderer, text: str) -> None:
    tokenizer = small_llama_renderer.tokenizer
    ids = tokenizer(text)["input_ids"]
    words = Detokenizer(tokenizer)
    pieces = [words.feed(id) for id in ids]
    assert "".join(pieces) + words.finish() == tokenizer.decode(ids, skip_special_tokens=True)
    assert not any("\ufffd" in piece for piece in pieces if "\ufffd" not in text)


@pytest.fixture(scope="module")
def small_llama_renderer(small_llama: Any) -> Renderer:
    found: Renderer = small_llama.renderer
    return found


def test_a_server_that_refuses_or_breaks_off_is_an_engine_that_failed(llamacpp: Any) -> None:
    async def ask(url: str, key: str, body: dict[str, Any]) -> None:
        async for _ in events(url, key, body):
            pass

    inner = llamacpp._engine
    for url, key, body in (
        (f"{inner.address}/completion", "wrong", {"prompt": [1], "stream": True}),
        (f"{inner.address}/nowhere", inner.key, {}),
        (f"{inner.address}/completion", inner.key, {"prompt": [1] * 2000, "stream": True}),
    ):
        with pytest.raises(EngineFailed):
            run(ask(url, key, body))


def test_vllm_that_does_not_start_is_told(tmp_path: Path) -> None:
    with pytest.raises(MulmedError, match="vLLM's server did not start: it ended with code 1"):
        start_vllm(sys.executable, tmp_path, 2, slots=1, context=64, tell=print)
    with pytest.raises(MulmedError, match="No such file"):
        start_vllm(str(tmp_path / "python"), tmp_path, 2, slots=1, context=64, tell=print)
