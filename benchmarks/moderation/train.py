"""Train the moderation classifier on the sentences beside this file, and tell how well it does.

``python benchmarks/moderation/train.py`` writes the weights into the package; the same sentences give the same
bytes. How the whole of moderation does, on held-out sentences too, ``measure.py`` tells.
"""

from __future__ import annotations

import itertools
import random
import re
import sys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save_file
from scipy.optimize import minimize
from scipy.sparse import csr_matrix

from mulmed.corpus.moderate import classifier
from mulmed.corpus.moderate.classifier import CLASSES, features
from mulmed.corpus.moderate.lexicon import LANGUAGES, folded

HERE = Path(__file__).parent
WEIGHTS = Path(classifier.__file__).parent / "classifier.safetensors"
EACH = 10  # sentences drawn from a line with alternatives
DECAY = 1e-5
MOST = 8000  # features a language, those with the largest weights
SEED = 7


def main() -> None:
    tensors: dict[str, NDArray[np.generic]] = {}
    for language in LANGUAGES:
        sentences = training_sentences(language)
        names, steps, size, bias = fitted(sentences)
        tensors |= {
            f"{language}.names": names, f"{language}.steps": steps, f"{language}.size": size, f"{language}.bias": bias
        }  # fmt: skip
        counts = {name: sum(label == name for label, _ in sentences) for name in CLASSES}
        print(f"{language}: {len(sentences)} sentences {counts}")
    save_file(tensors, WEIGHTS)
    print(f"{WEIGHTS.name}: {WEIGHTS.stat().st_size:,} bytes")
    classifier.weights.cache_clear()
    for language in LANGUAGES:
        report(language)


def read(name: str) -> list[tuple[str, str]]:
    """(class, line) of a file with the classes as headings."""
    label, lines = "", []
    for line in (HERE / f"{name}.txt").read_text(encoding="utf-8").splitlines():
        if match := re.fullmatch(r"\[(\w+)\]", line):
            label = match[1]
        elif line and not line.startswith("#"):
            lines.append((label, line))
    return lines


def training_sentences(language: str) -> list[tuple[str, str]]:
    """Up to ``EACH`` sentences a line, drawn without repetition."""
    draw = random.Random(SEED)
    sentences: dict[tuple[str, str], None] = {}
    for label, line in read(f"train_{language}"):
        pieces = [piece.split("|") for piece in re.split(r"[{}]", line)]
        spelled = list(itertools.islice(map("".join, itertools.product(*pieces)), 20_000))
        for sentence in draw.sample(spelled, min(EACH, len(spelled))):
            sentences[label, folded(sentence)] = None
    return list(sentences)


def fitted(
    sentences: list[tuple[str, str]],
) -> tuple[NDArray[np.uint32], NDArray[np.int8], NDArray[np.float32], NDArray[np.float32]]:
    """The features that tell most, and their weights in 8-bit steps.

    By penalised maximum likelihood, every class counting the same.
    """
    found = [features(sentence) for _, sentence in sentences]
    names = np.array(sorted(set().union(*found)), np.uint32)
    rows = [np.searchsorted(names, sorted(names_here)) for names_here in found]
    labels = np.array([CLASSES.index(label) for label, _ in sentences])
    data = np.concatenate([np.full(len(r), len(r) ** -0.5) for r in rows])
    ends = np.cumsum([0, *map(len, rows)])
    x = csr_matrix((data, np.concatenate(rows), ends), shape=(len(rows), len(names)))
    each = (1 / np.bincount(labels, minlength=len(CLASSES)))[labels]
    each = np.where(labels == 0, 2 * each, each)
    each /= each.sum()
    truth = np.eye(len(CLASSES))[labels]

    def loss(flat: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        w = flat.reshape(len(names) + 1, len(CLASSES))
        scores = x @ w[:-1] + w[-1]
        scores -= scores.max(axis=1, keepdims=True)
        log_p = scores - np.log(np.exp(scores).sum(axis=1, keepdims=True))
        wrong = (np.exp(log_p) - truth) * each[:, None]
        gradient = np.vstack([x.T @ wrong + DECAY * w[:-1], wrong.sum(axis=0)])
        value = -(each[:, None] * truth * log_p).sum() + DECAY / 2 * (w[:-1] ** 2).sum()
        return float(value), gradient.ravel()

    best = minimize(
        loss, np.zeros((len(names) + 1) * len(CLASSES)), jac=True, method="L-BFGS-B", options={"maxiter": 60}
    )
    w = best.x.reshape(len(names) + 1, len(CLASSES))
    kept = np.sort(np.argsort(-np.abs(w[:-1]).max(axis=1), kind="stable")[:MOST])
    size = (np.abs(w[kept]).max(axis=0) / 127).astype(np.float32)
    return names[kept], np.round(w[kept] / size).astype(np.int8), size, w[-1].astype(np.float32)


def report(language: str) -> None:
    """Accuracy of the classifier alone on the sentences it was not trained on."""
    lines = read(f"development_{language}")
    sure = {name: [0, 0, 0] for name in CLASSES}
    for label, sentence in lines:
        p, known = classifier.judged(folded(sentence))
        best = CLASSES[int(p[1:].argmax()) + 1]
        told = best if 1 - p[0] >= classifier.needed(folded(sentence), known) else "benign"
        sure[label][0] += 1
        sure[label][1] += told == label
        sure[label][2] += (told == "benign") == (label == "benign")
        if "-v" in sys.argv and (told == "benign") != (label == "benign"):
            print(f"   {label} -> {CLASSES[int(p.argmax())]} {p.max():.2f}  {sentence}")
    print(f"{language} development, class: sentences, right class, kept or dropped rightly")
    for name, (n, right, side) in sure.items():
        print(f"  {name:14} {n:4} {right:4} {side:4}")


if __name__ == "__main__":
    main()
