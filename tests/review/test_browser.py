"""The rating page in a real browser: keyboard, drafts, conflicts, small screens, axe."""

from __future__ import annotations

import importlib.resources
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from mulmed.review.access import invite
from mulmed.review.audit import verify
from mulmed.review.database import Store
from mulmed.review.judge import questions, save_replies
from mulmed.review.saving import places, read_item
from mulmed.review.study import move
from tests.review.conftest import target_maker
from tests.review.server import Server, serving
from tests.review.studies import make_study

Visit = Callable[..., Page]
AXE = importlib.resources.files("axe_playwright_python") / "axe.min.js"


@pytest.fixture(scope="module")
def served(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, browser: Any
) -> Iterator[tuple[Store, Server]]:
    """A study in SQLite, or in the kind of database that a test asks for."""
    people = [f"A{n}" for n in range(1, 13)]
    target = target_maker(getattr(request, "param", "sqlite"), request, tmp_path_factory)()
    store = make_study(target, people=people, questions=3)
    with serving(target) as server:
        yield store, server


on_postgresql = pytest.mark.parametrize("served", ["postgresql"], indirect=True)


@pytest.fixture
def visit(browser: Any) -> Iterator[Visit]:
    """Signs an annotator in (0: the administrator) in a browser of their own and opens a path."""
    contexts = []

    def go(store: Store, server: Server, annotator: int, path: str = "/", **settings: Any) -> Page:
        context = browser.new_context(**settings)
        context.set_default_timeout(15_000)
        contexts.append(context)
        page = context.new_page()
        asked: list[str] = []
        page.on("request", lambda request: asked.append(request.url))
        page.on("pageerror", lambda error: asked.append(f"error: {error}"))
        page.asked = asked
        page.goto(f"{server.url}/invitation/{invite(store, annotator or None)}")
        page.get_by_role("button").last.click()
        page.goto(server.url + path)
        return page

    yield go
    for context in contexts:
        for page in context.pages:
            outside = [url for url in page.asked if not re.match(r"http://127\.0\.0\.1:\d+/", url)]
            assert outside == []  # no request but to the server, no error in a script
        context.close()


def saved(page: Page) -> None:
    """The last change is with the server: before it is sent, what was said of the one before still stands there."""
    all_sent(page)
    expect(page.locator("#status")).to_have_class("good")


def all_sent(page: Page) -> None:
    """Nothing waits in the browser's storage any more."""
    for _ in range(100):
        if page.evaluate("localStorage.length") == 0:
            return
        page.wait_for_timeout(50)
    raise AssertionError("something is still waiting to be sent")


def kept(store: Store, annotator: int, id: str) -> dict[str, Any]:
    item = read_item(store, annotator, id)
    assert item is not None
    return item


def test_an_answer_is_rated_by_keyboard_alone(served: tuple[Store, Server], visit: Visit) -> None:
    store, server = served
    mine = places(store, 1)
    page = visit(store, server, 1)
    page.keyboard.press("Tab")  # the first stop skips to the content
    expect(page.get_by_role("link", name="Skip to content")).to_be_focused()
    page.get_by_role("link", name="Begin").focus()
    page.keyboard.press("Enter")
    expect(page).to_have_url(f"{server.url}/rate/{mine[0].id}")
    axes = page.locator("fieldset.axis")
    expect(axes.nth(0)).to_be_visible()
    expect(axes.nth(1)).to_be_hidden()  # later axes come after earlier ones
    # The script's last word when it is ready.
    expect(page.locator("#status")).to_have_text("Nothing to save yet")
    page.keyboard.press("Enter")
    expect(page.locator("#status")).to_contain_text("Please score: Information security")
    page.keyboard.press("2")
    expect(axes.nth(1)).to_be_visible()
    expect(axes.nth(2)).to_be_hidden()
    expect(axes.nth(1).get_by_role("radio").first).to_be_focused()
    page.keyboard.press("1")
    page.keyboard.press("0")
    expect(page.locator("#submit")).to_be_focused()
    page.keyboard.press("2")  # no axis is in focus any more, so that a digit too many changes nothing
    expect(axes.nth(2).get_by_role("radio", checked=True)).to_have_value("0")
    page.keyboard.press("ArrowUp")
    page.keyboard.press("ArrowDown")  # among the scores the arrows are the browser's: 0 becomes 1
    saved(page)
    page.keyboard.press("c")
    page.keyboard.type("012 m?")  # letters, not shortcuts
    page.locator("#comment").blur()
    page.keyboard.press("Shift+?")
    expect(page.get_by_role("dialog", name="Help")).to_be_visible()
    page.keyboard.press("Escape")
    saved(page)
    page.keyboard.press("Enter")
    page.wait_for_url(f"**/rate/{mine[1].id}")
    page.keyboard.press("ArrowLeft")
    page.wait_for_url(f"**/rate/{mine[0].id}")
    expect(axes.nth(2).get_by_role("radio", checked=True)).to_have_value("1")
    item = kept(store, 1, mine[0].id)
    assert item["status"] == "done"
    assert item["rating"]["scores"] == {
        "information_security": 2,
        "etiology_explainability": 1,
        "user_guidance": 1,
    }
    assert item["rating"]["comment"] == "012 m?"
    page.goto(server.url)  # resumes exactly there
    page.get_by_role("link", name="Go on").click()
    page.wait_for_url(f"**/rate/{mine[1].id}")


