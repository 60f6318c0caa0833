"""Sweeping a storage: finding and removing garbage and orphans."""

from __future__ import annotations

import dataclasses
import datetime
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rex.attach.backend.garbage import GarbageKind
from rex.attach.handle import show
from rex.attach.maintenance.concurrent import map_concurrently
from rex.attach.maintenance.references import as_handle
from rex.core import Error, Kind

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Iterator, Sequence

    from rex.attach.storage import Storage

__all__ = ["GRACE", "Swept", "lifecycle", "sweep"]

WORKERS = 32
GRACE = 24 * 3600.0
MIN_GRACE = 60.0
"""Seconds: a younger file may still be in the process of being written."""
DAY = 24 * 3600


@dataclass(frozen=True, slots=True)
class Swept:
    """An item of garbage; removed if `sweep` was called with `delete`."""

    handle: str
    """The handle, or the path or key in the storage."""
    kind: GarbageKind
    size: int = 0
    """In bytes."""
    since: datetime.datetime | None = None
    """The time since which the item is unused (aware, UTC)."""
    reason: str = ""
    """The reason of `FAILED`."""

    @property
    def is_fine(self) -> bool:
        """Whether no failure occurred."""
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
    """Find garbage, and with `delete` remove it; yield each item as it is found.

    Garbage has been unused for `grace` seconds, at least 60: uploads since they expired
    (`Storage.upload_expires`), temporary files and empty directories since their last change.
    Anything younger or in use is kept.

    `referenced` must be all handles that the application refers to; the first slash may be
    missing, and keys (`Storage.key_of_handle`) are accepted too. If given, all other attachments
    that were stored more than `grace` ago are garbage too: `grace` must be longer than the time
    between storing an attachment and referring to it. `referenced` is read first.
    `workers` is the number of attachments processed at a time, and `now` (aware) the current time.

    Errors, before anything is removed: `ILL_FORMED` for a grace that is too short, and for an
    ill-formed handle or key in `referenced`; `CONFIGURATION` if `referenced` is empty, or if a
    storage with attachments has none of them. Later, those of listing.
    """
    if not grace >= MIN_GRACE:
        reason = f"grace must be a number of seconds, at least {MIN_GRACE:.0f}"
        raise Error(reason, show(grace), kind=Kind.ILL_FORMED)
    before = (now or datetime.datetime.now(datetime.UTC)) - datetime.timedelta(seconds=grace)
    handles = None if referenced is None else _check_handles(storage, referenced)
    job = _Job(storage, before, delete=delete)
    return job.all(handles, workers)


def lifecycle(
    storage: Storage, *, grace: float = GRACE, noncurrent: float | None = None
) -> Sequence[dict[str, Any]]:
    """Return the lifecycle rules with which a bucket removes abandoned uploads.

    The rules keep an upload for `Storage.upload_expires` and `grace` seconds. With `noncurrent`
    (seconds), they also remove the versions of removed attachments. Times are rounded up to days.
    The format is that of the server, on S3 that of PutBucketLifecycleConfiguration.

    Errors: `UNSUPPORTED` without a bucket.
    """
    days = _days(storage.upload_expires + grace)
    return storage.lifecycle(days, None if noncurrent is None else max(1, _days(noncurrent)))


def _days(seconds: float) -> int:
    return int(-(-seconds // DAY))


def _check_handles(storage: Storage, referenced: Iterable[str]) -> set[str]:
    """Return the handles. Errors: `CONFIGURATION` unless they are those of this storage."""
    handles = {as_handle(storage, reference) for reference in referenced}
    if not handles:
        raise Error(
            "The list of referenced handles is empty, so nothing is removed",
            "omit the list to sweep everything but attachments",
            kind=Kind.CONFIGURATION,
            code="no-references",
        )
    listed = storage.list()
    first = next(listed, None)
    if first is not None and first not in handles and handles.isdisjoint(listed):
        raise Error(
            "The storage has none of the attachments that the application refers to",
            f"{storage!r} may be the wrong storage, so nothing is removed",
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
        """Yield garbage, then orphans."""
        yield from self._uploads()
        yield from self._clear_garbage()
        if referenced is not None:
            yield from self._orphans(referenced, workers)

    def _uploads(self) -> Iterator[Swept]:
        """Yield expired resumable uploads."""
        if self._storage.abilities.resumable is None:
            return
        uploads = self._storage.uploads
        for handle in uploads.list():
            try:
                upload = uploads.peek(handle)
                if self._delete and upload.is_complete and not upload.partial:
                    self._notify(handle)
                if upload.expires_at is None or upload.expires_at >= self._before:
                    continue
                if self._delete:
                    uploads.remove(handle)
            except Error as error:
                # An upload whose attachment another client stored is garbage of the backend.
                if error.kind not in (Kind.NOT_FOUND, Kind.BUSY, Kind.EXISTS):
                    yield Swept(handle, GarbageKind.FAILED, reason=str(error))
            else:
                yield Swept(handle, GarbageKind.UPLOAD, upload.offset, upload.expires_at)

    def _notify(self, handle: str) -> None:
        """Call the hooks for a complete upload, unless it has expired."""
        with suppress(Error):  # of the application, or expired: a later sweep decides
            self._storage.uploads.info(handle)

    def _clear_garbage(self) -> Iterator[Swept]:
        """Yield the garbage that the backend finds."""
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
        """Yield attachments that the application does not refer to."""
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
