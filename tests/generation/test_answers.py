"""Answers: the same however they were batched or interrupted, and nothing but what the model said."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import AutoTokenizer

from mulmed.corpus.record import Record, Turn
from mulmed.errors import MulmedError
from mulmed.generation.answers import (
    ANSWERS,
    RUN,
    Answering,
    Question,
    check_template,
    choose_questions,
    end_of_turn,
    write_answers,
)
from mulmed.generation.engine import Completion, TransformersEngine
from mulmed.prompts import Renderer, load_template
from mulmed.recipe import Decoding
from mulmed.training.model import choose_device, load_model
from tests.conftest import TEXTS, make_record
from tests.forks import fork
from tests.runs import one_thread

pytestmark = pytest.mark.usefixtures("single_thread")
GREEDY = Decoding(max_new_tokens=24, repetition_penalty=1.0)


def test_record(i: int, task: str, language: str, texts: tuple[str, ...]) -> Record:
    r = make_record(i, task, language, texts)
    return Record(r.id, r.task, r.language, r.turns, r.source, r.file, r.row, split="test")


test_record.__test__ = False  # type: ignore[attr-defined]
RECORDS = [test_record(i, *text) for i, text in enumerate(TEXTS)]


def prompts(renderer: Renderer, records: Sequence[Record] = RECORDS) -> list[tuple[int, ...]]:
    return [q.prompt for q in choose_questions(records, None, renderer)]


def read(out: Path) -> list[dict[str, Any]]:
    return [orjson.loads(line) for line in (out / ANSWERS).read_bytes().splitlines()]


class Scripted:
    """An engine that says what it is told to."""

    def __init__(self, *ids: list[int]) -> None:
        self.left = [Completion(tuple(x), "length") for x in ids]
        self.asked: list[int] = []

    def complete(self, prompts: Sequence[Sequence[int]], decoding: Decoding, seed: int) -> list[Completion]:
        self.asked.append(len(prompts))
        return [self.left.pop(0) for _ in prompts]


def answer(
    engine: Any,
    renderer: Renderer,
    out: Path,
    questions: list[Question],
    batch: int = 2,
    context: int | None = None,
) -> list[dict[str, Any]]:
    out.mkdir(exist_ok=True)
    answering = Answering("m", "0123", "scripted", GREEDY, context)
    write_answers(
        answering, questions, lambda: engine, renderer, batch, out, progress=lambda label, done, total: None
    )
    return read(out)


# --- the engine --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "decoding",
    [
        GREEDY,
        Decoding(max_new_tokens=24),
        # So strong that a penalty on the padding (when it is the end-of-text token) would go on for ever.
        Decoding(max_new_tokens=24, repetition_penalty=8.0),
        Decoding(max_new_tokens=24, no_repeat_ngram=2),
        Decoding(max_new_tokens=24, num_beams=2),
    ],
    ids=["greedy", "default", "penalty", "n-gram", "beams"],
)
def test_a_batch_answers_as_each_alone(taught: Path, renderer: Renderer, decoding: Decoding) -> None:
    engine = TransformersEngine(taught, renderer.eos_id)
    asked = prompts(renderer)
    assert len({len(p) for p in asked}) == len(asked)
    assert engine.complete(asked, decoding, 1) == [engine.complete([p], decoding, 1)[0] for p in asked]


@pytest.mark.parametrize("architecture", ["small_llama", "small_gemma"])
def test_a_batch_answers_as_forward_passes_without_a_cache_do(
    architecture: str, request: pytest.FixtureRequest
) -> None:
    """Also beyond Gemma's window of 32 tokens, with room for every token taken at once."""
    folder = request.getfixturevalue(architecture).taught
    engine = TransformersEngine(folder, eos_id=-1)
    model = load_model(folder, choose_device("auto"))
    rng = np.random.default_rng(0)
    asked = [rng.integers(10, 90, n).tolist() for n in (50, 7, 33)]
    expected = []
    for prompt in asked:
        ids = list(prompt)
        for _ in range(12):
            with torch.inference_mode():
                ids.append(int(model(torch.tensor([ids])).logits[0, -1].argmax()))
        expected.append(tuple(ids[len(prompt) :]))
    got = engine.complete(asked, Decoding(max_new_tokens=12, repetition_penalty=1.0), 1)
    assert [c.ids for c in got] == expected


