"""Resumable uploads on Azure: uncommitted blocks of the attachment, and a record.

Azure keeps uncommitted blocks for a week. The id of a block has the tag of its upload, its offset
and its size, so that the list of the blocks is the state of the upload. If two servers append
concurrently, the longest chain of blocks counts, and the acknowledged offset never decreases. No
block can be read before they are committed, so a partial upload is committed to a blob of its own.
"""

from __future__ import annotations

import http.client
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

from rex.attach.backend.resumable import (
    Holds,
    PartialUpload,
    Resumable,
    continued_elsewhere,
)
from rex.attach.backends.azure.blocks import Chained, block_id, chain, new_tag
from rex.attach.backends.azure.codes import PLACE
from rex.attach.backends.azure.container import blob_headers
from rex.attach.backends.azure.control import AzureFailure
from rex.attach.backends.objects.objects import PART_SIZE
from rex.attach.backends.objects.parts import ByteQueue, InOrder
from rex.attach.backends.objects.records import RECORD, Records
from rex.attach.content.content import CHUNK_SIZE
from rex.core import Error, Kind

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from contextlib import AbstractContextManager

    from rex.attach.backends.azure.container import Container
    from rex.attach.content.content import Content

__all__ = ["AzureResumable"]

BLOCKS_OF_A_SIZE = 12_500
"""The number of blocks after which the block size doubles: 50,000 blocks hold 1.4 TiB."""
MAX_BLOCKS = 50_000


class _Record(NamedTuple):
    """The record of an upload."""

    key: str
    record: bytes
    content_type: str
    partial: bool
    upload_metadata: str
    tag: str


class AzureResumable(Resumable):
    """Resumable uploads to a container."""

    def __init__(self, container: Container) -> None:
        self._container = container
        self._control = container.control
        self._records = Records(container, container.control.objects, PLACE, _Record)
        self._holds = Holds()

    def create(
        self, key: str, record: bytes, content_type: str, *, partial: bool, upload_metadata: str
    ) -> None:
        self._save(_Record(key, record, content_type, partial, upload_metadata, new_tag()))

    def load(self, key: str) -> PartialUpload:
        found = self._records.load(key)
        return PartialUpload(found.record, _size(self._blocks(found)))

    def save(self, key: str, record: bytes) -> None:
        self._save(self._records.load(key)._replace(record=record))

    def append(self, key: str, offset: int, content: Content, remaining: int | None) -> None:
        del remaining
        found = self._records.load(key)
        count = self._check_unchanged(found, offset)
        data = ByteQueue()

        def send(at: tuple[int, int], block: bytes) -> tuple[int, int]:
            offset, count = at
            return offset + len(block), self._send(found, offset, block, count)

        sending = InOrder((offset, count), send)
        try:
            for chunk in content:
                data.add(chunk)
                while data.size >= (size := PART_SIZE << (count // BLOCKS_OF_A_SIZE)):
                    sending.send(data.take(size))
                    count += 1
            sending.wait()
        finally:
            (offset, count), unsent = sending.close()
            rest = unsent + data.take(data.size)
            if rest:
                self._check_unchanged(found, offset)
                self._send(found, offset, rest, count)

    def read(self, key: str) -> Iterator[bytes]:
        found = self._records.load(key)
        blocks = self._blocks(found)
        if not all(block.is_committed for block in blocks):
            self._control.commit(self._records.target(found), _ids(blocks), {})
        if blocks:
            yield from self._container.stream(self._records.target(found), CHUNK_SIZE)

    def publish(
        self, key: str, content_type: str, digest: str | None, upload_metadata: str
    ) -> bool:
        found = self._records.load(key)
        blocks = self._blocks(found)
        if all(block.is_committed for block in blocks) and self._owner_of(found) == found.tag:
            return False
        headers = blob_headers(key, content_type, digest=digest, upload_metadata=upload_metadata)
        headers["x-ms-meta-upload"] = found.tag
        return self._control.commit(self._records.target(found), _ids(blocks), headers)

    def forget(self, key: str) -> None:
        with suppress(FileNotFoundError):
            self._remove(self._records.load(key))

    def remove(self, key: str) -> bool:
        try:
            found = self._records.load(key)
        except FileNotFoundError:
            return False
        if not found.partial:
            self._container.discard(self._records.target(found), found.tag)
        self._remove(found)
        return True

    def keys(self) -> Iterator[str]:
        return (found.key for found in self._records)

    def hold(self, key: str) -> AbstractContextManager[None]:
        return self._holds.hold(key)

    def tags(self) -> set[str]:
        """Return the tags of all uploads."""
        return {found.tag for found in self._records}

    def is_over(self, path: str) -> bool:
        """Return whether another client stored the attachment of the record at `path`."""
        try:
            self._blocks(self._records.read(path))
        except (FileNotFoundError, FileExistsError):
            return True
        except Error as error:
            if error.kind is not Kind.CORRUPT:
                raise
        return False

    # State on the server.

    def _check_unchanged(self, found: _Record, offset: int) -> int:
        """Return the number of blocks. Errors: `CONFLICT` if another server continued."""
        blocks = self._blocks(found)
        if _size(blocks) != offset:
            raise continued_elsewhere(found.key)
        return len(blocks)

    def _send(self, found: _Record, offset: int, data: bytes, count: int) -> int:
        if count >= MAX_BLOCKS:
            raise Error(f"Attachment is too large for {MAX_BLOCKS} blocks", kind=Kind.TOO_LARGE)
        name = block_id(found.tag, offset, len(data))
        self._control.put_block(self._records.target(found), name, data)
        return count + 1

    def _blocks(self, found: _Record) -> list[Chained]:
        """Return the blocks of an upload. Raise `FileExistsError` if others stored the blob."""
        blocks = self._control.blocks(self._records.target(found))
        ours = chain(blocks, found.tag)
        # A blob of a single request has no blocks.
        if not ours and self._owner_of(found) not in (None, found.tag):
            raise FileExistsError
        return ours

    def _owner_of(self, found: _Record) -> str | None:
        """Return the tag of the upload that stored the blob, or None if there is no blob."""
        try:
            answer = self._control.ask("HEAD", self._records.target(found))
        except AzureFailure as failure:
            if failure.status == http.client.NOT_FOUND:
                return None
            raise
        return str(answer.headers.get("x-ms-meta-upload", ""))

    def _save(self, found: _Record) -> None:
        self._records.save(**found._asdict())

    def _remove(self, found: _Record) -> None:
        # The record first: without it, the upload does not exist.
        self._container.delete(self._records.path(found.key, RECORD))
        if found.partial:
            target = self._records.target(found)
            self._container.discard(target, found.tag)
            self._container.delete(target)


def _ids(blocks: Sequence[Chained]) -> list[str]:
    return [block.id for block in blocks]


def _size(blocks: Sequence[Chained]) -> int:
    return sum(block.size for block in blocks)
