"""How the service answers when something failed."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from rex.attach.web.access import NOT_ALLOWED
from rex.attach.web.body import STOPPED_SENDING, WENT_AWAY
from rex.attach.web.body_headers import ENCODED
from rex.core import Error, Kind
from rex.core.web import answer_error, problem

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from rex.attach.web.access import Access

__all__ = ["answer_failure"]

log = logging.getLogger("rex.attach")


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
    if isinstance(failure, Error) and failure.message in (STOPPED_SENDING, WENT_AWAY):
        # The client's doing, not the storage's (RFC 9110, section 15.5.9).
        headers = {"Connection": "close"}
        return problem(408, failure.message, failure.kind.value, headers)
    if isinstance(failure, Error) and failure.message == ENCODED:
        # RFC 9110, sections 12.5.3 and 15.5.16.
        headers = {"Accept-Encoding": "identity"}
        return problem(415, str(failure), "unsupported-media-type", headers)
    if access.challenge and isinstance(failure, Error) and failure.message == NOT_ALLOWED:
        headers = {"WWW-Authenticate": access.challenge}
        return problem(401, "Show a key.", Kind.DENIED.value, headers)
    return await answer_error(request, failure)