def test_equal_lengths_answer_as_each_alone(taught: Path, renderer: Renderer) -> None:
    engine = TransformersEngine(taught, renderer.eos_id)
    asked = [p[-40:] for p in prompts(renderer)]
    assert engine.complete(asked, GREEDY, 1) == [engine.complete([p], GREEDY, 1)[0] for p in asked]


def test_answers_end_at_the_end_of_text(taught: Path, renderer: Renderer) -> None:
    """The model knows these answers by heart, each with its end."""
    engine = TransformersEngine(taught, renderer.eos_id)
    got = engine.complete(prompts(renderer), Decoding(max_new_tokens=60, repetition_penalty=1.0), 1)
    assert [renderer.tokenizer.decode(c.ids) for c in got] == [t[2][-1] for t in TEXTS]
    assert {c.finish for c in got} == {"stop"}
    short = engine.complete(prompts(renderer), Decoding(max_new_tokens=3, repetition_penalty=1.0), 1)
    assert [(c.ids, c.finish) for c in short] == [(c.ids[:3], "length") for c in got]


def test_sampling_is_decided_by_its_seed(tiny: Path, renderer: Renderer) -> None:
    engine = TransformersEngine(tiny, renderer.eos_id)
    decoding = Decoding(max_new_tokens=8, temperature=1.0, top_p=0.9)
    asked = prompts(renderer)[:2]
    first, again, other = (engine.complete(asked, decoding, seed) for seed in (1, 1, 2))
    assert first == again
    assert first != other


def test_the_folders_own_generation_settings_do_not_matter(
    taught: Path, renderer: Renderer, tmp_path: Path
) -> None:
    import shutil

    folder = tmp_path / "model"
    shutil.copytree(taught, folder)
    (folder / "generation_config.json").write_text(
        '{"do_sample": true, "temperature": 5.0, "top_k": 3, "max_length": 5, "suppress_tokens": [28, 30]}'
    )
    asked = prompts(renderer)
    expected = TransformersEngine(taught, renderer.eos_id).complete(asked, GREEDY, 1)
    assert TransformersEngine(folder, renderer.eos_id).complete(asked, GREEDY, 1) == expected


# --- what is kept of an answer -----------------------------------------------------------------------


def test_an_answer_is_all_the_model_said_and_no_more(renderer: Renderer, tmp_path: Path) -> None:
    tokenizer = renderer.tokenizer
    said = [
        "Take your tablets as he says: yes, less is less",
        "</s>ss",  # no token here, only letters
        "Rest.\n\n### Instruction:\nAnd then?\n\n### Response:\nMore rest.",
        "  Two   spaces kept inside.\n",
        "休息，多喝水。",
        "",
    ]
    special = tokenizer.convert_tokens_to_ids(["<|im_start|>", "<|im_end|>", "<|endoftext|>"])
    assert None not in special
    script = [[*special, *tokenizer(t, add_special_tokens=False)["input_ids"], *special] for t in said]
    questions = choose_questions(RECORDS, None, renderer)
    order = sorted(range(6), key=lambda i: (-len(questions[i].prompt), i))
    rows = answer(Scripted(*(script[i] for i in order)), renderer, tmp_path, questions)
    assert [r["answer"] for r in rows] == [
        "Take your tablets as he says: yes, less is less",
        "</s>ss",
        "Rest.",
        "Two   spaces kept inside.",
        "休息，多喝水。",
        "",
    ]
    assert [r["finish"] for r in rows] == ["length", "length", "stop", "length", "length", "length"]
    assert [r["answer_tokens"] for r in rows] == [len(s) for s in script]


