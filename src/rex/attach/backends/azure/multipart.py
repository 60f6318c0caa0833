"""Multipart uploads on Azure, whose parts the service stores as blocks.

A part consists of blocks of up to 8 MiB. Azure returns no ETag for a block, and a SAS that allows
storing one also allows replacing the blob; so there are no links. The id of a block has the upload,
the number of the part, the attempt to send it and the place of the block in it; the last block is
marked. The list of the blocks is therefore the list of the parts, and the ETag of a part is its
attempt. The upload exists while its record does.
"""

from __future__ import annotations

import base64
import json
import re
import secrets
import time
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

from rex.attach.backend.multipart import Part, RelayedMultipart
from rex.attach.backend.resumable import unreadable
from rex.attach.backends.azure.blocks import new_tag
from rex.attach.backends.azure.codes import PLACE
from rex.attach.backends.azure.container import blob_headers
from rex.attach.backends.azure.resumable import MAX_BLOCKS
from rex.attach.backends.objects.parts import cut
from rex.core import Error, Kind

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from rex.attach.backends.azure.container import Container
    from rex.attach.backends.azure.control import Block
    from rex.attach.content.content import Content

__all__ = ["RECORD_OF_PARTS", "AzureMultipart"]

RECORD_OF_PARTS = "parts-"
"""The beginning of the name of a record, before the id of the upload."""
_ID = re.compile("[0-9a-f]{16}")
_LAST = 0x8000
"""Added to the place of the last block of a part, of which there are fewer."""
_FORM = re.compile("([0-9a-f]{16})([0-9a-f]{4})([0-9a-f]{16})([0-9a-f]{4})")


class _Place(NamedTuple):
    """The place of a block in an upload, as its id says."""

    number: int
    attempt: str
    order: int
    is_last: bool


class _Sent(NamedTuple):
    """A part of which all blocks are on the server."""

    part: Part
    ids: list[str]


class AzureMultipart(RelayedMultipart):
    """The multipart uploads of one container."""

    def __init__(self, container: Container) -> None:
        self._container = container
        self._control = container.control
        self.bucket = container.name

    def create(self, key: str, content_type: str) -> str:
        """Create the record of an upload; return the upload's id."""
        upload_id = new_tag()
        record = {"key": key, "content_type": content_type}
        self._container.write(self._record(key, upload_id), json.dumps(record).encode())
        return upload_id

    def put_part(self, key: str, upload_id: str, number: int, content: Content) -> Part:
        """Store a part as blocks; another attempt does not touch them."""
        self._content_type(key, upload_id)
        try:
            part = self._send(key, upload_id, number, content)
        except BaseException:
            with suppress(Exception):  # a sweep removes them, or Azure after a week
                self._discard_if_over(key, upload_id)
            raise
        if self._discard_if_over(key, upload_id):
            raise _gone(key)
        return part

    def parts(self, key: str, upload_id: str) -> Iterator[Part]:
        """Yield the whole parts on the server, in the order of their numbers."""
        self._content_type(key, upload_id)
        yield from (sent.part for _, sent in sorted(self._sent(key, upload_id).items()))

    def complete(self, key: str, upload_id: str, parts: Sequence[Part]) -> bool:
        """Commit the blocks of the parts, unless the key has a different blob."""
        try:
            content_type = self._content_type(key, upload_id)
        except Error as error:
            # Another request of the client may have completed the upload meanwhile.
            if error.kind is Kind.NOT_FOUND and self.is_made_of(key, _attempts(parts)):
                return False
            raise
        sent = self._sent(key, upload_id)
        if any(sent.get(part.number, _NOTHING).part != part for part in parts):
            raise FileExistsError if self._control.exists(self._container.path(key)) else _changed()
        ids = [block_id for part in parts for block_id in sent[part.number].ids]
        if len(ids) > MAX_BLOCKS:
            raise Error(f"Attachment is too large for {MAX_BLOCKS} blocks", kind=Kind.TOO_LARGE)
        headers = blob_headers(key, content_type, digest=None, upload_metadata="")
        is_new = self._control.commit(self._container.path(key), ids, headers)
        with suppress(Exception):  # a sweep removes it
            self._container.delete(self._record(key, upload_id))
        return is_new

    def is_made_of(self, key: str, etags: Sequence[str]) -> bool:
        """Return whether the blob consists of the blocks of these parts."""
        blocks = self._control.blocks(self._container.path(key))
        made: dict[int, str] = {}
        for block in blocks:
            place = _read_id(block.id, None) if block.is_committed else None
            if place is None:
                return False
            made[place.number] = place.attempt
        return bool(made) and [made[number] for number in sorted(made)] == [*etags]

    def abort(self, key: str, upload_id: str) -> None:
        """Remove the record, then the blocks."""
        self._content_type(key, upload_id)
        self._container.delete(self._record(key, upload_id))
        self._container.discard(self._container.path(key), upload_id)

    # Records.

    def _record(self, key: str, upload_id: str) -> str:
        """Return the path of a record. Errors: `NOT_FOUND` for an id that was never made."""
        if not _ID.fullmatch(upload_id):
            raise _gone(key)
        folder = key.rpartition("/")[0]
        return self._container.path(f"{PLACE}/{folder}/{RECORD_OF_PARTS}{upload_id}")

    def _content_type(self, key: str, upload_id: str) -> str:
        """Return the content type of an upload. Errors: `NOT_FOUND`, `CORRUPT`."""
        try:
            found = json.loads(self._container.read(self._record(key, upload_id)))
            is_ours, content_type = found["key"] == key, found["content_type"]
        except FileNotFoundError:
            raise _gone(key) from None
        except (ValueError, KeyError, TypeError):
            raise unreadable(f"/{key}") from None
        if not is_ours:
            raise _gone(key)
        return str(content_type)

    def _discard_if_over(self, key: str, upload_id: str) -> bool:
        """Discard blocks that arrived after the upload was aborted; return whether it is over."""
        try:
            self._content_type(key, upload_id)
        except Error as error:
            if error.kind is not Kind.NOT_FOUND:
                raise
            self._container.discard(self._container.path(key), upload_id)
            return True
        return False

    # Blocks.

    def _send(self, key: str, upload_id: str, number: int, content: Content) -> Part:
        path, attempt = self._container.path(key), _new_attempt()
        size = 0
        for index, (data, is_last) in enumerate(cut(content)):
            if not data:
                raise Error("A part must not be empty", f"/{key}", kind=Kind.ILL_FORMED)
            if index >= _LAST:
                raise Error("The part is too large", kind=Kind.TOO_LARGE)
            name = _block_id(upload_id, number, attempt, index + _LAST * is_last)
            self._control.put_block(path, name, data)
            size += len(data)
        return Part(number, size, f'"{attempt}"')

    def _sent(self, key: str, upload_id: str) -> dict[int, _Sent]:
        """Return the whole parts by number. Raise `FileExistsError` if others stored the blob."""
        blocks = self._control.blocks(self._container.path(key))
        found = _group(blocks, upload_id)
        if not found and any(block.is_committed for block in blocks):
            raise FileExistsError
        return found


