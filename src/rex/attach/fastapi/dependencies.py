"""What FastAPI resolves for a request: the storage, the user, the dependencies of the rule."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias, get_args

from fastapi import Depends, params
from starlette.requests import Request

from rex.attach.settings import ACCESS
from rex.attach.storage import Storage
from rex.attach.web.access import Access, owners_only
from rex.core import Error, Kind

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rex.attach.web.access import Action

__all__ = ["RESOLVED", "Dependencies", "Resolved", "Rule"]

Rule: TypeAlias = Callable[..., bool | Awaitable[bool]]
"""An access rule, as in `rex.attach.web`, or one with dependencies among its parameters."""

RESOLVED = "rex.attach.fastapi"
"""The scope key of a `Resolved`."""

_PASSED = ("user", "action", "handle", "request")
"""What a rule with dependencies receives by name, besides them."""


@dataclass(frozen=True, slots=True)
class Resolved:
    """What FastAPI resolved for a request."""

    storage: Storage
    values: Mapping[str, Any]
    """The user and the dependencies of the rule, by the names of their parameters."""


class Dependencies:
    """Declares to FastAPI what an access rule and uploads need.

    Errors: `CONFIGURATION` for a rule with other parameters.
    """

    def __init__(
        self,
        storage: Callable[..., Any],
        rule: Rule | None,
        user: Callable[..., Any] | params.Depends | None,
    ) -> None:
        self._always = {
            "request": _keyword("request", Request),
            "storage": _keyword("storage", Annotated[Storage, Depends(storage)]),
        }
        self._rule: Rule = _is_owner if rule is None else rule
        self._of_rule = {} if rule is None else _find_dependencies(rule)
        self._of_user = {"user": self._of_rule["user"]} if "user" in self._of_rule else {}
        if user is not None:
            dependency = user if isinstance(user, params.Depends) else Depends(user)
            self._of_user = {"user": _keyword("user", Annotated[Any, dependency])}

    def access(self, origins: Sequence[str], hosts: Sequence[str]) -> Access:
        """Return the access control that uses what FastAPI resolved."""
        rule = _adapt(self._rule, self._of_rule) if self._of_rule else self._rule
        return Access(rule, user=_user_of if self._of_user else None, origins=origins, hosts=hosts)

    def declare(self, function: Callable[..., Any], *kinds: str) -> None:
        """Declare the parameters of a function that FastAPI calls: `request` and `storage`.

        With the kind ``user``, also `user`, if there is one; with ``rule``, what the rule needs.
        """
        found = dict(self._always)
        if "rule" in kinds:
            found |= self._of_rule
        if "user" in kinds:
            found |= self._of_user
        function.__signature__ = inspect.Signature([*found.values()])  # type: ignore[attr-defined]


def _is_owner(user: Any, action: Action, handle: str | None, request: Request) -> bool:
    """Apply the rule of an application that has none of its own."""
    return owners_only(request.scope[RESOLVED].storage)(user, action, handle)


async def _user_of(request: Request) -> Any:
    return request.scope[RESOLVED].values["user"]


def _find_dependencies(rule: Rule) -> dict[str, inspect.Parameter]:
    try:
        signature = inspect.signature(rule, eval_str=True)
    except NameError:  # a type that exists for type checkers only
        signature = inspect.signature(rule)
    found = (each for each in signature.parameters.values() if _is_dependency(each))
    return {each.name: each.replace(kind=inspect.Parameter.KEYWORD_ONLY) for each in found}


def _is_dependency(parameter: inspect.Parameter) -> bool:
    """Check whether FastAPI resolves a parameter: by its default, or in ``Annotated``."""
    marks = (parameter.default, *get_args(parameter.annotation)[1:])
    return any(isinstance(mark, params.Depends | params.Param) for mark in marks)


def _adapt(rule: Rule, dependencies: Mapping[str, object]) -> Rule:
    """Return a rule of four parameters that adds the values of the dependencies."""
    names = [name for name in inspect.signature(rule).parameters if name not in dependencies]
    if unknown := [name for name in names if name not in _PASSED]:
        raise Error(
            "The access rule has parameters that are not dependencies",
            f"{', '.join(unknown)}; known: {', '.join(_PASSED)}",
            kind=Kind.CONFIGURATION,
            code="wrong-setting",
            setting=ACCESS.name,
        )

    def bind(*passed: Any) -> Callable[[], Any]:
        resolved: Resolved = passed[-1].scope[RESOLVED]
        known = {**dict(zip(_PASSED, passed, strict=True)), **resolved.values}
        return functools.partial(rule, **{name: known[name] for name in (*names, *dependencies)})

    if inspect.iscoroutinefunction(rule):

        async def check_async(user: Any, action: Any, handle: Any, request: Any) -> Any:
            return await bind(user, action, handle, request)()

        return check_async

    def check(user: Any, action: Any, handle: Any, request: Any) -> Any:
        return bind(user, action, handle, request)()

    return check


def _keyword(name: str, annotation: object) -> inspect.Parameter:
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, annotation=annotation)
