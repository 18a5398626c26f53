"""The corpus stage as a whole: splits, limits, refusals, and an account of every record."""

from __future__ import annotations

import json
import os
import random
import re
import signal
import unicodedata
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mulmed.corpus import clean
from mulmed.corpus.batch import AUDIT_SCHEMA, SCHEMA, from_batch
from mulmed.corpus.build import build_corpus
from mulmed.corpus.reading import Reader
from mulmed.corpus.record import Record
from mulmed.corpus.split import question_key
from mulmed.corpus.stage import Outcome
from mulmed.errors import MulmedError
from mulmed.recipe import Corpus, Source

FILES = {
    "records.parquet", "audit.parquet", "rejected.jsonl", "funnel.json", "statistics.json", "data_card.md",
}  # fmt: skip
STAGES = ["read", "repair", "deidentify", "moderate", "deduplicate", "decontaminate", "truncate"]
OFF = dict.fromkeys(("repair", "deidentify", "moderate", "deduplicate"), False) | {"decontaminate": None}


class Words(dict[tuple[str, str], tuple[int, int]]):
    """The same template length for every task and language."""

    def __missing__(self, key: tuple[str, str]) -> tuple[int, int]:
        return (20, 5)


def count_words(texts: Sequence[str]) -> list[int]:
    return [len(text.split()) for text in texts]


def build(data: Path, out: Path, sources: dict[str, Any], seed: int = 42, **stages: Any) -> list[Record]:
    settings = Corpus.model_validate({"sources": sources} | stages)
    build_corpus(settings, data, out, seed=seed, cutoff=256, overhead=Words(), count_tokens=count_words)
    return list(from_batch(pl.read_parquet(out / "records.parquet")))


def questions(data: Path, name: str, asked: Sequence[str], **more: Any) -> dict[str, Any]:
    """A file of questions, each with its own answer, and the source that reads it."""
    rows = [{"instruction": "i", "input": q, "output": f"Answer number {i}."} for i, q in enumerate(asked)]
    (data / f"{name}.json").write_text(json.dumps(rows), encoding="utf-8")
    return {"layout": "healthcaremagic", "path": f"{name}.json", "language": "en"} | more


def numbered(count: int) -> list[str]:
    return [f"Question {i}: does it matter?" for i in range(count)]


# --- the account -------------------------------------------------------------------------------------

DIALOGUES = """id=1
Description
疾病： 咳嗽三天

Dialogue
医生：
有痰吗？
病人：
没有
医生：
多喝温水，三天不好就来医院。
病人：
好的谢谢

id=2
Description
疾病： 头痛
"""


@pytest.fixture
def corpus(tmp_path: Path) -> dict[str, Any]:
    """Sources with a bit of everything: duplicates, a broken row, an unanswered dialogue, a limit."""
    asked = [*numbered(40), "Question 3: does it matter?", "<p>How do I lower a fever at night?</p>"]
    train = questions(tmp_path, "train", asked, limit=30)
    (tmp_path / "haodf.txt").write_text(DIALOGUES, encoding="utf-8")
    rows = [
        {"input": "How do I lower a fever at night?", "answer_icliniq": "Drink.", "answer_chatgpt": "Sip."},
        {"input": "My ankle is swollen after a fall.", "answer_icliniq": ""},
        {"input": "My wrist clicks when I type.", "answer_icliniq": "Rest it."},
    ]
    (tmp_path / "icliniq.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    return {
        "hcm": train,
        "haodf": {"layout": "meddialog-zh", "path": "*.txt", "language": "zh", "max_rejected": 0.5},
        "icliniq": {
            "layout": "icliniq",
            "path": ["icliniq.jsonl"],
            "language": "en",
            "split": "test",
            "max_rejected": 0.5,
        },
    }


