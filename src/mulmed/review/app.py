"""The review as a web application: invitation links become sessions, pages for annotators and the administrator."""

# No postponed annotations here: FastAPI must see the dependencies that stand in make_app.

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any

from fastapi import Depends, FastAPI, HTTPException, Request
from fastapi.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from fastapi.staticfiles import StaticFiles
from pydantic import BaseModel, ConfigDict, Field

from mulmed.artifact import hash_bytes
from mulmed.review import monitor
from mulmed.review.access import SESSION_DAYS, begin_session, end_session, invitation_is_open, who
from mulmed.review.database import Store
from mulmed.review.ratings import apart, read_rows
from mulmed.review.rubric import Rubric, text_in
from mulmed.review.saving import Conflict, Place, Refused, judged, places, read_item, save_rating
from mulmed.review.study import Study, read_study
from mulmed.web.guard import Guard
from mulmed.web.pages import LANGUAGES, STATIC, Pages, choose_language

HERE = Path(__file__).parent


class Saving(BaseModel):
    """A rating as the page sends it: what it was made on top of, and an id of this very attempt."""

    model_config = ConfigDict(extra="forbid", strict=True)
    request: str = Field(min_length=8, max_length=64)
    base: int = Field(ge=0)
    rating: dict[str, Any]


class Stop(Exception):
    """A page that cannot be shown, as a response instead."""

    def __init__(self, response: Response) -> None:
        self.response = response


