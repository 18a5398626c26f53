"""Prompt templates as data, each with its hash."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from typing import TypedDict

from mulmed.corpus.record import Record
from mulmed.errors import MulmedError
from mulmed.recipe import Language


class Message(TypedDict, total=False):
    """One chat message. ``input`` is Alpaca's further context, on a first user message only."""

    role: str
    content: str
    input: str


@dataclass(frozen=True, slots=True)
class Template:
    """How messages become one text.

    A conversation is ``preamble user CONTENT [input INPUT] assistant ANSWER <eos>``, later rounds are
    ``between_rounds user CONTENT assistant ANSWER <eos>``.

    Attributes:
        instructions: task -> language -> the sentence put before the first user turn; empty for none.
        sha256: over the canonical JSON of everything that changes a prompt's bytes.
    """

    name: str
    preamble: str
    preamble_with_input: str
    user: str
    input: str
    assistant: str
    between_rounds: str
    instructions: Mapping[str, Mapping[str, str]]
    sha256: str

    def messages(self, record: Record, *, with_answer: bool = True) -> list[Message]:
        """A record's turns as chat messages, the task's instruction before the first.

        Without its answer, the record's last assistant turn is left out: what a model is asked.

        Raises:
            MulmedError: the template has no instruction for the record's task and language.
        """
        turns = record.turns if with_answer else record.turns[:-1]
        messages: list[Message] = [{"role": t.role, "content": t.text} for t in turns]
        if record.task != "instruction":
            messages[0]["content"] = self.instruct(record.task, record.language, messages[0]["content"])
        elif record.context:
            messages[0]["input"] = record.context
        return messages

    def instruct(self, task: str, language: str, text: str) -> str:
        """A task's instruction followed by the user's text."""
        try:
            instruction = self.instructions[task][language]
        except KeyError:
            raise MulmedError(
                f"The template {self.name!r} has no instruction for task {task!r} in language {language!r}.",
                where=f"instructions of the language {language!r}",
                remedy="Give them in the language's file, or take the source out of the recipe.",
            ) from None
        # The paper appends the text directly; a space keeps English words apart.
        separator = "" if not instruction or instruction.endswith("：") else " "
        return f"{instruction}{separator}{text}"

    def segments(self, messages: Sequence[Message]) -> list[tuple[str, str]]:
        """``(prompt text, answer text)`` a round; the last answer is empty when it is still to come.

        Raises:
            MulmedError: roles do not alternate beginning with the user.
        """
        rounds: list[tuple[str, str]] = []
        for i, message in enumerate(messages):
            if message["role"] != ("user", "assistant")[i % 2]:
                raise MulmedError(
                    f"Message {i + 1} has the role {message['role']!r}.",
                    where="messages",
                    remedy="User and assistant must alternate, beginning with the user.",
                )
            if message["role"] == "assistant":
                rounds[-1] = (rounds[-1][0], message["content"])
                continue
            given = message.get("input", "")
            opening = self.between_rounds
            if i == 0:
                opening = self.preamble_with_input if given else self.preamble
            prompt = opening + self.user + message["content"]
            if given:
                prompt += self.input + given
            rounds.append((prompt + self.assistant, ""))
        return rounds

    def chat_template(self, bos: str, eos: str) -> str:
        """The same layout as a Jinja chat template for a Hugging Face tokenizer.

        Args:
            bos: text of the begin-of-text token, empty when the model does not begin with one.
            eos: text of the end-of-text token.
        """

        def q(text: str) -> str:
            return json.dumps(text, ensure_ascii=False)

        return (
            "{%- for m in messages -%}"
            "{%- if m['role'] != ('user' if loop.index0 % 2 == 0 else 'assistant') -%}"
            "{{- raise_exception('user and assistant must alternate, beginning with the user') -}}"
            "{%- endif -%}"
            "{%- if m['role'] == 'user' -%}"
            f"{{{{- ({q(bos)} + ({q(self.preamble_with_input)} if m['input'] else {q(self.preamble)}))"
            f" if loop.first else {q(self.between_rounds)} -}}}}"
            f"{{{{- {q(self.user)} + m['content'] -}}}}"
            f"{{%- if m['input'] -%}}{{{{- {q(self.input)} + m['input'] -}}}}{{%- endif -%}}"
            f"{{{{- {q(self.assistant)} if not loop.last or add_generation_prompt else '' -}}}}"
            "{%- else -%}"
            f"{{{{- m['content'] + {q(eos)} -}}}}"
            "{%- endif -%}"
            "{%- endfor -%}"
        )


def load_template(name: str, languages: Sequence[Language] = ()) -> Template:
    """The template shipped as ``prompts/templates/NAME.json``, with the instructions of more languages."""
    text = resources.files("mulmed.prompts").joinpath("templates", f"{name}.json").read_text(encoding="utf-8")
    data = json.loads(text)
    data.pop("origin")
    for language in languages:
        for task, instruction in language.instructions.items():
            data["instructions"].setdefault(task, {})[language.code] = instruction
    canonical = json.dumps(data, sort_keys=True, ensure_ascii=False)
    return Template(**data, sha256=hashlib.sha256(canonical.encode()).hexdigest())