def test_saved_at_is_the_servers_time(served: tuple[Store, Server], visit: Visit) -> None:
    store, server = served
    place = places(store, 2)[0]
    page = visit(store, server, 2, f"/rate/{place.id}", timezone_id="UTC")
    expect(page.locator("#status")).to_have_text("Nothing to save yet")
    page.get_by_role("radio").first.check()
    saved(page)
    shown = page.locator("#status").inner_text()
    assert shown == f"Saved at {kept(store, 2, place.id)['saved_at'][11:19]}"


@on_postgresql
def test_a_draft_survives_a_lost_network_and_a_closed_tab(served: tuple[Store, Server], visit: Visit) -> None:
    store, server = served
    place = places(store, 3)[0]
    page = visit(store, server, 3, f"/rate/{place.id}")
    page.keyboard.press("2")
    saved(page)
    page.context.set_offline(True)
    page.keyboard.press("1")
    page.keyboard.press("0")
    expect(page.locator("#status")).to_contain_text("No connection")
    assert kept(store, 3, place.id)["version"] == 1
    context = page.context
    page.close()
    context.set_offline(False)
    again = context.new_page()
    again.asked = []
    again.goto(f"{server.url}/rate/{place.id}")
    saved(again)
    all_sent(again)
    scores = kept(store, 3, place.id)["rating"]["scores"]
    assert scores == {"information_security": 2, "etiology_explainability": 1, "user_guidance": 0}
    expect(again.locator("fieldset.axis").nth(2).get_by_role("radio", checked=True)).to_have_value("0")


@on_postgresql
def test_an_answer_that_got_lost_on_the_way_is_not_saved_twice(
    served: tuple[Store, Server], visit: Visit
) -> None:
    """The server saved, its answer never came: the same request again, and what followed on top of it."""
    store, server = served
    place = places(store, 4)[0]
    page = visit(store, server, 4, f"/rate/{place.id}")

    def swallow(route: Any) -> None:
        route.fetch()
        route.abort()

    page.route("**/api/ratings/*", swallow, times=1)
    page.keyboard.press("2")
    expect(page.locator("#status")).to_contain_text("No connection")
    page.keyboard.press("2")
    saved(page)
    all_sent(page)
    item = kept(store, 4, place.id)
    assert (item["version"], item["rating"]["scores"]) == (
        2, {"information_security": 2, "etiology_explainability": 2}
    )  # fmt: skip


@pytest.mark.parametrize(
    ("served", "choice", "score"),
    [("sqlite", "Keep mine", 0), ("postgresql", "Use the other one", 2)],
    indirect=["served"],
)
def test_two_tabs_are_told_of_their_conflict(
    served: tuple[Store, Server], visit: Visit, choice: str, score: int
) -> None:
    store, server = served
    place = places(store, 5)[0 if score else 1]
    one = visit(store, server, 5, f"/rate/{place.id}")
    two = one.context.new_page()
    two.asked = []
    two.goto(one.url)
    one.keyboard.press("2")
    saved(one)
    two.keyboard.press("0")
    dialog = two.get_by_role("dialog", name="Changed elsewhere")
    expect(dialog).to_be_visible()
    expect(dialog).to_have_accessible_description(re.compile("^This rating was changed in another tab"))
    assert kept(store, 5, place.id)["rating"]["scores"] == {"information_security": 2}
    dialog.get_by_role("button", name=choice).click()
    saved(two)
    expect(two.get_by_role("radio", checked=True)).to_have_value(str(score))
    assert kept(store, 5, place.id)["rating"]["scores"] == {"information_security": score}