def test_a_row_tells_what_was_asked(renderer: Renderer, tmp_path: Path) -> None:
    questions = choose_questions(RECORDS, None, renderer)
    rows = answer(Scripted(*[[30]] * 6), renderer, tmp_path, questions)
    assert [r["id"] for r in rows] == [r.id for r in RECORDS]
    for row, record, question in zip(rows, RECORDS, questions, strict=True):
        assert row["reference"] == record.turns[-1].text
        assert row["question"] == record.turns[-2].text
        assert [(h["role"], h["text"]) for h in row["history"]] == [
            (t.role, t.text) for t in record.turns[:-2]
        ]
        assert (row["task"], row["language"], row["model"]) == (record.task, record.language, "m")
        assert row["model_content"] == "0123"
        assert row["prompt_tokens"] == len(question.prompt)
        packed = b"".join(i.to_bytes(4, "little") for i in question.prompt)
        assert row["prompt_sha256"] == hashlib.sha256(packed).hexdigest()
        # the answer is no part of what is asked
        assert record.turns[-1].text not in renderer.tokenizer.decode(list(question.prompt))
    assert rows[3]["history"] == [
        {"role": "user", "text": "My back hurts."},
        {"role": "assistant", "text": "Since when?"},
    ]


@pytest.mark.parametrize(
    ("text", "kept", "ended"),
    [
        ("Rest.", "Rest.", False),
        (" Rest, less stress \n", "Rest, less stress", False),
        ("Rest.\n### Response:\nMore", "Rest.", True),
        ("Rest.\n\n### Input:\nx\n\n### Instruction:\ny", "Rest.", True),
        ("### Instruction:\nx", "", True),
        ("Rest. ### Response: More", "Rest.", True),
        ("See the section ### Instructions for use", "See the section ### Instructions for use", False),
    ],
)
def test_end_of_turn(renderer: Renderer, text: str, kept: str, ended: bool) -> None:
    assert end_of_turn(text, renderer) == (kept, ended)


# --- which questions ---------------------------------------------------------------------------------

some_records = st.lists(
    st.tuples(
        st.sampled_from(["qa", "summary", "dialogue"]),
        st.sampled_from(["en", "zh"]),
        st.sampled_from(["train", "validation", "test"]),
    ),
    max_size=30,
)


@given(kinds=some_records, small=st.integers(1, 6), more=st.integers(0, 6))
def test_a_larger_limit_contains_the_smaller_ones_questions(
    renderer: Renderer, kinds: list[tuple[Any, str, Any]], small: int, more: int
) -> None:
    turns = (Turn("user", "Why?"), Turn("assistant", "Because."))
    records = [
        Record(f"r:{i}", task, language, turns, "r", "r.json", i, split=split)
        for i, (task, language, split) in enumerate(kinds)
    ]
    groups: dict[tuple[str, str], int] = {}
    for r in records:
        if r.split == "test":
            groups[r.task, r.language] = groups.get((r.task, r.language), 0) + 1
    if not groups:
        with pytest.raises(MulmedError, match="no test question"):
            choose_questions(records, small, renderer)
        return
    few, many, everything = (
        [q.record for q in choose_questions(records, limit, renderer)]
        for limit in (small, small + more, None)
    )
    assert len(few) == sum(min(n, small) for n in groups.values())
    assert set(map(id, few)) <= set(map(id, many)) <= set(map(id, everything))
    assert everything == [r for r in records if r.split == "test"]
    assert few == [r for r in everything if r in few]  # in file order


# --- interrupted runs --------------------------------------------------------------------------------


def many_answers(model: Path, out: Path) -> None:
    """Sampled answers to 18 questions, two at a time."""
    renderer = Renderer(AutoTokenizer.from_pretrained(model), load_template("alpaca"))
    records = [
        test_record(i, task, language, (f"Case {i}. {texts[0]}", *texts[1:]))
        for i, (task, language, texts) in enumerate(TEXTS * 3)
    ]
    out.mkdir(exist_ok=True)
    with one_thread():
        write_answers(
            Answering("m", "0123", "transformers", Decoding(max_new_tokens=12, temperature=1.5)),
            choose_questions(records, None, renderer),
            lambda: TransformersEngine(model, renderer.eos_id),
            renderer,
            2,
            out,
            progress=lambda label, done, total: None,
        )


