"""Who may do what over HTTP."""

from __future__ import annotations

import hmac
import inspect
import re
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Literal, TypeAlias
from uuid import UUID

from rex.attach.handle import shown
from rex.attach.service_settings import bearer_keys, imported_rule
from rex.core import Error, Kind

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from starlette.requests import Request

    from rex.core import Secret

__all__ = ["Access", "Action", "Rule", "access_rule"]

Action = Literal["upload", "download", "remove", "list", "link"]

NOT_ALLOWED = "You may not do this"
"""The message of the error of somebody whom the rule does not let pass."""

OTHER_HOST = "The service is not known by this host name (setting attach_hosts)"
"""The message when a request is for another host, to be answered with 421 (RFC 9110, 15.5.20)."""

Rule: TypeAlias = "Callable[[Any, Action, str | None], bool | Awaitable[bool]]"


class Access:
    """Asks a rule about each request, and sees to it that no other site makes one.

    The rule gets the user whom the host application put into the ASGI scope (None when there is
    none), the action, and the handle where there is one.
    """

    def __init__(
        self, rule: Rule, *, origins: Sequence[str] = (), hosts: Sequence[str] = ()
    ) -> None:
        self._rule = rule
        self._origins = frozenset(origins)
        self._hosts = frozenset(map(_host_name, hosts))

    def check_host(self, request: Request) -> None:
        """Check that the request is for one of the hosts, if any are named. Errors: `DENIED`."""
        given = request.headers.get("host", "")
        if self._hosts and _host_name(given) not in self._hosts:
            raise Error(OTHER_HOST, shown(given), kind=Kind.DENIED)

    async def check(self, request: Request, action: Action, handle: str | None = None) -> None:
        """Let the request pass. Errors: `DENIED`."""
        self.check_host(request)
        if action in ("upload", "remove", "link") and self._is_cross_site(request):
            raise Error("Another site may not do this", kind=Kind.DENIED)
        allowed = self._rule(self._user(request), action, handle)
        if inspect.isawaitable(allowed):
            allowed = await allowed
        if allowed is not True:
            raise Error(NOT_ALLOWED, kind=Kind.DENIED)

    def owner(self, request: Request) -> str:
        """Tell one user from another: the same text for the same user, and for all unknown ones.

        It is not for showing: it may be a key.
        """
        user = self._user(request)
        return user.key.decode() if isinstance(user, _Bearer) else ascii(_identity(user))

    def cors(self, request: Request) -> dict[str, str]:
        """Give what lets the pages of a site that may use the service read its answers.

        Where there are such sites, a browser must not give them what it keeps of an answer to
        another.
        """
        if not self._origins:
            return {}
        varying = {"Vary": "Origin"}
        origin = request.headers.get("origin", "")
        if origin not in self._origins:
            return varying
        return {
            "Access-Control-Allow-Origin": origin,
            "Access-Control-Expose-Headers": "ETag, Location",
            **varying,
        }

    @property
    def challenge(self) -> str | None:
        """What to answer to somebody who has shown no key (RFC 9110, section 11.6.1)."""
        return "Bearer" if isinstance(self._rule, _Keys) else None

    def _user(self, request: Request) -> Any:
        return _Bearer(request) if isinstance(self._rule, _Keys) else request.scope.get("user")

    def _is_cross_site(self, request: Request) -> bool:
        """Tell whether a browser sent this from another site (Fetch, the Origin header)."""
        origin = request.headers.get("origin")
        # Pages cannot make up the second; older browsers do not send it.
        site = request.headers.get("sec-fetch-site")
        if site == "same-origin" or origin in self._origins:
            return False
        if origin is None:
            return site in ("cross-site", "same-site")
        host = request.headers.get("host", "")
        port = {"http": ":80", "https": ":443"}.get(request.url.scheme, "")
        return origin != f"{request.url.scheme}://{host.removesuffix(port)}"


def _host_name(host: str) -> str:
    """Return a host without its port, as names are compared (RFC 3986, section 3.2.2)."""
    return re.sub(r":[0-9]*\Z", "", host).removesuffix(".").lower()


def _identity(user: Any) -> object:
    """Give what a user is known by: its number or its name, as frameworks call them."""
    if user is None or isinstance(user, str | int):
        return user
    for name in ("pk", "id", "identity", "username"):
        with suppress(AttributeError, NotImplementedError):  # which Starlette's users raise
            found = getattr(user, name)
            if isinstance(found, str | int | UUID):
                return f"{name}:{found}"
    return None


class _Bearer:
    """The key that a request shows (RFC 6750)."""

    def __init__(self, request: Request) -> None:
        found = re.fullmatch(r"(?i:bearer) +([!-~]+)", request.headers.get("authorization", ""))
        self.key = found[1].encode() if found else b""


class _Keys:
    """A rule: whoever shows one of the keys may do everything."""

    def __init__(self, keys: Sequence[str]) -> None:
        self._keys = [key.encode() for key in keys]

    def __call__(self, user: _Bearer, *_: object) -> bool:
        # All are compared, so that the time tells nothing.
        return sum(hmac.compare_digest(key, user.key) for key in self._keys) > 0


def access_rule(name: str, keys: Secret | None) -> Rule:
    """Find the rule that a setting names.

    ``nobody``, ``anybody``, ``bearer`` (whoever shows one of the `keys`, which are separated by
    commas), or ``module:function``. Errors: `CONFIGURATION`.
    """
    if name == "nobody":
        return lambda *_: False
    if name == "anybody":
        return lambda *_: True
    if name == "bearer":
        return _Keys(bearer_keys(keys))
    return imported_rule(name)