def _group(blocks: Iterable[Block], upload_id: str) -> dict[int, _Sent]:
    """Return the latest whole attempt at each part of an upload, by number."""
    attempts: dict[tuple[int, str], dict[int, tuple[_Place, Block]]] = {}
    for block in blocks:
        place = _read_id(block.id, upload_id)
        if place is not None:
            by_order = attempts.setdefault((place.number, place.attempt), {})
            by_order[place.order] = place, block
    found: dict[int, _Sent] = {}
    for (number, attempt), by_order in sorted(attempts.items()):
        ordered = [by_order[order] for order in sorted(by_order)]
        if ordered[-1][0].is_last and ordered[-1][0].order == len(ordered) - 1:
            size = sum(block.size for _, block in ordered)
            ids = [block.id for _, block in ordered]
            found[number] = _Sent(Part(number, size, f'"{attempt}"'), ids)
    return found


def _new_attempt() -> str:
    """Return the name of an attempt; later ones are greater."""
    return f"{int(time.time() * 1000):012x}{secrets.token_hex(2)}"


def _block_id(upload_id: str, number: int, attempt: str, place: int) -> str:
    """Return the id of a block; it has the length of those of `blocks.block_id`."""
    return base64.b64encode(f"{upload_id}{number:04x}{attempt}{place:04x}".encode()).decode()


def _read_id(given: str, upload_id: str | None) -> _Place | None:
    """Return the place of a block of an upload, or of any upload; None for any other block."""
    try:
        found = _FORM.fullmatch(base64.b64decode(given, validate=True).decode("ascii"))
    except ValueError:
        found = None
    if found is None or upload_id not in (None, found[1]):
        return None
    place = int(found[4], 16)
    return _Place(int(found[2], 16), found[3], place % _LAST, place >= _LAST)


_NOTHING = _Sent(Part(0, 0, ""), [])


def _attempts(parts: Iterable[Part]) -> list[str]:
    return [part.etag.strip('"') for part in parts]


def _gone(key: str) -> Error:
    return Error("The upload does not exist", f"/{key}", kind=Kind.NOT_FOUND)


def _changed() -> Error:
    return Error(
        "A part was replaced while the upload was being completed",
        kind=Kind.CONFLICT,
        code="parts-mismatch",
    )
