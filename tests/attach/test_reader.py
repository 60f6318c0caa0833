"""The reader: what it requests, and streams that break, end early, or are another's meanwhile."""

from __future__ import annotations

import contextlib
import datetime
import hashlib
import io
import itertools
import os
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rex.attach.backends.local.storage import LocalStorage
from rex.attach.backends.memory.storage import MemoryStorage
from rex.attach.conformance.samples import MIB, sample
from rex.attach.content.reader import BUFFER_SIZE, MAX_REQUEST, MAX_RESUMES, MIN_REQUEST, Body
from rex.attach.info import Metadata
from rex.core import Error, Kind

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

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

    def _get(self, key: str, start: int, end: int | None) -> Body:
        del key, end
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


class Ranged(MemoryStorage):
    """A storage that gives the bytes of a request and no more, and notes what was requested.

    The first stream of each of `breaks` ends after so many bytes.
    """

    def __init__(self, *breaks: int) -> None:
        super().__init__()
        self.breaks = list(breaks)
        self.requests: list[tuple[int, int | None]] = []

    def _get(self, key: str, start: int, end: int | None) -> Body:
        self.requests.append((start, end))
        metadata, data = self._find(key)
        stop = len(data) if end is None else end
        stop = min(stop, start + self.breaks.pop(0) if self.breaks else stop)
        chunks = (data[at : min(at + 256 * 1024, stop)] for at in range(start, stop, 256 * 1024))
        return Body(metadata, chunks, end)


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
    ("failure", "caught_as"),
    [
        (Error("Not yours", kind=Kind.DENIED), PermissionError),
        (Error("Not there", kind=Kind.NOT_FOUND), FileNotFoundError),
        (FileNotFoundError(), FileNotFoundError),
        (Error("No bucket", kind=Kind.CONFIGURATION), OSError),
        (Error("Forked", kind=Kind.UNSUPPORTED), OSError),
        (Error("Odd", kind=Kind.INTERNAL), OSError),
    ],
    ids=repr,
)
def test_what_will_not_pass_is_not_tried_again(
    failure: Exception, caught_as: type[Exception]
) -> None:
    """What will not pass comes out, with its kind, and as what a file would raise."""
    storage = Line((2500, failure))
    with opened(storage) as stream, pytest.raises(caught_as) as caught:
        stream.read()
    assert isinstance(caught.value, Error)
    assert getattr(failure, "kind", Kind.NOT_FOUND) is caught.value.kind
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


