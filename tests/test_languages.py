"""Languages that files add: Spanish as the recipe ships it, Portuguese as a user would write it. No Python is changed."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from mulmed.corpus.deidentify import KINDS, deidentify_text
from mulmed.corpus.moderate import judge_text, without_selling
from mulmed.corpus.sentences import sentences
from mulmed.corpus.statistics import lengths
from mulmed.errors import MulmedError
from mulmed.evaluation.keywords import content_words, spoken_words
from mulmed.evaluation.lexicon import CATEGORIES, lexicon
from mulmed.prompts import load_template
from mulmed.recipe import Identifier, Language, load_recipe
from mulmed.recipe.language import Care, using
from mulmed.recipe.loading import load_language
from mulmed.serving.model import open_model
from mulmed.stages import Run
from tests.conftest import make_record
from tests.runs import ROOT, Main, bring_up_to_date

ES = load_language(ROOT / "recipes" / "languages" / "es.yaml")
#: What the sample records hold on purpose.
IDENTIFIERS = (
    "Elvira", "Montesinos", "12345678Z", "600 123 456", "3 de marzo", "Ibarrola", "Valdelagua", "HC-20417",
)  # fmt: skip
PORTUGUESE: dict[str, Any] = {
    "code": "pt",
    "name": "Portuguese",
    "own_name": "Português",
    "letters": "A-Za-zÀ-ÿ",
    "instructions": {"qa": "Responda à pergunta médica:"},
    "stop_words": "a o e de que não com para em um uma",
}


def test_spanish_from_raw_records_to_the_report(tmp_path: Path, taught: Path, here: Main) -> None:
    recipe = ROOT / "recipes" / "spanish.yaml"
    out = tmp_path / "out"
    changes = (
        f"base={taught}",
        f"output={out}",
        "generation.decoding.max_new_tokens=8",
        "evaluation.resamples=100",
        "generation.questions=3",
        "cutoff=512",  # the small base's tokenizer knows little Spanish
    )
    bring_up_to_date(recipe, *changes)

    run = Run(load_recipe(recipe, changes), tell=lambda _: None)
    records = [record for record in run.records() if record.language == "es"]
    assert {(r.task, r.split) for r in records} >= {
        ("qa", "train"), ("qa", "test"), ("summary", "train"), ("dialogue", "train"), ("instruction", "train"),
    }  # fmt: skip
    said = "\n".join(turn.text for record in records for turn in record.turns)
    for identifier in IDENTIFIERS:
        assert identifier not in said
    assert "me llamo [NAME], mi DNI es [ID] y mi teléfono el [PHONE]" in said
    assert "La Dra. [NAME] del [HOSPITAL] me recetó hierro" in said
    # No rule of another language touches it.
    assert said.count("[") == 7
    assert "envío gratis" not in said
    assert "Vuelva poco a poco a caminar." in said
    (crisis,) = [record for record in records if record.tags]
    assert "no quiero seguir viviendo" in crisis.turns[0].text

    # What the model sees, by the command a user would type.
    _, shown, _ = here("preview", recipe, "-n", "9", "--json", *(a for c in changes for a in ("--set", c)))
    preview = json.loads(shown)
    given = "".join(span["text"] for e in preview["examples"] for span in e["spans"] if not span["learned"])
    assert "### Instruction:\nResponda a la pregunta médica a partir de la siguiente descripción: " in given
    assert "Resuma en lenguaje sencillo el siguiente texto médico: " in given
    assert {(s["task"], s["language"]) for s in preview["shares"]} >= {("qa", "es"), ("dialogue", "es")}

    scores = json.loads((out / "evaluate" / "scores.json").read_text())
    f1 = {
        (r["model"], r["language"]): r for r in scores["rows"] if r["metric"] == "f1" and r["task"] == "all"
    }
    assert {key for key in f1 if key[1] == "es"} == {(m, "es") for m in ("base", "crossla", "mulmed")}
    care = json.loads((out / "evaluate" / "care.json").read_text())
    doctors = {
        r["category"]: r["rate"]
        for r in care["rates"]
        if (r["speaker"], r["language"]) == ("reference", "es")
    }
    assert doctors["next step"] > 0
    words = {w["word"] for w in care["words"] if (w["speaker"], w["language"]) == ("reference", "es")}
    assert "médico" in words
    assert words.isdisjoint(ES.stop_words)

    # It is said what Spanish does not get, on every paper that leaves the run.
    funnel = json.loads((out / "corpus" / "funnel.json").read_text())
    assert funnel["languages"] == {"es": list(ES.gaps)}
    page = re.sub(r"\s+", " ", (out / "report" / "index.html").read_text())
    card = (out / "corpus" / "data_card.md").read_text()
    for gap in ES.gaps:
        assert gap in card
        assert gap.replace("'", "&#39;") in page
    assert "Spanish" in page

    # In how many processes it is cleaned changes nothing.
    again = (*changes, f"output={tmp_path / 'one'}", "corpus.executor.processes=1")
    bring_up_to_date(recipe, *again, targets=("corpus",))
    assert (tmp_path / "one" / "corpus" / "funnel.json").read_bytes() == (
        out / "corpus" / "funnel.json"
    ).read_bytes()
    digest = [
        json.loads((f / "corpus" / "statistics.json").read_text())["records_sha256"]
        for f in (out, tmp_path / "one")
    ]
    assert digest[0] == digest[1]

    # Whoever is given the merged model alone knows in which words it was asked; who serves it is told.
    config = json.loads((out / "merge-mulmed" / "manifest.json").read_text())["config"]
    told: list[str] = []
    model = open_model(str(out / "merge-mulmed"), told.append)
    assert model.renderer.template.sha256 == config["template"] != load_template("alpaca").sha256
    assert model.renderer.template.instruct("qa", "es", "¿Qué tomo?").startswith(
        "Responda a la pregunta médica"
    )
    assert all(gap in " ".join(told) for gap in ES.gaps)


def test_a_language_of_the_users_own_with_little_in_its_file(
    tmp_path: Path, taught: Path, here: Main
) -> None:
    (tmp_path / "languages").mkdir()
    (tmp_path / "languages" / "pt.yaml").write_text(yaml.safe_dump(PORTUGUESE, allow_unicode=True))
    rows = [
        {"p": f"Tenho tosse há {n} dias e não durmo bem à noite. O que devo fazer?", "r": f"Beba água e descanse. Se em {n + 7} dias não melhorar, procure o seu médico."}
        for n in range(2, 14)
    ]  # fmt: skip
    rows.append({"p": "我咳嗽三天了。", "r": "多喝水。"})
    (tmp_path / "perguntas.jsonl").write_text("".join(json.dumps(r, ensure_ascii=False) + "\n" for r in rows))
    document = {
        "name": "portuguese", "base": str(taught), "output": str(tmp_path / "out"), "languages": "languages", "cutoff": 200,
        "corpus": {"sources": {"perguntas": {
            "layout": "columns", "path": "perguntas.jsonl", "language": "pt", "columns": {"question": "p", "answer": "r"},
            "split": {"test": 0.4}, "max_rejected": 0.2,
        }}, "deduplicate": False, "decontaminate": False},
        "steps": {"mulmed": {"parent": "base", "sources": ["perguntas"]}},
    }  # fmt: skip
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(yaml.safe_dump(document, allow_unicode=True))
    code, out, err = here("corpus", "build", recipe)
    assert code == 0, err
    told = " ".join(out.split())
    assert "What pt does not get: What identifies someone is found only by its form" in told
    assert "moderation lets everything in it pass" in told
    (refused,) = (tmp_path / "out" / "corpus" / "rejected.jsonl").read_text().splitlines()
    assert json.loads(refused)["reason"] == "record is not in the source's language"

    (tmp_path / "languages" / "pt.yaml").unlink()
    code, _, err = here("corpus", "build", recipe)
    assert code == 2
    assert "corpus.sources.perguntas.language is 'pt', which is none of en, zh" in " ".join(err.split())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"instruction": {}}, r"instruction: unknown key \(did you mean 'instructions'\?\)"),
        ({"instructions": {"question": "Responda:"}}, "'summary', 'qa' or 'dialogue'"),
        ({"code": "en"}, "English has rules of its own, and no file takes their place"),
        ({"letters": "z-a"}, "letters: 'z-a' is no set of characters"),
        ({"identifiers": [{"kind": "NAME", "pattern": "(a)(b)"}]}, "has more than one group"),
        ({"identifiers": [{"kind": "NAME", "pattern": "Sra?[.] ("}]}, "is no pattern: missing"),
        ({"identifiers": [{"kind": "NAME", "pattern": r"\w*"}]}, "matches where nothing stands"),
        (
            {"identifiers": [{"kind": "CPF", "pattern": r"\d{11}"}]},
            "identifiers.0.kind: Input should be 'NAME'",
        ),
        ({"unwanted": {"insult": ["tu"]}}, "unwanted.insult.0: String should have at least 3 characters"),
    ],
)
def test_what_is_wrong_in_a_file_is_told_with_its_place(
    tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    file = tmp_path / "pt.yaml"
    file.write_text(yaml.safe_dump(PORTUGUESE | change))
    with pytest.raises(MulmedError, match=message) as error:
        load_language(file)
    assert error.value.where == str(file)
    assert "--set" not in error.value.remedy


def test_spanish_sentences_end_where_a_reader_ends_them() -> None:
    text = (
        "La Dra. Ibarra me vio el 3. ¿Debo ir a urgencias? ¡Sí! Tomo 2.5 mg.\n1. Repose.\nVuelva en 5 días."
    )
    with using([ES]):
        cut = sentences(text, "es")
    assert [s.strip() for s in cut] == [
        "La Dra. Ibarra me vio el 3. ¿Debo ir a urgencias?", "¡Sí!", "Tomo 2.5 mg.", "1. Repose.", "Vuelva en 5 días.",
    ]  # fmt: skip


@given(st.text(st.sampled_from('Sra. ¿?¡!\nño5,»"…'), max_size=60))
def test_spanish_sentences_put_together_are_the_text(text: str) -> None:
    with using([ES]):
        assert "".join(sentences(text, "es")) == text


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("Llame al 91 234 56 78 o al +34 612 34 56 78.", "Llame al [PHONE] o al [PHONE]."),
        ("Mi NIE es X-1234567-L.", "Mi NIE es [ID]."),
        ("Nacida el 04/05/1971, vive en la calle Mayor 12, 3.º B.", "Nacida el [DATE_OF_BIRTH], vive en la [ADDRESS]."),
        ("Escriba a lucia@example.org", "Escriba a [EMAIL]"),
        ("El señor Rubén Gálvez de la Torre toma enalapril 20 mg. Gálvez mejora.", "El señor [NAME] toma enalapril 20 mg. [NAME] mejora."),
        # Clinical words that rules of English names would take for people or places.
        ("Paracetamol 500 mg cada 8 horas. Rosa y Pilar no fuman. Mayo fue peor.", "Paracetamol 500 mg cada 8 horas. Rosa y Pilar no fuman. Mayo fue peor."),
        ("Presión 120/80, glucosa 5.6 mmol/l, 38,5 grados, 2 de cada 10 personas.", "Presión 120/80, glucosa 5.6 mmol/l, 38,5 grados, 2 de cada 10 personas."),
    ],
)  # fmt: skip
def test_spanish_identifiers_are_masked_and_clinical_content_stays(text: str, masked: str) -> None:
    with using([ES]):
        assert deidentify_text(text, "es", "fast").text == masked
        assert deidentify_text(masked, "es", "fast").text == masked


def test_spanish_lists_are_heeded_within_the_run_only() -> None:
    with using([ES]):
        assert judge_text("VÍDEOS PORNO y más", "es").reasons == ("sexual",)
        assert judge_text("No quiero seguir viviendo así.", "es").action == "crisis"
        assert judge_text("Me han hecho una ecografía de mama.", "es").action == "keep"
        left, edits = without_selling(
            "Beba agua. COMPRE AHORA con envío gratis. Repose unos días en casa.", "es"
        )
        assert left == "Beba agua. Repose unos días en casa."
        assert {edit.rule for edit in edits} == {"advertisement"}
    assert judge_text("VÍDEOS PORNO y más", "es").action == "keep"


def test_words_of_care_in_spanish_do_not_count_behind_a_negation() -> None:
    with using([ES]):
        counts = lexicon("es").count(
            "Hola. Entiendo su preocupación; no hay riesgo. Acuda a urgencias si empeora."
        )
        counted = content_words([spoken_words("El médico y la médica no lo saben", "es")], "es")
    assert counts["greeting"] == 1
    assert counts["acknowledgement"] == 2
    assert counts["caution"] == 2  # urgencias, empeora; "riesgo" stands behind "no hay"
    assert counts["next step"] == 1
    assert set(counted) == {"médico", "médica", "saben"}


def test_a_language_without_spaces_is_counted_in_characters() -> None:
    thai = Language.model_validate(
        PORTUGUESE | {"code": "th", "letters": "\u0e01-\u0e3a\u0e40-\u0e4e", "units": "characters"}
    )
    record = make_record(0, "qa", "th", ("ปวดหัว", "พักผ่อน"))
    with using([thai]):
        (row,) = lengths([record]).to_dicts()
        cut = sentences("กขค! จฉ. 3.5 ชซ", "th")
    assert (row["unit"], row["question"], row["answer"]) == ("characters", 6, 7)
    assert cut == ["กขค! ", "จฉ. ", "3.5 ชซ"]


def test_what_a_file_lacks_is_said() -> None:
    bare = Language.model_validate(PORTUGUESE)
    assert any("No list of insults" in gap for gap in bare.gaps)
    assert any("No words of care" in gap for gap in bare.gaps)
    assert not any("No list" in gap or "No words" in gap for gap in ES.gaps)
    assert any(f"{len(ES.identifiers)} patterns" in gap for gap in ES.gaps)
    assert any("no red flags" in gap for gap in ES.gaps)


def test_a_file_may_say_what_the_code_knows() -> None:
    """The names of kinds stand in the recipe's room, which reads no other; they must stay those of the rooms that use them."""
    kinds = Identifier.model_fields["kind"].annotation.__args__  # type: ignore[union-attr]
    assert {*kinds} == {*KINDS} - {"SITE"}
    assert [*Care.model_fields["categories"].annotation.__args__[0].__args__] == [*CATEGORIES]  # type: ignore[union-attr]


def test_a_run_without_files_depends_on_none(tmp_path: Path, taught: Path, whole: Path) -> None:
    for name in ("corpus", "merge-mulmed", "evaluate", "report"):
        config = json.loads((whole / name / "manifest.json").read_text())["config"]
        assert "languages" not in config
        assert "languages" not in config.get("recipe", {})
    assert "languages" not in json.loads((whole / "corpus" / "funnel.json").read_text())
