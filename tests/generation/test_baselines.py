"""Baselines' own prompts and adapters: as their publishers have them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import peft
import pytest
import torch
from transformers import AutoModelForCausalLM

from mulmed.errors import MulmedError
from mulmed.generation.adapter import check_adapter
from mulmed.generation.engine import TransformersEngine
from mulmed.prompts import Renderer, load_template
from mulmed.recipe import Decoding
from tests.conftest import make_record

pytestmark = pytest.mark.usefixtures("single_thread")


@pytest.mark.parametrize(
    ("template", "language", "question", "prompt"),
    [
        (
            "chatdoctor",
            "en",
            "My back hurts.",
            "Below is an instruction that describes a task, paired with an input that provides further context. Write a"
            " response that appropriately completes the request.\n\n### Instruction:\nIf you are a doctor, please answer"
            " the medical questions based on the patient's description.\n\n### Input:\nMy back hurts.\n\n### Response:",
        ),
        (
            "bentsao",
            "zh",
            "我头痛。",
            "下面是一个问题，运用医学知识来正确回答提问.\n### 问题:\n我头痛。\n### 回答:\n",
        ),
    ],
)
def test_a_question_reads_as_the_baselines_authors_put_it(
    smollm_tokenizer: Any, template: str, language: str, question: str, prompt: str
) -> None:
    renderer = Renderer(smollm_tokenizer, load_template(template))
    record = make_record(0, "qa", language, (question, "x"))
    ids = renderer.prompt(renderer.template.messages(record, with_answer=False))
    assert smollm_tokenizer.decode(ids) == prompt


def test_every_template_has_a_hash_of_its_own() -> None:
    assert len({load_template(name).sha256 for name in ("alpaca", "chatdoctor", "bentsao")}) == 3


@pytest.fixture
def adapter(tiny: Path, tmp_path: Path) -> Path:
    """A LoRA adapter as peft saves it, with weights that change every answer."""
    torch.manual_seed(1)
    settings = peft.LoraConfig(
        r=4, lora_alpha=32, target_modules=["q_proj", "v_proj", "o_proj"], task_type="CAUSAL_LM"
    )
    model = peft.get_peft_model(AutoModelForCausalLM.from_pretrained(tiny), settings)
    for name, weights in model.named_parameters():
        if "lora_" in name:
            torch.nn.init.normal_(weights, std=0.5)
    model.save_pretrained(tmp_path / "adapter")
    return tmp_path / "adapter"


def test_an_adapter_answers_as_with_peft(tiny: Path, adapter: Path, renderer: Renderer) -> None:
    check_adapter(adapter, "adapter")
    decoding = Decoding(max_new_tokens=12, repetition_penalty=1.0)
    prompt = renderer.prompt([{"role": "user", "content": "My back hurts."}])
    (got,) = TransformersEngine(tiny, -1, adapter).complete([prompt], decoding, 0)
    model = peft.PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(tiny), adapter).eval()
    expected = model.generate(
        input_ids=torch.tensor([prompt]), max_new_tokens=12, do_sample=False, eos_token_id=None
    )
    assert list(got.ids) == expected[0, len(prompt) :].tolist()
    (plain,) = TransformersEngine(tiny, -1).complete([prompt], decoding, 0)
    assert plain != got


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"use_dora": True}, "use_dora"),
        ({"use_rslora": True}, "use_rslora"),
        ({"peft_type": "IA3"}, "peft_type"),
        ({"bias": "all"}, "bias"),
        ({"target_modules": ".*proj"}, "target_modules"),
        ({"modules_to_save": ["embed_tokens"]}, "modules_to_save"),
    ],
)
def test_an_adapter_of_another_kind_is_refused(adapter: Path, change: dict[str, Any], named: str) -> None:
    config = adapter / "adapter_config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | change))
    with pytest.raises(MulmedError, match=rf"no plain LoRA \({named}\)"):
        check_adapter(adapter, "adapter")
