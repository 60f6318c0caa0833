"""The thread in which a server answers a request, for the functions of the application.

Under WSGI, what an application keeps for a request (a database connection, a transaction) belongs
to the thread of the request. Functions of the application therefore run there, although the
operations that call them run in worker threads.
"""

from __future__ import annotations

from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import concurrent.futures
    from collections.abc import Callable

__all__ = ["REQUEST_THREAD", "RequestThread", "call_in_request"]


class RequestThread(Protocol):
    """The thread of a request, which calls functions that other threads submit."""

    def submit(
        self, function: Callable[..., Any], *arguments: object
    ) -> concurrent.futures.Future[Any]:
        """Call a function in the thread, or immediately if the request has ended."""


REQUEST_THREAD: ContextVar[RequestThread | None] = ContextVar(
    "rex.attach.request_thread", default=None
)
"""The thread of the current request; None under ASGI and outside requests."""


def call_in_request(function: Callable[..., Any], *arguments: object) -> Any:
    """Call a function in the thread of the request, or else here; return its result."""
    thread = REQUEST_THREAD.get()
    if thread is None or _has_loop():
        return function(*arguments)
    return thread.submit(function, *arguments).result()


def _has_loop() -> bool:
    """Check whether this thread runs an event loop, which must not wait for the request."""
    import asyncio  # slow to import, and loaded already if there is a request

    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True
