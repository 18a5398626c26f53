"""The recipe's training steps."""

from __future__ import annotations

import math
from typing import Literal

from pydantic import Field, field_validator, model_validator

from mulmed.recipe.settings import Fraction, Settings

Task = Literal["summary", "qa", "dialogue", "instruction"]


class Lora(Settings):
    """Low-rank adaptation (Hu et al. 2021). The paper adapts query, key and value."""

    r: int = Field(8, ge=1)
    alpha: float = Field(16, gt=0)
    dropout: float = Field(0.05, ge=0, lt=1)
    targets: tuple[str, ...] = Field(("q_proj", "k_proj", "v_proj"), min_length=1)
    rslora: bool = Field(
        False, description="scale by alpha / sqrt(r), not alpha / r (rsLoRA, Kalajdzievski 2023)"
    )
    dora: bool = Field(
        False, description="learn the norm of each output's weights besides (DoRA, Liu et al. 2024)"
    )


class Mix(Settings):
    """Shares that tasks and languages are to have among the examples a step learns from.

    An epoch draws as many examples as there are. Those of a task and language come in turn, each as often
    as any other of its kind, so a share above the natural one repeats examples, and one below leaves some
    for a later epoch.
    """

    task: dict[Task, Fraction] | None = Field(None, description="share of every task; they sum to 1")
    language: dict[str, Fraction] | None = Field(None, description="share of every language; they sum to 1")

    @field_validator("task", "language")
    @classmethod
    def _whole(cls, value: dict[str, float] | None) -> dict[str, float] | None:
        if value is not None and not math.isclose(total := sum(value.values()), 1, abs_tol=1e-6):
            raise ValueError(f"the shares sum to {total:g}, not to 1")
        return value

    @model_validator(mode="after")
    def _says_something(self) -> Mix:
        if self.task is None and self.language is None:
            raise ValueError("name shares by task, by language, or both")
        return self


class Step(Settings):
    """One LoRA fine-tuning, merged into its parent afterwards."""

    parent: str = Field(description="`base`, or the name of an earlier step")
    sources: tuple[str, ...] = Field(min_length=1)
    epochs: float = Field(1, gt=0)
    batch: int = Field(8, ge=1, description="examples an optimizer step")
    learning_rate: float = Field(3e-4, gt=0)
    warmup: Fraction = Field(0.1, description="share of the steps with a rising rate")
    weight_decay: float = Field(0.0, ge=0)
    max_grad_norm: float = Field(1.0, gt=0, description="gradients are clipped to this norm")
    lora: Lora = Lora()
    micro_batch_tokens: int = Field(1536, ge=1, description="tokens computed at a time")
    validate_every: int | None = Field(None, ge=1, description="optimizer steps; default five times a run")
    patience: int | None = Field(
        None,
        ge=1,
        description="validations in a row without a lower loss that end the step; the best adapter is kept",
    )
    mix: Mix | None = Field(None, description="default: every example once an epoch")
    checkpoint_every: int = Field(
        50,
        ge=1,
        description="optimizer steps between checkpoints; one process alone also makes one every two minutes",
    )
    precision: Literal["auto", "float32", "bfloat16", "float16"] = Field(
        "auto",
        description="of the frozen base and the activations; `auto` takes what suits the hardware, and says why",
    )
    base_precision: Literal["int8", "nf4"] | None = Field(
        None, description="of the frozen base's weights while training; default: that of `precision`"
    )

    @model_validator(mode="after")
    def _int8_beside_float32(self) -> Step:
        if self.base_precision == "int8" and self.precision not in ("auto", "float32"):
            raise ValueError("base_precision int8 works beside float32; leave precision out")
        return self

    @model_validator(mode="after")
    def _dora_knows_its_weights(self) -> Step:
        if self.base_precision is not None and self.lora.dora:
            raise ValueError("lora.dora needs the base's own weights; leave base_precision out")
        return self
