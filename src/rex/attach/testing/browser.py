"""An upload by a link, as a page in a browser makes it."""

from __future__ import annotations

import contextlib
import http.client
import select
import socket
from typing import TYPE_CHECKING, Protocol, overload
from urllib.parse import urlsplit

from rex.attach.links.client import Answer, make_form
from rex.attach.testing.page_rules import (
    BrowserRefused,
    check_preflight,
    check_request,
    check_response,
    origin_of,
    parse_origin,
    readable_headers,
    unsafe_headers,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from rex.attach.links.link import PresignedLink

__all__ = ["BrowserRefused", "UploadVia", "upload_via"]

TIMEOUT = 30
"""Seconds after which a server that does not respond is considered unreachable."""

_REDIRECTS = (301, 302, 303, 307, 308)
"""A browser follows a redirect; a server that redirects the request of a link does not keep it."""


class UploadVia(Protocol):
    """Upload bytes by a link as a page in a browser does (fixture `upload_via`).

    `origin` is the origin of the page, as ``https://example.org``, or ``null``; by default that of
    the link, for which a browser asks no permission. An upload from another origin begins with a
    preflight request: browsers send one for a PUT link, and for a form if the page shows the
    progress of the upload. The result has only the headers that the page can read.

    With `cut_after`, the connection ends after that number of bytes of `data`, and the result is
    None. If `data` is not longer, the server receives all of the request, and the response is lost.
    The function returns when the server has closed its side, or has responded.

    The call blocks until then, so a coroutine calls it in a thread. Proxies are not used.

    Errors: `BrowserRefused` for what a browser refuses or hides; `ValueError` for a download link
    and for an ill-formed `origin`; `OSError` if the server cannot be reached.
    """

    @overload
    def __call__(
        self, link: PresignedLink, data: bytes, *, origin: str | None = ..., cut_after: None = ...
    ) -> Answer: ...

    @overload
    def __call__(
        self, link: PresignedLink, data: bytes, *, origin: str | None = ..., cut_after: int
    ) -> None: ...


@overload
def upload_via(
    link: PresignedLink, data: bytes, *, origin: str | None = ..., cut_after: None = ...
) -> Answer: ...


@overload
def upload_via(
    link: PresignedLink, data: bytes, *, origin: str | None = ..., cut_after: int
) -> None: ...


def upload_via(
    link: PresignedLink, data: bytes, *, origin: str | None = None, cut_after: int | None = None
) -> Answer | None:
    """Upload bytes by a link as a page in a browser does: see `UploadVia`."""
    own = origin_of(link.url)
    page = own if origin is None else parse_origin(origin)
    check_request(page, own, link.headers)
    headers, before, after = _body_of(link)
    is_foreign = page != own
    if is_foreign:
        _preflight(link, page, unsafe_headers(headers))
    headers |= {"Origin": page, "Content-Length": str(len(before) + len(data) + len(after))}
    with _connected(link.url) as connection:
        _begin(connection, link.method, link.url, headers)
        if cut_after is not None:
            if cut_after < len(data):
                _cut(connection, [before, data[:cut_after]])
            else:
                _lose_response(connection, [before, data, after])
            return None
        answer = _finish(connection, [before, data, after])
    if answer.status in _REDIRECTS:
        raise BrowserRefused(f"The server redirects the upload ({answer.status})", is_sent=True)
    if not is_foreign:
        return answer
    check_response(answer, page)
    return answer._replace(headers=readable_headers(answer.headers))


def _body_of(link: PresignedLink) -> tuple[dict[str, str], bytes, bytes]:
    """Return the headers of an upload, and the bytes before and after the data."""
    if link.method == "POST":
        form = make_form(link)
        return {**link.headers, "Content-Type": form.content_type}, form.before, form.after
    if link.method != "PUT":
        raise ValueError(f"the link is not for an upload: its method is {link.method}")
    return {**link.headers}, b"", b""


def _preflight(link: PresignedLink, page: str, names: Sequence[str]) -> None:
    headers = {"Origin": page, "Access-Control-Request-Method": link.method}
    if names:
        headers["Access-Control-Request-Headers"] = ",".join(names)
    with _connected(link.url) as connection:
        _begin(connection, "OPTIONS", link.url, headers)
        answer = _finish(connection, [])
    check_preflight(answer, page, link.method, names)


@contextlib.contextmanager
def _connected(url: str) -> Iterator[http.client.HTTPConnection]:
    parts = urlsplit(url)
    is_secure = parts.scheme == "https"
    kind = http.client.HTTPSConnection if is_secure else http.client.HTTPConnection
    with contextlib.closing(kind(parts.netloc, timeout=TIMEOUT)) as connection:
        connection.connect()
        yield connection


def _begin(
    connection: http.client.HTTPConnection, method: str, url: str, headers: Mapping[str, str]
) -> None:
    target = urlsplit(url)._replace(scheme="", netloc="", fragment="").geturl() or "/"
    connection.putrequest(method, target, skip_accept_encoding=True)
    for name, value in {"Accept": "*/*", **headers}.items():
        connection.putheader(name, value)
    connection.endheaders()


def _finish(connection: http.client.HTTPConnection, pieces: Sequence[bytes]) -> Answer:
    """Send the body; return the response, which a server may also send before the end."""
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        for piece in pieces:
            connection.send(piece)
    try:
        response = connection.getresponse()
        answer = Answer(response.status, response.headers, response.read())
    except http.client.HTTPException as failure:
        # Its text may contain what the server has sent.
        raise ConnectionError(f"the response is not HTTP: {type(failure).__name__}") from None
    return answer


def _lose_response(connection: http.client.HTTPConnection, pieces: Sequence[bytes]) -> None:
    """Send the whole body; close the connection when the response begins."""
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        for piece in pieces:
            connection.send(piece)
    if not select.select([connection.sock], [], [], TIMEOUT)[0]:
        raise TimeoutError("the server did not respond")


def _cut(connection: http.client.HTTPConnection, pieces: Sequence[bytes]) -> None:
    """Send some of the body; end the connection, and wait until the server has noticed."""
    with contextlib.suppress(OSError):  # the server may end it earlier
        for piece in pieces:
            connection.send(piece)
        connection.sock.shutdown(socket.SHUT_WR)
        while connection.sock.recv(65536):
            pass