def test_every_record_read_is_kept_dropped_or_rejected(tmp_path: Path, corpus: dict[str, Any]) -> None:
    out = tmp_path / "out"
    kept = build(tmp_path, out, corpus)
    assert {path.name for path in out.iterdir()} == FILES
    audit = pl.read_parquet(out / "audit.parquet")
    assert audit.schema == pl.Schema(AUDIT_SCHEMA)
    assert pl.read_parquet(out / "records.parquet").schema == pl.Schema(SCHEMA)
    rejected = [json.loads(line) for line in (out / "rejected.jsonl").read_text("utf-8").splitlines()]
    names = ("source", "file", "row", "line", "reason")
    assert [tuple(row[name] for name in names) for row in rejected] == [
        ("haodf", "haodf.txt", 1, 15, "no dialogue"),
        ("icliniq", "icliniq.jsonl", 1, 2, "answer_icliniq is empty"),
    ]
    dropped = set(audit.filter(pl.col("action") == "dropped")["id"])
    ids = {record.id for record in kept}
    assert len(ids) == len(kept)
    assert not ids & dropped

    funnel = json.loads((out / "funnel.json").read_text("utf-8"))
    stages = funnel["stages"]
    assert [stage["stage"] for stage in stages] == STAGES
    read = stages[0]
    assert (read["in"], read["out"]) == (42 + 2 + 3, 30 + 1 + 2)
    assert read["rules"] == {
        "rejected: no dialogue": 1,
        "rejected: answer_icliniq is empty": 1,
        "over the limit": 12,
        "trailing question left out": 1,
    }
    assert read["in"] == len(kept) + len(dropped) + len(rejected) + read["rules"]["over the limit"]
    for earlier, later in pairwise(stages):
        assert earlier["out"] == later["in"]
    for stage in stages:
        assert stage["in"] - stage["dropped"] == stage["out"]
        assert stage["out"] == sum(counts[stage["stage"]] for counts in funnel["sources"].values())
    last = {source: counts["truncate"] for source, counts in funnel["sources"].items()}
    assert last == dict(Counter(record.source for record in kept))

    statistics = json.loads((out / "statistics.json").read_text("utf-8"))
    assert sum(row["records"] for row in statistics["splits"]) == len(kept)
    assert sum(row["size"] for row in statistics["table1"]) == len(kept)
    assert sum(row["size"] for row in statistics["table1_raw"]) == read["out"]


def test_what_a_reader_left_out_is_audited(tmp_path: Path, corpus: dict[str, Any]) -> None:
    build(tmp_path, tmp_path / "out", {"haodf": corpus["haodf"]}, **OFF)
    audit = pl.read_parquet(tmp_path / "out/audit.parquet")
    (row,) = audit.filter(pl.col("stage") == "read").rows(named=True)
    assert (row["action"], row["rule"], row["count"]) == ("changed", "trailing question left out", 1)
    assert row["removed"] == len("好的谢谢")
    assert row["id"].startswith("haodf:0:")


def test_the_same_input_gives_the_same_bytes(tmp_path: Path, corpus: dict[str, Any]) -> None:
    for out in ("first", "second"):
        build(tmp_path, tmp_path / out, corpus)
    for name in FILES:
        assert (tmp_path / "first" / name).read_bytes() == (tmp_path / "second" / name).read_bytes(), name


def test_accounts_hold_no_text_of_a_record(tmp_path: Path) -> None:
    secret = "quibbleworth"
    asked = [*numbered(5), f"{secret} one", f"{secret} one", f"<b>{secret}</b> \u200btwo"]
    source = questions(tmp_path, "a", asked, max_rejected=0.5)
    rows = [*json.loads((tmp_path / "a.json").read_text("utf-8")), {"input": secret}, secret]
    (tmp_path / "a.json").write_text(json.dumps(rows), encoding="utf-8")
    kept = build(tmp_path, tmp_path / "out", {"a": source})
    assert any(secret in record.turns[0].text for record in kept)
    for name in FILES - {"records.parquet", "audit.parquet"}:
        assert secret not in (tmp_path / "out" / name).read_text("utf-8"), name
    assert secret not in str(pl.read_parquet(tmp_path / "out/audit.parquet").to_dicts())


