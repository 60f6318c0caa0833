"""Attachments in a directory: durable, atomic, never overwritten."""

from __future__ import annotations

import datetime
import os
import re
import secrets
import stat
from collections.abc import Iterator
from contextlib import suppress
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
    Directory,
    NewFile,
    OpenFile,
    descend,
    make_directory,
    open_file,
    sync_directory,
)
from rex.attach.storages.linux import open_without_links
from rex.attach.storages.local_drafts import PLACE
from rex.attach.storages.local_listing import keys, unknown_keys
from rex.attach.storages.secret_file import SECRET_NAME, own_secret
from rex.attach.storages.served import ServedStorage
from rex.attach.storages.tree import Tree
from rex.core import Error, Kind

if TYPE_CHECKING:
    from collections.abc import Sequence
    from contextlib import AbstractContextManager

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
        self,
        directory: str | os.PathLike[str],
        *,
        require_marker: bool = False,
        **options: Unpack[StorageOptions],
    ) -> None:
        """Use a directory, which `check` makes if only its last component is missing.

        With `require_marker`, `check` makes none, and accepts none without its marker.
        """
        super().__init__(**options)
        self.directory = os.path.abspath(directory)
        self.tree = Tree(self.directory)
        self._require_marker = require_marker
        self._day: Directory | None = None

    def __repr__(self) -> str:
        return f"LocalStorage({self.directory!r})"

    def close(self) -> None:
        """Release the root, and the directory of the day."""
        super().close()
        self._day = None
        self.tree.forget()

    def _check(self, *, create: bool) -> None:
        create = create and not self._require_marker
        try:
            is_new = create and self.tree.make()
            if not create and not os.path.lexists(self.directory):
                raise self._absent()
            os.stat(f"{self.directory}/.")  # for the tree, what is not a directory is gone
            with self._root() as root:
                _try_to_store(root)
        except Error:
            raise
        except FileNotFoundError:
            raise self._unusable("its parent directory does not exist") from None
        except NotADirectoryError:
            raise self._unusable("it is not a directory") from None
        except OSError as failure:
            reason = failure.strerror or str(failure)
            raise self._unusable(f"attachments cannot be stored in it: {reason}") from None
        self._check_marker(create=create, is_new=is_new)

    def _check_marker(self, *, create: bool, is_new: bool) -> None:
        if self.tree.marker() is not None:
            return
        is_used = not self._is_untouched()
        if create and (is_new or is_used):
            self.tree.mark()
        elif create:
            import logging  # which takes a while, and tells operations that they may be watched

            logging.getLogger("rex.attach").warning(
                "%s is empty and has no marker (.rex-attach): is a disk not mounted? "
                "rex attach init makes the marker",
                self.directory,
            )
        elif self._require_marker or not is_used:
            raise Error(
                "The directory of attachments has no marker (.rex-attach)",
                f"{self.directory}: mount its disk, or make the marker: rex attach init",
                kind=Kind.CONFIGURATION if self._require_marker else Kind.EMPTY,
                code="no-marker",
            )

    def _is_untouched(self) -> bool:
        if self.tree.marker() is not None:
            return False
        with self._root() as root:
            names = set(os.listdir(root))
        return not names & {PLACE, SECRET_NAME} and next(self.list(), None) is None

    def _init(self) -> bool:
        is_new = self.tree.make()
        return self.tree.mark() or is_new

    def _own_secret(self) -> bytes:
        with self._root() as root:
            return own_secret(root)

    def _absent(self) -> Error:
        return Error(
            "The directory of attachments does not exist",
            f"{self.directory}: mount its disk, or make it: rex attach init",
            kind=Kind.ABSENT,
            code="no-directory",
            setting="attach_dir",
        )

    def _unusable(self, reason: str) -> Error:
        return Error(
            "The directory of attachments cannot be used",
            f"{self.directory}: {reason}",
            kind=Kind.CONFIGURATION,
            code="wrong-setting",
            setting="attach_dir",
        )

    # Adding.

    def _put(self, key: str, content: Content, content_type: str) -> None:
        with self._root() as root, NewFile(root) as file:
            for chunk in content:
                file.write(chunk)
            self._publish(root, file, key, content_type, content.digest, note=content.note)

    def _put_new(self, key: str, content: Content, content_type: str) -> None:
        try:
            self._put(key, content, content_type)
        except FileExistsError:
            raise
        except BaseException:
            # Under a key that others know, it might be theirs by now.
            with suppress(OSError):
                self._discard(key)
            raise

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
        """Place a whole file under its key, durably.

        Where this fails with anything but `FileExistsError`, the file may have its place all the
        same.
        """
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
            except FileExistsError:
                self._sync_names(root, key)  # its writer may not have, and others rely on it
                raise
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

    def _discard(self, key: str) -> None:
        """Remove what a failed add may have left."""
        *names, name = key.split("/")
        with self._root() as root:
            with suppress(FileNotFoundError), descend(root, names) as opened:
                os.unlink(name, dir_fd=opened[-1])
                remove_beside(name, opened[-1])
            self._tidy(root, key)

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

    def _doctors(self) -> Sequence[Doctor]:
        from rex.attach.storages.local_doctor import LocalDoctor

        return (LocalDoctor(self),)

    def _drafts(self) -> Drafts:
        from rex.attach.storages.local_drafts import LocalDrafts

        return LocalDrafts(self)

    # Reading.

    def _get(self, key: str, start: int, end: int | None) -> Body:
        del end  # nothing is read before it is asked for
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

    def _open(self, key: str) -> tuple[int, Metadata]:
        """Open the file of an attachment; give what is known of it too."""
        opened_at_once = self._open_at_once(key)
        if opened_at_once is not None:
            return opened_at_once
        # It is not there, its attributes are beside it, the root is another one or was not opened
        # yet, or the system cannot do this.
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
                sync_directory(opened[-1])
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
            yield from keys(root, "", only, [] if after is None else after.split("/"))

    def _unknown_keys(self) -> Iterator[str]:
        with self._root() as root:
            yield from unknown_keys(root)

    def _leftovers(self, before: datetime.datetime) -> Iterator[Leftover]:
        from rex.attach.storages.local_leftovers import local_leftovers

        with self._root() as root:
            yield from local_leftovers(root, before)

    def _root(self) -> AbstractContextManager[int]:
        return self.tree.opened()


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
        # Noted first: a number that is closed twice may be another file's by then.
        fd, self._fd = self._fd, -1
        if fd >= 0:
            with suppress(OSError):  # nothing was written to it
                os.close(fd)

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


def _try_to_store(root: int) -> None:
    """Give a new file a name and take it away again, as storing an attachment does."""
    with NewFile(root) as file:
        name = f".partial-{secrets.token_hex(16)}"
        os.fsync(file.fd)
        file.link(name, root)
        os.unlink(name, dir_fd=root)
