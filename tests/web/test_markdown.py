"""A model's words as HTML: what may be shown is, what could do anything is text."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mulmed.web.markdown import TAGS, LiveMarkdown, render_markdown
from tests.web.payloads import PAYLOADS


class Elements(HTMLParser):
    """All tags and attributes of a piece of HTML, as a parser sees them."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.found: list[tuple[str, tuple[tuple[str, str | None], ...]]] = []
        self.words: list[str] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, tuple(attrs)))

    def handle_comment(self, data: str) -> None:
        self.found.append(("!--", ()))

    def handle_data(self, data: str) -> None:
        self.words.append(data)


def harmless(html: str) -> None:
    for tag, attributes in Elements(html).found:
        assert tag in TAGS, tag
        assert all(tag == "ol" and name == "start" and (value or "").isdigit() for name, value in attributes)


@pytest.mark.parametrize("payload", PAYLOADS)
def test_no_payload_becomes_an_element_or_attribute(payload: str) -> None:
    for text in (
        payload,
        f"- {payload}",
        f"> {payload}",
        f"a {payload} b",
        f"|{payload}|b|\n|-|-|\n|{payload}|c|",
    ):
        harmless("".join(render_markdown(text)))


@given(st.text(alphabet="<>&\"'`*_[]()!#|-\n \t:/;aZ0=\\\u202e\x00", max_size=120))
def test_nothing_anyone_can_write_becomes_an_element_or_attribute(text: str) -> None:
    harmless("".join(render_markdown(text)))


def test_what_doctors_write_is_laid_out() -> None:
    text = (
        "# Advice\n\nDrink **enough**, _rest_ and ~~do not~~ wait.\n\n3. one\n4. two\n\n"
        "| sign | what to do |\n|---|:-:|\n| fever | rest |\n\n```\n38.5 < 39\n```\n---\n> take care"
    )
    assert render_markdown(text) == (
        "<h3>Advice</h3>\n",
        "<p>Drink <strong>enough</strong>, <em>rest</em> and <s>do not</s> wait.</p>\n",
        '<ol start="3">\n<li>one</li>\n<li>two</li>\n</ol>\n',
        "<table>\n<thead>\n<tr>\n<th>sign</th>\n<th>what to do</th>\n</tr>\n</thead>\n"
        "<tbody>\n<tr>\n<td>fever</td>\n<td>rest</td>\n</tr>\n</tbody>\n</table>\n",
        "<pre><code>38.5 &lt; 39\n</code></pre>\n",
        "<hr>\n",
        "<blockquote>\n<p>take care</p>\n</blockquote>\n",
    )
    assert render_markdown("") == ()


def test_links_and_images_are_shown_as_they_were_written() -> None:
    text = "[here](https://x.example) ![p](https://x.example/p.png) <https://x.example> [r]\n\n[r]: https://x.example"
    html = "".join(render_markdown(text))
    assert "".join(Elements(html).words).split() == text.split()
    harmless(html)


def test_headings_stay_below_the_pages_own() -> None:
    html = "".join(render_markdown("\n\n".join(f"{'#' * n} {n}" for n in range(1, 7)) + "\n\nA\n=\n\nB\n-"))
    assert re.findall(r"<(h\d)>(.)", html) == [
        ("h3", "1"), ("h4", "2"), ("h5", "3"), ("h6", "4"), ("h6", "5"), ("h6", "6"), ("h3", "A"), ("h4", "B"),
    ]  # fmt: skip


def test_no_character_turns_the_direction_of_what_follows() -> None:
    (html,) = render_markdown("take 5\u202e05\u202c mg \u2066now\u2069")
    assert html == "<p>take 505 mg now</p>\n"


@given(
    st.lists(
        st.sampled_from(
            [
                "# a",
                "\n",
                "\n\n",
                "- b",
                "**c",
                "**",
                "```",
                "|a|b|\n|-|-|",
                "\n|1|",
                "1. d",
                "  ",
                "e",
                "> f",
                "===",
            ]
        ),
        max_size=14,
    )
)
def test_a_page_that_follows_the_changes_shows_the_whole_at_any_time(pieces: list[str]) -> None:
    live, shown = LiveMarkdown(), []
    for piece in pieces:
        live.feed(piece)
        for _ in range(2):  # the second time nothing has changed, and nothing is lost
            change = live.change()
            shown = [*shown[: change.first], *change.blocks]
            assert tuple(shown) == render_markdown(live.text)
        assert change.blocks == ()


def test_a_table_that_turns_out_to_be_none_goes_back_into_its_paragraph() -> None:
    live, shown = LiveMarkdown(), []
    for piece in ("c\n", "|a|b|\n", "|-|-|", "# a"):
        live.feed(piece)
        change = live.change()
        shown = [*shown[: change.first], *change.blocks]
    assert shown == ["<p>c\n|a|b|\n|-|-|# a</p>\n"]


def test_finished_blocks_are_not_sent_again() -> None:
    live = LiveMarkdown()
    live.feed("one\n\ntwo")
    live.change()
    live.feed(" and more")
    change = live.change()
    assert (change.first, change.blocks) == (1, ("<p>two and more</p>\n",))


@pytest.mark.parametrize(
    "piece", ["*", "[", ">", "- ", "`", "|a", "**a ", "_a*", "\n\n- a", "~~", "&#", "<a ", "\\"]
)
def test_no_repetition_takes_long(piece: str) -> None:
    import time

    text = piece * (12_000 // len(piece))
    before = time.process_time()
    harmless("".join(render_markdown(text)))
    assert time.process_time() - before < 2
