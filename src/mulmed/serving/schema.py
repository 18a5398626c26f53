"""What requests may say. Nothing is accepted and ignored: what the service has not is refused by name."""

from __future__ import annotations

import secrets
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from mulmed.corpus.record import Task, Turn
from mulmed.recipe import Serving
from mulmed.serving.errors import ApiError
from mulmed.serving.exchange import Ask
from mulmed.serving.text import Language

Tokens = Annotated[int, Field(ge=1)]
TokenId = Annotated[int, Field(ge=0, strict=True)]


class Body(BaseModel):
    """Base of every request."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)


class TextPart(Body):
    """A part of a message. Images, files and addresses are not taken."""

    type: Literal["text"]
    text: str


class ChatMessage(Body):
    """A turn of the conversation."""

    role: Literal["user", "assistant"]
    content: str | list[TextPart]
    name: None = None

    @property
    def text(self) -> str:
        """Its parts, one after another."""
        return self.content if isinstance(self.content, str) else "\n".join(p.text for p in self.content)


class StreamOptions(Body):
    """``include_usage``: a last event tells the tokens."""

    include_usage: bool = False


class Sampling(Body):
    """How to decode; what is left out is as the service decodes by itself."""

    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    top_p: Annotated[float, Field(gt=0, le=1)] | None = None
    seed: int | None = None
    max_tokens: Tokens | None = None
    stop: Annotated[str, Field(min_length=1)] | list[Annotated[str, Field(min_length=1)]] | None = None
    user: str | None = Field(None, description="whose request it is: kept as a keyed hash only")
    stream: bool = False

    @field_validator("stop")
    @classmethod
    def _four(cls, value: str | list[str] | None) -> str | list[str] | None:
        if isinstance(value, list) and len(value) > 4:
            raise ValueError("at most 4 strings")
        return value

    @property
    def wanted(self) -> int | None:
        """Tokens asked for."""
        return self.max_tokens

    def ask(
        self,
        endpoint: str,
        task: Task,
        turns: list[Turn],
        settings: Serving,
        *,
        language: Language | None = None,
        choices: int = 1,
        principal: str = "",
    ) -> Ask:
        """The request as the service takes it; ``principal``: whose key it came with.

        Raises:
            ApiError: more tokens are wanted than anybody gets.
        """
        own, most = settings.decoding, settings.limits.max_tokens
        if (self.wanted or 0) > most:
            raise ApiError(400, "invalid_request", f"max_tokens: at most {most} here.", param="max_tokens")
        temperature = own.temperature if self.temperature is None else self.temperature
        seed = self.seed
        if seed is None:  # asked again, a sample is another one
            seed = secrets.randbits(32) if temperature else own.seed
        stop = [self.stop] if isinstance(self.stop, str) else self.stop or []
        update = {
            "temperature": temperature,
            "top_p": own.top_p if self.top_p is None else self.top_p,
            "seed": seed % 2**32,
            # None at all are wanted where only the prompt's own chances are asked for.
            "max_new_tokens": min(own.max_new_tokens, most) if self.wanted is None else max(self.wanted, 1),
        }
        return Ask(
            endpoint,
            task,
            tuple(turns),
            own.model_copy(update=update),
            exact=self.wanted is not None,
            language=language,
            stop=tuple(stop),
            choices=choices,
            user=self.user or principal,
        )


class ChatRequest(Sampling):
    """``/v1/chat/completions``."""

    model: str
    messages: Annotated[list[ChatMessage], Field(min_length=1)]
    max_completion_tokens: Tokens | None = None
    n: Annotated[int, Field(ge=1, le=4)] | None = 1
    stream_options: StreamOptions | None = None

    @property
    def wanted(self) -> int | None:
        return self.max_completion_tokens or self.max_tokens

    @model_validator(mode="after")
    def _users_turn(self) -> ChatRequest:
        for i, message in enumerate(self.messages):
            if message.role != ("user", "assistant")[i % 2]:
                raise ValueError(f"messages.{i}: user and assistant must alternate, beginning with the user")
        if len(self.messages) % 2 == 0:
            raise ValueError("messages: the user must have the last word")
        return self


class CompletionRequest(Sampling):
    """``/v1/completions``: each prompt is a user's message, as in a chat.

    In evaluation it is a text that the model goes on with, or its token ids; only then are there ``echo`` and
    ``logprobs``, which would show what the safety layer has not seen.
    """

    model: str
    prompt: str | Annotated[list[str], Field(min_length=1)] | list[TokenId] | list[list[TokenId]]
    max_tokens: Annotated[int, Field(ge=0)] | None = None
    n: Annotated[int, Field(ge=1, le=4)] | None = 1
    echo: bool = False
    logprobs: Annotated[int, Field(ge=0, le=5)] | None = None
    stream_options: StreamOptions | None = None

    @field_validator("prompt")
    @classmethod
    def _something(cls, value: Any) -> Any:
        if not value or any(isinstance(p, str | list) and not p for p in value):
            raise ValueError("it is empty")
        return value

    def prompts(self) -> list[str | list[int]]:
        """One by one."""
        one = isinstance(self.prompt, str) or isinstance(self.prompt[0], int)
        return [self.prompt] if one else list(self.prompt)  # type: ignore[list-item,arg-type]


class Talk(Sampling):
    """What the task endpoints have in common."""

    language: Language | None = Field(None, description="of the user; default: as the text is written")


class SummarizeRequest(Talk):
    """``/v1/tasks/summarize``: a medical text in plain words."""

    text: Annotated[str, Field(min_length=1)]

    def turns(self) -> list[Turn]:
        return [Turn("user", self.text)]


class AnswerRequest(Talk):
    """``/v1/tasks/answer``: one question, one answer."""

    question: Annotated[str, Field(min_length=1)]

    def turns(self) -> list[Turn]:
        return [Turn("user", self.question)]


class DialogueRequest(Talk):
    """``/v1/tasks/dialogue``: a conversation; the user has the first and the last word."""

    turns_: Annotated[list[str], Field(min_length=1, alias="turns")]

    @field_validator("turns_")
    @classmethod
    def _odd(cls, value: list[str]) -> list[str]:
        if len(value) % 2 == 0:
            raise ValueError("the user must have the last word")
        if not all(text.strip() for text in value):
            raise ValueError("a turn is empty")
        return value

    def turns(self) -> list[Turn]:
        return [Turn(("user", "assistant")[i % 2], text) for i, text in enumerate(self.turns_)]


class SummarizeBatch(Body):
    """Several at once."""

    items: Annotated[list[SummarizeRequest], Field(min_length=1)]


class AnswerBatch(Body):
    """Several at once."""

    items: Annotated[list[AnswerRequest], Field(min_length=1)]


class DialogueBatch(Body):
    """Several at once."""

    items: Annotated[list[DialogueRequest], Field(min_length=1)]


class Flag(Body):
    """A sign of an emergency that was found."""

    category: str
    certainty: Literal["clear", "possible"]


class Usage(Body):
    """Tokens, as the model counts them."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int


