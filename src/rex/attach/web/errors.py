"""Error responses."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING

from starlette.exceptions import HTTPException

from rex.attach.http.body_headers import ENCODED
from rex.attach.web.access import NOT_ALLOWED, OTHER_HOST
from rex.attach.web.body import STOPPED_SENDING, WENT_AWAY
from rex.core import Error, Kind
from rex.core.log import get_logger
from rex.core.web import answer_error, problem

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from rex.attach.web.access import Access

__all__ = ["answer_failure", "is_denied_to_us"]

log = get_logger("rex.attach")

_CLOSE = {"Connection": "close"}

_ANSWERS: dict[str, tuple[int, str | None, str, dict[str, str]]] = {
    # RFC 9110, section 15.5.20.
    OTHER_HOST: (421, None, Kind.DENIED.value, {}),
    # The client's fault, not the storage's (RFC 9110, section 15.5.9).
    STOPPED_SENDING: (408, "The client stopped sending", Kind.UNAVAILABLE.value, _CLOSE),
    # RFC 9110, sections 12.5.3 and 15.5.16.
    ENCODED: (415, None, "unsupported-media-type", {"Accept-Encoding": "identity"}),
    # A server reports a malformed body as a disconnected client. Only a client that is still
    # connected reads this (RFC 9112, sections 7.1 and 8).
    WENT_AWAY: (400, "The body is incomplete or malformed.", Kind.ILL_FORMED.value, _CLOSE),
}
"""Status, detail (None: the text of the error), kind and headers, by error code."""


async def answer_failure(request: Request, failure: Exception, access: Access) -> Response:
    """Return the problem document of an exception, as far as it concerns the client.

    The traceback is cleared: it would keep the request, and the connection of an incomplete
    request, alive until the next garbage collection.
    """
    try:
        return await _answer(request, failure, access)
    finally:
        forgetful: BaseException | None = failure
        while forgetful is not None:
            forgetful.__traceback__ = None
            forgetful = forgetful.__context__


def is_denied_to_us(failure: Exception) -> bool:
    """Check whether the storage denied access to the service, not the service to the client.

    An error that a storage raises has a cause; an error that refuses the client does not.
    """
    is_denied = isinstance(failure, Error) and failure.kind is Kind.DENIED
    return is_denied and failure.__cause__ is not None


async def _answer(request: Request, failure: Exception, access: Access) -> Response:
    if is_denied_to_us(failure):
        log.error("%s", failure)
        return problem(503, "The storage denied access to the service.", Kind.UNAVAILABLE.value)
    code = failure.code if isinstance(failure, Error) else ""
    if code == NOT_ALLOWED and access.challenge:
        headers = {"WWW-Authenticate": access.challenge}
        return problem(401, "An access key is required.", Kind.DENIED.value, headers, code=code)
    if isinstance(failure, HTTPException):  # raised by a function of the application
        return _answer_host(failure)
    if code in _ANSWERS:
        status, detail, kind, headers = _ANSWERS[code]
        return problem(status, detail or str(failure), kind, headers, code=code)
    return await answer_error(request, failure)


def _answer_host(failure: HTTPException) -> Response:
    """Return the response to an exception of the application, as its other routes would."""
    status = failure.status_code
    kind = Kind.UNAVAILABLE if status >= HTTPStatus.INTERNAL_SERVER_ERROR else Kind.DENIED
    return problem(status, str(failure.detail), kind.value, dict(failure.headers or {}))
