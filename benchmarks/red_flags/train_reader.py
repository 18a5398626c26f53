"""Train the head of the second reader of red flags (:mod:`mulmed.safety.reader`) on the messages beside this file.

    python benchmarks/red_flags/train_reader.py

Needs Gemma 3 270M (``requirements-models.txt``); writes the head into the package. Of each line up to two readings are
taken; some emergencies also stand in what makes them nobody's present danger (``general`` in ``frames_LANGUAGE.txt``).
A few minutes on two cores, most of them the base's. How well it does: ``python benchmarks/safety.py``.
"""

from __future__ import annotations

import random
import sys
import time

import torch
from safetensors.torch import save_file
from train import HERE, LANGUAGES, SEED, known, reading, sections

from mulmed.base.embedded import EMBEDDED, convert_embedded, identity
from mulmed.safety.reader import HEAD, Encoder

NETS, HIDDEN, EPOCHS = 3, 64, 12
GENERAL = 0.3  # share of the emergencies that stand in a frame which makes them harmless, too
BATCH = 16


def messages(draw: random.Random) -> list[tuple[str, bool]]:
    """Texts, and whether somebody is in danger."""
    found = []
    for language in LANGUAGES:
        general = [line for kind, line in sections(HERE / f"frames_{language}.txt") if kind == "general"]
        for kind, line in [*sections(HERE / f"train_{language}.txt"), *known(language)]:
            for text in sorted({reading(line, draw) for _ in range(2)}):
                found.append((text, kind != "-"))
            if kind not in ("-", "suicide") and draw.random() < GENERAL:
                frame = reading(draw.choice(general), draw)
                found.append((frame.replace("{}", reading(line, draw)), False))
    return found


def encoded(texts: list[str], encoder: Encoder) -> torch.Tensor:
    """The vectors of many texts, those of like length together."""
    order = sorted(range(len(texts)), key=lambda i: len(texts[i]))
    rows: list[torch.Tensor] = [torch.empty(0)] * len(texts)
    begun = time.monotonic()
    for first in range(0, len(order), BATCH):
        chosen = order[first : first + BATCH]
        for place, vector in zip(chosen, encoder.vectors([texts[i] for i in chosen]), strict=True):
            rows[place] = vector
        if first % (50 * BATCH) == 0:
            print(f"{first} of {len(order)} texts, {time.monotonic() - begun:.0f} s", file=sys.stderr)
    return torch.stack(rows)


def fitted(rows: torch.Tensor, danger: torch.Tensor, seed: int) -> torch.nn.Sequential:
    """One network."""
    torch.manual_seed(seed)
    net = torch.nn.Sequential(
        torch.nn.Dropout(0.2),
        torch.nn.Linear(rows.shape[1], HIDDEN),
        torch.nn.ReLU(),
        torch.nn.Dropout(0.3),
        torch.nn.Linear(HIDDEN, 1),
    )
    steps = torch.optim.AdamW(net.parameters(), lr=2e-3, weight_decay=0.1)
    for _ in range(EPOCHS):
        for chosen in torch.randperm(len(rows)).split(128):
            loss = torch.nn.functional.binary_cross_entropy_with_logits(
                net(rows[chosen])[:, 0], danger[chosen]
            )
            steps.zero_grad()
            loss.backward()
            steps.step()
    return net.eval()


def main() -> None:
    base = EMBEDDED["gemma3-270m"]
    folder = convert_embedded(base, print).path
    held = messages(random.Random(SEED))
    vectors = encoded([text for text, _ in held], Encoder(folder))
    danger = torch.tensor([float(is_danger) for _, is_danger in held])
    mean, spread = vectors.mean(0), vectors.std(0) + 1e-3
    rows = ((vectors - mean) / spread).clamp(-6, 6)
    nets = [fitted(rows, danger, SEED + number) for number in range(NETS)]
    parts = [dict(net.named_parameters()) for net in nets]
    head = {
        "mean": mean,
        "spread": spread,
        "inner": torch.stack([p["1.weight"].t() for p in parts]).half(),
        "hidden": torch.stack([p["1.bias"] for p in parts]),
        "outer": torch.stack([p["4.weight"][0] for p in parts]),
        "last": torch.cat([p["4.bias"] for p in parts]),
    }
    tensors = {name: tensor.detach().contiguous() for name, tensor in head.items()}
    save_file(tensors, HEAD, {"base": identity(base)})
    print(
        f"{len(held)} texts, {int(danger.sum())} of them emergencies; {HEAD.name}: {HEAD.stat().st_size:,} bytes"
    )


if __name__ == "__main__":
    main()
