"""Writes the reference pages from the code: every key of a recipe, a service and a language file; every command and option.

    python docs/reference/generate.py

A test fails while a page is not what this writes.
"""

from __future__ import annotations

import types
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer
from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from mulmed.cli import app
from mulmed.recipe import Language, Recipe
from mulmed.recipe.serving import Serving

HERE = Path(__file__).parent
NOTE = "<!-- Written by docs/reference/generate.py: do not edit. -->\n"


def kind(annotation: Any) -> str:
    """A type as a reader of YAML calls it."""
    if hasattr(annotation, "__metadata__"):
        return kind(typing.get_args(annotation)[0])
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Literal:
        return ", ".join(f"`{value}`" for value in arguments)
    if origin in (typing.Union, types.UnionType):
        return " or ".join(dict.fromkeys("`null`" if a is type(None) else kind(a) for a in arguments))
    if origin is dict:
        return f"mapping of {kind(arguments[0])} to {kind(arguments[1])}"
    if origin is tuple:
        inside = list(dict.fromkeys(kind(a) for a in arguments if a is not Ellipsis))
        return f"list of {' and '.join(inside)}"
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return f"[{annotation.__name__}](#{annotation.__name__.lower()})"
    return {str: "text", int: "whole number", float: "number", bool: "`true` or `false`"}.get(
        annotation, str(annotation)
    )


def parts(annotation: Any) -> Iterator[type[BaseModel]]:
    """The parts of a document that an annotation names."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in typing.get_args(annotation):
        yield from parts(argument)


def default(field: Any) -> str:
    """The value of a key that is left out."""
    if field.is_required():
        return "**required**"
    value = field.default
    if value is PydanticUndefined or isinstance(value, BaseModel):
        return "its defaults"
    shown = {None: "null", True: "true", False: "false", (): "[]"}
    return (
        f"`{shown[value] if isinstance(value, bool | None | tuple) and value in shown else value}`"
        if value != {}
        else "`{}`"
    )


def document(root: type[BaseModel], title: str, told: str) -> str:
    """One page: every part reachable from ``root``, in the order of first use."""
    order: list[type[BaseModel]] = [root]
    for model in order:
        for field in model.model_fields.values():
            order += [part for part in dict.fromkeys(parts(field.annotation)) if part not in order]
    lines = [NOTE, f"# {title}", "", told, ""]
    for model in order:
        if model is not root:
            lines += [f"## {model.__name__}", ""]
        said = (model.__doc__ or "").strip().replace("\n    ", "\n")
        lines += [said, "", "| Key | Value | Default | |", "|---|---|---|---|"]
        for key, field in model.model_fields.items():
            cells = (f"`{key}`", kind(field.annotation), default(field), field.description or "")
            lines.append(
                "| " + " | ".join(cell.replace("|", "&#124;").replace("\n", " ") for cell in cells) + " |"
            )
        lines.append("")
    return "\n".join(lines)


def command_line() -> str:
    """One page: every command, its arguments and options, in the order of ``--help``."""
    lines = [NOTE, "# Command line", "", "What `--help` says of every command.", ""]
    for words, command in commands(typer.main.get_command(app), ("mulmed",)):
        lines += [f"## {' '.join(words)}", "", " ".join((command.help or "").replace("\b", "").split()), ""]
        rows = []
        for parameter in command.params:
            if parameter.name == "help" or getattr(parameter, "hidden", False):
                continue
            names = ", ".join(f"`{opt}`" for opt in (*parameter.opts, *parameter.secondary_opts))
            if parameter.param_type_name == "argument":
                names = f"`{(parameter.name or '').upper()}`"
            value = parameter.default
            shown = "required" if parameter.required else "" if value in (None, False) else f"`{value}`"
            told = " ".join((getattr(parameter, "help", "") or "").split())
            rows.append(f"| {names} | {shown} | {told.replace('|', '&#124;')} |")
        if rows:
            lines += ["| | Default | |", "|---|---|---|", *rows, ""]
    return "\n".join(lines)


def commands(command: Any, words: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Every command that does something, with its words."""
    group = getattr(command, "commands", None)
    if not group:
        yield words, command
    for name, inner in (group or {}).items():
        yield from commands(inner, (*words, name))


def pages() -> dict[str, str]:
    """Every page by its file's name."""
    return {
        "recipe.md": document(Recipe, "Recipe", "Every key of a recipe file. Unknown keys are refused."),
        "language.md": document(
            Language,
            "Language file",
            "Every key of a file under `languages`; see [another language](../languages.md).",
        ),
        "service.md": document(
            Serving, "Service file", "Every key of the file that `mulmed serve --settings` takes."
        ),
        "cli.md": command_line(),
    }


if __name__ == "__main__":
    for name, text in pages().items():
        (HERE / name).write_text(text, encoding="utf-8")
