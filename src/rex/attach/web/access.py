"""Who may do what over HTTP."""

from __future__ import annotations

import functools
import hmac
import inspect
import logging
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, TypeAlias
from uuid import UUID

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request  # noqa: TC002 - resolved at run time

from rex.attach.handle import parse_handle, show
from rex.attach.settings import bearer_keys, import_rule
from rex.attach.storage import Storage  # noqa: TC001 - resolved at run time
from rex.attach.web.cors import EXPOSED
from rex.core import Error, Kind

if TYPE_CHECKING:
    from rex.core import Secret

__all__ = ["Access", "Action", "Rule", "access_rule"]

log = logging.getLogger("rex.attach")

Action = Literal["upload", "download", "remove", "list", "link"]

NOT_ALLOWED = "access-denied"
"""The code when the rule refuses a request."""

_NAME = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_ORIGIN = re.compile(r"https?://[^/?#@\s]+(?=[/?#]|\Z)")
OTHER_HOST = "wrong-host"
"""The code when a request is for another host, to be answered with 421 (RFC 9110, 15.5.20)."""

_IDENTITIES = ("pk", "id", "sub", "uid", "user_id", "identity", "username", "email")
"""What frameworks and tokens call that by which a user is known; the first that there is counts."""

Rule: TypeAlias = Callable[[Any, Action, str | None], bool | Awaitable[bool]]


class Access:
    """Asks a rule about each request, and sees to it that no other site makes one.

    The rule gets the user whom the host application put into the ASGI scope (None when there is
    none), the action, and the handle where there is one. An ``async`` rule is awaited. A plain rule
    may block, as a database does, and is called in a worker thread, in the context of the request.
    """

    def __init__(
        self, rule: Rule, *, origins: Sequence[str] = (), hosts: Sequence[str] = ()
    ) -> None:
        self._rule = rule
        self._is_called_here = isinstance(rule, _Immediate) or _is_async(rule)
        self._origins = frozenset(origins)
        self._hosts = frozenset(map(_host_name, hosts))

    def check_host(self, request: Request) -> None:
        """Check that the request is for one of the hosts, if any are named. Errors: `DENIED`."""
        given = request.headers.get("host", "")
        if self._hosts and _host_name(given) not in self._hosts:
            raise Error(
                "The service is not known by this host name",
                show(given),
                kind=Kind.DENIED,
                code=OTHER_HOST,
                setting="attach_hosts",
            )

    async def check(self, request: Request, action: Action, handle: str | None = None) -> None:
        """Let the request pass. Errors: `DENIED`."""
        self.check_host(request)
        if action in ("upload", "remove", "link") and self._is_cross_site(request):
            raise Error("Another site may not do this", kind=Kind.DENIED, code="cross-origin")
        asked = self._user(request), action, handle
        if self._is_called_here:
            allowed = self._rule(*asked)
        else:
            allowed = await run_in_threadpool(self._rule, *asked)
        if inspect.isawaitable(allowed):
            allowed = await allowed
        if allowed is not True:
            raise Error("You may not do this", kind=Kind.DENIED, code=NOT_ALLOWED)

    def owner(self, request: Request) -> str | None:
        """Return a text for the user of a request, another for each user; None without a user.

        A user is a text, a number or a UUID, or has one of these under a known name: as an
        attribute, or as an item where the user is a mapping (see `docs/http.md`). The text may be a
        key, so it must not be shown. Errors: `DENIED` for a user who has none of that.
        """
        user = self._user(request)
        if user is None or getattr(user, "is_authenticated", True) is False:
            return None
        identity = user.key.decode() if isinstance(user, _Bearer) else _identity(user)
        if not identity:
            log.error(
                "uploads of this user are refused: a user needs one of %s; it is a %s",
                ", ".join(_IDENTITIES),
                type(user).__qualname__,
            )
            raise Error(
                "The service cannot tell this user from another",
                kind=Kind.DENIED,
                code="no-identity",
            )
        return identity

    async def check_upload(
        self, request: Request, action: Action, storage: Storage, handle: str
    ) -> None:
        """Check that a request may continue an upload: by the rule and by the owner.

        Errors: `DENIED`.
        """
        await self.check(request, action, handle)
        await self.check_owner(request, storage, handle)

    async def check_owner(self, request: Request, storage: Storage, handle: str) -> None:
        """Check that a handle was not made for another user. Errors: `DENIED`."""
        if parse_handle(handle).is_marked:
            owner = self.owner(request)
            if owner is None or not await storage.aio.is_owned_by(handle, owner):
                raise Error(
                    "This upload belongs to another user", kind=Kind.DENIED, code="not-owner"
                )

    def cors(self, request: Request) -> dict[str, str]:
        """Return the headers that let pages of the sites that may use the service read an answer.

        Such a page may send the user's cookies and other credentials, and is told which headers of
        its own it may send (Fetch, CORS protocol). A page that shows a file in an image or a video
        sends no Origin, unless it is told to: then Referer tells whether it may. Where there are
        such sites, a browser must not give them what it keeps of an answer to another.
        """
        if not self._origins:
            return {}
        headers = {"Vary": "Origin"}
        origin = request.headers.get("origin")
        if origin in self._origins:
            headers["Access-Control-Allow-Origin"] = origin
            headers["Access-Control-Expose-Headers"] = EXPOSED
            if origin != "null":  # which any site can be
                headers["Access-Control-Allow-Credentials"] = "true"
            asked = request.headers.get("access-control-request-headers")
            if asked is not None:
                # To a request with credentials, an asterisk is a name as any other.
                names = ["*", "Authorization", *_NAME.findall(asked)]
                headers["Access-Control-Allow-Headers"] = ", ".join(names)
        if (_origin_of_page(request) if origin is None else origin) in self._origins:
            headers["Cross-Origin-Resource-Policy"] = "cross-origin"
        return headers

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


