"""A client that sends exact bytes over a socket, and believes nothing that comes back."""

from __future__ import annotations

import contextlib
import json
import re
import socket
from typing import TYPE_CHECKING, Any, NamedTuple, Self

from programs import PATIENCE

if TYPE_CHECKING:
    from collections.abc import Iterable

KEY = "canary-bearer-key"
"""What lets a request pass."""

CANARIES = {
    "attach_access_keys": KEY,
    "attach_secret": "canary-attach-secret",
    "bait": "canary-bait",
}
"""What no answer and no log may hold: the secrets, and what is in the files around a storage."""


# What the service writes, and what granian and hyper add.
HEADERS = frozenset(
    {
        "accept-encoding",
        "accept-ranges",
        "access-control-allow-headers",
        "access-control-allow-methods",
        "access-control-allow-origin",
        "access-control-expose-headers",
        "access-control-max-age",
        "allow",
        "cache-control",
        "connection",
        "content-disposition",
        "content-length",
        "content-location",
        "content-range",
        "content-security-policy",
        "content-type",
        "cross-origin-resource-policy",
        "date",
        "etag",
        "last-modified",
        "location",
        "referrer-policy",
        "retry-after",
        "server",
        "transfer-encoding",
        "tus-checksum-algorithm",
        "tus-extension",
        "tus-max-size",
        "tus-resumable",
        "tus-version",
        "upload-concat",
        "upload-defer-length",
        "upload-expires",
        "upload-length",
        "upload-metadata",
        "upload-offset",
        "vary",
        "www-authenticate",
        "x-content-type-options",
    }
)

_STATUS_LINE = re.compile(r"HTTP/1\.[01] ([1-5][0-9]{2}) ([A-Za-z -]*|<none>)")
_HEADER = re.compile(r"([a-z-]+): ([!-~](?:[ -~]*[!-~])?)?")
_WITHOUT_CONTENT = (204, 304)


class Answer(NamedTuple):
    """One answer."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The body, which is JSON."""
        return json.loads(self.body)


class Connection:
    """A connection, for as many requests as it lives."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), PATIENCE)
        self._read = b""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def send(self, data: bytes) -> None:
        """Send bytes; a server that will not have them all may close."""
        try:
            self._socket.sendall(data)
        except (BrokenPipeError, ConnectionResetError):
            return

    def end(self) -> None:
        """Tell the server that nothing more comes."""
        with contextlib.suppress(OSError):  # it has closed already
            self._socket.shutdown(socket.SHUT_WR)

    def answer(self, *, head: bool = False) -> Answer | None:
        """Read the next answer, strictly; None when the server closes in place of one.

        The answer to HEAD has no body.
        """
        while (end := self._read.find(b"\r\n\r\n")) < 0:
            if not self._more():
                assert b"" == self._read, "an answer was cut"
                return None
        lines = self._read[:end].decode("ascii").split("\r\n")
        self._read = self._read[end + 4 :]
        status = _STATUS_LINE.fullmatch(lines[0])
        assert status, lines[0]
        headers = _headers(lines[1:])
        if status[1] == "100":
            return self.answer(head=head)
        body = b"" if head or int(status[1]) in _WITHOUT_CONTENT else self._body(headers)
        return Answer(int(status[1]), headers, body)

    def rest(self) -> bytes:
        """Read until the server closes."""
        while self._more():
            pass
        return self._read

    def _body(self, headers: dict[str, str]) -> bytes:
        if "transfer-encoding" in headers:
            assert ("chunked", None) == (
                headers["transfer-encoding"],
                headers.get("content-length"),
            )
            return b"".join(iter(self._chunk, b""))
        return self._take(int(headers["content-length"]))

    def _chunk(self) -> bytes:
        while b"\r\n" not in self._read:
            assert self._more()
        size, self._read = self._read.split(b"\r\n", 1)
        chunk = self._take(int(size, 16))
        assert b"\r\n" == self._take(2)
        return chunk

    def _take(self, size: int) -> bytes:
        while len(self._read) < size:
            assert self._more(), "a body was cut"
        taken, self._read = self._read[:size], self._read[size:]
        return taken

    def _more(self) -> bool:
        try:
            data = self._socket.recv(65536)
        except ConnectionResetError:  # it closed and did not take all that was sent
            data = b""
        self._read += data
        for canary in CANARIES.values():
            assert canary.encode() not in self._read
        return bool(data)


def ask(port: int, data: bytes, *, head: bool = False) -> Answer | None:
    """Send bytes on a new connection; give the only answer, or None for a close without one."""
    with Connection(port) as connection:
        connection.send(data)
        answer = connection.answer(head=head)
        if answer is None or answer.headers.get("connection") == "close":
            connection.end()
            assert b"" == connection.rest(), "there is more than one answer"
        return answer


def request(
    method: bytes | str,
    target: bytes | str,
    *headers: bytes | str,
    body: bytes | None = None,
    key: str | None = KEY,
) -> bytes:
    """Write a request: the last of its connection, for our host, with our key."""
    lines: list[bytes | str] = [b" ".join((_bytes(method), _bytes(target), b"HTTP/1.1"))]
    names = {_bytes(line).partition(b":")[0].strip().lower() for line in headers}
    if b"host" not in names:
        lines.append("Host: here")
    if b"connection" not in names:
        lines.append("Connection: close")
    if key is not None:
        lines.append(f"Authorization: Bearer {key}")
    if body is not None and not names & {b"content-length", b"transfer-encoding"}:
        lines.append(f"Content-Length: {len(body)}")
    return written([*lines, *headers], body or b"")


def written(lines: Iterable[bytes | str], body: bytes = b"") -> bytes:
    """Write a request with nothing but these lines."""
    return b"".join(_bytes(line) + b"\r\n" for line in lines) + b"\r\n" + body


def form(*parts: bytes | str, boundary: str = "edge") -> bytes:
    """Write a form of parts, each with its own headers."""
    edge = boundary.encode()
    joined = b"".join(b"--" + edge + b"\r\n" + _bytes(part) + b"\r\n" for part in parts)
    return joined + b"--" + edge + b"--\r\n"


def file_part(parameters: bytes | str, content: bytes = b"content") -> bytes:
    """Write a part that is a file, with the parameters of its Content-Disposition."""
    return b"Content-Disposition: form-data; " + _bytes(parameters) + b"\r\n\r\n" + content


def _headers(lines: list[str]) -> dict[str, str]:
    headers: dict[str, str] = {}
    for line in lines:
        found = _HEADER.fullmatch(line)
        assert found, line
        name, value = found[1], found[2] or ""
        assert name not in headers, line
        assert name in HEADERS, line
        headers[name] = value
    assert headers.get("server", "granian") == "granian"
    assert headers.get("connection", "close") in ("close", "keep-alive")
    return headers


def _bytes(given: bytes | str) -> bytes:
    return given if isinstance(given, bytes) else given.encode()
