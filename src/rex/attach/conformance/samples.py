"""Content for the suite: random bytes, and misbehaving sources."""

from __future__ import annotations

import io
import random
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

__all__ = [
    "MIB",
    "CutFile",
    "FailingFile",
    "ShortFile",
    "at_once",
    "fail_after",
    "sample",
    "split_chunks",
]

MIB = 1024 * 1024


def sample(size: int, seed: str = "") -> bytes:
    """Return random bytes, the same for the same arguments."""
    return random.Random(f"{seed}{size}").randbytes(size)  # noqa: S311 - content, no secret


def split_chunks(data: bytes, size: int) -> Iterator[bytes]:
    """Yield the data in chunks of `size` bytes; an iterator hides the total."""
    return (data[start : start + size] for start in range(0, len(data), size))


def fail_after(failure: BaseException, size: int) -> Iterator[bytes]:
    """Yield `size` bytes, then raise."""
    yield from split_chunks(sample(size), MIB)
    raise failure


def at_once(acts: Sequence[Callable[[], object]]) -> list[BaseException | None]:
    """Call functions in threads that start together; return their exceptions."""
    barrier = threading.Barrier(len(acts))

    def run(act: Callable[[], object]) -> BaseException | None:
        barrier.wait()
        try:
            act()
        except Exception as failure:  # noqa: BLE001 - the outcome
            return failure
        return None

    with ThreadPoolExecutor(len(acts)) as pool:
        return list(pool.map(run, acts))


class ShortFile:
    """A file that can only be read, in short reads."""

    def __init__(self, data: bytes, most: int) -> None:
        self._file = io.BytesIO(data)
        self._most = most

    def read(self, size: int, /) -> bytes:
        """Return at most `size` bytes, and never more than `most`."""
        return self._file.read(min(size, self._most))


class FailingFile(ShortFile):
    """A file that raises at its end."""

    def __init__(self, failure: BaseException, size: int) -> None:
        super().__init__(sample(size), MIB)
        self._failure = failure

    def read(self, size: int, /) -> bytes:
        """Return at most `size` bytes; raise at the end."""
        chunk = super().read(size)
        if not chunk:
            raise self._failure
        return chunk


class CutFile(io.BytesIO):
    """A file whose size changes before the second read."""

    def __init__(self, data: bytes, size: int) -> None:
        super().__init__(data)
        self._new_size = size
        self._reads = 0

    def read(self, size: int | None = -1, /) -> bytes:
        """Read; change the size before the second read."""
        self._reads += 1
        if self._reads == 2:  # noqa: PLR2004 - the second
            grown = sample(max(self._new_size - len(self.getvalue()), 0))
            position = self.seek(0, io.SEEK_CUR)
            self.seek(0, io.SEEK_END)
            self.write(grown)
            self.truncate(self._new_size)
            self.seek(position)
        return super().read(size)
