"""Promises on reading: an open attachment is a binary file."""

from __future__ import annotations

import errno
import hashlib
import io
import random
import zipfile
from typing import TYPE_CHECKING, Any

from rex.attach.conformance.expectations import expect, expect_error, expect_raises, expect_true
from rex.attach.conformance.promise import promise
from rex.attach.conformance.samples import MIB, sample
from rex.core import Kind

if TYPE_CHECKING:
    from rex.attach.conformance.harness import Harness
    from rex.attach.content.reader import Reader
    from rex.attach.storage import Storage


@promise
def opening_what_is_not_there_fails_at_once(harness: Harness) -> None:
    """`open` itself raises `NOT_FOUND`, not the first read; the error names the handle."""
    with harness.storage() as storage:
        handle = storage.reserve("a.txt")
        error = expect_error(Kind.NOT_FOUND, "open", storage.open, handle)
        expect_true("the error names the handle", handle in str(error))


@promise
def an_attachment_can_be_opened_in_the_middle(harness: Harness) -> None:
    """`open` with a start sets the position; the metadata is complete, and seeking back works."""
    data = sample(3 * MIB + 5)
    with harness.storage() as storage:
        handle = storage.add("a", data)
        for start in (0, 1, MIB - 1, 2 * MIB + 7, len(data) - 1):
            with storage.open(handle, start=start) as stream:
                expect(f"position after open at {start}", start, stream.tell())
                expect(f"read after open at {start}", data[start:][:10], stream.read(10))
                expect(f"rest after open at {start}", data[start + 10 :], stream.read())
                expect(f"info after open at {start}", storage.info(handle), stream.info)
                expect("seek back to the start", 0, stream.seek(0))
                expect("read after seek back", data[:10], stream.read(10))


@promise
def a_part_can_be_opened_by_its_length(harness: Harness) -> None:
    """`open` with a length ends reading there or at the end; the metadata is complete."""
    data = sample(MIB + 5)
    with harness.storage() as storage:
        for name in ("a", "a.zip"):
            handle = storage.add(name, data)
            for start, length in ((0, 0), (0, 1), (7, MIB), (MIB, 5), (MIB, 100), (0, 2**63 - 1)):
                what = f"{length} bytes at {start}"
                with storage.open(handle, start=start, length=length) as stream:
                    expect(f"read after open of {what}", data[start:][:length], stream.read())
                    expect(f"read again after {what}", b"", stream.read(1))
                    expect(f"size after open of {what}", len(data), stream.info.size)
                    expect("seek back to the start", 0, stream.seek(0))
                    expect("read after seek back", data[: start + length][:10], stream.read(10))
        for length in (-1, 2**63):
            what = f"a length of {length}"
            expect_error(Kind.ILL_FORMED, what, storage.open, handle, length=length)


@promise
def opening_past_the_end_reads_nothing(harness: Harness) -> None:
    """A start past the end reads no bytes; an impossible position is `ILL_FORMED`."""
    with harness.storage() as storage:
        for data in (b"0123456789", b""):
            handle = storage.add("a", data)
            for start in (max(len(data), 1), 1000, 2**63 - 1):
                with storage.open(handle, start=start) as stream:
                    expect("read after open past the end", b"", stream.read())
                    expect("size of what is open past the end", len(data), stream.info.size)
                    stream.seek(0)
                    expect("read after seeking back", data, stream.read())
            for start in (-1, 2**63, 10**400):
                expect_error(Kind.ILL_FORMED, f"open at {start}", storage.open, handle, start=start)
        missing = storage.reserve("a")
        expect_error(Kind.NOT_FOUND, "open past nothing", storage.open, missing, start=1000)


@promise
def an_attachment_can_be_read_piece_by_piece(harness: Harness) -> None:
    """`read(n)` returns n bytes, then the rest, then none."""
    data = sample(3 * MIB + 5)
    with harness.storage() as storage, storage.open(storage.add("a", data)) as stream:
        parts = list(iter(lambda: stream.read(100_003), b""))
        expect("chunks joined", data, b"".join(parts))
        expect("size of a chunk", {100_003}, {len(part) for part in parts[:-1]})
        expect("read at the end", b"", stream.read(1))
        expect("read all at the end", b"", stream.read())


@promise
def reading_into_a_buffer_fills_it(harness: Harness) -> None:
    """`readinto` and `readinto1` fill a buffer and return the number of bytes."""
    data = sample(MIB + 100)
    with harness.storage() as storage, storage.open(storage.add("a", data)) as stream:
        expect("bytes read into no buffer", 0, stream.readinto(bytearray()))
        buffer = bytearray(MIB)
        expect("bytes read into the buffer", MIB, stream.readinto(buffer))
        expect("the buffer", data[:MIB], bytes(buffer))
        size = stream.readinto1(buffer)
        expect_true("readinto1 reads some of the rest", size)
        expect("the bytes of readinto1", data[MIB:][:size], bytes(buffer[:size]))


