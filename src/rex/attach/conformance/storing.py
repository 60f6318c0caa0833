"""Promises on storing: content comes back byte for byte."""

from __future__ import annotations

import array
import hashlib
import io
import os
import tempfile
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from rex.attach.conformance.expectations import (
    expect,
    expect_error,
    expect_nothing_stored,
    expect_round_trip,
    expect_true,
)
from rex.attach.conformance.promise import promise
from rex.attach.conformance.samples import MIB, CutFile, ShortFile, sample, split_chunks
from rex.core import Kind

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rex.attach.conformance.harness import Harness


@promise
def an_empty_attachment_comes_back_empty(harness: Harness) -> None:
    """Empty content of every type comes back empty."""
    with harness.storage() as storage:
        sorts: list[Any] = [b"", "", bytearray(), memoryview(b""), io.BytesIO(), [], iter([b""])]
        for nothing in sorts:
            expect_round_trip(storage, nothing, b"")


@promise
def a_single_byte_comes_back(harness: Harness) -> None:
    """A single byte comes back."""
    with harness.storage() as storage:
        expect_round_trip(storage, b"\0", b"\0")
        expect_round_trip(storage, iter([b"\xff"]), b"\xff")


@promise
def every_byte_comes_back_as_it_is(harness: Harness) -> None:
    """No byte is decoded, translated, compressed or stripped."""
    with harness.storage() as storage:
        data = bytes(range(256)) + b"\r\n\n\r \t\0\x1a" + b"\x1f\x8b\x08"
        expect_round_trip(storage, data, data)


@promise
def content_around_a_mebibyte_comes_back(harness: Harness) -> None:
    """The boundary of a chunk neither loses nor repeats a byte."""
    with harness.storage() as storage:
        for size in (MIB - 1, MIB, MIB + 1):
            data = sample(size)
            expect_round_trip(storage, data, data)
            expect_round_trip(storage, split_chunks(data, 300_007), data)


@promise
def content_around_eight_mebibytes_comes_back(harness: Harness) -> None:
    """The boundary of a part neither loses nor repeats a byte."""
    with harness.storage() as storage:
        for size in (8 * MIB - 1, 8 * MIB, 8 * MIB + 1):
            data = sample(size)
            expect_round_trip(storage, data, data)
            expect_round_trip(storage, split_chunks(data, MIB), data)


@promise
def twenty_mebibytes_come_back(harness: Harness) -> None:
    """Large content comes back complete, of known or unknown size."""
    with harness.storage() as storage:
        data = sample(20 * MIB)
        expect_round_trip(storage, io.BytesIO(data), data)
        expect_round_trip(storage, split_chunks(data, 700_001), data)


@promise
def a_string_is_stored_as_utf_8(harness: Harness) -> None:
    """A string is stored as UTF-8, without a byte order mark, with unchanged line endings."""
    with harness.storage() as storage:
        text = "naïve 中文 \N{GRINNING FACE}\r\nline\n"
        expect_round_trip(storage, text, text.encode())


@promise
def bytes_of_every_type_are_stored_alike(harness: Harness) -> None:
    """`bytes`, `bytearray` and `memoryview` with the same bytes are the same content."""
    with harness.storage() as storage:
        data = sample(70_000)
        for given in (data, bytearray(data), memoryview(data), memoryview(data).toreadonly()):
            expect_round_trip(storage, given, data)


@promise
def a_view_of_larger_items_is_stored_as_its_bytes(harness: Harness) -> None:
    """A `memoryview` of any items and strides is stored as its bytes."""
    with harness.storage() as storage:
        numbers = array.array("I", range(1000))
        expect_round_trip(storage, memoryview(numbers), numbers.tobytes())
        expect_round_trip(storage, [memoryview(numbers)], numbers.tobytes())
        data = sample(1000)
        expect_round_trip(storage, memoryview(data)[::2], data[::2])
        expect_round_trip(storage, [memoryview(data)[::-1]], data[::-1])


@promise
def a_file_is_read_from_where_it_stands(harness: Harness) -> None:
    """A file is stored from its position to its end."""
    with harness.storage() as storage:
        data = sample(2 * MIB)
        for position in (0, 1, MIB, len(data), len(data) + 5):
            file = io.BytesIO(data)
            file.seek(position)
            expect_round_trip(storage, file, data[position:])


@promise
def a_file_is_left_open_and_at_its_end(harness: Harness) -> None:
    """The caller's file is neither closed nor rewound."""
    with harness.storage() as storage:
        file = io.BytesIO(sample(100_000))
        file.seek(10)
        storage.add("sample.bin", file)
        expect_true("the file is still open", not file.closed)
        expect("position of the file", 100_000, file.tell())


@promise
def a_file_on_disk_is_stored(harness: Harness) -> None:
    """A file from `open` is stored, buffered or not."""
    data = sample(3 * MIB + 17)
    with harness.storage() as storage, tempfile.TemporaryFile(buffering=0) as raw:
        for start in range(0, len(data), MIB):
            raw.write(data[start : start + MIB])
        raw.seek(17)
        expect_round_trip(storage, raw, data[17:])
        raw.seek(0)
        with os.fdopen(os.dup(raw.fileno()), "rb") as buffered:
            expect_round_trip(storage, buffered, data)


