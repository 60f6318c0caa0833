"""The files of attachments in a directory tree: how one gets its place, durably, and is opened."""

from __future__ import annotations

import datetime
import os
import re
import stat
from collections.abc import Iterator
from contextlib import suppress
from typing import TYPE_CHECKING

from rex.attach.backends.local.attributes import (
    attach_attributes,
    attributes_of,
    read_attributes,
    remove_beside,
    write_beside,
)
from rex.attach.backends.local.directory import (
    Directory,
    NewFile,
    OpenFile,
    descend,
    make_directory,
    open_file,
    sync_directory,
)
from rex.attach.backends.local.linux import open_without_links
from rex.attach.backends.local.listing import keys
from rex.attach.backends.local.secret_file import SECRET_NAME
from rex.attach.backends.local.tree import PLACE
from rex.attach.content.content import READ_SIZE
from rex.attach.content.media_type import content_type_for
from rex.attach.handle import handle_of
from rex.attach.info import Metadata
from rex.core import Error, Kind

if TYPE_CHECKING:
    from rex.attach.backends.local.tree import Tree

__all__ = ["Chunks", "Files", "read_if_cached"]

MAX_RACES = 100
"""How often an add begins anew because a remover tidied a directory away under it."""


class Files:
    """The files below the root of a tree, each at the path that its key is."""

    def __init__(self, tree: Tree) -> None:
        self.tree = tree
        self._day: Directory | None = None

    def close(self) -> None:
        """Release the root, and the directory of the day."""
        self._day = None
        self.tree.forget()

    def publish(
        self,
        root: int,
        file: NewFile | OpenFile,
        key: str,
        content_type: str,
        digest: str,
        *,
        upload_metadata: str,
    ) -> None:
        """Place a whole file under its key, durably.

        Where this fails with anything but `FileExistsError`, the file may have its place all the
        same.
        """
        attributes = {"content_type": content_type, "sha256": digest}
        if upload_metadata:
            attributes["upload_metadata"] = upload_metadata
        if attach_attributes(file.fd, attributes):
            attributes = {}
        os.fsync(file.fd)
        day_path, identifier, name = key.rsplit("/", 2)
        for attempt in range(MAX_RACES):
            try:
                day = self._durable_day(root, day_path)
                self._place(day.fd, identifier, name, file, attributes)
            except FileNotFoundError:
                # A remover tidied the directory away between our making and our using it.
                self._day = None
                if attempt == MAX_RACES - 1:
                    raise Error(
                        "The directories of the attachment vanish while it is stored",
                        f"/{key}",
                        kind=Kind.UNAVAILABLE,
                    ) from None
            except FileExistsError:
                self._sync_names(root, key)  # its writer may not have, and others rely on it
                raise
            except BaseException:
                self.tidy(root, key)
                raise
            else:
                return

    def _place(
        self,
        day: int,
        identifier: str,
        name: str,
        file: NewFile | OpenFile,
        attributes: dict[str, str],
    ) -> None:
        parent = make_directory(identifier, day)
        try:
            file.link(name, parent)
            if attributes:
                write_beside(attributes, name, parent)
            sync_directory(parent)
            sync_directory(day)
        finally:
            os.close(parent)

    def _sync_names(self, root: int, key: str) -> None:
        """Make the place of an attachment durable; it may be gone by now."""
        with suppress(FileNotFoundError), descend(root, key.split("/")[:-1]) as opened:
            for directory in reversed(opened):
                sync_directory(directory)

    def discard(self, key: str) -> None:
        """Remove what a failed add may have left."""
        *names, name = key.split("/")
        with self.tree.hold_open() as root:
            with suppress(FileNotFoundError), descend(root, names) as opened:
                os.unlink(name, dir_fd=opened[-1])
                remove_beside(name, opened[-1])
            self.tidy(root, key)

    def _durable_day(self, root: int, path: str) -> Directory:
        """Open the directory of a day; it outlasts a power cut, and so do all above it.

        Whoever made them may not have synced them yet, so we do, but for the day that we hold.
        """
        day = self._day
        if day is not None and day.path == path and day.still_at(root):
            return day
        opened = [root]
        try:
            for name in path.split("/"):
                opened.append(make_directory(name, opened[-1]))
            for parent in reversed(opened[:-1]):
                sync_directory(parent)
            day = Directory(path, os.dup(opened[-1]))
        finally:
            for fd in opened[1:]:
                os.close(fd)
        self._day = day
        return day

    def tidy(self, root: int, key: str) -> None:
        """Remove the directories of a key that are empty now, from the innermost to the year."""
        names = key.split("/")[:-1]
        with suppress(OSError), descend(root, names[:-1]) as opened:
            for name, parent in zip(reversed(names), reversed(opened), strict=True):
                os.rmdir(name, dir_fd=parent)

    def are_untouched(self) -> bool:
        """Return whether nothing shows that the tree was ever used."""
        if self.tree.marker() is not None:
            return False
        with self.tree.hold_open() as root:
            is_used = not {PLACE, SECRET_NAME}.isdisjoint(os.listdir(root))
            return not is_used and not any(map(handle_of, keys(root, "", [], [])))

    # Opening.

    def open_at_once(self, key: str, *, is_cached: bool = False) -> tuple[int, Metadata] | None:
        """Open the file of an attachment in one call, if it can be done."""
        fd = open_without_links(f"{self.tree.real_path}/{key}", is_cached=is_cached)
        if fd is None:
            return None
        metadata = None
        try:
            status, attributes = os.fstat(fd), attributes_of(fd)
            is_ours = stat.S_ISREG(status.st_mode) and self.tree.is_on_device(status.st_dev)
            if attributes is not None and is_ours:
                metadata = _metadata(status, attributes, key.rpartition("/")[2])
        finally:
            if metadata is None:
                os.close(fd)
        return None if metadata is None else (fd, metadata)

    def open(self, key: str) -> tuple[int, Metadata]:
        """Open the file of an attachment; give what is known of it too."""
        opened_at_once = self.open_at_once(key)
        if opened_at_once is not None:
            return opened_at_once
        # It is not there, its attributes are beside it, the root is another one or was not opened
        # yet, or the system cannot do this.
        *names, name = key.split("/")
        with self.tree.hold_open() as root, descend(root, names) as opened:
            fd, status = open_file(name, opened[-1])
            try:
                return fd, _metadata(status, read_attributes(fd, name, opened[-1]), name)
            except BaseException:
                os.close(fd)
                raise


