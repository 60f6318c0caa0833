"""Values that are not shown by accident, and how other values are shown in an error."""

from __future__ import annotations

import re

__all__ = ["Given", "Secret", "show"]


class Secret:
    """A text that is not shown by accident; `reveal()` gives it.

    Two secrets are compared in constant time. A secret never equals a plain text.
    """

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        """Return the text itself, to hand it to what needs it."""
        return self._text

    def __repr__(self) -> str:
        return "***"

    def __format__(self, form: str) -> str:
        return format(str(self), form)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        from hmac import compare_digest  # slow to import, and hardly ever needed

        ours, theirs = (secret.reveal().encode(errors="surrogatepass") for secret in (self, other))
        return compare_digest(ours, theirs)

    def __hash__(self) -> int:
        return hash((Secret, self._text))


class Given(dict[str, object]):
    """Values by the names of settings, before it is known which are secret: it shows none."""

    def __repr__(self) -> str:
        return f"<given: {', '.join(self)}>"


def show(given: object) -> str:
    """Show a value that was given: not at length, and without what may be secret in an address."""
    shown = re.sub(r"(?<=//).*@", "***@", repr(given))
    shown = re.sub(r"(?<=[?#]).*", "***", shown) if "//" in shown else shown
    return shown if len(shown) <= 100 else f"{shown[:97]}..."  # noqa: PLR2004 - a line's length
