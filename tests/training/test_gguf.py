"""The GGUF of a merged model: read back by others it is the same model, and it is there whole or not at all."""

from __future__ import annotations

import errno
import itertools
import json
import re
import resource
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from mulmed.artifact import finish, open_partial
from mulmed.base.embedded import EMBEDDED, identity
from mulmed.cli import main
from mulmed.errors import MulmedError
from mulmed.prompts import Message, Renderer, load_template
from mulmed.recipe import Decoding
from mulmed.training.gguf import export_gguf, to_llama_cpp
from mulmed.training.merge import PROOF, TOLERANCES, Tolerance, compare
from mulmed.training.modelfile import go_template, modelfile
from tests.conftest import TEXTS, make_record
from tests.runs import ENVIRONMENT, command

pytestmark = pytest.mark.usefixtures("single_thread")
TEMPLATE = load_template("alpaca")
RECORDS = [make_record(i, *text) for i, text in enumerate(TEXTS)]
PROMPTS = [TEMPLATE.messages(record, with_answer=False) for record in RECORDS]


def make_merged(
    out: Path,
    base: str,
    folder: Path,
    renderer: Renderer,
    *,
    change: Callable[[dict[str, torch.Tensor]], None] = lambda _: None,
    template: str = TEMPLATE.sha256,
) -> Path:
    """``folder``'s model with other weights, as the stage of merging leaves it."""
    partial = open_partial(out, "key")
    for name in ("config.json", "tokenizer.json", "tokenizer_config.json"):
        shutil.copy(folder / name, partial)
    tensors = load_file(folder / "model.safetensors")
    change(tensors)
    save_file(tensors, partial / "model.safetensors", metadata={"format": "pt"})
    (partial / "chat_template.jinja").write_text(renderer.chat_template, encoding="utf-8")
    (partial / PROOF).write_text(json.dumps({"holds": True, "languages": ["en", "zh"]}))
    finish(
        partial,
        out,
        stage="merge-step",
        key="key",
        version=1,
        config={"base": base, "template": template},
        parents={},
        volatile=(),
        seconds=0.0,
        versions={},
    )
    return out


def change_all(tensors: dict[str, torch.Tensor]) -> None:
    """No tensor stays the base's."""
    generator = torch.Generator().manual_seed(1)
    for name in sorted(tensors):
        tensors[name] *= 1 + 0.1 * torch.rand(tensors[name].shape[-1], generator=generator)


@pytest.fixture(scope="module")
def merged(tmp_path_factory: pytest.TempPathFactory, smollm: Path, renderer: Renderer) -> Path:
    out = tmp_path_factory.mktemp("smollm") / "merge-step"
    return make_merged(out, identity(EMBEDDED["smollm2-135m"]), smollm, renderer, change=change_all)


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory, merged: Path) -> Path:
    """The merged model in full precision."""
    out = tmp_path_factory.mktemp("exported") / "model.gguf"
    assert export_gguf(merged, out, "f32") == out.with_name("Modelfile")
    assert sorted(p.name for p in out.parent.iterdir()) == ["Modelfile", "model.gguf"]
    return out


@pytest.fixture(scope="module")
def expected(merged: Path, renderer: Renderer) -> list[torch.Tensor]:
    return logits(AutoModelForCausalLM.from_pretrained(merged), renderer)


def logits(model: Any, renderer: Renderer) -> list[torch.Tensor]:
    """Of one English and one Chinese prompt."""
    with torch.inference_mode():
        return [model.eval()(torch.tensor([renderer.prompt(p)])).logits[0].float() for p in PROMPTS[:2]]


def read_back(path: Path) -> Any:
    """transformers' own reading of a GGUF file, in float32."""
    return AutoModelForCausalLM.from_pretrained(path.parent, gguf_file=path.name, dtype=torch.float32)


def fields(path: Path) -> dict[str, Any]:
    return {
        f.name: f.contents()
        for f in gguf.GGUFReader(path).fields.values()
        if f.types[0] != gguf.GGUFValueType.ARRAY or len(f.data) < 9
    }


# --- what it computes --------------------------------------------------------------------------------


