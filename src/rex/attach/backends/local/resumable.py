"""Resumable uploads in a directory: a file that grows, and its record."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from rex.attach.backend.resumable import PartialUpload, Resumable, unreadable
from rex.attach.backends.local.directory import (
    STARTED_SIZE,
    NewFile,
    OpenFile,
    descend,
    make_directory,
    open_file,
    sync_directory,
    write_all,
)
from rex.attach.backends.local.linux import start_writing
from rex.attach.backends.local.tree import PLACE
from rex.attach.content.content import CHUNK_SIZE
from rex.core import Error, Kind

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager

    from rex.attach.backends.local.files import Files
    from rex.attach.content.content import Content

__all__ = ["LocalResumable"]

MAX_RECORD_BYTES = 65536
CHECKPOINT_SIZE = 64 * 1024 * 1024
CHECKPOINT_SECONDS = 5.0
"""After a kill of the process, a client resends at most so many bytes, or seconds of upload."""

_clock = time.monotonic


class LocalResumable(Resumable):
    """Resumable uploads in a directory, two files each, named by UUID: ``.data`` and ``.key``.

    The record (``.key``) holds the key, the number of durable bytes of the data, and the record of
    the upload. Bytes count once their sync has succeeded and the record says so: Linux reports a
    failed write-back only once, and a process may die before it learns of the failure, so a later
    sync cannot vouch for bytes that another process wrote. The next append truncates any bytes
    after those that count.

    `create` writes the record last, and `remove` removes it first: without a record, the upload
    does not exist. A process that changes an upload locks its data; the lock ends with the process.
    """

    def __init__(self, files: Files) -> None:
        self._files = files

    def create(
        self, key: str, record: bytes, content_type: str, *, partial: bool, upload_metadata: str
    ) -> None:
        del content_type, partial, upload_metadata
        with self._root() as root:
            place = make_directory(PLACE, root)
            try:
                with NewFile(place) as data:
                    os.fsync(data.fd)
                    data.link(_data(key), place)
                _write_record(place, key, record, 0)
                sync_directory(root)
            finally:
                os.close(place)

    def load(self, key: str) -> PartialUpload:
        with self._place() as place:
            upload = _read_record(place, key)
            sync_directory(place)  # the writer may have died before its sync
            with self._open_data(key, place=place) as (_, status):
                if status.st_size < upload.size:
                    raise Error(
                        "The data of the upload is shorter than its record says",
                        f"/{key}: {status.st_size} of {upload.size} bytes",
                        kind=Kind.CORRUPT,
                    )
                # With a second name, the data is already the attachment, and durable.
                is_published = status.st_nlink > 1
                return upload._replace(size=status.st_size) if is_published else upload

    def save(self, key: str, record: bytes) -> None:
        with self._place() as place:
            _write_record(place, key, record, _read_record(place, key).size)

    def append(self, key: str, offset: int, content: Content, remaining: int | None) -> None:
        with self._place() as place, self._open_data(key, os.O_WRONLY, place=place) as (fd, _):
            writing = _Writing(place, key, fd, offset)
            is_published_next = False
            try:
                for chunk in content:
                    writing.write(chunk)
                    if content.size != remaining:
                        writing.checkpoint()
                is_published_next = content.size == remaining
            finally:
                # A complete upload needs no record: `publish` follows, unless the content raised.
                writing.end(is_recorded=not is_published_next)

    def read(self, key: str) -> Iterator[bytes]:
        size = self.load(key).size
        with self._open_data(key) as (fd, _):
            while size and (chunk := os.read(fd, min(size, CHUNK_SIZE))):
                size -= len(chunk)
                yield chunk

    def publish(
        self, key: str, content_type: str, digest: str | None, upload_metadata: str
    ) -> bool:
        with (
            self._root() as root,
            self._place() as place,
            self._open_data(key, place=place) as (fd, status),
        ):
            if digest is None:
                with os.fdopen(os.dup(fd), "rb") as data:
                    digest = hashlib.file_digest(data, "sha256").hexdigest()
            file = OpenFile(fd, _data(key), place)
            try:
                self._files.publish(
                    root, file, key, content_type, digest, upload_metadata=upload_metadata
                )
            except FileExistsError:
                if not _is_published(root, file, key):
                    raise
                return False
            except BaseException:
                # All bytes are durable, so the client need not send them again.
                with suppress(OSError):
                    _write_record(place, key, _read_record(place, key).record, status.st_size)
                raise
        return True

    def forget(self, key: str) -> None:
        with self._place() as place:
            self._remove(place, key)

    def remove(self, key: str) -> bool:
        with suppress(FileNotFoundError), self._place() as place:
            if _read(_record(key), place).partition(b"\n")[0] == key.encode():
                self._remove(place, key)
                return True
        return False

    def keys(self) -> Iterator[str]:
        try:
            with self._place() as place:
                for name in sorted(os.listdir(place)):
                    if name.endswith(".key"):
                        with suppress(FileNotFoundError):
                            yield _read(name, place).partition(b"\n")[0].decode(errors="replace")
        except FileNotFoundError:
            return

    @contextmanager
    def hold(self, key: str) -> Iterator[None]:
        with self._open_data(key, os.O_WRONLY) as (fd, _):
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            yield

    def _remove(self, place: int, key: str) -> None:
        for name in (_record(key), _data(key)):
            with suppress(FileNotFoundError):
                os.unlink(name, dir_fd=place)
        sync_directory(place)

    @contextmanager
    def _open_data(
        self, key: str, flags: int = os.O_RDONLY, *, place: int | None = None
    ) -> Iterator[tuple[int, os.stat_result]]:
        """Open the data of an upload; `place` is the open directory of uploads, if any."""
        if place is None:
            with self._place() as opened:
                fd, status = open_file(_data(key), opened, flags)
        else:
            fd, status = open_file(_data(key), place, flags)
        try:
            yield fd, status
        finally:
            with suppress(OSError):  # the bytes that count were synced before
                os.close(fd)

    @contextmanager
    def _place(self) -> Iterator[int]:
        with self._root() as root, descend(root, [PLACE]) as opened:
            yield opened[-1]

    def _root(self) -> AbstractContextManager[int]:
        return self._files.tree.hold_open()


class _Writing:
    """Appends bytes to an upload and records them once they are durable."""

    def __init__(self, place: int, key: str, fd: int, offset: int) -> None:
        self._place = place
        self._key = key
        self._fd = fd
        self._read_record = offset
        self._position = offset
        self._started = offset
        self._due = _clock() + CHECKPOINT_SECONDS
        self._has_failed = False
        if os.fstat(fd).st_nlink > 1:  # it is an attachment, and must not change
            raise FileExistsError
        os.ftruncate(fd, offset)
        os.lseek(fd, offset, os.SEEK_SET)

    def write(self, chunk: bytes | memoryview) -> None:
        """Write a chunk; the disk begins to write early, so that the sync is short."""
        write_all(self._fd, chunk)
        self._position += len(chunk)
        if self._position - self._started >= STARTED_SIZE:
            start_writing(self._fd, self._started, self._position - self._started)
            self._started = self._position

    def checkpoint(self) -> None:
        """Make all bytes so far durable if that is due."""
        if self._position - self._read_record >= CHECKPOINT_SIZE or _clock() >= self._due:
            self.end(is_recorded=True)

    def end(self, *, is_recorded: bool) -> None:
        """Make the written bytes durable, or truncate them; record their number."""
        if self._has_failed:
            return
        self._position = os.lseek(self._fd, 0, os.SEEK_CUR)
        try:
            os.fsync(self._fd)
        except BaseException:
            self._has_failed = True  # another sync would succeed, but prove nothing
            os.ftruncate(self._fd, self._read_record)
            raise
        if is_recorded and self._position != self._read_record:
            record = _read_record(self._place, self._key).record
            _write_record(self._place, self._key, record, self._position)
            self._read_record = self._position
            self._due = _clock() + CHECKPOINT_SECONDS


def _write_record(place: int, key: str, record: bytes, size: int) -> None:
    with NewFile(place) as file:
        file.write(f"{key}\n{size}\n".encode() + record)
        os.fsync(file.fd)
        file.replace(_record(key), place)
    sync_directory(place)


def _read_record(place: int, key: str) -> PartialUpload:
    """Read the record of an upload; raise FileNotFoundError if the record has a different key."""
    recorded_key, _, rest = _read(_record(key), place).partition(b"\n")
    if recorded_key != key.encode():
        raise FileNotFoundError
    size, _, record = rest.partition(b"\n")
    if not size.isdigit():
        raise unreadable(f"/{key}")
    return PartialUpload(record, int(size))


def _is_published(root: int, file: OpenFile, key: str) -> bool:
    """Return whether the attachment of the key is this file."""
    *names, name = key.split("/")
    with descend(root, names) as opened:
        status = os.stat(name, dir_fd=opened[-1], follow_symlinks=False)
        return os.path.samestat(status, os.fstat(file.fd))


def _identifier(key: str) -> str:
    return key.split("/")[3]


def _data(key: str) -> str:
    return f"{_identifier(key)}.data"


def _record(key: str) -> str:
    return f"{_identifier(key)}.key"


def _read(name: str, place: int) -> bytes:
    try:
        fd, _ = open_file(name, place)
    except OSError as failure:
        if failure.errno == errno.ELOOP:
            raise FileNotFoundError from None
        raise
    with os.fdopen(fd, "rb") as file:
        return file.read(MAX_RECORD_BYTES)
