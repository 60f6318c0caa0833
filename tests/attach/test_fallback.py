"""Two storages as one, while attachments move from the older to the newer."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest
import requests

from attach.fake_server import refused_address
from programs import PATIENCE
from rex.attach import get_storage, open_storage
from rex.attach.backends.fallback import FallbackStorage
from rex.attach.backends.local.storage import LocalStorage
from rex.attach.backends.memory.storage import MemoryStorage
from rex.attach.maintenance import Outcome, copy
from rex.core import Error, Kind, Rex

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from rex.attach.content.reader import Body
    from rex.attach_demo.seaweedfs import SeaweedFS


@pytest.fixture
def moving(tmp_path: Path, seaweedfs: SeaweedFS) -> Iterator[FallbackStorage]:
    """Give a bucket with a directory behind it, each with an attachment of its own."""
    old = LocalStorage(tmp_path)
    new = open_storage(
        f"s3://{seaweedfs.bucket}/moving-{tmp_path.name}?endpoint={seaweedfs.endpoint}",
        access_key=seaweedfs.access_key,
        secret_key=seaweedfs.secret_key,
    )
    with FallbackStorage(new, old) as storage:
        yield storage


def test_the_options_are_those_of_the_new_storage() -> None:
    """All that the operations and the service read from a storage."""
    options: dict[str, Any] = {
        "max_size": 1000,
        "link_expires": 600,
        "link_window": 60,
        "upload_expires": 3600,
        "max_uploads": 7,
        "url": "https://example.org/attach",
        "sendfile": "/_attach",
    }
    moving = FallbackStorage(MemoryStorage(**options), MemoryStorage())
    assert options == {name: getattr(moving, name) for name in options}


def test_what_is_in_either_is_read(moving: FallbackStorage) -> None:
    """From the new one first, and from the old one what is not there."""
    older, newer = moving.old.add("a.txt", b"old"), moving.add("b.txt", b"new")
    assert [older] == [*moving.old]
    assert [newer] == [*moving.new]
    assert (b"old", b"new") == (moving.open(older).read(), moving.open(newer).read())
    assert b"ld" == moving.open(older, start=1).read()
    assert (3, 3) == (moving.stat(older).st_size, moving.info(newer).size)
    assert sorted([older, newer]) == [*moving]
    assert [handle for handle in (older, newer) if handle > older] == [*moving.list(after=older)]
    assert older in moving
    assert newer in moving
    assert moving.reserve("a.txt") not in moving


def test_what_is_in_both_is_listed_once_and_removed_from_both(moving: FallbackStorage) -> None:
    """Whether it was copied already or not, it is gone then."""
    handles = [moving.old.add("a.txt", bytes([number])) for number in range(10)]
    for handle in handles[::2]:
        moving.new.put(handle, moving.old.open(handle))
    assert sorted(handles) == [*moving]
    for handle in handles:
        moving.remove(handle)
        with pytest.raises(Error) as caught:
            moving.remove(handle)
        assert caught.value.kind is Kind.NOT_FOUND
    assert [] == [*moving.new] == [*moving.old] == [*moving]


def test_what_is_in_the_old_one_is_not_put_again(moving: FallbackStorage) -> None:
    """An attachment is written once, wherever it is."""
    handle = moving.old.add("a.txt", b"old")
    with pytest.raises(Error) as caught:
        moving.put(handle, b"new")
    assert caught.value.kind is Kind.EXISTS
    assert [] == [*moving.new]


def test_a_link_leads_to_where_the_attachment_is(moving: FallbackStorage) -> None:
    """Where that makes no links, there is none; the service gives the bytes itself."""
    older, newer = moving.old.add("a.txt", b"old"), moving.add("b.txt", b"new")
    assert b"new" == requests.get(moving.download_link(newer).url, timeout=PATIENCE).content
    with pytest.raises(Error) as caught:
        moving.download_link(older)
    assert caught.value.kind is Kind.UNSUPPORTED
    told = {copied.handle: copied.outcome for copied in copy(moving.old, moving.new)}
    assert {older: Outcome.COPIED, newer: Outcome.EXTRA} == told
    assert b"old" == requests.get(moving.download_link(older).url, timeout=PATIENCE).content
    link = moving.upload_link(moving.reserve("c.txt"), method="PUT")
    requests.put(link.url, b"sent", headers=link.headers, timeout=PATIENCE).raise_for_status()
    assert 2 + 1 == len([*moving.new])


def test_an_unfinished_upload_goes_to_the_new_one(moving: FallbackStorage) -> None:
    """As all that is new."""
    upload = moving.uploads.create("a.txt", size=6)
    moving.uploads.append(upload.handle, 0, b"con")
    moving.uploads.append(upload.handle, 3, b"ten")
    assert b"conten" == moving.new.open(upload.handle).read()


def test_a_new_storage_that_fails_is_not_taken_for_an_empty_one() -> None:
    """What is not there, and what cannot be asked for, are two things."""
    old = MemoryStorage()
    handle = old.add("a.txt", b"old")
    new = open_storage(
        f"s3://bucket?endpoint={refused_address()}", access_key="a", secret_key="b", timeout=0.1
    )
    with FallbackStorage(new, old) as storage:
        for verb in (storage.open, storage.info, storage.remove, storage.download_link):
            with pytest.raises(Error) as caught:
                verb(handle)
            assert caught.value.kind is Kind.UNAVAILABLE


def test_a_reader_goes_on_in_the_other_storage() -> None:
    """It began in the old one, whose stream broke; the attachment has been copied meanwhile."""

    class Breaking(MemoryStorage):
        def _get(self, key: str, start: int, end: int | None) -> Body:
            body = super()._get(key, start, end)
            return body._replace(chunks=iter([next(body.chunks)]))

    old, new = Breaking(), MemoryStorage()
    content = bytes(range(256)) * 4000
    handle = old.add("a.bin", content)
    with FallbackStorage(new, old).open(handle) as stream:
        assert content[:10] == stream.read(10)
        new.put(handle, content)
        assert content[10:] == stream.read()


def test_the_setting_names_the_older_storage(tmp_path: Path) -> None:
    """By its URL; a wrong one is told at the start."""
    with open_storage(f"file://{tmp_path}/old") as old:
        old.check()
        handle = old.add("a.txt", b"old")
    settings = {"attach_dir": str(tmp_path / "new"), "attach_fallback": f"file://{tmp_path}/old"}
    with Rex("rex.attach", **settings) as rex:
        assert b"old" == get_storage().open(handle).read()
        rex.close()
    with pytest.raises(Error) as caught:
        Rex("rex.attach", **settings | {"attach_fallback": "ftp://there"})
    assert caught.value.kind is Kind.CONFIGURATION


def test_nothing_is_lost_or_brought_back_while_all_moves(tmp_path: Path) -> None:
    """Readers, writers and removers go on while everything is copied, over and over."""
    old, new = LocalStorage(tmp_path / "old"), LocalStorage(tmp_path / "new")
    old.check()
    new.check()
    storage = FallbackStorage(new, old)
    kept = {old.add("a.txt", bytes([number])): bytes([number]) for number in range(100)}
    doomed = [old.add("b.txt", b"doomed") for _ in range(100)]
    is_over = threading.Event()

    def read() -> int:
        rounds = 0
        while not is_over.is_set() or rounds == 0:
            for handle, content in kept.items():
                assert content == storage.open(handle).read()
            rounds += 1
        return rounds

    def remove() -> None:
        for handle in doomed:
            storage.remove(handle)
            added = storage.add("c.txt", b"added")
            kept_later.append(added)

    kept_later: list[str] = []
    with ThreadPoolExecutor(4) as pool:
        reading, removing = pool.submit(read), pool.submit(remove)
        rounds = [{each.outcome for each in copy(old, new, workers=4)} for _ in range(3)]
        removing.result()
        rounds.append({each.outcome for each in copy(old, new)})
        is_over.set()
        assert reading.result() > 0
    assert Outcome.COPIED in rounds[0]
    assert rounds[-1] <= {Outcome.SAME, Outcome.EXTRA}
    assert {*kept, *kept_later} == {*storage} == {*new}
    storage.close()
