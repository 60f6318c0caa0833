"""The pace of a download: how much is read at once for a client that may not receive it.

What is read for a client that stalls stays in memory: in the queue of the HTTP server, six chunks
or more, and in the buffers of a request to an object server, a MiB. The first MiB that a client
receives prove nothing, since buffers of the system take them. So all downloads that have just begun
share two budgets, and a client that receives more, or is alone, has no limits.
"""

from __future__ import annotations

from weakref import WeakSet

from rex.attach.http.download import TAKEN_SIZE, chunk_size

__all__ = ["STALL_SECONDS", "Pace"]

MIB = 1024 * 1024
FEW = 8
"""So many downloads or fewer need no budget of requests."""
MANY = 256
"""More downloads than this get the smallest shares, and so does a client that has stalled."""
REQUEST_BUDGET = 32 * MIB
"""What the requests of all to an object server are for: 128 KiB each, if there are many."""
CHUNK_BUDGET = 4 * MIB
"""The sum of the chunks of all: 16 KiB each, if there are many."""
STALL_SECONDS = 5
"""A client that receives nothing for so long has stalled, and releases its request."""

_active: WeakSet[Pace] = WeakSet()


class Pace:
    """The pace of one download, which is active until it stalls or ends."""

    def __init__(self) -> None:
        self._taken = 0  # bytes since the start, or since the client stalled
        self._has_stalled = False
        _active.add(self)

    @property
    def chunk_size(self) -> int:
        """The number of bytes to read next."""
        size = chunk_size(self._taken)
        return size if self._is_taking else min(size, CHUNK_BUDGET // self._sharers)

    @property
    def request_size(self) -> int | None:
        """The largest request to the storage's server in bytes; None means unlimited."""
        is_free = self._is_taking or self._sharers <= FEW
        return None if is_free else REQUEST_BUDGET // self._sharers

    def note_taken(self, size: int) -> None:
        """Note that the HTTP server has accepted so many bytes for the client."""
        self._taken += size
        if self._has_stalled:
            _active.add(self)

    def note_stall(self) -> None:
        """Note that the client has stalled: the others get its share."""
        self._taken = 0
        self._has_stalled = True
        _active.discard(self)

    def end(self) -> None:
        """End the download."""
        _active.discard(self)

    @property
    def _is_taking(self) -> bool:
        return self._taken >= TAKEN_SIZE

    @property
    def _sharers(self) -> int:
        return MANY if self._has_stalled else min(max(len(_active), 1), MANY)
