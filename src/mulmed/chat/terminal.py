"""The chat in a terminal: the same service, the same safety layer, the same order of what is shown."""

from __future__ import annotations

import asyncio
import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, cast, get_args

from rich.console import Console
from rich.panel import Panel
from rich.text import Text

from mulmed import safety
from mulmed.corpus.record import Turn
from mulmed.serving.errors import ApiError
from mulmed.serving.exchange import Ask, Exchange
from mulmed.serving.service import Service
from mulmed.web.pages import Pages

Language = Literal["en", "zh"]
Task = Literal["qa", "dialogue", "summary"]
TASKS: tuple[Task, ...] = get_args(Task)
#: A line of these begins a text of several lines, and ends it.
QUOTES = '"""'
#: A terminal obeys control characters, and some turn the direction of what follows. A model may write either.
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")


@dataclass
class Talk:
    """A conversation, kept in memory only.

    Attributes:
        language: of the interface.
        own: whether the user chose it, so that the safety layer speaks it too; else it goes by the message.
        said: task, question and answer of every exchange so far.
    """

    service: Service
    console: Console
    language: Language
    task: Task = "qa"
    own: bool = False
    said: list[tuple[Task, str, str]] = field(default_factory=list)
    pages: Pages = field(default_factory=lambda: Pages("mulmed.chat", Path(__file__).parent))

    def tell(self, key: str, **values: object) -> None:
        """A line of the program's own."""
        self.console.print(Text(self.pages.text(self.language, f"cli_{key}", **values)), style="dim")


def talk(service: Service, language: Language, task: Task, lines: Iterator[str], console: Console) -> None:
    """Talk until ``/quit`` or the end of the lines. Ctrl-C stops the answer that is being written.

    Args:
        lines: what the user types, without line ends.
        console: where everything is shown.
    """
    now = Talk(service, console, language, task)
    now.tell("begin", model=service.model.name, engine=service.engine.name)
    if not service.model.trained:
        console.print(Text(now.pages.text(language, "untrained")), style="yellow")
    with asyncio.Runner() as runner:
        for line in lines:
            text = _several(lines) if line.strip() == QUOTES else line
            if not text.strip():
                continue
            if text.startswith("/"):
                if not _command(now, text.split(), runner):
                    return
                continue
            _exchange(now, text, runner)


def typed(prompt: Callable[[], str]) -> Iterator[str]:
    """Lines as a user types them; Ctrl-C at the prompt ends the conversation as the end of the input does."""
    while True:
        try:
            yield input(prompt() if sys.stdin.isatty() else "")
        except (EOFError, KeyboardInterrupt):
            return


def _several(lines: Iterator[str]) -> str:
    found = []
    for line in lines:
        if line.strip() == QUOTES:
            break
        found.append(line)
    return "\n".join(found)


# --- commands ----------------------------------------------------------------------------------------


def _command(now: Talk, words: list[str], runner: asyncio.Runner) -> bool:
    """Do what a line beginning with a slash says; False where it ends the conversation."""
    name, rest = words[0], words[1:]
    if name == "/quit" and not rest:
        return False
    if name == "/task" and len(rest) == 1 and rest[0] in TASKS:
        now.task = rest[0]
        now.tell("task", task=now.pages.text(now.language, f"task_{now.task}"))
    elif name == "/language" and rest in (["en"], ["zh"]):
        now.language, now.own = cast(Language, rest[0]), True
        now.tell("language")
    elif name == "/new" and not rest:
        now.said.clear()
        now.tell("new")
    elif name == "/retry" and not rest and now.said:
        now.task, question, _ = now.said.pop()
        _exchange(now, question, runner)
    elif name == "/masked" and not rest and now.said:
        texts = _texts(now.said[-1][0], now.said[:-1], now.said[-1][1])
        _plain(now.console, safety.mask(texts).texts[-1] + "\n")
    else:
        now.tell("help", quotes=QUOTES)
    return True


# --- one message, one answer -------------------------------------------------------------------------


def _exchange(now: Talk, question: str, runner: asyncio.Runner) -> None:
    texts = _texts(now.task, now.said, question)
    turns = tuple(Turn("assistant" if i % 2 else "user", text) for i, text in enumerate(texts))
    decoding = now.service.settings.decoding
    ask = Ask("terminal", now.task, turns, decoding, language=now.language if now.own else None)
    shown: list[str] = []
    try:
        runner.run(_answer(now, ask, shown))
    except KeyboardInterrupt:
        now.console.print()
        now.tell("stopped")
    except ApiError as error:
        if shown:
            now.console.print()
        elif error.notice:
            _notice(now, error.notice)
        now.tell("error", message=error.message)
    now.said.append((now.task, question, "".join(shown)))


def _texts(task: Task, said: list[tuple[Task, str, str]], question: str) -> list[str]:
    """What is sent: in a dialogue the earlier questions and answers, else the question alone."""
    earlier = [text for kind, *both in said if kind != "summary" and both[1].strip() for text in both]
    return [*earlier, question] if task == "dialogue" else [question]


async def _answer(now: Talk, ask: Ask, shown: list[str]) -> None:
    exchange = await now.service.begin(ask)
    if exchange.notice:
        _notice(now, exchange.notice)

    async def show(_: int, text: str) -> None:
        shown.append(text)
        _plain(now.console, text)

    (choice,) = await now.service.run(exchange, show)
    now.console.print()
    if not choice.text:
        now.tell("empty")
    elif choice.finish == "length":
        now.tell("cut")
    _below(now.console, exchange)
    if exchange.masked:
        now.tell("masked", count=sum(exchange.masked.values()))


def _notice(now: Talk, notice: str) -> None:
    title = now.pages.text(now.language, "js_emergency")
    now.console.print(Panel(Text(notice), title=title, style="bold red", title_align="left"))


def _below(console: Console, exchange: Exchange) -> None:
    console.print(Text(f"— {exchange.label}"), style="bold")
    console.print(Text(exchange.disclaimer), style="dim")
    console.print()


def _plain(console: Console, text: str) -> None:
    console.file.write(_CONTROL.sub("", text))
    console.file.flush()
