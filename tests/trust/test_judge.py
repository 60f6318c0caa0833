"""The judge convicts a storage that breaks any promise, and acquits one that keeps them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from rex.attach.backends.memory.storage import MemoryStorage
from trust.client import Client
from trust.judge import judge
from trust.ledger import Content, Event, Ledger
from trust.report import Line

if TYPE_CHECKING:
    from collections.abc import Callable

CONTENT = Content.of("one", 1000)
OTHER = Content.of("other", 1000)


class World:
    """A storage, what a client did to it, and the ledger of that."""

    def __init__(self) -> None:
        self.storage = MemoryStorage()
        self.ledger = Ledger()
        self.client = Client(self.storage, self.ledger.record, "w")
        self.kept = self._handle(self.client.add(CONTENT))
        self.removed = self._handle(self.client.add(CONTENT))
        self.client.remove(self.removed)
        self.upload = self._handle(self.client.create(CONTENT))
        self.client.go_on(self.upload, CONTENT, 600)

    def _handle(self, handle: str | None) -> str:
        assert handle is not None
        return handle

    def store(self, handle: str, data: bytes, content_type: str = CONTENT.media_type) -> None:
        """Store something behind the back of the client."""
        if handle in self.storage:
            self.storage.remove(handle)
        self.storage.put(handle, data, content_type=content_type)

    def report(self, offset: int) -> None:
        """Record that an offset of the upload was reported."""
        event = Event("x", "info", handle=self.upload, content=CONTENT)
        self.ledger.record(event)
        self.ledger.record(event._replace(phase="done", offset=offset))

    def violations(self) -> list[str]:
        """Return what the judge finds."""
        line = Line("")
        judge(self.ledger, self.storage, line, lambda _: [])
        return line.violations


def test_a_storage_that_keeps_its_promises_is_acquitted() -> None:
    """An attachment, a removal, and an upload that goes on."""
    assert [] == World().violations()


BREAKS: dict[str, Callable[[World], object]] = {
    "an attachment is lost": lambda world: world.storage.remove(world.kept),
    "an attachment has other bytes": lambda world: world.store(world.kept, OTHER.read()),
    "an attachment is cut": lambda world: world.store(world.kept, CONTENT.read()[:500]),
    "an attachment has another type": lambda world: world.store(
        world.kept, CONTENT.read(), "image/png"
    ),
    "a removed attachment is back": lambda world: world.store(world.removed, CONTENT.read()),
    "an upload is lost": lambda world: world.storage.uploads.remove(world.upload),
    "an upload is shorter than was reported": lambda world: world.report(900),
    "there is what was never sent": lambda world: world.storage.add("stranger.bin", b"bytes"),
    "an error is raw": lambda world: world.ledger.record(
        Event("x", "remove", "failed", world.removed, reason="raised OSError()")
    ),
    "two contents are acknowledged": lambda world: world.ledger.record(
        Event("x", "put", "done", world.kept, content=OTHER)
    ),
}


@pytest.mark.parametrize("broken", BREAKS)
def test_a_broken_promise_is_a_violation(broken: str) -> None:
    """Whichever it is."""
    world = World()
    BREAKS[broken](world)
    assert world.violations()
