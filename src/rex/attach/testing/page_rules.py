"""The rules that a browser applies to the requests of a page (Fetch, Mixed Content)."""

from __future__ import annotations

import ipaddress
from email.message import Message
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from rex.attach.links.client import Answer

__all__ = [
    "BrowserRefused",
    "check_preflight",
    "check_request",
    "check_response",
    "origin_of",
    "parse_origin",
    "readable_headers",
    "unsafe_headers",
]

_PORTS = {"http": 80, "https": 443}
_SAFE_METHODS = {"GET", "HEAD", "POST"}
_SAFE_TYPES = {"application/x-www-form-urlencoded", "multipart/form-data", "text/plain"}
_SAFE_HEADERS = {"accept", "accept-language", "content-language"}
_SENT_BY_BROWSER = {"content-length", "host"}
"""Headers that a page cannot set; the browser sends them with the values that a link needs."""
_FORBIDDEN = {
    *("accept-charset", "accept-encoding", "connection", "cookie", "cookie2", "date", "dnt"),
    *("access-control-request-headers", "access-control-request-method", "expect", "keep-alive"),
    *("origin", "referer", "set-cookie", "te", "trailer", "transfer-encoding", "upgrade", "via"),
}
_READABLE = {
    *("cache-control", "content-language", "content-length", "content-type", "expires"),
    *("last-modified", "pragma"),
}
_NEVER_READABLE = {"set-cookie", "set-cookie2"}


class BrowserRefused(Exception):  # noqa: N818 - the browser refuses, which may be right
    """A browser would refuse the upload, or hide the response from the page.

    The text is the reason, as in the console of a browser. The text never contains the link, which
    is a secret.
    """

    def __init__(self, reason: str, *, is_sent: bool = False) -> None:
        super().__init__(reason)
        self.is_sent = is_sent
        """Whether the server has received the bytes nevertheless: only the response is hidden."""


def origin_of(url: str) -> str:
    """Return the origin of a URL (RFC 6454)."""
    parts = urlsplit(url)
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
    is_default = parts.port in (None, _PORTS.get(parts.scheme))
    return f"{parts.scheme}://{host}" + ("" if is_default else f":{parts.port}")


def parse_origin(text: str) -> str:
    """Return the origin of a page as a browser sends it. Raises `ValueError` for other texts."""
    if text == "null":
        return text
    parts = urlsplit(text)
    if parts.scheme not in _PORTS or not parts.hostname or text.rstrip("/") != text:
        raise ValueError(f"origin must be null or scheme://host[:port], not {text!r}")
    if any((parts.path, parts.query, parts.fragment, parts.username)):
        raise ValueError(f"origin must be null or scheme://host[:port], not {text!r}")
    return origin_of(text)


def check_request(page: str, server: str, headers: Iterable[str]) -> None:
    """Check that a page may send the request at all. Raises `BrowserRefused`."""
    if page.startswith("https:") and server.startswith("http:") and not _is_loopback(server):
        raise BrowserRefused(f"Mixed content: the page is {page}, and the link is {server}")
    for name in sorted(map(str.lower, headers)):
        if name in _FORBIDDEN or name.startswith(("proxy-", "sec-")):
            raise BrowserRefused(f"A page must not set the header {name}")


def unsafe_headers(headers: Mapping[str, str]) -> list[str]:
    """Return the names of the headers that need permission, in the order of a preflight."""
    return sorted(
        name.lower()
        for name, value in headers.items()
        if name.lower() not in _SAFE_HEADERS | _SENT_BY_BROWSER
        and not (name.lower() == "content-type" and _is_safe_type(value))
    )


def check_preflight(answer: Answer, page: str, method: str, headers: Iterable[str]) -> None:
    """Check that the response to a preflight permits the request. Raises `BrowserRefused`."""
    _check_origin(answer, page, "preflight", is_sent=False)
    if not answer.ok:
        raise BrowserRefused(f"The response to the preflight has the status {answer.status}")
    methods = _names(answer.headers, "Access-Control-Allow-Methods")
    if method not in _SAFE_METHODS | methods and "*" not in methods:
        raise BrowserRefused(f"{method} is not in Access-Control-Allow-Methods: {_shown(methods)}")
    allowed = {name.lower() for name in _names(answer.headers, "Access-Control-Allow-Headers")}
    for name in headers:
        if name not in allowed and (name == "authorization" or "*" not in allowed):
            raise BrowserRefused(
                f"{name} is not in Access-Control-Allow-Headers: {_shown(allowed)}"
            )


def check_response(answer: Answer, page: str) -> None:
    """Check that the page may see the response to the upload. Raises `BrowserRefused`."""
    _check_origin(answer, page, "upload", is_sent=True)


def readable_headers(headers: Message) -> Message:
    """Return the headers of a response that a page of another origin can read."""
    exposed = {name.lower() for name in _names(headers, "Access-Control-Expose-Headers")}
    kept = Message()
    for name, value in headers.items():
        is_exposed = name.lower() in _READABLE | exposed or "*" in exposed
        if is_exposed and name.lower() not in _NEVER_READABLE:
            kept[name] = value
    return kept


def _check_origin(answer: Answer, page: str, request: str, *, is_sent: bool) -> None:
    allowed = answer.headers.get_all("Access-Control-Allow-Origin", [])
    if allowed in (["*"], [page]):
        return
    said = ", ".join(allowed) or "nothing"
    raise BrowserRefused(
        f"The response to the {request} (status {answer.status}) does not allow the page: its "
        f"origin is {page}, and Access-Control-Allow-Origin is {said}",
        is_sent=is_sent,
    )


def _is_loopback(origin: str) -> bool:
    host = urlsplit(origin).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def _is_safe_type(value: str) -> bool:
    return value.partition(";")[0].strip().lower() in _SAFE_TYPES


def _names(headers: Message, name: str) -> set[str]:
    values = ",".join(headers.get_all(name, []))
    return {each.strip() for each in values.split(",")} - {""}


def _shown(names: set[str]) -> str:
    return ", ".join(sorted(names)) or "nothing"
