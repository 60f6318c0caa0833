"""Each operation of a storage, with what must be there before: for faults at each of its steps."""

from __future__ import annotations

import hashlib
import uuid
from typing import TYPE_CHECKING, NamedTuple

from rex.attach import open_storage
from trust.history import Source
from trust.ledger import Content

if TYPE_CHECKING:
    from collections.abc import Callable

    from trust.client import Client

__all__ = ["Operation", "operations"]

SMALL = Content.of("small", 5000)


class Operation(NamedTuple):
    """An operation on a handle, and what makes the handle."""

    act: Callable[[Client, str], object]
    prepare: Callable[[Client], str | None] = lambda _: ""


def operations(large: Content, upload: Content, cuts: tuple[int, int]) -> dict[str, Operation]:
    """Return the operations: large content, that of uploads, and where these are interrupted."""
    first, second = cuts
    begun = _begun(upload, first)
    joined = _begun(upload, upload.size, partial=True)
    return {
        "add": Operation(lambda client, _: client.add(SMALL)),
        "add large": Operation(lambda client, _: client.add(large)),
        "put": Operation(lambda client, handle: client.put(handle, SMALL), _reserved),
        "put large": Operation(lambda client, handle: client.put(handle, large), _reserved),
        "put again": Operation(lambda client, handle: client.put(handle, SMALL), _added(SMALL)),
        "remove": Operation(lambda client, handle: client.remove(handle), _added(SMALL)),
        "read": Operation(lambda client, handle: client.read(handle, SMALL), _added(SMALL)),
        "create": Operation(lambda client, _: client.create(upload)),
        "append": Operation(lambda client, handle: client.go_on(handle, upload, second), begun),
        "finish": Operation(
            lambda client, handle: client.go_on(handle, upload, upload.size), begun
        ),
        "join": Operation(lambda client, handle: client.join({handle: upload}), joined),
        "give up": Operation(lambda client, handle: client.give_up(handle), begun),
        "copy": Operation(lambda client, _: client.copy(*_source(client, large))),
        "sweep": Operation(lambda client, _: client.sweep(), _added(SMALL)),
    }


def _reserved(client: Client) -> str:
    return client.storage.reserve(client.new_name())


def _added(content: Content) -> Callable[[Client], str | None]:
    return lambda client: client.add(content)


def _begun(content: Content, size: int, *, partial: bool = False) -> Callable[[Client], str | None]:
    def prepare(client: Client) -> str | None:
        handle = client.create(content, partial=partial)
        if handle is None or not client.go_on(handle, content, size):
            raise TimeoutError("the server does not take an upload", client.name)
        return handle

    return prepare


def _source(client: Client, large: Content) -> Source:
    """Return what a client copies, each time the same."""
    storage = open_storage("memory:")
    contents = {}
    for number, content in enumerate((SMALL, large, Content.of("third", 100))):
        name = f"{client.name}-copied-{number}"
        identifier = uuid.UUID(bytes=hashlib.md5(name.encode()).digest(), version=4)  # noqa: S324
        handle = f"/2026/11/20/{identifier}/{name}"
        storage.put(handle, content.read(), content_type=content.media_type)
        contents[handle] = content
    return Source(storage, contents)
