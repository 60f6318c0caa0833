"""Secrets that are not printed by accident, and the display of other values in errors."""

from __future__ import annotations

import re
from typing import Protocol, TypeAlias

__all__ = ["AnySecret", "Given", "Secret", "SecretValue", "reveal", "show"]


class Secret:
    """A text that is printed as ``***``; `reveal()` returns it.

    Secrets compare in constant time. A secret never equals a `str`.
    """

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        """Return the secret text."""
        return self._text

    def __repr__(self) -> str:
        return "***"

    def __format__(self, form: str) -> str:
        return format(str(self), form)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        from hmac import compare_digest  # slow to import, rarely needed

        ours, theirs = (secret.reveal().encode(errors="surrogatepass") for secret in (self, other))
        return compare_digest(ours, theirs)

    def __hash__(self) -> int:
        return hash((Secret, self._text))


class SecretValue(Protocol):
    """A secret of another library, such as pydantic's `SecretStr`."""

    def get_secret_value(self) -> str:
        """Return the secret text."""


AnySecret: TypeAlias = str | Secret | SecretValue
"""A secret in any form that settings and options accept."""


def reveal(given: object) -> object:
    """Return the text of a secret, ours or another library's; return any other value unchanged."""
    get = given.reveal if isinstance(given, Secret) else getattr(given, "get_secret_value", None)
    return get() if callable(get) else given


class Given(dict[str, object]):
    """Values by setting name, of which any may be secret: `repr` shows only the names."""

    def __repr__(self) -> str:
        return f"<given: {', '.join(self)}>"


def show(given: object) -> str:
    """Return the `repr` of a value, shortened and without the parts of a URL that may be secret."""
    shown = re.sub(r"(?<=//).*@", "***@", repr(given))
    shown = re.sub(r"(?<=[?#]).*", "***", shown) if "//" in shown else shown
    return shown if len(shown) <= 100 else f"{shown[:97]}..."  # noqa: PLR2004 - a line's length
