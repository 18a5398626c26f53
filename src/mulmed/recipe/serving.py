"""How a model is served: what the safety layer says and does, what is admitted, what is kept."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from mulmed.recipe.document import Decoding
from mulmed.recipe.review import RequireReview
from mulmed.recipe.settings import Settings

Action = Literal["allow", "note", "soften", "block"]
ReaderChoice = Literal["auto", "always", "never"]


class EmergencyNumbers(Settings):
    """Telephone numbers of the place that is served; an empty one is not known."""

    emergency: str = Field(min_length=1, description="the ambulance")
    police: str = Field("", description="where the ambulance's number does not reach them")
    suicide: str = ""
    poison: str = ""
    violence: str = ""


class Policy(Settings):
    """What is done with a sentence of a reply that says one of these (docs/safety.md)."""

    dosage: Action = "note"
    prescription: Action = "block"
    certainty: Action = "soften"
    cure: Action = "soften"
    doctor: Action = "soften"


class Limits(Settings):
    """What is admitted."""

    slots: int = Field(8, ge=1, description="completions computed at a time (llama.cpp)")
    queue: int = Field(64, ge=0, description="completions that may wait; more are refused with 429")
    context: int = Field(2048, ge=64, description="tokens a conversation and its answer may have together")
    max_tokens: int = Field(1024, ge=1, description="tokens an answer may have at most")
    deadline: float = Field(120, gt=0, description="seconds a request may take, waiting included")
    drain: float = Field(20, ge=0, description="seconds that answers under way may still take after SIGTERM")
    body: int = Field(1 << 20, ge=1024, description="bytes a request may have")
    batch: int = Field(64, ge=1, description="items a batch may have")


class Serving(Settings):
    """A service."""

    region: str | None = Field(None, description="whose emergency numbers are told: US, CN, EU ...")
    numbers: EmergencyNumbers | None = Field(
        None, description="the numbers themselves, in place of a region's"
    )
    reader: ReaderChoice = Field(
        "auto", description="second reader of red flags (Gemma 3 270M): where it is installed, always, never"
    )
    policy: Policy = Policy()
    decoding: Decoding = Field(
        Decoding(max_new_tokens=256), description="where a request does not say; as in `generation`"
    )
    limits: Limits = Limits()
    require_review: RequireReview | None = Field(
        None, description="serve only what people rated well enough in a blind review"
    )
    audit_days: float | None = Field(
        None, gt=0, description="days after which decisions are deleted from the record; default: never"
    )
