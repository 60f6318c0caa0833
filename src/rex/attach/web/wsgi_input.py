"""The body of a WSGI request, read in a thread of its own."""

from __future__ import annotations

import concurrent.futures
import os
import socket
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from rex.attach.storage.workers import Workers

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Input"]

MIN_BYTES = 1024
"""The size of a read while the client is slow: `read` returns only once it has all of it."""
MAX_BYTES = 256 * 1024
QUICK_SECONDS = 0.1
"""A read that takes less is followed by a larger one."""
PATIENCE_SECONDS = 1.0
"""How long a read in progress may take before it is interrupted."""

_SOCKETS = ("gunicorn.socket", "werkzeug.socket")
"""The keys of the connection, on servers that pass it on."""

_FORWARDED = (
    "HTTP_FORWARDED",
    "HTTP_VIA",
    "HTTP_X_FORWARDED_FOR",
    "HTTP_X_FORWARDED_PROTO",
    "HTTP_X_REAL_IP",
)
"""The keys of headers that proxies add. nginx takes an interim response for the last one: over
HTTP/2, that breaks the upload."""

_readers = Workers(1024)


class Input:
    """The body of a request, for one read at a time.

    Reading blocks until the client has sent enough. It happens in a worker thread, so that the
    event loop of the request can give up. `interrupt` then ends it, on servers that pass the
    connection on; on others, their own timeout does.
    """

    def __init__(self, environ: Mapping[str, Any]) -> None:
        self._stream = environ["wsgi.input"]
        self._left = _length(environ)
        self._size = MIN_BYTES
        self._reading: concurrent.futures.Future[bytes] | None = None
        self._socket = next((environ[key] for key in _SOCKETS if key in environ), None)
        if not environ.get("SERVER_PROTOCOL", "").startswith("HTTP/1"):
            self._socket = None  # other requests share it
        is_current = environ.get("SERVER_PROTOCOL") == "HTTP/1.1"
        is_direct = not any(key in environ for key in _FORWARDED)
        self.can_answer = self._socket is not None and is_current and is_direct
        """Whether an interim response can be sent, which HTTP/1.0 does not have."""
        self.has_more = self._left != 0
        """Whether the body has not been read to its end."""

    def read(self) -> concurrent.futures.Future[bytes]:
        """Begin to read, or return the read in progress; `take` its result."""
        if self._reading is None:
            self._reading = _readers.submit(self._read)
        return self._reading

    def take(self) -> bytes:
        """Return the bytes that were read, none at the end.

        Any exception of the server means that the body is malformed, or the client has left.
        """
        reading, self._reading = self.read(), None
        chunk = reading.result()  # TimeoutError and others of the server
        if self._left is None:
            self.has_more = bool(chunk)
        else:
            self._left -= len(chunk)
            self.has_more = self._left > 0
            if not chunk:
                raise EOFError("the body is incomplete")
        return chunk

    def interrupt(self) -> None:
        """End a read in progress: the server must not use the connection at the same time."""
        if self._reading is None:
            return
        concurrent.futures.wait([self._reading], PATIENCE_SECONDS)
        if not self._reading.done():
            self._shut_down(socket.SHUT_RD)
            concurrent.futures.wait([self._reading])

    def answer(self, interim: bytes) -> bool:
        """Send an interim response; return False if the client has left."""
        try:
            self._socket.sendall(interim)  # type: ignore[union-attr]  # see `can_answer`
        except OSError:
            return False
        return True

    def end(self) -> None:
        """Close the connection if the client is still sending: the server would read the rest."""
        self.interrupt()
        if self.has_more:
            self._shut_down(socket.SHUT_RDWR)

    def _read(self) -> bytes:
        size = self._size if self._left is None else min(self._size, self._left)
        began = time.monotonic()
        chunk: bytes = self._stream.read(size)
        is_quick = time.monotonic() - began < QUICK_SECONDS
        self._size = min(self._size * 4, MAX_BYTES) if is_quick else MIN_BYTES
        return chunk

    def _shut_down(self, how: int) -> None:
        """Shut the connection down below TLS, for every class of socket."""
        if self._socket is None:
            return
        with suppress(OSError), socket.socket(fileno=os.dup(self._socket.fileno())) as connection:
            connection.shutdown(how)


def _length(environ: Mapping[str, Any]) -> int | None:
    """Return the size of the body, or None if only its end tells."""
    if "HTTP_TRANSFER_ENCODING" in environ:
        return None if environ.get("wsgi.input_terminated") else 0
    length = environ.get("CONTENT_LENGTH") or "0"
    # `Body` refuses a malformed one, and one that is too long to parse.
    return int(length) if length.isascii() and length.isdigit() and len(length) < 20 else 0  # noqa: PLR2004 - as there
