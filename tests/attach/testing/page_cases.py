"""What servers answer to an upload from a page of another origin, and what a page sees of it.

The same cases are run with `upload_via` and with Chromium.
"""

from __future__ import annotations

import contextlib
import datetime
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from attach.fake_server import Answer, Request, fake_server
from rex.attach import PresignedLink

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    Link = tuple[str, Mapping[str, str], Mapping[str, str]]
    """The method, the fields and the headers."""

__all__ = ["CASES", "Case", "Recording"]

PAGE = "{page}"
"""Stands for the origin of the page."""
DATA = b"the bytes"
ALLOWED = {
    "Access-Control-Allow-Origin": PAGE,
    "Access-Control-Allow-Methods": "GET, PUT",
    "Access-Control-Allow-Headers": "content-type, if-none-match",
}
SHOWN = {
    "Access-Control-Allow-Origin": PAGE,
    "Access-Control-Expose-Headers": "ETag",
    "Content-Type": "text/plain",
    "ETag": '"1"',
    "X-Other": "2",
}
FORM: Link = ("POST", {"key": "a.txt", "policy": "signed"}, {})
PUT: Link = ("PUT", {}, {"Content-Type": "image/png", "If-None-Match": "*"})
PERMISSION = Answer(204, "", ALLOWED)
RESPONSE = Answer(200, "", SHOWN)


@dataclass(frozen=True)
class Case:
    """A server, an upload, and what the page sees: a response, or nothing."""

    name: str
    preflight: Answer = PERMISSION
    upload: Answer = RESPONSE
    link: Link = PUT
    readable: frozenset[str] | None = frozenset({"content-length", "content-type", "etag"})
    """The names of the response's headers, or None if the page sees no response."""
    is_sent: bool = True
    """Whether the bytes reach the server."""


def changed(headers: Mapping[str, str], **more: str | None) -> dict[str, str]:
    """Return headers with others; None removes one. Underscores are hyphens."""
    given = {name.replace("_", "-"): value for name, value in more.items()}
    merged: dict[str, str | None] = {**headers, **given}
    return {name: value for name, value in merged.items() if value is not None}


def refused(name: str, preflight: Answer) -> Case:
    """Return a case in which nothing but the preflight is sent."""
    return Case(name, preflight, readable=None, is_sent=False)


def hidden(name: str, **more: str | None) -> Case:
    """Return a case in which the upload succeeds, and the page does not see it."""
    return Case(name, upload=Answer(200, "", changed(SHOWN, **more)), readable=None)


def preflight(status: int = 204, **more: str | None) -> Answer:
    """Return the response to a preflight that allows everything, with changes."""
    return Answer(status, "", changed(ALLOWED, **more))


CASES = [
    Case("a PUT that is allowed"),
    Case("a form that is allowed", link=FORM),
    Case(
        "a form needs no allowed method or header",
        preflight(Access_Control_Allow_Methods=None, Access_Control_Allow_Headers=None),
        link=FORM,
    ),
    Case("all origins", preflight(Access_Control_Allow_Origin="*")),
    Case("all methods", preflight(Access_Control_Allow_Methods="*")),
    Case("all headers", preflight(Access_Control_Allow_Headers="*")),
    Case(
        "names of headers have no case",
        preflight(Access_Control_Allow_Headers="IF-NONE-MATCH,Content-TYPE"),
    ),
    refused("a preflight that fails", preflight(403)),
    refused("a preflight that redirects", preflight(307, Location="/elsewhere")),
    refused("a preflight without an origin", preflight(Access_Control_Allow_Origin=None)),
    refused("another origin", preflight(Access_Control_Allow_Origin="http://example.org")),
    refused("an origin with a slash", preflight(Access_Control_Allow_Origin=f"{PAGE}/")),
    refused("two origins", preflight(Access_Control_Allow_Origin=f"{PAGE}, *")),
    refused("another method", preflight(Access_Control_Allow_Methods="POST")),
    refused("a method in lower case", preflight(Access_Control_Allow_Methods="put")),
    refused("no method", preflight(Access_Control_Allow_Methods=None)),
    refused("a header is missing", preflight(Access_Control_Allow_Headers="content-type")),
    refused("no header", preflight(Access_Control_Allow_Headers=None)),
    Case(
        "a text needs no allowed content type",
        preflight(Access_Control_Allow_Headers="if-none-match"),
        link=("PUT", {}, {"Content-Type": "text/plain;charset=utf-8", "If-None-Match": "*"}),
    ),
    hidden("a response without an origin", Access_Control_Allow_Origin=None),
    hidden("a response for another origin", Access_Control_Allow_Origin="http://example.org"),
    hidden("a response for two origins", Access_Control_Allow_Origin=f"{PAGE}, {PAGE}"),
    Case("a refusal that the page may see", upload=Answer(403, "", SHOWN)),
    Case(
        "no header is exposed",
        upload=Answer(200, "", changed(SHOWN, Access_Control_Expose_Headers=None)),
        readable=frozenset({"content-length", "content-type"}),
    ),
    Case(
        "a cookie is never exposed",
        upload=Answer(
            200, "", changed(SHOWN, Access_Control_Expose_Headers="x-other", Set_Cookie="a=b")
        ),
        readable=frozenset({"content-length", "content-type", "x-other"}),
    ),
]


@dataclass
class Recording:
    """A server that answers as a case says, and the link to it."""

    case: Case
    page: str
    url: str = ""
    asked: list[Request] = field(default_factory=list)

    def answer(self, request: Request) -> Answer:
        """Answer a preflight or an upload; note the request."""
        self.asked.append(request)
        given = self.case.preflight if request.method == "OPTIONS" else self.case.upload
        filled = {name: value.format(page=self.page) for name, value in given.headers.items()}
        return given._replace(headers=filled)

    @contextlib.contextmanager
    def running(self) -> Iterator[Recording]:
        """Answer until the end of the block."""
        with fake_server(self.answer) as self.url:
            yield self

    @property
    def link(self) -> PresignedLink:
        """The link of the case."""
        method, fields, headers = self.case.link
        expires = datetime.datetime.now(datetime.UTC) + datetime.timedelta(minutes=5)
        return PresignedLink(method, f"{self.url}/bucket/a.txt?sig=x", headers, fields, expires)

    @property
    def methods(self) -> list[str]:
        """The methods of the requests."""
        return [request.method for request in self.asked]
