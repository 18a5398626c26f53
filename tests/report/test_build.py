"""The whole report of the invented run, read back as a browser and a reader would."""

from __future__ import annotations

import re
from collections import Counter
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from typing import Any

import orjson
import pytest

from mulmed.errors import MulmedError
from mulmed.evaluation.score import write_scores
from mulmed.report.build import ReportInputs, build_report
from tests.report.invented import GAIN, MODELS, PROOF, scores_document, write_json, write_lines, write_run

VOID = {"meta", "link", "br", "img", "input", "hr"}


class Parsed(HTMLParser):
    """Tags with attributes, text by enclosing tag, ``<data>`` values with what they show."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.captions: list[str] = []
        self.data: dict[int, list[tuple[float, str]]] = {}
        self.styles = ""
        self._open: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag == "caption":
            self.captions.append("")
        if tag == "data":
            value = float(dict(attrs)["value"] or "")
            self.data.setdefault(len(self.captions) - 1, []).append((value, ""))
        if tag not in VOID:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        while self._open and self._open.pop() != tag:
            pass

    def handle_data(self, data: str) -> None:
        here = self._open[-1] if self._open else ""
        if here == "style":
            self.styles += data
            return
        self.texts.append(data)
        if here == "caption":
            self.captions[-1] += data
        if here == "data":
            values = self.data[len(self.captions) - 1]
            values[-1] = (values[-1][0], data)

    def numbers_in(self, caption: str) -> list[tuple[float, str]]:
        """(exact value, shown text) of the table whose caption starts so."""
        (index,) = [i for i, c in enumerate(self.captions) if c.startswith(caption)]
        return self.data[index]

    @property
    def text(self) -> str:
        return re.sub(r"\s+", " ", " ".join(self.texts))


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("report")
    build_report(folder / "out", write_run(folder / "run"))
    return folder


@pytest.fixture(scope="module")
def page(built: Path) -> Parsed:
    return Parsed((built / "out/index.html").read_text("utf-8"))


def rebuild(run: ReportInputs, out: Path) -> Parsed:
    return Parsed(build_report(out, run).read_text("utf-8"))


def test_main_table_equals_scores_json(built: Path, page: Parsed) -> None:
    scores = orjson.loads((built / "out/scores.json").read_bytes())
    assert (built / "out/scores.json").read_bytes() == (built / "run/evaluation/scores.json").read_bytes()
    value = {(r["language"], r["model"], r["metric"]): r for r in scores["rows"] if r["task"] == "all"}
    expected = []
    for language in ("en", "zh"):
        for model in MODELS:
            expected.append((40.0, "40"))
            for metric in ("f1", "rouge1", "rouge2", "rougeL", "distinct1", "distinct2"):
                exact = value[language, model, metric]["value"]
                expected.append((exact, f"{exact:.3f}"))
    assert page.numbers_in("Scores over all tasks") == expected


def test_every_score_of_the_file_is_on_the_page(built: Path, page: Parsed) -> None:
    scores = orjson.loads((built / "out/scores.json").read_bytes())
    shown = Counter(value for value, _ in page.numbers_in("All measures"))
    assert shown == Counter(row["value"] for row in scores["rows"] + scores["references"])
    assert (103.84, "103.8") in page.numbers_in("All measures")


def test_every_source_has_its_scores(page: Parsed) -> None:
    shown = page.numbers_in("Scores by source")
    assert [value for value, _ in shown if value < 1] == pytest.approx([0.1, 0.2, 0.3, 0.11, 0.21, 0.31])
    assert [text for value, text in shown if value > 1] == ["7", "7", "7", "8", "8", "8"]
    assert "Chinese, source: cmtmedqa" in page.text


def test_differences_are_those_of_the_file(page: Parsed) -> None:
    shown = [value for value, _ in page.numbers_in("Differences over all tasks")]
    expected = [
        d["difference"]
        for language in ("en", "zh")
        for model in MODELS[1:]
        for metric in ("f1", "rouge1", "rouge2", "rougeL", "distinct1", "distinct2")
        for d in scores_document()["differences"]
        if (d["language"], d["model"], d["metric"], d["task"]) == (language, model, metric, "all")
    ]
    assert shown == expected


def test_headline_states_gain_and_loss(page: Parsed) -> None:
    assert "The model mulmed against its base: higher F1 in English; lower F1 in Chinese." in page.text
    assert (
        "In English, mulmed has a higher F1 than its base, by 0.051 (95% interval 0.032 to 0.070, p 0.004;"
        " 0.262 against 0.210 on 40 questions)." in page.text
    )
    assert (
        "In Chinese, mulmed has a lower F1 than its base, by 0.030 (95% interval 0.012 to 0.048, p 0.004;"
        " 0.180 against 0.210 on 40 questions). By this measure the training made it worse." in page.text
    )
    assert "Questions left without an answer, by model: crossla 1." in page.text


def test_corpus_and_training_in_words(page: Parsed) -> None:
    assert (
        "Of 1,260 records read (8,000 more lay beyond the recipe's limits), 1,138 in Chinese and English were"
        " left after cleaning: 998 for training, 60 for validation and 80 for the test." in page.text
    )
    # log_lines: validation starts at start + 0.02; the adapter kept is that of step 40 of 60: end + 0.7 e^(-8/3) + 0.02.
    assert "The loss on the validation records fell from 2.920 to 2.269 in step crossla" in page.text
    assert "135 million parameters" in page.text


def test_training_table_sums_tokens(page: Parsed) -> None:
    shown = page.numbers_in("Training, step by step")
    assert (6000.0, "6,000") in shown  # 60 steps of 100 tokens
    assert (2400.0, "2,400") in shown  # 60 steps of 40 targets


def test_the_page_asks_for_nothing(built: Path, page: Parsed) -> None:
    policies = [a["content"] for t, a in page.tags if a.get("http-equiv") == "Content-Security-Policy"]
    assert policies == ["default-src 'none'; style-src 'unsafe-inline'; img-src data:"]
    names = {tag for tag, _ in page.tags}
    assert not names & {"script", "link", "iframe", "object", "embed", "img", "base", "form", "image"}
    for tag, attributes in page.tags:
        for key, value in attributes.items():
            assert not key.startswith("on"), (tag, key)
            if key in ("src", "srcset", "href", "xlink:href", "action", "data", "poster", "background"):
                assert (value or "").startswith("#"), (tag, key, value)
            if key not in ("xmlns", "xmlns:xlink"):
                assert "http" not in (value or "").replace("http-equiv", ""), (tag, key, value)
    text = (built / "out/index.html").read_text("utf-8")
    assert "@import" not in text
    assert "@font-face" not in text
    assert all(target.startswith("#") for target in re.findall(r"url\(['\"]?([^)'\"]*)", text))


def test_identifiers_are_unique_and_links_lead_somewhere(page: Parsed) -> None:
    identifiers = Counter(a["id"] for _, a in page.tags if a.get("id"))
    assert [name for name, n in identifiers.items() if n > 1] == []
    for _, attributes in page.tags:
        for key in ("href", "xlink:href", "aria-labelledby"):
            if target := attributes.get(key):
                assert target.removeprefix("#") in identifiers


def test_accessible_structure(page: Parsed) -> None:
    tags = Counter(tag for tag, _ in page.tags)
    assert tags["main"] == tags["header"] == tags["footer"] == tags["nav"] == tags["h1"] == 1
    assert tags["caption"] == tags["table"] > 10
    assert all(a.get("scope") for t, a in page.tags if t == "th")
    pictures = [a for t, a in page.tags if t == "svg"]
    assert len(pictures) == 5
    assert all(a["role"] == "img" and len(a["aria-label"] or "") > 40 for a in pictures)
    levels = [int(t[1]) for t, _ in page.tags if re.fullmatch("h[1-6]", t)]
    assert all(below - above <= 1 for above, below in pairwise(levels))


def test_contrast_of_text(page: Parsed) -> None:
    """WCAG 2.2 AA: 4.5 to 1 for every text colour on every surface, light and dark."""

    def luminance(colour: str) -> float:
        parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    blocks = [
        b for b in re.findall(r":root \{([^}]*)\}", page.styles) if "--page: #" in b and "#fff;" not in b
    ]
    assert len(blocks) == 2
    for block in blocks:
        colours = dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6})", block))
        for ink in ("ink", "muted", "accent", "bad"):
            for surface in ("paper", "page", "warn-paper"):
                low, high = sorted((luminance(colours[ink]), luminance(colours[surface])))
                assert (high + 0.05) / (low + 0.05) >= 4.5, (ink, surface)


def test_texts_carry_their_language(page: Parsed) -> None:
    said = Counter(a.get("lang") for t, a in page.tags if t == "p" and a.get("class") == "said")
    # Two questions a group: question, reference and three answers, less crossla's one failed answer
    # if it was chosen; a Chinese dialogue has two earlier turns as well.
    assert said["zh"] == 2 * 5 + 2 * 7
    assert said["en"] in (2 * 5 + 2 * 5, 2 * 5 + 2 * 5 - 1)


def test_hostile_text_is_shown_and_not_run(run: ReportInputs, tmp_path: Path) -> None:
    hostile = "<script>alert(1)</script><img src=x onerror=alert(2)>\"'</p>"
    rows = [orjson.loads(line) for line in (run.generations["mulmed"] / "answers.jsonl").open("rb")]
    write_lines(run.generations["mulmed"] / "answers.jsonl", [row | {"answer": hostile} for row in rows])
    statistics = orjson.loads((run.corpus / "statistics.json").read_bytes())
    statistics["table1"][0]["source"] = statistics["lengths"][0]["source"] = hostile
    write_json(run.corpus / "statistics.json", statistics)
    html = build_report(tmp_path / "out", run).read_text("utf-8")
    parsed = Parsed(html)
    assert not {tag for tag, _ in parsed.tags} & {"script", "img"}
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in html
    assert hostile in "".join(parsed.texts)


def test_same_inputs_same_bytes(built: Path, run: ReportInputs, tmp_path: Path) -> None:
    build_report(tmp_path / "out", run)
    first, second = (
        {p.relative_to(root).as_posix(): p.read_bytes() for p in root.rglob("*") if p.is_file()}
        for root in (built / "out", tmp_path / "out")
    )
    assert first.keys() == second.keys()
    assert set(first) == {"index.html", "results.md", "scores.json"} | {
        f"figures/{name}.{kind}"
        for name in ("scores", "funnel", "loss", "lengths", "words")
        for kind in ("svg", "png")
    }
    assert [name for name in first if first[name] != second[name]] == []


def without(document: dict[str, Any], **row: str) -> dict[str, Any]:
    kept = [r for r in document["rows"] if not row.items() <= r.items()]
    assert len(kept) < len(document["rows"])
    return document | {"rows": kept}


@pytest.mark.parametrize("metric", ["f1", "rouge2", "distinct1"])
def test_a_missing_score_stops_the_report(run: ReportInputs, tmp_path: Path, metric: str) -> None:
    document = without(scores_document(), model="crossla", language="zh", task="all", metric=metric)
    write_json(run.evaluation / "scores.json", document)
    with pytest.raises(MulmedError, match=f"lack {metric} of crossla for language zh") as caught:
        build_report(tmp_path / "out", run)
    assert "scores.json" in caught.value.where
    assert not (tmp_path / "out/index.html").exists()


def test_a_model_without_any_score_stops_the_report(run: ReportInputs, tmp_path: Path) -> None:
    write_json(run.evaluation / "scores.json", without(scores_document(), model="crossla"))
    with pytest.raises(MulmedError, match="lack f1 of crossla"):
        build_report(tmp_path / "out", run)


def test_a_score_that_is_not_a_number_stops_the_report(run: ReportInputs, tmp_path: Path) -> None:
    document = scores_document()
    document["rows"][0]["value"] = None
    write_json(run.evaluation / "scores.json", document)
    with pytest.raises(MulmedError, match="not in the expected form"):
        build_report(tmp_path / "out", run)


def test_a_missing_comparison_stops_the_report(run: ReportInputs, tmp_path: Path) -> None:
    document = scores_document()
    document["differences"] = [d for d in document["differences"] if d["language"] != "zh"]
    write_json(run.evaluation / "scores.json", document)
    with pytest.raises(MulmedError, match="difference in f1 between mulmed and base for language zh"):
        build_report(tmp_path / "out", run)


def test_a_task_that_a_model_failed_throughout_is_named_so(run: ReportInputs, tmp_path: Path) -> None:
    write_json(run.evaluation / "scores.json", without(scores_document(), model="crossla", task="dialogue"))
    parsed = rebuild(run, tmp_path / "out")
    assert parsed.texts.count("not answered") == 10  # Chinese has all ten measures


@pytest.mark.parametrize("key", ["out", "rules"])
def test_an_incomplete_funnel_is_named(run: ReportInputs, tmp_path: Path, key: str) -> None:
    funnel = orjson.loads((run.corpus / "funnel.json").read_bytes())
    del funnel["stages"][2][key]
    write_json(run.corpus / "funnel.json", funnel)
    with pytest.raises(MulmedError, match=key):
        build_report(tmp_path / "out", run)


def test_unproven_merge_and_missing_cleaning_stand_at_the_top(tmp_path: Path) -> None:
    corpus = {
        "sources": {
            name: {"layout": "alpaca", "path": "a.json", "language": "en", "split": split}
            for name, split in (("instructions", "train"), ("laysumm", {"test": 0.2}), ("好大夫", "train"))
        },
        "deidentify": False,
    }
    run = write_run(tmp_path / "run", corpus=corpus)
    write_json(run.merges["mulmed"] / "proof.json", PROOF | {"holds": False})
    text = rebuild(run, tmp_path / "out").text
    top = text[: text.index("Findings")]
    assert "Cleaning that this recipe switched off: Replace identities." in top
    assert "Step mulmed: the merged model does NOT equal base plus adapter" in top
    assert "Step crossla" not in top


def test_undecided_difference_claims_nothing(run: ReportInputs, tmp_path: Path) -> None:
    gain = GAIN | {"zh": (0.0104, -0.0123, 0.0311)}
    write_json(run.evaluation / "scores.json", scores_document(gain))
    text = rebuild(run, tmp_path / "out").text
    assert "higher F1 in English; no difference in F1 shown in Chinese." in text
    assert (
        "In Chinese, no difference in F1 between mulmed and its base can be shown: +0.010 (95% interval"
        " \N{MINUS SIGN}0.012 to +0.031, p 0.800; 0.221 against 0.210 on 40 questions)." in text
    )
    assert "made it worse" not in text


def test_evaluations_own_scores_are_understood(run: ReportInputs, tmp_path: Path) -> None:
    files = [folder / "answers.jsonl" for folder in run.generations.values()]
    document = write_scores(files, run.evaluation, run.recipe.evaluation, seed=1)
    shown = rebuild(run, tmp_path / "out").numbers_in("All measures")
    assert sorted(value for value, _ in shown) == sorted(
        row["value"] for row in document["rows"] + document["references"]
    )


def test_words_of_care_name_the_doctors_and_every_model(run: ReportInputs) -> None:
    from mulmed.report.care_tables import care_table, distinctive_table

    care = orjson.loads((run.evaluation / "care.json").read_bytes())
    table = care_table(care, ("base", "mulmed"))
    assert table.columns == ("Words of", "doctors (reference)", "base", "mulmed")
    english, chinese = table.groups
    assert [row[0].text for row in english.rows] == ["Greeting", "Blame"]
    assert [[cell.text for cell in row[1:]] for row in english.rows] == [
        ["10.0", "20.0", "40.0"],
        ["11.0", "21.0", "41.0"],
    ]
    assert chinese.rows[1][1].text == "11.5"
    assert [cell.notes[1:] for cell in english.rows[0][1:]] == [(), (), ("higher",)]
    lower = care_table(care, ("crossla",)).groups[0].rows[1][2]
    assert lower.notes == ("15.5 to 62.0", "lower")
    told = distinctive_table(care, ("base", "mulmed"))
    assert told is not None
    assert [[cell.text for cell in row] for row in told.groups[0].rows] == [
        ["base", "none", "none"],
        ["mulmed", "希望、放心", "none"],
    ]


def test_the_words_of_model_and_doctors_are_drawn_in_both_languages(run: ReportInputs) -> None:
    from mulmed.report.figures import style, words_figure

    with style():
        figure = words_figure(orjson.loads((run.evaluation / "care.json").read_bytes()), "mulmed", top=2)
    panels = {
        axes.get_title(loc="left"): (
            [label.get_text() for label in axes.get_yticklabels()],
            [bar.get_width() for bar in axes.patches],
        )
        for axes in figure.axes
    }
    # Counts 40 and 37 and more for later speakers, in 400 words: a rate in 1,000.
    assert panels == {
        "English: mulmed": (["hello", "rest"], [107.5, 100.0]),
        "English: doctors": (["hello", "rest"], [100.0, 92.5]),
        "Chinese 中文: mulmed": (["您好", "休息"], [107.5, 100.0]),
        "Chinese 中文: doctors": (["您好", "休息"], [100.0, 92.5]),
    }