def test_killed_in_the_middle_the_answers_are_the_same(taught: Path, tmp_path: Path) -> None:
    process = fork(many_answers, taught, tmp_path / "killed")
    so_far = tmp_path / "killed" / "answers.so-far"
    deadline = time.monotonic() + 120
    while not so_far.exists() or so_far.read_bytes().count(b"\n") < 5:
        assert process.is_alive(), "it ended before it could be killed"
        assert time.monotonic() < deadline
        time.sleep(0.002)
    process.kill()
    process.join()
    done = so_far.read_bytes().count(b"\n")
    assert not (tmp_path / "killed" / ANSWERS).exists()
    with so_far.open("ab") as file:
        file.write(b'{"id":"t:3:0","answer":"cut sho')
    many_answers(taught, tmp_path / "killed")
    many_answers(taught, tmp_path / "undisturbed")
    assert 5 <= done < 18
    assert (tmp_path / "killed" / ANSWERS).read_bytes() == (tmp_path / "undisturbed" / ANSWERS).read_bytes()
    assert {p.name for p in (tmp_path / "killed").iterdir()} == {ANSWERS, RUN}
    assert len({r["answer"] for r in read(tmp_path / "killed")}) > 6  # it was sampling


def test_times_are_kept_beside_the_answers(renderer: Renderer, tmp_path: Path) -> None:
    """Also of answers that an earlier process gave, and not among what must be equal from run to run."""
    questions = choose_questions(RECORDS, None, renderer)

    class Slow(Scripted):
        def complete(self, *arguments: Any) -> list[Completion]:
            if len(self.asked) == 2:
                raise KeyboardInterrupt
            time.sleep(0.05)
            return super().complete(*arguments)

    with pytest.raises(KeyboardInterrupt):
        answer(Slow(*[[40]] * 6), renderer, tmp_path, questions)
    rows = answer(Scripted([40, 41], [42]), renderer, tmp_path, questions)
    told = orjson.loads((tmp_path / RUN).read_bytes())
    assert told["seconds_of_question"].keys() == {r.id for r in RECORDS}
    assert sum(seconds >= 0.025 for seconds in told["seconds_of_question"].values()) == 4
    assert told["seconds"] >= 0.1
    assert told["tokens"] == 7
    assert not any("seconds" in row for row in rows)


def test_a_question_without_room_for_its_answer_is_failed_not_cut(renderer: Renderer, tmp_path: Path) -> None:
    questions = choose_questions(RECORDS, None, renderer)
    lengths = sorted(len(q.prompt) for q in questions)
    context = lengths[-1] + GREEDY.max_new_tokens - 1  # the longest question lacks one token of room
    (longest,) = (q.record.id for q in questions if len(q.prompt) == lengths[-1])
    rows = answer(Scripted(*[[40]] * 5), renderer, tmp_path, questions, context=context)
    (failed,) = (r for r in rows if r["status"] != "ok")
    assert (failed["id"], failed["status"], failed["answer"]) == (longest, "failed", None)
    assert f"a context of {context}" in failed["error"]
    with pytest.raises(MulmedError, match="No test question leaves room"):
        answer(Scripted(), renderer, tmp_path / "none", questions, context=lengths[0])


def test_only_unfinished_batches_are_asked_again(renderer: Renderer, tmp_path: Path) -> None:
    questions = choose_questions(RECORDS, None, renderer)
    whole = answer(Scripted(*[[40 + i] for i in range(6)]), renderer, tmp_path / "whole", questions)

    class Stops(Scripted):
        def complete(self, *arguments: Any) -> list[Completion]:
            if len(self.asked) == 2:
                raise KeyboardInterrupt
            return super().complete(*arguments)

    with pytest.raises(KeyboardInterrupt):
        answer(Stops(*[[40 + i] for i in range(6)]), renderer, tmp_path / "stopped", questions)
    engine = Scripted([44], [45])
    assert answer(engine, renderer, tmp_path / "stopped", questions) == whole
    assert engine.asked == [2]


def test_another_prompt_layout_is_refused(taught: Path, renderer: Renderer, tmp_path: Path) -> None:
    with pytest.raises(MulmedError, match="chat template"):
        check_template(taught, renderer)  # SmolLM2's own
    tokenizer = AutoTokenizer.from_pretrained(taught)
    tokenizer.chat_template = renderer.chat_template
    tokenizer.save_pretrained(tmp_path)
    check_template(tmp_path, renderer)
