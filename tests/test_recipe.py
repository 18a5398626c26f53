"""The recipe file: nothing in it is accepted and ignored, and every mistake is named."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from mulmed.errors import MulmedError
from mulmed.recipe import Api, Holdout, Recipe, load_recipe
from tests.runs import ROOT, write_recipe

MINIMAL: dict[str, Any] = {
    "name": "small",
    "base": "smollm2-135m",
    "corpus": {
        "sources": {
            "alpaca-en": {"layout": "alpaca", "path": "en.json", "language": "en"},
            "haodf": {"layout": "meddialog-zh", "path": "h.txt", "language": "zh", "split": {"test": 0.2}},
        }
    },
    "steps": {
        "crossla": {"parent": "base", "sources": ["alpaca-en"]},
        "mulmed": {"parent": "crossla", "sources": ["haodf"]},
    },
}


def write(folder: Path, changes: dict[str, Any] | None = None, *, text: str | None = None) -> Path:
    document = copy.deepcopy(MINIMAL)
    for key, value in (changes or {}).items():
        *parents, last = key.split("/")
        here = document
        for parent in parents:
            here = here.setdefault(parent, {})
        here[last] = value
    path = folder / "recipe.yaml"
    path.write_text(yaml.safe_dump(document) if text is None else text, encoding="utf-8")
    return path


def refusal(folder: Path, changes: dict[str, Any], *overrides: str) -> str:
    """The lines of the message, without its heading, its place and its remedy."""
    with pytest.raises(MulmedError) as caught:
        load_recipe(write(folder, changes), overrides)
    assert caught.value.where
    assert caught.value.remedy
    return "\n".join(line.strip() for line in caught.value.what.splitlines()[1:])


@pytest.mark.parametrize("path", sorted((ROOT / "recipes").glob("*.yaml")), ids=lambda p: p.stem)
def test_every_recipe_of_the_repository_loads(path: Path) -> None:
    recipe = load_recipe(path)
    assert recipe.name == path.stem
    rival = path.stem in ("bentsao", "chatdoctor")  # one step on the base
    steps = [(name, step.parent) for name, step in recipe.steps.items()]
    assert steps[0] == ((path.stem if rival else "crossla"), "base")
    assert rival or steps[-1] == ("mulmed", "crossla")
    assert len(steps) == {"comparison": 8}.get(path.stem, 1 if rival else 2)
    languages = {"en", "zh", *(language.code for language in recipe.languages)}
    assert {source.language for source in recipe.corpus.sources.values()} == languages


def test_compared_steps_differ_in_parent_and_sources_alone() -> None:
    recipe = load_recipe(ROOT / "recipes" / "comparison.yaml")
    rest = [step.model_dump(exclude={"parent", "sources"}) for step in recipe.steps.values()]
    assert all(settings == rest[0] for settings in rest)
    whole = set(recipe.steps["mulmed"].sources)
    assert set(recipe.steps["without-step-a"].sources) == whole
    assert set(recipe.steps["english-only"].sources) | set(recipe.steps["chinese-only"].sources) == whole
    assert set(recipe.steps["questions-only"].sources) < whole
    assert not any("icliniq" in step.sources for step in recipe.steps.values())


def test_the_small_recipe_is_a_part_of_the_comparison() -> None:
    """So that one run gives both tables."""
    small, whole = (load_recipe(ROOT / "recipes" / f"{name}.yaml") for name in ("small", "comparison"))
    assert list(small.steps) == ["crossla", "mulmed"]
    assert {name: whole.steps[name] for name in small.steps} == small.steps
    assert small.model_copy(update={"name": whole.name, "steps": whole.steps}) == whole


@pytest.mark.parametrize("name", ["bentsao", "chatdoctor"])
def test_a_rival_answers_the_same_questions_with_the_same_settings(name: str) -> None:
    small, rival = (load_recipe(ROOT / "recipes" / f"{recipe}.yaml") for recipe in ("small", name))
    asked = {
        source: settings
        for source, settings in small.corpus.sources.items()
        if settings.split == "test" or (isinstance(settings.split, Holdout) and settings.split.test)
    }
    assert asked
    assert {source: rival.corpus.sources[source] for source in asked} == asked
    assert rival.corpus == small.corpus
    assert (rival.generation, rival.base, rival.seed, rival.cutoff) == (
        *(small.generation, small.base, small.seed, small.cutoff),
    )


def test_defaults_are_the_papers(tmp_path: Path) -> None:
    recipe = load_recipe(write(tmp_path))
    step = recipe.steps["mulmed"]
    assert (recipe.cutoff, recipe.seed) == (256, 42)
    assert (step.learning_rate, step.warmup, step.weight_decay) == (3e-4, 0.1, 0)
    assert step.lora.model_dump() == {
        "r": 8,
        "alpha": 16,
        "dropout": 0.05,
        "targets": ("q_proj", "k_proj", "v_proj"),
        "rslora": False,
        "dora": False,
    }
    assert recipe.models == ("base", "crossla", "mulmed")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"sead": 1}, "sead: unknown key (did you mean 'seed'?)"),
        ({"steps/mulmed/epoch": 1}, "steps.mulmed.epoch: unknown key (did you mean 'epochs'?)"),
        (
            {"steps/mulmed/lora": {"dropuot": 0.1}},
            "steps.mulmed.lora.dropuot: unknown key (did you mean 'dropout'?)",
        ),
        (
            {"corpus/sources/haodf/layuot": "x"},
            "corpus.sources.haodf.layuot: unknown key (did you mean 'layout'?)",
        ),
        (
            {"corpus/decontaminate": {"overlapp": 0.1}},
            "corpus.decontaminate.overlapp: unknown key (did you mean 'overlap'?)",
        ),
        (
            {"generation/decoding": {"temprature": 1}},
            "generation.decoding.temprature: unknown key (did you mean 'temperature'?)",
        ),
        ({"zzzzzz": 1}, "zzzzzz: unknown key"),
        # a key inside one of two allowed forms
        (
            {"corpus/sources/haodf/split": {"tets": 0.1}},
            "corpus.sources.haodf.split.tets: unknown key (did you mean 'test'?)",
        ),
    ],
)
def test_unknown_keys_are_refused_with_the_nearest_known_one(
    tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    assert refusal(tmp_path, changes) == message


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        ({"steps/mulmed/epochs": "lots"}, "steps.mulmed.epochs"),
        ({"steps/mulmed/epochs": 0}, "steps.mulmed.epochs"),
        ({"steps/mulmed/epochs": float("inf")}, "steps.mulmed.epochs"),
        ({"steps/mulmed/learning_rate": float("nan")}, "steps.mulmed.learning_rate"),
        ({"steps/mulmed/batch": 2.5}, "steps.mulmed.batch"),
        ({"corpus/sources/haodf/language": "chinese"}, "corpus.sources.haodf.language"),
        ({"corpus/sources/haodf/layout": "haodf"}, "corpus.sources.haodf.layout"),
        ({"corpus/sources/haodf/path": 5}, "corpus.sources.haodf.path"),
        ({"corpus/sources/haodf/split": "trian"}, "corpus.sources.haodf.split"),
        ({"corpus/sources/haodf/split": {"test": 2.0}}, "corpus.sources.haodf.split.test"),
        (
            {"corpus/sources/haodf/split": {"test": 0.7, "validation": 0.6}},
            "corpus.sources.haodf.split",
        ),
        ({"steps": None}, "steps"),
        ({"steps": {}}, "steps"),
        ({"evaluation": None}, "evaluation"),
        ({"cutoff": 8}, "cutoff"),
        ({"seed": -1}, "seed"),  # numpy takes none
        ({"name": "../elsewhere"}, "name"),
        # `yes` in YAML is true: no number anybody meant
        ({"corpus/sources/haodf/limit": True}, "corpus.sources.haodf.limit"),
        ({"corpus/sources/haodf/split": {"test": True}}, "corpus.sources.haodf.split.test"),
        ({"steps/mulmed/learning_rate": True}, "steps.mulmed.learning_rate"),
        ({"steps/mulmed/lora": {"targets": []}}, "steps.mulmed.lora.targets"),
        ({"steps/mulmed/patience": 0}, "steps.mulmed.patience"),
        ({"steps/mulmed/mix": {}}, "steps.mulmed.mix"),
        ({"steps/mulmed/mix": {"language": {"en": 0.5, "zh": 0.4}}}, "steps.mulmed.mix.language"),
        ({"steps/mulmed/mix": {"task": {"qa": 1.5}}}, "steps.mulmed.mix.task.qa"),
        ({"tracker": "tensorbord"}, "tracker.kind"),
        ({"tracker": {"uri": "x"}}, "tracker.kind"),
    ],
)
def test_wrong_values_are_refused_once_under_their_key(
    tmp_path: Path, changes: dict[str, Any], key: str
) -> None:
    message = refusal(tmp_path, changes)
    assert message.startswith(f"{key}: ")
    assert "\n" not in message


def test_all_mistakes_are_told_at_once(tmp_path: Path) -> None:
    with pytest.raises(MulmedError) as caught:
        load_recipe(write(tmp_path, {"sead": 1, "steps/mulmed/batch": 0, "base": None}))
    assert caught.value.what.splitlines()[0] == "The recipe has 3 errors:"
    assert caught.value.where == str(tmp_path / "recipe.yaml")


def test_missing_keys_are_named(tmp_path: Path) -> None:
    document = copy.deepcopy(MINIMAL)
    del document["base"]
    del document["corpus"]["sources"]["haodf"]["language"]
    with pytest.raises(MulmedError) as caught:
        load_recipe(write(tmp_path, text=yaml.safe_dump(document)))
    assert "\n    base: required key is missing" in caught.value.what
    assert "\n    corpus.sources.haodf.language: required key is missing" in caught.value.what


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"steps/mulmed/parent": "crosla"},
            "steps.mulmed.parent is 'crosla', which is none of base, crossla",
        ),
        # a step cannot come before its parent
        (
            {"steps/crossla/parent": "mulmed"},
            "steps.crossla.parent is 'mulmed', which is none of base",
        ),
        (
            {"steps/mulmed/sources": ["haodff"]},
            "steps.mulmed.sources names 'haodff' (did you mean 'haodf'?), which corpus.sources lacks",
        ),
        (
            {"generation/models": ["mulmd"]},
            "generation.models names 'mulmd', which is none of base, crossla, mulmed",
        ),
        ({"steps/base": MINIMAL["steps"]["crossla"]}, "a step may not be called 'base'"),
    ],
)
def test_names_must_exist(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    # safe_dump sorts keys: keep the order in which steps are written
    document = copy.deepcopy(MINIMAL)
    for key, value in changes.items():
        *parents, last = key.split("/")
        here = document
        for parent in parents:
            here = here.setdefault(parent, {})
        here[last] = value
    with pytest.raises(MulmedError) as caught:
        load_recipe(write(tmp_path, text=yaml.safe_dump(document, sort_keys=False)))
    assert caught.value.what.splitlines()[1].strip() == message


@pytest.mark.parametrize("name", ["a/b", "../x", "", "a b", ".hidden"])
def test_a_step_is_named_like_a_folder(tmp_path: Path, name: str) -> None:
    document = copy.deepcopy(MINIMAL)
    document["steps"] = {name: MINIMAL["steps"]["crossla"]}
    with pytest.raises(MulmedError, match="String should match pattern"):
        load_recipe(write(tmp_path, text=yaml.safe_dump(document)))


def test_a_recipe_that_would_score_nothing_is_refused(tmp_path: Path) -> None:
    message = refusal(tmp_path, {"corpus/sources/haodf/split": {"validation": 0.2}})
    assert "test" in message


def test_a_key_written_twice_is_refused(tmp_path: Path) -> None:
    text = yaml.safe_dump(MINIMAL) + "seed: 1\nseed: 2\n"
    with pytest.raises(MulmedError) as caught:
        load_recipe(write(tmp_path, text=text))
    assert "'seed'" in str(caught.value)
    assert f"line {text.count(chr(10))}" in caught.value.where


@pytest.mark.parametrize(
    ("text", "line"), [("name: x\ncorpus: [1\nsteps: 2\n", "line 3"), ("- a\n- b\n", ""), ("", "")]
)
def test_broken_yaml_names_the_line(tmp_path: Path, text: str, line: str) -> None:
    with pytest.raises(MulmedError) as caught:
        load_recipe(write(tmp_path, text=text))
    assert line in caught.value.where
    assert str(tmp_path / "recipe.yaml") in caught.value.where


def test_a_recipe_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(MulmedError, match="No such file"):
        load_recipe(tmp_path / "none.yaml")
    (tmp_path / "latin.yaml").write_bytes(b"name: caf\xe9\n")
    with pytest.raises(MulmedError, match="UTF-8"):
        load_recipe(tmp_path / "latin.yaml")
    with pytest.raises(MulmedError, match="directory"):
        load_recipe(tmp_path)


def test_overrides(tmp_path: Path) -> None:
    path = write(tmp_path)
    recipe = load_recipe(
        path,
        (
            "steps.mulmed.epochs=2",
            "steps.mulmed.lora.targets=[q_proj]",
            "evaluation.resamples=500",  # a section that the file does not have
            "corpus.sources.plos={layout: laysumm, path: p.jsonl, language: en}",
            "base=./a=b",
            "steps.mulmed.learning_rate=1e-3",  # a number, though YAML 1.1 reads it as text
        ),
    )
    assert recipe.steps["mulmed"].epochs == 2
    assert recipe.steps["mulmed"].lora.targets == ("q_proj",)
    assert recipe.steps["mulmed"].learning_rate == 0.001
    assert recipe.steps["crossla"].epochs == 1
    assert recipe.evaluation.resamples == 500
    assert recipe.corpus.sources["plos"].paths == ("p.jsonl",)
    assert recipe.base == "./a=b"


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("steps.mulmed.epochs", "An override must look like key.subkey=value."),
        ("=3", "An override must look like key.subkey=value."),
        ("steps.mulmed.epochs=[1", "The value of an override is not valid YAML."),
        ("name.x=1", "name is a single value and has no key below it."),
        ("evaluation.resampels=500", "evaluation.resampels: unknown key (did you mean 'resamples'?)"),
    ],
)
def test_wrong_overrides(tmp_path: Path, override: str, message: str) -> None:
    with pytest.raises(MulmedError) as caught:
        load_recipe(write(tmp_path), (override,))
    assert message in str(caught.value)


def test_data_lies_beside_the_recipe_and_an_override_in_the_working_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "recipes").mkdir()
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    path = write(tmp_path / "recipes", {"data": "samples"})
    assert load_recipe(path).data == str(tmp_path / "recipes" / "samples")
    assert load_recipe(path, ("data=raw",)).data == str(tmp_path / "elsewhere" / "raw")
    assert load_recipe(path, (f"data={tmp_path}",)).data == str(tmp_path)
    assert load_recipe(write(tmp_path / "recipes")).data == str(tmp_path / "recipes")
    assert load_recipe(write(tmp_path / "recipes", {"data": None})).data == str(tmp_path / "recipes")
    assert load_recipe(write(tmp_path / "recipes", {"data": "~/raw"})).data == str(tmp_path / "home" / "raw")


def test_a_recipe_cannot_be_changed_after_loading(tmp_path: Path) -> None:
    recipe = load_recipe(write(tmp_path))
    with pytest.raises(ValidationError, match="frozen"):
        recipe.steps["mulmed"].epochs = 3


names = st.from_regex(r"[a-z][a-z0-9-]{0,8}", fullmatch=True).filter(lambda n: n != "base")
shares = st.floats(0, 0.5, allow_nan=False)
splits = st.sampled_from(["train", "validation", "test"]) | st.fixed_dictionaries(
    {}, optional={"validation": shares, "test": shares}
)


@st.composite
def recipes(draw: st.DrawFn) -> dict[str, Any]:
    sources = draw(
        st.dictionaries(
            names,
            st.fixed_dictionaries(
                {
                    "layout": st.sampled_from(["alpaca", "messages", "laysumm"]),
                    "path": st.text(min_size=1) | st.lists(st.text(min_size=1), min_size=1, max_size=2),
                    "language": st.sampled_from(["en", "zh"]),
                },
                optional={"split": splits, "limit": st.integers(1, 9), "max_rejected": shares},
            ),
            min_size=1,
            max_size=3,
        )
    )
    sources["held-out"] = {"layout": "alpaca", "path": "t.json", "language": "en", "split": "test"}
    steps: dict[str, Any] = {}
    for name in draw(st.lists(names, min_size=1, max_size=3, unique=True)):
        steps[name] = {
            "parent": draw(st.sampled_from(["base", *steps])),
            "sources": draw(st.lists(st.sampled_from(sorted(sources)), min_size=1, max_size=2)),
            "learning_rate": draw(st.floats(1e-9, 1e3)),
            "epochs": draw(st.floats(0.01, 100)),
            "lora": {"targets": draw(st.lists(st.text(), min_size=1, max_size=3))},
        }
    return {
        "name": draw(names),
        "base": draw(st.text()),
        "seed": draw(st.integers(0, 2**32 - 1)),
        "corpus": {"sources": sources, "decontaminate": draw(st.none() | st.just({"overlap": 0.1}))},
        "steps": steps,
    }


@given(document=recipes())
def test_a_recipe_survives_being_written_and_read(
    tmp_path_factory: pytest.TempPathFactory, document: dict[str, Any]
) -> None:
    recipe = Recipe.model_validate(document | {"data": "/data"})
    path = tmp_path_factory.getbasetemp() / "again.yaml"
    path.write_text(yaml.safe_dump(recipe.model_dump(mode="json"), sort_keys=False), encoding="utf-8")
    assert load_recipe(path) == recipe


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"engine": "llamacp"}, "generation.engine: Input should be 'transformers', 'llamacpp' or 'vllm'"),
        ({"gguf": "f16"}, "gguf belongs to `engine: llamacpp`"),
        ({"engine": "llamacpp", "decoding": {"num_beams": 4}}, "llamacpp has no decoding.num_beams"),
        (
            {"baselines": {"base": {"model": "m"}}},
            "generation.baselines.base: the base or a step has this name",
        ),
        ({"baselines": {"gpt": {"source": "iclinic"}}}, "did you mean 'icliniq'?"),
        (
            {"baselines": {"gpt": {"api": "https://h/v1", "modle": "m"}}},
            "modle: unknown key (did you mean 'model'?)",
        ),
        ({"baselines": {"gpt": {"model": "m", "adaptor": "a"}}}, "unknown key (did you mean 'adapter'?)"),
        ({"baselines": {"gpt": {"api": "ftp://h/v1", "model": "m"}}}, "begins with http:// or https://"),
        ({"baselines": {"gpt": {"api": "https://u:k@h/v1", "model": "m"}}}, "an address holds no key"),
        ({"baselines": {"gpt": {"api": "http://h/v1", "model": "m", "key_env": "K"}}}, "without encryption"),
        ({"baselines": {"gpt": {"api": "https://h/v1", "model": "m", "budget": 1}}}, "a budget needs prices"),
        ({"engine": "vllm", "decoding": {"no_repeat_ngram": 3}}, "vllm has no decoding.no_repeat_ngram"),
        ({"models": ["gpt"]}, "generation.models names 'gpt', which is none of base, crossla, mulmed"),
    ],
)
def test_engines_and_baselines_that_cannot_be_are_refused(
    tmp_path: Path, changes: dict[str, Any], what: str
) -> None:
    path = write_recipe(
        tmp_path / "r.yaml", "x", tmp_path, {f"generation.{k}": v for k, v in changes.items()}
    )
    with pytest.raises(MulmedError) as caught:
        load_recipe(path)
    assert what in str(caught.value)


def test_baselines_answer_after_the_recipes_own_models(tmp_path: Path) -> None:
    baselines = {
        "gpt": {"api": "https://h/v1/", "model": "m", "key_env": "K"},
        "chatgpt": {"source": "icliniq"},
    }
    recipe = load_recipe(
        write_recipe(tmp_path / "r.yaml", "x", tmp_path, {"generation.baselines": baselines})
    )
    assert recipe.models == ("base", "crossla", "mulmed", "gpt", "chatgpt")
    assert recipe.generation.baselines["gpt"] == Api(api="https://h/v1", model="m", key_env="K")
