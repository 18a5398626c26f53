"""The documentation builds without a warning, asks nothing of any other host, and tells what the code is."""

from __future__ import annotations

import re
import runpy
import subprocess
import sys
from pathlib import Path

import pytest
import typer
import yaml

from mulmed.cli import app
from mulmed.recipe import load_recipe
from mulmed.recipe.loading import load_serving
from tests.runs import ENVIRONMENT, ROOT, SAMPLES
from tests.test_project import commands

DOCS = ROOT / "docs"
PAGES = sorted(path for path in DOCS.rglob("*.md"))


def test_the_reference_is_what_the_code_says() -> None:
    pages = runpy.run_path(str(DOCS / "reference" / "generate.py"))["pages"]()
    assert {path.name for path in (DOCS / "reference").glob("*.md")} == set(pages)
    for name, text in pages.items():
        written = (DOCS / "reference" / name).read_text(encoding="utf-8")
        assert written == text, f"{name} is not current: run `python docs/reference/generate.py`"
    # Told in a reader's words, and to the last key.
    assert (
        "| `cutoff` | whole number | `256` | tokens an example may have, template included |"
        in pages["recipe.md"]
    )
    assert "| `base` | text | **required** |" in pages["recipe.md"]
    for words in commands(typer.main.get_command(app)):
        assert f"## {' '.join(('mulmed', *words))}\n" in pages["cli.md"] or any(
            len(longer) > len(words) and longer[: len(words)] == words
            for longer in commands(typer.main.get_command(app))
        )


def test_the_site_builds_and_asks_nobody(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(tmp_path / "site")],
        cwd=ROOT, env=ENVIRONMENT | {"NO_MKDOCS_2_WARNING": "1"}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    built = {
        p.relative_to(tmp_path / "site").with_suffix(".md").as_posix()
        for p in (tmp_path / "site").rglob("*.html")
    }
    assert built - {"404.md"} == {p.relative_to(DOCS).as_posix() for p in PAGES}
    for page in (tmp_path / "site").rglob("*.html"):
        text = page.read_text(encoding="utf-8")
        loaded = re.findall(
            r"<(?:script|link|img|iframe)\b[^>]*?(?:src|href)=[\"']?((?:https?:)?//[^\"' >]+)", text
        )
        assert not [url for url in loaded if "rel=canonical" not in url], page
        assert 'class="mermaid"' not in text  # its library would come from elsewhere


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.relative_to(DOCS).as_posix())
def test_a_page_names_only_commands_and_files_that_exist(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    if page.parent.name != "reference":
        known = commands(typer.main.get_command(app))
        blocks = re.findall(r"^ *```\w*\n(.*?)^ *```", text, re.MULTILINE | re.DOTALL)
        for line in (line for block in blocks for line in block.splitlines()):
            words = line.split("#")[0].split()
            at = next(
                (i for i, word in enumerate(words) if word.endswith("bin/mulmed") or word == "mulmed"), None
            )
            if at != 0:
                continue
            match = next(
                (c for c in sorted(known, key=len, reverse=True) if tuple(words[1 : 1 + len(c)]) == c), None
            )
            assert match, line
            assert {w for w in words if w.startswith("-")} <= known[match] | {"--help"}, line
    for path in re.findall(r"`((?:recipes|src|docs|benchmarks|tests)/[^`\s*]+)`", text):
        assert (ROOT / path).exists(), path


def test_what_the_how_tos_write_in_yaml_is_read(tmp_path: Path) -> None:
    """The fragments of a recipe are put into one that is whole; the service's file is read as it stands."""

    def blocks(name: str) -> list[str]:
        text = (DOCS / name).read_text(encoding="utf-8")
        found = re.findall(r"^( *)```yaml\n(.*?)^ *```", text, re.MULTILINE | re.DOTALL)
        return [re.sub(f"^{indent}", "", block, flags=re.MULTILINE) for indent, block in found]

    (fragment,) = blocks("howto/own-data.md")
    document = yaml.safe_load(fragment) | {
        "name": "fragment", "data": str(SAMPLES), "base": "gemma3-270m",
        "steps": {"mulmed": {"parent": "base", "sources": ["clinic"]}},
    }  # fmt: skip
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(document))
    source = load_recipe(tmp_path / "recipe.yaml").corpus.sources["clinic"]
    assert source.columns is not None
    assert source.columns.questions == ("title", "complaint")

    (service,) = blocks("howto/behind-a-proxy.md")
    (tmp_path / "service.yaml").write_text(service)
    assert load_serving(tmp_path / "service.yaml").limits.deadline == 60


def test_the_tutorial_trains_as_little_as_it_says() -> None:
    (run,) = re.findall(
        r"^mulmed run (recipes/\S+) (--set .+)$", (DOCS / "tutorial.md").read_text(), re.MULTILINE
    )
    recipe = load_recipe(ROOT / run[0], tuple(run[1].replace("--set ", "").split()))
    assert {step.epochs for step in recipe.steps.values()} == {0.25}
    assert recipe.generation.questions == 2
    assert recipe.output == "runs/first"
