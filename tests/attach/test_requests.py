"""How many requests each verb makes on S3, counted on the way to a real server."""

from __future__ import annotations

import gc
import io
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from attach.counting import CountingRelay
from rex.attach import open_storage
from rex.attach.conformance.samples import sample
from rex.core import Error

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from rex.attach import Storage
    from rex.attach_demo.seaweedfs import SeaweedFS

MIB = 1024 * 1024


@pytest.fixture
def relay(seaweedfs: SeaweedFS) -> Iterator[CountingRelay]:
    """Count what goes to the server."""
    with CountingRelay(seaweedfs.endpoint) as relay:
        yield relay


@pytest.fixture
def storage(seaweedfs: SeaweedFS, relay: CountingRelay) -> Iterator[Storage]:
    """Use the server through the relay."""
    keys = {"access_key": seaweedfs.access_key, "secret_key": seaweedfs.secret_key}
    url = f"s3://{seaweedfs.bucket}/requests?endpoint={relay.endpoint}"
    with open_storage(url, **keys) as storage:
        yield storage


def test_a_small_add_is_one_request(storage: Storage, relay: CountingRelay) -> None:
    """Whatever the content is: bytes, or an iterable of unknown size, up to 8 MiB."""
    storage.add("a.txt", b"content")
    assert ["PUT"] == relay.taken()
    storage.add("a.txt", (bytes(MIB) for _ in range(8)))
    assert ["PUT"] == relay.taken()


def test_opening_and_reading_is_one_request(storage: Storage, relay: CountingRelay) -> None:
    """The answer to the GET says what the attachment is, too."""
    handle = storage.add("a.txt", bytes(3 * MIB))
    relay.taken()
    with storage.open(handle) as stream:
        assert 3 * MIB == stream.info.size
        assert 3 * MIB == len(stream.read())
    assert ["GET"] == relay.taken()


def test_a_far_seek_is_one_more_request(storage: Storage, relay: CountingRelay) -> None:
    """And a near one is none: the bytes between are read."""
    handle = storage.add("a.bin", bytes(12 * MIB))
    relay.taken()
    with storage.open(handle) as stream:
        stream.seek(100_000)
        stream.read(10)
        assert ["GET"] == relay.taken()
        stream.seek(11 * MIB)
        stream.read(10)
        assert ["GET"] == relay.taken()


def test_measuring_before_reading_is_no_further_request(
    storage: Storage, relay: CountingRelay
) -> None:
    """As those do who ask for the size first, by a seek to the end and back."""
    handle = storage.add("a.txt", bytes(3 * MIB))
    relay.taken()
    with storage.open(handle) as stream:
        assert 3 * MIB == stream.seek(0, io.SEEK_END)
        assert 0 == stream.seek(0)
        assert 3 * MIB == len(stream.read())
    assert ["GET"] == relay.taken()


def test_what_is_read_in_parts_is_transferred_in_parts(
    storage: Storage, relay: CountingRelay
) -> None:
    """An archive's list, one file in it, the head of an image, and then all of each, once."""
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as written:
        for number in range(200):
            written.writestr(f"dir/member{number:04}.bin", sample(200_000, str(number)))
    handle = storage.add("a.zip", archive.getvalue())
    reads: list[tuple[float, int, Callable[[zipfile.ZipFile], object]]] = [
        (128_000, 4, lambda opened: opened.namelist()),
        (500_000, 6, lambda opened: opened.read("dir/member0150.bin")),
        (1.02 * len(archive.getvalue()), 20, lambda opened: opened.testzip()),
    ]
    for most, requests, read in reads:
        forget(relay)
        with storage.open(handle) as stream, zipfile.ZipFile(stream) as opened:
            read(opened)
        assert relay.received() <= most
        assert len(relay.taken()) <= requests
    image = storage.add("a.jpeg", bytes(14 * MIB))
    forget(relay)
    with storage.open(image) as stream:
        assert bytes(10) == stream.read(10)
        stream.seek(0)
        assert bytes(20) == stream.read(20)
    assert ["GET"] == relay.taken()
    assert relay.received() <= 128_000


def forget(relay: CountingRelay) -> None:
    """Begin to count."""
    relay.taken()
    relay.received()


def test_columns_are_transferred_and_what_is_between_is_not(
    storage: Storage, relay: CountingRelay
) -> None:
    """Each part that is read at once, wherever it is, is one request of little more."""
    data = sample(24 * MIB)
    handle = storage.add("a.parquet", data)
    forget(relay)
    parts = [(start, 800_001) for start in range(MIB, 24 * MIB, 5 * MIB)]
    with storage.open(handle) as stream:
        for start, length in [(24 * MIB - 8, 8), *parts]:
            stream.seek(start)
            assert data[start : start + length] == stream.read(length)
    assert ["GET"] * (2 + len(parts)) == relay.taken()
    assert relay.received() <= 1.15 * sum(length for _, length in parts) + 64 * 1024


