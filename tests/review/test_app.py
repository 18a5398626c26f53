"""The application as its users' programs see it: a real server, what it shows and what it refuses."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest
from sqlalchemy import select

from mulmed.review import schema
from mulmed.review.access import invite
from mulmed.review.app import HERE
from mulmed.review.audit import verify
from mulmed.review.database import Store, open_store
from mulmed.review.saving import places, read_item
from mulmed.review.study import move
from mulmed.web.guard import HEADERS
from mulmed.web.pages import STATIC
from tests.review.conftest import target_maker
from tests.review.server import Server, links, page_data, serving, sign_in, start
from tests.review.studies import MODELS, make_study, rating


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def served(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Store, Server]]:
    target = target_maker(request.param, request, tmp_path_factory)()
    store = make_study(target, training=True, judge="judge-9")
    with serving(target) as server:
        yield store, server


def put(client: httpx.Client, id: str, given: dict[str, Any], base: int, request: str) -> httpx.Response:
    return client.put(f"/api/ratings/{id}", json={"request": request, "base": base, "rating": given})


# --- blinding -------------------------------------------------------------------------------------------


def crawl(client: httpx.Client) -> dict[str, str]:
    """Every page that can be reached by links, with its headers, and the rating behind each."""
    found: dict[str, str] = {}
    todo = {"/"}
    while todo:
        path = todo.pop()
        if path in found or path.startswith(("/language", "/sign-out")):
            continue
        response = client.get(path)
        assert response.status_code in (200, 303), path
        found[path] = f"{response.headers}\n{response.text}"
        if "html" in response.headers["content-type"]:
            todo |= links(response.text)
        for script in re.findall(r'from "\./([\w.]+)"', response.text):
            todo.add(f"/static/review/{script}")
        if path.startswith("/rate/"):
            api = client.get(path.replace("/rate/", "/api/ratings/"))
            found[f"api {path}"] = f"{api.headers}\n{api.text}"
            data = page_data(response.text)
            todo |= {f"/rate/{data[key]}" for key in ("previous", "next") if data[key]}
    return found


def refusals(client: httpx.Client, store: Store, url: str) -> dict[str, str]:
    """Every kind of page and answer that tells an annotator, or anybody, what cannot be had, with its headers."""
    place = next(p.id for p in places(store, 1) if p.kind == "rating")
    theirs = places(store, 2)[0].id
    put(client, place, rating(2, done=False), 0, "refusals-1")
    responses = {
        "nobody's page": httpx.get(f"{url}/"),
        "nobody's rating": httpx.get(f"{url}/api/ratings/{place}"),
        "used invitation": httpx.get(f"{url}/invitation/nonsense"),
        "another's page": client.get(f"/rate/{theirs}"),
        "another's rating": client.get(f"/api/ratings/{theirs}"),
        "another's place": put(client, theirs, rating(2, 2, 2), 0, "refusals-2"),
        "administration": client.get("/admin"),
        "no page": client.get("/nowhere"),
        "no file": client.get("/static/review/nowhere.js"),
        "no folder": client.get("/static/review/"),
        "no method": client.delete(f"/api/ratings/{place}"),
        "no host": client.get("/", headers={"host": "evil.example"}),
        "another site": client.post("/sign-out", headers={"origin": "https://evil.example"}),
        "too much": client.put(f"/api/ratings/{place}", content=b"x" * 200_000),
        "no JSON": client.put(f"/api/ratings/{place}", content=b"{"),
        "conflict": put(client, place, rating(1, done=False), 0, "refusals-3"),
        "wrong score": put(client, place, rating(9, done=False), 1, "refusals-4"),
        "unfinished": put(client, place, rating(2), 1, "refusals-5"),
    }
    wanted = (401, 401, 410, 404, 404, 404, 404, 404, 404, 404, 405, 421, 403, 413, 422, 409, 422, 422)
    assert [r.status_code for r in responses.values()] == list(wanted)
    # A page may repeat the address that was asked for, here another's place.
    return {
        f"{name}: {r.status_code}": f"{r.headers}\n{r.text}".replace(theirs, "")
        for name, r in responses.items()
    }


def test_nothing_an_annotator_can_fetch_tells_of_models_sources_or_others(
    served: tuple[Store, Server],
) -> None:
    """Pages, scripts, pictures, answers of the interface, refusals, all with their headers."""
    store, server = served
    token = invite(store, 1)
    welcome = httpx.get(f"{server.url}/invitation/{token}")
    client = sign_in(server.url, token)
    for place in places(store, 1):  # past the training, or it would hide the others
        if place.kind == "training":
            put(client, place.id, rating(2, 2, 2), 0, f"crawl-{place.id}")
    found = crawl(client) | refusals(client, store, server.url)
    found["invitation"] = f"{welcome.headers}\n{welcome.text}"
    for name, folder in (("shared", STATIC), ("review", HERE / "static")):
        for file in folder.iterdir():
            response = client.get(f"/static/{name}/{file.name}")
            assert response.status_code == 200
            found[response.url.path] = f"{response.headers}\n{response.text}"
    mine = {p.id for p in places(store, 1)}
    assert {p.removeprefix("/rate/") for p in found if p.startswith("/rate/")} == mine
    assert any(path.endswith("marks.js") for path in found)
    with store.read() as connection:
        row = connection.execute(select(schema.study)).one()
        others = {a.id for a in connection.execute(select(schema.assignments)) if a.annotator_id != 1}
    secret = [
        "mulmed",
        "MulMed",
        *MODELS,
        "source-",
        "Bo",
        "Chen",
        row.rubric_sha256,
        orjson.loads(row.settings)["answers_sha256"],
        "judge-9",
        "weights of",
        'repeat"',
        'position"',
        "seed",
        *others,
    ]
    for path, text in found.items():
        body = text.replace("repeat(", "")
        leaks = [word for word in secret if re.search(rf"(?<![A-Za-z]){re.escape(word)}(?![a-z])", body)]
        assert leaks == [], path
        hashes = re.findall(r"\b(?:[0-9a-f]{40}|[0-9a-f]{64})\b", text)
        assert hashes == [], path


def test_a_repeat_looks_like_any_other(served: tuple[Store, Server]) -> None:
    store, server = served
    client = sign_in(server.url, invite(store, 2))
    mine = places(store, 2)
    for place in mine:
        if place.kind == "training":
            put(client, place.id, rating(2, 2, 2), 0, f"again-{place.id}")
    again = next(p for p in mine if p.kind == "repeat")
    item = read_item(store, 2, again.id)
    assert item is not None
    first = next(
        p
        for p in mine
        if p.kind == "rating" and (read_item(store, 2, p.id) or {})["answer"] == item["answer"]
    )

    def neutral(id: str, position: int) -> str:
        html = client.get(f"/rate/{id}").text
        html = re.sub(r'"(?:previous|next)": "[^"]*"', "", html).replace(id, "ID")
        return re.sub(rf"\b{position}\b", "N", html)

    assert neutral(again.id, again.position) == neutral(first.id, first.position)


def test_the_administrator_sees_progress_and_agreement_but_no_model(served: tuple[Store, Server]) -> None:
    store, server = served
    admin = sign_in(server.url, invite(store, None))
    assert admin.get("/").headers["location"] == "/admin"
    html = admin.get("/admin").text
    assert "Ada" in html
    assert "Krippendorff" in html
    assert not any(model in html for model in MODELS)
    annotator = sign_in(server.url, invite(store, 1))
    assert annotator.get("/admin").status_code == 404
    assert "Krippendorff" not in annotator.get("/admin").text


# --- doors ----------------------------------------------------------------------------------------------


def test_a_link_can_be_looked_at_but_used_only_once(served: tuple[Store, Server]) -> None:
    store, server = served
    token = invite(store, 3)
    for _ in range(2):
        assert "Begin on this device" in httpx.get(f"{server.url}/invitation/{token}").text
    client = sign_in(server.url, token)
    cookie = client.cookies.jar.__iter__().__next__()
    assert cookie.has_nonstandard_attr("HttpOnly")
    assert cookie.get_nonstandard_attr("SameSite") == "lax"
    assert re.fullmatch(r"review_[0-9a-f]{8}", cookie.name)  # another study on this machine has another
    for method in ("GET", "POST"):
        again = httpx.request(method, f"{server.url}/invitation/{token}")
        assert again.status_code == 410
        assert "no longer works" in again.text


def test_without_a_session_there_is_nothing(served: tuple[Store, Server]) -> None:
    store, server = served
    place = places(store, 1)[0]
    assert httpx.get(f"{server.url}/").status_code == 401
    assert httpx.get(f"{server.url}/rate/{place.id}").status_code == 401
    assert httpx.get(f"{server.url}/api/ratings/{place.id}").json() == {"error": "signed_out"}
    for path in (
        "/docs",
        "/openapi.json",
        "/redoc",
        "/static/review/../app.py",
        "/static/shared/../pages.py",
    ):
        assert httpx.get(server.url + path).status_code in (401, 404), path
    other = sign_in(server.url, invite(store, 2))
    assert other.get(f"/rate/{place.id}").status_code == 404
    assert put(other, place.id, rating(2, 2, 2), 0, "not-mine").status_code == 404


def test_every_answer_carries_the_headers_that_keep_the_outside_out(served: tuple[Store, Server]) -> None:
    _, server = served
    for path in ("/", "/static/review/rate.js", "/nowhere"):
        headers = httpx.get(server.url + path).headers
        assert {name: headers[name] for name in HEADERS} == HEADERS
        assert "server" not in headers
    assert "unsafe" not in HEADERS["content-security-policy"]


def test_other_hosts_and_other_sites_are_refused(served: tuple[Store, Server]) -> None:
    store, server = served
    client = sign_in(server.url, invite(store, 1))
    assert client.get("/", headers={"host": "evil.example"}).status_code == 421
    for headers in ({"origin": "https://evil.example"}, {"origin": "null"}, {"sec-fetch-site": "cross-site"}):
        assert client.post("/sign-out", headers=headers).status_code == 403
    assert client.get("/").status_code == 200  # still signed in
    assert client.post("/language/zh?from=//evil.example").headers["location"] == "/"
    assert client.put("/api/ratings/x", content=b"x" * 200_000).status_code == 413


def test_the_page_comes_in_the_language_of_the_browser_or_the_chosen_one(
    served: tuple[Store, Server],
) -> None:
    store, server = served
    client = sign_in(server.url, invite(store, 1))
    assert "All answers" in client.get("/").text
    assert "全部回答" in client.get("/", headers={"accept-language": "zh-CN,en;q=0.5"}).text
    assert client.post("/language/zh?from=/rate/x").headers["location"] == "/rate/x"
    assert "全部回答" in client.get("/", headers={"accept-language": "en"}).text
    assert client.post("/language/xx").status_code == 404


# --- saving ---------------------------------------------------------------------------------------------


def test_what_the_server_says_of_a_rating(served: tuple[Store, Server]) -> None:
    store, server = served
    client = sign_in(server.url, invite(store, 3))
    place = next(p for p in places(store, 3) if p.kind == "rating")
    first = put(client, place.id, rating(2, done=False), 0, "request-1").json()
    assert first["version"] == 1
    assert put(client, place.id, rating(2, done=False), 0, "request-1").json() == first
    conflict = put(client, place.id, rating(1, done=False), 0, "request-2")
    assert conflict.status_code == 409
    assert (conflict.json()["version"], conflict.json()["rating"]) == (1, rating(2, done=False))
    assert put(client, place.id, rating(2, 2), 1, "request-3").status_code == 422
    for broken in (
        {},
        {"request": "x" * 9, "base": "0", "rating": {}},
        {"request": "x" * 9, "base": 0, "rating": []},
    ):
        assert client.put(f"/api/ratings/{place.id}", json=broken).status_code == 422
    done = put(client, place.id, rating(2, 2, 1), 1, "request-4").json()
    assert done["version"] == 2
    assert done["feedback"] is None
    assert done["next"] != place.id


def test_training_shows_its_feedback_only_afterwards_and_once(served: tuple[Store, Server]) -> None:
    store, server = served
    client = sign_in(server.url, invite(store, 3))
    training = [p for p in places(store, 3) if p.kind == "training"]
    before = client.get(f"/rate/{training[0].id}").text
    assert page_data(before)["feedback"] is None
    assert "antibiotics" in before
    assert "urges a medicine" not in before
    last = places(store, 3)[-1]
    assert client.get(f"/rate/{last.id}").headers["location"] == f"/rate/{training[0].id}"
    answer = put(client, training[0].id, rating(0, 0, 1), 0, "training-1").json()
    assert answer["feedback"]["scores"]["information_security"] == 0
    assert "urges a medicine" in answer["feedback"]["text"]
    assert put(client, training[0].id, rating(2, 2, 2), 1, "training-2").status_code == 422


def test_a_locked_study_takes_nothing_more(tmp_path: Path) -> None:
    store = make_study(str(tmp_path / "a.db"), state="draft")
    with serving(store.where) as server:
        client = sign_in(server.url, invite(store, 1))
        place = places(store, 1)[0]
        assert "has not been opened yet" in client.get("/").text
        assert put(client, place.id, rating(2, 2, 2), 0, "too-early").status_code == 423
        move(store, "open")
        assert put(client, place.id, rating(2, 2, 2), 0, "in-time1").status_code == 200
        move(store, "locked")
        assert put(client, place.id, rating(0, 0, 0), 1, "too-late").status_code == 423
        assert "closed" in client.get("/").text
    item = read_item(store, 1, place.id)
    assert item is not None
    assert item["rating"]["scores"]["user_guidance"] == 2


def test_no_acknowledged_score_is_lost_when_the_server_is_killed(new_target: Callable[[], str]) -> None:
    """SIGKILL amid saving (benchmarks/review.py: twenty times); then everything the server said was saved is there."""
    target = new_target()
    store = make_study(target, questions=8)
    mine = list(places(store, 1))
    acknowledged: dict[str, tuple[int, dict[str, Any]]] = {}
    server = start(target)
    client = sign_in(server.url, invite(store, 1))
    for n in range(200):
        place = mine[n % len(mine)]
        base, _ = acknowledged.get(place.id, (0, {}))
        given = rating(n % 3, n // 3 % 3, 2)
        if n == 12:
            threading.Timer(0.004, server.kill).start()
        try:
            response = put(client, place.id, given, base, f"request-{n}")
        except httpx.TransportError:
            break
        assert response.status_code == 200
        acknowledged[place.id] = (response.json()["version"], given)
    else:
        raise AssertionError("the server was not killed")
    server.process.wait(20)
    server = start(target, server.port)
    # What was sent when the server died may have been saved or not; sent again it is saved once.
    retried = put(client, place.id, given, base, f"request-{n}").json()
    assert retried["version"] == base + 1
    acknowledged[place.id] = (base + 1, given)
    server.kill()
    reopened = open_store(target)
    for id, (version, given) in acknowledged.items():
        item = read_item(reopened, 1, id)
        assert item is not None
        assert (item["version"], item["rating"]) == (version, given)
    assert len(acknowledged) > 8
    assert verify(reopened) == []
