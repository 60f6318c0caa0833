"""Content: counted, hashed and limited, from whatever it is read."""

from __future__ import annotations

import bz2
import contextlib
import gzip
import hashlib
import io
import os
import tempfile
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from attach.django import project
from rex.attach.conformance.samples import sample
from rex.attach.content.content import CHUNK_SIZE, Content
from rex.core import Error, Kind

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

SYSTEM_FILES = [
    path for path in map(Path, ("/proc/self/limits", "/sys/class/net/lo/mtu")) if path.exists()
]
LEFT_OUT = () if SYSTEM_FILES else ("files of the system as content (needs /proc and /sys)",)

CHUNKS = st.lists(st.binary(max_size=50), max_size=10)


@given(CHUNKS)
def test_chunks_are_counted_and_hashed(chunks: list[bytes]) -> None:
    """What passes is what was given, and its size and digest are known afterwards."""
    content = Content(iter(chunks))
    data = b"".join(content)
    assert b"".join(chunks) == data
    assert len(data) == content.size
    assert hashlib.sha256(data).hexdigest() == content.digest


@given(CHUNKS, st.integers(0, 200))
def test_the_whole_is_given_up_to_a_limit(chunks: list[bytes], limit: int) -> None:
    """`whole` gives everything, or None and leaves everything."""
    data = b"".join(chunks)
    content = Content(iter(chunks))
    whole = content.whole(limit)
    if len(data) <= limit:
        assert data == whole
    else:
        assert whole is None
        assert data == b"".join(content)
    assert hashlib.sha256(data).hexdigest() == content.digest


@given(CHUNKS, st.integers(0, 200))
def test_a_limit_is_kept_to_the_byte(chunks: list[bytes], limit: int) -> None:
    """Content passes up to `max_size` bytes, and fails with one more."""
    size = sum(map(len, chunks))
    content = Content(iter(chunks), max_size=limit)
    if size <= limit:
        assert size == len(b"".join(content))
    else:
        with pytest.raises(Error) as caught:
            b"".join(content)
        assert caught.value.kind is Kind.TOO_LARGE
        assert caught.value is content.failure


@pytest.mark.parametrize(
    ("source", "size"),
    [
        ("naïve", 6),
        (b"12345", 5),
        (bytearray(3), 3),
        (memoryview(bytes(8)).cast("I"), 8),
        (memoryview(bytes(9))[::2], 5),
        (io.BytesIO(b"12345"), 5),
        ([b"12345"], None),
        (iter([b"12345"]), None),
        (io.StringIO("12345"), None),
    ],
)
def test_a_size_is_known_where_it_can_be(source: Any, size: int | None) -> None:
    """Sized content is measured beforehand, in bytes; the rest is not guessed at."""
    assert size == Content(source).known_size


def test_the_size_of_a_file_is_what_is_left_of_it() -> None:
    """A file is measured from where it stands, and still stands there afterwards."""
    file = io.BytesIO(b"0123456789")
    file.seek(4)
    content = Content(file)
    assert content.known_size == 6
    assert file.tell() == 4
    assert b"".join(content) == b"456789"


def test_a_file_past_its_end_has_nothing_left() -> None:
    """The size is never negative."""
    file = io.BytesIO(b"0123456789")
    file.seek(40)
    assert Content(file).known_size == 0


class Decoded:
    """A file that decodes what it reads, and for all else is the file that it reads from."""

    def __init__(self, file: Any) -> None:
        self._file = file

    def read(self, size: int) -> bytes:
        """Read half as many bytes."""
        return bytes.fromhex(self._file.read(2 * size).decode())

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)


def django_file(data: bytes) -> Any:
    """Return what Django makes of a large file in a form."""
    from django.core.files.uploadedfile import TemporaryUploadedFile

    project.setup()
    uploaded = TemporaryUploadedFile("a.bin", "image/png", len(data), None)
    uploaded.write(data)
    uploaded.seek(0)
    return uploaded


def small_django_file(data: bytes) -> Any:
    """Return what Django makes of a small file in a form."""
    from django.core.files.uploadedfile import InMemoryUploadedFile

    return InMemoryUploadedFile(io.BytesIO(data), "file", "a.bin", None, len(data), None)


def spooled(data: bytes) -> Any:
    """Return what Starlette makes of a file in a form: in memory, or on the disk by now."""
    file = tempfile.SpooledTemporaryFile(max_size=1000)  # noqa: SIM115 - its user closes it
    file.write(data)
    file.seek(0)
    return file


def appending(data: bytes) -> Any:
    """Return an unbuffered file that is open for appending too."""
    with tempfile.NamedTemporaryFile(buffering=0) as file:
        file.write(data)
        appended = Path(file.name).open("ab+", buffering=0)  # noqa: SIM115 - its user closes it
    appended.seek(0)
    return appended


def zip_member(data: bytes) -> Any:
    """Return a file in an archive."""
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as written:
        written.writestr("a.bin", data)
    return zipfile.ZipFile(archive).open("a.bin")


SOURCES: dict[str, Callable[[bytes], Any]] = {
    "memory": io.BytesIO,
    "Django, large": django_file,
    "Django, small": small_django_file,
    "spooled": spooled,
    "appending": appending,
    "gzip": lambda data: gzip.GzipFile(fileobj=io.BytesIO(gzip.compress(data))),
    "bzip2": lambda data: bz2.BZ2File(io.BytesIO(bz2.compress(data))),
    "zip": zip_member,
    "decoded": lambda data: Decoded(io.BytesIO(data.hex().encode())),
}


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("size", [0, 7, 3 * CHUNK_SIZE + 5])
def test_a_file_of_any_make_is_not_thought_to_have_become_shorter(source: str, size: int) -> None:
    """All that it reads is content, also where its position and its end mislead."""
    data = sample(size)
    with contextlib.closing(SOURCES[source](data)) as file:
        assert data == b"".join(Content(file))


