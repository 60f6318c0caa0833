"""The files of attachments in a directory tree: publishing, opening and reading them."""

from __future__ import annotations

import datetime
import os
import re
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
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
from rex.attach.backends.local.syncing import Syncing, grouped
from rex.attach.backends.local.tree import PLACE
from rex.attach.content.content import READ_SIZE
from rex.attach.content.media_type import content_type_for
from rex.attach.handle import handle_of
from rex.attach.info import Metadata
from rex.core import Error, Kind

if TYPE_CHECKING:
    from rex.attach.backends.local.tree import Tree

__all__ = ["Chunks", "Files", "read_if_cached"]

_SHA256 = re.compile("[0-9a-f]{64}")
MAX_RACES = 100
"""The number of attempts to publish a file while removals delete its empty directories."""


class Files:
    """The files below the root of a tree; the key of a file is its path."""

    def __init__(self, tree: Tree) -> None:
        self.tree = tree
        self._day: Directory | None = None
        self._syncing = Syncing()

    def close(self) -> None:
        """Release the root and the directory of the day."""
        self._day = None
        self.tree.forget()

    @contextmanager
    def grouped(self) -> Iterator[None]:
        """Within the block, all threads that publish files wait for the disk together.

        What is there at its beginning is durable, also what others published and did not sync.
        """
        with self.tree.hold_open() as root:
            syncing = grouped(root)
            syncing.sync_tree(root)
        self._syncing = syncing
        try:
            yield
        finally:
            self._syncing = Syncing()

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
        """Publish a complete file under its key, durably.

        Raise `FileExistsError` if the key exists. After any other failure, the file may be
        published nevertheless.
        """
        attributes = {"content_type": content_type, "sha256": digest}
        if upload_metadata:
            attributes["upload_metadata"] = upload_metadata
        if attach_attributes(file.fd, attributes):
            attributes = {}
        self._syncing.sync_file(file.fd)
        day_path, identifier, name = key.rsplit("/", 2)
        for attempt in range(MAX_RACES):
            try:
                day = self._durable_day(root, day_path)
                self._place(day.fd, identifier, name, file, attributes)
            except FileNotFoundError:
                # A removal deleted the empty directory after we made it and before we used it.
                self._day = None
                if attempt == MAX_RACES - 1:
                    raise Error(
                        "Removals keep deleting the directories of the attachment",
                        f"/{key}",
                        kind=Kind.UNAVAILABLE,
                    ) from None
            except FileExistsError:
                self._sync_names(root, key)  # the writer may not have, and callers rely on it
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
            self._syncing.sync_names(parent, day)
        finally:
            os.close(parent)

    def _sync_names(self, root: int, key: str) -> None:
        """Make the directories of an attachment durable, unless it is removed by now."""
        with suppress(FileNotFoundError), descend(root, key.split("/")[:-1]) as opened:
            for directory in reversed(opened):
                sync_directory(directory)

    def discard(self, key: str) -> None:
        """Remove the files that a failed add may have left."""
        *names, name = key.split("/")
        with self.tree.hold_open() as root:
            with suppress(FileNotFoundError), descend(root, names) as opened:
                os.unlink(name, dir_fd=opened[-1])
                remove_beside(name, opened[-1])
            self.tidy(root, key)

    def _durable_day(self, root: int, path: str) -> Directory:
        """Open the directory of a day; it and its parents are durable.

        Another process may have made them and not synced them yet, so sync them all, except for the
        day that this process holds open.
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
        """Remove the empty directories of a key, from the innermost to the year."""
        names = key.split("/")[:-1]
        with suppress(OSError), descend(root, names[:-1]) as opened:
            for name, parent in zip(reversed(names), reversed(opened), strict=True):
                os.rmdir(name, dir_fd=parent)

    def are_untouched(self) -> bool:
        """Return whether there is no trace of a storage in the tree."""
        if self.tree.marker() is not None:
            return False
        with self.tree.hold_open() as root:
            is_used = not {PLACE, SECRET_NAME}.isdisjoint(os.listdir(root))
            return not is_used and not any(map(handle_of, keys(root, "", [], [])))

    # Opening.

    def open_at_once(self, key: str, *, is_cached: bool = False) -> tuple[int, Metadata] | None:
        """Open the file of an attachment with one system call, or return None if that fails."""
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
        """Open the file of an attachment; return its descriptor and metadata."""
        opened_at_once = self.open_at_once(key)
        if opened_at_once is not None:
            return opened_at_once
        # The file is missing or has a sidecar file, the root has changed or was never opened, or
        # the system does not support the call.
        *names, name = key.split("/")
        with self.tree.hold_open() as root, descend(root, names) as opened:
            fd, status = open_file(name, opened[-1])
            try:
                return fd, _metadata(status, read_attributes(fd, name, opened[-1]), name)
            except BaseException:
                os.close(fd)
                raise


class Chunks(Iterator[bytes]):
    """Yields the bytes of an open file between two positions; closes the file."""

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
        """Return the next `size` bytes from the page cache, or None if reading might block.

        At least `size` bytes must remain. Return None above `READ_SIZE`: copying takes time too,
        and the caller cannot wait.
        """
        content = read_if_cached(self._fd, self._position, size) if size <= READ_SIZE else None
        if content is not None:
            self._position += size
        return content

    def close(self) -> None:
        """Close the file."""
        # Clear it first: closed twice, the descriptor may belong to another file by then.
        fd, self._fd = self._fd, -1
        if fd >= 0:
            try:  # noqa: SIM105 - `suppress` takes longer than the call
                os.close(fd)
            except OSError:  # nothing was written to it
                pass

    __del__ = close


def read_if_cached(fd: int, position: int, size: int) -> bytes | None:
    """Return bytes of an open file from the page cache, or None if reading might block."""
    no_wait = getattr(os, "RWF_NOWAIT", None)
    if no_wait is None:
        return None
    content = bytearray(size)
    try:
        read = os.preadv(fd, [content], position, no_wait)
    except OSError:  # not cached, or not supported by the file system
        return None
    return bytes(content) if read == size else None


def _metadata(status: os.stat_result, attributes: dict[str, str], name: str) -> Metadata:
    digest = attributes.get("sha256", "")
    if not _SHA256.fullmatch(digest):
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
    """Return the recorded type; ignore an ill-formed one, which another program wrote."""
    try:
        return content_type_for(name, recorded)
    except Error:
        return content_type_for(name)