@promise
def lines_can_be_read(harness: Harness) -> None:
    """`readline`, `readlines` and iteration split at line feeds, as with any binary file."""
    lines = [b"first\n", b"\n", b"x" * 200_000 + b"\n", b"\r\n", b"no end"]
    with harness.storage() as storage:
        handle = storage.add("a.txt", lines)
        with storage.open(handle) as stream:
            expect("first line", lines[0], stream.readline())
            expect("other lines", lines[1:], list(stream))
            expect("line at the end", b"", stream.readline())
        with storage.open(handle) as stream, io.TextIOWrapper(stream, "ascii", newline="") as text:
            expect("lines as text", [line.decode() for line in lines], text.readlines())


@promise
def seeking_goes_where_it_is_told(harness: Harness) -> None:
    """`seek` accepts all values of `whence`, and returns the new position."""
    data = sample(100_000)
    with harness.storage() as storage, storage.open(storage.add("a", data)) as stream:
        expect_true("an attachment is seekable", stream.seekable() and stream.readable())
        expect("position at first", 0, stream.tell())
        expect("seek from the start", 10, stream.seek(10))
        expect("read after seek", data[10:20], stream.read(10))
        expect("position after reading", 20, stream.tell())
        expect("seek from here", 15, stream.seek(-5, io.SEEK_CUR))
        expect("read after seek from here", data[15:16], stream.read(1))
        expect("seek from the end", 99_990, stream.seek(-10, io.SEEK_END))
        expect("read at the end", data[-10:], stream.read())
        expect("seek back", 30_000, stream.seek(30_000))
        expect("read after seek back", data[30_000:30_100], stream.read(100))
        expect("seek back to the start", 0, stream.seek(0))
        expect("read again", data, stream.read())


@promise
def seeking_past_the_end_reads_nothing(harness: Harness) -> None:
    """Reading past the end returns no bytes; seeking back works."""
    with harness.storage() as storage:
        for data in (b"0123456789", b""):
            with storage.open(storage.add("a", data)) as stream:
                expect("seek past the end", 1000, stream.seek(1000))
                expect("read past the end", b"", stream.read())
                expect("read some past the end", b"", stream.read(5))
                expect("position past the end", 1000, stream.tell())
                stream.seek(0)
                expect("read after seeking back", data, stream.read())


@promise
def seeking_before_the_start_is_refused(harness: Harness) -> None:
    """A negative position is an OSError, as in a file; an unknown `whence` is a ValueError."""
    with harness.storage() as storage, storage.open(storage.add("a", b"0123456789")) as stream:
        refused = [(-1, io.SEEK_SET), (-11, io.SEEK_END), (-1, io.SEEK_CUR)]
        for offset, whence in refused:
            what = f"seek({offset}, {whence})"
            failure = expect_raises(OSError, what, stream.seek, offset, whence)
            expect(f"number of the failure of {what}", errno.EINVAL, failure.errno)
        expect_raises(ValueError, "seek(0, 9)", stream.seek, 0, 9)
        expect("read after what was refused", b"0123456789", stream.read())


@promise
def random_seeks_read_as_in_a_file_in_memory(harness: Harness) -> None:
    """Seeks and reads in any order have the results of `io.BytesIO`, for any file name."""
    data = sample(5 * MIB)
    chance = random.Random(20261123)  # noqa: S311 - the same steps each time, no secret
    with harness.storage() as storage:
        for name in ("a", "a.zip"):
            model = io.BytesIO(data)
            with storage.open(storage.add(name, data)) as stream:
                for step in range(100):
                    whence = chance.choice((io.SEEK_SET, io.SEEK_CUR, io.SEEK_END))
                    base = (0, model.tell(), len(data))[whence]
                    reach = chance.choice((10, 70_000, len(data)))
                    target = max(0, min(len(data) + 10, base + chance.randint(-reach, reach)))
                    size = chance.choice((0, 1, 10, 4096, 65_536, 300_000))
                    what = f"{name}, {step}: seek({target - base}, {whence}) and read({size})"
                    expect(what, model.seek(target), stream.seek(target - base, whence))
                    expect(what, model.read(size), stream.read(size))


@promise
def large_attachments_can_be_read_from_anywhere(harness: Harness) -> None:
    """Reads around the boundaries of 1 MiB and 8 MiB return the right bytes."""
    data = sample(17 * MIB)
    with harness.storage() as storage, storage.open(storage.add("a", data)) as stream:
        for border in (16 * MIB, 8 * MIB, MIB, 2 * MIB):
            for position in (border - 1, border, border + 1):
                stream.seek(position)
                expect(f"3 bytes at {position}", data[position : position + 3], stream.read(3))
        stream.seek(-1, io.SEEK_END)
        expect("last byte", data[-1:], stream.read())


@promise
def a_closed_attachment_cannot_be_read(harness: Harness) -> None:
    """Reading and seeking after `close` or ``with`` is a ValueError; closing again is allowed."""
    with harness.storage() as storage:
        handle = storage.add("a", b"0123456789")
        stream = storage.open(handle)
        with stream as entered:
            expect_true("entering returns the stream itself", entered is stream)
            stream.read(1)
        expect_true("it is closed after with", stream.closed)
        for what in ("read", "readline", "tell"):
            expect_raises(ValueError, what, getattr(stream, what))
        expect_raises(ValueError, "seek", stream.seek, 0)
        expect_raises(ValueError, "readinto", stream.readinto, bytearray(1))
        stream.close()


