"""The request that is being answered, and whose it is: forms and widgets are not given it."""

from __future__ import annotations

import secrets
from contextlib import contextmanager
from contextvars import ContextVar
from inspect import iscoroutinefunction
from typing import TYPE_CHECKING, Any, cast

from django.utils.decorators import sync_and_async_middleware

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from django.http import HttpRequest
    from django.http.response import HttpResponseBase

    Answer = Callable[[HttpRequest], HttpResponseBase]
    AsyncAnswer = Callable[[HttpRequest], Awaitable[HttpResponseBase]]

__all__ = ["current_request", "direct_upload", "owner_of_request", "serving", "users_of"]

VISITOR = "rex_attach_visitor"
"""The key of an anonymous visitor's identity in the session.

The key of the session itself changes at each login, and with signed cookies at each change.
"""

_current: ContextVar[HttpRequest | None] = ContextVar("rex.attach.django.request", default=None)


@contextmanager
def serving(request: HttpRequest) -> Iterator[None]:
    """Make `request` the current request in the block, as the middleware does."""
    token = _current.set(request)
    try:
        yield
    finally:
        _current.reset(token)


@sync_and_async_middleware
def direct_upload(get_response: Answer | AsyncAnswer) -> Answer | AsyncAnswer:
    """Make forms upload files straight to the storage: an entry of ``MIDDLEWARE``, at any place.

    A form does not know its request, but an upload must belong to the user of the request: the
    widget renders an offer for that user, and the form field accepts an upload of that user only.
    Without this middleware, the browser sends the files to Django with the form.
    """
    if iscoroutinefunction(get_response):

        async def answer_async(request: HttpRequest) -> HttpResponseBase:
            with serving(request):
                return await cast("AsyncAnswer", get_response)(request)

        return answer_async

    def answer(request: HttpRequest) -> HttpResponseBase:
        with serving(request):
            return cast("Answer", get_response)(request)

    return answer


def current_request() -> HttpRequest | None:
    """Return the request that is being answered, or None."""
    return _current.get()


def owner_of_request(request: HttpRequest) -> Any:
    """Return the user who is logged in, or None."""
    user = getattr(request, "user", None)
    return user if user is not None and user.is_authenticated else None


def users_of(request: HttpRequest | None, *, create: bool = False) -> list[str]:
    """Return the identities of a request, the user who is logged in first.

    A visitor who logs in keeps the identity of before. With `create`, a request without any gets
    one, in its session, unless it has no session.
    """
    if request is None:
        return []
    owner = owner_of_request(request)
    users = [] if owner is None else [f"user:{owner.pk}"]
    session = getattr(request, "session", None)
    if session is None:
        return users
    if create and not users and VISITOR not in session:
        session[VISITOR] = secrets.token_urlsafe(16)
    visitor = session.get(VISITOR)
    return users if visitor is None else [*users, f"visitor:{visitor}"]
