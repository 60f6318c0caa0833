"""Resumable uploads on Google Cloud Storage: a session, a record and a tail.

Google keeps an unfinished session for a week: it is not listed, and costs nothing. The address of a
session allows uploading, so it is in an object of its own, which is created once: two servers use
the same session. A session keeps multiples of 256 KiB; the bytes after them are in the tail, an
object whose name has the offset and the size of its bytes. What was acknowledged is in the session
or in a tail, so the acknowledged offset never decreases.
"""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Any, NamedTuple

from rex.attach.backend.resumable import (
    Holds,
    PartialUpload,
    Resumable,
    continued_elsewhere,
)
from rex.attach.backends.gcs.bucket import object_resource
from rex.attach.backends.gcs.codes import PLACE
from rex.attach.backends.gcs.control import GRANULE, GCSFailure
from rex.attach.backends.objects import native
from rex.attach.backends.objects.objects import PART_SIZE
from rex.attach.backends.objects.parts import ByteQueue, InOrder
from rex.attach.backends.objects.records import RECORD, Records
from rex.attach.backends.objects.tails import Tail, longest_tail, read_tail, replace_tail
from rex.attach.content.content import CHUNK_SIZE
from rex.core import Error, Kind

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from contextlib import AbstractContextManager

    from rex.attach.backends.gcs.bucket import GCSBucket
    from rex.attach.content.content import Content

__all__ = ["SESSION", "GCSResumable"]

SESSION = "session"
"""The name of the session in the folder of an upload."""


class _State(NamedTuple):
    """The state of a resumable upload on the server."""

    key: str
    record: bytes
    content_type: str
    partial: bool
    upload_metadata: str
    tag: str
    """Marks the object that the upload becomes."""
    session: str = ""
    """The address of the session, which begins once there are more bytes than for one request."""
    kept: int = 0
    """The number of bytes that the session has."""
    tail: Tail = Tail()
    is_whole: bool = False
    """Whether the session has become an object."""

    @property
    def size(self) -> int:
        return max(self.kept, self.tail.end)


