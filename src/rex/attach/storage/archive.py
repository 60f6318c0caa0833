"""A ZIP archive of attachments, made while it is read; its length is known beforehand."""

from __future__ import annotations

import concurrent.futures
import itertools
import threading
import unicodedata
from collections import deque
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, Self

from rex.attach.content.comparison import check_unchanged
from rex.attach.content.content import READ_SIZE
from rex.attach.handle import MAX_NAME_BYTES, key_of
from rex.attach.info import Info  # noqa: TC001 - resolved at run time
from rex.attach.storage.workers import Workers
from rex.core import Error, Kind
from rex.core.log import get_logger

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable

    from rex.attach.content.reader import Reader
    from rex.attach.storage import Storage

__all__ = ["MANIFEST", "MAX_ENTRIES", "Archive", "Archives", "AsyncArchive"]

MANIFEST = "missing.txt"
"""The entry that names the attachments that do not exist, a handle in each line."""
MAX_ENTRIES = 10_000
"""The largest number of attachments; clients understand it, and their metadata fits in memory."""

WORKERS = 8
MAX_EXTENSION = 32
AHEAD = 4
"""Attachments opened before they are needed: the next one need not wait for the server."""
MAX_BATCH = 16
"""Attachments that a thread looks up at once: to hand one over takes longer than to find a file."""

log = get_logger("rex.attach")


