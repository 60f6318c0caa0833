"""What the settings of the HTTP service may say: who may use it, and by which host names."""

from __future__ import annotations

import importlib
import re
from typing import TYPE_CHECKING, Any

from rex.core import Error, Kind
from rex.core.typed import MIN_KEY_LENGTH, Type

if TYPE_CHECKING:
    from collections.abc import Callable

    from rex.core import Secret

__all__ = [
    "NAMES",
    "bearer_keys",
    "check_rule",
    "comma_separated",
    "host_names",
    "import_rule",
    "rule_name",
]

NAMES = ("none", "public", "bearer")
"""The rules that need no code."""

_REFERENCE = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*")
"""``module:function``, of Python identifiers."""

_HOST_NAME = re.compile(r"[0-9A-Za-z_](?:[0-9A-Za-z_.-]*[0-9A-Za-z_.])?|\[[0-9A-Fa-f:.]+\]")
"""A name or an address as the header Host has it, without the port (RFC 3986, section 3.2.2)."""


def _read_rule(given: object) -> str:
    if not isinstance(given, str) or not (given in NAMES or _REFERENCE.fullmatch(given)):
        raise ValueError
    return given


def _read_hosts(given: object) -> str:
    if not isinstance(given, str):
        raise TypeError
    names = comma_separated(given)
    if not names or not all(map(_HOST_NAME.fullmatch, names)):
        raise ValueError
    return given


rule_name = Type(f"{', '.join(NAMES)} or module:function", _read_rule)
"""The type of attach_access: it refuses a misspelt name before anything is imported."""

host_names = Type("host names without ports, as 'example.org, localhost, [::1]'", _read_hosts)
"""The type of attach_hosts."""


def comma_separated(text: str) -> list[str]:
    """Return the items of a setting that holds several."""
    return [item for given in text.split(",") if (item := given.strip())]


def check_rule(name: str, keys: Secret | None) -> None:
    """Check that a rule is usable; this imports a function. Errors: `CONFIGURATION`."""
    if name == "bearer":
        bearer_keys(keys)
    elif name not in NAMES:
        import_rule(name)


def bearer_keys(keys: Secret | None) -> list[str]:
    """Return the keys that bearer accepts.

    Errors: `CONFIGURATION` if there are none, and for one of under `MIN_KEY_LENGTH` characters.
    """
    known = [key.strip() for key in (keys.reveal() if keys else "").split(",")]
    if not all(len(key) >= MIN_KEY_LENGTH for key in known):
        raise Error(
            f"Access by bearer needs keys of at least {MIN_KEY_LENGTH} characters",
            kind=Kind.CONFIGURATION,
            code="wrong-setting",
            setting="attach_access_keys",
        )
    return known


def import_rule(name: str) -> Callable[..., Any]:
    """Import the function that ``module:function`` names. Errors: `CONFIGURATION`."""
    module, colon, function = name.partition(":")
    try:
        rule: Callable[..., Any] = getattr(importlib.import_module(module), function)
        if not callable(rule):
            raise TypeError("this is not a function")  # noqa: TRY301 - as what cannot be found
    except Exception as failure:
        # The module of an application may raise anything while it is imported.
        raise Error(
            "Access must be none, public, bearer or module:function",
            f"{name}: {failure}" if colon else name,
            kind=Kind.CONFIGURATION,
            code="wrong-setting",
            setting="attach_access",
        ) from failure
    return rule
