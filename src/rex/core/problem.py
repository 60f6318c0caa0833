"""Error responses over HTTP (RFC 9457), for any framework."""

from __future__ import annotations

import json
import logging
from typing import TYPE_CHECKING, NamedTuple

from rex.core.error import Error, Kind
from rex.core.log import get_logger

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["STATUSES", "Problem", "make_problem", "problem_of"]

STATUSES = {
    Kind.NOT_FOUND: 404,
    Kind.ILL_FORMED: 400,
    Kind.EXISTS: 409,
    Kind.CONFLICT: 409,
    Kind.BUSY: 423,
    Kind.DENIED: 403,
    Kind.REFUSED: 422,
    Kind.TOO_LARGE: 413,
    Kind.UNSUPPORTED: 422,
    Kind.CONFIGURATION: 503,
    Kind.UNAVAILABLE: 503,
    Kind.ABSENT: 503,
    Kind.EMPTY: 503,
    Kind.CORRUPT: 500,
    Kind.INTERNAL: 500,
}
"""Status of an error response by error kind (RFC 9110, section 15).

`UNSUPPORTED` is 422, not 501: an operation that a storage lacks must not alert the operator.
"""

_TITLES = {
    400: "Bad Request",
    401: "Unauthorized",
    403: "Forbidden",
    404: "Not Found",
    405: "Method Not Allowed",
    408: "Request Timeout",
    409: "Conflict",
    412: "Precondition Failed",
    413: "Content Too Large",
    415: "Unsupported Media Type",
    416: "Range Not Satisfiable",
    421: "Misdirected Request",
    422: "Unprocessable Content",
    423: "Locked",
    460: "Checksum Mismatch",
    500: "Internal Server Error",
    503: "Service Unavailable",
}

_WORDS = {
    Kind.NOT_FOUND: "Not found.",
    Kind.ILL_FORMED: "The request is ill-formed.",
    Kind.EXISTS: "Already exists.",
    Kind.CONFLICT: "The request conflicts with the current state.",
    Kind.BUSY: "Another request is using this resource; try again later.",
    Kind.REFUSED: "The upload is refused.",
    Kind.TOO_LARGE: "The content is too large.",
    Kind.UNSUPPORTED: "The service does not support this.",
    Kind.UNAVAILABLE: "The service is unavailable; try again later.",
    Kind.CORRUPT: "The stored content is damaged.",
}
"""Generic texts for clients, by kind, for errors of the service or of a server behind it."""

log = get_logger("rex.web")


class Problem(NamedTuple):
    """An error response: a problem document (RFC 9457)."""

    status: int
    headers: dict[str, str]
    """The headers, with the Content-Type, without the Content-Length."""
    content: bytes


def make_problem(
    status: int,
    detail: str,
    kind: str,
    headers: Mapping[str, str] | None = None,
    *,
    code: str = "",
) -> Problem:
    """Return a problem document.

    Its `type` is the error code, or the kind if there is no code (docs/reference/errors.md).
    """
    described = {
        "type": code or kind,
        "title": _TITLES.get(status, "Error"),
        "status": status,
        "detail": detail,
        "kind": kind,
    }
    content = json.dumps(described, ensure_ascii=False, separators=(",", ":")).encode()
    sent = {"Cache-Control": "no-store", **(headers or {})}
    return Problem(status, {**sent, "Content-Type": "application/problem+json"}, content)


def problem_of(failure: Exception) -> Problem:
    """Return the response for an exception, without internals of the service; log the rest.

    A client gets the text of an error about its own request. An error of the service, or one with
    a cause behind it, may name a host, a path or a setting: the client gets a generic text and the
    kind, not the code, and the original text goes to the log.
    """
    if not isinstance(failure, Error):
        log.error("unexpected %s", type(failure).__name__, exc_info=failure)
        return make_problem(500, "Internal server error.", Kind.INTERNAL.value)
    status, kind = STATUSES[failure.kind], failure.kind
    is_ours = status >= 500  # noqa: PLR2004 - RFC 9110, section 15.6
    # The words with which an application refuses an upload are for the client.
    is_own = not is_ours and (failure.__cause__ is None or kind is Kind.REFUSED)
    if is_own and kind is not Kind.UNSUPPORTED:
        return make_problem(status, str(failure), kind.value, code=failure.code)
    traceback = failure if kind is Kind.INTERNAL else None
    log.log(logging.ERROR if is_ours else logging.INFO, "%s", failure, exc_info=traceback)
    # The payload, which says what would make it possible, is for the operator.
    words = failure.message if is_own else _WORDS.get(kind, "Internal server error.")
    return make_problem(status, words, kind.value, code=failure.code if is_own else "")
