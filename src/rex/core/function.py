"""Functions of an application that a setting names, and the check of their parameters."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from rex.core.error import Error, Kind

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Function", "find_signature"]


class Function:
    """The value of a setting that names a function: ``module:function``, or a callable in Python.

    It is printed as ``module:function``. The module is imported by `load`, not when the setting is
    read: it may be the module that creates the application.
    """

    __slots__ = ("_given",)

    def __init__(self, given: str | Callable[..., Any]) -> None:
        self._given = given

    @property
    def needs_import(self) -> bool:
        """Whether `load` imports a module."""
        return isinstance(self._given, str)

    def load(self, setting: str) -> Callable[..., Any]:
        """Return the function; import its module if necessary.

        `setting` is the name of the setting, for the error. Errors: `CONFIGURATION`.
        """
        if callable(self._given):
            return self._given
        module, _, name = self._given.partition(":")
        try:
            function: Callable[..., Any] = getattr(importlib.import_module(module), name)
            if not callable(function):
                raise TypeError("this is not a function")  # noqa: TRY301 - as for a missing function
        except Exception as failure:
            # The module of an application may raise any exception while it is imported.
            raise _wrong("Cannot import the function", f"{self}: {failure}", setting) from failure
        return function

    def __str__(self) -> str:
        return self._given if isinstance(self._given, str) else _name(self._given)

    def __repr__(self) -> str:
        return repr(self._given) if isinstance(self._given, str) else f"<function {self}>"


def find_signature(function: Callable[..., Any], signatures: tuple[str, ...], setting: str) -> str:
    """Return the first signature with which a function can be called.

    `signatures` are the names of positional arguments, as in ``"user, action, handle"``. A function
    whose parameters are unknown, as of some builtins, has the first one. `setting` is the name of
    the setting, for the error. Errors: `CONFIGURATION` if there is none.
    """
    import inspect  # slow to import, rarely needed

    try:
        known = inspect.signature(function)
    except (TypeError, ValueError):
        return signatures[0]
    for signature in signatures:
        try:
            known.bind(*signature.split(", "))
        except TypeError:
            continue
        return signature
    expected = " or ".join(f"({signature})" for signature in signatures)
    raise _wrong(
        "The function has the wrong parameters",
        f"{_name(function)} has ({', '.join(known.parameters)}), expected {expected}",
        setting,
    )


def _name(function: Callable[..., Any]) -> str:
    """Return ``module:function``; of an object such as a partial function, that of its class."""
    named: Any = function if hasattr(function, "__qualname__") else type(function)
    return f"{named.__module__}:{named.__qualname__}"


def _wrong(message: str, payload: str, setting: str) -> Error:
    return Error(message, payload, kind=Kind.CONFIGURATION, code="wrong-setting", setting=setting)
