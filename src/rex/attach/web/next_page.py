"""The page to which a plain HTML form goes on after an upload: the query parameter ``next``."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from urllib.parse import quote, urlencode, urlsplit

from starlette.responses import Response

from rex.core import Error, Kind

if TYPE_CHECKING:
    from collections.abc import Iterable

    from starlette.requests import Request

__all__ = ["parse_next", "redirect_to"]

MAX_LENGTH = 2000

# An absolute path. Browsers read // and /\ as the beginning of another host, and skip white space.
_PATH = re.compile(r"/(?!/)[^\\]*")
_SAFE = "%/:@!$&'()*+,;=~?"


def parse_next(request: Request) -> str | None:
    """Return the path in the query parameter ``next``, or None without the parameter.

    Errors: `ILL_FORMED` unless it is a path of the same origin.
    """
    given = request.query_params.getlist("next")
    if not given:
        return None
    path = given[0]
    is_path = len(given) == 1 and len(path) <= MAX_LENGTH and _PATH.fullmatch(path)
    if not is_path or not path.isprintable():
        raise Error(
            "next must be one absolute path of this site, such as /documents/7",
            "without a host, backslashes and control characters",
            kind=Kind.ILL_FORMED,
        )
    return path


def redirect_to(path: str, handles: Iterable[str]) -> Response:
    """Return the redirect to a page (RFC 9110, section 15.4.4), with handles in its query."""
    parts = urlsplit(path)
    added = urlencode([("handle", handle) for handle in handles])
    query = "&".join(filter(None, [quote(parts.query, safe=_SAFE), added]))
    fragment = f"#{quote(parts.fragment, safe=_SAFE)}" if parts.fragment else ""
    location = f"{quote(parts.path, safe=_SAFE)}?{query}{fragment}"
    return Response(None, 303, {"Location": location, "Cache-Control": "no-store"})
