"""Clients that take nothing of an answer, cut by the kernel.

No server notices that a client does not take what was handed over already, and none can be told to
close such a connection. Linux can (TCP_USER_TIMEOUT, tcp(7)).
"""

from __future__ import annotations

import socket
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from starlette.types import ASGIApp, Receive, Scope, Send

__all__ = ["CutsStalled"]

DESCRIPTORS = Path("/proc/self/fd")
"""What this process has open; not every container has it."""


class CutsStalled:
    """An ASGI application whose server cuts clients that take nothing for some seconds.

    This holds for all connections to the port of the first request: new connections inherit it
    from the socket that listens. A slow client is not cut: only one whose machine takes not a
    single packet.
    """

    def __init__(self, app: ASGIApp, seconds: float) -> None:
        self._app = app
        self._seconds = seconds
        self._is_set = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if not self._is_set:
            self._is_set = True
            _set_timeout(scope.get("server"), self._seconds)
        await self._app(scope, receive, send)


def _set_timeout(server: tuple[str, int | str | None] | None, seconds: float) -> None:
    option = getattr(socket, "TCP_USER_TIMEOUT", None)
    if option is None or server is None or server[1] is None:  # a Unix socket has no port
        return
    port = int(server[1])
    for path in DESCRIPTORS.iterdir() if DESCRIPTORS.is_dir() else ():
        with suppress(OSError), _borrow_socket(int(path.name)) as found:
            if found.family in (socket.AF_INET, socket.AF_INET6) and found.getsockname()[1] == port:
                found.setsockopt(socket.IPPROTO_TCP, option, int(seconds * 1000))


@contextmanager
def _borrow_socket(fd: int) -> Iterator[socket.socket]:
    """Give the socket behind a descriptor, which stays open."""
    found = socket.socket(fileno=fd)
    try:
        yield found
    finally:
        found.detach()
