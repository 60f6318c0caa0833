"""Access control over HTTP: rules, hosts, origins and owners."""

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
from rex.core import Error, Kind

if TYPE_CHECKING:
    from rex.core import Secret

__all__ = ["EXPOSED", "Access", "Action", "Rule", "access_rule"]

log = logging.getLogger("rex.attach")

EXPOSED = (
    "Accept-Encoding, Accept-Ranges, Allow, Content-Disposition, Content-Encoding, "
    "Content-Length, Content-Location, Content-Range, ETag, Last-Modified, Location, Retry-After, "
    "Tus-Checksum-Algorithm, Tus-Extension, Tus-Max-Size, Tus-Resumable, Tus-Version, "
    "Upload-Concat, Upload-Defer-Length, Upload-Expires, Upload-Length, Upload-Metadata, "
    "Upload-Offset, WWW-Authenticate"
)
"""The response headers that pages of other sites may read (Access-Control-Expose-Headers)."""

Action = Literal["upload", "download", "remove", "list", "link"]

NOT_ALLOWED = "access-denied"
"""The error code when the rule refuses a request."""

_NAME = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_ORIGIN = re.compile(r"https?://[^/?#@\s]+(?=[/?#]|\Z)")
OTHER_HOST = "wrong-host"
"""The error code for an unknown host, answered with 421 (RFC 9110, section 15.5.20)."""

_IDENTITIES = ("pk", "id", "sub", "uid", "user_id", "identity", "username", "email")
"""The attributes and claims that identify a user, in order of precedence."""

Rule: TypeAlias = Callable[[Any, Action, str | None], bool | Awaitable[bool]]


