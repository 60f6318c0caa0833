"""Owners of uploads: the identity of an application's user."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rex.core import Error, Kind

__all__ = ["IDENTITIES", "identity_of", "owner_of"]

IDENTITIES = ("pk", "id", "sub", "uid", "user_id", "identity", "username", "email")
"""The attributes and claims that identify a user, in order of precedence."""


def owner_of(user: object) -> str:
    """Return the string that identifies a user, the same for every request of that user.

    A user is a non-empty string, a number or a UUID, or has one of these as an attribute of
    `IDENTITIES` (as an item, if the user is a mapping). The string may contain a secret, such as an
    access key, and must not be shown.

    Errors: `ILL_FORMED` for a user without an identity.
    """
    identity = identity_of(user)
    if identity is None:
        raise Error(
            "The owner of an upload must be a string, a number or a UUID, or have an identity",
            f"one of {', '.join(IDENTITIES)}; got {type(user).__qualname__}",
            kind=Kind.ILL_FORMED,
            code="no-identity",
        )
    return identity


def identity_of(user: object) -> str | None:
    """Return the string that identifies a user, or None for a user without an identity."""
    given = _fingerprint(user)
    if given is not None:
        return given
    for name in IDENTITIES:
        found = user.get(name) if isinstance(user, Mapping) else _attribute(user, name)
        printed = _fingerprint(found)
        if printed is not None:
            return f"{name}:{printed}"
    return None


def _attribute(user: object, name: str) -> Any:
    try:
        return getattr(user, name, None)
    except NotImplementedError:  # raised by Starlette's BaseUser
        return None


def _fingerprint(given: object) -> str | None:
    """Return a string that is unique for an identity, or None for other values."""
    from uuid import UUID

    is_known = isinstance(given, str | int | UUID) and not isinstance(given, bool)
    return ascii(given) if is_known and given != "" else None