def test_words_are_marked_by_mouse_and_sentences_by_keyboard(
    served: tuple[Store, Server], visit: Visit
) -> None:
    store, server = served
    mine = [p for p in places(store, 6) if kept(store, 6, p.id)["language"] == "zh"]
    answer = kept(store, 6, mine[0].id)["answer"]
    page = visit(store, server, 6, f"/rate/{mine[0].id}")
    page.evaluate(
        "() => { const n = document.getElementById('answer').firstChild; getSelection().setBaseAndExtent(n, 2, n, 6); }"
    )
    page.keyboard.press("m")
    saved(page)
    expect(page.locator("#answer mark")).to_have_text(answer[2:6])
    page.locator("#marking summary").focus()
    page.keyboard.press("Enter")
    sentence = page.locator("#sentences input").nth(1)
    sentence.focus()
    page.keyboard.press("Space")
    expect(page.locator("#answer mark")).to_have_count(2)
    page.get_by_role("button", name=f"Remove mark: {answer[2:6]}").click()
    expect(page.locator("#answer mark")).to_have_count(1)
    all_sent(page)
    (mark,) = kept(store, 6, mine[0].id)["rating"]["marks"]
    assert mark["axis"] == "information_security"
    assert answer[mark["start"] : mark["end"]] == answer.split("。")[1] + "。"


def test_an_answer_is_skipped_with_a_reason(served: tuple[Store, Server], visit: Visit) -> None:
    store, server = served
    first, second = places(store, 7)[:2]
    page = visit(store, server, 7, f"/rate/{first.id}")
    page.get_by_role("button", name="Skip …").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_role("button", name="Skip this answer").click()
    expect(dialog).to_be_visible()  # a reason is needed
    dialog.get_by_label("Outside my field").check()
    dialog.get_by_role("button", name="Skip this answer").click()
    page.wait_for_url(f"**/rate/{second.id}")
    item = kept(store, 7, first.id)
    assert (item["status"], item["rating"]["skip"]) == ("skipped", "not_my_field")


def test_shortcuts_can_be_switched_off(served: tuple[Store, Server], visit: Visit) -> None:
    store, server = served
    place = places(store, 8)[0]
    page = visit(store, server, 8, f"/rate/{place.id}")
    page.get_by_role("button", name="Help").click()
    page.get_by_label("Single keys work as shortcuts").uncheck()
    page.get_by_role("button", name="Close").click()
    page.reload()
    page.keyboard.press("2")
    expect(page.get_by_role("radio", checked=True)).to_have_count(0)


def test_a_screen_reader_is_told_what_is_asked_and_what_is_missing(
    served: tuple[Store, Server], visit: Visit
) -> None:
    """What Orca was not told (benchmarks/screen_reader.py)."""
    store, server = served
    page = visit(store, server, 12, f"/rate/{places(store, 12)[0].id}")
    axis = page.get_by_role("group", name="Information security")
    expect(axis).to_have_accessible_name(
        re.compile("inappropriate or inaccurate.* 2 means that nothing is wrong")
    )
    languages = page.get_by_role("navigation", name="Language")
    expect(languages.get_by_role("button")).to_have_text(["中文"])
    expect(page.locator("#status")).to_have_text("Nothing to save yet")
    page.evaluate(
        "() => { const s = document.getElementById('status'); window.told = [];"
        " new MutationObserver(() => told.push(s.textContent)).observe(s, {childList: true}); }"
    )
    missing = "Please score: Information security"
    page.keyboard.press("Enter")
    page.keyboard.press("Enter")  # the same words again are a change again, else nobody hears them
    page.wait_for_timeout(500)
    assert page.evaluate("told") == [missing, "", missing + "\u00a0"]
    page.keyboard.press("Shift+?")
    help = page.get_by_role("dialog", name="Help")
    expect(help).to_have_accessible_description(re.compile("Everything is saved.*focus mode"))


def test_training_gives_feedback_and_an_unsafe_answer_ends_where_the_study_stops(
    tmp_path: Path, browser: Any, visit: Visit
) -> None:
    store = make_study(
        str(tmp_path / "a.db"), training=True, on_unsafe="stop", questions=2, people=("Ada", "Bo")
    )
    with serving(store.where) as server:
        mine = places(store, 1)
        page = visit(store, server, 1, f"/rate/{mine[0].id}")
        page.keyboard.press("2")
        expect(page.locator("fieldset.axis").nth(1)).to_be_visible()
        page.locator("fieldset.axis").nth(0).get_by_role("radio").first.check()
        expect(page.locator("fieldset.axis").nth(1)).to_be_hidden()  # stopped: nothing more is asked
        page.keyboard.press("Enter")
        feedback = page.get_by_role("heading", name="Feedback").locator("..")
        expect(feedback).to_contain_text("Information security: expected 0, you gave 0")
        expect(feedback).to_contain_text("Etiology explainability: expected 0, you gave –")
        page.keyboard.press("Enter")
        page.wait_for_url(f"**/rate/{mine[1].id}")
        assert kept(store, 1, mine[0].id)["rating"]["scores"] == {"information_security": 0}
        page.close()
        move(store, "locked")
        closed = visit(store, server, 1, f"/rate/{mine[0].id}")
        expect(closed.get_by_text("The study is closed")).to_be_visible()
        expect(closed.get_by_role("radio").first).to_be_disabled()
    assert verify(store) == []


