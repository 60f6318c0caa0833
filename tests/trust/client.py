"""A client: performs operations on a storage, and records each before and after."""

from __future__ import annotations

import datetime
import io
import itertools
from typing import TYPE_CHECKING, Any

from rex.attach.maintenance import copy, sweep
from rex.attach.maintenance.copying import Outcome
from rex.core import Error
from trust.ledger import Content, Event

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from rex.attach import Storage
    from rex.attach.storage.resumable import Upload

__all__ = ["LATE", "Client"]

LATE = datetime.timedelta(days=30)
"""From now on, all that can expire has expired."""

CHUNK_SIZE = 100_000


class Client:
    """Performs operations; what a storage raises is recorded, and its kind is in `reason`.

    A client is for one thread. `name` is unique in a ledger.
    """

    def __init__(self, storage: Storage, record: Callable[[Event], object], name: str) -> None:
        self.storage = storage
        self.name = name
        self.reason = ""
        """The kind of the error of the last operation, or none if it was acknowledged."""
        self._record = record
        self._numbers = itertools.count(1)

    def new_name(self) -> str:
        """Return a file name that no other attachment has."""
        return f"{self.name}-{next(self._numbers)}.bin"

    def add(self, content: Content) -> str | None:
        """Add an attachment; return its handle."""
        event = self._event("add", name=self.new_name(), content=content)

        def act() -> dict[str, Any]:
            given = _given(content)
            media_type = content.media_type
            return {"handle": self.storage.add(event.name, given, content_type=media_type)}

        return self._perform(event, act).get("handle")

    def store(self, content: Content) -> str | None:
        """Store a resumable upload that arrives in one request; return its handle."""
        event = self._event("add", name=self.new_name(), content=content)

        def act() -> dict[str, Any]:
            given, media_type = _given(content), content.media_type
            upload = self.storage.uploads.store(event.name, given, content_type=media_type)
            return {"handle": upload.handle}

        return self._perform(event, act).get("handle")

    def put(self, handle: str, content: Content) -> bool:
        """Store the attachment of a handle."""

        def act() -> dict[str, Any]:
            self.storage.put(handle, _given(content), content_type=content.media_type)
            return {}

        return self._is_done(self._event("put", handle=handle, content=content), act)

    def remove(self, handle: str) -> bool:
        """Remove an attachment."""

        def act() -> dict[str, Any]:
            self.storage.remove(handle)
            return {}

        return self._is_done(self._event("remove", handle=handle), act)

    def read(self, handle: str, content: Content) -> bool:
        """Read an attachment, which must have this content."""
        event = self._event("read", handle=handle, content=content)

        def act() -> dict[str, Any]:
            with self.storage.open(handle) as stream:
                data = stream.read()
            if data != content.read():
                return {"phase": "wrong", "reason": f"{len(data)} bytes, and not the content"}
            return {}

        return self._is_done(event, act)

    def create(self, content: Content, *, partial: bool = False, sized: bool = False) -> str | None:
        """Begin an upload; with `sized`, its size is known from the beginning."""
        event = self._event("create", name=self.new_name(), content=content, partial=partial)

        def act() -> dict[str, Any]:
            upload = self.storage.uploads.create(
                event.name,
                size=content.size if sized else None,
                content_type=content.media_type,
                partial=partial,
            )
            return _progress(upload)

        return self._perform(event, act).get("handle")

    def info(self, handle: str, content: Content) -> int | None:
        """Ask for the offset of an upload."""
        event = self._event("info", handle=handle, content=content)
        return self._perform(event, lambda: _progress(self.storage.uploads.info(handle))).get(
            "offset"
        )

    def append(self, handle: str, content: Content, offset: int, size: int) -> int | None:
        """Append so many bytes of the content of an upload; return the offset."""
        event = self._event("append", handle=handle, content=content)
        piece = content.read()[offset : offset + size]

        def act() -> dict[str, Any]:
            return _progress(
                self.storage.uploads.append(handle, offset, _chunks(piece), size=content.size)
            )

        return self._perform(event, act).get("offset")

    def go_on(self, handle: str, content: Content, size: int) -> bool:
        """Append from the offset that the storage reports up to so many bytes."""
        offset = self.info(handle, content)
        if offset is None or (offset >= size and content.size):
            return offset is not None
        return self.append(handle, content, offset, size - offset) is not None

    def join(self, parts: Mapping[str, Content], name: str | None = None) -> str | None:
        """Join complete parts; return the handle."""
        whole = Content.joined([*parts.values()])
        name = name or self.new_name()
        event = self._event("join", name=name, content=whole, parts=tuple(parts))

        def act() -> dict[str, Any]:
            joined = self.storage.uploads.join(name, [*parts], content_type=whole.media_type)
            return {"handle": joined}

        return self._perform(event, act).get("handle")

    def give_up(self, handle: str) -> bool:
        """Remove an upload that is not complete."""

        def act() -> dict[str, Any]:
            self.storage.uploads.remove(handle)
            return {}

        return self._is_done(self._event("give up", handle=handle), act)

    def complete(
        self, handle: str, content: Content, upload_id: str, parts: Sequence[tuple[int, str]]
    ) -> bool:
        """Complete a multipart upload."""

        def act() -> dict[str, Any]:
            self.storage.multipart.complete(handle, upload_id, parts)
            return {}

        return self._is_done(self._event("complete", handle=handle, content=content), act)

    def copy(self, source: Storage, contents: Mapping[str, Content]) -> bool:
        """Copy all of another storage, whose contents are known; return whether that succeeded."""
        operation = self._event("copy").operation
        events = {
            handle: Event(f"{operation}/{handle}", "copy", handle=handle, content=content)
            for handle, content in contents.items()
        }
        for event in events.values():
            self._record(event)
        done = []

        def act() -> dict[str, Any]:
            for copied in copy(source, self.storage, workers=4):
                if copied.outcome in (Outcome.COPIED, Outcome.SAME) and copied.handle in events:
                    done.append(copied.handle)
                    self._record(events[copied.handle]._replace(phase="done"))
            return {}

        return self._is_done(self._event("copy all"), act) and len(done) == len(events)

    def sweep(self) -> bool:
        """Sweep as of a time at which everything has expired."""

        def act() -> dict[str, Any]:
            now = datetime.datetime.now(datetime.UTC) + LATE
            failed = [
                each for each in sweep(self.storage, delete=True, now=now) if not each.is_fine
            ]
            return {"phase": "failed", "reason": "FAILED"} if failed else {}

        return self._is_done(self._event("sweep"), act)

    def _event(self, verb: str, **fields: Any) -> Event:
        return Event(f"{self.name}.{next(self._numbers)}", verb, **fields)

    def _is_done(self, event: Event, act: Callable[[], dict[str, Any]]) -> bool:
        self._perform(event, act)
        return not self.reason

    def _perform(self, event: Event, act: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """Record the operation, perform it, and record what it returned."""
        self._record(event)
        try:
            result = {"phase": "done", **act()}
        except Error as error:
            result = {"phase": "failed", "reason": error.kind.name}
        except Exception as failure:  # noqa: BLE001 - every failure should be an `Error`
            result = {"phase": "failed", "reason": f"raised {failure!r}, which is not an Error"}
        self.reason = result.get("reason", "")
        self._record(event._replace(**result))
        return result


def _progress(upload: Upload) -> dict[str, Any]:
    return {
        "handle": upload.handle,
        "offset": upload.offset,
        "is_complete": upload.is_complete,
        "partial": upload.partial,
    }


def _given(content: Content) -> bytes | io.BytesIO | Iterator[bytes]:
    """Return the content as bytes, a file, or an iterator, depending on its size."""
    data = content.read()
    forms = (lambda: data, lambda: io.BytesIO(data), lambda: _chunks(data))
    form: bytes | io.BytesIO | Iterator[bytes] = forms[content.size % 3]()
    return form


def _chunks(data: bytes) -> Iterator[bytes]:
    return (data[at : at + CHUNK_SIZE] for at in range(0, len(data), CHUNK_SIZE))
