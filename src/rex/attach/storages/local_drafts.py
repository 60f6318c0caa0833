"""Attachments that arrive piece by piece, in a directory: a file that grows, and its record."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from rex.attach.content import CHUNK_SIZE
from rex.attach.drafts import Draft, Drafts
from rex.attach.storages.directory import (
    NewFile,
    OpenFile,
    descend,
    make_directory,
    open_file,
    write_all,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager

    from rex.attach.content import Content
    from rex.attach.storages.local import LocalStorage

__all__ = ["LocalDrafts"]

PLACE = ".uploads"
"""The directory of the drafts, in the storage's; listing passes over it."""

MAX_RECORD_BYTES = 65536
_APPEND = os.O_WRONLY | os.O_APPEND


class LocalDrafts(Drafts):
    """Drafts in a directory, each two files called by its UUID: ``.data`` and ``.key``.

    The record is written last when a draft begins, so that what has no record is not there. It is
    removed last when a draft ends, so that whoever finds it alone can remove it. Whoever changes a
    draft holds a lock on its data, which ends with the process.
    """

    def __init__(self, storage: LocalStorage) -> None:
        self._storage = storage

    def create(
        self, key: str, record: bytes, content_type: str, *, is_part: bool, note: str
    ) -> None:
        del content_type, is_part, note
        with self._root() as root:
            place = make_directory(PLACE, root)
            try:
                with NewFile(place) as data:
                    os.fsync(data.fd)
                    data.link(_data(key), place)
                self._write_record(place, key, record)
                os.fsync(root)
            finally:
                os.close(place)

    def load(self, key: str) -> Draft:
        with self._place() as place:
            its_key, _, record = _read(_record(key), place).partition(b"\n")
            if its_key != key.encode():
                raise FileNotFoundError
            try:
                fd, status = open_file(_data(key), place)
            except FileNotFoundError:
                if not _stands(_data(key), place):
                    self._remove(place, key)  # whoever did came to an end before
                raise
            try:
                os.fsync(fd)  # whoever appended may have come to an end before
            finally:
                os.close(fd)
        return Draft(record, status.st_size)

    def save(self, key: str, record: bytes) -> None:
        with self._place() as place:
            self._write_record(place, key, record)

    def append(self, key: str, offset: int, content: Content, lacking: int | None) -> None:
        del offset, lacking
        with self._opened(key, _APPEND) as fd:
            try:
                for chunk in content:
                    write_all(fd, chunk)
            finally:
                os.fsync(fd)

    def read(self, key: str) -> Iterator[bytes]:
        with self._opened(key) as fd:
            while chunk := os.read(fd, CHUNK_SIZE):
                yield chunk

    def publish(self, key: str, content_type: str, digest: str | None, note: str) -> None:
        if digest is None:
            digest = self._digest(key)
        with self._root() as root, self._place() as place:
            with self._opened(key) as fd:
                file = OpenFile(fd, _data(key), place)
                try:
                    self._storage._publish(  # noqa: SLF001 - its own
                        root, file, key, content_type, digest, note=note
                    )
                except FileExistsError:
                    _publish_again(root, file, key)
            self._remove(place, key)

    def remove(self, key: str) -> None:
        with suppress(FileNotFoundError), self._place() as place:
            self._remove(place, key)

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
        with self._opened(key, _APPEND) as fd:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            yield

    def _digest(self, key: str) -> str:
        found = hashlib.sha256()
        for chunk in self.read(key):
            found.update(chunk)
        return found.hexdigest()

    def _write_record(self, place: int, key: str, record: bytes) -> None:
        with NewFile(place) as file:
            file.write(key.encode() + b"\n" + record)
            os.fsync(file.fd)
            file.replace(_record(key), place)
        os.fsync(place)

    def _remove(self, place: int, key: str) -> None:
        for name in (_data(key), _record(key)):
            with suppress(FileNotFoundError):
                os.unlink(name, dir_fd=place)
        os.fsync(place)

    @contextmanager
    def _opened(self, key: str, flags: int = os.O_RDONLY) -> Iterator[int]:
        with self._place() as place:
            fd, _ = open_file(_data(key), place, flags)
        try:
            yield fd
        finally:
            os.close(fd)

    @contextmanager
    def _place(self) -> Iterator[int]:
        with self._root() as root, descend(root, [PLACE]) as opened:
            yield opened[-1]

    def _root(self) -> AbstractContextManager[int]:
        return self._storage._root()  # noqa: SLF001 - its own


def _publish_again(root: int, file: OpenFile, key: str) -> None:
    """Make durable what a process that came to an end then may not have."""
    *names, name = key.split("/")
    with descend(root, names) as opened:
        there = os.stat(name, dir_fd=opened[-1], follow_symlinks=False)
        if not os.path.samestat(there, os.fstat(file.fd)):
            raise FileExistsError
        for directory in reversed(opened):
            os.fsync(directory)


def _identifier(key: str) -> str:
    return key.split("/")[3]


def _data(key: str) -> str:
    return f"{_identifier(key)}.data"


def _record(key: str) -> str:
    return f"{_identifier(key)}.key"


def _stands(name: str, place: int) -> bool:
    try:
        os.stat(name, dir_fd=place, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return True


def _read(name: str, place: int) -> bytes:
    try:
        fd, _ = open_file(name, place)
    except OSError as failure:
        if failure.errno == errno.ELOOP:
            raise FileNotFoundError from None
        raise
    with os.fdopen(fd, "rb") as file:
        return file.read(MAX_RECORD_BYTES)
