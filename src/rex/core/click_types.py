"""Types of settings as click parameter types, for the options of commands."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from rex.core import typed

if TYPE_CHECKING:
    from rex.core.typed import Type

__all__ = ["DURATION", "SIZE", "TIMEOUT"]


class _Typed(click.ParamType):  # type: ignore[type-arg]  # generic since click 8.4 only
    """A click parameter type made from a type of settings."""

    def __init__(self, name: str, type: Type[Any]) -> None:  # noqa: A002 - as in `Setting`
        self.name = name
        self._type = type

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        try:
            return self._type.read(value)
        except ValueError:
            self.fail(f"{value!r} is not {self._type.expected}", param, ctx)


DURATION = _Typed("duration", typed.duration)
SIZE = _Typed("size", typed.size)
TIMEOUT = _Typed("duration", typed.between(typed.duration, 1, 3600, "from a second to an hour"))