def test_transformers_reads_back_the_same_model(
    merged: Path, exported: Path, smollm: Path, expected: list[torch.Tensor], renderer: Renderer
) -> None:
    model = read_back(exported)
    ours, base = (load_file(f / "model.safetensors") for f in (merged, smollm))
    theirs = model.state_dict()
    for name, tensor in ours.items():
        assert torch.equal(theirs[name], tensor), name
        assert not torch.equal(theirs[name], base[name]), name
    assert compare(expected, logits(model, renderer), TOLERANCES[torch.float32])["holds"]


#: Eight bits and a factor for 32 weights: an error of at most 1/254 of a block's largest weight each.
Q8_0 = Tolerance(logit=0.05, kl=5e-3, argmax=0.95)


@pytest.mark.parametrize(("precision", "tolerance"), [("f16", TOLERANCES[torch.float16]), ("q8_0", Q8_0)])
def test_less_precision_changes_little(
    merged: Path,
    exported: Path,
    expected: list[torch.Tensor],
    renderer: Renderer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    precision: str,
    tolerance: Tolerance,
) -> None:
    out = tmp_path / "small.gguf"
    arguments = ["export", "gguf", str(merged), "--out", str(out), "--precision", precision]
    monkeypatch.setattr(sys, "argv", ["mulmed", *arguments])
    monkeypatch.setenv("COLUMNS", "200")
    with pytest.raises(SystemExit) as ended:
        main()
    assert not ended.value.code
    printed = capsys.readouterr().out
    assert str(out) in printed
    assert str(out.with_name("Modelfile")) in printed
    result = compare(expected, logits(read_back(out), renderer), tolerance)
    assert result["holds"], result
    assert result["max_abs_logit_difference"] > 0
    bits = {"f16": 16, "q8_0": 8.5}[precision]
    assert out.stat().st_size / exported.stat().st_size == pytest.approx(bits / 32, rel=0.02)
    kinds = {t.name: t.tensor_type.name for t in gguf.GGUFReader(out).tensors}
    assert {kind for name, kind in kinds.items() if "norm" in name} == {"F32"}
    assert {kind for name, kind in kinds.items() if "norm" not in name} == {precision.upper()}
    assert fields(out)["general.file_type"] == {"f16": 1, "q8_0": 7}[precision]


@pytest.mark.slow
def test_gemma_reads_back_as_well(gemma: Path, gemma_tokenizer: Any, tmp_path: Path) -> None:
    renderer = Renderer(gemma_tokenizer, TEMPLATE)
    merged = make_merged(
        tmp_path / "merge-step", identity(EMBEDDED["gemma3-270m"]), gemma, renderer, change=change_all
    )
    export_gguf(merged, tmp_path / "out" / "gemma.gguf", "f32")
    expected = logits(AutoModelForCausalLM.from_pretrained(merged), renderer)
    actual = logits(read_back(tmp_path / "out" / "gemma.gguf"), renderer)
    assert compare(expected, actual, TOLERANCES[torch.float32])["holds"]
    written = fields(tmp_path / "out" / "gemma.gguf")
    assert written["tokenizer.ggml.add_bos_token"] is True
    assert written["tokenizer.ggml.bos_token_id"] == renderer.bos_id
    assert written["tokenizer.ggml.eos_token_id"] == renderer.eos_id
    assert written["tokenizer.chat_template"] == renderer.chat_template
    assert "ai.google.dev/gemma/terms" in written["general.description"]
    assert "ai.google.dev/gemma/terms" in (tmp_path / "out" / "Modelfile").read_text()


def test_llama_cpp_answers_as_transformers_does(merged: Path, exported: Path, renderer: Renderer) -> None:
    """The prompt that llama.cpp builds itself, and the tokens it chooses."""
    xllamacpp = pytest.importorskip("xllamacpp", reason="llama.cpp is not installed: pip install xllamacpp")
    parameters = xllamacpp.CommonParams()
    parameters.model.path = str(exported)
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

    model = AutoModelForCausalLM.from_pretrained(merged).eval()
    for messages in PROMPTS:
        ids = renderer.prompt(messages)
        text = ask("/apply-template", {"messages": messages})["prompt"]
        tokens = ask("/tokenize", {"content": text, "add_special": True, "parse_special": True})["tokens"]
        assert tokens == ids
    for messages in PROMPTS[:2]:
        ids = renderer.prompt(messages)
        with torch.inference_mode():
            output = model.generate(
                torch.tensor([ids]), max_new_tokens=8, do_sample=False, repetition_penalty=1.2
            )
        body = {"n_predict": 8, "temperature": 0, "repeat_penalty": 1.2, "repeat_last_n": 512}
        answer = ask("/completion", {"prompt": ids, "return_tokens": True, **body})
        assert answer["tokens"] == output[0, len(ids) :].tolist()