def test_a_length_is_one_request_for_just_that(storage: Storage, relay: CountingRelay) -> None:
    """A length past the end is for all there is, under any name."""
    data = sample(6 * MIB)
    handle = storage.add("a.zip", data)
    forget(relay)
    with storage.open(handle, start=MIB, length=100_000) as stream:
        assert data[MIB : MIB + 100_000] == stream.read()
    assert ["GET"] == relay.taken()
    assert relay.received() <= 102_000
    with storage.open(handle, length=2**63 - 1) as stream:
        assert data == stream.read()
    assert ["GET"] == relay.taken()


def test_a_limit_divides_reading_into_requests_and_can_be_lifted(
    storage: Storage, relay: CountingRelay
) -> None:
    """No byte is transferred twice."""
    data = sample(6 * MIB)
    handle = storage.add("a.bin", data)
    forget(relay)
    with storage.open(handle, request_size=MIB) as stream:
        assert data[: 3 * MIB] == b"".join(stream.stream.read_full(MIB) for _ in range(3))
        assert ["GET"] * 3 == relay.taken()
        stream.stream.request_limit = None
        assert data[3 * MIB :] == stream.read()
    assert ["GET"] == relay.taken()
    assert relay.received() <= 6.1 * MIB


def test_a_released_reader_continues_where_it_was(storage: Storage, relay: CountingRelay) -> None:
    """With one more request, and with the comparison of the digest."""
    data = sample(6 * MIB)
    handle = storage.add("a.bin", data)
    forget(relay)
    with storage.open(handle) as stream:
        assert data[:MIB] == stream.stream.read_full(MIB)
        stream.stream.release()
        stream.stream.release()
        assert data[MIB:] == stream.stream.read_full(6 * MIB)
    assert ["GET", "GET"] == relay.taken()


@pytest.mark.parametrize("name", ["a.txt", "a.zip"])
def test_an_empty_attachment_can_be_opened_by_any_name(storage: Storage, name: str) -> None:
    """Though a server has no part of nothing to give."""
    handle = storage.add(name, b"")
    for options in ({}, {"length": 10}, {"start": 5}, {"start": 5, "length": 0}):
        with storage.open(handle, **options) as stream:
            assert (0, b"") == (stream.info.size, stream.read())


def test_info_and_stat_are_one_request(storage: Storage, relay: CountingRelay) -> None:
    """A HEAD, also for what is missing."""
    handle = storage.add("a.txt", b"content")
    relay.taken()
    storage.info(handle)
    storage.stat(handle)
    assert ["HEAD", "HEAD"] == relay.taken()
    with pytest.raises(Error):
        storage.stat(storage.reserve("a.txt"))
    assert ["HEAD"] == relay.taken()


def test_removing_is_two_requests(storage: Storage, relay: CountingRelay) -> None:
    """S3 does not say whether there was anything to delete, so it is asked first."""
    handle = storage.add("a.txt", b"content")
    relay.taken()
    storage.remove(handle)
    assert ["HEAD", "DELETE"] == relay.taken()


def test_listing_is_one_request_a_page(storage: Storage, relay: CountingRelay) -> None:
    """A page of S3 has up to 1,000."""
    storage.add("a.txt", b"content")
    relay.taken()
    assert len(list(storage)) >= 1
    assert ["GET"] == relay.taken()


def test_a_large_add_is_parts_and_three_more(storage: Storage, relay: CountingRelay) -> None:
    """Begin, the parts, complete, is it whole; a reserved handle is looked at, and claimed."""
    storage.add("a.bin", (bytes(MIB) for _ in range(20)))
    assert ["HEAD"] + ["POST"] * 2 + ["PUT"] * 3 == sorted(relay.taken())
    storage.put(storage.reserve("a.bin"), (bytes(MIB) for _ in range(20)))
    assert ["DELETE"] + ["HEAD"] * 3 + ["POST"] * 2 + ["PUT"] * 4 == sorted(relay.taken())


def test_ill_formed_handles_and_links_make_no_request(
    storage: Storage, relay: CountingRelay
) -> None:
    """What is wrong is known before, and links are computed."""
    with pytest.raises(Error):
        storage.open("/../../etc/passwd")
    storage.upload_link(storage.reserve("a.txt"))
    storage.download_link(storage.reserve("a.txt"))
    assert [] == relay.taken()


@pytest.mark.long
def test_connections_end_with_the_storage(seaweedfs: SeaweedFS) -> None:
    """Many storages, one after another, keep no more files open than one does."""
    keys = {"access_key": seaweedfs.access_key, "secret_key": seaweedfs.secret_key}
    url = f"s3://{seaweedfs.bucket}/requests?endpoint={seaweedfs.endpoint}"
    opened = []
    for _ in range(20):
        with open_storage(url, **keys) as storage:
            storage.add("a.txt", b"content")
        del storage
        gc.collect()
        opened.append(sum(1 for _ in Path("/proc/self/fd").iterdir()))
    assert max(opened) < min(opened) + len(opened) / 2
