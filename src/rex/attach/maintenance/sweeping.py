"""What nobody finished, and what nobody refers to: found, and removed when it is told to."""

from __future__ import annotations

import dataclasses
import datetime
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rex.attach.backend.garbage import GarbageKind
from rex.attach.handle import parse_handle, show
from rex.attach.maintenance.concurrent import map_concurrently
from rex.core import Error, Kind

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Iterator, Sequence

    from rex.attach.storage import Storage

__all__ = ["GRACE", "Swept", "lifecycle", "sweep"]

WORKERS = 32
GRACE = 24 * 3600.0
MIN_GRACE = 60.0
"""What is younger may be in the middle of being made, with nothing yet to tell."""
DAY = 24 * 3600


@dataclass(frozen=True, slots=True)
class Swept:
    """One thing that is left over; it is removed by now if that was asked for."""

    handle: str
    """Its handle, or where it stands in the storage."""
    kind: GarbageKind
    size: int = 0
    """In bytes."""
    since: datetime.datetime | None = None
    """Since when it has been of no use (aware, UTC)."""
    reason: str = ""
    """Why it could not be removed, for `FAILED`."""

    @property
    def is_fine(self) -> bool:
        """Whether it could be looked at, and removed."""
        return self.kind is not GarbageKind.FAILED


def sweep(
    storage: Storage,
    *,
    delete: bool = False,
    grace: float = GRACE,
    referenced: Iterable[str] | None = None,
    workers: int = WORKERS,
    now: datetime.datetime | None = None,
) -> Generator[Swept, None, None]:
    """Find what is left over, and with `delete` remove it; tell each, as it is found.

    That is what has been of no use for `grace` seconds, at least 60: uploads since they have
    expired (`Storage.upload_expires`), temporary files and empty directories since they were last
    changed. What is younger, or in use, is not touched.

    `referenced` are all handles that the application still refers to. Given these, attachments
    that are not among them and were stored longer than `grace` ago are left over, too: `grace` has
    to be longer than what may pass between storing an attachment and referring to it. They are
    read before anything else is. `workers` is how many attachments are looked at at once, and `now`
    (aware) what to take for the time.

    Errors, before anything is removed: `ILL_FORMED` for a grace that is too short, and for what is
    no handle in `referenced`; `CONFIGURATION` when it is empty, or none of it is in a storage that
    has attachments. Later, those of listing.
    """
    if not grace >= MIN_GRACE:
        reason = f"The grace is a number of seconds, at least {MIN_GRACE:.0f}"
        raise Error(reason, show(grace), kind=Kind.ILL_FORMED)
    before = (now or datetime.datetime.now(datetime.UTC)) - datetime.timedelta(seconds=grace)
    handles = None if referenced is None else _check_handles(storage, referenced)
    job = _Job(storage, before, delete=delete)
    return job.all(handles, workers)


def lifecycle(
    storage: Storage, *, grace: float = GRACE, noncurrent: float | None = None
) -> Sequence[dict[str, Any]]:
    """Return the lifecycle rules with which a bucket removes abandoned uploads.

    They leave an upload as long as it may take and `grace` seconds more. With `noncurrent`
    (seconds), the bucket also removes the versions that it keeps of removed attachments. All is in
    whole days. The rules are those of PutBucketLifecycleConfiguration. Errors: `UNSUPPORTED`
    without a bucket.
    """
    days = _days(storage.upload_expires + grace)
    return storage.lifecycle(days, None if noncurrent is None else max(1, _days(noncurrent)))


def _days(seconds: float) -> int:
    return int(-(-seconds // DAY))


def _check_handles(storage: Storage, referenced: Iterable[str]) -> set[str]:
    """Make sure that these are handles of this storage: all others would be removed."""
    handles = set()
    for handle in referenced:
        parse_handle(handle)
        handles.add(handle)
    if not handles:
        raise Error(
            "The application refers to no attachment at all, so none is removed",
            "leave the handles out to sweep the rest",
            kind=Kind.CONFIGURATION,
            code="no-references",
        )
    listed = storage.list()
    first = next(listed, None)
    if first is not None and first not in handles and handles.isdisjoint(listed):
        raise Error(
            "None of the attachments that the application refers to is in this storage",
            f"{storage!r} may be another one, so nothing is removed",
            kind=Kind.CONFIGURATION,
            code="no-references",
        )
    return handles


class _Job:
    def __init__(self, storage: Storage, before: datetime.datetime, *, delete: bool) -> None:
        self._storage = storage
        self._before = before
        self._delete = delete

    def all(self, referenced: set[str] | None, workers: int) -> Generator[Swept, None, None]:
        """Find everything."""
        yield from self._uploads()
        yield from self._clear_garbage()
        if referenced is not None:
            yield from self._orphans(referenced, workers)

    def _uploads(self) -> Iterator[Swept]:
        """Find uploads in pieces that have expired."""
        if self._storage.abilities.resumable is None:
            return
        uploads = self._storage.uploads
        for handle in uploads.list():
            try:
                upload = uploads.peek(handle)
                if upload.expires_at is None or upload.expires_at >= self._before:
                    continue
                if self._delete:
                    uploads.remove(handle)
            except Error as error:
                if error.kind not in (Kind.NOT_FOUND, Kind.BUSY):
                    yield Swept(handle, GarbageKind.FAILED, reason=str(error))
            else:
                yield Swept(handle, GarbageKind.UPLOAD, upload.offset, upload.expires_at)

    def _clear_garbage(self) -> Iterator[Swept]:
        """Find what the storage itself knows of."""
        for found in self._storage.garbage(self._before):
            swept = Swept(found.name, found.kind, found.size, found.since)
            try:
                if not self._delete or found.clear():
                    yield swept
            except Error as error:
                yield dataclasses.replace(
                    swept, kind=GarbageKind.FAILED, reason=f"{found.kind.value}: {error}"
                )

    def _orphans(self, referenced: set[str], workers: int) -> Iterator[Swept]:
        """Find attachments that nobody refers to."""
        others = (handle for handle in self._storage if handle not in referenced)
        for swept in map_concurrently(self._orphan, others, workers):
            if swept is not None:
                yield swept

    def _orphan(self, handle: str) -> Swept | None:
        try:
            info = self._storage.info(handle)
            if info.modified >= self._before:
                return None
            if self._delete:
                self._storage.remove(handle)
        except Error as error:
            if error.kind is Kind.NOT_FOUND:
                return None
            return Swept(handle, GarbageKind.FAILED, reason=str(error))
        return Swept(handle, GarbageKind.ATTACHMENT, info.size, info.modified)
