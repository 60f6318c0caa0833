"""Copying all attachments to another storage: nothing is lost, overwritten or sent twice."""

from __future__ import annotations

import collections
import datetime
import gzip
import threading
from typing import TYPE_CHECKING, Any

import pytest

from attach.harnesses import s3_client
from programs import PATIENCE
from rex.attach import open_storage
from rex.attach.backends.local.storage import LocalStorage
from rex.attach.backends.memory.storage import MemoryStorage
from rex.attach.maintenance import Copied, Outcome, copy, copying
from rex.attach.maintenance.concurrent import map_concurrently
from rex.attach.maintenance.throttle import Throttle
from rex.core import Error, Kind

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from rex.attach import Storage
    from rex.attach.content.reader import Body
    from rex.attach_demo.seaweedfs import SeaweedFS

MIB = 1024 * 1024
NAMES = ("a.txt", "ü b.png", "c.tar.gz", "no extension", "100%.pdf")


class Operation(MemoryStorage):
    """A storage that tells what was read and written; `meanwhile` is called after each read."""

    def __init__(self) -> None:
        super().__init__()
        self.read: list[str] = []
        self.meanwhile: Callable[[str], object] = bool

    def _get(self, key: str, start: int, end: int | None) -> Body:
        self.read.append(f"/{key}")
        body = super()._get(key, start, end)
        self.meanwhile(f"/{key}")
        return body


def filled(storage: Storage, number: int = 20) -> dict[str, bytes]:
    """Add some attachments."""
    contents = {}
    for each in range(number):
        content = bytes([each]) * each * 1000
        name = NAMES[each % len(NAMES)]
        contents[storage.add(name, content, content_type=f"text/x-{each}")] = content
    return contents


def counted(results: Iterator[Copied]) -> dict[Outcome, int]:
    """Count what became of all."""
    return dict(collections.Counter(result.outcome for result in results))


def contents(storage: Storage) -> dict[str, tuple[bytes, str]]:
    """Give all that is in a storage, with the types."""
    found = {}
    for handle in storage:
        with storage.open(handle) as stream:
            found[handle] = stream.read(), stream.info.content_type
    return found


@pytest.fixture(params=["memory to directory", "directory to S3", "S3 to directory"])
def pair(
    request: pytest.FixtureRequest, tmp_path: Path, seaweedfs: SeaweedFS
) -> Iterator[tuple[Storage, Storage]]:
    """Give two storages of different kinds."""
    url = f"s3://{seaweedfs.bucket}/copy-{tmp_path.name}?endpoint={seaweedfs.endpoint}"
    keys = {"access_key": seaweedfs.access_key, "secret_key": seaweedfs.secret_key}
    with LocalStorage(tmp_path) as directory, open_storage(url, **keys) as s3:
        kinds: dict[str, Storage] = {"memory": MemoryStorage(), "directory": directory, "S3": s3}
        one, other = request.param.split(" to ")
        yield kinds[one], kinds[other]


def test_all_are_copied_as_they_are(pair: tuple[Storage, Storage]) -> None:
    """Handles, bytes, types and digests, also of what is sent in parts; and again sends nothing."""
    source, dest = pair
    filled(source)
    large = source.add("large.bin", (bytes([number]) * MIB for number in range(10)))
    assert {Outcome.COPIED: 21} == counted(copy(source, dest))
    assert contents(source) == contents(dest)
    assert source.info(large).digest in (None, dest.info(large).digest)
    assert {Outcome.SAME: 21} == counted(copy(source, dest))
    assert {Outcome.SAME: 21} == counted(copy(dest, source))


