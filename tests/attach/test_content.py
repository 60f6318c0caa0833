"""Content: counted, hashed and limited, from whatever it is read."""

from __future__ import annotations

import hashlib
import io
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rex.attach.content import CHUNK_SIZE, Content
from rex.core import Error, Kind

if TYPE_CHECKING:
    from collections.abc import Iterator

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
        (AsyncFile(), r"got coroutine \(give the synchronous file, or use storage.aio\)"),
        ("\ud800", "half of a surrogate pair at position 0"),
    ],
)
def test_what_is_no_content_is_refused_with_a_hint(source: Any, hint: str) -> None:
    """The error says what was found, and what to give instead."""
    with pytest.raises(Error, match=hint) as caught:
        list(Content(source))
    assert caught.value.kind is Kind.ILL_FORMED
