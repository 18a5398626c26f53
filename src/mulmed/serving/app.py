"""The web application: the guard, the interface, and whatever pages are hung into it."""

# No postponed annotations here: FastAPI must see the exceptions' types.

from collections.abc import Callable, Iterable

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from starlette.exceptions import HTTPException

from mulmed import __version__
from mulmed.serving.api import make_router
from mulmed.serving.door import Door
from mulmed.serving.errors import ApiError, refusal
from mulmed.serving.keys import Keys, Locked
from mulmed.serving.schema import explained
from mulmed.serving.service import Service
from mulmed.serving.streams import ClientLeft
from mulmed.serving.wordless import Wordless
from mulmed.web.guard import Guard

#: Adds routes, mounts and observers: how a chat page or monitoring joins the service.
Extension = Callable[[FastAPI, Service], None]


def create_app(
    service: Service,
    extensions: Iterable[Extension] = (),
    *,
    hosts: Iterable[str] = (),
    keys: Keys | None = None,
) -> FastAPI:
    """The application over one service.

    Args:
        extensions: called with the application and the service when the interface stands.
        hosts: names it may be called by, besides loopback's.
        keys: without one of them the interface and the metrics answer nobody; None: everybody.
    """
    app = FastAPI(title="MulMed", version=__version__, docs_url=None, redoc_url=None)
    app.add_middleware(Door, service=service)
    if keys is not None:
        app.add_middleware(Locked, keys=keys)
    app.add_middleware(Guard, hosts=tuple(hosts), limit=service.settings.limits.body, written=refusal)
    app.add_middleware(Wordless)

    @app.exception_handler(ApiError)
    def refused(_: Request, error: ApiError) -> Response:
        return JSONResponse(error.body(), error.status, error.headers)

    @app.exception_handler(RequestValidationError)
    def malformed(_: Request, error: RequestValidationError) -> Response:
        message, param = explained(list(error.errors()))
        return JSONResponse(ApiError(400, "invalid_request", message, param=param).body(), 400)

    @app.exception_handler(HTTPException)
    def unknown(_: Request, error: HTTPException) -> Response:
        return JSONResponse(
            ApiError(error.status_code, "http_error", str(error.detail)).body(),
            error.status_code,
            error.headers,
        )

    @app.exception_handler(ClientLeft)
    def left(_: Request, __: ClientLeft) -> Response:
        return Response(status_code=499)  # nobody reads it

    app.include_router(make_router(service))
    for extend in extensions:
        extend(app, service)
    return app