@promise
def an_attachment_cannot_be_written_to(harness: Harness) -> None:
    """An open attachment is not writable."""
    with harness.storage() as storage:
        handle = storage.add("a", b"0123456789")
        with storage.open(handle) as stream:
            loose: Any = stream
            expect("whether it is writable", False, loose.writable())
            expect_raises(OSError, "write", loose.write, b"x")
            expect_raises(OSError, "truncate", loose.truncate, 1)
        with storage.open(handle) as stream:
            expect("content", b"0123456789", stream.read())


@promise
def an_open_attachment_has_the_attributes_of_a_file(harness: Harness) -> None:
    """An open attachment has the name of the file, and the mode of a binary file."""
    with harness.storage() as storage, storage.open(storage.add("ä b.txt", b"x")) as stream:
        expect("name", "ä b.txt", stream.name)
        expect("mode", "rb", stream.mode)
        expect_true("the attachment is not a terminal", not stream.isatty())


@promise
def what_is_missing_can_be_caught_as_a_missing_file(harness: Harness) -> None:
    """A `NOT_FOUND` error of any operation is also a FileNotFoundError."""
    with harness.storage() as storage:
        handle = storage.reserve("a.txt")
        for operation in (storage.open, storage.info, storage.stat, storage.remove):
            expect_raises(FileNotFoundError, operation.__name__, operation, handle)


@promise
def damage_is_noticed_before_the_last_byte_is_read(harness: Harness) -> None:
    """Reading sequentially to the end raises `CORRUPT` unless the recorded SHA-256 matches."""
    with harness.storage() as storage:
        for size in (1, 100_000, 3 * MIB):
            handle = storage.add("a.bin", sample(size))
            if storage.info(handle).digest is None or not harness.damage(storage, handle):
                continue
            expect_error(Kind.CORRUPT, "read_cached", _read_cached_or_whole, storage, handle)
            with storage.open(handle) as stream:
                error = expect_error(Kind.CORRUPT, "read", stream.read)
                expect_true("the error is an OSError", isinstance(error, OSError))
                expect_true("the error names the handle", handle in str(error))
            with storage.open(handle) as stream:
                got = bytearray()
                expect_error(Kind.CORRUPT, "readinto", _read_to_the_end, stream, got)
                expect_true("the last bytes are withheld", len(got) < size)
                expect_error(Kind.CORRUPT, "another read", stream.read)


@promise
def two_readers_do_not_disturb_each_other(harness: Harness) -> None:
    """Two open readers of one attachment have independent positions."""
    data = sample(2 * MIB)
    with harness.storage() as storage:
        handle = storage.add("a", data)
        with storage.open(handle) as one, storage.open(handle) as other:
            expect("first of one", data[:MIB], one.read(MIB))
            expect("first of the other", data[:10], other.read(10))
            other.close()
            expect("rest of one", data[MIB:], one.read())


@promise
def a_reader_that_is_dropped_does_no_harm(harness: Harness) -> None:
    """A reader may be closed or dropped before its end without harm."""
    data = sample(3 * MIB)
    with harness.storage() as storage:
        handle = storage.add("a", data)
        for _ in range(20):
            storage.open(handle).close()
            storage.open(handle).read(1)
        with storage.open(handle) as stream:
            expect("content", data, stream.read())


@promise
def an_archive_can_be_read_in_place(harness: Harness) -> None:
    """`zipfile` and `hashlib.file_digest` accept an open attachment like a file."""
    files = {f"file-{number}.bin": sample(300_000, str(number)) for number in range(5)}
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as written:
        for name, data in files.items():
            written.writestr(name, data)
    with harness.storage() as storage:
        handle = storage.add("files.zip", archive.getvalue())
        with storage.open(handle) as stream, zipfile.ZipFile(stream) as opened:
            expect("damaged file in the archive", None, opened.testzip())
            for name in reversed(opened.namelist()):
                expect(f"{name} in the archive", files[name], opened.read(name))
        with storage.open(handle) as stream:
            expected = hashlib.sha256(archive.getvalue()).hexdigest()
            expect("digest", expected, hashlib.file_digest(stream, "sha256").hexdigest())
        for content in (b"", b"x", b"no archive at all" * 3):
            with storage.open(storage.add("files.zip", content)) as stream:
                what = f"whether {len(content)} bytes are an archive"
                expect(what, False, zipfile.is_zipfile(stream))


def _read_cached_or_whole(storage: Storage, handle: str) -> bytes:
    cached = storage.read_cached(handle)
    if cached is not None:
        return cached[1]
    with storage.open(handle) as stream:
        return stream.read()


def _read_to_the_end(stream: Reader, into: bytearray) -> None:
    buffer = bytearray(10_000)
    while size := stream.readinto(buffer):
        into += buffer[:size]
