"""How much a download reads at once: less if there are many, or if its client stalls."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING

from starlette.requests import Request

from attach.counting import CountingRelay
from programs import PATIENCE
from rex.attach import open_storage
from rex.attach.conformance.samples import MIB, sample
from rex.attach.content.reader import Stream
from rex.attach.web.download import serve
from rex.attach.web.pace import FEW, MANY, Pace

if TYPE_CHECKING:
    import pytest
    from starlette.types import Message

    from rex.attach_demo.seaweedfs import SeaweedFS

ALONE = (128 * 1024, None)


def _sizes(pace: Pace) -> tuple[int, int | None]:
    return pace.chunk_size, pace.request_size


def test_few_downloads_have_no_limits() -> None:
    """Nor do the requests of those that have just begun."""
    paces = [Pace() for _ in range(FEW)]
    assert [ALONE] * FEW == [_sizes(pace) for pace in paces]


def test_the_shares_of_many_are_small_until_a_client_takes_more_than_buffers_do() -> None:
    """The shares grow when others end or stall; what is forgotten counts as ended."""
    first, *others = [Pace() for _ in range(4 * MANY)]
    assert (16 * 1024, 128 * 1024) == _sizes(first)
    first.note_taken(8 * MIB)
    assert (256 * 1024, None) == _sizes(first)
    last = others[-1]
    for pace in others[:MANY]:
        pace.note_stall()
    for pace in others[MANY : 2 * MANY]:
        pace.end()
    del pace, others
    assert ALONE == _sizes(last)


def test_a_client_that_stalled_has_a_small_share_until_it_takes_enough() -> None:
    """Also if it is alone."""
    pace = Pace()
    pace.note_taken(8 * MIB)
    pace.note_stall()
    assert (16 * 1024, 128 * 1024) == _sizes(pace)
    pace.note_taken(8 * MIB)
    assert (256 * 1024, None) == _sizes(pace)


def test_a_stalled_download_releases_its_request_and_continues(
    seaweedfs: SeaweedFS, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The client stalls once, and receives every byte."""
    data = sample(3 * MIB)
    received: list[bytes] = []
    released = threading.Event()

    def release(stream: Stream) -> None:
        really_release(stream)
        released.set()

    really_release = Stream.release
    monkeypatch.setattr(Stream, "release", release)
    monkeypatch.setattr("rex.attach.web.download.STALL_SECONDS", 0)

    async def live(relay: CountingRelay) -> None:
        keys = {"access_key": seaweedfs.access_key, "secret_key": seaweedfs.secret_key}
        url = f"s3://{seaweedfs.bucket}/pace?endpoint={relay.endpoint}"
        with open_storage(url, **keys) as storage:
            handle = storage.add("a.bin", data)
            relay.taken()
            stalls = iter([True])

            async def send(message: Message) -> None:
                if message.get("body") and next(stalls, False):
                    assert await asyncio.to_thread(released.wait, PATIENCE)
                    monkeypatch.undo()
                received.append(message.get("body", b""))

            async def receive() -> Message:
                await asyncio.Event().wait()
                raise AssertionError

            scope = {"type": "http", "method": "GET", "path": "/", "headers": []}
            response = await serve(Request(scope), storage, handle)
            await response(scope, receive, send)

    with CountingRelay(seaweedfs.endpoint) as relay:
        asyncio.run(live(relay))
        assert data == b"".join(received)
        assert 2 < len(relay.taken())
