"""Parts that are sent in their order while the next ones arrive."""

from __future__ import annotations

import random
import threading

import pytest

from programs import PATIENCE
from rex.attach.backends.objects.parts import SMALL, ByteQueue, InOrder


def test_the_caller_goes_on_while_a_part_is_sent() -> None:
    """The next part waits for it, so that they arrive in their order."""
    received, may_go = [], threading.Event()

    def send(count: int, data: bytes) -> int:
        assert may_go.wait(PATIENCE)
        received.append((count, data))
        return count + 1

    sending = InOrder(0, send)
    sending.send(b"a")
    assert not received
    may_go.set()
    sending.send(b"b")
    assert 2 == sending.wait()
    assert (2, b"") == sending.close()
    assert [(0, b"a"), (1, b"b")] == received


@pytest.mark.parametrize("ends_by", ["the next part", "the end", "a client that is gone"])
def test_what_could_not_be_sent_is_given_back(ends_by: str) -> None:
    """With the state before it, so that no byte is lost or counts twice."""

    def send(count: int, data: bytes) -> int:
        if data == b"bad":
            raise ConnectionError(data)
        return count + 1

    sending = InOrder(0, send)
    sending.send(b"good")
    sending.send(b"bad")
    if ends_by == "the next part":
        with pytest.raises(ConnectionError):
            sending.send(b"next")
    elif ends_by == "the end":
        with pytest.raises(ConnectionError):
            sending.wait()
    unsent = b"badnext" if ends_by == "the next part" else b"bad"
    assert (1, unsent) == sending.close()


def test_nothing_to_send_starts_no_thread() -> None:
    """Most uploads are smaller than a part."""
    before = {*threading.enumerate()}
    sending = InOrder("state", lambda state, _: state)
    assert "state" == sending.wait()
    assert before >= {*threading.enumerate()}  # those of earlier tests may end
    assert ("state", b"") == sending.close()


def test_bytes_leave_a_queue_as_they_arrived() -> None:
    """Whatever the sizes of the chunks and of the parts."""
    chance = random.Random(7)  # noqa: S311
    data = chance.randbytes(20 * SMALL)
    for _ in range(50):
        queue, taken, at = ByteQueue(data[:5]), b"", 5
        while at < len(data):
            size = chance.choice((0, 1, 100, SMALL - 1, SMALL, SMALL + 1, 3 * SMALL))
            chunk = data[at : at + size]
            queue.add(memoryview(chunk) if chance.random() < 0.5 else chunk)
            at += len(chunk)
            if chance.random() < 0.5:
                taken += queue.take(chance.randint(0, queue.size))
        assert len(data) - len(taken) == queue.size
        assert data == taken + queue.take(queue.size)
        assert b"" == queue.take(0)