@promise
def a_pipe_is_stored_to_its_end(harness: Harness) -> None:
    """A file without a size, without seeking and with short reads is stored completely."""
    data = sample(2 * MIB + 3)
    with harness.storage() as storage:
        for buffering in (-1, 0):
            reading, writing = os.pipe()
            writer = threading.Thread(target=_write, args=(writing, data))
            writer.start()
            with os.fdopen(reading, "rb", buffering) as pipe:
                expect_round_trip(storage, pipe, data)
            writer.join()


@promise
def a_file_that_gives_little_at_a_time_is_stored_whole(harness: Harness) -> None:
    """A short read is not the end; a file needs only `read`."""
    with harness.storage() as storage:
        data = sample(40_000)
        expect_round_trip(storage, ShortFile(data, 777), data)


@promise
def a_file_that_became_shorter_is_refused(harness: Harness) -> None:
    """A file that shrinks while it is read is `CORRUPT`, and nothing is stored."""
    with harness.storage() as storage:
        for size, cut in ((2 * MIB, MIB), (6 * MIB, MIB + 1), (20 * MIB, 5 * MIB), (2 * MIB, 0)):
            what = f"{size} bytes cut to {cut}"
            expect_error(Kind.CORRUPT, what, storage.add, "a.log", CutFile(sample(size), cut))
            file = CutFile(sample(size), cut)
            expect_error(Kind.CORRUPT, what, storage.put, storage.reserve("a.log"), file)
        expect_nothing_stored(harness, storage)


@promise
def a_file_that_grows_is_stored_to_its_end(harness: Harness) -> None:
    """A file that grows while it is read is stored up to its new end."""
    with harness.storage() as storage:
        for size, more in ((2 * MIB, 3), (6 * MIB, 5 * MIB), (20 * MIB, MIB)):
            file = CutFile(sample(size), size + more)
            handle = expect_round_trip(storage, file, sample(size) + sample(more))
            storage.remove(handle)


@promise
def chunks_of_any_size_are_joined(harness: Harness) -> None:
    """The chunks of an iterable are joined, of any size and bytes-like type."""
    with harness.storage() as storage:
        data = sample(5000)
        chunks: list[Any] = [
            b"",
            data[:1],
            memoryview(data)[1:1000],
            b"",
            bytearray(data[1000:4999]),
        ]
        expect_round_trip(storage, [*chunks, b"", data[4999:], b""], data)
        expect_round_trip(storage, iter([*chunks, b"", data[4999:]]), data)
        expect_round_trip(storage, (data[at : at + 1] for at in range(len(data))), data)


@promise
def one_huge_chunk_is_stored_whole(harness: Harness) -> None:
    """An iterable may yield one huge chunk, or a small one and then a huge one."""
    with harness.storage() as storage:
        data = sample(9 * MIB)
        expect_round_trip(storage, iter([data]), data)
        expect_round_trip(storage, iter([data[:5], data[5:]]), data)


@promise
def a_buffer_may_be_used_again_for_the_next_chunk(harness: Harness) -> None:
    """An iterable may reuse the buffer of a chunk for the next one."""
    with harness.storage() as storage:
        for data in (sample(10_000), sample(10 * MIB)):
            size = -(-len(data) // 7)
            expect_round_trip(storage, _from_one_buffer(data, size), data)


@promise
def equal_content_is_stored_each_time(harness: Harness) -> None:
    """`add` never overwrites: the same name and content make a new attachment."""
    with harness.storage() as storage:
        handles = [storage.add("same.txt", b"same") for _ in range(5)]
        expect("different handles", 5, len(set(handles)))
        expect("attachments listed", sorted(handles), list(storage))


def _write(fd: int, data: bytes) -> None:
    # A storage that does not read to the end fails later, where its content is compared.
    with suppress(BrokenPipeError), os.fdopen(fd, "wb") as file:
        file.write(data)


def _from_one_buffer(data: bytes, size: int) -> Iterator[memoryview]:
    buffer = bytearray(size)
    for chunk in split_chunks(data, size):
        buffer[: len(chunk)] = chunk
        yield memoryview(buffer)[: len(chunk)]
    buffer[:] = bytes(size)


@promise
def content_of_another_digest_is_refused(harness: Harness) -> None:
    """Content that does not match the given digest is `CORRUPT`, and is not stored."""
    other = hashlib.sha256(b"other").hexdigest()
    with harness.storage() as storage:
        for size in (0, 1, 9 * MIB):
            data = sample(size)
            digest = hashlib.sha256(data).hexdigest()
            handle = storage.add("a.bin", io.BytesIO(data), digest=digest)
            expect_true("a recorded digest is right", storage.info(handle).digest in (None, digest))
            storage.remove(handle)
            for content in (data, split_chunks(data, 300_007)):
                what = f"{size} bytes with a different digest"
                expect_error(Kind.CORRUPT, what, storage.add, "a.bin", content, digest=other)
        for ill_formed in ("", other[1:], other.upper()):
            what = f"the digest {ill_formed!r}"
            expect_error(Kind.ILL_FORMED, what, storage.add, "a.bin", b"", digest=ill_formed)
        expect_nothing_stored(harness, storage)
