"""Parts that are sent in their order while the next ones arrive."""

from __future__ import annotations

import threading

import pytest

from rex.attach.backends.objects.parts import InOrder


def test_the_caller_goes_on_while_a_part_is_sent() -> None:
    """The next part waits for it, so that they arrive in their order."""
    received, may_go = [], threading.Event()

    def send(count: int, data: bytes) -> int:
        assert may_go.wait(30)
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
    assert (1, b"bad") == sending.close()


def test_nothing_to_send_starts_no_thread() -> None:
    """Most uploads are smaller than a part."""
    before = threading.active_count()
    sending = InOrder("state", lambda state, _: state)
    assert "state" == sending.wait()
    assert before == threading.active_count()
    assert ("state", b"") == sending.close()
