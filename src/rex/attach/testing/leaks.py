"""Leaks of a test: attachments that nothing refers to, and uploads that are not finished."""

from __future__ import annotations

import datetime
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from rex.attach.backend.garbage import GarbageKind
from rex.attach.maintenance.references import as_handle
from rex.core import Error, Kind

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from rex.attach.storage import Storage

    References = Iterable[str | None] | Callable[[], Iterable[str | None]]

__all__ = ["Leak", "Leaks"]

_LABELS = {
    GarbageKind.ATTACHMENT: "orphan",
    GarbageKind.UPLOAD: "unfinished resumable upload",
    GarbageKind.PARTS: "unfinished multipart upload",
    GarbageKind.FILE: "temporary file or object",
}
"""The words for each kind of leak; an empty directory is not a leak."""
_ADVICE = (
    "An orphan is an attachment without a reference: remove it, or name the references of the "
    "application with attach_leaks.references(…)."
)
_DJANGO_ADVICE = (
    "Django's TestCase runs the removals that wait for a commit only in "
    "captureOnCommitCallbacks(execute=True)."
)
_LATER = datetime.timedelta(days=1)
"""Garbage is older than a moment; with this margin, the moment is after every test."""


@dataclass(frozen=True, slots=True)
class Leak:
    """An attachment, an upload or a file that a test has left in a storage."""

    kind: GarbageKind
    name: str
    """The handle, or the path or key in the storage."""
    size: int
    """In bytes."""

    def __str__(self) -> str:
        return f"{_LABELS[self.kind]}: {self.name} ({self.size} B)"


class Leaks:
    """The check for leaks in the storages of a test (fixture `attach_leaks`).

    The check covers the storages of the fixtures `attach_storage`, `attach_directory` and
    `attach_s3`, as far as the test uses them, and those given to `watch`. What these contained
    before the test function began is not a leak.
    """

    def __init__(self, storages: list[Storage]) -> None:
        self._storages = storages
        self._before: dict[int, set[Leak]] = {}
        self._references: list[References] = []

    def start(self) -> None:
        """Ignore what the storages contain now."""
        for storage in self._storages:
            self._note(storage)

    def watch(self, storage: Storage) -> None:
        """Check another storage too; what it contains now is not a leak.

        The storage must be open until the check, which is after the test function.
        """
        if all(storage is not other for other in self._storages):
            self._storages.append(storage)
        self._note(storage)

    def references(self, handles: References) -> None:
        """Add the handles that the application refers to; None and empty strings are skipped.

        `handles` are handles (the first slash may be missing) or keys, or a function that returns
        them, which is called at each check. Without references, every attachment is an orphan.
        """
        self._references.append(handles)

    def find(self) -> dict[Storage, list[Leak]]:
        """Return the leaks in each storage that has any.

        Errors: `ILL_FORMED` for a reference that is not a handle; those of listing.
        """
        references = [*self._referenced()]
        found = {}
        for storage in self._storages:
            kept = {as_handle(storage, reference) for reference in references}
            before = self._before.get(id(storage), set())
            leaks = [
                leak for leak in _find(storage) if leak not in before and leak.name not in kept
            ]
            if leaks:
                found[storage] = leaks
        return found

    def check(self) -> None:
        """Fail the test if there are leaks; the message names each of them."""
        found = self.find()
        if found:
            pytest.fail(_describe(found), pytrace=False)

    def _note(self, storage: Storage) -> None:
        self._before[id(storage)] = {*_find(storage)}

    def _referenced(self) -> Iterator[str]:
        for given in self._references:
            for handle in given() if callable(given) else given:
                if handle:
                    yield str(handle)


def _describe(found: dict[Storage, list[Leak]]) -> str:
    lines = []
    for storage, leaks in found.items():
        count = "1 leak" if len(leaks) == 1 else f"{len(leaks)} leaks"
        lines += [f"The test left {count} in {storage!r}:", *(f"  {leak}" for leak in leaks)]
    kinds = {leak.kind for leaks in found.values() for leak in leaks}
    if GarbageKind.ATTACHMENT in kinds:
        lines.append(_ADVICE)
        if "django.db" in sys.modules:
            lines.append(_DJANGO_ADVICE)
    return "\n".join(lines)


def _find(storage: Storage) -> Iterator[Leak]:
    """Yield the attachments, the resumable uploads and the garbage of a storage."""
    for handle in storage.list():
        yield from _attachment(storage, handle)
    if storage.abilities.resumable is not None:
        for handle in storage.uploads.list():
            yield from _upload(storage, handle)
    lifetime = datetime.timedelta(seconds=storage.upload_expires)
    for garbage in storage.garbage(datetime.datetime.now(datetime.UTC) + lifetime + _LATER):
        if garbage.kind in _LABELS:
            yield Leak(garbage.kind, garbage.name, garbage.size)


def _attachment(storage: Storage, handle: str) -> Iterator[Leak]:
    try:
        size = storage.info(handle).size
    except Error as error:
        if error.kind is not Kind.NOT_FOUND:
            raise
    else:
        yield Leak(GarbageKind.ATTACHMENT, handle, size)


def _upload(storage: Storage, handle: str) -> Iterator[Leak]:
    try:
        upload = storage.uploads.peek(handle)
    except Error as error:
        if error.kind is not Kind.NOT_FOUND:
            raise
    else:
        yield Leak(GarbageKind.UPLOAD, handle, upload.offset)
