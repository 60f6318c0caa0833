"""Uploads in pieces: what is particular of a directory and of S3, whatever is cut or killed."""

from __future__ import annotations

import datetime
import errno
import hashlib
import itertools
import json
import os
import random
import stat
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import obstore
import pytest

from attach import killed_uploads
from attach.harnesses import LocalHarness, S3Harness, again
from attach.proxy import Passing, proxy
from attach.recorded_disk import Disk
from attach.s3_storage import s3_storage
from programs import PATIENCE, run, started
from rex.attach.backend.garbage import GarbageKind
from rex.attach.backends.local import files as local_files
from rex.attach.backends.local import resumable as local_drafts
from rex.attach.backends.local.resumable import LocalResumable
from rex.attach.backends.local.storage import LocalStorage
from rex.attach.backends.memory.storage import MemoryStorage
from rex.attach.backends.objects.objects import PART_SIZE
from rex.attach.backends.objects.pump import feed
from rex.attach.backends.s3 import resumable as s3_drafts
from rex.attach.backends.s3.control import S3Failure
from rex.attach.backends.s3.storage import S3Storage
from rex.attach.maintenance import sweep
from rex.attach.storage.resumable import MAX_KEPT_METADATA_BYTES
from rex.core import Error, Kind

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from rex.attach import Storage
    from rex.attach_demo.seaweedfs import SeaweedFS

_random = random.Random  # content, no secret
KILLED = Path(killed_uploads.__file__)


def failure_of(verb: Callable[..., Any], *arguments: Any, **options: Any) -> Kind:
    """Give the kind of the error that is raised."""
    with pytest.raises(Error) as caught:
        verb(*arguments, **options)
    return caught.value.kind


def read(storage: Storage, handle: str) -> bytes:
    """Give the bytes of an attachment."""
    with storage.open(handle) as stream:
        return stream.read()


# Each of both.


@pytest.mark.parametrize("size", [0, 10, PART_SIZE + 1])
@pytest.mark.parametrize("kind", ["local", "s3"])
def test_a_note_outlasts_its_upload(kind: str, size: int, request: pytest.FixtureRequest) -> None:
    """However the bytes came; the largest that is kept, too, and to another process."""
    storage = request.getfixturevalue(kind)
    for note in ("größe\r\n, é", "x" * MAX_KEPT_METADATA_BYTES):
        whole = storage.uploads.create("a.bin", size=size, metadata=note).handle
        part = storage.uploads.create("b.bin", size=size, partial=True).handle
        for handle in (whole, part):
            storage.uploads.append(handle, 0, bytes(size))
        joined = storage.uploads.join("c.bin", [part], metadata=note)
        for handle in (whole, joined):
            assert note == again(storage).uploads.info(handle).metadata
            assert bytes(size) == read(storage, handle)
            storage.remove(handle)


# A directory.


def place(storage: LocalStorage, handle: str, ending: str) -> Path:
    """Give one of the two files of an upload."""
    return Path(storage.directory, ".uploads", f"{handle.split('/')[4]}.{ending}")


def _restored(disk: Disk, path: Path) -> LocalStorage:
    """Give a storage over what a power cut would leave now."""
    for name, file in disk.surviving().items():
        target = path / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(file.content)
    return LocalStorage(path / "attachments")


def _survives(disk: Disk, handle: str, content: bytes) -> bool:
    """Tell whether so much of an upload would be there after a power cut."""
    found = disk.surviving()
    if f"attachments{handle}" in found:
        return found[f"attachments{handle}"].content.startswith(content)
    identifier = handle.split("/")[4]
    data = found.get(f"attachments/.uploads/{identifier}.data")
    record = found.get(f"attachments/.uploads/{identifier}.key")
    if record is None or data is None:
        return False
    size = int(record.content.split(b"\n")[1])
    return len(content) <= size <= len(data.content) and data.content.startswith(content)


