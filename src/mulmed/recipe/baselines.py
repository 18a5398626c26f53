"""The recipe's baselines: rivals that answer the same questions, each with its own prompt."""

from __future__ import annotations

from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import Discriminator, Field, Tag, field_validator, model_validator

from mulmed.recipe.settings import Name, Settings

#: Prompt templates that come with MulMed (``prompts/templates``).
TemplateName = Literal["alpaca", "chatdoctor", "bentsao"]
LOOPBACK = ("localhost", "127.0.0.1", "::1")


class Local(Settings):
    """A model in Hugging Face layout, or a base with a LoRA adapter in peft's layout."""

    model: str = Field(description="a Hugging Face folder, an embedded base, or a hub name")
    revision: str | None = Field(None, description="hub names only: the commit to use")
    adapter: str | None = Field(None, description="a folder with adapter_config.json and safetensors")
    template: TemplateName = "alpaca"


class Api(Settings):
    """A model behind an OpenAI-compatible API. The test questions are sent there."""

    api: str = Field(description="what stands before /chat/completions")
    model: str = Field(description="its name there")
    template: TemplateName = Field("alpaca", description="the instruction that goes before a question")
    key_env: str | None = Field(None, description="environment variable that holds the key")
    concurrency: int = Field(4, ge=1, description="questions under way at once")
    per_minute: int | None = Field(None, ge=1, description="at most so many requests a minute")
    attempts: int = Field(6, ge=1, description="before a question is given up")
    timeout: float = Field(120.0, gt=0, description="seconds to wait for an answer")
    prices: tuple[float, float] | None = Field(
        None, description="US dollars a million tokens of prompts and of answers"
    )
    budget: float | None = Field(None, gt=0, description="US dollars that may be spent")

    @field_validator("api")
    @classmethod
    def _is_an_address(cls, value: str) -> str:
        parts = urlsplit(value)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError("an API's address begins with http:// or https://")
        if parts.username or parts.password or parts.query:
            raise ValueError("an address holds no key; name its environment variable under key_env")
        return value.rstrip("/")

    @model_validator(mode="after")
    def _harms_nobody(self) -> Api:
        parts = urlsplit(self.api)
        if self.key_env and parts.scheme == "http" and parts.hostname not in LOOPBACK:
            raise ValueError("a key would be sent without encryption: use https://")
        if self.budget is not None and self.prices is None:
            raise ValueError("a budget needs prices")
        return self


class Published(Settings):
    """Answers that a source of the corpus carries, under the baseline's name (iCliniq: chatgpt, chatdoctor)."""

    source: Name = Field(description="a source of the corpus")


class Made(Settings):
    """Answers made elsewhere: JSON Lines with id and prediction."""

    file: str = Field(description="relative to `data`")


def _kind(value: Any) -> str:
    """Which kind a mapping of the recipe means, by the key that only this kind has."""
    if not isinstance(value, dict):
        return type(value).__name__ if isinstance(value, Settings) else "Local"
    return next((kind for key, kind in _KINDS.items() if key in value), "Local")


_KINDS = {"api": "Api", "source": "Published", "file": "Made"}
Baseline = Annotated[
    Annotated[Api, Tag("Api")]
    | Annotated[Published, Tag("Published")]
    | Annotated[Made, Tag("Made")]
    | Annotated[Local, Tag("Local")],
    Discriminator(_kind),
]
