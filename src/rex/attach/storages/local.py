"""Attachments in a directory: durable, atomic, never overwritten."""

from __future__ import annotations

import datetime
import os
import re
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Unpack

from rex.attach.content import READ_SIZE, Content
from rex.attach.content_type import content_type_for
from rex.attach.info import Metadata
from rex.attach.reader import Body
from rex.attach.storages.attributes import (
    attach_attributes,
    attributes_of,
    read_attributes,
    remove_beside,
    write_beside,
)
from rex.attach.storages.directory import (
    DIRECTORY_MODE,
    NOTHING_THERE,
    Directory,
    NewFile,
    OpenFile,
    descend,
    make_directory,
    open_directory,
    open_file,
)
from rex.attach.storages.linux import open_without_links
from rex.attach.storages.secret_file import own_secret
from rex.attach.storages.served import ServedStorage
from rex.core import Error, Kind

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rex.attach.doctor import Doctor
    from rex.attach.drafts import Drafts
    from rex.attach.leftover import Leftover
    from rex.attach.storage import StorageOptions

__all__ = ["LocalStorage"]

CACHED_SIZE = 128 * 1024
"""Up to so many bytes are read at once where no disk has to be asked; copying more takes time."""
MAX_RACES = 100
"""How often an add begins anew because a remover tidied a directory away under it."""