if SYSTEM_FILES:

    @pytest.mark.parametrize("path", SYSTEM_FILES, ids=str)
    @pytest.mark.parametrize("buffering", [-1, 0])
    def test_a_file_of_the_system_is_read_whatever_size_it_reports(
        path: Path, buffering: int
    ) -> None:
        """Those in /proc report none, and those in /sys a page."""
        with path.open("rb", buffering) as file:
            assert path.read_bytes() == b"".join(Content(file))


@pytest.mark.parametrize("buffering", [-1, 0])
@pytest.mark.parametrize("cut", [0, 1, CHUNK_SIZE, 2 * CHUNK_SIZE + 3])
def test_a_file_that_was_cut_is_corrupt(buffering: int, cut: int) -> None:
    """Wherever reading has got to; the error says how much came of how much."""
    with tempfile.NamedTemporaryFile(buffering=buffering) as file:
        for start in range(0, 3 * CHUNK_SIZE, CHUNK_SIZE):
            file.write(sample(CHUNK_SIZE, str(start)))
        file.seek(5)
        content = Content(file)
        next(content)
        os.truncate(file.name, cut)
        with pytest.raises(Error, match="The file shrank") as caught:
            list(content)
        assert caught.value.kind is Kind.CORRUPT
        assert f"expected {3 * CHUNK_SIZE - 5} bytes, got {content.size}" == caught.value.payload
        assert content.failure is caught.value


def test_a_file_that_was_cut_to_where_it_was_read_from_anyway_is_no_shorter() -> None:
    """What lies before its position does not count."""
    file = io.BytesIO(b"0123456789")
    file.seek(20)
    content = Content(file)
    file.truncate(3)
    assert [] == list(content)


def test_a_file_that_fails_while_it_is_measured_is_read_from_its_position() -> None:
    """A damaged archive is not stored from where its damage was found."""
    data = sample(CHUNK_SIZE)
    packed = gzip.compress(data)
    with gzip.GzipFile(fileobj=io.BytesIO(packed[:-8] + bytes(8))) as file:
        content = Content(file)
        assert content.known_size is None
        assert 0 == file.tell()
        with pytest.raises(gzip.BadGzipFile):
            list(content)


def test_sized_content_over_the_limit_is_refused_at_once() -> None:
    """Nothing is read of what is known to be too large, and the error tells the limit."""
    file = io.BytesIO(b"12345")
    with pytest.raises(Error, match="more than 4 bytes") as caught:
        Content(file, max_size=4)
    assert caught.value.kind is Kind.TOO_LARGE
    assert file.tell() == 0


def test_a_lower_limit_says_where_it_comes_from() -> None:
    """A storage may lower the limit, not raise it; the reason goes into the error."""
    content = Content(iter([b"12345"]), max_size=4)
    content.limit(100, "what fits")
    content.limit(3, "what fits")
    with pytest.raises(Error, match="more than 3 bytes, what fits"):
        next(content)


def test_large_bytes_come_in_chunks() -> None:
    """Bytes are cut without being copied, a string after it is encoded."""
    data = bytes(2 * CHUNK_SIZE + 1)
    assert [CHUNK_SIZE, CHUNK_SIZE, 1] == [len(chunk) for chunk in Content(data)]
    assert all(chunk.obj is data for chunk in Content(data) if isinstance(chunk, memoryview))


def test_a_chunk_is_ours_once_it_is_given() -> None:
    """A buffer that is used again for the next chunk does not change the chunk before."""

    def from_one_buffer() -> Iterator[memoryview]:
        buffer = bytearray(1)
        for number in range(3):
            buffer[0] = number
            yield memoryview(buffer).toreadonly()

    assert b"\0\1\2" == b"".join(list(Content(from_one_buffer())))


@pytest.mark.parametrize("failure", [FileNotFoundError(2, "mine"), KeyboardInterrupt()])
def test_the_failure_of_the_source_is_kept(failure: BaseException) -> None:
    """What the source raises passes as it is, and is remembered as its own."""

    def failing() -> Iterator[bytes]:
        yield b"data"
        raise failure

    content = Content(failing())
    with pytest.raises(type(failure)) as caught:
        list(content)
    assert caught.value is failure
    assert content.failure is failure


async def coroutine() -> bytes:
    """Be what `read` of an asynchronous file gives."""
    return b"data"


class AsyncFile:
    """A file whose `read` has to be awaited."""

    def read(self, size: int) -> Any:
        """Give what has to be awaited."""
        del size
        return coroutine()


@pytest.mark.parametrize(
    ("source", "hint"),
    [
        (None, "got NoneType"),
        (7, "got int"),
        (["text"], r"got str \(open the file in binary mode\)"),
        (io.StringIO("text"), r"got str \(open the file in binary mode\)"),
        (io.StringIO(""), r"got str \(open the file in binary mode\)"),
        (AsyncFile(), r"got coroutine \(pass a synchronous file, or use storage.aio\)"),
        ("\ud800", "lone surrogate at position 0"),
    ],
)
def test_what_is_no_content_is_refused_with_a_hint(source: Any, hint: str) -> None:
    """The error says what was found, and what to give instead."""
    with pytest.raises(Error, match=hint) as caught:
        list(Content(source))
    assert caught.value.kind is Kind.ILL_FORMED
