"""BERTScore against the authors' package, on a small encoder with random weights."""

from __future__ import annotations

from pathlib import Path

import pytest

from mulmed.errors import MulmedError
from mulmed.evaluation.bertscore import BertScore, bert_scores
from mulmed.evaluation.score import write_scores_of
from mulmed.recipe import Evaluation
from tests.runs import small_encoder

WORDS = [
    *(
        "take",
        "two",
        "tablets",
        "daily",
        "with",
        "food",
        "never",
        "on",
        "an",
        "empty",
        "stomach",
        "see",
        "doctor",
        "if",
        "pain",
        "stays",
    ),
    *"每天吃两片药饭后服用疼痛请就医",
]
PAIRS = [
    ("take two tablets daily", "take tablets with food daily"),
    ("每天吃两片药", "饭后服用两片药，疼痛请就医"),
    ("see a doctor if pain stays", "never on an empty stomach"),
    ("take two tablets daily", "take two tablets daily"),
    ("", "see doctor"),
    ("  see doctor ", "see doctor"),
    ("take " * 80, "see doctor if pain stays"),
]


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_encoder(tmp_path_factory.mktemp("encoder"), WORDS)


@pytest.mark.parametrize("layer", [1, 2, 3])
def test_equal_to_the_authors_package(encoder: Path, layer: int) -> None:
    from bert_score import score

    pairs = [pair for pair in PAIRS if all(pair)]  # the package fails on empty texts with newer tokenizers
    answers, references = zip(*pairs, strict=True)
    precision, recall, f1 = score(
        list(answers), list(references), model_type=str(encoder), num_layers=layer, batch_size=1
    )
    ours = bert_scores(pairs, encoder, layer, batch=3)
    for number, found in enumerate(ours):
        expected = (float(precision[number]), float(recall[number]), float(f1[number]))
        assert (found.precision, found.recall, found.f1) == pytest.approx(expected, abs=2e-6), pairs[number]


def test_identical_texts_have_one_empty_ones_zero_and_batches_change_nothing(encoder: Path) -> None:
    scores = bert_scores(PAIRS, encoder)
    assert scores[3].f1 == pytest.approx(1, abs=1e-6)
    assert scores[4] == BertScore(0.0, 0.0, 0.0)
    assert scores[5].f1 == pytest.approx(1, abs=1e-6)
    one = bert_scores(PAIRS, encoder, batch=1)
    assert [s.f1 for s in one] == pytest.approx([s.f1 for s in scores], abs=1e-6)
    # Swapping the texts swaps precision and recall.
    swapped = bert_scores([(b, a) for a, b in PAIRS], encoder)
    assert [s.precision for s in swapped] == pytest.approx([s.recall for s in scores], abs=1e-6)


def test_a_layer_the_model_lacks_and_a_folder_without_a_model_are_told(encoder: Path, tmp_path: Path) -> None:
    with pytest.raises(MulmedError, match="has 3 layers, not 4"):
        bert_scores(PAIRS, encoder, 4)
    with pytest.raises(MulmedError, match="cannot be loaded"):
        bert_scores(PAIRS, tmp_path)


def test_it_stands_beside_the_other_measures_with_intervals_and_differences(
    encoder: Path, tmp_path: Path
) -> None:
    rows = [
        {
            "id": f"q{number}",
            "source": "s",
            "language": "en",
            "task": "qa",
            "status": "ok",
            "model": model,
            "reference": reference,
            "answer": answer if model == "mulmed" else "never",
        }
        for model in ("base", "mulmed")
        for number, (answer, reference) in enumerate(PAIRS)
    ]
    settings = Evaluation.model_validate({"bertscore": {"model": str(encoder), "layer": 2}})
    scores = write_scores_of(rows, tmp_path / "a", settings, 1, encoder)
    (ours,) = [
        r for r in scores["rows"]
        if (r["model"], r["task"], r["metric"]) == ("mulmed", "qa", "bertscore")
    ]  # fmt: skip
    expected = sum(s.f1 for s in bert_scores(PAIRS, encoder, 2)) / len(PAIRS)
    assert ours["value"] == pytest.approx(expected, abs=1e-5)
    assert ours["low"] < ours["value"] < ours["high"]
    assert {"bertscore", "bertscore_precision", "bertscore_recall"} <= {
        d["metric"] for d in scores["differences"]
    }
    without = write_scores_of(rows, tmp_path / "b", Evaluation(), 1)
    assert not any("bertscore" in r["metric"] for r in without["rows"])
