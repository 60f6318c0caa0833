"""Verifying attachments: reading and comparing them with their recorded digests."""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import enum
import hashlib
import random
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from rex.attach.content.content import CHUNK_SIZE
from rex.attach.maintenance.concurrent import map_concurrently
from rex.attach.maintenance.references import as_handle
from rex.attach.maintenance.throttle import Throttle
from rex.attach.storage import MAX_POSITION
from rex.core import Error, Kind

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Iterator

    from rex.attach.storage import Storage

__all__ = ["State", "Verified", "verify"]

WORKERS = 8


class State(enum.Enum):
    """The state of one attachment."""

    OK = "ok"
    """The bytes match the recorded SHA-256 or MD5."""
    READABLE = "readable"
    """The bytes can be read, but no digest was recorded."""
    CORRUPT = "corrupt"
    """The bytes are not those that were stored, or some are missing."""
    MISSING = "missing"
    """The application refers to the attachment, but it does not exist."""
    UNREADABLE = "unreadable"
    """The attachment could not be read, for the given reason."""


@dataclass(frozen=True, slots=True)
class Verified:
    """The state of one attachment, with its reason."""

    handle: str
    state: State
    size: int = 0
    """The number of bytes read."""
    reason: str = ""
    done_to: str | None = None
    """All attachments up to this handle, in the order of the listing, have been yielded."""

    @property
    def is_fine(self) -> bool:
        """Whether no damage was found."""
        return self.state in (State.OK, State.READABLE)


def verify(
    storage: Storage,
    *,
    handles: Iterable[str] | None = None,
    after: str | None = None,
    sample: float = 1,
    rate: float | None = None,
    workers: int = WORKERS,
    progress: Callable[[int], None] | None = None,
) -> Generator[Verified, None, None]:
    """Read all attachments; yield the state of each as it is known, in any order.

    `handles` replaces the listing of the storage: with the handles (or keys, as in `sweep`) that
    the application refers to, missing attachments are found. `after` is the handle after which to
    begin, as the `done_to` of an interrupted run. `sample` is the fraction of the attachments to
    read, chosen at random. `rate` is the largest number of bytes per second, and `workers` the
    number of attachments read at a time. `progress` is called with the bytes read since its last
    call, in any thread. A listed attachment that is removed meanwhile is omitted.

    Errors: `ILL_FORMED` for `sample`; those of listing.
    """
    if not 0 < sample <= 1:
        reason = "sample must be a fraction above 0, at most 1"
        raise Error(reason, sample, kind=Kind.ILL_FORMED)
    asked = storage.list(after=after) if handles is None else _list_after(storage, handles, after)
    chosen = (handle for handle in asked if random.random() < sample)  # noqa: S311 - no secret
    throttle = Throttle(rate, progress=progress)
    results = _verify_all(storage, throttle, chosen, after, workers)
    if handles is not None:
        return results
    # A listed attachment that is missing has been removed meanwhile.
    return (result for result in results if result.state is not State.MISSING)


def _list_after(storage: Storage, handles: Iterable[str], after: str | None) -> Iterator[str]:
    """Yield the handles after `after`; an ill-formed one unchanged, to be reported."""
    for reference in handles:
        try:
            handle = as_handle(storage, reference)
        except Error:
            handle = reference
        if after is None or handle > after:
            yield handle


def _verify_all(
    storage: Storage, throttle: Throttle, handles: Iterator[str], after: str | None, workers: int
) -> Generator[Verified, None, None]:
    """Verify all handles; add `done_to` to the results."""
    begun: collections.deque[str] = collections.deque()
    done: set[str] = set()

    def note_begun() -> Iterator[str]:
        for handle in handles:
            begun.append(handle)
            yield handle

    verify_one = partial(_verify_one, storage, throttle)
    verified = map_concurrently(verify_one, note_begun(), workers, throttle.stop)
    with contextlib.closing(verified) as results:
        for result in results:
            done.add(result.handle)
            while begun and begun[0] in done:
                after = begun.popleft()
                done.discard(after)
            yield dataclasses.replace(result, done_to=after)


def _verify_one(storage: Storage, throttle: Throttle, handle: str) -> Verified:
    size = 0
    try:
        with storage.open(handle, length=MAX_POSITION) as stream:  # reading compares the SHA-256
            info = stream.info
            md5 = hashlib.md5(usedforsecurity=False)
            for chunk in iter(partial(stream.read, CHUNK_SIZE), b""):
                throttle.wait_for(len(chunk))
                size += len(chunk)
                if info.digest is None:
                    md5.update(chunk)
    except Error as error:
        states = {Kind.NOT_FOUND: State.MISSING, Kind.CORRUPT: State.CORRUPT}
        return Verified(handle, states.get(error.kind, State.UNREADABLE), size, str(error))
    if info.digest is not None:
        return Verified(handle, State.OK, size)
    # S3 uses the MD5 as the entity tag of an object sent in one request, unless the object is
    # encrypted with its own key; so a different tag proves nothing.
    is_equal = info.etag == f'"{md5.hexdigest()}"'
    state = State.OK if is_equal else State.READABLE
    return Verified(handle, state, size, "" if is_equal else "no digest was recorded")
