"""Disconnecting stalled clients with the kernel.

ASGI servers do not notice that a client has stopped receiving what is in their buffers, and have no
way to close such a connection. Linux has (TCP_USER_TIMEOUT, tcp(7)).
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
"""The open files of this process; some containers lack this directory."""


class CutsStalled:
    """An ASGI application whose server disconnects clients that receive nothing for some seconds.

    The timeout applies to all connections to the port of the first request: they inherit it from
    the listening socket. A slow client stays connected while its machine acknowledges packets.
    """

    def __init__(self, app: ASGIApp, seconds: float) -> None:
        self._app = app
        self._seconds = seconds
        self._is_set = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Call the application; set the timeout at the first request."""
        if not self._is_set and scope["type"] != "lifespan":
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
    """Yield the socket of a descriptor, which stays open."""
    found = socket.socket(fileno=fd)
    try:
        yield found
    finally:
        found.detach()
