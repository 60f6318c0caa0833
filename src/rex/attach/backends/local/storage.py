"""Attachments in a directory: durable, atomic, never overwritten."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Unpack

from rex.attach.backend.abilities import Abilities
from rex.attach.backends.local.attributes import remove_beside
from rex.attach.backends.local.directory import NewFile, descend, open_file, sync_directory
from rex.attach.backends.local.files import Chunks, Files, read_if_cached
from rex.attach.backends.local.listing import keys, unknown_keys
from rex.attach.backends.local.secret_file import own_secret
from rex.attach.backends.local.tree import Tree
from rex.attach.backends.service_links import ServiceLinksStorage
from rex.attach.content.reader import Body
from rex.core import Error, Kind

if TYPE_CHECKING:
    import datetime
    from collections.abc import Iterator, Sequence

    from rex.attach.backend.diagnostics import Doctor
    from rex.attach.backend.garbage import Garbage
    from rex.attach.backends.local.config import LocalConfig
    from rex.attach.content.content import Content
    from rex.attach.info import Metadata
    from rex.attach.storage import StorageOptions

__all__ = ["LocalStorage", "make"]

CACHED_SIZE = 128 * 1024
"""The largest attachment to return from the page cache, in bytes; copying more takes time."""


class LocalStorage(ServiceLinksStorage):
    """Attachments in a directory; the key of an attachment is its path.

    An acknowledged add or remove outlasts a power cut: the file, its directory and every new
    directory up to the root are synced. A file appears complete and never replaces another file.
    Symbolic links in the directory are not followed. Files have mode 0640, directories 0750.
    """

    def __init__(
        self,
        directory: str | os.PathLike[str],
        *,
        require_marker: bool = False,
        **options: Unpack[StorageOptions],
    ) -> None:
        """Use a directory; `check` creates it if only its last component is missing.

        With `require_marker`, `check` creates nothing and requires the directory and its marker.
        """
        super().__init__(**options)
        self.directory = os.path.abspath(directory)
        self._tree = Tree(self.directory)
        self._files = Files(self._tree)
        self._require_marker = require_marker

    def __repr__(self) -> str:
        return f"LocalStorage({self.directory!r})"

    def __reduce__(self) -> tuple[object, ...]:
        """Return how to open the same directory."""
        return self._restorable(self.directory, require_marker=self._require_marker)

    def close(self) -> None:
        """Release the root and the directory of the day."""
        super().close()
        self._files.close()

    def _check(self, *, create: bool) -> None:
        create = create and not self._require_marker
        try:
            is_new = create and self._tree.make()
            if not create and not os.path.lexists(self.directory):
                raise self._absent()
            os.stat(f"{self.directory}/.")  # `Tree.open` takes a file for a missing directory
            with self._tree.hold_open() as root:
                _try_to_store(root)
        except Error:
            raise
        except FileNotFoundError:
            raise self._unusable("its parent directory does not exist") from None
        except NotADirectoryError:
            raise self._unusable("it is not a directory") from None
        except OSError as failure:
            reason = failure.strerror or str(failure)
            raise self._unusable(f"storing a file failed: {reason}") from None
        self._check_marker(create=create, is_new=is_new)

    def _check_marker(self, *, create: bool, is_new: bool) -> None:
        if self._tree.marker() is not None:
            return
        is_used = not self._is_untouched()
        if create and (is_new or is_used):
            self._tree.mark()
        elif create:
            from rex.core.log import (
                get_logger,  # slow; operations check whether logging is imported
            )

            get_logger("rex.attach").warning(
                "%s is empty and has no marker (.rex-attach): its disk may not be mounted; if it "
                "is, create the marker: rex attach init",
                self.directory,
            )
        elif self._require_marker or not is_used:
            raise Error(
                "The directory of attachments has no marker (.rex-attach)",
                f"{self.directory}: mount its disk, or create the marker: rex attach init",
                kind=Kind.CONFIGURATION if self._require_marker else Kind.EMPTY,
                code="no-marker",
            )

    def _is_untouched(self) -> bool:
        return self._files.are_untouched()

    def _init(self) -> bool:
        is_new = self._tree.make()
        return self._tree.mark() or is_new

    def _own_secret(self) -> bytes:
        with self._tree.hold_open() as root:
            return own_secret(root)

    def _absent(self) -> Error:
        return Error(
            "The directory of attachments does not exist",
            f"{self.directory}: mount its disk, or create it: rex attach init",
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
        with self._tree.hold_open() as root, NewFile(root) as file:
            for chunk in content:
                file.write(chunk)
            self._files.publish(
                root,
                file,
                key,
                content_type,
                content.digest,
                upload_metadata=content.upload_metadata,
            )

    def _put_new(self, key: str, content: Content, content_type: str) -> None:
        try:
            self._put(key, content, content_type)
        except FileExistsError:
            raise
        except BaseException:
            # Only under a new key: under a known key, the file may be another caller's by now.
            with suppress(OSError):
                self._files.discard(key)
            raise

    def _abilities(self) -> Abilities:
        from rex.attach.backends.local.resumable import LocalResumable

        return Abilities(
            links=self._links(),
            resumable=LocalResumable(self._files),
            garbage=self._garbage,
            diagnostics=self._doctors,
            one_remover=True,
            create_once=True,
            directory=self.directory,
            grouped=self._files.grouped,
        )

    def _garbage(self, before: datetime.datetime) -> Iterator[Garbage]:
        from rex.attach.backends.local.garbage import find_garbage

        with self._tree.hold_open() as root:
            yield from find_garbage(root, before)

    def _doctors(self) -> Sequence[Doctor[Any]]:
        from rex.attach.backends.local.diagnostics import LocalDoctor

        return (
            LocalDoctor(
                self,
                self._files,
                require_marker=self._require_marker,
                has_secret=self._secret is not None,
            ),
        )

    # Reading.

    def _get(self, key: str, start: int, end: int | None) -> Body:
        del end  # reading is lazy
        fd, metadata = self._files.open(key)
        return Body(metadata, Chunks(fd, start, metadata.size))

    def _head(self, key: str) -> Metadata:
        fd, metadata = self._files.open(key)
        os.close(fd)
        return metadata

    def _get_cached(self, key: str) -> tuple[Metadata, bytes] | None:
        opened = self._files.open_at_once(key, is_cached=True)
        if opened is None:
            return None
        fd, metadata = opened
        try:
            content = read_if_cached(fd, 0, metadata.size) if metadata.size <= CACHED_SIZE else None
        finally:
            os.close(fd)
        return None if content is None else (metadata, content)

    # Removing.

    def _delete(self, key: str) -> None:
        from rex.attach.backends.local.resumable import LocalResumable

        *names, name = key.split("/")
        with self._tree.hold_open() as root:
            with descend(root, names) as opened:
                fd, status = open_file(name, opened[-1])
                os.close(fd)
                if status.st_nlink > 1:
                    # A process died while it published the upload, which would restore the file.
                    LocalResumable(self._files).remove(key)
                os.unlink(name, dir_fd=opened[-1])
                remove_beside(name, opened[-1])
                sync_directory(opened[-1])
            self._files.tidy(root, key)

    # Listing.

    def _list(self, day: datetime.date | None, after: str | None) -> Iterator[str]:
        with self._tree.hold_open() as root:
            only = [] if day is None else day.isoformat().split("-")
            yield from keys(root, "", only, [] if after is None else after.split("/"))

    def _unknown_keys(self) -> Iterator[str]:
        with self._tree.hold_open() as root:
            yield from unknown_keys(root)


def make(config: LocalConfig, **options: Unpack[StorageOptions]) -> LocalStorage:
    """Create the storage of a configuration."""
    return LocalStorage(config.directory, require_marker=config.require_marker, **options)


def _try_to_store(root: int) -> None:
    """Write, link and remove an empty file, as storing an attachment does."""
    with NewFile(root) as file:
        name = f".partial-{os.urandom(16).hex()}"
        os.fsync(file.fd)
        file.link(name, root)
        os.unlink(name, dir_fd=root)
