"""All attachments of one storage, copied to another: handles, bytes and types stay the same."""

from __future__ import annotations

import enum
import hashlib
import threading
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from rex.attach.content.content import CHUNK_SIZE
from rex.attach.maintenance.concurrent import map_concurrently
from rex.attach.maintenance.throttle import Throttle, Throttled
from rex.attach.storage import MAX_POSITION
from rex.core import Error, Kind

if TYPE_CHECKING:
    import datetime
    from collections.abc import Generator, Iterator

    from rex.attach.content.content import ContentSource
    from rex.attach.info import Info
    from rex.attach.storage import Storage

__all__ = ["Copied", "Outcome", "copy"]

WORKERS = 32

LARGE = 8 * 1024 * 1024
"""More bytes than this are sent in several parts at once, which takes memory."""

_FIRST = "00000000-0000-4000-8000-000000000000/-"
"""Comes before the handles of its day."""


class Outcome(enum.Enum):
    """What became of one attachment."""

    COPIED = "copied"
    """It is in the other storage now."""
    SAME = "same"
    """It was there already, with the same bytes."""
    DIFFERS = "differs"
    """Something else is there under its handle; that was left alone."""
    GONE = "gone"
    """It was removed from the source meanwhile, and is not in the other storage."""
    EXTRA = "extra"
    """It is in the other storage alone, and stays there."""
    REMOVED = "removed"
    """It was in the other storage alone, and was removed from it."""
    UNKNOWN = "unknown"
    """The source has this under a key that is not a handle; it is not copied."""
    FAILED = "failed"
    """It could not be copied, for the reason given."""


@dataclass(frozen=True, slots=True)
class Copied:
    """What became of one attachment, and why."""

    handle: str
    """Its handle, or for `UNKNOWN` the key as the source has it."""
    outcome: Outcome
    size: int = 0
    """The bytes that were copied."""
    reason: str = ""

    @property
    def is_fine(self) -> bool:
        """Whether this is as it should be: copied, there already, or not an attachment."""
        return self.outcome not in (Outcome.DIFFERS, Outcome.FAILED)