@pytest.mark.usefixtures("file_system")
def test_what_is_acknowledged_of_an_upload_survives_a_power_cut(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At every call to the system; and whoever comes after the power cut can go on."""
    disk = Disk(tmp_path)
    storage = LocalStorage(tmp_path / "attachments")
    acknowledged: dict[str, bytes] = {}

    def check() -> None:
        for handle, content in acknowledged.items():
            assert _survives(disk, handle, content)

    disk.at_each_point = check
    pieces = [b"first", b"", b"second" * 300_000, b"third"]
    whole = b"".join(pieces)
    with disk.recorded(monkeypatch):
        storage.check()
        for _ in range(2):
            upload = storage.uploads.create("scan.png")
            acknowledged[upload.handle] = b""
            for number, piece in enumerate(pieces):
                is_last = number == len(pieces) - 1
                size = len(whole) if is_last else None
                upload = storage.uploads.append(upload.handle, upload.offset, piece, size=size)
                acknowledged[upload.handle] += piece
        assert not [name for name in disk.exposed if not name.startswith(".partial-")]
    assert disk.points > 100
    assert {whole} == {*acknowledged.values()}
    after = _restored(disk, tmp_path / "after")
    for handle in acknowledged:
        assert whole == read(after, handle)


def test_an_upload_goes_on_after_a_power_cut(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Begun, with bytes, with its size told, and complete but no attachment yet."""
    disk = Disk(tmp_path)
    storage = LocalStorage(tmp_path / "attachments")
    stages = itertools.count()
    with disk.recorded(monkeypatch):
        storage.check()
        handle = storage.uploads.create("scan.png", metadata="a note").handle

        def expect_survivor(offset: int, size: int | None) -> None:
            survivor = _restored(disk, tmp_path / f"after-{next(stages)}")
            upload = survivor.uploads.info(handle)
            assert (offset, size, "a note") == (upload.offset, upload.size, upload.metadata)
            survivor.uploads.append(handle, offset, b"abcdef"[offset:], size=6)
            assert b"abcdef" == read(survivor, handle)

        expect_survivor(0, None)
        storage.uploads.append(handle, 0, b"abc")
        expect_survivor(3, None)
        storage.uploads.append(handle, 3, b"d", size=6)
        expect_survivor(4, 6)


UNSYNCED: dict[str, Callable[[str], bool]] = {
    "the bytes": lambda path: path.endswith(".data"),
    "the record": lambda path: path.endswith("(deleted)"),
    "the directory of uploads": lambda path: path == "attachments/.uploads",
    "the root": lambda path: path == "attachments",
}


@pytest.mark.parametrize("unsynced", UNSYNCED)
def test_every_sync_of_an_upload_is_needed(
    unsynced: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The model notices when any one of them is left out."""
    disk = Disk(tmp_path)
    disk.leave_out = UNSYNCED[unsynced]
    storage = LocalStorage(tmp_path / "attachments")
    with disk.recorded(monkeypatch):
        storage.check()
        upload = storage.uploads.create("scan.png", size=10)
        storage.uploads.append(upload.handle, 0, b"content")
        assert not _survives(disk, upload.handle, b"content")


def test_no_later_sync_vouches_for_what_a_killed_process_wrote(local: LocalStorage) -> None:
    """Its sync may have failed before it died; the next append cuts its bytes off."""
    handle = local.uploads.create("scan.png", size=10).handle
    local.uploads.append(handle, 0, b"abc")
    with place(local, handle, "data").open("ab") as file:
        file.write(b"0123456789")
    assert 3 == local.uploads.info(handle).offset
    local.uploads.append(handle, 3, b"def")
    assert b"abcdef" == place(local, handle, "data").read_bytes()
    local.uploads.append(handle, 6, b"ghij")
    assert b"abcdefghij" == read(local, handle)


@pytest.fixture
def failing_syncs(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """Return a set of endings: the next sync of a file whose name has one of them fails, once."""
    fsync, failing = os.fsync, set[str]()

    def fsync_or_fail(fd: int) -> None:
        name = str(Path(f"/proc/self/fd/{fd}").readlink())
        if hit := {ending for ending in failing if name.endswith(ending)}:
            failing.difference_update(hit)
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        fsync(fd)

    monkeypatch.setattr(os, "fsync", fsync_or_fail)
    return failing


@pytest.mark.parametrize("ending", [".data", " (deleted)", ".uploads"])
def test_an_offset_that_is_told_was_synced(
    ending: str, local: LocalStorage, failing_syncs: set[str]
) -> None:
    """A piece whose sync failed does not count, although the next sync succeeds."""
    handle = local.uploads.create("scan.png", size=12).handle
    local.uploads.append(handle, 0, b"abc")
    failing_syncs.add(ending)
    assert Kind.CORRUPT == failure_of(local.uploads.append, handle, 3, b"lost")
    assert set() == failing_syncs
    assert 3 == local.uploads.info(handle).offset
    local.uploads.append(handle, 3, b"defghijkl")
    assert b"abcdefghijkl" == read(local, handle)


def test_what_could_not_be_synced_is_cut_off(
    local: LocalStorage, failing_syncs: set[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the failing append itself, or, where that fails too, by the next one."""
    handle = local.uploads.create("scan.png", size=6).handle
    local.uploads.append(handle, 0, b"abc")
    data = place(local, handle, "data")
    failing_syncs.add(".data")
    failure_of(local.uploads.append, handle, 3, b"xyz")
    assert b"abc" == data.read_bytes()
    failing_syncs.add(".data")
    with monkeypatch.context() as patch:
        cuts = iter([os.ftruncate])

        def cut_once(fd: int, size: int) -> None:
            for cut in cuts:
                cut(fd, size)
                return
            raise OSError(errno.EIO, os.strerror(errno.EIO))

        patch.setattr(os, "ftruncate", cut_once)
        failure_of(local.uploads.append, handle, 3, b"xyz")
    assert b"abcxyz" == data.read_bytes()
    assert 3 == local.uploads.info(handle).offset
    local.uploads.append(handle, 3, b"def")
    assert b"abcdef" == read(local, handle)


def test_a_long_piece_is_recorded_on_its_way(
    local: LocalStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that a process that is killed loses little of it: by size, or by time."""
    handle = local.uploads.create("scan.png", size=9).handle
    seen: list[int] = []
    now = 0.0

    def content() -> Iterator[bytes]:
        nonlocal now
        yield b"abc"
        seen.append(local.uploads.info(handle).offset)
        yield b"def"
        seen.append(local.uploads.info(handle).offset)
        now = local_drafts.CHECKPOINT_SECONDS
        yield b"g"
        seen.append(local.uploads.info(handle).offset)
        yield b"hi"

    monkeypatch.setattr(local_drafts, "CHECKPOINT_SIZE", 6)
    monkeypatch.setattr(local_drafts, "_clock", lambda: now)
    local.uploads.append(handle, 0, content())
    assert [0, 6, 7] == seen
    assert b"abcdefghi" == read(local, handle)


def test_all_of_an_upload_counts_although_it_could_not_be_placed(
    local: LocalStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was durable before, so the client need not send it again."""

    def full(*_: object, **__: object) -> NoReturn:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    handle = local.uploads.create("scan.png", size=6).handle
    with monkeypatch.context() as patch:
        patch.setattr(local_files.Files, "_durable_day", full)
        assert Kind.UNAVAILABLE == failure_of(local.uploads.append, handle, 0, b"abcdef")
    assert local.uploads.info(handle).is_complete
    assert b"abcdef" == read(local, handle)


@pytest.mark.parametrize("ending", ["data", "key"])
@pytest.mark.parametrize("planted", ["link", "dangling link", "fifo", "directory"])
def test_what_somebody_planted_is_no_upload(
    planted: str, ending: str, local: LocalStorage, tmp_path: Path
) -> None:
    """Neither followed nor waited for; nothing outside is read, written or removed."""
    upload = local.uploads.create("a.bin", size=10)
    local.uploads.append(upload.handle, 0, b"abc")
    outside = tmp_path / "outside"
    path = place(local, upload.handle, ending)
    kept = path.read_bytes()
    outside.write_bytes(kept)
    path.unlink()
    if planted == "fifo":
        os.mkfifo(path)
    elif planted == "directory":
        path.mkdir()
    else:
        path.symlink_to(outside if planted == "link" else tmp_path / "nowhere")
    uploads = local.uploads
    assert Kind.NOT_FOUND == failure_of(uploads.info, upload.handle)
    assert Kind.NOT_FOUND == failure_of(uploads.append, upload.handle, 3, b"defghij")
    assert Kind.NOT_FOUND == failure_of(uploads.remove, upload.handle)
    assert [upload.handle] * (ending == "data") == list(uploads.list())
    assert kept == outside.read_bytes()
    assert not (tmp_path / "nowhere").exists()
    path.rmdir() if planted == "directory" else path.unlink()
    path.write_bytes(kept)
    uploads.append(upload.handle, 3, b"defghij")
    assert b"abcdefghij" == read(local, upload.handle)


def test_a_planted_directory_of_uploads_is_not_followed(
    local: LocalStorage, tmp_path: Path
) -> None:
    """Nothing is begun, told or removed behind a link."""
    upload = local.uploads.create("a.bin", size=10)
    real = Path(local.directory, ".uploads")
    real.rename(tmp_path / "elsewhere")
    real.symlink_to(tmp_path / "elsewhere")
    uploads = local.uploads
    before = sorted((tmp_path / "elsewhere").iterdir())
    for verb, arguments in (
        (uploads.create, ("b.bin",)),
        (uploads.info, (upload.handle,)),
        (uploads.append, (upload.handle, 0, b"x")),
        (uploads.remove, (upload.handle,)),
        (lambda: list(uploads.list()), ()),
    ):
        assert Kind.NOT_FOUND == failure_of(verb, *arguments)
    assert before == sorted((tmp_path / "elsewhere").iterdir())
    assert b"" == place(local, upload.handle, "data").read_bytes()
    real.unlink()


@pytest.mark.parametrize("umask", [0o000, 0o077])
def test_modes_whatever_the_umask(umask: int, local: LocalStorage) -> None:
    """Files of uploads and attachments get 0640, directories 0750."""
    before = os.umask(umask)
    try:
        for name in ("a.bin", "b.bin"):
            upload = local.uploads.create(name, size=4)
            local.uploads.append(upload.handle, 0, b"ab")
        local.uploads.append(upload.handle, 2, b"cd")
    finally:
        os.umask(before)
    seen: dict[bool, set[int]] = {True: set(), False: set()}
    for path in Path(local.directory).rglob("*"):
        status = path.lstat()
        seen[stat.S_ISDIR(status.st_mode)].add(stat.S_IMODE(status.st_mode))
    assert {True: {0o750}, False: {0o640}} == seen
    for handle in list(local.uploads.list()):
        local.uploads.remove(handle)


def test_a_record_that_cannot_be_read_is_corrupt(local: LocalStorage) -> None:
    """It does not keep others from being listed, and can be removed."""
    upload, other = local.uploads.create("a.bin"), local.uploads.create("b.bin")
    path = place(local, upload.handle, "key")
    for record in (b"{", b"[]", b"{}", b'{"handle": 1}', b"\xff", b""):
        path.write_bytes(upload.handle[1:].encode() + b"\n0\n" + record)
        kind = failure_of(local.uploads.info, upload.handle)
        assert kind in (Kind.CORRUPT, Kind.NOT_FOUND)
        assert {upload.handle, other.handle} == {*local.uploads.list()}
    local.uploads.remove(upload.handle)
    path.write_bytes(b"\xff\xfe")
    assert [other.handle] == list(local.uploads.list())
    path.unlink()
    local.uploads.remove(other.handle)


def test_what_is_removed_does_not_come_back_as_its_own_upload(
    local: LocalStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process that ended between placing a file and ending its draft leaves both."""

    def end(*_: object) -> None:
        raise KeyboardInterrupt

    handle = local.uploads.create("a.txt", size=4).handle
    with monkeypatch.context() as patch:
        patch.setattr(LocalResumable, "_remove", end)
        with pytest.raises(KeyboardInterrupt):
            local.uploads.append(handle, 0, b"data")
    assert ([handle], [handle]) == (list(local), list(local.uploads.list()))
    local.remove(handle)
    assert ([], []) == (list(local), list(local.uploads.list()))
    assert Kind.NOT_FOUND == failure_of(local.uploads.info, handle)
    assert [] == list(local)


def test_another_attachment_in_the_place_is_not_overwritten(local: LocalStorage) -> None:
    """Whoever put it there; the upload can be given up then."""
    upload = local.uploads.create("a.bin", size=4)
    local.put(upload.handle, b"other")
    assert Kind.EXISTS == failure_of(local.uploads.append, upload.handle, 0, b"data")
    assert b"other" == read(local, upload.handle)
    local.uploads.remove(upload.handle)
    assert b"other" == read(local, upload.handle)


APPENDING = """
import sys
from rex.attach.backends.local.storage import LocalStorage
def content():
    yield b"abc"
    print("has come", flush=True)
    sys.stdin.read()
    yield b"def"
LocalStorage(sys.argv[1]).uploads.append(sys.argv[2], 0, content())
"""


@pytest.mark.parametrize("is_killed", [True, False])
def test_one_process_at_a_time_appends(local: LocalStorage, *, is_killed: bool) -> None:
    """Another is told so, until the first is done or dead."""
    upload = local.uploads.create("a.bin", size=6)
    with started(sys.executable, "-c", APPENDING, local.directory, upload.handle) as process:
        assert "has come\n" == process.stdout.readline()
        assert Kind.BUSY == failure_of(local.uploads.append, upload.handle, 0, b"xyz")
        assert Kind.BUSY == failure_of(local.uploads.remove, upload.handle)
        assert 0 == local.uploads.info(upload.handle).offset
        if is_killed:
            process.kill()
        process.stdin.close()
        process.wait(PATIENCE)
    if is_killed:
        local.uploads.append(upload.handle, 0, b"abcdef")
    assert b"abcdef" == read(local, upload.handle)


# Killed at every point.


@pytest.mark.long
@pytest.mark.parametrize("kind", ["upload", "part"])
@pytest.mark.parametrize("where", ["directory", "s3"])
def test_an_upload_goes_on_wherever_its_process_was_killed(
    where: str,
    kind: str,
    request: pytest.FixtureRequest,
    report_figure: Callable[[str], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Right before each change that it makes to the storage; a sweep leaves nothing else."""
    monkeypatch.setattr(s3_drafts, "PART_SIZE", killed_uploads.PART_SIZE)
    harness: Any = LocalHarness()
    if where == "s3":
        harness = S3Harness(request.getfixturevalue("seaweedfs"))
    with harness.storage() as storage:
        options = json.dumps(_options(storage))
        done = run(sys.executable, KILLED, kind, given=options, seconds=300)
        assert 0 == done.returncode, done.stderr
        told = [json.loads(line) for line in done.stdout.splitlines()]
        killed = [line for line in told if line["killed"]]
        assert len(told) - 1 == len(killed) > 3
        expected = killed_uploads.content()
        for line in told:
            handle = line["handle"]
            offsets: list[int] = []
            killed_uploads.upload(storage, handle, offsets.append)
            assert line["acknowledged"] <= offsets[0]
            if kind == "part":
                assert handle not in storage
                handle = storage.uploads.join("a.bin", [handle])
            assert expected == read(storage, handle)
        assert len(told) == len(list(storage))
        later = datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=10)
        assert all(swept.is_fine for swept in sweep(storage, delete=True, now=later))
        assert [] == list(storage.uploads.list())
        assert [] == harness.garbage(storage)
    report_figure(f"{kind} killed at {len(killed)} points, {where}: all complete, none left over")


def _options(storage: Storage) -> dict[str, str]:
    if isinstance(storage, LocalStorage):
        return {"url": f"file://{storage.directory}"}
    assert isinstance(storage, S3Storage)
    keys = storage._bucket.credentials()
    return {
        "url": f"s3://{storage.bucket}/{storage.prefix}?endpoint={storage.endpoint}",
        "access_key": keys.access_key,
        "secret_key": keys.secret_key,
    }


# S3.


def test_pieces_of_any_size_make_parts_and_a_tail(s3: S3Storage) -> None:
    """Around the size of a part, each piece by another storage or the same; also broken off."""
    random_ = _random(7)
    edges = [PART_SIZE - 1, 2, PART_SIZE, 1, PART_SIZE + 1, 5, 0, 2 * PART_SIZE + 3]
    data = random_.randbytes(sum(edges) + 11)
    handle = s3.uploads.create("a.bin", size=len(data)).handle
    other = again(s3)
    offset = 0
    for number, size in enumerate([*edges, 11]):
        storage = (s3, other)[number % 2]
        piece = data[offset : offset + size]
        content = iter([piece[: size // 2], piece[size // 2 :]])
        offset = storage.uploads.append(handle, offset, content).offset
        assert s3.uploads.info(handle).offset == other.uploads.info(handle).offset == offset
        paths = s3_drafts.S3Resumable(s3._bucket)._paths(handle[1:])
        assert sum("/tail-" in path for path in paths) <= 1
    assert hashlib.sha256(data).digest() == hashlib.sha256(read(s3, handle)).digest()


def test_no_byte_that_was_acknowledged_is_asked_for_again(
    s3: S3Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A part could not be sent; when it can, and its server ends before the rest is kept."""
    data = _random(9).randbytes(PART_SIZE + 10)
    handle = s3.uploads.create("a.bin", size=2 * PART_SIZE).handle

    def fails(*_: object) -> None:
        raise S3Failure("InternalError")

    with monkeypatch.context() as patch:
        patch.setattr(s3._bucket.control, "upload_part", fails)
        with pytest.raises(Error):
            s3.uploads.append(handle, 0, data)
    assert len(data) == s3.uploads.info(handle).offset
    with monkeypatch.context() as patch:
        patch.setattr(s3_drafts.S3Resumable, "_keep", fails)
        with pytest.raises(Error):
            s3.uploads.append(handle, len(data), b"more")
    other = again(s3)
    assert 1 == len(s3_drafts.S3Resumable(other._bucket)._state(handle[1:]).parts)
    assert len(data) == other.uploads.info(handle).offset
    rest = bytes(2 * PART_SIZE - len(data))
    other.uploads.append(handle, len(data), rest)
    assert hashlib.sha256(data + rest).digest() == hashlib.sha256(read(s3, handle)).digest()


def test_a_small_upload_is_like_an_attachment_that_was_added(s3: S3Storage) -> None:
    """One object with a digest; its headers are the same however it came."""
    small = s3.uploads.create("ü.png", size=4).handle
    s3.uploads.append(small, 0, b"data")
    large = s3.uploads.create("ü.png", size=PART_SIZE + 1).handle
    s3.uploads.append(large, 0, bytes(PART_SIZE + 1))
    assert hashlib.sha256(b"data").hexdigest() == s3.info(small).digest
    client = s3._bucket.control._client()
    told = [
        client.head_object(Bucket=s3.bucket, Key=s3._bucket.path(h[1:])) for h in (small, large)
    ]
    for header in ("ContentType", "ContentDisposition", "CacheControl"):
        assert told[0][header] == told[1][header]
    assert "image/png" == told[0]["ContentType"]


@pytest.mark.parametrize("partial", [False, True])
def test_an_upload_that_somebody_else_ended_is_gone(s3: S3Storage, *, partial: bool) -> None:
    """As a lifecycle rule does with old multipart uploads; a sweep removes what is left of it."""
    handle = s3.uploads.create("a.bin", size=PART_SIZE + 10, partial=partial).handle
    s3.uploads.append(handle, 0, bytes(PART_SIZE + 5))
    client = s3._bucket.control._client()
    found = client.list_multipart_uploads(Bucket=s3.bucket, Prefix=s3.prefix)["Uploads"]
    assert 1 == len(found)
    for one in found:
        client.abort_multipart_upload(Bucket=s3.bucket, Key=one["Key"], UploadId=one["UploadId"])
    offset = PART_SIZE + 5
    assert Kind.NOT_FOUND == failure_of(s3.uploads.append, handle, offset, b"12345")
    assert Kind.NOT_FOUND == failure_of(s3.uploads.info, handle)
    later = datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=s3.upload_expires)
    swept = list(sweep(s3, delete=True, now=later + datetime.timedelta(days=2)))
    assert {GarbageKind.FILE} == {found.kind for found in swept}
    assert Kind.NOT_FOUND == failure_of(s3.uploads.remove, handle)


def test_a_multipart_upload_of_somebody_else_is_left_alone(s3: S3Storage) -> None:
    """A `put` of the same handle has one at the same time: its type and its parts are its own."""
    handle = s3.uploads.create("a.bin", content_type="image/png", size=PART_SIZE + 10).handle
    control, path = s3._bucket.control, s3._bucket.path(handle[1:])
    theirs = control.create_multipart(path, {"ContentType": "text/plain"}, {})
    part = control.upload_part(path, theirs, 1, b"their content")
    s3.uploads.append(handle, 0, bytes(PART_SIZE + 5))
    assert [part] == list(control.list_parts(path, theirs))
    s3.uploads.append(handle, PART_SIZE + 5, b"12345")
    assert "image/png" == s3.info(handle).content_type
    control.abort(path, theirs)
    other = s3.uploads.create("b.bin", size=10).handle
    path = s3._bucket.path(other[1:])
    theirs = control.create_multipart(path, {}, {})
    s3.uploads.remove(other)
    assert [theirs] == control.list_multiparts(path)
    control.abort(path, theirs)


def test_one_answer_that_an_upload_is_gone_ends_nothing(
    s3: S3Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was acknowledged of it is still there when the server knows it again."""
    data = _random(13).randbytes(PART_SIZE + 10)
    handle = s3.uploads.create("a.bin", size=len(data)).handle
    s3.uploads.append(handle, 0, data[:-5])

    def forget(*_: object) -> NoReturn:
        raise S3Failure("NoSuchUpload")

    with monkeypatch.context() as patch:
        patch.setattr(s3._bucket.control, "list_parts", forget)
        assert Kind.UNAVAILABLE == failure_of(s3.uploads.info, handle)
        assert Kind.UNAVAILABLE == failure_of(s3.uploads.append, handle, len(data) - 5, b"12345")
        patch.setattr(s3._bucket.control, "list_multiparts", lambda _: [])
        assert Kind.NOT_FOUND == failure_of(s3.uploads.info, handle)
    assert len(data) - 5 == s3.uploads.info(handle).offset
    s3.uploads.append(handle, len(data) - 5, data[-5:])
    assert data == read(s3, handle)


def test_a_damaged_record_on_a_server_is_corrupt(s3: S3Storage) -> None:
    """The upload stays, and others are listed."""
    handle = s3.uploads.create("a.bin", size=10).handle
    other = s3.uploads.create("b.bin", size=10).handle
    path = s3._bucket.path(f".drafts/{handle[1:].rpartition('/')[0]}/record")
    kept = bytes(obstore.get(s3._bucket.client, path).bytes())
    for damaged in (b"", b"{}", b"[]\n{}", kept[1:], b'{"key": 1}\n'):
        obstore.put(s3._bucket.client, path, damaged)
        assert failure_of(s3.uploads.info, handle) in (Kind.CORRUPT, Kind.NOT_FOUND)
        assert [other] == list(s3.uploads.list())
    obstore.put(s3._bucket.client, path, kept)
    s3.uploads.append(handle, 0, b"0123456789")
    assert b"0123456789" == read(s3, handle)
    s3.uploads.remove(other)


def _slowly(storage: Storage, handle: str, before: bytes, failure: Exception) -> Any:
    """Append in another thread, which waits after some bytes, and then fails: see `finish`.

    When this returns, the server has the parts before.
    """
    waits, go_on = threading.Event(), threading.Event()

    def content() -> Iterator[bytes]:
        yield before
        waits.set()
        assert go_on.wait(PATIENCE)
        raise failure

    pool = ThreadPoolExecutor(1)
    call = pool.submit(storage.uploads.append, handle, 0, content())

    def finish() -> None:
        go_on.set()
        assert failure is call.exception(PATIENCE)
        pool.shutdown()

    assert waits.wait(PATIENCE)
    parts = len(before) // PART_SIZE
    while storage.uploads._backend.load(handle[1:]).size < parts * PART_SIZE:
        assert not call.done()
    return finish


def test_a_server_that_hangs_takes_nothing_back(s3: S3Storage) -> None:
    """What another one has stored meanwhile stays, though the first has its bytes in memory."""
    handle = s3.uploads.create("a.bin", size=PART_SIZE + 10).handle
    data = _random(8).randbytes(PART_SIZE + 10)
    finish = _slowly(s3, handle, data[:3], ValueError("the connection is cut"))
    other = again(s3)
    other.uploads.append(handle, 0, data[:7])
    finish()
    assert 7 == s3.uploads.info(handle).offset
    other.uploads.append(handle, 7, data[7:])
    assert data == read(s3, handle)


def test_what_was_told_to_be_stored_never_becomes_less(
    s3: S3Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server that looks, waits, and then stores less than another one did meanwhile."""
    handle = s3.uploads.create("a.bin", size=30).handle
    data = _random(9).randbytes(30)
    other = again(s3)
    unchanged = s3_drafts.S3Resumable._load_unchanged

    def look_and_wait(drafts: s3_drafts.S3Resumable, key: str, size: int) -> object:
        state = unchanged(drafts, key, size)
        if size == 0 and drafts is s3.uploads._backend and seen.pop():
            other.uploads.append(handle, 0, data[:20])
        return state

    seen = [True, False]  # at the beginning nobody waits, before the tail is stored somebody does
    monkeypatch.setattr(s3_drafts.S3Resumable, "_load_unchanged", look_and_wait)
    s3.uploads.append(handle, 0, data[:10])
    assert [] == seen
    assert 20 == s3.uploads.info(handle).offset
    other.uploads.append(handle, 20, data[20:])
    assert data == read(s3, handle)


def test_a_server_that_hangs_leaves_nothing_behind(s3: S3Storage) -> None:
    """When another one has completed the upload meanwhile, or given it up."""
    other = again(s3)
    for size in (10, PART_SIZE + 10):
        data = _random(size).randbytes(size)
        for is_completed in (True, False):
            handle = s3.uploads.create("a.bin", size=size).handle
            finish = _slowly(s3, handle, data[: size - 5], ValueError("the connection is cut"))
            if is_completed:
                offset = s3.uploads.info(handle).offset
                other.uploads.append(handle, offset, data[offset:])
            else:
                other.uploads.remove(handle)
            finish()
            assert is_completed == (handle in s3)
            assert not is_completed or data == read(s3, handle)


def test_what_another_server_stored_in_the_meantime_is_not_taken_for_ours(
    s3: S3Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The offset was right when it was looked at, and is not any more: nothing is stored twice."""
    handle = s3.uploads.create("a.bin", size=6).handle
    other = again(s3)
    load = other.uploads._backend.load

    def late(key: str) -> Any:
        found = load(key)
        monkeypatch.undo()
        s3.uploads.append(handle, 0, b"abc")
        return found

    monkeypatch.setattr(other.uploads._backend, "load", late)
    assert Kind.CONFLICT == failure_of(other.uploads.append, handle, 0, b"abc")
    assert 3 == other.uploads.info(handle).offset
    other.uploads.append(handle, 3, b"def")
    assert b"abcdef" == read(s3, handle)


@pytest.mark.parametrize("code", ["NoSuchUpload", "PreconditionFailed", "InternalError"])
def test_a_completion_whose_answer_was_lost_has_happened(
    code: str, s3: S3Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A request that is repeated is refused; what the first one made is looked at."""
    asked = s3._bucket.control.ask_once

    def lose_the_answer(operation: str, *required: str, **arguments: Any) -> Any:
        answer = asked(operation, *required, **arguments)
        if operation == "complete_multipart_upload":
            monkeypatch.undo()
            raise S3Failure(code)
        return answer

    monkeypatch.setattr(s3._bucket.control, "ask_once", lose_the_answer)
    data = _random(11).randbytes(PART_SIZE + 5)
    handle = s3.uploads.create("a.bin", size=len(data)).handle
    assert s3.uploads.append(handle, 0, data).is_complete
    assert data == read(s3, handle)


def test_content_that_is_read_from_the_same_server_can_be_appended(s3: S3Storage) -> None:
    """While a part is on its way, what comes next is asked of the same server."""
    data = _random(9).randbytes(2 * PART_SIZE + 5)
    source = s3.add("a.bin", data)
    handle = s3.uploads.create("b.bin", size=len(data)).handle
    with s3.open(source) as stream:
        s3.uploads.append(handle, 0, stream)
    assert data == read(s3, handle)


def test_a_bucket_without_a_prefix_is_no_different(seaweedfs: SeaweedFS) -> None:
    """The folder of uploads is beside the attachments then, and not among them."""
    seaweedfs.create_bucket("pieces")
    storage = s3_storage(
        "pieces",
        endpoint=seaweedfs.endpoint,
        access_key=seaweedfs.access_key,
        secret_key=seaweedfs.secret_key,
    )
    client = storage._bucket.control._client()
    data = _random(10).randbytes(PART_SIZE + 5)
    handle = storage.uploads.create("a.bin", size=len(data)).handle
    storage.uploads.append(handle, 0, data[:-2])
    part = storage.uploads.create("b.bin", size=3, partial=True).handle
    storage.uploads.append(part, 0, b"abc")
    keys = [found["Key"] for found in client.list_objects_v2(Bucket="pieces")["Contents"]]
    assert keys
    assert all(key.startswith(".drafts/") for key in keys)
    assert [] == list(storage)
    assert sorted([handle, part]) == sorted(storage.uploads.list())
    storage.uploads.append(handle, len(data) - 2, data[-2:])
    storage.uploads.remove(part)
    left = client.list_objects_v2(Bucket="pieces")["Contents"]
    assert [handle[1:]] == [found["Key"] for found in left]
    assert "Uploads" not in client.list_multipart_uploads(Bucket="pieces")
    assert data == read(storage, handle)
    storage.close()


# Content on its way into a library.


def test_what_is_fed_arrives_in_order() -> None:
    """All of it, read in the thread of the caller."""
    threads = set()

    def content() -> Iterator[bytes]:
        for number in range(100):
            threads.add(threading.get_ident())
            yield bytes([number])

    taken: list[Any] = []
    feed(content(), taken.extend)
    assert [bytes([number]) for number in range(100)] == taken
    assert {threading.get_ident()} == threads


def test_whoever_takes_may_stop_and_fail() -> None:
    """Before it asks for anything, in the middle, and after the end."""
    for many in (0, 1, 3):

        def take(chunks: Iterator[Any], many: int = many) -> None:
            assert many == len([chunk for chunk, _ in zip(chunks, range(many), strict=False)])
            raise ValueError(many)

        with pytest.raises(ValueError, match=str(many)):
            feed(iter([b"a", b"b", b"c"]), take)
    feed(iter([b"a", b"b"]), next)


@pytest.mark.parametrize("failure", [ValueError("x"), KeyboardInterrupt("x"), SystemExit("x")])
def test_what_the_content_raises_gets_to_whoever_takes(failure: BaseException) -> None:
    """So that it can clean up; and then to the caller."""
    seen = []

    def content() -> Iterator[bytes]:
        yield b"a"
        raise failure

    def take(chunks: Iterator[Any]) -> None:
        try:
            list(chunks)
        except BaseException as raised:
            seen.append(raised)
            raise

    with pytest.raises(type(failure)) as caught:
        feed(content(), take)
    assert failure is caught.value
    assert [failure] == seen


def test_a_part_that_is_not_read_whole_is_not_joined(monkeypatch: pytest.MonkeyPatch) -> None:
    """And it stays, so that it can be joined later."""
    storage = MemoryStorage()
    part = storage.uploads.create("a.bin", size=7, partial=True).handle
    storage.uploads.append(part, 0, b"content")
    with monkeypatch.context() as patch:
        patch.setattr(storage.uploads._backend, "read", lambda _: iter([b"cont"]))
        with pytest.raises(Error) as caught:
            storage.uploads.join("b.bin", [part])
    assert Kind.CORRUPT == caught.value.kind
    assert ([], [part]) == ([*storage], [*storage.uploads.list()])
    with storage.open(storage.uploads.join("b.bin", [part])) as stream:
        assert b"content" == stream.read()


def test_an_empty_answer_is_not_joined(
    seaweedfs: SeaweedFS, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As of a proxy that answers 200 for a server which is away."""
    monkeypatch.setattr(s3_drafts, "PART_SIZE", 5 * 1024 * 1024)
    content = bytes(6 * 1024 * 1024)
    is_away = True

    def change(asked: Passing) -> Passing | tuple[int, str]:
        is_content = asked.method == "GET" and asked.path.endswith("/data")
        return (200, "") if is_away and is_content else asked

    def opened(endpoint: str, seconds: float) -> S3Storage:
        return s3_storage(
            seaweedfs.bucket,
            endpoint=endpoint,
            access_key=seaweedfs.access_key,
            secret_key=seaweedfs.secret_key,
            prefix="empty-answers",
            timeout=seconds,
        )

    with (
        proxy(seaweedfs.endpoint, change) as endpoint,
        opened(endpoint, PATIENCE) as storage,
        opened(endpoint, 1) as hasty,
    ):
        part = storage.uploads.create("a.bin", size=len(content), partial=True).handle
        storage.uploads.append(part, 0, content)
        with pytest.raises(Error) as caught:
            hasty.uploads.join("b.bin", [part])
        assert Kind.UNAVAILABLE == caught.value.kind
        is_away = False
        with storage.open(storage.uploads.join("b.bin", [part])) as stream:
            assert content == stream.read()
