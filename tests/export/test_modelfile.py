"""The Modelfile: Ollama's own template syntax builds the prompt of training."""

from __future__ import annotations

import itertools
import json
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mulmed.export.modelfile import go_template, modelfile
from mulmed.prompts import Message, Renderer
from mulmed.recipe import Decoding
from tests.conftest import Small
from tests.export.conftest import Exported
from tests.export.merges import PROMPTS, RECORDS, TEMPLATE


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


CONTENT = st.text(
    st.characters(exclude_categories=("Cs", "Cc", "Cn", "Co")) | st.sampled_from('\n\t"\\{}')
).filter(lambda text: "<" not in text)


@given(st.lists(CONTENT, min_size=1, max_size=5).filter(lambda texts: len(texts) % 2 == 1))
def test_ollama_builds_our_prompt(small_llama: Small, texts: list[str]) -> None:
    renderer = small_llama.renderer
    roles = itertools.cycle(("user", "assistant"))
    messages: list[Message] = [{"role": next(roles), "content": text} for text in texts]
    template = go_template(TEMPLATE, renderer.tokenizer.eos_token)
    assert go(template, messages) == our_text(renderer, messages)


@pytest.mark.parametrize("record", RECORDS, ids=lambda r: f"{r.task} {r.language}")
def test_a_system_message_is_the_tasks_instruction(
    small_llama: Small, small_gemma: Small, record: Any
) -> None:
    renderer = small_llama.renderer
    plain: list[Message] = [{"role": t.role, "content": t.text} for t in record.turns[:-1]]
    instructed = TEMPLATE.messages(record, with_answer=False)
    system = instructed[0]["content"].removesuffix(plain[0]["content"])
    asked: list[Message] = [{"role": "system", "content": system}, *plain]
    template = go_template(TEMPLATE, renderer.tokenizer.eos_token)
    assert go(template, asked, system) == our_text(renderer, instructed)
    # Gemma begins with a token that Ollama puts before the prompt itself.
    template = go_template(TEMPLATE, "<eos>")
    assert "<bos>" + go(template, asked, system) == our_text(small_gemma.renderer, instructed)
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


def test_the_modelfile_beside_the_export(llama: Exported) -> None:
    renderer = llama.renderer
    text = llama.file.with_name("Modelfile").read_text(encoding="utf-8")
    (found,) = re.findall(r'^TEMPLATE """(.*?)"""$', text, re.DOTALL | re.MULTILINE)
    for messages in PROMPTS:
        assert go(found, messages) == our_text(renderer, messages)
    lines = text.splitlines()
    assert "FROM ./model.gguf" in lines
    assert {line for line in lines if line.startswith("PARAMETER")} == {
        'PARAMETER stop "<|im_end|>"',
        "PARAMETER num_ctx 1024",
        "PARAMETER num_predict 128",
        "PARAMETER seed 42",
        "PARAMETER temperature 0.0",
        "PARAMETER top_p 1.0",
        "PARAMETER top_k 0",
        "PARAMETER min_p 0.0",
        "PARAMETER repeat_penalty 1.2",
        "PARAMETER repeat_last_n 1024",
    }
    assert re.search(r'^LICENSE """Random numbers, CC0\..*"""$', text, re.MULTILINE)
    assert text.count('"""') % 2 == 0