def _origin_of_page(request: Request) -> str | None:
    """Return the origin of the page that Referer names (RFC 9110, section 10.1.3)."""
    found = _ORIGIN.match(request.headers.get("referer", ""))
    return None if found is None else found[0]


def _host_name(host: str) -> str:
    """Return a host without its port, as names are compared (RFC 3986, section 3.2.2)."""
    return re.sub(r":[0-9]*\Z", "", host).removesuffix(".").lower()


def _identity(user: Any) -> str | None:
    """Return what a user is known by, or None."""
    if isinstance(user, str | int | UUID):
        return _fingerprint(user)
    for name in _IDENTITIES:
        printed = _fingerprint(
            user.get(name) if isinstance(user, Mapping) else _attribute(user, name)
        )
        if printed is not None:
            return f"{name}:{printed}"
    return None


def _attribute(user: Any, name: str) -> Any:
    try:
        return getattr(user, name, None)
    except NotImplementedError:  # as Starlette's BaseUser does
        return None


def _fingerprint(given: Any) -> str | None:
    """Return a text that differs for identities that differ."""
    is_known = isinstance(given, str | int | UUID) and not isinstance(given, bool)
    return ascii(given) if is_known and given != "" else None


class _Bearer:
    """The key that a request shows (RFC 6750)."""

    def __init__(self, request: Request) -> None:
        found = re.fullmatch(r"(?i:bearer) +([!-~]+)", request.headers.get("authorization", ""))
        self.key = found[1].encode() if found else b""


class _Immediate:
    """A rule of our own, which does not wait for anything."""


class _Always(_Immediate):
    """A rule with one answer to all requests."""

    def __init__(self, *, allowed: bool) -> None:
        self._allowed = allowed

    def __call__(self, *_: object) -> bool:
        return self._allowed


class _Keys(_Immediate):
    """A rule: whoever shows one of the keys may do everything."""

    def __init__(self, keys: Sequence[str]) -> None:
        self._keys = [key.encode() for key in keys]

    def __call__(self, user: _Bearer, *_: object) -> bool:
        # All are compared, so that the time tells nothing.
        return sum(hmac.compare_digest(key, user.key) for key in self._keys) > 0


def _is_async(rule: Any) -> bool:
    """Return whether a rule is asynchronous: calling it returns at once what is to be awaited."""
    while isinstance(rule, functools.partial):
        rule = rule.func
    return inspect.iscoroutinefunction(rule) or inspect.iscoroutinefunction(
        getattr(rule, "__call__", None)  # noqa: B004 - that it can be called is known
    )


def access_rule(name: str, keys: Secret | None) -> Rule:
    """Find the rule that a setting names.

    ``none``, ``public``, ``bearer`` (whoever shows one of the `keys`, which are separated by
    commas), or ``module:function``. Errors: `CONFIGURATION`.
    """
    if name == "none":
        return _Always(allowed=False)
    if name == "public":
        return _Always(allowed=True)
    if name == "bearer":
        return _Keys(bearer_keys(keys))
    return import_rule(name)
