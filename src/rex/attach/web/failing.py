"""How the service answers when something failed."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from rex.attach.web.access import NOT_ALLOWED, OTHER_HOST
from rex.attach.web.body import STOPPED_SENDING, WENT_AWAY
from rex.core import Error, Kind
from rex.core.web import answer_error, problem

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from rex.attach.web.access import Access

__all__ = ["answer_failure"]

log = logging.getLogger("rex.attach")

_CLOSE = {"Connection": "close"}


async def answer_failure(request: Request, failure: Exception, access: Access) -> Response:
    """Answer with a problem that tells what failed, as far as it concerns the client.

    The failure forgets where it was raised: it would keep the request alive until the garbage
    collector comes by, and with a request that has not come whole, its connection.
    """
    try:
        return await _answer(request, failure, access)
    finally:
        forgetful: BaseException | None = failure
        while forgetful is not None:
            forgetful.__traceback__ = None
            forgetful = forgetful.__context__


def _is_ours(failure: Exception) -> bool:
    """Tell whether the storage refuses us, which is not the client's doing.

    What a storage raises has a cause; what refuses the client has none.
    """
    is_denied = isinstance(failure, Error) and failure.kind is Kind.DENIED
    return is_denied and failure.__cause__ is not None


async def _answer(request: Request, failure: Exception, access: Access) -> Response:
    if _is_ours(failure):
        log.error("%s", failure)
        return problem(503, "The storage refuses the service.", Kind.UNAVAILABLE.value)
    if isinstance(failure, Error) and failure.message == OTHER_HOST:
        return problem(421, str(failure), failure.kind.value)
    if isinstance(failure, Error) and failure.message == STOPPED_SENDING:
        # The client's doing, not the storage's (RFC 9110, section 15.5.9).
        return problem(408, failure.message, failure.kind.value, _CLOSE)
    if isinstance(failure, Error) and failure.message == WENT_AWAY:
        # A server reports a malformed body as it reports a client that left. Only a client that
        # is still there reads this (RFC 9112, sections 7.1 and 8).
        return problem(400, "The body is incomplete or malformed.", Kind.ILL_FORMED.value, _CLOSE)
    if access.challenge and isinstance(failure, Error) and failure.message == NOT_ALLOWED:
        headers = {"WWW-Authenticate": access.challenge}
        return problem(401, "Show a key.", Kind.DENIED.value, headers)
    return await answer_error(request, failure)