class Access:
    """Checks each request with a rule, and refuses cross-origin requests.

    The rule receives the user that the host application put into the ASGI scope (or None), the
    action, and the handle (or None). An ``async`` rule is awaited. A plain rule may block, as a
    database query does: it runs in a worker thread, in the context of the request.
    """

    def __init__(
        self, rule: Rule, *, origins: Sequence[str] = (), hosts: Sequence[str] = ()
    ) -> None:
        self._rule = rule
        self._is_called_here = isinstance(rule, _Immediate) or _is_async(rule)
        self._origins = frozenset(origins)
        self._hosts = frozenset(map(_host_name, hosts))

    def check_host(self, request: Request) -> None:
        """Check the host name of a request, if hosts are configured. Errors: `DENIED`."""
        given = request.headers.get("host", "")
        if self._hosts and _host_name(given) not in self._hosts:
            raise Error(
                "Unknown host name",
                show(given),
                kind=Kind.DENIED,
                code=OTHER_HOST,
                setting="attach_hosts",
            )

    async def check(self, request: Request, action: Action, handle: str | None = None) -> None:
        """Check a request with the rule. Errors: `DENIED`."""
        self.check_host(request)
        if action in ("upload", "remove", "link"):
            self._check_origin(request)
        asked = self._user(request), action, handle
        if self._is_called_here:
            allowed = self._rule(*asked)
        else:
            allowed = await run_in_threadpool(self._rule, *asked)
        if inspect.isawaitable(allowed):
            allowed = await allowed
        if allowed is not True:
            raise Error("Access denied", kind=Kind.DENIED, code=NOT_ALLOWED)

    def owner(self, request: Request) -> str | None:
        """Return a string that identifies the user of a request; None without a user.

        A user is a string, a number or a UUID, or has one of these as a known attribute (or item,
        if the user is a mapping): see `docs/http.md`. The result may be an access key and must not
        be shown. Errors: `DENIED` for a user without an identity.
        """
        user = self._user(request)
        if user is None or getattr(user, "is_authenticated", True) is False:
            return None
        identity = user.key.decode() if isinstance(user, _Bearer) else _identity(user)
        if not identity:
            log.error(
                "upload refused: the user needs an identity, one of %s; the user is a %s",
                ", ".join(_IDENTITIES),
                type(user).__qualname__,
            )
            raise Error(
                "The user has no identity",
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
        """Return the CORS headers of the response (Fetch, CORS protocol).

        Pages of the allowed origins may send credentials and custom headers. A page that shows a
        file as an image or a video sends no Origin unless it has ``crossorigin``: then the origin
        of the Referer counts. ``Vary`` keeps a browser from reusing a response cached for another
        origin.
        """
        if not self._origins:
            return {}
        headers = {"Vary": "Origin"}
        origin = request.headers.get("origin")
        if origin in self._origins:
            headers["Access-Control-Allow-Origin"] = origin
            headers["Access-Control-Expose-Headers"] = EXPOSED
            if origin != "null":  # any site can have this origin
                headers["Access-Control-Allow-Credentials"] = "true"
            asked = request.headers.get("access-control-request-headers")
            if asked is not None:
                # With credentials, an asterisk is not a wildcard.
                names = ["*", "Authorization", *_NAME.findall(asked)]
                headers["Access-Control-Allow-Headers"] = ", ".join(names)
        if (_origin_of_page(request) if origin is None else origin) in self._origins:
            headers["Cross-Origin-Resource-Policy"] = "cross-origin"
        return headers

    @property
    def challenge(self) -> str | None:
        """The challenge for a request without a key (RFC 9110, section 11.6.1)."""
        return "Bearer" if isinstance(self._rule, _Keys) else None

    def _user(self, request: Request) -> Any:
        return _Bearer(request) if isinstance(self._rule, _Keys) else request.scope.get("user")

    def _check_origin(self, request: Request) -> None:
        """Check that the request does not come from a page of another site (Fetch, Origin)."""
        origin = request.headers.get("origin")
        # Pages cannot forge Sec-Fetch-Site; older browsers do not send it.
        site = request.headers.get("sec-fetch-site")
        if site == "same-origin" or origin in self._origins:
            return
        host = request.headers.get("host", "")
        port = {"http": ":80", "https": ":443"}.get(request.url.scheme, "")
        own = f"{request.url.scheme}://{host.removesuffix(port)}"
        if site in ("cross-site", "same-site") if origin is None else origin != own:
            page = "another origin" if origin is None else show(origin)
            raise Error(
                "Cross-origin request refused",
                f"the page is from {page}, the service is {show(own)}; "
                f"allow {page} with attach_origins",
                kind=Kind.DENIED,
                code="cross-origin",
            )


def _origin_of_page(request: Request) -> str | None:
    """Return the origin of the page that Referer names (RFC 9110, section 10.1.3)."""
    found = _ORIGIN.match(request.headers.get("referer", ""))
    return None if found is None else found[0]


def _host_name(host: str) -> str:
    """Return a host name normalised for comparison, without the port (RFC 3986, section 3.2.2)."""
    return re.sub(r":[0-9]*\Z", "", host).removesuffix(".").lower()


def _identity(user: Any) -> str | None:
    """Return the identity of a user, or None."""
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
    except NotImplementedError:  # raised by Starlette's BaseUser
        return None


def _fingerprint(given: Any) -> str | None:
    """Return a string that is unique for an identity, or None for other values."""
    is_known = isinstance(given, str | int | UUID) and not isinstance(given, bool)
    return ascii(given) if is_known and given != "" else None


class _Bearer:
    """The bearer key of a request (RFC 6750)."""

    def __init__(self, request: Request) -> None:
        found = re.fullmatch(r"(?i:bearer) +([!-~]+)", request.headers.get("authorization", ""))
        self.key = found[1].encode() if found else b""


class _Immediate:
    """A built-in rule, which never blocks."""


class _Always(_Immediate):
    """A rule that allows or denies every request."""

    def __init__(self, *, allowed: bool) -> None:
        self._allowed = allowed

    def __call__(self, *_: object) -> bool:
        return self._allowed


class _Keys(_Immediate):
    """A rule that allows every request with one of the keys."""

    def __init__(self, keys: Sequence[str]) -> None:
        self._keys = [key.encode() for key in keys]

    def __call__(self, user: _Bearer, *_: object) -> bool:
        # Every key is compared, so that the time reveals nothing.
        return sum(hmac.compare_digest(key, user.key) for key in self._keys) > 0


def _is_async(rule: Any) -> bool:
    """Check whether a rule is asynchronous: calling it returns an awaitable immediately."""
    while isinstance(rule, functools.partial):
        rule = rule.func
    return inspect.iscoroutinefunction(rule) or inspect.iscoroutinefunction(
        getattr(rule, "__call__", None)  # noqa: B004 - that it can be called is known
    )


def access_rule(name: str, keys: Secret | None) -> Rule:
    """Return the rule for a value of ``attach_access``.

    The value is ``none``, ``public``, ``bearer`` (requests with one of the comma-separated `keys`)
    or ``module:function``. Errors: `CONFIGURATION`.
    """
    if name == "none":
        return _Always(allowed=False)
    if name == "public":
        return _Always(allowed=True)
    if name == "bearer":
        return _Keys(bearer_keys(keys))
    return import_rule(name)
