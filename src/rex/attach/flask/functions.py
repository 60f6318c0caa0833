"""The functions of an application as the service calls them: with what Flask knows."""

from __future__ import annotations

import functools
import inspect
from typing import TYPE_CHECKING, Any

import flask
from starlette.exceptions import HTTPException as Refusal
from werkzeug.exceptions import HTTPException
from werkzeug.local import LocalProxy

from rex.attach.settings import ACCESS, USER, check_user, takes_request
from rex.attach.web.access import access_rule
from rex.core.function import Function

if TYPE_CHECKING:
    from collections.abc import Callable

    from rex.attach.web import Rule, User
    from rex.core import Secret

__all__ = ["rule_of", "user_of"]

_OF_CONTENT = ("content-type", "content-length")


def rule_of(given: str | Function, keys: Secret | None) -> Rule:
    """Return the access rule of a setting; a function gets Flask's request."""
    if not isinstance(given, Function):
        return access_rule(given, keys)
    rule = _Loaded(given, ACCESS.name)

    def without_request(user: Any, action: str, handle: str | None) -> Any:
        function = rule.load()
        takes = takes_request(function)
        more = (_this(flask.request),) if takes else ()
        return _in_flask(function, user, action, handle, *more)

    return without_request


def user_of(given: Function | None) -> User:
    """Return the function of the user of a setting; the default is the user of Flask-Login."""
    if given is None:
        return lambda _: _login_user()
    user = _Loaded(given, USER.name)

    def find(_: object) -> Any:
        function = user.load()
        if _takes_nothing(function):
            return _in_flask(function)
        check_user(function)
        return _in_flask(function, _this(flask.request))

    return find


class _Loaded:
    """A function that may be given by name, imported at its first use."""

    def __init__(self, given: Function, setting: str) -> None:
        self._given = given
        self._setting = setting

    @functools.cache  # noqa: B019 - as long-lived as the application
    def load(self) -> Callable[..., Any]:
        return self._given.load(self._setting)


def _in_flask(function: Callable[..., Any], *arguments: object) -> Any:
    """Call a function in the request; what it aborts with becomes the response of the service."""
    try:
        result = function(*arguments)
    except HTTPException as failure:
        raise _refusal(failure) from None
    return _in_flask_async(result) if inspect.isawaitable(result) else _this(result)


async def _in_flask_async(awaitable: Any) -> Any:
    try:
        return _this(await awaitable)
    except HTTPException as failure:
        raise _refusal(failure) from None


def _refusal(failure: HTTPException) -> Refusal:
    """Return an exception of Flask as the service knows it."""
    response = failure.get_response()
    headers = {name: value for name, value in response.headers if name.lower() not in _OF_CONTENT}
    return Refusal(response.status_code, failure.description or "", headers)


def _this(result: Any) -> Any:
    """Return the object behind a proxy, which exists only in the request."""
    return result._get_current_object() if isinstance(result, LocalProxy) else result  # noqa: SLF001 - public in werkzeug


def _takes_nothing(function: Callable[..., Any]) -> bool:
    try:
        inspect.signature(function).bind()
    except (TypeError, ValueError):
        return False
    return True


def _login_user() -> Any:
    """Return the user of Flask-Login, or None if the application does not have that."""
    if not hasattr(flask.current_app, "login_manager"):
        return None
    from flask_login import current_user

    return _this(current_user)
