"""Copying all attachments to another storage, with their handles, bytes and types."""

from __future__ import annotations

import enum
import hashlib
import threading
from contextlib import ExitStack, contextmanager, suppress
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
    from collections.abc import Callable, Generator, Iterator

    from rex.attach.content.content import ContentSource
    from rex.attach.info import Info
    from rex.attach.storage import Storage

__all__ = ["Copied", "Outcome", "copy"]

WORKERS = 32

LARGE = 8 * 1024 * 1024
"""The size in bytes above which a server gets several parts at a time, which takes memory."""

WAITING_SECONDS = 1
"""The time for which a large attachment that waits for its turn keeps its request to a server."""

_FIRST = "00000000-0000-4000-8000-000000000000/-"
"""Sorts before every handle of its day."""


class Outcome(enum.Enum):
    """The outcome for one attachment."""

    COPIED = "copied"
    """The attachment was copied."""
    SAME = "same"
    """The destination had the attachment already, with the same bytes."""
    DIFFERS = "differs"
    """The destination has a different attachment under the handle, and keeps it."""
    GONE = "gone"
    """The attachment was removed from the source meanwhile, and was not copied."""
    EXTRA = "extra"
    """Only the destination has the attachment, and keeps it."""
    REMOVED = "removed"
    """Only the destination had the attachment; it was removed."""
    UNKNOWN = "unknown"
    """An unknown key of the source, whose object is not copied."""
    FAILED = "failed"
    """The attachment could not be copied, for the given reason."""


@dataclass(frozen=True, slots=True)
class Copied:
    """The outcome for one attachment, with its reason."""

    handle: str
    """The handle; for `UNKNOWN`, the key in the source."""
    outcome: Outcome
    size: int = 0
    """The number of bytes copied."""
    reason: str = ""

    @property
    def is_fine(self) -> bool:
        """Whether the outcome is neither `DIFFERS` nor `FAILED`."""
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
    progress: Callable[[int], None] | None = None,
) -> Generator[Copied, None, None]:
    """Copy all attachments; yield the outcome for each as it completes, in any order.

    Content types and digests are copied; bytes that do not match the digest recorded in the
    source are not stored. An attachment that both storages have is compared (size and digest, or
    the bytes without a recorded digest) and never overwritten. So repeating an interrupted copy
    sends no attachment twice. The storages may be in use: an attachment that is added or removed
    meanwhile may or may not be copied; one that is removed from the source during its copy is
    removed from the destination too.

    `since` selects the handles made on that day (UTC) or later. With `dry_run`, nothing is
    changed, and the outcomes are those of a real run. With `delete_extra`, attachments that the
    source does not have are removed from `dest`, unless the source is empty. `rate` is the largest
    number of bytes per second. `workers` is the number of attachments copied at a time; of those
    over 8 MiB, a quarter. `progress` is called with the bytes read so far since its last call, in
    any thread. If the caller closes the generator, copies in progress end and leave nothing.

    Errors: those of listing; the failure of one attachment is the outcome `FAILED`.
    """
    large = threading.Semaphore(max(workers // 4, 1))
    throttle = Throttle(rate, progress=progress)
    job = _Job(source, dest, throttle, large, dry_run=dry_run, delete_extra=delete_extra)
    outcomes = map_concurrently(job.settle, job.merge_lists(since), workers, throttle.stop)
    return outcomes if dry_run else _grouped(dest, outcomes)


def _grouped(
    dest: Storage, outcomes: Generator[Copied, None, None]
) -> Generator[Copied, None, None]:
    with ExitStack() as stack:
        if dest.abilities.grouped is not None:
            with dest.map_errors(None):
                stack.enter_context(dest.abilities.grouped())
        yield from outcomes


class _Found(NamedTuple):
    """A handle, and the storages that list it."""

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
        """Yield the merged listings of both storages, then the unknown keys of the source."""
        if next(self._source.list(), None) is None:
            self._delete_extra = False  # its disk may not be mounted
        after = None if since is None else f"/{since.isoformat().replace('-', '/')}/{_FIRST}"
        yield from _merge(self._source.list(after=after), self._dest.list(after=after))
        for key in self._source.unknown_keys():
            yield _Found(key, in_source=True, in_dest=False, is_handle=False)

    def settle(self, found: _Found) -> Copied:
        """Copy, compare or remove one attachment; return the outcome."""
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
        """Return whether the attachment was removed from the source meanwhile."""
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
        # The attachment was removed during the copy, and must not reappear.
        self._dest.remove(handle)
        return Copied(handle, Outcome.GONE)

    @contextmanager
    def _open(self, handle: str) -> Iterator[tuple[Info, ContentSource]]:
        """Open an attachment of the source: its metadata and its content."""
        cached = self._source.read_cached(handle)
        if cached is not None:
            self._throttle.wait_for(len(cached[1]))
            yield cached
            return
        with self._source.open(handle, length=MAX_POSITION) as reader, ExitStack() as turn:
            if reader.info.size > LARGE:
                if not self._large.acquire(timeout=WAITING_SECONDS):
                    reader.stream.release()
                    self._large.acquire()
                turn.callback(self._large.release)
            yield reader.info, Throttled(reader, self._throttle)

    def _compare(self, handle: str) -> Copied:
        ours, theirs = self._source.info(handle), self._dest.info(handle)
        reason = _difference(ours, theirs)
        if not reason and None in (ours.digest, theirs.digest):
            digests = [_digest_of(storage, handle) for storage in (self._source, self._dest)]
            reason = "" if digests[0] == digests[1] else "different bytes"
        outcome = Outcome.DIFFERS if reason else Outcome.SAME
        return Copied(handle, outcome, reason=reason)

    def _extra(self, handle: str) -> Copied:
        if not self._delete_extra or handle in self._source:
            return Copied(handle, Outcome.EXTRA)
        if not self._dry_run:
            self._dest.remove(handle)
        return Copied(handle, Outcome.REMOVED)


def _merge(ours: Iterator[str], theirs: Iterator[str]) -> Iterator[_Found]:
    """Merge two listings in the same order."""
    one, other = next(ours, None), next(theirs, None)
    while one is not None or other is not None:
        if other is None or (one is not None and one < other):
            assert one is not None  # noqa: S101 - else the loop has ended
            yield _Found(one, in_source=True, in_dest=False)
            one = next(ours, None)
        elif one is None or other < one:
            yield _Found(other, in_source=False, in_dest=True)
            other = next(theirs, None)
        else:
            yield _Found(one, in_source=True, in_dest=True)
            one, other = next(ours, None), next(theirs, None)


def _check_not_encoded(info: Info) -> None:
    """Check that the attachment has no content coding, which no backend records."""
    if info.content_encoding is not None:
        raise Error(
            "The attachment has a content coding, which a copy would lose",
            f"{info.handle}: Content-Encoding: {info.content_encoding}",
            kind=Kind.UNSUPPORTED,
        )


def _difference(ours: Info, theirs: Info) -> str:
    if ours.size != theirs.size:
        return f"{theirs.size} bytes, not {ours.size}"
    known = (ours.digest, theirs.digest)
    return "different digest" if None not in known and known[0] != known[1] else ""


def _digest_of(storage: Storage, handle: str) -> str:
    digest = hashlib.sha256()
    with storage.open(handle, length=MAX_POSITION) as stream:
        for chunk in iter(partial(stream.read, CHUNK_SIZE), b""):
            digest.update(chunk)
    return digest.hexdigest()
