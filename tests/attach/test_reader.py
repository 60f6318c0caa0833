"""The reader over streams that break, end early, or belong to something else meanwhile."""

from __future__ import annotations

import contextlib
import datetime
import io
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rex.attach.info import Metadata
from rex.attach.reader import MAX_RESUMES, Body
from rex.attach.storages.memory import MemoryStorage
from rex.core import Error, Kind

if TYPE_CHECKING:
    from collections.abc import Iterator

DATA = bytes(range(256)) * 40
BROKEN = Error("The line is cut", kind=Kind.UNAVAILABLE)
METADATA = Metadata(
    len(DATA), datetime.datetime(2026, 11, 23, tzinfo=datetime.UTC), "a/b", '"tag"', None
)


class Line(MemoryStorage):
    """A storage with one object, whose streams behave as they are told to, one after another.

    Each of `streams` says after how many bytes a stream ends, and with which failure, if any.
    When they are used up, a stream is as it should be.
    """

    def __init__(self, *streams: tuple[int, Exception | None]) -> None:
        super().__init__()
        self.streams = list(streams)
        self.metadata = METADATA
        self.asked: list[int] = []
        self.closed = 0

    def _get(self, key: str, start: int) -> Body:
        del key
        self.asked.append(start)
        return Body(self.metadata, self._stream(start))

    def _stream(self, start: int) -> Iterator[bytes]:
        size, failure = self.streams.pop(0) if self.streams else (len(DATA), None)
        try:
            for at in range(start, min(start + size, len(DATA)), 1000):
                yield DATA[at : min(at + 1000, start + size)]
            if failure is not None:
                raise failure
        finally:
            self.closed += 1


def opened(storage: Line) -> io.BufferedReader:
    """Open the one object."""
    return storage.open(storage.reserve("a.bin"))


@pytest.mark.parametrize("failure", [BROKEN, TimeoutError("slow"), None])
@pytest.mark.parametrize("times", [1, 2, 3])
def test_a_broken_stream_is_taken_up_again(times: int, failure: Exception | None) -> None:
    """A stream that breaks or ends early is asked for again, from where it broke."""
    storage = Line(*[(2500, failure)] * times)
    with opened(storage) as stream:
        assert stream.read() == DATA
    assert [2500 * number for number in range(times + 1)] == storage.asked


@pytest.mark.parametrize(
    ("failure", "kind"), [(BROKEN, Kind.UNAVAILABLE), (None, Kind.CORRUPT)], ids=["cut", "short"]
)
def test_a_stream_that_gets_nowhere_is_given_up(failure: Exception | None, kind: Kind) -> None:
    """When it breaks again and again at one place, the failure is told."""
    storage = Line((2500, failure), *[(0, failure)] * MAX_RESUMES)
    with opened(storage) as stream, pytest.raises(Error) as caught:
        stream.read()
    assert caught.value.kind is kind
    assert [0] + [2500] * MAX_RESUMES == storage.asked


def test_a_stream_that_gets_somewhere_is_not_given_up() -> None:
    """What counts is breaking in a row: any number of breaks is survived with progress between."""
    storage = Line(*[(1000, BROKEN)] * 8)
    with opened(storage) as stream:
        assert stream.read() == DATA
    assert len(storage.asked) == 9


@pytest.mark.parametrize(
    "failure",
    [
        Error("Not yours", kind=Kind.DENIED),
        Error("Not there", kind=Kind.NOT_FOUND),
        FileNotFoundError(),
    ],
)
def test_what_will_not_pass_is_not_tried_again(failure: Exception) -> None:
    """Only what may pass by itself is tried again; the rest comes out, with its kind."""
    storage = Line((2500, failure))
    with opened(storage) as stream, pytest.raises(Error) as caught:
        stream.read()
    assert caught.value.kind in {Kind.DENIED, Kind.NOT_FOUND}
    assert [0] == storage.asked


@pytest.mark.parametrize("changed", [{"etag": '"other"'}, {"size": 5}])
def test_an_attachment_that_changed_is_corrupt(changed: dict[str, object]) -> None:
    """Bytes of two different contents are never joined."""
    storage = Line((2500, BROKEN))
    with opened(storage) as stream:
        storage.metadata = METADATA._replace(**changed)  # type: ignore[arg-type]  # of a test
        with pytest.raises(Error, match="changed while being read") as caught:
            stream.read()
    assert caught.value.kind is Kind.CORRUPT


def test_an_attachment_that_is_too_short_is_corrupt() -> None:
    """A size that is told and not kept is noticed, instead of giving less."""
    storage = Line()
    storage.metadata = METADATA._replace(size=len(DATA) + 1)
    with opened(storage) as stream, pytest.raises(Error, match="shorter") as caught:
        stream.read()
    assert caught.value.kind is Kind.CORRUPT


def test_opening_asks_once_and_reading_not_again() -> None:
    """One request opens an attachment and reads it to its end."""
    storage = Line()
    with opened(storage) as stream:
        assert [0] == storage.asked
        assert stream.read() == DATA
        assert stream.read() == b""
    assert [0] == storage.asked


def test_a_small_step_forward_reads_on() -> None:
    """Seeking a little forward does not ask anew; seeking back beyond the buffer does."""
    storage = Line()
    with opened(storage) as stream:
        stream.read(1)
        stream.seek(9000)
        assert DATA[9000:9010] == stream.read(10)
        assert [0] == storage.asked
        stream.seek(-3, io.SEEK_END)
        assert DATA[-3:] == stream.read()
    assert [0] == storage.asked


@pytest.mark.parametrize("read", [0, 10])
def test_closing_closes_the_stream(read: int) -> None:
    """The stream that is open is closed with the reader, and once."""
    storage = Line()
    with opened(storage) as stream:
        stream.read(read)
    stream.close()
    assert read == 0 or storage.closed == 1
    assert stream.closed


@given(
    st.lists(st.tuples(st.integers(0, 3000), st.sampled_from([BROKEN, None])), max_size=6),
    st.lists(st.tuples(st.integers(0, len(DATA) + 50), st.integers(0, 5000)), max_size=8),
)
def test_breaks_and_seeks_in_any_order_give_the_right_bytes(
    streams: list[tuple[int, Exception | None]], steps: list[tuple[int, int]]
) -> None:
    """Whatever breaks where, what is read is right, or reading fails with an `Error`."""
    model = io.BytesIO(DATA)
    with opened(Line(*streams)) as stream, contextlib.suppress(Error):
        for position, size in steps:
            assert model.seek(position) == stream.seek(position)
            assert model.read(size) == stream.read(size)
