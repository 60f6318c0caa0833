"""Access control over HTTP: rules, hosts, origins and owners."""

from __future__ import annotations

import asyncio
import functools
import hmac
import inspect
import re
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request

from rex.attach.handle import parse_handle, show
from rex.attach.owner import IDENTITIES, identity_of
from rex.attach.settings import ACCESS, bearer_keys, check_user, takes_request
from rex.attach.storage import Storage  # noqa: TC001 - resolved at run time
from rex.attach.storage.hooks import UploadRequest  # noqa: TC001 - as above
from rex.attach.storage.request_thread import REQUEST_THREAD
from rex.attach.web.cross_origin import cross_origin
from rex.attach.web.paths import own_origins
from rex.core import Error, Kind
from rex.core.function import Function
from rex.core.log import get_logger

if TYPE_CHECKING:
    from rex.core import Secret

__all__ = [
    "EXPOSED",
    "Access",
    "Action",
    "Rule",
    "User",
    "access_rule",
    "owner_of_user",
    "owners_only",
]

log = get_logger("rex.attach")

EXPOSED = (
    "Accept-Encoding, Accept-Patch, Accept-Ranges, Allow, Content-Disposition, Content-Encoding, "
    "Content-Length, Content-Location, Content-Range, ETag, Last-Modified, Location, Retry-After, "
    "Tus-Checksum-Algorithm, Tus-Extension, Tus-Max-Size, Tus-Resumable, Tus-Version, "
    "Upload-Complete, Upload-Concat, Upload-Defer-Length, Upload-Expires, Upload-Incomplete, "
    "Upload-Length, Upload-Limit, Upload-Metadata, Upload-Offset, WWW-Authenticate"
)
"""The response headers that pages of other sites may read (Access-Control-Expose-Headers)."""

Action = Literal["upload", "download", "remove", "list", "link"]

NOT_ALLOWED = "access-denied"
"""The error code when the rule refuses a request."""

_USERS = "rex.attach.users"
"""The scope key of the users that the functions of the application returned, by `Access`."""

_NAME = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_ORIGIN = re.compile(r"https?://[^/?#@\s]+(?=[/?#]|\Z)")
OTHER_HOST = "wrong-host"
"""The error code for an unknown host, answered with 421 (RFC 9110, section 15.5.20)."""

Rule: TypeAlias = (
    Callable[[Any, Action, str | None], bool | Awaitable[bool]]
    | Callable[[Any, Action, str | None, Request], bool | Awaitable[bool]]
)
"""The access rule of an application."""

User: TypeAlias = Callable[[Request], Any]
"""A function, plain or ``async``, that returns the user of a request."""


class Access:
    """Checks each request with a rule, and refuses cross-origin requests.

    The rule receives the user (or None), the action, the handle (or None) and, if it has a fourth
    parameter without a default, the request. The user is what the function `user` returns for the
    request, or else the user that the host application put into the ASGI scope. `user` is called
    once in a request, and only where there is a rule to check.

    ``async`` functions are awaited. Plain functions may block, as database queries do: they run in
    a worker thread, in the context of the request, or under WSGI in the thread of the request. Both
    may raise Starlette's (or FastAPI's)
    `HTTPException`, which becomes the response.

    Errors: `CONFIGURATION` for a function with other parameters.
    """

    def __init__(
        self,
        rule: Rule,
        *,
        user: User | None = None,
        origins: Sequence[str] = (),
        hosts: Sequence[str] = (),
        url: str | None = None,
    ) -> None:
        self._takes_request = takes_request(rule)
        self._rule: Callable[..., bool | Awaitable[bool]] = rule
        self._load_user = user
        if user is not None:
            check_user(user)
        self._origins = frozenset(origins)
        self._hosts = frozenset(map(_host_name, hosts))
        self._url = url

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
        await self._find_user(request)
        asked = self._user(request), action, handle, request
        allowed = await _call(self._rule, *asked[: 4 if self._takes_request else 3])
        if allowed is not True:
            raise Error("Access denied", kind=Kind.DENIED, code=NOT_ALLOWED)

    async def _find_user(self, request: Request) -> None:
        users = request.scope.setdefault(_USERS, {})
        if self._load_user is not None and self not in users:
            users[self] = await _call(self._load_user, request)

    async def find_owner(self, request: Request, storage: Storage, handle: str) -> object:
        """Return the user of a request that a token allows, if the upload is that user's.

        None otherwise: such a request needs no user, and may come from any site.
        """
        if not (storage.hooks.notifies and parse_handle(handle).is_marked):
            return None
        try:
            await self._find_user(request)
            owner = self.owner(request)
            is_theirs = owner is not None and await storage.aio.is_owned_by(handle, owner)
        except Exception:  # noqa: BLE001 - the function of the application refuses visitors
            return None
        return owner if is_theirs else None

    def owner(self, request: Request) -> object:
        """Return the user of a request, as the owner of an upload; None without a user.

        Errors: `DENIED` for a user without an identity (`rex.attach.owner`).
        """
        return owner_of_user(self._user(request))

    async def begin(
        self,
        request: Request,
        action: Action,
        storage: Storage,
        name: str | None,
        *,
        content_type: str | None = None,
        size: int | None = None,
    ) -> UploadRequest:
        """Begin an upload of the user of a request; check the rule with the new handle.

        Errors: `DENIED`; those of `Storage.begin`.
        """
        begun = await storage.aio.begin(
            name, content_type=content_type, size=size, owner=self.owner(request)
        )
        await self.check(request, action, begun.handle)
        return begun

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
        if isinstance(self._rule, _Keys):
            return _Bearer(request)
        if self._load_user is None:
            return request.scope.get("user")
        try:
            return request.scope[_USERS][self]
        except KeyError:
            raise Error("The user is not known before Access.check") from None

    def _check_origin(self, request: Request) -> None:
        """Check that the request does not come from a page of another site (Fetch, Origin)."""
        origin = request.headers.get("origin")
        # Pages cannot forge Sec-Fetch-Site; older browsers do not send it.
        site = request.headers.get("sec-fetch-site")
        if site == "same-origin" or origin in self._origins:
            return
        if origin is None and site not in ("cross-site", "same-site"):
            return
        own = own_origins(request, self._url)
        if origin not in own:
            raise cross_origin(request, own)


