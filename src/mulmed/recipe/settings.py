"""What every part of a recipe has in common: immutable, strict about its keys."""

from __future__ import annotations

import difflib
import typing
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator

Fraction = Annotated[float, Field(ge=0.0, le=1.0)]
Seed = Annotated[int, Field(ge=0, lt=2**32)]
#: What may be a folder's name.
Name = Annotated[str, Field(pattern="^[A-Za-z0-9][A-Za-z0-9._-]*$")]


def _is_switch(annotation: Any) -> bool:
    """Whether true and false stand for a part of the recipe with its defaults, and for leaving it out."""
    return any(isinstance(kind, type) and issubclass(kind, BaseModel) for kind in typing.get_args(annotation))


class Settings(BaseModel):
    """Base of every part of a recipe: immutable, strict about its keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    @field_validator("*", mode="before")
    @classmethod
    def _yes_is_no_number(cls, value: Any, info: ValidationInfo) -> Any:
        # YAML reads `yes` as true, and pydantic would read that as 1.
        annotation = cls.model_fields[str(info.field_name)].annotation
        if isinstance(value, bool) and annotation is not bool and not _is_switch(annotation):
            raise ValueError("true or false stands where another kind of value belongs")
        return value


def did_you_mean(wrong: str, known: typing.Iterable[str]) -> str:
    """The known word nearest to a wrong one, as the end of a message; empty when none is near."""
    near = difflib.get_close_matches(wrong, list(known), n=1, cutoff=0.5)
    return f" (did you mean {near[0]!r}?)" if near else ""
