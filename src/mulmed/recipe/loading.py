"""From a YAML file to a recipe, every mistake named with its place and the nearest known key."""

from __future__ import annotations

import types
import typing
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError

from mulmed.errors import MulmedError
from mulmed.recipe.document import Recipe
from mulmed.recipe.language import Language
from mulmed.recipe.serving import Serving
from mulmed.recipe.settings import did_you_mean


def load_recipe(path: Path, overrides: tuple[str, ...] = ()) -> Recipe:
    """The recipe in ``path`` with ``key.subkey=value`` overrides applied (values are YAML).

    A relative ``data`` is resolved against the recipe's folder, one given as an override against the
    working directory; so are the files and folders of ``languages``.

    Raises:
        MulmedError: the file is missing or not YAML, or a key or value is wrong.
    """
    document = _read(path)
    document["data"] = str((path.parent / Path(str(document.get("data") or ".")).expanduser()).resolve())
    document["languages"] = _paths(document.get("languages"), path.parent, str(path))
    for override in overrides:
        _apply_override(document, override)
    document["data"] = str(Path(str(document["data"])).expanduser().resolve())
    named = map(Path, _paths(document["languages"], Path(), "--set languages"))
    files = [file for path in named for file in (sorted(path.glob("*.yaml")) if path.is_dir() else [path])]
    document["languages"] = list(map(load_language, files))
    try:
        return Recipe.model_validate(document)
    except ValidationError as error:
        raise _explain(error, str(path), Recipe) from error


def load_language(path: Path) -> Language:
    """The language that a file describes.

    Raises:
        MulmedError: as :func:`load_recipe`.
    """
    try:
        return Language.model_validate(_read(path))
    except ValidationError as error:
        raise _explain(error, str(path), Language) from error


def _paths(written: Any, folder: Path, where: str) -> list[str]:
    """The files and folders that ``languages`` names, relative to ``folder``."""
    paths = [written] if isinstance(written, str) else written or []
    if not isinstance(paths, list) or not all(isinstance(path, str) for path in paths):
        raise MulmedError(
            "languages is no list of files.",
            where=where,
            remedy="For example: languages: [languages/es.yaml]",
        )
    return [str((folder / Path(path).expanduser()).resolve()) for path in paths]


def load_serving(path: Path | None, overrides: tuple[str, ...] = ()) -> Serving:
    """How a model is served, from a YAML file or the defaults, with overrides as :func:`load_recipe` takes them.

    Raises:
        MulmedError: likewise.
    """
    document = {} if path is None else _read(path)
    for override in overrides:
        _apply_override(document, override)
    try:
        return Serving.model_validate(document)
    except ValidationError as error:
        raise _explain(error, str(path or "--set"), Serving) from error