def test_a_stage_that_is_off_does_not_run(tmp_path: Path) -> None:
    asked = ["Same question?", "Same question?", "<p>Marked up?</p>"]
    kept = build(tmp_path, tmp_path / "out", {"a": questions(tmp_path, "a", asked)}, **OFF)
    funnel = json.loads((tmp_path / "out/funnel.json").read_text("utf-8"))
    assert [stage["stage"] for stage in funnel["stages"]] == ["read", "truncate"]
    assert [record.turns[0].text for record in kept] == asked


def test_lengths_are_those_of_whole_texts(tmp_path: Path) -> None:
    source = questions(tmp_path, "a", ["Why? " + "and then it hurt again " * 400])
    (record,) = build(tmp_path, tmp_path / "out", {"a": source}, **OFF)
    assert len(record.turns[0].text.split()) < 256
    (row,) = json.loads((tmp_path / "out/statistics.json").read_text("utf-8"))["table1"]
    assert row["question"] == 1 + 5 * 400


def test_progress_reaches_the_end_of_every_stage(tmp_path: Path, corpus: dict[str, Any]) -> None:
    seen: dict[str, tuple[int, int]] = {}
    build_corpus(
        Corpus.model_validate({"sources": corpus}),
        tmp_path,
        tmp_path / "out",
        seed=1,
        cutoff=256,
        overhead=Words(),
        count_tokens=count_words,
        progress=lambda stage, done, total: seen.update({stage: (done, total)}),
    )
    assert list(seen) == [
        "KiB cleaned",
        "comparing records",
        "chunks compared with the test set",
        "chunks shortened",
    ]
    assert seen.pop("comparing records") == (0, 0)  # one step
    assert all(done == total > 0 for done, total in seen.values())


def test_a_record_dropped_without_a_reason_is_caught(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clean, "moderate_records", lambda records: [(Outcome(None), ()) for _ in records])
    with pytest.raises(RuntimeError, match="without a reason"):
        build(tmp_path, tmp_path / "out", {"a": questions(tmp_path, "a", numbered(3))})


# --- where it is worked on ---------------------------------------------------------------------------


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """Enough records for several chunks, with something for every stage to find in each of them."""
    folder = tmp_path_factory.mktemp("many")
    rng = random.Random(1)
    words = [
        a + b
        for a in ("lo", "mi", "ra", "te", "su", "pa", "ne")
        for b in ("ble", "nt", "rk", "sh", "ve", "x")
    ]
    spoken = (
        "Call me at 415-555-0142.",
        "My name is John Carter.",
        "<b>It hurts</b> at night.",
        "It is fine.",
    )
    asked = [" ".join([spoken[i % 4], *rng.choices(words, k=14)]) for i in range(5400)]
    asked += asked[:600]  # asked again, by now in a source with a test split
    sources = {
        "a": questions(folder, "a", asked[:4500]),
        "b": questions(folder, "b", asked[4500:], split={"test": 0.3, "validation": 0.1}),
    }
    rows = json.loads((folder / "a.json").read_text("utf-8"))
    (folder / "a.json").write_text(json.dumps(rows[:4500] + rows[:40]), encoding="utf-8")
    return folder, sources


def everything(out: Path) -> dict[str, bytes]:
    return {name: (out / name).read_bytes() for name in FILES}


