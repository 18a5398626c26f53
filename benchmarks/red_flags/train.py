"""Train the classifier of red flags on the messages beside this file.

    python benchmarks/red_flags/train.py

writes the weights into the package. ``train_LANGUAGE.txt`` holds the messages, each kind below its heading; alternatives
stand in brackets. ``frames_LANGUAGE.txt`` holds what may stand around a message, and what turns any message into one
that tells of nobody's present danger. From each line some readings are drawn, some of them with openings, closings,
harmless stories around them, slips of the pen or without punctuation. Same files, same torch: same bytes.
How well it does, beside the rules, on messages that it was not trained on: ``python benchmarks/safety.py``.
"""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.numpy import save_file

from mulmed.safety import classifier, redflags

HERE = Path(__file__).parent
WEIGHTS = Path(classifier.__file__).parent / "classifier.safetensors"
LANGUAGES = ("en", "zh")
TUNED = ("development", "heldout", "second", "third", "fourth", "sixth", "seventh", "eighth")
SEED = 7
READINGS = 12  # of a line with alternatives, at most
DOUBLED = 0.25  # share of messages that say two things of a kind
NETS, WIDTH = 2, 12  # nets whose scores are averaged, and the width of each
LEAST = 3  # lines that a feature must stand in
EPOCHS = 14
DROP = 0.35  # share of a message's features that are left out at random in each step
MOST = 30000  # features that are kept


@dataclass(frozen=True)
class Example:
    kind: str
    line: int  # the line it was drawn from
    text: str


# --- messages ----------------------------------------------------------------------------------------


def sections(path: Path) -> list[tuple[str, str]]:
    """(heading, line) of a file with headings in square brackets; what stands before the first has none."""
    heading, lines = "", []
    for line in path.read_text(encoding="utf-8").splitlines():
        if match := re.fullmatch(r"\[([\w-]+)\]", line):
            heading = match[1]
        elif line and not line.startswith("#"):
            lines.append((heading, line))
    return lines


_CHOICE = re.compile(r"\(([^()]*\|[^()]*)\)")


def reading(line: str, draw: random.Random) -> str:
    """A line with one of each bracket's alternatives."""
    while match := _CHOICE.search(line):
        line = line[: match.start()] + draw.choice(match[1].split("|")) + line[match.end() :]
    return " ".join(line.split())


