"""The only renderer: messages -> token ids and loss mask, for training, generation and serving alike."""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from mulmed.corpus.record import Record
from mulmed.errors import MulmedError
from mulmed.prompts.template import Message, Template


@dataclass(frozen=True, slots=True)
class Example:
    """A record as the model sees it.

    Attributes:
        ids: token ids, from the begin-of-text token to the last end-of-text token.
        mask: for each token, whether the model learns to predict it (answers and the end-of-text token
            after a complete answer).
    """

    ids: tuple[int, ...]
    mask: tuple[bool, ...]
    record_id: str
    task: str
    language: str

    @property
    def targets(self) -> int:
        """How many tokens are learned. The first token has no predecessor and never counts."""
        return sum(self.mask[1:])


class Renderer:
    """A tokenizer and a template, bound together.

    Each round is tokenized as one text (prompt and answer together) and split where the answer begins,
    so that the tokens are those any other server gets from the exported chat template. Ids of the
    special tokens are put between the rounds by number: text that merely looks like a special token
    stays text.

    Args:
        tokenizer: a fast Hugging Face tokenizer.
        template: the layout.

    Raises:
        MulmedError: the tokenizer has no end-of-text token.
    """

    def __init__(self, tokenizer: Any, template: Template) -> None:
        self.tokenizer = tokenizer
        self.template = template
        if tokenizer.eos_token_id is None:
            raise MulmedError(
                "The base model's tokenizer has no end-of-text token, so answers could never end.",
                where="tokenizer_config.json",
                remedy="Set eos_token in the base model's folder.",
            )
        self.eos_id: int = tokenizer.eos_token_id
        first = tokenizer("a")["input_ids"][0]
        # The tokenizer itself knows whether its model begins with a begin-of-text token (Gemma and LLaMA
        # do and degenerate without it; SmolLM2 does not).
        self.bos_id: int | None = first if first == tokenizer.bos_token_id else None
        self._special_ids = frozenset(tokenizer.all_special_ids)
        special = sorted(tokenizer.all_special_tokens, key=len, reverse=True)
        self._special_text = re.compile("|".join(map(re.escape, special)))

    @property
    def chat_template(self) -> str:
        """Jinja text that makes other servers build this renderer's prompts."""
        bos = self.tokenizer.bos_token if self.bos_id is not None else ""
        return self.template.chat_template(bos, self.tokenizer.eos_token)

    def example(self, record: Record) -> Example:
        """Token ids and loss mask of a record with all its answers."""
        ids, mask = self._render(self.template.messages(record), closed=not record.answer_cut)
        return Example(tuple(ids), tuple(mask), record.id, record.task, record.language)

    def prompt(self, messages: Sequence[Message]) -> list[int]:
        """Token ids of a conversation that waits for the assistant's answer."""
        if not messages or messages[-1]["role"] != "user":
            raise MulmedError(
                "A prompt must end with a user's message.", where="messages", remedy="Add the question."
            )
        return self._render(messages, closed=True)[0]

    def overhead(self, task: str, language: str) -> tuple[int, int]:
        """Tokens the template adds to a first round and to each later one, end of text included.

        Two tokens of slack a round, because texts may tokenize differently beside each other.
        """
        content = "" if task == "instruction" else self.template.instruct(task, language, "")
        texts = [
            self.template.preamble_with_input
            + self.template.user
            + content
            + self.template.input
            + self.template.assistant,
            self.template.between_rounds + self.template.user + self.template.assistant,
        ]
        first, later = (len(self._encode(text)[0]) + 1 + 2 for text in texts)
        return first + (self.bos_id is not None), later

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """Number of tokens of each text, without special tokens."""
        if not texts:
            return []
        encoded = self.tokenizer(list(texts), add_special_tokens=False, return_attention_mask=False)
        return [len(ids) for ids in encoded["input_ids"]]

    def _render(self, messages: Sequence[Message], *, closed: bool) -> tuple[list[int], list[bool]]:
        ids: list[int] = [] if self.bos_id is None else [self.bos_id]
        mask = [False] * len(ids)
        rounds = self.template.segments(messages)
        answered = messages[-1]["role"] == "assistant"
        for i, (prompt, answer) in enumerate(rounds):
            last = i == len(rounds) - 1
            if last and not answered:
                encoded, _ = self._encode(prompt)
                ids += encoded
                mask += [False] * len(encoded)
                break
            encoded, starts = self._encode(prompt + answer)
            split = next((k for k, s in enumerate(starts) if s >= len(prompt)), len(encoded))
            alone = self._encode(prompt)[0] if last else encoded[:split]
            if encoded[:split] != alone:
                # A token spans the border between prompt and answer. At generation the prompt stands
                # alone, so it must here as well.
                encoded, split = alone + self._encode(answer)[0], len(alone)
            ids += encoded
            mask += [k >= split for k in range(len(encoded))]
            if closed or not last:
                ids.append(self.eos_id)
                mask.append(True)
        return ids, mask

    def _encode(self, text: str) -> tuple[list[int], list[int]]:
        """Ids of plain text and the character each starts at; special tokens in the text stay text."""
        ids: list[int] = []
        starts: list[int] = []
        for offset, piece in self._pieces(text):
            encoded = self.tokenizer(piece, add_special_tokens=False, return_offsets_mapping=True)
            ids += encoded["input_ids"]
            starts += [offset + start for start, _ in encoded["offset_mapping"]]
        if not self._special_ids.isdisjoint(ids):
            raise MulmedError(
                "A text contains a special token of the base model that cannot be written as plain text.",
                where="prompt",
                remedy="Remove special tokens from the text.",
            )
        return ids, starts

    def _pieces(self, text: str) -> list[tuple[int, str]]:
        """The text, cut inside every string that the tokenizer would take for a special token."""
        cuts = [0]
        for match in self._special_text.finditer(text):
            cuts.append(match.start() + 1)
        cuts.append(len(text))
        return [(a, text[a:b]) for a, b in itertools.pairwise(cuts) if b > a]