class TaskAnswer(Body):
    """What the task endpoints answer. ``notice``, if any, is to be shown before the answer, the rest below it."""

    id: str
    task: str
    language: Language
    notice: str
    flags: list[Flag]
    answer: str
    label: str
    disclaimer: str
    masked: dict[str, int] = Field(description="kinds of identifiers the model did not see, and how many")
    policy: dict[str, int] = Field(description="what was done about the answer, kind:action to how often")
    finish: Literal["stop", "length"]
    usage: Usage


class ErrorText(Body):
    """What is wrong, in OpenAI's shape."""

    message: str
    type: str
    param: str | None
    code: str
    notice: str = Field("", description="the emergency notice, where there is one")


class ErrorBody(Body):
    """An error."""

    error: ErrorText


class BatchAnswer(Body):
    """An answer or an error for each item, in their order."""

    items: list[TaskAnswer | ErrorBody]


def explained(errors: list[Any]) -> tuple[str, str | None]:
    """What is wrong with a request and the field at fault, in pydantic's words, without what was sent."""
    # A content may be a text or a list: what is wrong with the list says more than that it is no text.
    first = next((e for e in errors if e["type"] != "string_type"), errors[0])
    place = ".".join(str(p) for p in first["loc"] if p not in ("body", "str") and "[" not in str(p))
    message = first["msg"].removeprefix("Value error, ")
    if first["type"] == "extra_forbidden":
        message = "this service has no such parameter"
    elif place.startswith("messages") and first["type"] == "literal_error" and place.endswith("role"):
        message = "the model knows the roles user and assistant; it was trained without others"
    elif first["type"] == "literal_error" and place.endswith("type"):
        message = "only text is taken: no image, no file, no address"
    return (f"{place}: {message}" if place else message), place or None
