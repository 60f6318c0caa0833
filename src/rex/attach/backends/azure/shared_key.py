"""Signatures of requests with an account key ("Authorize with Shared Key")."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from rex.attach.links.sas import sign

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["authorization"]

_STANDARD = (
    "content-encoding",
    "content-language",
    "content-length",
    "content-md5",
    "content-type",
    "date",
    "if-modified-since",
    "if-match",
    "if-none-match",
    "if-unmodified-since",
    "range",
)


def authorization(
    method: str, url: str, headers: Mapping[str, str], *, account: str, key: str
) -> str:
    """Return the header Authorization of a request; `headers` must be all that is signed.

    `url` has a scheme, and is encoded. A Content-Length of 0 must be omitted or empty.
    """
    given = {name.lower(): value for name, value in headers.items()}
    own = sorted(name for name in given if name.startswith("x-ms-"))
    parts = urlsplit(url)
    pairs = sorted(_decode(pair) for pair in parts.query.split("&") if pair)
    lines = [
        method,
        *(given.get(name, "") for name in _STANDARD),
        *(f"{name}:{given[name].strip()}" for name in own),
        f"/{account}{parts.path}",
        *(f"{name.lower()}:{value}" for name, value in pairs),
    ]
    return f"SharedKey {account}:{sign(key, chr(10).join(lines))}"


def _decode(pair: str) -> tuple[str, str]:
    name, _, value = pair.partition("=")
    return unquote(name), unquote(value)