class LocalStorage(ServedStorage):
    """Attachments in a directory, each at the path that its key is.

    An acknowledged add or remove outlasts a power cut: the file, its directory and every new
    directory up to the root are synced. A file appears whole, under a name that nothing else had.
    Links in the directory are not followed. Files get mode 0640 and directories 0750.
    """

    def __init__(
        self, directory: str | os.PathLike[str], **options: Unpack[StorageOptions]
    ) -> None:
        """Use a directory, which `check` makes if only its last component is missing."""
        super().__init__(**options)
        self.directory = os.path.abspath(directory)
        self._day: Directory | None = None

    def __repr__(self) -> str:
        return f"LocalStorage({self.directory!r})"

    def close(self) -> None:
        """Let go of the directory of the day."""
        super().close()
        self._day = None

    def _check(self) -> None:
        try:
            with suppress(FileExistsError):
                os.mkdir(self.directory, DIRECTORY_MODE)
                os.chmod(self.directory, DIRECTORY_MODE)
                _sync(os.path.dirname(self.directory))
            os.stat(f"{self.directory}/.")  # for `_root`, what is no directory is gone
            with self._root() as root, NewFile(root):
                pass
        except FileNotFoundError:
            raise self._unusable("its parent directory does not exist") from None
        except NotADirectoryError:
            raise self._unusable("it is not a directory") from None
        except OSError as failure:
            reason = failure.strerror or str(failure)
            raise self._unusable(f"attachments cannot be stored in it: {reason}") from None

    def _own_secret(self) -> bytes:
        with self._root() as root:
            return own_secret(root)

    def _unusable(self, reason: str) -> Error:
        return Error(
            "The directory of attachments cannot be used (setting attach_dir)",
            f"{self.directory}: {reason}",
            kind=Kind.CONFIGURATION,
        )

    # Adding.

    def _put(self, key: str, content: Content, content_type: str) -> None:
        with self._root() as root, NewFile(root) as file:
            for chunk in content:
                file.write(chunk)
            self._publish(root, file, key, content_type, content.digest, note=content.note)

    def _publish(
        self,
        root: int,
        file: NewFile | OpenFile,
        key: str,
        content_type: str,
        digest: str,
        *,
        note: str,
    ) -> None:
        """Give a file that is whole its place, for good."""
        attributes = {"content_type": content_type, "sha256": digest}
        if note:
            attributes["note"] = note
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
            except BaseException:
                self._tidy(root, key)
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
            try:
                if attributes:
                    write_beside(attributes, name, parent)
                os.fsync(parent)
                os.fsync(day)
            except BaseException:
                os.unlink(name, dir_fd=parent)
                remove_beside(name, parent)
                raise
        finally:
            os.close(parent)

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
                os.fsync(parent)
            day = Directory(path, os.dup(opened[-1]))
        finally:
            for fd in opened[1:]:
                os.close(fd)
        self._day = day
        return day

    def _doctors(self) -> Sequence[Doctor]:
        from rex.attach.storages.local_doctor import LocalDoctor

        return (LocalDoctor(self),)

    def _drafts(self) -> Drafts:
        from rex.attach.storages.local_drafts import LocalDrafts

        return LocalDrafts(self)

    # Reading.

    def _get(self, key: str, start: int) -> Body:
        fd, metadata = self._open(key)
        return Body(metadata, _Chunks(fd, start, metadata.size))

    def _head(self, key: str) -> Metadata:
        fd, metadata = self._open(key)
        os.close(fd)
        return metadata

    def _get_cached(self, key: str) -> tuple[Metadata, bytes] | None:
        opened = self._open_at_once(key, is_cached=True)
        if opened is None:
            return None
        fd, metadata = opened
        try:
            content = _cached(fd, 0, metadata.size) if metadata.size <= CACHED_SIZE else None
        finally:
            os.close(fd)
        return None if content is None else (metadata, content)

    def _open_at_once(self, key: str, *, is_cached: bool = False) -> tuple[int, Metadata] | None:
        """Open the file of an attachment in one call, if it can be done."""
        fd = open_without_links(f"{self.directory}/{key}", is_cached=is_cached)
        if fd is None:
            return None
        metadata = None
        try:
            status, attributes = os.fstat(fd), attributes_of(fd)
            if attributes is not None and stat.S_ISREG(status.st_mode):
                metadata = _metadata(status, attributes, key.rpartition("/")[2])
        finally:
            if metadata is None:
                os.close(fd)
        return None if metadata is None else (fd, metadata)

    def _open(self, key: str) -> tuple[int, Metadata]:
        """Open the file of an attachment; give what is known of it too."""
        opened_at_once = self._open_at_once(key)
        if opened_at_once is not None:
            return opened_at_once
        # It is not there, or its attributes are beside it, or the system cannot do this.
        *names, name = key.split("/")
        with self._root() as root, descend(root, names) as opened:
            fd, status = open_file(name, opened[-1])
            try:
                return fd, _metadata(status, read_attributes(fd, name, opened[-1]), name)
            except BaseException:
                os.close(fd)
                raise

    # Removing.

    def _delete(self, key: str) -> None:
        *names, name = key.split("/")
        with self._root() as root:
            with descend(root, names) as opened:
                fd, status = open_file(name, opened[-1])
                os.close(fd)
                if status.st_nlink > 1:
                    # Its draft, whose end a process did not live to see, would bring it back.
                    self._drafts().remove(key)
                os.unlink(name, dir_fd=opened[-1])
                remove_beside(name, opened[-1])
                os.fsync(opened[-1])
            self._tidy(root, key)

    def _tidy(self, root: int, key: str) -> None:
        """Remove the directories of a key that are empty now, from the innermost to the year."""
        names = key.split("/")[:-1]
        with suppress(OSError), descend(root, names[:-1]) as opened:
            for name, parent in zip(reversed(names), reversed(opened), strict=True):
                os.rmdir(name, dir_fd=parent)

    # Listing.

    def _list(self, day: datetime.date | None, after: str | None) -> Iterator[str]:
        with self._root() as root:
            only = [] if day is None else day.isoformat().split("-")
            yield from _keys(root, "", only, [] if after is None else after.split("/"))

    def _leftovers(self, before: datetime.datetime) -> Iterator[Leftover]:
        from rex.attach.storages.local_leftovers import local_leftovers

        with self._root() as root:
            yield from local_leftovers(root, before)

    @contextmanager
    def _root(self) -> Iterator[int]:
        fd = self._open_root()
        try:
            yield fd
        finally:
            os.close(fd)

    def _open_root(self) -> int:
        try:
            return os.open(self.directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except (FileNotFoundError, NotADirectoryError):
            raise Error(
                "There is no directory of attachments", self.directory, kind=Kind.UNAVAILABLE
            ) from None


class _Chunks(Iterator[bytes]):
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

    def cached(self, size: int) -> bytes | None:
        """Give so many bytes, of which there must be more, if no disk has to be asked for them.

        No more than a piece, since copying takes time too, and whoever asks has none.
        """
        content = _cached(self._fd, self._position, size) if size <= READ_SIZE else None
        if content is not None:
            self._position += size
        return content

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    __del__ = close


def _cached(fd: int, position: int, size: int) -> bytes | None:
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


DEPTH = 5
"""The parts of a key: year, month, day, identifier, name."""


def _keys(parent: int, prefix: str, only: list[str], after: list[str]) -> Iterator[str]:
    """Give the keys below an open directory in order; hold the names of one directory at a time.

    `only` names the directories to go into, level by level; `after` is the rest of the key after
    which to begin, when it lies in this directory.
    """
    is_last = prefix.count("/") == DEPTH - 1
    for name in only[:1] or sorted(_names(parent, files=is_last)):
        if after and name < after[0]:
            continue
        here = after[1:] if after and name == after[0] else []
        if is_last:
            if not after or name != after[0]:
                yield prefix + name
            continue
        try:
            child = open_directory(name, parent)
        except OSError as failure:
            if failure.errno in NOTHING_THERE:
                continue
            raise
        try:
            yield from _keys(child, f"{prefix}{name}/", only[1:], here)
        finally:
            os.close(child)


def _names(parent: int, *, files: bool) -> Iterator[str]:
    with os.scandir(parent) as entries:
        for entry in entries:
            wanted = entry.is_file if files else entry.is_dir
            if not entry.name.startswith(".") and wanted(follow_symlinks=False):
                yield entry.name


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
        note=attributes.get("note", ""),
    )


def _content_type(name: str, recorded: str | None) -> str:
    """Give the type that was recorded, unless somebody else wrote what is none."""
    try:
        return content_type_for(name, recorded)
    except Error:
        return content_type_for(name)


def _sync(path: str) -> None:
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
