"""The second reader: the base's own states, a head that computes what was trained, and its weight beside the others."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch

from mulmed.artifact import read_artifact
from mulmed.base.embedded import EMBEDDED, identity
from mulmed.errors import MulmedError
from mulmed.safety import red_flags, redflags
from mulmed.safety.classifier import LONGEST, LOOKED
from mulmed.safety.reader import LAYERS, Encoder, Reader, head_odds, trained_on
from mulmed.serving import second_reader
from mulmed.serving.second_reader import open_reader

TEXTS = ["Is it normal to be tired after a flight?", "我爸突然半边身子动不了，嘴也歪了，怎么办？"]


@pytest.fixture(scope="module")
def reader(gemma: Path) -> Reader:
    return Reader(gemma, trained_on())


@pytest.mark.model
def test_vectors_are_the_means_of_the_base_s_own_states(gemma: Path) -> None:
    """Against the whole model: all layers, one text at a time, nothing padded."""
    from transformers import AutoModel, AutoTokenizer

    tokenizer, whole = AutoTokenizer.from_pretrained(gemma), AutoModel.from_pretrained(gemma)
    vectors = Encoder(gemma).vectors(TEXTS)
    for text, vector in zip(TEXTS, vectors, strict=True):
        with torch.inference_mode():
            states = whole(**tokenizer(text, return_tensors="pt"), output_hidden_states=True).hidden_states
        expected = states[LAYERS][0].mean(0)
        assert (vector - expected).norm() < 1e-4 * expected.norm()


def test_the_head_is_the_networks_that_were_trained() -> None:
    torch.manual_seed(1)
    nets = [
        torch.nn.Sequential(torch.nn.Linear(5, 3), torch.nn.ReLU(), torch.nn.Linear(3, 1)) for _ in range(2)
    ]
    parts = [dict(net.named_parameters()) for net in nets]
    head = {
        "mean": torch.randn(5),
        "spread": torch.rand(5) + 0.5,
        "inner": torch.stack([p["0.weight"].t() for p in parts]),
        "hidden": torch.stack([p["0.bias"] for p in parts]),
        "outer": torch.stack([p["2.weight"][0] for p in parts]),
        "last": torch.cat([p["2.bias"] for p in parts]),
    }
    vectors = torch.randn(4, 5)
    vectors[0, 0] = 1e6  # held to six spreads
    scaled = ((vectors - head["mean"]) / head["spread"]).clamp(-6, 6)
    expected = sum(net(scaled)[:, 0] for net in nets) / 2
    assert torch.allclose(head_odds(vectors, head), expected, atol=1e-5)


def test_another_base_is_refused(tmp_path: Path) -> None:
    with pytest.raises(MulmedError, match="another base"):
        Reader(tmp_path, "gemma3-270m-0000-conversion1")


def test_the_head_is_of_the_base_that_comes_with_the_packages() -> None:
    assert trained_on() == identity(EMBEDDED["gemma3-270m"])


@pytest.mark.model
def test_odds_tell_danger_in_words_that_neither_rules_nor_classifier_know(reader: Reader) -> None:
    danger, harmless = reader.odds(
        [
            "The ladder went and he's lying there the wrong shape, there's a bit of white poking through his trouser leg",
            "The ladder went up in the loft years ago and white paint still pokes through, which primer do I use?",
        ]
    )
    assert danger > 0 > harmless


@pytest.mark.model
def test_what_stands_beside_a_text_changes_nothing(reader: Reader) -> None:
    alone = [reader.odds([text])[0] for text in TEXTS]
    assert reader.odds(TEXTS) == pytest.approx(alone, abs=1e-4)
    assert alone[0] < 0 < alone[1]


# --- its weight --------------------------------------------------------------------------------------


class Sure:
    """A reader that is as sure as told, and remembers what it was asked."""

    def __init__(self, *odds: float) -> None:
        self.told, self.asked = odds, list[str]()

    def odds(self, texts: Sequence[str]) -> list[float]:
        self.asked += texts
        return [*self.told, *[self.told[-1]] * len(texts)][: len(texts)]


def test_a_reader_raises_and_takes_back_flags() -> None:
    harmless, mild = "which shoes are good for walking", "My father has chest pain when he lifts his arm"
    assert not red_flags(harmless)
    (flag,) = red_flags(harmless, reader=Sure(20.0))
    assert flag.certainty == "clear"
    assert redflags.flags_by_rules(mild)
    assert not red_flags(mild, reader=Sure(-20.0))


@pytest.mark.parametrize(
    "text",
    [
        "I want to kill myself tonight",
        "he has a knife and says he will kill me",
        "宝宝四十天，发烧三十八度五",
    ],
)
def test_suicide_violence_and_fever_of_infants_are_not_taken_back_by_a_reader_alone(text: str) -> None:
    assert red_flags(text, reader=Sure(-50.0))


def test_they_are_where_the_classifier_by_itself_sees_nothing_either() -> None:
    figure = "My cousin took his life in 2008 and every November I feel low, is anniversary grief known?"
    assert [flag.category for flag in red_flags(figure)] == ["suicide"]
    assert red_flags(figure, reader=Sure(-3.9))
    assert not red_flags(figure, reader=Sure(-4.1))


def test_of_a_long_message_the_whole_and_some_stretches_are_read_as_they_were_written() -> None:
    story = "We went to Bath, by Train, and it rained all day long. " * 12
    said = f"{story}Now my brother lies on the floor, turning BLUE, and I can't wake him. {story}"
    assert len(said.split()) > 4 * LONGEST
    reader = Sure(-1.9, 5.0)
    assert [flag.category for flag in red_flags(said, reader=reader)]
    whole, *stretches = reader.asked
    assert whole == said
    assert 1 <= len(stretches) <= LOOKED
    assert all(stretch in said and len(stretch) < len(said) / 2 for stretch in stretches)
    assert any("turning BLUE" in stretch for stretch in stretches)


# --- where a service has it --------------------------------------------------------------------------


def test_without_the_base_it_is_told_or_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def none(base: object, tell: object) -> None:
        raise MulmedError("The package is not installed.", remedy="Install it.")

    monkeypatch.setattr(second_reader, "convert_embedded", none)
    told: list[str] = []
    assert open_reader("auto", told.append) is None
    assert "without the second reader" in told[0]
    assert told[0].endswith("Install it.")
    with pytest.raises(MulmedError, match="not installed"):
        open_reader("always", told.append)
    assert open_reader("never", told.append) is None
    assert len(told) == 1


@pytest.mark.model
def test_a_service_has_it_where_the_base_is(gemma: Path) -> None:
    artifact = read_artifact(gemma)
    assert artifact is not None
    assert json.loads((gemma / "manifest.json").read_text())["key"] == trained_on()
    found = open_reader("always", lambda _: None)
    assert isinstance(found, Reader)
