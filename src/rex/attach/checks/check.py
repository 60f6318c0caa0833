"""What a check is: a function that raises an error for an upload that the application refuses."""

from __future__ import annotations

import io  # noqa: TC003 - resolved at run time
from collections.abc import Callable
from typing import Protocol, TypeAlias

from rex.attach.info import Info  # noqa: TC001 - resolved at run time
from rex.core import Error, Kind

__all__ = ["Check", "CheckedUpload", "all_of", "missing_package", "refuse"]


class CheckedUpload(Protocol):
    """An upload whose bytes have all arrived, and that is not acknowledged yet."""

    @property
    def info(self) -> Info:
        """The metadata of the upload."""

    def open(self) -> io.BufferedReader:
        """Open the content, as a seekable binary file."""


Check: TypeAlias = Callable[[CheckedUpload], None]
"""Returns if the upload is accepted; raises a `REFUSED` error if not, with words for the client."""


def all_of(*checks: Check) -> Check:
    """Return a check that runs these checks in order, up to the first that raises."""

    def check(upload: CheckedUpload) -> None:
        for each in checks:
            each(upload)

    return check


def refuse(message: str, payload: str, *, code: str) -> Error:
    """Return the error for an upload that a check refuses; the client reads it."""
    return Error(message, payload, kind=Kind.REFUSED, code=code)


def missing_package(what: str, missing: ImportError) -> Error:
    """Return the error for a check whose package cannot be imported."""
    return Error(
        f"{what}: pip install 'rex-attach[checks]'",
        missing,
        kind=Kind.CONFIGURATION,
        code="missing-package",
    )