def slipped(text: str, draw: random.Random) -> str:
    """A text with some slips of the pen: letters that changed places, fell out, were doubled or hit beside."""
    letters = list(text)
    places = [
        i
        for i in range(1, len(letters) - 1)
        if "".join(letters[i - 1 : i + 2]).isascii() and letters[i].isalpha()
    ]
    for place in sorted(draw.sample(places, min(len(places), max(1, len(places) // 25))), reverse=True):
        kind = draw.randrange(3)
        if kind == 0:
            letters[place : place + 2] = reversed(letters[place : place + 2])
        elif kind == 1:
            del letters[place]
        else:
            letters.insert(place, letters[place])
    return "".join(letters)


def framed(text: str, frames: dict[str, list[str]], language: str, draw: random.Random) -> str:
    """A message with openings, closings and stories around it, some without punctuation or with slips."""
    joiner = " " if language == "en" else ""
    parts = [text]
    if draw.random() < 0.35:
        parts.append(reading(draw.choice(frames["closing"]), draw))
    for _ in range(draw.choice((0, 0, 0, 1, 1, 2, 2, 4))):
        told = reading(draw.choice(frames["story"]), draw)
        parts.insert(draw.choice((0, len(parts))), told)
    if draw.random() < 0.25:
        parts.insert(0, reading(draw.choice(frames["opening"]), draw))
    stop = ". " if language == "en" else draw.choice(("。", "，"))
    joined = ""
    for part in parts:
        if joined and joined[-1] not in ".,?!:，。？！：":
            joined += draw.choice((stop, joiner, ", " if language == "en" else "，"))
        joined += (joiner if joined else "") + part
    if draw.random() < 0.15:
        joined = re.sub(r"[,.;:!?，。；：！？]", " " if language == "en" else draw.choice(("", " ")), joined)
    if language == "en" and draw.random() < 0.2:
        joined = slipped(joined, draw)
    return joined


def known(language: str) -> list[tuple[str, str]]:
    """The messages that the rules or the thresholds were tuned with: nothing is measured on them any more."""
    found = []
    for name in TUNED:
        lines = (
            (HERE.parent / "safety_messages" / f"{name}_{language}.tsv")
            .read_text(encoding="utf-8")
            .splitlines()
        )
        found += [
            (kind, text) for kind, _, text in (x.partition("\t") for x in lines if not x.startswith("#"))
        ]
    return found


def examples(language: str, draw: random.Random) -> list[Example]:
    """All that is trained on in a language."""
    frames: dict[str, list[str]] = {}
    for heading, line in sections(HERE / f"frames_{language}.txt"):
        frames.setdefault(heading, []).append(line)
    drawn = []
    alike: dict[str, list[str]] = {}
    for kind, line in sections(HERE / f"train_{language}.txt"):
        alike.setdefault(kind, []).append(line)
    stop = ". " if language == "en" else "，"
    told = [pair for pair in known(language) if pair[0] in alike]  # "other" has no kind of its own
    for number, (kind, line) in enumerate([*sections(HERE / f"train_{language}.txt"), *told]):
        seen = {reading(line, draw) for _ in range(READINGS)}
        for text in sorted(seen):
            if draw.random() < DOUBLED:
                text = draw.choice((f"{text}{stop}{{}}", f"{{}}{stop}{text}")).format(
                    reading(draw.choice(alike[kind]), draw)
                )
            drawn.append(Example(kind, number, framed(text, frames, language, draw)))
        drawn.append(Example(kind, number, min(seen, key=len)))
        if kind != "-" and kind != "suicide" and draw.random() < 0.6:
            text = draw.choice(sorted(seen))
            drawn.append(
                Example("-", number, reading(draw.choice(frames["general"]), draw).replace("{}", text))
            )
    return drawn


# --- training ----------------------------------------------------------------------------------------


def read(text: str) -> NDArray[np.uint32]:
    """A message's features."""
    row, context = redflags._read(text, None)
    flags = redflags._by_rules(row, context) if context else {}
    return classifier.features(
        redflags._plain(row, context), redflags.marks(context, flags) if context else []
    )[0]


def vocabulary(rows: Sequence[NDArray[np.uint32]], lines: Sequence[tuple[str, int]]) -> NDArray[np.uint32]:
    """Features that stand in several lines, ascending."""
    last: dict[int, tuple[str, int]] = {}  # the line that a feature was seen in last
    counts: Counter[int] = Counter()
    for row, line in zip(rows, lines, strict=True):
        for name in set(row.tolist()):
            counts[name] += last.get(name) != line
            last[name] = line
    return np.array(sorted(name for name, count in counts.items() if count >= LEAST), np.uint32)


class Net(torch.nn.Module):
    def __init__(self, names: int, kinds: int) -> None:
        super().__init__()
        self.inner = torch.nn.EmbeddingBag(names + 1, WIDTH, mode="sum", padding_idx=names)
        torch.nn.init.normal_(self.inner.weight, std=0.1)
        with torch.no_grad():
            self.inner.weight[names] = 0
        self.hidden = torch.nn.Parameter(torch.zeros(WIDTH))
        self.outer = torch.nn.Linear(WIDTH, kinds)

    def forward(self, rows: torch.Tensor, starts: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
        return self.outer(torch.relu(self.inner(rows, starts) * scale[:, None] + self.hidden))


def fitted(
    rows: Sequence[NDArray[np.uint32]],
    kinds: Sequence[int],
    weights: Sequence[float],
    names: NDArray[np.uint32],
    count: int,
    seed: int,
) -> Net:
    """The trained net. ``weights``: of the messages."""
    torch.manual_seed(seed)
    draw = np.random.default_rng(seed)
    at = [np.searchsorted(names, row) for row in rows]
    at = [
        np.where(names[np.minimum(a, len(names) - 1)] == row, np.minimum(a, len(names) - 1), len(names))
        for a, row in zip(at, rows, strict=True)
    ]
    net = Net(len(names), count)
    steps = torch.optim.AdamW(net.parameters(), lr=0.01, weight_decay=0.05)
    batches = (len(rows) + 255) // 256
    plan = torch.optim.lr_scheduler.OneCycleLR(steps, 0.01, total_steps=EPOCHS * batches)
    label, weight = torch.tensor(kinds), torch.tensor(weights, dtype=torch.float32)
    for _ in range(EPOCHS):
        order = draw.permutation(len(rows))
        for first in range(0, len(order), 256):
            chosen = order[first : first + 256]
            kept = [at[i][draw.random(len(at[i])) > DROP] for i in chosen]
            # What is left out leaves the sum as long as it was.
            scale = torch.tensor(
                [1 / (1 - DROP) / max(1, len(at[i])) ** 0.5 for i in chosen], dtype=torch.float32
            )
            starts = np.concatenate(([0], np.cumsum([len(k) for k in kept])[:-1]))
            scores = net(torch.from_numpy(np.concatenate(kept)), torch.from_numpy(starts), scale)
            each = torch.nn.functional.cross_entropy(
                scores, label[chosen], reduction="none", label_smoothing=0.02
            )
            loss = (each * weight[chosen]).sum() / weight[chosen].sum()
            steps.zero_grad()
            loss.backward()
            steps.step()
            plan.step()
    return net


def stored(
    nets: Sequence[Net], names: NDArray[np.uint32], kinds: Sequence[str]
) -> dict[str, NDArray[np.generic]]:
    """The tensors of the file: the nets side by side, the features that say most, in 8-bit steps."""
    rows = np.concatenate([net.inner.weight.detach().numpy()[: len(names)] for net in nets], axis=1)
    kept = np.sort(np.argsort(-np.square(rows).sum(axis=1), kind="stable")[:MOST])
    size = np.abs(rows).max(axis=0) / 127
    return {
        "names": names[kept],
        "inner": np.round(rows[kept] / size).astype(np.int8),
        "size": size.astype(np.float32),
        "hidden": np.concatenate([net.hidden.detach().numpy() for net in nets]),
        "outer": np.concatenate([net.outer.weight.detach().numpy().T for net in nets])
        / np.float32(len(nets)),
        "last": np.mean([net.outer.bias.detach().numpy() for net in nets], axis=0),
        "kinds": np.frombuffer(" ".join(kinds).encode(), np.uint8),
    }


def main() -> None:
    torch.set_num_threads(1)
    draw = random.Random(SEED)
    drawn = [(language, example) for language in LANGUAGES for example in examples(language, draw)]
    rows = [read(example.text) for _, example in drawn]
    lines = [(language, example.line) for language, example in drawn]
    names = vocabulary(rows, lines)
    kinds = ["-", *sorted({example.kind for _, example in drawn} - {"-"})]
    counts = Counter(lines)
    labels = [kinds.index(example.kind) for _, example in drawn]
    weights = [counts[line] ** -0.5 for line in lines]
    nets = [fitted(rows, labels, weights, names, len(kinds), SEED + number) for number in range(NETS)]
    # The file holds each tensor's bytes in the order of its rows, whatever the order in memory.
    save_file({name: np.ascontiguousarray(t) for name, t in stored(nets, names, kinds).items()}, WEIGHTS)
    for language in LANGUAGES:
        own = [example for of, example in drawn if of == language]
        print(
            f"{language}: {len({e.line for e in own})} lines, {len(own)} messages, {sum(e.kind == '-' for e in own)} of them harmless"
        )
    print(f"{len(names)} features, {WEIGHTS.name}: {WEIGHTS.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