@pytest.mark.parametrize("size", [MIB // 2, 0])
def test_a_changed_file_does_not_stay_open_with_the_error(tmp_path: Path, size: int) -> None:
    """The traceback, which a server may keep, refers to what was opened."""
    storage = LocalStorage(tmp_path / "attachments")
    storage.init()
    handle = storage.add("a.bin", bytes(MIB))
    file = tmp_path / "attachments" / handle[1:]
    with storage.open(handle) as stream:
        stream.read(10)
        os.truncate(file, size)
        with pytest.raises(Error, match="changed while being read") as caught:
            stream.read()
    with pytest.raises(Error) as damaged:
        storage.open(handle).read()
    opened = {os.path.realpath(link) for link in Path("/proc/self/fd").iterdir()}
    assert str(file.resolve()) not in opened
    assert Kind.CORRUPT is caught.value.kind is damaged.value.kind


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


WHOLE = (0, None)
FIRST = (0, MIN_REQUEST)


@pytest.mark.parametrize(
    ("name", "requests"),
    [
        ("a.bin", [WHOLE]),
        ("zip", [WHOLE]),
        ("a.zip", [FIRST, (MIN_REQUEST, None)]),
        ("A.JPEG", [FIRST, (MIN_REQUEST, None)]),
    ],
)
def test_all_is_requested_as_long_as_there_is_no_seek(
    name: str, requests: list[tuple[int, int | None]]
) -> None:
    """Where the name is that of a format that is read in parts, all but the beginning."""
    storage = Ranged()
    handle = storage.add(name, sample(3 * MIB))
    assert sample(3 * MIB) == storage.open(handle).read()
    assert requests == storage.requests


@pytest.mark.parametrize("name", ["a.bin", "a.zip"])
def test_measuring_is_no_seek(name: str) -> None:
    """As of those who want the size first: to the end and back, with nothing read between."""
    storage = Ranged()
    with storage.open(storage.add(name, sample(3 * MIB))) as stream:
        assert 3 * MIB == stream.seek(0, io.SEEK_END)
        assert 0 == stream.seek(0)
        assert sample(3 * MIB) == stream.read()
    assert storage.requests in ([WHOLE], [FIRST, (MIN_REQUEST, None)])


def test_after_a_seek_requests_grow_while_reading_goes_on() -> None:
    """From 64 KiB to 8 MiB, each twice as large; a seek begins again at 64 KiB."""
    storage = Ranged()
    size = 30 * MIB
    data = sample(size)
    with storage.open(storage.add("a.bin", data)) as stream:
        for start in (MIB + 1, 2 * MIB):
            storage.requests.clear()
            stream.seek(start)
            read = b"".join(iter(lambda: stream.read(1000), b""))
            assert data[start:] == read
            sizes = [(end or size) - at for at, end in storage.requests]
            doubled = [MIN_REQUEST << number for number in range(7)]
            assert [*doubled, MAX_REQUEST] == sizes[:8]
            assert max(sizes) == MAX_REQUEST
            assert size - start == sum(sizes)


def test_what_is_read_at_once_is_requested_at_once() -> None:
    """A read of any size after a seek is one request, for little more than that."""
    storage = Ranged()
    data = sample(20 * MIB)
    with storage.open(storage.add("a.parquet", data)) as stream:
        for start, size in ((10 * MIB, 800_001), (2 * MIB, 12 * MIB), (15 * MIB, 200_000)):
            storage.requests.clear()
            stream.seek(start)
            assert data[start : start + size] == stream.read(size)
            ((at, end),) = storage.requests
            assert at == start
            assert start + size <= (end or 0) <= start + size + BUFFER_SIZE
        storage.requests.clear()
        stream.seek(MIB)
        assert data[MIB:] == stream.read()
        assert [(MIB, None)] == storage.requests


def test_the_beginning_is_requested_once() -> None:
    """A library that reads the end and then the beginning finds that kept, also half of it."""
    storage = Ranged()
    data = sample(3 * MIB)
    with storage.open(storage.add("a.zip", data)) as stream:
        stream.seek(-22, io.SEEK_END)
        assert data[-22:] == stream.read()
        for start in (0, 10_000, MIN_REQUEST - 1):
            stream.seek(start)
            assert data[start : start + 1] == stream.read(1)
            stream.seek(2 * MIB)
            assert data[2 * MIB :][:1] == stream.read(1)
    assert [FIRST, (3 * MIB - 22, None)] == storage.requests[:2]
    assert {2 * MIB} == {at for at, _ in storage.requests[2:]}


def test_a_request_that_breaks_is_taken_up_to_its_end() -> None:
    """It does not count as a seek: no more is requested then, and no less."""
    storage = Ranged(MIN_REQUEST, 50_000)
    data = sample(3 * MIB)
    with storage.open(storage.add("a.zip", data)) as stream:
        stream.seek(MIB)
        assert data[MIB : MIB + 100_000] == stream.stream.read_full(100_000)
    end = MIB + 100_000 + BUFFER_SIZE
    assert [FIRST, (MIB, end), (MIB + 50_000, end)] == storage.requests


def test_a_length_is_requested_and_read() -> None:
    """Exactly that, in one request; a length past the end is for all there is."""
    storage = Ranged()
    data = sample(3 * MIB)
    handle = storage.add("a.zip", data)
    for start, length in ((0, 100_000), (5, MIB), (2 * MIB, 1)):
        storage.requests.clear()
        with storage.open(handle, start=start, length=length) as stream:
            assert data[start : start + length] == stream.read()
            assert start + length == stream.seek(0, io.SEEK_END)
        assert [(start, start + length)] == storage.requests
    storage.requests.clear()
    assert data == storage.open(handle, length=2**63 - 1).read()
    assert [WHOLE] == storage.requests


def test_a_storage_may_go_on_after_the_end_of_a_request() -> None:
    """As a directory does, where that costs nothing: no more is requested then."""
    storage = Line()
    with storage.open(storage.reserve("a.zip")) as stream:
        stream.seek(5000)
        assert DATA[5000:] == stream.read()
        stream.seek(3)
        assert DATA[3:] == b"".join(iter(lambda: stream.read(7), b""))
    assert [0, 3] == storage.asked


def test_an_archive_in_the_middle_of_which_is_read_costs_little() -> None:
    """The list of an archive, and one of its files, are a small part of it."""
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as written:
        for number in range(200):
            written.writestr(f"dir/member{number:04}.bin", sample(100_000, str(number)))
    storage = Ranged()
    handle = storage.add("a.zip", archive.getvalue())
    size = len(archive.getvalue())

    def transferred() -> int:
        found = sum(min(end or size, size) - start for start, end in storage.requests)
        storage.requests.clear()
        return found

    with storage.open(handle) as stream, zipfile.ZipFile(stream) as opened:
        assert 200 == len(opened.namelist())
        assert transferred() <= 128_000
        assert sample(100_000, "150") == opened.read("dir/member0150.bin")
        assert transferred() <= 300_000


@pytest.mark.parametrize("name", ["a.bin", "a.zip"])
@pytest.mark.parametrize("read", ["read", "pieces", "lines", "read_full"])
def test_damage_is_noticed_before_the_last_bytes_are_given(name: str, read: str) -> None:
    """Whichever way all of it is read in order; reading again from there does not give them."""
    storage = Ranged()
    data = sample(MIB)
    handle = storage.add(name, data)
    metadata, _ = storage._objects[handle[1:]]
    storage._objects[handle[1:]] = metadata, data[:-1] + bytes([data[-1] ^ 1])
    got = bytearray()
    with storage.open(handle) as stream:
        ways: dict[str, Callable[[], Iterator[bytes]]] = {
            "read": lambda: iter([stream.read()]),
            "pieces": lambda: iter(lambda: stream.read(999), b""),
            "lines": lambda: iter(stream),
            "read_full": lambda: iter(lambda: stream.stream.read_full(70_000), b""),
        }
        for _ in range(2):
            with pytest.raises(Error, match="Attachment is damaged") as caught:
                got.extend(itertools.chain.from_iterable(ways[read]()))
            assert caught.value.kind is Kind.CORRUPT
    assert len(got) < MIB


def test_damage_of_everything_is_noticed(tmp_path: Path) -> None:
    """A file that was cut to nothing, whose SHA-256 is that of something, is not empty."""
    storage = LocalStorage(tmp_path)
    handle = storage.add("a.bin", b"content")
    (tmp_path / handle[1:]).write_bytes(b"")
    for read in (storage.open, storage.read_cached):
        with pytest.raises(Error, match="Attachment is damaged") as caught:
            read(handle)
        assert caught.value.kind is Kind.CORRUPT


def test_a_broken_stream_goes_on_being_compared() -> None:
    """Where it is taken up again, what was read before still counts."""
    data = sample(3 * MIB)
    for damaged in (False, True):
        storage = Ranged(MIB + 1, 300_000)
        handle = storage.add("a.bin", data)
        if damaged:
            metadata, _ = storage._objects[handle[1:]]
            storage._objects[handle[1:]] = metadata, b"\1" + data[1:]
        with storage.open(handle) as stream:
            if not damaged:
                assert data == stream.read()
                continue
            with pytest.raises(Error, match="Attachment is damaged"):
                stream.read()
        assert [0, MIB + 1, MIB + 300_001] == [start for start, _ in storage.requests]


def test_what_is_not_read_in_order_is_not_compared() -> None:
    """The last bytes alone, a part, or all but with a seek between; from the start it is again."""
    storage = Ranged()
    data = sample(3 * MIB)
    handle = storage.add("a.bin", data)
    metadata, _ = storage._objects[handle[1:]]
    storage._objects[handle[1:]] = metadata, b"\1" + data[1:]
    assert data[-5:] == storage.open(handle, start=3 * MIB - 5).read()
    assert data[1:] == storage.open(handle, start=1).read()
    with storage.open(handle) as stream:
        stream.read(MIB)
        stream.seek(2 * MIB)
        assert data[2 * MIB :] == stream.read()
        stream.seek(0)
        with pytest.raises(Error, match="Attachment is damaged"):
            stream.read()


def test_reading_what_is_fine_raises_no_false_alarm() -> None:
    """Peeking, telling, seeking to the present position, and coming back are not damage."""
    storage = Ranged()
    data = sample(MIB)
    with storage.open(storage.add("a.bin", data)) as stream:
        assert data[:10] == stream.peek()[:10]
        assert data[:10] == stream.read(10)
        assert 10 == stream.seek(stream.tell())
        assert data[10:20] == stream.read(10)
        stream.seek(0)
        assert data == stream.read()
        stream.seek(-1, io.SEEK_END)
        assert data[-1:] == stream.read()
        stream.seek(0)
        assert data == b"".join(iter(lambda: stream.read(99_999), b""))


@given(
    st.sampled_from(["a.bin", "a.zip"]),
    st.lists(st.integers(0, 200_000), max_size=4),
    st.lists(st.tuples(st.integers(0, 300_050), st.integers(0, 150_000)), max_size=8),
    st.sampled_from(["all", "nothing"]),
)
def test_seeks_in_any_order_give_the_right_bytes(
    name: str, breaks: list[int], steps: list[tuple[int, int]], then: str
) -> None:
    """After any requests and breaks; all of it is compared at the end."""
    data = sample(300_000)
    storage = Ranged()
    handle = storage.add(name, data)
    storage.breaks = list(breaks)
    model = io.BytesIO(data)
    with storage.open(handle) as stream, contextlib.suppress(Error):
        for position, size in steps:
            assert model.seek(position) == stream.seek(position)
            assert model.read(size) == stream.read(size)
        if then == "all":
            stream.seek(0)
            assert hashlib.sha256(stream.read()).hexdigest() == stream.info.digest


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
