"""All attachments of a storage, read and compared with the digests recorded of them."""

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
    """All of it was read, and its SHA-256 or MD5 is the one recorded."""
    READABLE = "readable"
    """All of it was read; neither was recorded of it."""
    CORRUPT = "corrupt"
    """Its bytes are not those that were stored, or not all of them are there."""
    MISSING = "missing"
    """There is no such attachment, though somebody refers to it."""
    UNREADABLE = "unreadable"
    """It could not be read, for the reason given."""


@dataclass(frozen=True, slots=True)
class Verified:
    """The state of one attachment, and why."""

    handle: str
    state: State
    size: int = 0
    """The bytes that were read."""
    reason: str = ""
    done_to: str | None = None
    """All attachments up to this handle, in the order of the listing, have been told by now."""

    @property
    def is_fine(self) -> bool:
        """Whether nothing is known to be wrong."""
        return self.state in (State.OK, State.READABLE)


def verify(
    storage: Storage,
    *,
    handles: Iterable[str] | None = None,
    after: str | None = None,
    sample: float = 1,
    rate: float | None = None,
    workers: int = WORKERS,
) -> Generator[Verified, None, None]:
    """Read all attachments; tell the state of each, as it is known, in no order.

    `handles` are those to read instead of all that the storage lists: the application's own tell
    what is `MISSING`. `after` is a handle after which to begin, as the `done_to` of a run that was
    interrupted. `sample` is the fraction to read, chosen at random: 0.01 reads one of a hundred.
    `rate` is the most bytes a second, and `workers` how many are read at once. What is removed
    meanwhile is not told.

    Errors: `ILL_FORMED` for a fraction that is none, and those of listing, raised as it goes.
    """
    if not 0 < sample <= 1:
        reason = "The sample is a fraction, more than 0 and at most 1"
        raise Error(reason, sample, kind=Kind.ILL_FORMED)
    asked = storage.list(after=after) if handles is None else _list_after(handles, after)
    chosen = (handle for handle in asked if random.random() < sample)  # noqa: S311 - no secret
    results = _in_turn(partial(_look_at, storage, Throttle(rate)), chosen, after, workers)
    if handles is not None:
        return results
    # What was listed and is not there has been removed since.
    return (result for result in results if result.state is not State.MISSING)


def _list_after(handles: Iterable[str], after: str | None) -> Iterator[str]:
    return (handle for handle in handles if after is None or handle > after)


def _in_turn(
    look_at: Callable[[str], Verified], handles: Iterator[str], after: str | None, workers: int
) -> Generator[Verified, None, None]:
    """Look at all, and note up to where all have been looked at."""
    begun: collections.deque[str] = collections.deque()
    done: set[str] = set()

    def note_begun() -> Iterator[str]:
        for handle in handles:
            begun.append(handle)
            yield handle

    with contextlib.closing(map_concurrently(look_at, note_begun(), workers)) as results:
        for result in results:
            done.add(result.handle)
            while begun and begun[0] in done:
                after = begun.popleft()
                done.discard(after)
            yield dataclasses.replace(result, done_to=after)


def _look_at(storage: Storage, throttle: Throttle, handle: str) -> Verified:
    size = 0
    try:
        with storage.open(handle, length=MAX_POSITION) as stream:  # which compares the SHA-256
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
    # What S3 stored in one piece has its MD5 as entity tag, unless it is encrypted with a key
    # of its own; so another tag tells nothing.
    is_equal = info.etag == f'"{md5.hexdigest()}"'
    state = State.OK if is_equal else State.READABLE
    return Verified(handle, state, size, "" if is_equal else "no digest was recorded")
