"""The product broken on purpose, so that one sees that each part of the campaign can fail."""

from __future__ import annotations

import os
import stat
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rex.attach.backends.local import attributes, directory, syncing
from rex.attach.backends.local import resumable as local_drafts
from rex.attach.backends.local import storage as local
from rex.attach.backends.objects import storage as objectstore
from rex.attach.backends.s3 import control as s3_control
from rex.attach.backends.s3 import storage as s3
from rex.attach.content.content import Content

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["BREAKS"]

_fsync = os.fsync


def _sync_nothing() -> None:
    setattr(os, "fsync", lambda _: None)  # noqa: B010 - mypy forbids to assign it


def _sync_directories() -> None:
    """Sync no file."""

    def fsync(fd: int) -> None:
        if stat.S_ISDIR(os.fstat(fd).st_mode):
            _fsync(fd)

    setattr(os, "fsync", fsync)  # noqa: B010 - as above


def _sync_no_groups() -> None:
    """Wake those that wait together before anything is synced."""
    syncing._GroupSyncing._sync = lambda *_: None  # type: ignore[method-assign]


def _believe_the_next_sync() -> None:
    """Sync again what could not be synced, and believe that."""
    drafts: Any = local_drafts
    load = drafts.LocalResumable.load

    def end(self: Any, *, is_recorded: bool) -> None:
        del is_recorded
        os.fsync(self._fd)

    def load_again(self: Any, key: str) -> Any:
        draft = load(self, key)
        with self._place() as place, self._open_data(key, place=place) as (fd, status):
            os.fsync(fd)
            return draft._replace(size=status.st_size)

    drafts._Writing.end = end
    drafts.LocalResumable.load = load_again


def _name_before_it_is_whole() -> None:
    """Link a file under its name first, and write it afterwards."""

    def put(self: Any, key: str, content: Any, content_type: str) -> None:
        path = Path(self.directory, key)
        path.parent.mkdir(parents=True, exist_ok=True)
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
        for chunk in content:
            directory.write_all(fd, chunk)
        given = {"content_type": content_type, "sha256": content.digest}
        attributes.attach_attributes(fd, given)
        os.fsync(fd)
        os.close(fd)

    local.LocalStorage._put = put  # type: ignore[method-assign]


def _acknowledge_early() -> None:
    """Store what is added after it was acknowledged."""
    for kind in (local.LocalStorage, objectstore.ObjectStorage):
        storage: Any = kind
        storage._put_new = _put_late(storage._put_new)


def _put_late(put: Callable[..., None]) -> Callable[..., None]:
    def late(self: Any, key: str, content: Any, content_type: str) -> None:
        kept = Content(b"".join(content))
        threading.Timer(0.1, put, (self, key, kept, content_type)).start()

    return late


def _replace() -> None:
    """Replace what is there."""
    files: Any = local.LocalStorage
    put = files._put

    def replace(self: Any, key: str, content: Any, content_type: str) -> None:
        whole = Content(b"".join(content))
        Path(self.directory, key).unlink(missing_ok=True)
        put(self, key, whole, content_type)

    files._put = replace
    objects: Any = objectstore.ObjectStorage
    objects._put = objects._put_new
    control: Any = s3_control.S3Control
    ask = control._ask

    def ask_without_condition(self: Any, *needed: Any, **asked: Any) -> Any:
        asked.pop("IfNoneMatch", None)
        return ask(self, *needed, **asked)

    control._ask = ask_without_condition


def _send_no_checksums() -> None:
    """Send bytes without their SHA-256."""
    storage: Any = s3.S3Storage
    make = storage.__init__

    def init(self: Any, *arguments: Any, **options: Any) -> None:
        make(self, *arguments, **{**options, "checksums": False})

    storage.__init__ = init


def _tell_after_the_response() -> None:
    """Call ``on_stored`` when the client may have been acknowledged."""
    from trust import hooks, recording

    hooks.SETTINGS[recording.BREAK] = True


def _remove_before_the_outcome() -> None:
    """Remove after any end of a transaction what any of its statements replaced or added."""
    from rex.attach.sqlalchemy import changes, removal

    own: Any = changes.Changes
    own.due = property(lambda self: self.all)
    own.is_undecided = property(lambda _: False)
    given: Any = removal
    given._referenced = lambda *_: set()


BREAKS: dict[str, Callable[[], object]] = {
    "": lambda: None,
    "sync nothing": _sync_nothing,
    "sync directories": _sync_directories,
    "sync no groups": _sync_no_groups,
    "name before it is whole": _name_before_it_is_whole,
    "acknowledge early": _acknowledge_early,
    "replace": _replace,
    "send no checksums": _send_no_checksums,
    "believe the next sync": _believe_the_next_sync,
    "tell after the response": _tell_after_the_response,
    "remove before the outcome": _remove_before_the_outcome,
}
"""What may be broken, in the process that calls it and its children."""