@pytest.mark.parametrize(
    ("model_type", "key", "rows", "expected"),
    [
        # One head of four rows: the halves (0, 1) and (2, 3) become the neighbours (0, 2) and (1, 3).
        ("llama", "model.layers.0.self_attn.q_proj.weight", [0, 1, 2, 3], [0, 2, 1, 3]),
        # Two heads of keys: each is interleaved by itself.
        ("llama", "model.layers.0.self_attn.k_proj.weight", [*range(8)], [0, 2, 1, 3, 4, 6, 5, 7]),
        ("llama", "model.layers.0.self_attn.v_proj.weight", [0, 1, 2, 3], [0, 1, 2, 3]),
        ("llama", "model.norm.weight", [0, 1, 2, 3], [0, 1, 2, 3]),
        ("gemma3_text", "model.layers.0.self_attn.q_proj.weight", [0, 1, 2, 3], [0, 1, 2, 3]),
        ("gemma3_text", "model.layers.0.self_attn.q_norm.weight", [0, 1, 2, 3], [1, 2, 3, 4]),
        ("gemma3_text", "model.norm.weight", [-1, 0, 5, 2], [0, 1, 6, 3]),
    ],
)
def test_layout_of_llama_cpp(model_type: str, key: str, rows: list[int], expected: list[int]) -> None:
    config = {"model_type": model_type, "num_attention_heads": 1, "num_key_value_heads": 2}
    tensor = np.array(rows, np.float32)
    if "proj" in key:
        tensor = tensor[:, None] * np.ones(3, np.float32)
    result = to_llama_cpp(key, tensor, config)
    assert result.dtype == np.float32
    assert result.shape == tensor.shape
    assert result.reshape(len(rows), -1)[:, 0].tolist() == expected


# --- what it says ------------------------------------------------------------------------------------


def test_metadata_is_the_bases_with_ours_in_its_place(exported: Path, renderer: Renderer) -> None:
    written = fields(exported)
    assert written["general.architecture"] == "llama"
    assert written["llama.rope.freq_base"] == 100_000
    assert written["llama.context_length"] == 8192
    assert written["tokenizer.ggml.pre"] == "smollm"
    assert written["general.file_type"] == 0
    assert written["general.name"] == "SmolLM2-135M-Instruct, fine-tuned by MulMed (step)"
    assert written["general.license"] == "apache-2.0"
    assert written["general.license.name"] == "Apache-2.0"
    assert "SmolLM2 by Hugging Face, Apache License 2.0." in written["general.description"]
    assert "modified version" in written["general.description"]
    assert written["general.languages"] == ["en", "zh"]
    assert written["tokenizer.ggml.eos_token_id"] == renderer.eos_id
    assert written["tokenizer.ggml.add_bos_token"] is False
    assert written["tokenizer.ggml.add_eos_token"] is False
    assert written["tokenizer.chat_template"] == renderer.chat_template
    assert written["mulmed.template"] == TEMPLATE.sha256


def test_its_tokenizer_builds_our_prompts(exported: Path, renderer: Renderer) -> None:
    tokenizer = AutoTokenizer.from_pretrained(exported.parent, gguf_file=exported.name)
    for messages in PROMPTS:
        theirs = tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_dict=False)
        assert theirs == renderer.prompt(messages)


# --- refusals, and interruptions -----------------------------------------------------------------------


def refused(folder: Path, out: Path, match: str, precision: Any = "f32") -> MulmedError:
    with pytest.raises(MulmedError, match=match) as caught:
        export_gguf(folder, out, precision)
    assert not out.parent.exists() or list(out.parent.iterdir()) == []
    return caught.value


