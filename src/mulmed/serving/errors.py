"""What goes wrong with a request, in the shape OpenAI's clients know."""

from __future__ import annotations

import json
from typing import Any

#: What OpenAI calls the kinds of its errors.
_TYPES = {
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    429: "rate_limit_error",
}


class ApiError(Exception):
    """A request that gets no (whole) answer, and why; no words of the request stand in it.

    Attributes:
        code: for programs: ``queue_full``, ``context_length_exceeded`` ...
        param: the field at fault.
        retry_after: seconds after which it may be tried again.
        notice: the emergency notice, where the safety layer had seen the message before.
    """

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        *,
        param: str | None = None,
        retry_after: int | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.param = param
        self.retry_after = retry_after
        self.notice = ""

    @property
    def headers(self) -> dict[str, str]:
        """What the response says besides."""
        return {} if self.retry_after is None else {"Retry-After": str(self.retry_after)}

    def body(self) -> dict[str, Any]:
        """``{"error": {...}}``."""
        kind = _TYPES.get(self.status, "invalid_request_error" if self.status < 500 else "server_error")
        error = {"message": self.message, "type": kind, "param": self.param, "code": self.code}
        return {"error": error | ({"notice": self.notice} if self.notice else {})}


def refusal(status: int, reason: str) -> tuple[str, bytes]:
    """What :class:`mulmed.web.guard.Guard` refuses, as media type and body."""
    codes = {403: "cross_site", 413: "body_too_large", 421: "unknown_host"}
    return "application/json", json.dumps(ApiError(status, codes[status], reason).body()).encode()