def make_app(store: Store, hosts: Iterable[str] = (), *, secure: bool = False) -> FastAPI:
    """The application over one study.

    Args:
        hosts: names it may be called by, besides loopback's.
        secure: reached through HTTPS, so that cookies must not travel otherwise.
    """
    app = FastAPI(openapi_url=None, docs_url=None, redoc_url=None)
    app.add_middleware(Guard, hosts=tuple(hosts))
    app.mount("/static/shared", StaticFiles(directory=STATIC))
    app.mount("/static/review", StaticFiles(directory=HERE / "static"))
    pages = Pages("mulmed.review", HERE)
    # Browsers share cookies between the ports of a machine, which may serve several studies.
    cookie = f"review_{hash_bytes(read_study(store).created_at.encode())[:8]}"

    @app.exception_handler(Stop)
    def stopped(_: Request, stop: Stop) -> Response:
        return stop.response

    def language_of(request: Request) -> str:
        return choose_language(request.cookies.get("language"), request.headers.get("accept-language", ""))

    def page(request: Request, template: str, status: int = 200, **values: Any) -> HTMLResponse:
        html = pages.render(template, language_of(request), path=request.url.path, **values)
        return HTMLResponse(html, status)

    def message(request: Request, key: str, status: int) -> HTMLResponse:
        return page(request, "message.html.j2", status, key=key)

    def session_of(request: Request) -> tuple[int | None]:
        token = request.cookies.get(cookie)
        found = who(store, token) if token else None
        if found is None:
            if request.url.path.startswith("/api/"):
                raise Stop(JSONResponse({"error": "signed_out"}, 401))
            raise Stop(message(request, "signed_out", 401))
        return found

    def annotator_of(request: Request) -> int:
        (annotator,) = session_of(request)
        if annotator is None:
            raise Stop(RedirectResponse("/admin", 303))
        return annotator

    Who = Annotated[int, Depends(annotator_of)]

    def feedback(study: Study, assignment: str, item: dict[str, Any], language: str) -> dict[str, Any] | None:
        """What is shown beside a finished rating: of a training item the scores it should get and why, or the judge's."""
        if not study.is_final(item["kind"], item["status"]):
            return None
        if training := item["training"]:
            return {"scores": training["scores"], "text": text_in(training["feedback"], language)}
        return {"scores": judged(store, study.settings["judge"], assignment), "text": ""}

    @app.get("/invitation/{token}")
    def show_invitation(request: Request, token: str) -> Response:
        if not invitation_is_open(store, token):
            return message(request, "invitation_used", 410)
        return page(request, "invitation.html.j2", token=token)

    @app.post("/invitation/{token}")
    def use_invitation(request: Request, token: str) -> Response:
        # Opening the link uses nothing up: mail programs look at links before people do.
        session = begin_session(store, token)
        if session is None:
            return message(request, "invitation_used", 410)
        response = RedirectResponse("/", 303)
        response.set_cookie(
            cookie,
            session,
            max_age=SESSION_DAYS * 86400,
            httponly=True,
            samesite="lax",
            secure=secure,
            path="/",
        )
        return response

    @app.post("/sign-out")
    def sign_out(request: Request) -> Response:
        if token := request.cookies.get(cookie):
            end_session(store, token)
        response = RedirectResponse("/", 303)
        response.delete_cookie(cookie)
        return response

    @app.post("/language/{code}")
    def set_language(request: Request, code: str) -> Response:
        if code not in LANGUAGES:
            raise HTTPException(404)
        # The form says which page to go back to: not every browser sends a referrer.
        response = RedirectResponse(_own_path(request.query_params.get("from", "/")), 303)
        response.set_cookie("language", code, max_age=SESSION_DAYS * 86400, samesite="lax", secure=secure)
        return response

    @app.get("/")
    def overview(request: Request, annotator: Who) -> Response:
        study = read_study(store)
        mine = places(store, annotator)
        return page(
            request, "overview.html.j2", state=study.state, places=mine, next=_next(mine), rubric=study.rubric,
            on_unsafe=study.on_unsafe, done=_done(mine), show_judge=study.settings["show_judge"],
        )  # fmt: skip

    @app.get("/rate/{assignment}")
    def rate(request: Request, assignment: str, annotator: Who) -> Response:
        study, language = read_study(store), language_of(request)
        mine = places(store, annotator)
        item = read_item(store, annotator, assignment)
        if item is None:
            return message(request, "unknown_page", 404)
        place = next(p for p in mine if p.id == assignment)
        waiting = _next(mine)
        if waiting and waiting.kind == "training" and place.position > waiting.position:
            return RedirectResponse(f"/rate/{waiting.id}", 303)  # training comes first
        at = mine.index(place)
        data = {
            "id": assignment,
            "open": study.state == "open",
            "axes": _axes(study.rubric, language),
            "on_unsafe": study.on_unsafe,
            "training": place.kind == "training",
            "answer": item["answer"],
            **_state(item),
            "previous": mine[at - 1].id if at else None,
            "next": mine[at + 1].id if at + 1 < len(mine) else None,
            "texts": pages.texts(language, "js_"),
            "feedback": feedback(study, assignment, item, language),
        }
        return page(
            request, "rate.html.j2", data=data, item=item, rubric=study.rubric, place=place, total=len(mine),
            done=_done(mine), training=place.kind == "training", open=study.state == "open",
        )  # fmt: skip

    @app.get("/api/ratings/{assignment}")
    def get_rating(assignment: str, annotator: Who) -> Response:
        item = read_item(store, annotator, assignment)
        return JSONResponse(_state(item)) if item else JSONResponse({"error": "unknown"}, 404)

    @app.put("/api/ratings/{assignment}")
    def put_rating(request: Request, assignment: str, saving: Saving, annotator: Who) -> Response:
        try:
            saved = save_rating(store, annotator, assignment, saving.rating, saving.base, saving.request)
        except Conflict:
            current = read_item(store, annotator, assignment)
            assert current is not None
            return JSONResponse({"error": "conflict", **_state(current)}, 409)
        except Refused as refused:
            status = {"unknown": 404, "closed": 423}.get(refused.reason, 422)
            return JSONResponse({"error": refused.reason}, status)
        answer: dict[str, Any] = {"version": saved.version, "saved_at": saved.saved_at}
        if saving.rating["done"]:
            mine = places(store, annotator)
            following = _next(mine, assignment)
            item = read_item(store, annotator, assignment)
            assert item is not None
            answer |= {
                "next": following.id if following else None,
                "feedback": feedback(read_study(store), assignment, item, language_of(request)),
            }
        return JSONResponse(answer)

    @app.get("/admin")
    def admin(request: Request, session: Annotated[tuple[int | None], Depends(session_of)]) -> Response:
        if session != (None,):
            return message(request, "unknown_page", 404)
        study, rows = read_study(store), read_rows(store)
        return page(
            request, "admin.html.j2", study=study, progress=monitor.progress(rows),
            agreement=monitor.agreement(apart(rows, study.settings["judge"])[0], study.rubric), titles={a.key: a.title for a in study.rubric.axes},
        )  # fmt: skip

    return app


def _own_path(path: str) -> str:
    """A path of this application, or its start: never another site."""
    return path if path.startswith("/") and not path.startswith(("//", "/\\")) else "/"


def _next(mine: list[Place], after: str | None = None) -> Place | None:
    """The first unfinished place behind ``after``, else the first of all."""
    at = next((i + 1 for i, p in enumerate(mine) if p.id == after), 0)
    return next((p for p in mine[at:] + mine[:at] if p.status in ("open", "draft")), None)


def _done(mine: list[Place]) -> int:
    return sum(p.status in ("done", "skipped") for p in mine)


def _state(item: dict[str, Any]) -> dict[str, Any]:
    """What a page may know of a rating. Whether the answer comes a second time is not in it."""
    return {key: item[key] for key in ("version", "status", "rating", "saved_at")}


def _axes(rubric: Rubric, language: str) -> list[dict[str, Any]]:
    return [
        {"key": a.key, "title": text_in(a.title, language), "values": list(a.values), "gate": a.gate}
        for a in rubric.axes
    ]