def test_a_changed_folder_is_refused(tiny: Path, renderer: Renderer, tmp_path: Path) -> None:
    folder = make_merged(tmp_path / "m", identity(EMBEDDED["smollm2-135m"]), tiny, renderer)
    weights = folder / "model.safetensors"
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(data)
    refused(folder, tmp_path / "out" / "x.gguf", r"changed since the merge was proven: model\.safetensors")


def test_a_folder_that_is_no_merge_is_refused(smollm: Path, tiny: Path, tmp_path: Path) -> None:
    for folder in (smollm, tiny, tmp_path / "nowhere"):
        error = refused(folder, tmp_path / "out" / "x.gguf", "not a finished merge")
        assert f"convert_hf_to_gguf.py {folder} " in error.remedy


def test_another_base_is_left_to_llama_cpp(tiny: Path, renderer: Renderer, tmp_path: Path) -> None:
    folder = make_merged(tmp_path / "m", "0123", tiny, renderer)
    error = refused(folder, tmp_path / "out" / "x.gguf", "base is not an embedded one")
    assert f"python convert_hf_to_gguf.py {folder} --outfile MODEL.gguf" in error.remedy


def test_another_template_is_refused(tiny: Path, renderer: Renderer, tmp_path: Path) -> None:
    base = identity(EMBEDDED["smollm2-135m"])
    folder = make_merged(tmp_path / "m", base, tiny, renderer, template="0" * 64)
    refused(folder, tmp_path / "out" / "x.gguf", "prompt template that this version does not have")


@pytest.mark.parametrize(
    ("base", "settings", "match"),
    [
        ("gemma3-270m", {}, "it is a 'llama' model, the base 'gemma3'"),
        ("smollm2-135m", {"model_type": "mamba"}, "it is a 'mamba' model, the base 'llama'"),
        # Two of thirty layers, of nine tensors each
        ("smollm2-135m", {}, "252 tensors are only in one of them, the first is blk.10.attn_k.weight"),
    ],
)
def test_another_architecture_is_refused(
    tiny: Path, renderer: Renderer, tmp_path: Path, base: str, settings: dict[str, Any], match: str
) -> None:
    other = tmp_path / "other"
    shutil.copytree(tiny, other)
    config = json.loads((tiny / "config.json").read_text())
    (other / "config.json").write_text(json.dumps(config | settings))
    folder = make_merged(tmp_path / "m", identity(EMBEDDED[base]), other, renderer)
    refused(folder, tmp_path / "out" / "x.gguf", match)


def test_another_shape_or_vocabulary_is_refused(smollm: Path, renderer: Renderer, tmp_path: Path) -> None:
    def widen(tensors: dict[str, torch.Tensor]) -> None:
        name = "model.embed_tokens.weight"
        tensors[name] = torch.cat([tensors[name], tensors[name][:2]])

    base = identity(EMBEDDED["smollm2-135m"])
    folder = make_merged(tmp_path / "wide", base, smollm, renderer, change=widen)
    refused(
        folder, tmp_path / "out" / "x.gguf", r"embed_tokens.weight has the shape \(49154, 576\), in the base"
    )
    other = tmp_path / "other"
    shutil.copytree(smollm, other)
    tokenizer = json.loads((smollm / "tokenizer.json").read_text())
    vocabulary = tokenizer["model"]["vocab"]
    vocabulary["cough"], vocabulary["fever"] = 1000, 1001
    (other / "tokenizer.json").write_text(json.dumps(tokenizer))
    folder = make_merged(tmp_path / "words", base, other, renderer)
    refused(folder, tmp_path / "out" / "x.gguf", "their vocabularies differ")


def test_a_weight_beyond_16_bits_is_refused(smollm: Path, renderer: Renderer, tmp_path: Path) -> None:
    def enlarge(tensors: dict[str, torch.Tensor]) -> None:
        tensors["model.embed_tokens.weight"][7, 7] = 7e4

    base = identity(EMBEDDED["smollm2-135m"])
    folder = make_merged(tmp_path / "m", base, smollm, renderer, change=enlarge)
    error = refused(folder, tmp_path / "out" / "x.gguf", r"token_embd\.weight is larger", "f16")
    assert "--precision f32" in error.remedy


def test_another_ending_is_refused(tmp_path: Path) -> None:
    error = refused(tmp_path / "m", tmp_path / "out" / "model.bin", "has another")
    assert error.remedy == "Call it model.gguf."


