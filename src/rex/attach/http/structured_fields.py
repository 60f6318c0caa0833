"""Structured fields of HTTP (RFC 9651): the items that requests of resumable uploads have."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["read_boolean", "read_size"]

_BARE = (
    r"(?:-?[0-9]{1,15}|-?[0-9]{1,12}\.[0-9]{1,3}|@-?[0-9]{1,15}|\?[01]"
    r'|%?"(?:[ !#-\[\]-~]|\\["\\])*"|:[A-Za-z0-9+/=]*:|[A-Za-z*][!#$%&\'*+\-.^_`|~0-9A-Za-z:/]*)'
)
_PARAMETERS = rf"(?:; *[a-z*][a-z0-9_\-.*]*(?:={_BARE})?)*"
_ITEM = re.compile(rf" *({_BARE}){_PARAMETERS} *")

_BOOLEANS = {"?0": False, "?1": True}
_SIZE = re.compile(r"-0+|[0-9]{1,15}")


def read_boolean(lines: Sequence[str]) -> bool | None:
    """Return the value of a field that is an item, a boolean; None if it is absent or malformed."""
    return _BOOLEANS.get(_bare(lines))


def read_size(lines: Sequence[str]) -> int | None:
    """Return the value of a field that is an item, an integer of 0 or more; None as above."""
    bare = _bare(lines)
    return abs(int(bare)) if _SIZE.fullmatch(bare) else None


def _bare(lines: Sequence[str]) -> str:
    """Return an item without its parameters, which have no meaning here; empty if malformed."""
    found = _ITEM.fullmatch(", ".join(lines))
    return found[1] if found else ""