@pytest.mark.parametrize("seconds", [PATIENCE, 0])
def test_large_ones_take_turns(
    seconds: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One at a time of four; those that wait keep the bytes that they asked for, for a while."""
    monkeypatch.setattr(copying, "WAITING_SECONDS", seconds)
    source = Operation()
    # Over 8 MiB.
    handles = [source.add("large.bin", bytes([each]) * (9 * MIB)) for each in range(6)]
    storing: set[str] = set()

    class Turns(LocalStorage):
        def _put(self, key: str, *args: Any, **options: Any) -> Any:
            assert not storing
            storing.add(key)
            try:
                return super()._put(key, *args, **options)
            finally:
                storing.remove(key)

    with Turns(tmp_path) as dest:
        assert {Outcome.COPIED: 6} == counted(copy(source, dest, workers=4))
        asked = collections.Counter(source.read)
        assert contents(source) == contents(dest)
    assert {*handles} == {*asked}
    if seconds:
        assert {1} == {*asked.values()}


@pytest.mark.parametrize("dry_run", [False, True])
def test_what_was_stored_in_a_coding_is_not_copied(
    tmp_path: Path, seaweedfs: SeaweedFS, *, dry_run: bool
) -> None:
    """Where it would be another file: no storage of ours records that browsers decode it."""
    endpoint, keys = seaweedfs.endpoint, (seaweedfs.access_key, seaweedfs.secret_key)
    client = s3_client(endpoint, *keys)
    url = f"s3://{seaweedfs.bucket}/coded-{tmp_path.name}?endpoint={endpoint}"
    with open_storage(url, access_key=keys[0], secret_key=keys[1]) as source:
        plain, coded = source.add("a.txt", b"plain"), source.reserve("b.txt")
        client.put_object(
            Bucket=seaweedfs.bucket,
            Key=f"coded-{tmp_path.name}{coded}",
            Body=gzip.compress(b"coded"),
            ContentEncoding="gzip",
        )
        dest = MemoryStorage()
        results = {one.handle: one for one in copy(source, dest, dry_run=dry_run)}
        assert Outcome.COPIED is results[plain].outcome
        assert (Outcome.FAILED, False) == (results[coded].outcome, results[coded].is_fine)
        assert "Content-Encoding: gzip" in results[coded].reason
        assert [] == [handle for handle in dest if handle != plain]


def test_what_is_there_is_not_read_again() -> None:
    """An interrupted copy goes on: only what is missing is read, however often."""
    source, dest = Operation(), MemoryStorage()
    filled(source, 100)
    results = copy(source, dest, workers=2)
    for _ in range(30):
        next(results)
    results.close()
    begun = len([*dest])
    assert 30 <= begun < 100
    assert begun <= len(source.read) <= begun + 2  # what was in progress has ended
    source.read.clear()
    assert {Outcome.SAME: begun, Outcome.COPIED: 100 - begun} == counted(copy(source, dest))
    assert 100 - begun == len(source.read)
    assert contents(source) == contents(dest)


def test_what_is_different_is_told_and_left_alone() -> None:
    """Another size, or another digest, under the same handle."""
    source, dest = MemoryStorage(), MemoryStorage()
    shorter, other, same = filled(source, 3)
    dest.put(shorter, b"longer")
    dest.put(other, bytes(1000))
    before = contents(dest)
    results = {result.handle: result for result in copy(source, dest)}
    assert [Outcome.DIFFERS] * 2 == [results[handle].outcome for handle in (shorter, other)]
    assert Outcome.COPIED == results[same].outcome
    reasons = [results[handle].reason for handle in (shorter, other)]
    assert ["6 bytes, not 0", "different digest"] == reasons
    assert not results[other].is_fine
    assert before.items() <= contents(dest).items()


def test_bytes_are_compared_where_a_digest_is_missing(tmp_path: Path) -> None:
    """Somebody else put the file there; it counts as the same only if it is."""
    source, dest = MemoryStorage(), LocalStorage(tmp_path)
    _, same, other = filled(source, 3)
    for handle, content in ((same, bytes([1]) * 1000), (other, bytes(2000))):
        path = tmp_path / handle[1:]
        path.parent.mkdir(parents=True)
        path.write_bytes(content)
    results = {result.handle: result for result in copy(source, dest)}
    assert (Outcome.SAME, "") == (results[same].outcome, results[same].reason)
    assert (Outcome.DIFFERS, "different bytes") == (results[other].outcome, results[other].reason)


def test_a_dry_run_changes_nothing() -> None:
    """It tells what would be done."""
    source, dest = MemoryStorage(), MemoryStorage()
    filled(source)
    extra = dest.add("extra.txt", b"extra")
    told = counted(copy(source, dest, dry_run=True, delete_extra=True))
    assert {Outcome.COPIED: 20, Outcome.REMOVED: 1} == told
    assert [extra] == [*dest]


def test_what_is_extra_stays_unless_it_is_to_go() -> None:
    """And it goes only if the source has something: it may be a disk that is not mounted."""
    source, dest = MemoryStorage(), MemoryStorage()
    extra = dest.add("extra.txt", b"extra")
    assert {Outcome.EXTRA: 1} == counted(copy(source, dest, delete_extra=True))
    handle = source.add("a.txt", b"content")
    assert {Outcome.COPIED: 1, Outcome.EXTRA: 1} == counted(copy(source, dest))
    assert {handle, extra} == {*dest}
    told = counted(copy(source, dest, delete_extra=True))
    assert {Outcome.SAME: 1, Outcome.REMOVED: 1} == told
    assert [handle] == [*dest]


def test_what_is_no_attachment_is_refused_and_told(tmp_path: Path) -> None:
    """It is never written."""
    source, dest = LocalStorage(tmp_path), MemoryStorage()
    handle = source.add("a.txt", b"content")
    stray = (tmp_path / handle[1:]).parents[1] / "not-an-id/b.txt"
    stray.parent.mkdir()
    stray.write_bytes(b"stray")
    results = {result.handle: result.outcome for result in copy(source, dest)}
    assert {handle: Outcome.COPIED, str(stray.relative_to(tmp_path)): Outcome.UNKNOWN} == results
    assert [handle] == [*dest]


def test_what_is_removed_meanwhile_is_not_brought_back() -> None:
    """Neither before it is read, nor while it is copied."""
    source, dest = Operation(), MemoryStorage()
    both = [*filled(source, 2)]

    def remove(_: str) -> None:
        for handle in both:
            source.remove(handle)

    source.meanwhile = remove
    assert {Outcome.GONE: 2} == counted(copy(source, dest, workers=1))
    assert [] == [*dest]


def test_bytes_that_are_not_those_recorded_are_not_copied(tmp_path: Path) -> None:
    """A bit that flipped on the disk is found out; the others are copied."""
    source, dest = LocalStorage(tmp_path), MemoryStorage()
    fine, broken = source.add("a.txt", b"content"), source.add("b.txt", b"content")
    (tmp_path / broken[1:]).write_bytes(b"contemt")
    results = {result.handle: result for result in copy(source, dest)}
    assert Outcome.COPIED == results[fine].outcome
    assert Outcome.FAILED == results[broken].outcome
    assert "SHA-256" in results[broken].reason
    assert [fine] == [*dest]


def test_only_newer_ones_are_copied(tmp_path: Path) -> None:
    """From the day on that is named."""
    source, dest = LocalStorage(tmp_path), MemoryStorage()
    new = source.add("a.txt", b"new")
    today = datetime.date(*map(int, new.split("/")[1:4]))
    for days in (1, 400):
        day = (today - datetime.timedelta(days)).isoformat().replace("-", "/")
        source.put(f"/{day}/{new.split('/')[4]}/old.txt", b"old")
    assert {Outcome.COPIED: 1} == counted(copy(source, dest, since=today))
    assert {new: (b"new", "text/plain")} == contents(dest)
    assert {Outcome.SAME: 1, Outcome.COPIED: 1} == counted(
        copy(source, dest, since=today - datetime.timedelta(1))
    )


def test_a_storage_that_refuses_one_takes_the_others() -> None:
    """What failed is told, with the reason."""
    source, dest = MemoryStorage(), MemoryStorage(max_size=10_000)
    filled(source)
    results = [*copy(source, dest)]
    failed = [result for result in results if result.outcome is Outcome.FAILED]
    assert 9 == len(failed) == 20 - len([*dest])
    assert all("too large" in result.reason for result in failed)


def test_a_listing_that_fails_ends_the_copy() -> None:
    """Nobody can tell what is missing then."""

    class Broken(MemoryStorage):
        def _list(self, day: datetime.date | None, after: str | None) -> Iterator[str]:
            yield next(super()._list(day, after))
            raise Error("The disk is gone", kind=Kind.UNAVAILABLE)

    source = Broken()
    source.add("a.txt", b"content")
    with pytest.raises(Error, match="The disk is gone"):
        [*copy(source, MemoryStorage())]


def test_no_more_than_the_rate_passes() -> None:
    """Whoever comes waits until what passed before has been paid for."""
    now = 0.0
    slept = []

    def sleep(seconds: float) -> None:
        nonlocal now
        slept.append(seconds)
        now += seconds

    throttle = Throttle(100, clock=lambda: now, sleep=sleep)
    for _ in range(11):
        throttle.wait_for(50)
    assert now == pytest.approx(5)
    assert 10 == len(slept)
    now += 100  # what was not used is lost
    throttle.wait_for(50)
    assert 10 == len(slept)


def test_no_more_is_taken_than_is_worked_on_soon() -> None:
    """However many items there are, and however slow the calls."""
    taken = 0
    go_on = threading.Event()

    def items() -> Iterator[int]:
        nonlocal taken
        for taken in range(1, 1001):
            if taken == 8:
                go_on.set()
            yield taken

    def call(item: int) -> int:
        assert go_on.wait(PATIENCE)
        return item

    results = map_concurrently(call, items(), 2)
    next(results)
    assert 8 == taken
    assert {*range(1, 1001)} >= {*results}
    assert 1000 == taken