def owner_of_user(user: object) -> object:
    """Return a user as the owner of an upload; None for a visitor who is not signed in.

    Errors: `DENIED` for a user without an identity (`rex.attach.owner`).
    """
    if not _is_signed_in(user):
        return None
    if identity_of(user) is None:
        log.error(
            "upload refused: the user needs an identity, one of %s; the user is a %s",
            ", ".join(IDENTITIES),
            type(user).__qualname__,
        )
        raise Error("The user has no identity", kind=Kind.DENIED, code="no-identity")
    return user


def owners_only(storage: Storage) -> Callable[[Any, Action, str | None], bool]:
    """Return the rule of an application whose users keep files of their own.

    A signed-in user may upload, and may download, link to and remove what they uploaded. No user
    may list. An attachment without an owner belongs to no user.
    """

    def rule(user: Any, action: Action, handle: str | None) -> bool:
        if action == "list" or not _is_signed_in(user) or identity_of(user) is None:
            return False
        return handle is None or storage.is_owned_by(handle, user)

    return rule


def _is_signed_in(user: object) -> bool:
    """Check whether a request has a user; frameworks have objects for visitors without one."""
    return user is not None and getattr(user, "is_authenticated", True) is not False


def _origin_of_page(request: Request) -> str | None:
    """Return the origin of the page that Referer names (RFC 9110, section 10.1.3)."""
    found = _ORIGIN.match(request.headers.get("referer", ""))
    return None if found is None else found[0]


def _host_name(host: str) -> str:
    """Return a host name normalised for comparison, without the port (RFC 3986, section 3.2.2)."""
    return re.sub(r":[0-9]*\Z", "", host).removesuffix(".").lower()


class _Bearer:
    """The bearer key of a request (RFC 6750)."""

    def __init__(self, request: Request) -> None:
        found = re.fullmatch(r"(?i:bearer) +([!-~]+)", request.headers.get("authorization", ""))
        self.key = found[1].encode() if found else b""

    @property
    def identity(self) -> str:
        """What identifies the client."""
        return self.key.decode()


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


async def _call(function: Callable[..., Any], *arguments: object) -> Any:
    """Call a function of the application: a plain one in a worker thread, unless it is ours."""
    if isinstance(function, _Immediate) or _is_async(function):
        result = function(*arguments)
    elif (thread := REQUEST_THREAD.get()) is not None:
        result = await asyncio.wrap_future(thread.submit(function, *arguments))
    else:
        result = await run_in_threadpool(function, *arguments)
    return await result if inspect.isawaitable(result) else result


def _is_async(rule: Any) -> bool:
    """Check whether a rule is asynchronous: calling it returns an awaitable immediately."""
    while isinstance(rule, functools.partial):
        rule = rule.func
    return inspect.iscoroutinefunction(rule) or inspect.iscoroutinefunction(
        getattr(rule, "__call__", None)  # noqa: B004 - that it can be called is known
    )


def access_rule(access: str | Function, keys: Secret | None) -> Rule:
    """Return the rule for a value of ``attach_access``.

    The value is ``none``, ``public``, ``bearer`` (requests with one of the comma-separated `keys`)
    or a function. Errors: `CONFIGURATION`.
    """
    rule = ACCESS.parse(access)
    if isinstance(rule, Function):
        return rule.load(ACCESS.name)
    return _Keys(bearer_keys(keys)) if rule == "bearer" else _Always(allowed=rule == "public")