def test_a_full_disk_leaves_the_last_good_file(merged: Path, tmp_path: Path) -> None:
    out = tmp_path / "model.gguf"
    out.write_bytes(b"the last good one")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (200_000_000, limits[1]))  # of 540 MB
    try:
        with pytest.raises(MulmedError, match="Writing failed") as caught:
            export_gguf(merged, out, "f32")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert "choose another folder with --out" in caught.value.remedy
    assert isinstance(caught.value.__cause__, OSError)
    assert caught.value.__cause__.errno in (errno.ENOSPC, errno.EFBIG)
    assert out.read_bytes() == b"the last good one"
    assert [p.name for p in tmp_path.iterdir()] == ["model.gguf"]


def test_killed_halfway_it_leaves_nothing_that_looks_whole(
    merged: Path, exported: Path, tmp_path: Path
) -> None:
    out = tmp_path / "model.gguf"
    half = tmp_path / "model.gguf.partial" / "model.gguf"
    arguments = command("export", "gguf", merged, "--out", out, "--precision", "f32")
    process = subprocess.Popen(arguments, env=ENVIRONMENT)
    while not half.exists() or half.stat().st_size < 10_000_000:
        assert process.poll() is None
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert half.exists()
    assert half.stat().st_size < exported.stat().st_size
    assert not out.exists()
    assert not (tmp_path / "Modelfile").exists()
    export_gguf(merged, out, "f32")
    assert out.read_bytes() == exported.read_bytes()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["Modelfile", "model.gguf"]


# --- the Modelfile ---------------------------------------------------------------------------------------


def go(template: str, messages: list[Message], system: str = "") -> str:
    """A Go template of the few forms ours has, rendered as text/template does it."""
    pieces = re.split(r"\{\{(.*?)\}\}", template, flags=re.DOTALL)
    for i in range(1, len(pieces), 2):
        if pieces[i].startswith("- "):
            pieces[i], pieces[i - 1] = pieces[i][2:], pieces[i - 1].rstrip()
        if pieces[i].endswith(" -"):
            pieces[i], pieces[i + 1] = pieces[i][:-2], pieces[i + 1].lstrip()
    variables: dict[str, bool] = {}
    out: list[str] = []

    def value(text: str, message: Message | None) -> Any:
        parts = re.findall(r'\([^)]*\)|"(?:[^"\\]|\\.)*"|\S+', text)
        if parts[0] == "eq":
            return value(parts[1], message) == value(parts[2], message)
        if parts[0] == "and":
            return all(value(part, message) for part in parts[1:])
        (only,) = parts
        if only[0] == "(":
            return value(only[1:-1], message)
        if only[0] == '"' or only in ("true", "false"):
            return json.loads(only)
        if only == "$.System":
            return system
        if only[0] == "$":
            return variables[only]
        assert message is not None
        return message[{".Role": "role", ".Content": "content"}[only]]  # type: ignore[literal-required]

    def run(i: int, message: Message | None, active: bool) -> int:
        """Pieces from ``i`` on; the place of the ``else`` or ``end`` that ends them."""
        while i < len(pieces):
            action = pieces[i].strip()
            if i % 2 == 0:
                out.append(pieces[i] if active else "")
            elif action.startswith("range "):
                assert action == "range .Messages"
                end = run(i + 1, None, False)
                for each in messages if active else []:
                    run(i + 1, each, True)
                i = end
            elif action.startswith("if "):
                done = False
                while action != "end":
                    condition = action.removeprefix("else").strip().removeprefix("if").strip()
                    taken = active and not done and (not condition or value(condition, message))
                    done = done or taken
                    i = run(i + 1, message, taken)
                    action = pieces[i].strip()
            elif action == "end" or action.startswith("else"):
                return i
            elif active and (assigned := re.fullmatch(r"(\$\w+) :?= (.+)", action)):
                variables[assigned[1]] = value(assigned[2], message)
            elif active:
                out.append(value(action, message))
            i += 1
        return i

    run(0, None, True)
    return "".join(out)


def our_text(renderer: Renderer, messages: list[Message]) -> str:
    ids = renderer.prompt(messages)
    return str(renderer.tokenizer.decode(ids, clean_up_tokenization_spaces=False))


