"""Resumable uploads on S3: a multipart upload, a record and a tail.

The record and the tail are objects in a folder of the upload. The tail has the bytes since the last
part, which are too few for a part of their own or could not be sent as one. Every acknowledged byte
is in a part or in a tail, so the acknowledged offset never decreases, even if two servers write
concurrently.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

from rex.attach.backend.multipart import MAX_PARTS, Part
from rex.attach.backend.resumable import (
    Holds,
    PartialUpload,
    Resumable,
    continued_elsewhere,
)
from rex.attach.backends.objects.objects import PART_SIZE, encode_upload_metadata, object_headers
from rex.attach.backends.objects.parts import ByteQueue, InOrder
from rex.attach.backends.objects.records import RECORD, Records
from rex.attach.backends.objects.tails import Tail, longest_tail, read_tail, replace_tail
from rex.attach.backends.s3.codes import PLACE
from rex.attach.backends.s3.completion import complete
from rex.attach.backends.s3.control import S3Failure
from rex.attach.content.content import CHUNK_SIZE, Content
from rex.core import Error, Kind

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from contextlib import AbstractContextManager

    from rex.attach.backends.s3.bucket import Bucket

__all__ = ["S3Resumable"]

WHOLE = 0
"""The part number of a partial upload that has been completed to an object."""

PARTS_OF_A_SIZE = 2500
"""The number of parts after which the part size doubles: 10,000 parts hold 293 GiB."""


class _State(NamedTuple):
    """The state of a resumable upload on the server."""

    key: str
    record: bytes
    content_type: str
    partial: bool
    upload_id: str | None = None
    """The id of the multipart upload, which is created once there are enough bytes for a part."""
    parts: Sequence[Part] = ()
    tail: Tail = Tail()
    upload_metadata: str = ""
    """The upload metadata to record with the attachment."""

    @property
    def kept(self) -> int:
        """The number of bytes in the parts."""
        return sum(part.size for part in self.parts)

    @property
    def size(self) -> int:
        return max(self.kept, self.tail.end)

    @property
    def is_whole(self) -> bool:
        """Whether the multipart upload has been completed, so that it can be read."""
        return [part.number for part in self.parts] == [WHOLE]


class S3Resumable(Resumable):
    """Resumable uploads to a bucket; a small upload never becomes a multipart upload."""

    def __init__(self, bucket: Bucket) -> None:
        self._bucket = bucket
        self._control = bucket.control
        self._records = Records(bucket, bucket.control.objects, PLACE, _State)
        self._holds = Holds()
        self._last: dict[str, tuple[_State, bytes]] = {}
        """The complete uploads before `publish`, each with its bytes after the last part."""

    def create(
        self, key: str, record: bytes, content_type: str, *, partial: bool, upload_metadata: str
    ) -> None:
        self._save(_State(key, record, content_type, partial, upload_metadata=upload_metadata))

    def load(self, key: str) -> PartialUpload:
        state = self._state(key)
        return PartialUpload(state.record, state.size)

    def save(self, key: str, record: bytes) -> None:
        self._save(self._state(key)._replace(record=record))

    def append(self, key: str, offset: int, content: Content, remaining: int | None) -> None:
        state = self._load_unchanged(key, offset)
        data = ByteQueue(self._tail(state))
        sending = InOrder(state, self._send)
        number, has_all = len(state.parts) + 1, False
        try:
            for chunk in content:
                data.add(chunk)
                while data.size >= (size := _part_size(number)):
                    sending.send(data.take(size))
                    number += 1
            sending.wait()
            has_all = content.size == remaining
        finally:
            state, unsent = sending.close()
            rest = unsent + data.take(data.size)
            if has_all:
                self._last[key] = state, rest
            elif state.kept + len(rest) != state.size:
                self._keep(state, rest)

    def read(self, key: str) -> Iterator[bytes]:
        state = self._state(key)
        if state.upload_id is None:
            yield self._tail(state)
            return
        if not state.is_whole:
            self._complete(state, self._tail(state))
        yield from self._bucket.stream(self._records.target(state), CHUNK_SIZE)

    def publish(
        self, key: str, content_type: str, digest: str | None, upload_metadata: str
    ) -> bool:
        del digest
        last = self._last.pop(key, None)
        state, data = self._load_state(key) if last is None else last
        if state.is_whole:
            return False
        if state.upload_id is None:
            return self._bucket.put_once(key, data, content_type, upload_metadata)
        return self._complete(state, data)

    def forget(self, key: str) -> None:
        self._remove(key)

    def remove(self, key: str) -> bool:
        try:
            state = self._records.load(key)
        except FileNotFoundError:
            return False
        if state.upload_id is not None:
            try:
                self._control.abort(self._records.target(state), state.upload_id)
            except S3Failure as failure:
                if failure.kind is not Kind.NOT_FOUND:  # completed, or aborted by another client
                    raise
        self._remove(key)
        return True

    def keys(self) -> Iterator[str]:
        return (state.key for state in self._records)

    def targets(self) -> Iterator[str]:
        """Yield the paths of the objects that the multipart uploads will become."""
        return (self._records.target(state) for state in self._records)

    def is_over(self, path: str) -> bool:
        """Return whether the upload of the record at `path` was completed or aborted."""
        try:
            self._state(self._records.read(path).key)
        except FileNotFoundError:
            return True
        except Error as error:
            if error.kind is not Kind.CORRUPT:
                raise
        return False

    def hold(self, key: str) -> AbstractContextManager[None]:
        return self._holds.hold(key)

    # The multipart upload.

    def _send(self, state: _State, data: bytes) -> _State:
        """Upload a part; create the multipart upload before the first part.

        One that is not in the record is never continued: a `put` of the same handle, or a browser,
        may have created it. Sweep aborts those whose process died before it wrote the record.
        """
        number = len(state.parts) + 1
        if number > MAX_PARTS:
            raise Error(f"Attachment is too large for {MAX_PARTS} parts", kind=Kind.TOO_LARGE)
        target = self._records.target(state)
        if state.upload_id is None:
            state = self._load_unchanged(state.key, state.size)
        if state.upload_id is None:
            headers = object_headers(state.key, state.content_type)
            metadata = encode_upload_metadata(state.upload_metadata)
            upload_id = self._control.create_multipart(target, headers, metadata)
            state = state._replace(upload_id=upload_id)
            self._save(state)
        assert state.upload_id is not None  # noqa: S101 - set above
        part = self._control.upload_part(target, state.upload_id, number, data)
        return state._replace(parts=[*state.parts, part])

    def _is_listed(self, target: str, upload_id: str) -> bool:
        """Return whether the server lists a multipart upload; false if we may not list."""
        with suppress(S3Failure):
            return upload_id in self._control.list_multiparts(target)
        return False

    def _keep(self, state: _State, data: bytes) -> None:
        """Store what follows the parts. Errors: `CONFLICT` if another server continued."""
        before = self._load_unchanged(state.key, state.size)
        folder = self._records.path(state.key, "")
        replace_tail(self._bucket, folder, before.tail, state.kept, data)

    def _complete(self, state: _State, rest: bytes) -> bool:
        """Complete the multipart upload, with the remaining bytes as its last part.

        Return whether it was certainly this call that did.
        """
        if rest:
            state = self._send(state, rest)
        assert state.upload_id is not None  # noqa: S101 - there are parts
        target = self._records.target(state)
        return complete(self._control, target, state.upload_id, state.parts)

    # State on the server.

    def _load_unchanged(self, key: str, size: int) -> _State:
        """Return the state of an upload. Errors: `CONFLICT` if another server continued it."""
        state = self._state(key)
        if state.size != size:
            raise continued_elsewhere(key)
        return state

    def _state(self, key: str) -> _State:
        state = self._records.load(key)
        if state.upload_id is not None:
            state = state._replace(parts=self._parts(state))
        if state.is_whole:
            return state
        names = (path.rpartition("/")[2] for path in self._paths(state.key))
        return state._replace(tail=longest_tail(names, state.kept))

    def _parts(self, state: _State) -> list[Part]:
        assert state.upload_id is not None  # noqa: S101 - the caller checks
        target = self._records.target(state)
        try:
            return list(self._control.list_parts(target, state.upload_id))
        except S3Failure as failure:
            if failure.kind is not Kind.NOT_FOUND:
                raise
        size = self._size(target)
        if size is not None:
            return [Part(WHOLE, size, "")]
        if self._is_listed(target, state.upload_id):
            raise Error(
                "The server lists the upload, but not its parts",
                f"/{state.key}",
                kind=Kind.UNAVAILABLE,
            )
        # It was completed, or another client aborted it. Sweep removes its remains.
        raise FileNotFoundError

    def _save(self, state: _State) -> None:
        self._records.save(
            state.record,
            key=state.key,
            content_type=state.content_type,
            partial=state.partial,
            upload_id=state.upload_id,
            upload_metadata=state.upload_metadata,
        )

    def _load_state(self, key: str) -> tuple[_State, bytes]:
        state = self._state(key)
        return state, self._tail(state)

    def _tail(self, state: _State) -> bytes:
        """Return the bytes after those of the parts."""
        return read_tail(self._bucket, self._records.path(state.key, ""), state)

    def _size(self, path: str) -> int | None:
        found = self._control.head(path)
        return None if found is None else found.size

    def _paths(self, key: str) -> Iterator[str]:
        """Yield the paths of the objects in the folder of an upload."""
        return (found.name for found in self._control.objects(self._records.path(key, "")))

    def _remove(self, key: str) -> None:
        # The record first: without it, the upload does not exist, and sweep finds the rest.
        for path in sorted(self._paths(key), key=lambda path: not path.endswith(f"/{RECORD}")):
            self._bucket.delete(path)


def _part_size(number: int) -> int:
    return PART_SIZE << (number // PARTS_OF_A_SIZE)
