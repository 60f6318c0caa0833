"""The files that the storages open."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any, Self

from django.conf import settings
from django.core.files.base import File

if TYPE_CHECKING:
    from tempfile import SpooledTemporaryFile

    from rex.attach import Info, Reader
    from rex.attach.django.named import NamedAttachmentStorage
    from rex.attach.django.storage import AttachmentStorage

    _File = File[Any]
else:
    _File = File  # Django's class takes no parameters

__all__ = ["AttachmentFile", "WritableAttachmentFile", "is_writing"]

READ_MODES = ("r", "rt", "rb")
WRITE_MODES = ("w", "wt", "wb", "x", "xt", "xb")


def is_writing(mode: str) -> bool:
    """Return whether a mode is for writing a new file.

    Errors: `io.UnsupportedOperation` for a mode that would change a file.
    """
    normal = _normal(mode)
    if normal not in READ_MODES + WRITE_MODES:
        raise io.UnsupportedOperation(f"an attachment cannot be opened with mode {mode!r}")
    return normal in WRITE_MODES


def _normal(mode: str) -> str:
    """Return a mode with its letters in the usual order."""
    return "".join(sorted(mode, key="rwxa+bt".find)) if mode else "rb"


class AttachmentFile(_File):
    """A file open for reading, which streams from the storage.

    `open` rewinds the file, and opens it again after `close` or in another mode. Errors of opening:
    `FileNotFoundError`; `io.UnsupportedOperation` for a mode that writes.
    """

    def __init__(self, storage: AttachmentStorage, name: str, mode: str = "rb") -> None:
        self._storage = storage
        self.info: Info
        super().__init__(None, name)
        self._open(mode)

    def _open(self, mode: str) -> None:
        if is_writing(mode):
            raise io.UnsupportedOperation(f"this storage cannot open a file with mode {mode!r}")
        reader: Reader = self._storage.open_reader(str(self.name))
        self.info = reader.info
        is_text = "b" not in mode
        self.file = io.TextIOWrapper(reader, encoding="utf-8") if is_text else reader
        self.mode = mode

    @property
    def size(self) -> int:
        """The size in bytes; no request is made."""
        return self.info.size

    def open(self, mode: str | None = None, *args: Any, **kwargs: Any) -> Self:
        """Rewind the file, or open it again if it is closed or the mode differs."""
        del args, kwargs  # those of the built-in `open`
        wanted = mode or self.mode
        if self.closed:
            self._open(wanted)
        elif ("b" in wanted) != ("b" in self.mode) or is_writing(wanted):
            self.close()
            self._open(wanted)
        else:
            self.seek(0)
        return self


class WritableAttachmentFile(_File):
    """A file open for writing: its content replaces that of its name when it is closed.

    What is written is kept in memory, or in a temporary file when it is large. If a ``with`` block
    ends with an exception, the name keeps its old content.
    """

    def __init__(self, storage: NamedAttachmentStorage, name: str, mode: str) -> None:
        from tempfile import SpooledTemporaryFile

        limit = settings.FILE_UPLOAD_MAX_MEMORY_SIZE
        self._storage = storage
        self._bytes: SpooledTemporaryFile[bytes] = SpooledTemporaryFile(limit)  # noqa: SIM115 - closed by `close`
        self._file: Any = self._bytes
        if "b" not in mode:
            self._file = io.TextIOWrapper(self._file, encoding="utf-8")
        super().__init__(self._file, name)
        self.mode = mode

    @property
    def size(self) -> int:
        """The number of bytes written so far."""
        self.flush()
        position = self._bytes.tell()
        size = self._bytes.seek(0, io.SEEK_END)
        self._bytes.seek(position)
        return size

    def __exit__(self, exc_type: object, exc_value: object, traceback: object) -> None:
        if exc_type is None:
            self.close()
        else:
            self._file.close()

    def close(self) -> None:
        """Store what was written under the name of the file."""
        if self.closed:
            return
        try:
            self.flush()
            self._bytes.seek(0)
            self._storage.write(str(self.name), File(self._bytes), is_new="x" in self.mode)
        finally:
            self._file.close()
