"""How many requests each verb makes on S3, counted on the way to a real server."""

from __future__ import annotations

import gc
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from attach.counting import CountingRelay
from rex.attach import open_storage
from rex.core import Error

if TYPE_CHECKING:
    from collections.abc import Iterator

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
    """Begin, the parts, complete, is it whole; before, whether a reserved handle is taken."""
    storage.add("a.bin", (bytes(MIB) for _ in range(20)))
    assert ["HEAD"] + ["POST"] * 2 + ["PUT"] * 3 == sorted(relay.taken())
    storage.put(storage.reserve("a.bin"), (bytes(MIB) for _ in range(20)))
    assert ["HEAD"] * 3 + ["POST"] * 2 + ["PUT"] * 3 == sorted(relay.taken())


def test_ill_formed_handles_and_links_make_no_request(
    storage: Storage, relay: CountingRelay
) -> None:
    """What is wrong is known before, and links are computed."""
    with pytest.raises(Error):
        storage.open("/../../etc/passwd")
    storage.upload_link(storage.reserve("a.txt"))
    storage.download_link(storage.reserve("a.txt"))
    assert [] == relay.taken()


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