def copy(
    source: Storage,
    dest: Storage,
    *,
    since: datetime.date | None = None,
    dry_run: bool = False,
    delete_extra: bool = False,
    rate: float | None = None,
    workers: int = WORKERS,
) -> Generator[Copied, None, None]:
    """Copy all attachments; tell of each what became of it, as it is done, in no order.

    Content type and digest come along; bytes that are not those of the digest recorded in the
    source are not stored. What is in both storages is compared (size and digest; the bytes, where a
    digest was not recorded) and never overwritten. So a copy that was interrupted is begun again,
    and sends nothing twice that is there already. With a storage in use, what is added or removed
    meanwhile may be copied or not; what is removed from the source while it is copied is removed
    again.

    `since` restricts it to the handles made on that day (UTC) or later. With `dry_run`, nothing is
    changed, and `COPIED` is what would be. With `delete_extra`, what the source does not have is
    removed from `dest`; an empty source removes nothing. `rate` is the most bytes a second, and
    `workers` how many are copied at once; of those over 8 MiB, a quarter as many.

    Errors: those of listing, raised as it goes; what fails for one attachment is told as `FAILED`.
    """
    large = threading.Semaphore(max(workers // 4, 1))
    job = _Job(source, dest, Throttle(rate), large, dry_run=dry_run, delete_extra=delete_extra)
    return map_concurrently(job.settle, job.merge_lists(since), workers)


class _Found(NamedTuple):
    """A handle, and where it was listed."""

    handle: str
    in_source: bool
    in_dest: bool
    is_handle: bool = True


class _Job:
    def __init__(
        self,
        source: Storage,
        dest: Storage,
        throttle: Throttle,
        large: threading.Semaphore,
        *,
        dry_run: bool,
        delete_extra: bool,
    ) -> None:
        self._source = source
        self._dest = dest
        self._throttle = throttle
        self._large = large
        self._dry_run = dry_run
        self._delete_extra = delete_extra

    def merge_lists(self, since: datetime.date | None) -> Iterator[_Found]:
        """List both storages side by side; what is no handle comes last."""
        if next(self._source.list(), None) is None:
            self._delete_extra = False  # it may be a disk that is not mounted
        after = None if since is None else f"/{since.isoformat().replace('-', '/')}/{_FIRST}"
        yield from _merge(self._source.list(after=after), self._dest.list(after=after))
        for key in self._source.unknown_keys():
            yield _Found(key, in_source=True, in_dest=False, is_handle=False)

    def settle(self, found: _Found) -> Copied:
        """See to one attachment."""
        handle = found.handle
        if not found.is_handle:
            return Copied(handle, Outcome.UNKNOWN, reason="not an attachment")
        try:
            if not found.in_source:
                return self._extra(handle)
            return self._compare(handle) if found.in_dest else self._copy(handle)
        except Error as error:
            if error.kind is Kind.NOT_FOUND and self._is_gone(handle):
                return Copied(handle, Outcome.GONE)
            return Copied(handle, Outcome.FAILED, reason=str(error))

    def _is_gone(self, handle: str) -> bool:
        """Tell whether somebody has removed it, from the source and maybe from the other, too."""
        with suppress(Error):
            return handle not in self._source
        return False

    def _copy(self, handle: str) -> Copied:
        if self._dry_run:
            info = self._source.info(handle)
            _check_not_encoded(info)
            return Copied(handle, Outcome.COPIED, info.size)
        try:
            with self._open(handle) as (info, content):
                _check_not_encoded(info)
                self._dest.put(handle, content, content_type=info.content_type, digest=info.digest)
        except Error as error:
            if error.kind is Kind.EXISTS:
                return self._compare(handle)
            raise
        if handle in self._source:
            return Copied(handle, Outcome.COPIED, info.size)
        # Whoever removed it does not expect to find it again.
        self._dest.remove(handle)
        return Copied(handle, Outcome.GONE)

    @contextmanager
    def _open(self, handle: str) -> Iterator[tuple[Info, ContentSource]]:
        """Give what is known of an attachment of the source, and its content."""
        cached = self._source.read_cached(handle)
        if cached is not None:
            self._throttle.wait_for(len(cached[1]))
            yield cached
            return
        with self._source.open(handle, length=MAX_POSITION) as stream:
            if stream.info.size <= LARGE:
                yield stream.info, Throttled(stream, self._throttle)
                return
        # Nothing is held open while it waits for its turn.
        with self._large, self._source.open(handle, length=MAX_POSITION) as stream:
            yield stream.info, Throttled(stream, self._throttle)

    def _compare(self, handle: str) -> Copied:
        ours, theirs = self._source.info(handle), self._dest.info(handle)
        reason = _difference(ours, theirs)
        if not reason and None in (ours.digest, theirs.digest):
            digests = [_digest_of(storage, handle) for storage in (self._source, self._dest)]
            reason = "" if digests[0] == digests[1] else "other bytes"
        outcome = Outcome.DIFFERS if reason else Outcome.SAME
        return Copied(handle, outcome, reason=reason)

    def _extra(self, handle: str) -> Copied:
        if not self._delete_extra or handle in self._source:
            return Copied(handle, Outcome.EXTRA)
        if not self._dry_run:
            self._dest.remove(handle)
        return Copied(handle, Outcome.REMOVED)


def _merge(ours: Iterator[str], theirs: Iterator[str]) -> Iterator[_Found]:
    """Go through two listings at once, which have the same order."""
    one, other = next(ours, None), next(theirs, None)
    while one is not None or other is not None:
        if other is None or (one is not None and one < other):
            assert one is not None  # noqa: S101 - or the loop had ended
            yield _Found(one, in_source=True, in_dest=False)
            one = next(ours, None)
        elif one is None or other < one:
            yield _Found(other, in_source=False, in_dest=True)
            other = next(theirs, None)
        else:
            yield _Found(one, in_source=True, in_dest=True)
            one, other = next(ours, None), next(theirs, None)


def _check_not_encoded(info: Info) -> None:
    """Check that a copy is all that the attachment is: no storage of ours records a coding."""
    if info.content_encoding is not None:
        raise Error(
            "The attachment was stored in a coding, which a copy would lose",
            f"{info.handle}: Content-Encoding: {info.content_encoding}",
            kind=Kind.UNSUPPORTED,
        )


def _difference(ours: Info, theirs: Info) -> str:
    if ours.size != theirs.size:
        return f"{theirs.size} bytes, not {ours.size}"
    known = (ours.digest, theirs.digest)
    return "another digest" if None not in known and known[0] != known[1] else ""


def _digest_of(storage: Storage, handle: str) -> str:
    digest = hashlib.sha256()
    with storage.open(handle, length=MAX_POSITION) as stream:
        for chunk in iter(partial(stream.read, CHUNK_SIZE), b""):
            digest.update(chunk)
    return digest.hexdigest()
