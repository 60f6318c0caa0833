"""Local files that commands read and write, with a progress bar."""

from __future__ import annotations

import contextlib
import itertools
import os
import secrets
import stat
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, TextIO

import click

from rex.core import Error, Kind

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = [
    "get_binary",
    "get_size",
    "get_target",
    "open_readable",
    "replace_file",
    "show_progress",
]

BIG = 8 * 1024 * 1024
"""The size in bytes from which on a terminal gets a progress bar."""


def open_readable(path: str) -> BinaryIO:
    """Open a file for reading. Errors: `DENIED`."""
    try:
        return open(path, "rb")  # noqa: PTH123 - a path may also be - to others
    except OSError as failure:
        raise Error("Cannot read the file", f"{path}: {failure.strerror}", kind=Kind.DENIED) from (
            None
        )


def get_binary(stream: TextIO | None) -> BinaryIO:
    """Return the binary file of a standard stream. Errors: `DENIED` if the stream is closed."""
    if stream is None:
        raise Error("Standard input or output is closed", kind=Kind.DENIED)
    return stream.buffer


def get_size(file: BinaryIO) -> int | None:
    """Return the size of a regular file in bytes; None for a pipe."""
    return os.fstat(file.fileno()).st_size if file.seekable() else None


def get_target(output: str, name: str) -> Path:
    """Return the path to write: `output`, or the file called `name` in that directory."""
    path = Path(output)
    return path / name if path.is_dir() else path


@contextlib.contextmanager
def replace_file(path: Path) -> Iterator[BinaryIO]:
    """Open a temporary file that replaces `path` on success, and is removed on failure.

    The new file gets the mode of the old one. A device or a FIFO is written to directly.
    """
    path = path.resolve()
    partial = path.with_name(f".rex-{secrets.token_hex(8)}.partial")
    try:
        old = path.stat() if path.exists() else None
        if old is not None and not stat.S_ISREG(old.st_mode):
            with path.open("wb") as special:
                yield special
            return
        with partial.open("xb") as file:
            if old is not None:
                os.fchmod(file.fileno(), stat.S_IMODE(old.st_mode))
            yield file
        partial.replace(path)
    except Error:  # from reading the attachment
        raise
    except OSError as failure:
        reason = f"{path}: {failure.strerror}"
        raise Error("Cannot write the file", reason, kind=Kind.DENIED) from None
    finally:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)


class _Counted:
    """A file whose reading moves a progress bar."""

    def __init__(self, file: BinaryIO, bar: Any) -> None:
        self._file = file
        self._bar = bar

    def read(self, size: int, /) -> bytes:
        chunk = self._file.read(size)
        self._bar.update(len(chunk))
        return chunk

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)


@contextlib.contextmanager
def show_progress(file: BinaryIO, label: str, size: int | None) -> Iterator[BinaryIO]:
    """Show a progress bar on a terminal while a big file, or one of unknown size, is read."""
    if not sys.stderr.isatty() or (size is not None and size < BIG):
        yield file
        return
    endless: Iterator[None] | None = itertools.repeat(None) if size is None else None
    with click.progressbar(
        endless, length=size, label=label, file=sys.stderr, show_pos=size is None
    ) as bar:
        counted: Any = _Counted(file, bar)
        yield counted