def _read(path: Path) -> dict[str, Any]:
    """A YAML file's mapping."""
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise MulmedError(
            f"The file cannot be read: {error.strerror}.", where=str(path), remedy="Check the path."
        ) from error
    except UnicodeDecodeError as error:
        raise MulmedError(
            f"The file is not UTF-8 (byte {error.start}).", where=str(path), remedy="Save it as UTF-8."
        ) from error
    try:
        document = yaml.load(text, _Loader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f", line {mark.line + 1}" if mark else ""
        raise MulmedError(
            "The file is not valid YAML.", where=f"{path}{line}", remedy=f"Mend the line: {error}"
        ) from error
    if not isinstance(document, dict):
        raise MulmedError(
            "The file is not a mapping of keys to values.",
            where=str(path),
            remedy="For a recipe, start from a file under recipes/.",
        )
    return document


class _Loader(yaml.SafeLoader):
    """YAML in which a key may stand only once: the other one would be ignored."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key, _ in node.value:
            if key.value in seen and isinstance(key, yaml.ScalarNode):
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key {key.value!r} is written twice", key.start_mark
                )
            if isinstance(key, yaml.ScalarNode):
                seen.add(key.value)
        return super().construct_mapping(node, deep)


def _apply_override(document: dict[str, Any], override: str) -> None:
    key, equals, value = override.partition("=")
    if not equals or not key:
        raise MulmedError(
            "An override must look like key.subkey=value.",
            where=f"--set {override}",
            remedy="For example: --set steps.mulmed.epochs=1",
        )
    *parents, last = key.split(".")
    here = document
    for depth, parent in enumerate(parents):
        below = here.setdefault(parent, {})
        if not isinstance(below, dict):
            raise MulmedError(
                f"{'.'.join(parents[: depth + 1])} is a single value and has no key below it.",
                where=f"--set {override}",
                remedy="Set that key itself.",
            )
        here = below
    try:
        here[last] = yaml.safe_load(value)
    except yaml.YAMLError as error:
        raise MulmedError(
            "The value of an override is not valid YAML.",
            where=f"--set {override}",
            remedy="Quote it: --set 'key=\"value\"'",
        ) from error


#: Names of forms a key's value may have: parts of a place that pydantic adds.
_FORMS = ("Holdout", "str", "Api", "Local", "Made", "Published")
#: What pydantic finds when a value has another form than the one it is tried as.
_OTHER_FORM = ("literal_error", "model_type", "string_type", "tuple_type")


_CALLED: dict[type[BaseModel], str] = {Serving: "service", Language: "language file"}


def _explain(error: ValidationError, where: str, root: type[BaseModel]) -> MulmedError:
    """All of pydantic's findings as one message, with the nearest known key for each unknown one."""
    findings = []
    for finding in error.errors():
        location = [str(part) for part in finding["loc"]]
        key = ".".join(p for p in location if not p.endswith("]") and p not in _FORMS)
        if finding["type"] == "extra_forbidden":
            known = _known_keys(root, tuple(finding["loc"][:-1]))
            text = f"unknown key{did_you_mean(location[-1], known)}"
        elif finding["type"] == "missing":
            text = "required key is missing"
        else:
            text = finding["msg"].removeprefix("Value error, ")
        findings.append((key, text, finding["type"] in _OTHER_FORM))
    lines: dict[str, str] = {}
    for key, text, other_form in findings:
        # A key with two forms is tried as both: what does not concern the form that was meant goes.
        if other_form and any(not o and f"{k}.".startswith(f"{key}.") for k, _, o in findings):
            continue
        lines[key] = f"{lines[key]}; or: {text}" if key in lines else f"{key}: {text}" if key else text
    return MulmedError(
        f"The {_CALLED.get(root, 'recipe')} has "
        + ("an error" if len(lines) == 1 else f"{len(lines)} errors")
        + ":\n    "
        + "\n    ".join(lines.values()),
        where=where,
        remedy="Correct the key in the file"
        + ("." if root is Language else ", or override it with --set key=value."),
    )


def _known_keys(root: type[BaseModel], location: tuple[int | str, ...]) -> list[str]:
    """Keys that the model at ``location`` of a document knows."""
    model: Any = root
    for part in location:
        model = getattr(model, "__origin__", model) if hasattr(model, "__metadata__") else model
        if isinstance(model, type) and issubclass(model, BaseModel) and part in model.model_fields:
            model = model.model_fields[str(part)].annotation
        elif typing.get_origin(model) is dict:
            model = typing.get_args(model)[1]
        elif typing.get_origin(model) in (typing.Union, types.UnionType):
            pass  # pydantic adds the name of the union's member to the location
        if typing.get_origin(model) in (typing.Union, types.UnionType):
            members = [
                typing.get_args(m)[0] if hasattr(m, "__metadata__") else m for m in typing.get_args(model)
            ]
            members = [m for m in members if isinstance(m, type) and issubclass(m, BaseModel)]
            model = next((m for m in members if m.__name__ == part), members[0] if members else model)
    return list(model.model_fields) if isinstance(model, type) and issubclass(model, BaseModel) else []
