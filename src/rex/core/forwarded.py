"""Forwarded headers of trusted proxies, and the path at which a proxy serves the application."""

from __future__ import annotations

import ipaddress
import re
from typing import TYPE_CHECKING
from urllib.parse import quote, unquote

from rex.core import typed
from rex.core.error import Kind

if TYPE_CHECKING:
    from collections.abc import Sequence

    from starlette.types import ASGIApp, Receive, Scope, Send

__all__ = ["UNIX", "Forwarded", "TrustedProxies", "trusted_proxies"]

UNIX = "unix"
"""The item that trusts every client of a Unix socket, which has no address."""

_FOR = b"x-forwarded-for"
_PROTO = b"x-forwarded-proto"
_HOST = b"x-forwarded-host"
_PREFIX = b"x-forwarded-prefix"

_WITH_PORT = re.compile(r"\[([0-9A-Fa-f:.]+)\](?::[0-9]{1,5})?|([0-9.]+):[0-9]{1,5}")
"""An address with a port, or in brackets, as some proxies write them."""


class TrustedProxies:
    """The proxies whose forwarded headers count, as a comma-separated list of addresses.

    An item is an address, a network such as ``10.0.0.0/8``, or ``unix``. `ValueError` for any
    other item: a name would have to be looked up, and ``*`` would trust every client.
    """

    def __init__(self, listed: str = "") -> None:
        items = [item for given in listed.split(",") if (item := given.strip())]
        self._has_unix = UNIX in items
        self._networks = [ipaddress.ip_network(item) for item in items if item != UNIX]

    def __bool__(self) -> bool:
        return self._has_unix or bool(self._networks)

    def __contains__(self, host: str) -> bool:
        """Check whether a proxy is trusted; the address of a Unix socket is empty."""
        if not host:
            return self._has_unix
        address = _parse(host)
        return address is not None and any(address in network for network in self._networks)


def _trusted_proxies(given: object) -> TrustedProxies:
    return TrustedProxies(typed.text.read(given))


trusted_proxies = typed.Type(
    "addresses and networks separated by commas, as '127.0.0.1, 10.0.0.0/8', or unix",
    _trusted_proxies,
)
"""The type of the option that lists trusted proxies."""


class Forwarded:
    """ASGI middleware that applies forwarded headers, if a trusted proxy sends the request.

    The headers of any other client are ignored. Each proxy appends the address of its own client
    to X-Forwarded-For, so the list is read from its end: the client is the last address that is
    not a trusted proxy. X-Forwarded-Proto and -Host are read at the same distance from their end,
    and the prefixes of the trusted proxies are joined. What a client itself writes before that
    has no effect. The header Forwarded (RFC 7239) is ignored.

    `root_path` is the path in front of the application, percent-encoded. The proxy may remove it
    from the path of a request or not. X-Forwarded-Prefix replaces it, and has been removed.
    """

    def __init__(self, app: ASGIApp, trusted: TrustedProxies, root_path: str = "") -> None:
        self._app = app
        self._trusted = trusted
        self._root = root_path

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request as the proxy received it."""
        app = self._app
        if scope["type"] == "http":
            try:
                scope = self._restore(scope)
            except ValueError:
                from rex.core.web import problem

                words = "X-Forwarded-Prefix must be a path such as /files."
                app = problem(400, words, Kind.ILL_FORMED.value, {"Connection": "close"})
        await app(scope, receive, send)

    def _restore(self, scope: Scope) -> Scope:
        """Return the scope of the original request; `ValueError` for an ill-formed prefix."""
        peer = (scope.get("client") or ("",))[0]
        given = _forwarded_headers(scope) if peer in self._trusted else {}
        if not given:
            return _below(scope, self._root, is_removed=False)
        client, proxies = self._trace(given.get(_FOR, []), peer)
        changed = dict(scope) if client == peer else {**scope, "client": (client, 0)}
        scheme = _at(given.get(_PROTO, []), proxies).lower()
        if scheme in ("http", "https"):
            changed["scheme"] = scheme
        if host := _at(given.get(_HOST, []), proxies):
            changed["headers"] = _with_host(scope["headers"], host)
        prefixes = given.get(_PREFIX, [])[-proxies:]
        if not prefixes:
            return _below(changed, self._root, is_removed=False)
        prefix = "".join(map(typed.path_prefix.read, prefixes))
        return _below(changed, prefix, is_removed=True)

    def _trace(self, addresses: Sequence[str], peer: str) -> tuple[str, int]:
        """Return the client, and the number of trusted proxies between it and the server."""
        client, proxies = peer, 1
        for given in reversed(addresses):
            address = _parse(given)
            if address is None:  # "unknown", a name, or garbage
                break
            client = str(address)
            if client not in self._trusted:
                break
            proxies += 1
        return client, proxies


def _forwarded_headers(scope: Scope) -> dict[bytes, list[str]]:
    """Return the items of each forwarded header, of all its lines."""
    found: dict[bytes, list[str]] = {}
    for name, value in scope["headers"]:
        if name in (_FOR, _PROTO, _HOST, _PREFIX):
            items = [item.strip() for item in value.decode("latin-1").split(",")]
            found.setdefault(name, []).extend(filter(None, items))
    return found


def _at(items: Sequence[str], proxies: int) -> str:
    """Return what the first of the trusted proxies said, or an empty text.

    A proxy may replace the header or leave it, so that there are fewer items than proxies.
    """
    return items[-min(proxies, len(items))] if items else ""


def _parse(given: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    match = _WITH_PORT.fullmatch(given)
    try:
        address = ipaddress.ip_address((match[1] or match[2]) if match else given)
    except ValueError:
        return None
    # A server that listens on IPv6 names a client of IPv4 so (RFC 4291, section 2.5.5.2).
    return getattr(address, "ipv4_mapped", None) or address


def _with_host(headers: Sequence[tuple[bytes, bytes]], host: str) -> list[tuple[bytes, bytes]]:
    """Return headers with another host; several hosts stay, so that the request is refused."""
    others = [pair for pair in headers if pair[0] != b"host"]
    if len(headers) - len(others) > 1:
        return list(headers)
    return [(b"host", host.encode("latin-1")), *others]


def _below(scope: Scope, root: str, *, is_removed: bool) -> Scope:
    """Return a scope below a root path; the path includes it (ASGI 3, HTTP scope)."""
    path, decoded = scope["path"], unquote(root)
    if not root or not path.startswith("/"):  # "*" of OPTIONS
        return scope
    if not is_removed and (path == decoded or path.startswith(f"{decoded}/")):
        return {**scope, "root_path": decoded}
    raw = scope.get("raw_path") or quote(path).encode()
    return {
        **scope,
        "root_path": decoded,
        "path": decoded + path,
        "raw_path": root.encode() + raw,
    }
