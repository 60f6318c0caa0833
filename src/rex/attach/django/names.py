"""Names of files in Django: their checks, and how they are cut to the length of a column."""

from __future__ import annotations

import posixpath
from pathlib import PurePosixPath
from typing import Self

from django.core.exceptions import SuspiciousFileOperation
from django.core.files.utils import validate_file_name

from rex.attach.handle import safe_file_name, show

__all__ = [
    "HANDLE_CHARACTERS",
    "MAX_NAME_CHARACTERS",
    "AvailableName",
    "check_length",
    "check_path",
    "fit_handle",
    "missing_handle",
    "show",
    "split_extension",
    "too_short",
    "valid",
]

HANDLE_CHARACTERS = len("2026/11/28/00000000-0000-4000-8000-000000000000/")
"""The characters of a handle besides its file name, and without its first slash: 48."""

MAX_NAME_CHARACTERS = 255
"""The most characters of a file name in a handle; fewer where they are not ASCII."""

_MISSING = "/0001/01/01/00000000-0000-4000-8000-000000000000/"
"""The start of handles that no storage has: their day is long past, their UUID not random."""


class AvailableName(str):
    """A name, and the most characters that the column has for it."""

    __slots__ = ("max_length",)
    max_length: int | None

    def __new__(cls, name: str, max_length: int | None) -> Self:
        """Make a name of a string."""
        made = super().__new__(cls, name)
        made.max_length = max_length
        return made


def valid(name: str) -> str:
    """Return a file name that is safe on every system.

    Errors: `SuspiciousFileOperation` for a name of which nothing remains.
    """
    if name in {"", ".", ".."}:
        raise SuspiciousFileOperation(f"Could not derive file name from '{name}'")
    return safe_file_name(name)


def check_path(name: str) -> str:
    """Return a name with slashes only. Errors: `SuspiciousFileOperation` for a path that leaves."""
    name = str(name).replace("\\", "/")
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts:
        raise SuspiciousFileOperation(f"Detected path traversal attempt in '{show(name)}'")
    return name


def fit_handle(name: str, max_length: int | None) -> AvailableName:
    """Return the last component of a name, cut so that a handle of it fits in `max_length`.

    The stem is cut, never the extension. Errors: `SuspiciousFileOperation`.
    """
    name = str(name).replace("\\", "/")
    directory, file_name = posixpath.split(name)
    if ".." in PurePosixPath(directory).parts:
        raise SuspiciousFileOperation(f"Detected path traversal attempt in '{show(directory)}'")
    validate_file_name(file_name)
    kept = safe_file_name(file_name)
    if max_length is None:
        return AvailableName(kept, None)
    room = max_length - HANDLE_CHARACTERS
    stem, extension = split_extension(kept)
    # Making a cut name safe again may shorten it further.
    while len(kept) > room:
        stem = stem[: max(room - len(extension), 0)].rstrip()
        if not stem:
            raise too_short(name)
        kept = safe_file_name(stem + extension)
        stem = stem[:-1]
    return AvailableName(kept, max_length)


def split_extension(name: str) -> tuple[str, str]:
    """Return a file name as its stem and all its extensions, as Django's storages do."""
    extension = "".join(PurePosixPath(name).suffixes)
    stem = name.removesuffix(extension)
    if not stem or len(extension) > MAX_EXTENSION:
        return posixpath.splitext(name)
    return stem, extension


MAX_EXTENSION = 32
"""More characters after the first dot are a part of the name, such as a date."""


def check_length(handle: str, max_length: int | None) -> None:
    """Check that a column has room for a handle. Errors: `SuspiciousFileOperation`."""
    if max_length is not None and len(handle) - 1 > max_length:
        raise too_short(handle)


def too_short(name: str) -> SuspiciousFileOperation:
    """Return the error for a column that is too short, in Django's words."""
    return SuspiciousFileOperation(
        f'Storage can not find an available filename for "{show(name)}". Please make sure that '
        'the corresponding file field allows sufficient "max_length".'
    )


def missing_handle(name: str) -> str:
    """Return a handle that no storage has, for a link to a file that does not exist.

    A storage of Django does not look whether the file of a URL exists; the server answers 404.
    """
    return _MISSING + safe_file_name(name)