def test_text_of_the_go_template() -> None:
    assert go_template(TEMPLATE, "</s>") == (
        "{{- $open := false }}\n"
        "{{- range .Messages }}\n"
        '{{- if eq .Role "user" }}\n'
        r'{{- if $open }}{{ "\n\n### Instruction:\n" }}'
        "\n"
        '{{- else }}{{ "Below is an instruction that describes a task. Write a response that appropriately '
        r'completes the request.\n\n### Instruction:\n" }}{{ $.System }}{{ end }}'
        "\n"
        "{{- $open = true }}\n"
        r'{{- .Content }}{{ "\n\n### Response:\n" }}'
        "\n"
        '{{- else if and (eq .Role "assistant") $open }}\n'
        '{{- .Content }}{{ "</s>" }}\n'
        "{{- end }}\n"
        "{{- end }}"
    )


CONTENT = st.text(st.characters(exclude_categories=("Cs", "Cc")) | st.sampled_from('\n\t"\\{}')).filter(
    lambda text: "<" not in text
)


@given(st.lists(CONTENT, min_size=1, max_size=5).filter(lambda texts: len(texts) % 2 == 1))
def test_ollama_builds_our_prompt(renderer: Renderer, texts: list[str]) -> None:
    roles = itertools.cycle(("user", "assistant"))
    messages: list[Message] = [{"role": next(roles), "content": text} for text in texts]
    template = go_template(TEMPLATE, renderer.tokenizer.eos_token)
    assert go(template, messages) == our_text(renderer, messages)


@pytest.mark.parametrize("record", RECORDS, ids=lambda r: f"{r.task} {r.language}")
def test_a_system_message_is_the_tasks_instruction(
    renderer: Renderer, gemma_tokenizer: Any, record: Any
) -> None:
    plain: list[Message] = [{"role": t.role, "content": t.text} for t in record.turns[:-1]]
    instructed = TEMPLATE.messages(record, with_answer=False)
    system = instructed[0]["content"].removesuffix(plain[0]["content"])
    asked: list[Message] = [{"role": "system", "content": system}, *plain]
    template = go_template(TEMPLATE, renderer.tokenizer.eos_token)
    assert go(template, asked, system) == our_text(renderer, instructed)
    # Gemma begins with a token that Ollama puts before the prompt itself.
    template = go_template(TEMPLATE, "<eos>")
    assert "<bos>" + go(template, asked, system) == our_text(Renderer(gemma_tokenizer, TEMPLATE), instructed)
    text = modelfile(
        "m.gguf", TEMPLATE, "<eos>", Decoding(), context=512, title="A model", licence="Its terms."
    )
    assert not system or f'# SYSTEM """{system}"""\n' in text


def test_a_conversation_whose_beginning_is_forgotten_starts_at_a_question() -> None:
    messages: list[Message] = [
        {"role": "assistant", "content": "Since when?"},
        {"role": "user", "content": "Since Monday."},
    ]
    template = go_template(TEMPLATE, "</s>")
    assert go(template, messages) == go(template, messages[1:])


def test_the_modelfile_beside_the_export(exported: Path, renderer: Renderer) -> None:
    text = exported.with_name("Modelfile").read_text(encoding="utf-8")
    (found,) = re.findall(r'^TEMPLATE """(.*?)"""$', text, re.DOTALL | re.MULTILINE)
    for messages in PROMPTS:
        assert go(found, messages) == our_text(renderer, messages)
    lines = text.splitlines()
    assert "FROM ./model.gguf" in lines
    assert {line for line in lines if line.startswith("PARAMETER")} == {
        'PARAMETER stop "<|im_end|>"',
        "PARAMETER num_ctx 8192",
        "PARAMETER num_predict 128",
        "PARAMETER seed 42",
        "PARAMETER temperature 0.0",
        "PARAMETER top_p 1.0",
        "PARAMETER top_k 0",
        "PARAMETER min_p 0.0",
        "PARAMETER repeat_penalty 1.2",
        "PARAMETER repeat_last_n 8192",
    }
    assert re.search(r'^LICENSE """SmolLM2 by Hugging Face, Apache License 2\.0\..*"""$', text, re.MULTILINE)
    assert text.count('"""') % 2 == 0
