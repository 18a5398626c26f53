"""Pages in two languages from Jinja templates."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jinja2
import yaml

STATIC = Path(__file__).parent / "static"
#: Languages of the interface and what they call themselves.
LANGUAGES = {"en": "English", "zh": "中文"}


class Pages:
    """Templates and texts of one application, above the shared ones.

    Args:
        package: holds ``templates/`` and ``texts.yaml`` (key to text by language).
    """

    def __init__(self, package: str, folder: Path) -> None:
        self._texts = _read_texts(Path(__file__).parent / "texts.yaml") | _read_texts(folder / "texts.yaml")
        self._environment = jinja2.Environment(
            loader=jinja2.ChoiceLoader([jinja2.PackageLoader(package), jinja2.PackageLoader("mulmed.web")]),
            autoescape=True,
            undefined=jinja2.StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )

    def text(self, language: str, key: str, **values: Any) -> str:
        """A text in a language; a missing key is a mistake in the program."""
        return self._texts[key][language].format(**values)

    def texts(self, language: str, prefix: str) -> dict[str, str]:
        """All texts whose key starts with ``prefix``, without it: for a script."""
        return {k.removeprefix(prefix): t[language] for k, t in self._texts.items() if k.startswith(prefix)}

    def render(self, template: str, language: str, **values: Any) -> str:
        """A page; ``t(key)`` in the template is a text in its language."""
        return self._environment.get_template(template).render(
            language=language, languages=LANGUAGES, t=functools.partial(self.text, language), **values
        )


def _read_texts(path: Path) -> dict[str, Mapping[str, str]]:
    texts: dict[str, Mapping[str, str]] = yaml.safe_load(path.read_text(encoding="utf-8"))
    return texts


def choose_language(cookie: str | None, accepted: str) -> str:
    """The interface's language: the one chosen, else the first known one that the browser asks for, else English."""
    if cookie in LANGUAGES:
        return cookie
    for part in accepted.split(","):
        code = part.split(";")[0].strip().lower()[:2]
        if code in LANGUAGES:
            return code
    return "en"
