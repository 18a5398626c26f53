"""Merged folders as the stage of merging leaves them, made without training."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from mulmed.artifact import finish, open_partial
from mulmed.prompts import Renderer, load_template
from mulmed.training.merge import PROOF
from tests.conftest import TEXTS, make_record

TEMPLATE = load_template("alpaca")
RECORDS = [make_record(i, *text) for i, text in enumerate(TEXTS)]
PROMPTS = [TEMPLATE.messages(record, with_answer=False) for record in RECORDS]


def make_merged(
    out: Path,
    base: str,
    folder: Path,
    renderer: Renderer,
    *,
    template: str = TEMPLATE.sha256,
) -> Path:
    """``folder``'s model as the stage of merging leaves it."""
    partial = open_partial(out, "key")
    for name in ("config.json", "tokenizer.json", "tokenizer_config.json", "model.safetensors"):
        shutil.copy(folder / name, partial)
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
