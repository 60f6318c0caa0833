"""Garbage in a container: uncommitted blocks of uploads that ended, and records without use."""

from __future__ import annotations

import datetime
from functools import partial
from typing import TYPE_CHECKING

from rex.attach.backend.garbage import Garbage, GarbageKind
from rex.attach.backends.azure.blocks import read_id, tagged_at
from rex.attach.backends.azure.codes import PLACE
from rex.attach.backends.azure.multipart import RECORD_OF_PARTS
from rex.attach.backends.azure.resumable import AzureResumable
from rex.attach.backends.objects.records import RECORD
from rex.attach.handle import handle_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rex.attach.backends.azure.container import Container
    from rex.attach.backends.azure.control import Listed

__all__ = ["find_garbage"]


def find_garbage(
    container: Container, before: datetime.datetime, lifetime: datetime.timedelta
) -> Iterator[Garbage]:
    """Yield garbage older than `before`.

    Uncommitted blocks are garbage once the `lifetime` of an upload has passed, unless they belong
    to a resumable upload, with which they end. Azure removes them after a week in any case.
    """
    tags = AzureResumable(container).tags()
    for found in container.control.objects(container.prefix, uncommitted=True):
        key = found.name.removeprefix(container.prefix)
        if key.startswith(f"{PLACE}/"):
            yield from _remains(container, found, before, lifetime, tags)
        elif found.size == 0 and handle_of(key) is not None:
            yield from _blocks(container, found, before - lifetime, tags, lifetime)


def _blocks(
    container: Container,
    found: Listed,
    before: datetime.datetime,
    tags: set[str],
    lifetime: datetime.timedelta,
) -> Iterator[Garbage]:
    """Yield the uncommitted blocks of a blob that does not exist, if all of them are old."""
    blocks = container.control.blocks(found.name)
    began = [tag for tag in {read_id(block.id)[0] for block in blocks} if tag]
    if not began or any(block.is_committed for block in blocks) or tags.intersection(began):
        return
    since = datetime.datetime.fromtimestamp(max(map(tagged_at, began)), datetime.UTC)
    if since < before:
        size = sum(block.size for block in blocks)
        clear = partial(_discard, container, found.name)
        name = found.name.removeprefix(container.prefix)
        yield Garbage(GarbageKind.PARTS, name, since + lifetime, size, clear)


def _remains(
    container: Container,
    found: Listed,
    before: datetime.datetime,
    lifetime: datetime.timedelta,
    tags: set[str],
) -> Iterator[Garbage]:
    """Yield blobs of resumable uploads without a record, and records of uploads that are over."""
    uploads = AzureResumable(container)
    folder, _, last = found.name.rpartition("/")
    modified = found.modified or before
    if last == RECORD:
        is_over = modified + lifetime < before and uploads.is_over(found.name)
    elif last.startswith(RECORD_OF_PARTS):
        is_over = modified + lifetime < before
    else:
        is_over = modified < before and not container.control.exists(f"{folder}/{RECORD}")
    if not is_over:
        return
    name = found.name.removeprefix(container.prefix)
    if container.control.exists(found.name):
        clear = partial(_delete, container, found.name)
        yield Garbage(GarbageKind.FILE, name, modified, found.size, clear)
    else:
        yield from _blocks(container, found, before, tags, datetime.timedelta())


def _discard(container: Container, path: str) -> bool:
    if container.control.exists(path):  # another upload was completed meanwhile
        return False
    container.control.discard(path)
    return True


def _delete(container: Container, path: str) -> bool:
    container.delete(path)
    return True