class Archives:
    """Makes the archives of a storage; their worker threads are shared."""

    def __init__(self, storage: Storage) -> None:
        self.storage = storage
        self.workers = Workers(WORKERS)

    def make(self, handles: Iterable[str], missing: Iterable[str]) -> Archive:
        """Return an archive; see `Storage.zip`."""
        wanted, unread = dict.fromkeys(handles), dict.fromkeys(missing)
        for handle in itertools.chain(wanted, unread):
            key_of(handle)
        if len(wanted) + len(unread) > MAX_ENTRIES:
            reason = f"at most {MAX_ENTRIES}"
            raise Error("Too many attachments for an archive", reason, kind=Kind.TOO_LARGE)
        infos = self._look_up([each for each in wanted if each not in unread])
        found = [info for info in infos.values() if info is not None]
        absent = [handle for handle, info in infos.items() if info is None]
        return Archive(self, found, sorted([*absent, *unread]))

    def begin(self, info: Info) -> concurrent.futures.Future[_Opened]:
        """Open an attachment and read its first bytes, in a worker thread if that might wait."""
        cached = self.storage.read_cached(info.handle) if info.size <= READ_SIZE else None
        if cached is None:
            return self.workers.submit(_open, self.storage, info)
        found, content = cached
        check_unchanged(found, info)
        opened: concurrent.futures.Future[_Opened] = concurrent.futures.Future()
        opened.set_result(_Opened(None, content))
        return opened

    def _look_up(self, handles: list[str]) -> dict[str, Info | None]:
        """Return the metadata of each attachment, or None if the attachment does not exist."""
        size = max(1, min(len(handles) // WORKERS, MAX_BATCH))
        batches = [handles[at : at + size] for at in range(0, len(handles), size)]
        calls = [self.workers.submit(_find_all, self.storage, batch) for batch in batches]
        try:
            return dict(itertools.chain.from_iterable(call.result() for call in calls))
        finally:
            for call in calls:
                call.cancel()

    def close(self) -> None:
        """Stop the worker threads after their current calls."""
        self.workers.close()


class Archive(Iterator[bytes]):
    """A ZIP archive of attachments: iterate over its bytes, once, then close it.

    An archive that cannot be completed ends with an exception, shorter than `size`: never pass the
    part before it to a client as complete.
    """

    def __init__(self, archives: Archives, found: list[Info], missing: list[str]) -> None:
        self.found = found
        """The metadata of the attachments in the archive, in the order of the handles."""
        self.missing = missing
        """The handles in the manifest, ``missing.txt``, sorted."""
        self._archives = archives
        self._opened = self._open_ahead()
        self._bodies = [self._read() for _ in found]
        stream = _new_stream()
        *names, manifest = entry_names([*(info.name for info in found), MANIFEST])
        for info, name, body in zip(found, names, self._bodies, strict=True):
            stream.add(body, name, size=info.size)
        if missing:
            stream.add("".join([f"{handle}\n" for handle in missing]), manifest)
        self.size: int = len(stream)
        """The length of the archive, in bytes."""
        self._chunks = _group(stream)

    def __repr__(self) -> str:
        return f"Archive({len(self.found)} attachments, {self.size} bytes)"

    def __next__(self) -> bytes:
        """Return the next bytes.

        Errors: `NOT_FOUND` or `CORRUPT` if an attachment was removed or changed in the meantime;
        those of `Reader`.
        """
        try:
            return next(self._chunks)
        except StopIteration:
            raise
        except Exception as failure:
            log.warning("an archive of %d attachments is cut off: %s", len(self.found), failure)
            raise

    def close(self) -> None:
        """Stop reading and release the requests."""
        self._chunks.close()
        for body in self._bodies:
            body.close()
        self._opened.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def _open_ahead(self) -> Generator[concurrent.futures.Future[_Opened], None, None]:
        """Yield the opened attachments in order, while the next ones are being opened."""
        opening: deque[concurrent.futures.Future[_Opened]] = deque()
        try:
            for info in self.found:
                opening.append(self._archives.begin(info))
                if len(opening) > AHEAD:
                    yield opening.popleft()
            while opening:
                yield opening.popleft()
        finally:
            for call in opening:
                call.add_done_callback(_close_opened)

    def _read(self) -> Generator[bytes, None, None]:
        """Yield the bytes of the next attachment; each chunk is read while the last one is sent."""
        reader, chunk = next(self._opened).result()
        if reader is None:
            yield chunk
            return
        stream, submit = reader.stream, self._archives.workers.submit
        reading: concurrent.futures.Future[bytes] | None = None
        try:
            while chunk:
                # Empty at the end. From memory, handing the call to a thread would take longer.
                following = stream.read_cached(READ_SIZE)
                reading = submit(stream.read_full, READ_SIZE) if following is None else None
                yield chunk
                chunk = reading.result() if reading is not None else following or b""
        finally:
            if reading is None:
                reader.close()
            else:  # the thread may be reading
                reading.add_done_callback(lambda _: reader.close())


class AsyncArchive:
    """A ZIP archive of attachments, as coroutines: ``async for chunk in archive``; see `Archive`.

    Iterate over its bytes, once, then close it.
    """

    def __init__(self, archive: Archive, workers: Workers) -> None:
        self._archive = archive
        self._workers = workers
        self._lock = threading.Lock()
        """Held by the reading thread, which continues after its task is cancelled."""

    def __repr__(self) -> str:
        return f"Async{self._archive!r}"

    @property
    def size(self) -> int:
        """The length of the archive, in bytes."""
        return self._archive.size

    @property
    def found(self) -> Sequence[Info]:
        """The metadata of the attachments in the archive."""
        return self._archive.found

    @property
    def missing(self) -> Sequence[str]:
        """The handles in the manifest, sorted."""
        return self._archive.missing

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        chunk = await self._workers.run(self._next)
        if not chunk:
            raise StopAsyncIteration
        return chunk

    def _next(self) -> bytes:
        with self._lock:
            return next(self._archive, b"")

    async def close(self) -> None:
        """Close the archive after any read in progress."""
        await self._workers.run(self._close)

    def _close(self) -> None:
        with self._lock:
            self._archive.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.close()


class _Opened(NamedTuple):
    reader: Reader | None
    """None if `first` is all."""
    first: bytes


def _find_all(storage: Storage, handles: list[str]) -> list[tuple[str, Info | None]]:
    return [(handle, _find(storage, handle)) for handle in handles]


def _find(storage: Storage, handle: str) -> Info | None:
    try:
        return storage.info(handle)
    except Error as error:
        if error.kind is Kind.NOT_FOUND:
            return None
        raise


def _open(storage: Storage, info: Info) -> _Opened:
    reader = storage.open(info.handle, length=info.size)
    try:
        check_unchanged(reader.info, info)
        return _Opened(reader, reader.stream.read_full(READ_SIZE))
    except BaseException:
        reader.close()
        raise


def _close_opened(call: concurrent.futures.Future[_Opened]) -> None:
    if not call.cancelled() and call.exception() is None:
        reader = call.result().reader
        if reader is not None:
            reader.close()


def _new_stream() -> Any:
    """Return a stream of the library. Errors: `CONFIGURATION` if that is not installed."""
    try:
        from zipstream import ZipStream
    except ImportError as missing:
        raise Error(
            "Archives need one more package: pip install 'rex-attach[zip]'",
            missing,
            kind=Kind.CONFIGURATION,
            code="missing-package",
        ) from None
    return ZipStream(sized=True)


def _group(pieces: Iterable[bytes]) -> Generator[bytes, None, None]:
    """Yield chunks of about `READ_SIZE`: an entry has several small pieces."""
    group: list[bytes] = []
    size = 0
    for piece in pieces:
        group.append(piece)
        size += len(piece)
        if size >= READ_SIZE:
            yield b"".join(group)
            group, size = [], 0
    if group:
        yield b"".join(group)


def entry_names(names: Iterable[str]) -> list[str]:
    """Return file names with numbers where they would not be unique: ``a (2).txt``.

    Names that differ only in case, or in the form of Unicode, are not unique on every system.
    """
    numbers: dict[str, int] = {}
    found = []
    for name in names:
        unique = name
        while (folded := _fold(unique)) in numbers:
            original = _fold(name)
            numbers[original] += 1
            unique = _number(name, numbers[original])
        numbers[folded] = 1
        found.append(unique)
    return found


def _fold(name: str) -> str:
    return unicodedata.normalize("NFC", unicodedata.normalize("NFD", name).casefold())


def _number(name: str, number: int) -> str:
    stem, dot, extension = name.rpartition(".")
    if not stem or len(extension) > MAX_EXTENSION:
        stem, dot, extension = name, "", ""
    suffix = f" ({number}){dot}{extension}"
    room = MAX_NAME_BYTES - len(suffix.encode())
    return stem.encode()[:room].decode(errors="ignore") + suffix
