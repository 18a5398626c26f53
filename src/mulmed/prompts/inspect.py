"""What the model will learn: a preview in colours, and the gate before training."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from mulmed.errors import MulmedError
from mulmed.prompts.render import Example, Renderer


@dataclass(frozen=True, slots=True)
class Share:
    """Token counts of one task and language.

    ``tokens`` are all tokens of the examples, ``targets`` those that are learned, ``longest`` the tokens
    of the longest example.
    """

    task: str
    language: str
    examples: int
    tokens: int
    targets: int
    longest: int

    @property
    def target_share(self) -> float:
        return self.targets / self.tokens


def target_shares(examples: Iterable[Example]) -> list[Share]:
    """Token accounting per task and language, sorted."""
    totals: dict[tuple[str, str], list[int]] = {}
    for e in examples:
        row = totals.setdefault((e.task, e.language), [0, 0, 0, 0])
        row[0] += 1
        row[1] += len(e.ids)
        row[2] += e.targets
        row[3] = max(row[3], len(e.ids))
    return [Share(task, language, *row) for (task, language), row in sorted(totals.items())]


def check_examples(examples: Sequence[Example], cutoff: int, step: str) -> None:
    """The gate: training starts only when every example teaches something and fits.

    Raises:
        MulmedError: there is no example, one has no target token, or one is longer than the cutoff.
    """
    if not examples:
        raise MulmedError(
            f"Step {step} has no training example.",
            where=f"steps.{step}.sources",
            remedy="Check the corpus funnel: what was rejected or dropped, and why.",
        )
    empty = [e.record_id for e in examples if e.targets == 0]
    if empty:
        raise MulmedError(
            f"{len(empty)} of {len(examples)} examples have no target token: nothing could be learned from "
            "them.",
            where=f"steps.{step}, record {empty[0]}",
            remedy="Raise `cutoff`, or remove the records.",
        )
    long = [e for e in examples if len(e.ids) > cutoff]
    if long:
        raise MulmedError(
            f"{len(long)} of {len(examples)} examples are longer than the cutoff of {cutoff} tokens "
            f"(the longest has {max(len(e.ids) for e in long)}).",
            where=f"steps.{step}, record {long[0].record_id}",
            remedy="Rebuild the corpus with this base model and cutoff.",
        )


def spans(renderer: Renderer, example: Example) -> Iterator[tuple[str, bool]]:
    """The example's text in pieces, each with whether it is learned; special tokens are visible."""
    start = 0
    for i in range(1, len(example.ids) + 1):
        if i == len(example.ids) or example.mask[i] != example.mask[start]:
            text = renderer.tokenizer.decode(list(example.ids[start:i]), skip_special_tokens=False)
            yield text, example.mask[start]
            start = i