@pytest.fixture(scope="module")
def in_one_process(many: tuple[Path, dict[str, Any]], tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("one")
    build(many[0], out, many[1], executor={"processes": 1})
    funnel = json.loads((out / "funnel.json").read_text("utf-8"))
    touched = {s["stage"]: s["changed"] + s["dropped"] for s in funnel["stages"]}
    assert all(touched[stage] for stage in ("repair", "deidentify", "deduplicate", "decontaminate")), touched
    return out


def test_two_processes_give_the_same_bytes(
    many: tuple[Path, dict[str, Any]], in_one_process: Path, tmp_path: Path
) -> None:
    build(many[0], tmp_path, many[1], executor={"processes": 2})
    assert everything(tmp_path) == everything(in_one_process)


def test_smaller_chunks_give_the_same_bytes(
    many: tuple[Path, dict[str, Any]], in_one_process: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mulmed.corpus.reading.CHUNK", 700)
    build(many[0], tmp_path, many[1], executor={"processes": 1})
    assert everything(tmp_path) == everything(in_one_process)


def test_a_ray_cluster_of_two_nodes_gives_the_same_bytes(
    many: tuple[Path, dict[str, Any]], in_one_process: Path, tmp_path: Path, ray_cluster: str
) -> None:
    build(many[0], tmp_path, many[1], executor={"ray": ray_cluster})
    assert everything(tmp_path) == everything(in_one_process)


class KillsOnce:
    """Counts words, but kills the first process that asks, once."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __call__(self, texts: Sequence[str]) -> list[int]:
        if not self.mark.exists():
            self.mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return count_words(texts)


def test_a_worker_killed_in_the_middle_changes_nothing(
    many: tuple[Path, dict[str, Any]], in_one_process: Path, tmp_path: Path
) -> None:
    mark = tmp_path / "killed"
    settings = Corpus.model_validate({"sources": many[1], "executor": {"processes": 2}})
    build_corpus(
        settings,
        many[0],
        tmp_path / "out",
        seed=42,
        cutoff=256,
        overhead=Words(),
        count_tokens=KillsOnce(mark),
    )
    assert mark.exists()
    assert everything(tmp_path / "out") == everything(in_one_process)


def test_the_audit_holds_hashes_only_under_a_key(tmp_path: Path) -> None:
    source = questions(tmp_path, "a", ["Call me at 415-555-0142 please.", "My number is 415-555-0142."])

    def hashes(key: str | None) -> pl.DataFrame:
        build(tmp_path, tmp_path, {"a": source}, key=key)
        audit = pl.read_parquet(tmp_path / "audit.parquet")
        return audit.filter((pl.col("stage") == "deidentify") & (pl.col("rule") == "PHONE"))

    assert hashes(None)["removed_hash"].unique().to_list() == [""]
    (one,) = hashes("one secret")["removed_hash"].unique().to_list()
    (other,) = hashes("another")["removed_hash"].unique().to_list()
    assert len(one) == len(other) == 16
    assert one != other


# --- splits and limits -------------------------------------------------------------------------------


def sides(records: Sequence[Record]) -> dict[str, str]:
    return {record.turns[0].text: record.split for record in records}


def test_held_out_shares_come_out_and_do_not_depend_on_the_neighbours(tmp_path: Path) -> None:
    def split(name: str, asked: Sequence[str], seed: int = 42) -> dict[str, str]:
        source = questions(tmp_path, name, asked, split={"test": 0.2, "validation": 0.1})
        return sides(build(tmp_path, tmp_path / "out", {name: source}, seed, **OFF))

    asked = numbered(2000)
    all_of_them = split("a", asked)
    counts = Counter(all_of_them.values())
    assert 340 < counts["test"] < 460  # 400 and three standard deviations
    assert 160 < counts["validation"] < 240
    fewer = asked[::-3]
    assert split("b", fewer) == {question: all_of_them[question] for question in fewer}
    assert split("a", asked, seed=7) != all_of_them


def test_equal_questions_fall_on_one_side(tmp_path: Path) -> None:
    variants = [form for q in numbered(60) for form in (q, q.upper(), f" {q}!!", q.replace("Q", "Ｑ"))]
    source = questions(tmp_path, "a", variants, split={"test": 0.5})
    records = build(tmp_path, tmp_path / "out", {"a": source}, **OFF)
    groups = [{record.split for record in records[i : i + 4]} for i in range(0, len(records), 4)]
    assert all(len(group) == 1 for group in groups)
    assert {"test"} in groups
    assert {"train"} in groups


def plain_question_key(question: str, context: str) -> str:
    text = unicodedata.normalize("NFKC", f"{question} {context}").casefold()
    return re.sub(r"[\W_]+", "", text) or text


@given(
    st.text(st.sampled_from("aB1 _，：；！？（）。“、℃①Ａ㎎\u0301\u0338\u3099が疼=<")),
    st.sampled_from(["", "x，"]),
)
@example("，", "")
@example("a，\u0301", "")
def test_what_questions_have_in_common_is_found_the_short_way_too(question: str, context: str) -> None:
    assert question_key(question, context) == plain_question_key(question, context)


def test_an_instruction_is_split_by_its_context_too(tmp_path: Path) -> None:
    rows = [{"instruction": "Translate.", "input": f"word {i}", "output": "x"} for i in range(40)]
    (tmp_path / "a.json").write_text(json.dumps(rows), encoding="utf-8")
    source = {"layout": "alpaca", "path": "a.json", "language": "en", "split": {"test": 0.5}}
    records = build(tmp_path, tmp_path / "out", {"a": source}, **OFF)
    assert {record.split for record in records} == {"train", "test"}


def test_a_limit_keeps_file_order_grows_by_adding_and_is_fair_to_the_splits(tmp_path: Path) -> None:
    asked = numbered(300)

    def chosen(limit: int) -> list[Record]:
        source = questions(tmp_path, "a", asked, limit=limit, split={"test": 0.5})
        return build(tmp_path, tmp_path / f"out{limit}", {"a": source}, **OFF)

    few, many = chosen(50), chosen(100)
    assert len(few) == 50
    assert len(many) == 100
    assert {record.id for record in few} < {record.id for record in many}
    assert [record.row for record in many] == sorted(record.row for record in many)
    assert [record.row for record in many] != list(range(100))
    # were the limit drawn by the split's own numbers, all fifty would be test records
    assert 10 < Counter(record.split for record in few)["test"] < 40


def test_records_tell_where_they_came_from(tmp_path: Path) -> None:
    row = {"messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]}
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub/m.jsonl").write_text(
        json.dumps(row) + "\nbroken\n" + json.dumps(row | {"language": "zh"}), encoding="utf-8"
    )
    source = {"layout": "messages", "path": "sub/*.jsonl", "language": "en", "max_rejected": 0.5}
    first, second = build(tmp_path, tmp_path / "out", {"m": source}, **OFF)
    assert (first.source, first.file, first.row, first.language) == ("m", "m.jsonl", 0, "en")
    assert (second.row, second.language) == (2, "zh")
    assert second.id.startswith("m:2:")


# --- refusals ----------------------------------------------------------------------------------------


def refuse(tmp_path: Path, sources: dict[str, Any], **stages: Any) -> MulmedError:
    with pytest.raises(MulmedError) as caught:
        build(tmp_path, tmp_path / "out", sources, **stages)
    assert not (tmp_path / "out/records.parquet").exists()
    return caught.value


def test_too_many_rejected_records_stop_the_run_with_the_commonest_reason(tmp_path: Path) -> None:
    source = questions(tmp_path, "a", [*numbered(17), "", " ", "ok"])
    rows = json.loads((tmp_path / "a.json").read_text("utf-8"))
    rows[3]["output"] = None
    (tmp_path / "a.json").write_text(json.dumps(rows, indent=1), encoding="utf-8")
    error = refuse(tmp_path, {"good": questions(tmp_path, "b", numbered(3)), "bad": source})
    assert error.what == (
        "3 of 20 records cannot be used (5.0% are allowed); most often (2 times): input is empty."
    )
    assert error.where == "corpus.sources.bad: a.json, row 17, line 87"
    assert "corpus.sources.bad.max_rejected to 0.15." in error.remedy
    listed = (tmp_path / "out/rejected.jsonl").read_text("utf-8").splitlines()
    assert len(listed) == 3
    assert str(tmp_path / "out/rejected.jsonl") in error.remedy
    # what the remedy says is enough
    assert build(tmp_path, tmp_path / "out", {"bad": source | {"max_rejected": 0.15}}, **OFF)


@pytest.mark.parametrize("processes", [1, 2])
def test_what_is_wrong_first_is_told_first_however_far_ahead_the_reader_is(
    tmp_path: Path, processes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mulmed.corpus.reading.CHUNK", 10)
    bad = questions(tmp_path, "bad", [*numbered(28), "", ""])
    (tmp_path / "broken.json").write_text('[{"input": "a", "output": "b"},]', encoding="utf-8")
    broken = {"layout": "healthcaremagic", "path": "broken.json", "language": "en"}
    executor = {"processes": processes}
    error = refuse(tmp_path, {"bad": bad, "broken": broken}, executor=executor)
    assert error.what.startswith("2 of 30 records cannot be used")
    assert len((tmp_path / "out/rejected.jsonl").read_text("utf-8").splitlines()) == 2
    error = refuse(tmp_path, {"broken": broken, "bad": bad}, executor=executor)
    assert "a comma after the last record" in error.what


def test_a_chunk_ends_with_its_bytes_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mulmed.corpus.reading.CHUNK_BYTES", 1000)
    source = Source.model_validate(questions(tmp_path, "a", ["Why? " * 100] * 9))  # 500 bytes and a frame
    settings = Corpus.model_validate({"sources": {"a": source}})
    reader = Reader(settings, {"a": [tmp_path / "a.json"]}, 1, lambda *_: None)
    assert [len(part.rows) for chunk in reader.chunks() for part in chunk] == [2, 2, 2, 2, 1]


@pytest.mark.parametrize(
    ("name", "content", "what"),
    [
        ("a.json", "[]", "The source has no record."),
        ("a.json", "", "The source has no record."),
        ("a.json", '["text"]', "1 of 1 records cannot be used"),
    ],
)
def test_a_source_without_a_usable_record_stops_the_run(
    tmp_path: Path, name: str, content: str, what: str
) -> None:
    (tmp_path / name).write_text(content, encoding="utf-8")
    source = {"layout": "alpaca", "path": name, "language": "en", "max_rejected": 1.0}
    error = refuse(tmp_path, {"a": source})
    assert error.what.startswith(what)
    assert "alpaca layout" in error.remedy
    assert "max_rejected" not in error.remedy, "a higher share would not help"


def test_a_run_that_would_train_or_test_on_nothing_stops(tmp_path: Path) -> None:
    only_test = questions(tmp_path, "a", numbered(5), split="test")
    assert refuse(tmp_path, {"a": only_test}).what == "No train record is left after cleaning."
    train = questions(tmp_path, "b", numbered(5), split={"test": 1e-9})
    assert refuse(tmp_path, {"b": train}).what == "No test record is left after cleaning."
    assert build(tmp_path, tmp_path / "ok", {"b": train | {"split": "train"}})


def test_a_missing_file_is_named_with_its_key(tmp_path: Path) -> None:
    source = {"layout": "alpaca", "path": ["a.json", "gone-*.json"], "language": "en"}
    (tmp_path / "a.json").write_text('[{"instruction": "a", "output": "b"}]', encoding="utf-8")
    error = refuse(tmp_path, {"a": source})
    assert "'gone-*.json'" in error.what
    assert "corpus.sources.a.path" in error.where


def test_documents_whose_short_hashes_are_equal_are_two_records(tmp_path: Path) -> None:
    # The SHA-256 of these two begin with the same eight digits, and both records are row 0.
    document = (
        "<Document><QAPairs><QAPair><Question>What is a sprain?</Question>"
        "<Answer>A stretched ligament.</Answer></QAPair></QAPairs></Document>"
    )
    for name in ("0004898.xml", "0067617.xml"):
        (tmp_path / name).write_text(document, encoding="utf-8")
    source = {"layout": "medquad", "path": "*.xml", "language": "en"}
    records = build(tmp_path, tmp_path / "out", {"a": source}, **OFF)
    assert [(r.row, r.file) for r in records] == [(0, "0004898.xml"), (0, "0067617.xml")]
    assert len({r.id for r in records}) == 2


def test_copies_of_a_file_in_two_folders_are_refused(tmp_path: Path) -> None:
    for folder in ("x", "y"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "a.json").write_text('[{"instruction": "a", "output": "b"}]', encoding="utf-8")
    error = refuse(tmp_path, {"a": {"layout": "alpaca", "path": "*/a.json", "language": "en"}})
    assert "Two files named a.json" in error.what
