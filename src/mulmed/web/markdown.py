"""A model's words as HTML that can do nothing: Markdown on the server, sanitised twice.

A model may be led to write anything. So raw HTML stays text, links and images are no syntax at all (their source is shown
as it was written), and what the Markdown library makes goes through an allow-list of tags without attributes. The pages'
content security policy stands behind both.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import nh3
from markdown_it import MarkdownIt
from markdown_it.token import Token

TAGS = frozenset(
    {
        "p",
        "br",
        "hr",
        "em",
        "strong",
        "s",
        "code",
        "pre",
        "blockquote",
        "ul",
        "ol",
        "li",
        "h3",
        "h4",
        "h5",
        "h6",
    }
    | {"table", "thead", "tbody", "tr", "th", "td"}
)
#: Headings start below the page's own.
_DEEPER = {"h1": "h3", "h2": "h4", "h3": "h5", "h4": "h6", "h5": "h6", "h6": "h6"}
#: Characters that turn the direction of what follows, or write over it. Neither language needs them.
_DIRECTION = re.compile("[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")


def render_markdown(text: str) -> tuple[str, ...]:
    """Each top-level block of a text (a paragraph, a list, a table) as HTML of its own.

    The HTML has :data:`TAGS` only, and no attribute but a list's ``start``.
    """
    return tuple(html for _, html in _rendered(text))


@dataclass(frozen=True, slots=True)
class Change:
    """What has changed on a page that shows a text as it grows: the blocks from number ``first`` on."""

    first: int
    blocks: tuple[str, ...]


class LiveMarkdown:
    """A text that comes in pieces. At any time the page shows what :func:`render_markdown` makes of all of it so far.

    Attributes:
        text: all that has come.
    """

    def __init__(self) -> None:
        self.text = ""
        self._settled: tuple[str, ...] = ()  # blocks that nothing to come can change
        self._from = 0  # where in the text they end
        self._shown: tuple[str, ...] = ()

    def feed(self, piece: str) -> None:
        """Take a piece; nothing is rendered yet."""
        self.text += piece

    def change(self) -> Change:
        """What has changed since the last call; of nothing, no block behind the last."""
        rest = self.text[self._from :]
        rendered = _rendered(rest)
        blocks = (*self._settled, *(html for _, html in rendered))
        self._settle(rest, rendered)
        first = next(
            (i for i, (old, new) in enumerate(zip(self._shown, blocks, strict=False)) if old != new),
            min(len(self._shown), len(blocks)),
        )
        self._shown = blocks
        return Change(first, blocks[first:])

    def _settle(self, rest: str, rendered: Sequence[tuple[int, str]]) -> None:
        """What comes can change the last line, and so the last block that began before it; none earlier.

        Of a table the second line makes a beginning, so that one line more must have ended.
        """
        whole = rest.count("\n")
        last = max((i for i, (line, _) in enumerate(rendered) if line < whole - 1), default=0)
        if last > 0:
            self._settled += tuple(html for _, html in rendered[:last])
            self._from += sum(map(len, rest.split("\n")[: rendered[last][0]])) + rendered[last][0]


@functools.cache
def _markdown() -> MarkdownIt:
    markdown = MarkdownIt("commonmark", {"html": False}).enable(["table", "strikethrough"])
    return markdown.disable(["link", "image", "autolink", "reference", "html_block", "html_inline"])


def _rendered(text: str) -> list[tuple[int, str]]:
    """For each top-level block the line it begins on, from 0, and its HTML."""
    markdown = _markdown()
    tokens = markdown.parse(_DIRECTION.sub("", text))
    for token in tokens:
        token.tag = _DEEPER.get(token.tag, token.tag)
    return [
        ((block[0].map or [0])[0], _cleaned(markdown.renderer.render(block, markdown.options, {})))
        for block in _blocks(tokens)
    ]


def _blocks(tokens: Sequence[Token]) -> Iterator[Sequence[Token]]:
    begin = level = 0
    for i, token in enumerate(tokens, 1):
        level += token.nesting
        if level == 0:
            yield tokens[begin:i]
            begin = i


def _cleaned(html: str) -> str:
    return nh3.clean(html, tags=set(TAGS), attributes={"ol": {"start"}}, url_schemes=set(), link_rel=None)
