"""Real clients: OpenAI's own, lm-evaluation-harness, and schemathesis against the OpenAPI document."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from mulmed.generation.engine import TransformersEngine
from mulmed.recipe import Decoding, Serving
from mulmed.serving.engine import ServingEngine
from mulmed.serving.model import Model
from mulmed.serving.service import Service
from tests.conftest import TEXTS
from tests.runs import ENVIRONMENT
from tests.serving.conftest import Serve, Served, serving
from tests.serving.test_api import below, chat

pytestmark = pytest.mark.usefixtures("single_thread")
COUGH, REST = TEXTS[0][2]
FRUITS, APPLE = TEXTS[4][2]


@pytest.fixture
def client(served: Served) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{served.url}/v1", api_key="none", max_retries=0) as found:
        yield found


def asked(text: str = FRUITS, **more: Any) -> dict[str, Any]:
    return {"model": "step", "messages": [{"role": "user", "content": text}], **more}


def test_openais_client_chats(client: openai.OpenAI) -> None:
    assert [m.id for m in client.models.list()] == ["step"]
    assert client.models.retrieve("step").owned_by == "mulmed"
    whole = client.chat.completions.create(**asked())
    assert whole.choices[0].message.content == APPLE + below("en")
    assert whole.choices[0].finish_reason == "stop"
    assert whole.usage is not None
    assert whole.usage.total_tokens == whole.usage.prompt_tokens + whole.usage.completion_tokens
    parts = [{"type": "text", "text": "Name two"}, {"type": "text", "text": "fruits."}]
    assert (
        client.chat.completions.create(**asked(parts, max_tokens=1)).usage
        == client.chat.completions.create(  # type: ignore[arg-type]
            **asked("Name two\nfruits.", max_completion_tokens=1)
        ).usage
    )


def test_openais_client_streams_with_usage(client: openai.OpenAI) -> None:
    chunks = list(
        client.chat.completions.create(**asked(stream=True, stream_options={"include_usage": True}))
    )
    text = "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)
    assert text == APPLE + below("en")
    assert [c.usage is not None for c in chunks] == [False] * (len(chunks) - 1) + [True]
    assert chunks[-1].choices == []
    assert chunks[-1].usage == client.chat.completions.create(**asked()).usage


def test_stop_and_length(client: openai.OpenAI) -> None:
    stopped = client.chat.completions.create(**asked(stop=[" and", "zzz"]))
    assert (stopped.choices[0].message.content or "").startswith("Apple\n\n—")
    assert stopped.choices[0].finish_reason == "stop"
    cut = client.chat.completions.create(**asked(max_tokens=1))
    assert cut.choices[0].finish_reason == "length"


def test_seed_and_several_choices(model: Model, reference: ServingEngine) -> None:
    """By the reference: where answers are computed together, a sample hangs on the last bit."""
    with serving(model, reference) as served:
        client = openai.OpenAI(base_url=f"{served.url}/v1", api_key="none", max_retries=0)
        sampled = asked("x", temperature=2, n=4, max_tokens=12, seed=5)
        first, again = (client.chat.completions.create(**sampled) for _ in range(2))
        texts = [c.message.content for c in first.choices]
        assert [c.index for c in first.choices] == [0, 1, 2, 3]
        assert len(set(texts)) == 4
        assert [c.message.content for c in again.choices] == texts
        streamed = [""] * 4
        for chunk in client.chat.completions.create(**sampled, stream=True):
            streamed[chunk.choices[0].index] += chunk.choices[0].delta.content or ""
        assert streamed == texts
        # The choices of a seed are those of the seeds from it on.
        second = client.chat.completions.create(**asked("x", temperature=2, max_tokens=12, seed=6))
        assert second.choices[0].message.content == texts[1]
        # Without a seed, asking again is asking for another one.
        free = asked("x", temperature=2, max_tokens=12)
        assert len({client.chat.completions.create(**free).choices[0].message.content for _ in range(3)}) > 1


def test_openais_client_completes(client: openai.OpenAI) -> None:
    got = client.completions.create(model="step", prompt=[FRUITS, COUGH], max_tokens=60)
    chats = [client.chat.completions.create(**asked(t, max_tokens=60)) for t in (FRUITS, COUGH)]
    assert [c.text for c in got.choices] == [c.choices[0].message.content for c in chats]
    stream = client.completions.create(model="step", prompt=FRUITS, stream=True)
    assert "".join(c.choices[0].text for c in stream) == APPLE + below("en")
    for unsafe in ({"echo": True}, {"logprobs": 1}):
        with pytest.raises(openai.BadRequestError, match="with --evaluation only"):
            client.completions.create(model="step", prompt=FRUITS, **unsafe)  # type: ignore[call-overload]


def test_openais_client_knows_the_errors(client: openai.OpenAI, llamacpp: Any, serve: Serve) -> None:
    with pytest.raises(openai.NotFoundError, match="The only model here"):
        client.chat.completions.create(**asked() | {"model": "gpt-4"})
    with pytest.raises(openai.BadRequestError, match="no such parameter"):
        client.chat.completions.create(**asked(), tools=[])
    with pytest.raises(openai.APIStatusError, match="does not fit") as caught:
        client.chat.completions.create(**asked("x " * 3000))
    assert caught.value.status_code == 413
    with pytest.raises(openai.BadRequestError, match="max_tokens: at most 1024 here"):
        client.chat.completions.create(**asked(max_tokens=1025))
    with serve(llamacpp, Serving(limits={"deadline": 0.001})) as late:
        other = openai.OpenAI(base_url=f"{late.url}/v1", api_key="none", max_retries=0)
        with pytest.raises(openai.InternalServerError, match="took too long"):
            other.chat.completions.create(**asked())
        with pytest.raises(openai.APIError, match="took too long"):
            list(other.chat.completions.create(**asked(stream=True)))


@pytest.fixture(scope="module")
def reference(start: Any) -> ServingEngine:
    found: ServingEngine = start("transformers")
    return found


@pytest.fixture(scope="module")
def measured(model: Model, reference: ServingEngine) -> Iterator[Served]:
    """The model without the safety layer, computed by the reference."""
    decoding = Decoding(max_new_tokens=40, repetition_penalty=1.0)
    with serving(model, reference, Serving(decoding=decoding), evaluation=True) as found:
        yield found


def test_evaluation_answers_are_those_of_generation(measured: Served, model: Model) -> None:
    got = measured.client.post(
        "/v1/chat/completions", json=chat("I have crushing chest pain, I am John Smith")
    ).json()
    engine = TransformersEngine(model.folder, model.renderer.eos_id)
    prompt = model.renderer.prompt(
        [{"role": "user", "content": "I have crushing chest pain, I am John Smith"}]
    )
    decoding = Decoding(max_new_tokens=40, repetition_penalty=1.0)
    (theirs,) = engine.complete([prompt], decoding, 42)
    text = model.renderer.tokenizer.decode(list(theirs.ids), skip_special_tokens=True)
    assert got["choices"][0]["message"]["content"] == text.strip()
    assert got["usage"]["prompt_tokens"] == len(prompt)
    assert got["usage"]["completion_tokens"] == len(theirs.ids)


def test_echo_and_logprobs_are_those_of_the_model(measured: Served, model: Model) -> None:
    import torch
    from transformers import AutoModelForCausalLM

    ids = model.renderer.tokenizer("Drink warm fluids and rest")["input_ids"]
    with openai.OpenAI(base_url=f"{measured.url}/v1", api_key="none") as client:
        got = client.completions.create(model="step", prompt=ids, echo=True, logprobs=2, max_tokens=1)
        alone = client.completions.create(model="step", prompt=ids, echo=True, logprobs=1, max_tokens=0)
    found = got.choices[0].logprobs
    assert found is not None
    assert found.token_logprobs is not None
    assert found.top_logprobs is not None
    assert found.tokens is not None
    network: Any = AutoModelForCausalLM.from_pretrained(model.folder)
    generated = model.renderer.tokenizer(found.tokens[-1])["input_ids"]
    with torch.no_grad():
        chances = network(torch.tensor([ids + generated])).logits[0].log_softmax(-1)
    expected = [float(chances[i, id]) for i, id in enumerate([*ids[1:], *generated])]
    assert found.token_logprobs[0] is None
    assert found.token_logprobs[1:] == pytest.approx(expected, abs=1e-4)
    assert [max(t.values()) for t in found.top_logprobs[1:]] == pytest.approx(
        chances[:-1].max(-1).values.tolist(), abs=1e-4
    )
    assert "".join(found.tokens) == got.choices[0].text
    assert found.text_offset == [sum(map(len, found.tokens[:i])) for i in range(len(found.tokens))]
    assert alone.choices[0].logprobs is not None
    assert alone.choices[0].logprobs.token_logprobs is not None
    assert alone.choices[0].logprobs.token_logprobs[1:] == pytest.approx(found.token_logprobs[1:-1], abs=1e-5)
    assert alone.choices[0].text == model.renderer.tokenizer.decode(ids)


def test_llama_cpp_says_that_it_tells_no_probabilities(model: Model, llamacpp: Any) -> None:
    with serving(model, llamacpp, evaluation=True) as served:
        got = served.client.post("/v1/completions", json={"model": "step", "prompt": "x", "logprobs": 1})
        assert got.status_code == 400
        assert "serve it with --engine transformers" in got.json()["error"]["message"]


needs_lm_eval = pytest.mark.skipif(
    importlib.util.find_spec("lm_eval") is None,
    reason="lm-evaluation-harness is not installed (170 MB): pip install 'lm-eval[api]'",
)


@needs_lm_eval
def test_lm_evaluation_harness_measures(measured: Served, model: Model, tmp_path: Path) -> None:
    tasks = tmp_path / "tasks"
    tasks.mkdir()
    rows = [{"question": FRUITS, "answer": APPLE, "choices": [APPLE, "Water and stone."], "label": 0}]
    (tmp_path / "rows.json").write_text("\n".join(map(json.dumps, rows)))
    prompt = model.renderer.tokenizer.decode(
        model.renderer.prompt([{"role": "user", "content": "{{question}}"}])
    )
    common = {
        "dataset_path": "json",
        "dataset_kwargs": {"data_files": {"test": str(tmp_path / "rows.json")}},
        "test_split": "test",
    }
    (tasks / "said.yaml").write_text(
        json.dumps(
            common
            | {
                "task": "said",
                "output_type": "generate_until",
                "doc_to_text": "{{question}}",
                "doc_to_target": "{{answer}}",
                "generation_kwargs": {"until": ["\n\n"], "max_gen_toks": 30},
                "metric_list": [{"metric": "exact_match", "aggregation": "mean", "higher_is_better": True}],
            }
        )
    )
    (tasks / "chosen.yaml").write_text(
        json.dumps(
            common
            | {
                "task": "chosen",
                "output_type": "multiple_choice",
                "doc_to_text": prompt,
                "doc_to_choice": "choices",
                "doc_to_target": "label",
                "target_delimiter": "",
                "metric_list": [{"metric": "acc", "aggregation": "mean", "higher_is_better": True}],
            }
        )
    )

    def scores(kind: str, task: str, path: str, *options: str) -> dict[str, Any]:
        arguments = f"model=step,base_url={measured.url}/v1/{path},num_concurrent=1,max_retries=1,tokenizer={model.folder}"
        command = [
            sys.executable,
            "-m",
            "lm_eval",
            "run",
            "--model",
            kind,
            "--model_args",
            arguments,
            "--tasks",
            task,
        ]
        command += ["--include_path", str(tasks), "--output_path", str(tmp_path / task), *options]
        environment = ENVIRONMENT | {"HF_HOME": str(tmp_path / "hf"), "OPENAI_API_KEY": "none"}
        done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
        assert done.returncode == 0, done.stderr[-3000:]
        (found,) = (tmp_path / task).rglob("results_*.json")
        results: dict[str, Any] = json.loads(found.read_text())["results"][task]
        return results

    said = scores("local-chat-completions", "said", "chat/completions", "--apply_chat_template")
    assert said["exact_match,none"] == 1.0
    chosen = scores("local-completions", "chosen", "completions")
    assert chosen["acc,none"] == 1.0


CHECKS = (not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance)


def test_the_openapi_document_holds(model: Model, llamacpp: Any) -> None:
    """Requests made from the document, right ones and wrong ones, are answered as the document says."""
    from mulmed.serving.app import create_app

    few = Serving(decoding={"max_new_tokens": 2}, limits={"max_tokens": 4, "queue": 200})
    schema = schemathesis.openapi.from_asgi(
        "/openapi.json", create_app(Service(model, llamacpp, few), hosts=["testserver"])
    )
    tried = 0
    for found in schema.get_all_operations():
        operation = found.ok()
        cases = st.one_of(operation.as_strategy(generation_mode=mode) for mode in GenerationMode)

        @settings(max_examples=20, phases=[Phase.generate], suppress_health_check=list(HealthCheck))
        @given(cases)
        def check(case: Any) -> None:
            nonlocal tried
            tried += 1
            response = case.call()
            case.validate_response(response, checks=CHECKS)

        check()
    assert tried > 100