class GCSResumable(Resumable):
    """Resumable uploads to a bucket; a small upload never begins a session."""

    def __init__(self, bucket: GCSBucket) -> None:
        self._bucket = bucket
        self._control = bucket.control
        self._records = Records(bucket, bucket.control.objects, PLACE, _State)
        self._holds = Holds()
        self._last: dict[str, tuple[_State, bytes]] = {}
        """The complete uploads before `publish`, each with its bytes after those of the session."""

    def create(
        self, key: str, record: bytes, content_type: str, *, partial: bool, upload_metadata: str
    ) -> None:
        tag = secrets.token_hex(8)
        self._save(_State(key, record, content_type, partial, upload_metadata, tag))

    def load(self, key: str) -> PartialUpload:
        state = self._state(key)
        return PartialUpload(state.record, state.size)

    def save(self, key: str, record: bytes) -> None:
        self._save(self._records.load(key)._replace(record=record))

    def append(self, key: str, offset: int, content: Content, remaining: int | None) -> None:
        state = self._load_unchanged(key, offset)
        data = ByteQueue(self._tail(state))
        sending = InOrder(state, self._send)
        before, has_all = (state.kept, data.size), False
        try:
            for chunk in content:
                data.add(chunk)
                while data.size > PART_SIZE:
                    sending.send(data.take(PART_SIZE))
            sending.wait()
            has_all = content.size == remaining
        finally:
            state, unsent = sending.close()
            rest = unsent + data.take(data.size)
            if has_all:
                self._last[key] = state, rest
            elif (state.kept, len(rest)) != before:
                self._keep(state, rest)

    def read(self, key: str) -> Iterator[bytes]:
        state = self._state(key)
        if not state.session:
            yield self._tail(state)
            return
        if not state.is_whole:
            self._complete(state, self._tail(state))
        yield from self._bucket.stream(self._records.target(state), CHUNK_SIZE)

    def publish(
        self, key: str, content_type: str, digest: str | None, upload_metadata: str
    ) -> bool:
        del digest  # it would come too late: the session began with all metadata
        last = self._last.pop(key, None)
        state, data = self._load_state(key) if last is None else last
        if state.is_whole:
            return False
        if not state.session:
            return self._bucket.put_once(key, data, content_type, upload_metadata)
        return self._complete(state, data)

    def forget(self, key: str) -> None:
        self._remove(key)

    def remove(self, key: str) -> bool:
        try:
            session = self._session(self._records.load(key))
        except FileNotFoundError:
            return False
        if session:
            self._control.cancel(session)
        self._remove(key)
        return True

    def keys(self) -> Iterator[str]:
        return (state.key for state in self._records)

    def hold(self, key: str) -> AbstractContextManager[None]:
        return self._holds.hold(key)

    def is_over(self, path: str) -> bool:
        """Return whether the upload of the record at `path` was completed, or cannot continue."""
        try:
            self._state(self._records.read(path).key)
        except (FileNotFoundError, FileExistsError):
            return True
        except Error as error:
            if error.kind is not Kind.CORRUPT:
                raise
        return False

    # The session.

    def _send(self, state: _State, data: bytes) -> _State:
        """Send bytes, which are a multiple of `GRANULE`; begin the session before the first."""
        if not state.session:
            self._load_unchanged(state.key, state.size)
            state = state._replace(session=self._begin(state))
        try:
            kept = self._control.send(state.session, state.kept, data).size
        except GCSFailure as failure:
            raise (
                continued_elsewhere(state.key) if failure.code == "OffsetChanged" else failure
            ) from None
        return state._replace(kept=kept)

    def _begin(self, state: _State) -> str:
        """Begin the session, or return the one that another server began."""
        resource = object_resource(
            state.key,
            state.content_type,
            digest=None,
            upload_metadata=state.upload_metadata,
            upload=state.tag,
        )
        session = self._control.begin(self._records.target(state), resource)
        path = self._records.path(state.key, SESSION)
        try:
            native.obstore.put(
                self._bucket.client, path, session.encode(), mode="create", use_multipart=False
            )
        except (FileExistsError, native.obstore.exceptions.AlreadyExistsError):
            self._control.cancel(session)
            return self._bucket.read(path).decode("ascii")
        return session

    def _keep(self, state: _State, data: bytes) -> None:
        """Store what follows the bytes of the session."""
        if state.session and len(data) > GRANULE:
            size = (len(data) - 1) // GRANULE * GRANULE  # the last bytes complete the object
            state = self._send(state, data[:size])
            data = data[size:]
        # Errors: `CONFLICT` if another server continued the upload.
        before = self._load_unchanged(state.key, state.size)
        folder = self._records.path(state.key, "")
        replace_tail(self._bucket, folder, before.tail, state.kept, data)

    def _complete(self, state: _State, rest: bytes) -> bool:
        """Complete the session with the remaining bytes; return whether this call did."""
        total = state.kept + len(rest)
        made = self._control.send(state.session, state.kept, rest, total=total).made or {}
        if int(made.get("size", 0)) != total:
            raise Error(
                "The server did not store all bytes of the attachment",
                f"/{state.key}: {made.get('size')} of {total} bytes",
                kind=Kind.CORRUPT,
            )
        return True

    # State on the server.

    def _load_unchanged(self, key: str, size: int) -> _State:
        """Return the state of an upload. Errors: `CONFLICT` if another server continued it."""
        state = self._state(key)
        if state.size != size:
            raise continued_elsewhere(key)
        return state

    def _session(self, state: _State) -> str:
        try:
            return self._bucket.read(self._records.path(state.key, SESSION)).decode("ascii")
        except FileNotFoundError:
            return ""

    def _state(self, key: str) -> _State:
        state, names = self._records.load(key), {*self._names(key)}
        if SESSION in names:
            state = self._with_session(state)
            if state.is_whole:
                return state
        return state._replace(tail=longest_tail(names, state.kept))

    def _with_session(self, state: _State) -> _State:
        session = self._session(state)
        try:
            found = self._control.progress(session)
            size, is_whole = found.size, found.made is not None
        except GCSFailure as failure:
            if failure.code != "SessionOver":
                raise
            # Google forgets a session after a week, also if it has become an object.
            made = self._control.stat(self._records.target(state))
            size, is_whole = self._own_size(made, state), True
        return state._replace(session=session, kept=size, is_whole=is_whole)

    def _own_size(self, made: Mapping[str, Any], state: _State) -> int:
        """Return the size of an object. Raise `FileExistsError` if others stored the object."""
        if made.get("metadata", {}).get("upload") != state.tag:
            raise FileExistsError
        return int(made["size"])

    def _load_state(self, key: str) -> tuple[_State, bytes]:
        state = self._state(key)
        return state, self._tail(state)

    def _tail(self, state: _State) -> bytes:
        """Return the bytes after those of the session."""
        return read_tail(self._bucket, self._records.path(state.key, ""), state)

    def _save(self, state: _State) -> None:
        self._records.save(
            state.record,
            key=state.key,
            content_type=state.content_type,
            partial=state.partial,
            upload_metadata=state.upload_metadata,
            tag=state.tag,
        )

    def _names(self, key: str) -> Iterator[str]:
        """Yield the names of the objects in the folder of an upload."""
        folder = self._records.path(key, "")
        return (found.name.removeprefix(folder) for found in self._control.objects(folder))

    def _remove(self, key: str) -> None:
        # The record first: without it, the upload does not exist, and sweep finds the rest.
        for name in sorted(self._names(key), key=lambda name: name != RECORD):
            self._bucket.delete(self._records.path(key, name))