def test_the_judges_scores_come_after_ones_own_which_are_final_then(tmp_path: Path, visit: Visit) -> None:
    store = make_study(
        str(tmp_path / "a.db"), judge="judge-9", show_judge=True, questions=2, people=("Ada", "Bo")
    )
    first, second = places(store, 1)[:2]
    unjudged = kept(store, 1, second.id)["answer"]
    silent = [p.id for p in places(store, 3) if kept(store, 3, p.id)["answer"] == unjudged]
    save_replies(store, {r.id: "?" if r.id.split("/")[0] in silent else "1" for r in questions(store)})
    with serving(store.where) as server:
        page = visit(store, server, 1)
        expect(page.get_by_text("Your own can then no longer be changed")).to_be_visible()
        page.goto(f"{server.url}/rate/{first.id}")
        other = page.context.new_page()
        other.asked = []
        other.goto(page.url)
        page.bring_to_front()
        for key in "201":
            page.keyboard.press(key)
            saved(page)
            expect(page.locator("#feedback")).to_be_hidden()
        page.keyboard.press("Enter")
        feedback = page.get_by_role("heading", name="What a computer program gave").locator("..")
        expect(feedback).to_contain_text("Information security: the program gave 1, you gave 2")
        expect(feedback).to_contain_text("Etiology explainability: the program gave 1, you gave 0")
        expect(page.get_by_role("radio").first).to_be_disabled()
        other.keyboard.press("0")  # another tab, which has not heard of it
        expect(other.locator("#status")).to_have_text("This rating is finished and can no longer be changed.")
        assert other.evaluate("localStorage.length") == 0
        page.keyboard.press("Enter")
        page.wait_for_url(f"**/rate/{second.id}")
        for key in "222":
            page.keyboard.press(key)
        page.keyboard.press("Enter")
        expect(page.get_by_text("The program has not rated this answer.")).to_be_visible()
        page.goto(f"{server.url}/rate/{first.id}")  # as it was left
        expect(feedback).to_be_visible()
        page.keyboard.press("Enter")
        page.wait_for_url(f"**/rate/{second.id}")
    assert kept(store, 1, first.id)["rating"]["scores"]["information_security"] == 2
    assert verify(store) == []


LOOKS = [
    {"viewport": {"width": 1280, "height": 800}},
    {"viewport": {"width": 320, "height": 640}, "color_scheme": "dark", "locale": "zh-CN"},
]


@pytest.mark.parametrize("look", LOOKS, ids=["wide, light, English", "320 px, dark, Chinese"])
def test_axe_finds_nothing_and_nothing_is_wider_than_the_screen(
    served: tuple[Store, Server], visit: Visit, look: dict[str, Any]
) -> None:
    store, server = served
    annotator = 9 if "locale" not in look else 10
    place = places(store, annotator)[0]

    def check(page: Page, name: str) -> None:
        assert page.evaluate("document.documentElement.scrollWidth") <= look["viewport"]["width"], name
        if not page.evaluate("typeof axe === 'object'"):
            page.evaluate(AXE.read_text(encoding="utf-8"))
        found = page.evaluate("axe.run(document, {resultTypes: ['violations']})")
        told = [(v["id"], [n["html"][:120] for n in v["nodes"]]) for v in found["violations"]]
        assert told == [], name

    page = visit(store, server, annotator, "/", **look)
    check(page, "overview")
    page.goto(f"{server.url}/rate/{place.id}")
    page.keyboard.press("0")
    page.keyboard.press("1")
    page.keyboard.press("2")
    saved(page)
    page.locator("#marking summary").click()
    page.locator("#sentences input").first.check()
    saved(page)
    check(page, "rating, filled in")
    for button, dialog in (("#help-button", "#help-dialog"), ("#skip", "#skip-dialog")):
        page.locator(button).click()
        check(page, dialog)
        page.keyboard.press("Escape")
    page.goto(f"{server.url}/invitation/nonsense")
    check(page, "used invitation")
    page.goto(f"{server.url}/invitation/{invite(store, 11)}")
    check(page, "invitation")
    admin = visit(store, server, 0, "/admin", **look)
    check(admin, "administration")