class Chunks(Iterator[bytes]):
    """The bytes of an open file from one position to another; closes the file."""

    def __init__(self, fd: int, position: int, end: int) -> None:
        self._fd = fd
        self._position = position
        self._end = end

    def __next__(self) -> bytes:
        size = min(READ_SIZE, self._end - self._position)
        chunk = os.pread(self._fd, size, self._position)
        if not chunk:
            raise StopIteration
        self._position += len(chunk)
        return chunk

    def read_cached(self, size: int) -> bytes | None:
        """Give so many bytes, of which there must be more, if no disk has to be asked for them.

        No more than a piece, since copying takes time too, and whoever asks has none.
        """
        content = read_if_cached(self._fd, self._position, size) if size <= READ_SIZE else None
        if content is not None:
            self._position += size
        return content

    def close(self) -> None:
        """Close the file."""
        # Noted first: a number that is closed twice may be another file's by then.
        fd, self._fd = self._fd, -1
        if fd >= 0:
            with suppress(OSError):  # nothing was written to it
                os.close(fd)

    __del__ = close


def read_if_cached(fd: int, position: int, size: int) -> bytes | None:
    """Give some bytes of an open file, or None where that would take time."""
    no_wait = getattr(os, "RWF_NOWAIT", None)
    if no_wait is None:
        return None
    content = bytearray(size)
    try:
        read = os.preadv(fd, [content], position, no_wait)
    except OSError:  # it is on the disk, or the file system cannot tell
        return None
    return bytes(content) if read == size else None


def _metadata(status: os.stat_result, attributes: dict[str, str], name: str) -> Metadata:
    digest = attributes.get("sha256", "")
    if not re.fullmatch("[0-9a-f]{64}", digest):
        digest = ""
    return Metadata(
        size=status.st_size,
        modified=datetime.datetime.fromtimestamp(status.st_mtime, datetime.UTC),
        content_type=_content_type(name, attributes.get("content_type")),
        etag=f'"{digest[:32]}"' if digest else f'"{status.st_mtime_ns:x}-{status.st_size:x}"',
        digest=digest or None,
        upload_metadata=attributes.get("upload_metadata", ""),
    )


def _content_type(name: str, recorded: str | None) -> str:
    """Give the type that was recorded, unless somebody else wrote what is none."""
    try:
        return content_type_for(name, recorded)
    except Error:
        return content_type_for(name)
