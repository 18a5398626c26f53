"""The project as a whole: what it says of itself is so, and nothing of one machine is in it."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import typer.main

import mulmed
from mulmed.cli import app
from tests.runs import ENVIRONMENT, ROOT

PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def tracked() -> list[Path]:
    done = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip("not a git checkout")
    return [ROOT / name for name in done.stdout.split("\0") if name and (ROOT / name).is_file()]


def test_no_file_is_large() -> None:
    assert [p for p in tracked() if p.stat().st_size > 2.1e6] == []


def test_no_place_of_one_machine_is_named() -> None:
    places = re.compile(rb"/(?:work|root)/|/home/(?!x\b)[a-z]+/|[A-Z]:\\Users")
    found = []
    for path in tracked():
        data = path.read_bytes()
        if b"\0" not in data[:8192] and path != Path(__file__):
            found += [f"{path.relative_to(ROOT)}: {m[0].decode()}" for m in places.finditer(data)]
    assert found == []


def test_nothing_made_by_a_run_is_kept() -> None:
    odd = (".safetensors", ".gguf", ".bin", ".pt", ".parquet", ".log", ".pyc")
    own = [  # made by train.py in benchmarks/moderation, train.py and train_reader.py in benchmarks/red_flags
        ROOT / "src/mulmed/corpus/moderate/classifier.safetensors",
        ROOT / "src/mulmed/safety/classifier.safetensors",
        ROOT / "src/mulmed/safety/reader.safetensors",
    ]
    made = [p for p in tracked() if p.suffix in odd or "runs" in p.relative_to(ROOT).parts]
    assert sorted(made) == own


# --- what the README promises ------------------------------------------------------------------------


def commands(group: Any, words: tuple[str, ...] = ()) -> dict[tuple[str, ...], set[str]]:
    """Each command with its options."""
    if not hasattr(group, "commands"):
        return {words: {o for p in group.params for o in p.opts if o.startswith("-")} | {"--help"}}
    found: dict[tuple[str, ...], set[str]] = {}
    for name, command in group.commands.items():
        found |= commands(command, (*words, name))
    return found


def test_the_readme_names_only_commands_and_options_that_exist() -> None:
    known = commands(typer.main.get_command(app))
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```\w*\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    lines = [line for block in blocks for line in block.splitlines()] + re.findall(
        r"`(mulmed [^`\n]+)`", text
    )
    named = [line.split("#")[0].split() for line in lines if "mulmed " in line.split("#")[0]]
    assert named
    for words in named:
        words = words[next(i for i, w in enumerate(words) if w.endswith("mulmed")) + 1 :]
        match = next((c for c in known if tuple(words[: len(c)]) == c), None)
        assert match, f"mulmed {' '.join(words)}"
        assert {w for w in words if w.startswith("-")} <= known[match], words


def test_the_readme_names_only_files_and_targets_that_exist() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    for path in re.findall(r"`((?:recipes|src|docs|benchmarks|tests)/[^`\s*]+)`", text):
        assert (ROOT / path).exists(), path
    for target in re.findall(r"\]\((?!https?:|#)([^)]+)\)", text):
        assert (ROOT / target.split("#")[0]).exists(), target
    targets = re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert set(re.findall(r"\bmake ([a-z]+)", text)) & {"demo", "test"} <= set(targets)


def test_all_checks_are_in_make_test() -> None:
    makefile = (ROOT / "Makefile").read_text()
    check = makefile[makefile.index("\ncheck:") : makefile.index("\ninstall:")]
    for tool in ("ruff check", "ruff format --check", "mypy", "lint-imports"):
        assert f"$(BIN)/{tool}" in check
    assert re.search(r"^test:\n\t.*\bready$", makefile, re.MULTILINE)
    assert re.search(r"^ready: check\b", makefile, re.MULTILINE)
    assert "make test" in (ROOT / ".ci" / "run").read_text()


def test_every_room_has_its_place_in_the_order() -> None:
    (contract,) = PYPROJECT["tool"]["importlinter"]["contracts"]
    assert contract["type"] == "layers"
    placed = {name.strip() for layer in contract["layers"] for name in layer.split("|")}
    source = ROOT / "src" / "mulmed"
    rooms = {
        f"mulmed.{p.stem}" for p in source.iterdir() if p.suffix == ".py" or (p / "__init__.py").exists()
    }
    assert rooms - {"mulmed.__init__"} == placed


@pytest.mark.parametrize("room", ["training", "prompts"])
def test_a_bare_gpu_image_is_enough_for_training(room: str) -> None:
    allowed = {
        "torch",
        "transformers",
        "tokenizers",  # comes with transformers
        "safetensors",
        "numpy",
        "pydantic",
        "mulmed",
    } | sys.stdlib_module_names
    for path in (ROOT / "src" / "mulmed" / room).glob("*.py"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for node in ast.walk(tree):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            # Extras are imported by who asks for them, and named where they are missing.
            extras = set() if node in tree.body else {"bitsandbytes", "ray"}
            assert {n.partition(".")[0] for n in names} <= allowed | extras, path.name


def test_training_needs_no_library_for_data_or_terminals() -> None:
    code = (
        "import sys, mulmed.training.loop, mulmed.training.merge, mulmed.prompts.inspect; "
        "print(sorted({'polars', 'pyarrow', 'rich', 'typer', 'matplotlib', 'jieba', 'ftfy'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=ENVIRONMENT, check=True
    )
    assert done.stdout == "[]\n"


# --- packaging ---------------------------------------------------------------------------------------


def test_one_version() -> None:
    assert PYPROJECT["project"]["version"] == mulmed.__version__


def test_every_direct_dependency_has_a_range_and_a_pin() -> None:
    def name(line: str) -> str:
        return re.split(r"[\[<>=!~; ]", line)[0].lower().replace("_", "-")

    pinned = {
        name(line): line.partition("==")[2].strip()
        for line in (ROOT / "constraints.txt").read_text().splitlines()
        if line and not line.startswith("#")
    }
    assert pinned["torch"] == "2.13.0"
    assert all(pinned.values())
    project = PYPROJECT["project"]
    for line in [*project["dependencies"], *project["optional-dependencies"]["dev"]]:
        assert name(line) in pinned, line
    assert [line for line in project["dependencies"] if ">=" not in line] == []


def test_embedded_models_are_installed_as_the_code_names_them() -> None:
    from mulmed.base.embedded import EMBEDDED

    lines = {
        line.split("#")[0].strip() for line in (ROOT / "requirements-models.txt").read_text().splitlines()
    }
    assert {package for base in EMBEDDED.values() for package in base.packages} <= lines
    assert [line for line in lines if line and "==" not in line] == []
