"""What nobody finished or refers to is found; what is young, in use or not ours is not touched."""

from __future__ import annotations

import datetime
import os
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import rex.attach.storage.resumable
from attach.harnesses import S3Harness, s3_client
from attach.s3_storage import s3_storage
from rex.attach.backends.fallback import FallbackStorage
from rex.attach.backends.local import directory
from rex.attach.backends.local.directory import NewFile
from rex.attach.backends.local.storage import LocalStorage
from rex.attach.backends.memory.storage import MemoryStorage
from rex.attach.backends.s3.storage import S3Storage
from rex.attach.maintenance import GarbageKind, lifecycle, sweep
from rex.core import Error, Kind

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Iterator

    from rex.attach.maintenance import Swept
    from rex.attach_demo.seaweedfs import SeaweedFS

HOUR = 3600
DAY = 24 * HOUR
IDENTIFIER = "11111111-1111-4111-8111-111111111111"
PART = 8 * 1024 * 1024


def later(seconds: float) -> datetime.datetime:
    """Give the time in so many seconds."""
    return datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=seconds)


def swept(results: Iterator[Swept]) -> set[tuple[GarbageKind, str]]:
    """Give what was found; nothing may have failed."""
    found = {(one.kind, one.handle) for one in results}
    assert not [name for what, name in found if what is GarbageKind.FAILED]
    return found


@pytest.fixture
def storage(tmp_path: Path) -> Iterator[LocalStorage]:
    """Give a directory in which uploads expire after a day."""
    with LocalStorage(tmp_path / "attachments", upload_expires=DAY) as storage:
        storage.check()
        yield storage


def tree(storage: LocalStorage) -> set[str]:
    """Give all that is in a directory."""
    root = Path(storage.directory)
    return {str(path.relative_to(root)) for path in root.rglob("*")}


def plant(storage: LocalStorage) -> set[tuple[GarbageKind, str]]:
    """Leave in a directory whatever a process that ends too early may leave."""
    root = Path(storage.directory)
    upload = storage.uploads.create("expired.bin", size=100)
    storage.uploads.append(upload.handle, 0, b"some")
    attachment = storage.add("kept.txt", b"kept")
    kept = root / attachment[1:]
    empty = root / "2001/02/03" / IDENTIFIER
    empty.mkdir(parents=True)
    planted = {
        GarbageKind.FILE: [
            f".partial-{'a' * 32}",
            f".uploads/.partial-{'b' * 32}",
            f".uploads/{IDENTIFIER}.data",
            f".uploads/{IDENTIFIER[::-1]}.key",
            str(kept.with_name(f".{'c' * 16}.json").relative_to(root)),
        ],
        GarbageKind.DIRECTORY: [
            str(path.relative_to(root)) for path in (empty, *empty.parents)[:4]
        ],
        GarbageKind.UPLOAD: [upload.handle],
    }
    for name in planted[GarbageKind.FILE]:
        (root / name).write_bytes(b"left")
    return {(what, name) for what, names in planted.items() for name in names}


def test_all_that_is_left_in_a_directory_is_found(storage: LocalStorage) -> None:
    """And removed only when it is asked for; attachments stay."""
    planted = plant(storage)
    before = tree(storage)
    now = later(2 * DAY + HOUR)
    assert planted == swept(sweep(storage, now=now))
    assert before == tree(storage)
    assert planted == swept(sweep(storage, delete=True, now=now))
    assert set() == swept(sweep(storage, delete=True, now=now))
    [attachment] = storage
    assert b"kept" == storage.open(attachment).read()
    kept = {attachment[1:], ".uploads", ".rex-attach"}
    kept |= {str(path) for path in Path(attachment[1:]).parents} - {"."}
    assert kept == tree(storage)


def test_what_is_younger_is_not_touched(storage: LocalStorage) -> None:
    """Of an upload, the grace begins when it expires."""
    plant(storage)
    before = tree(storage)
    assert set() == swept(sweep(storage, delete=True, now=later(DAY - HOUR)))
    assert before == tree(storage)
    found = swept(sweep(storage, delete=True, now=later(2 * DAY - HOUR)))
    assert {GarbageKind.FILE, GarbageKind.DIRECTORY} == {what for what, _ in found}
    assert 1 == len([*storage.uploads.list()])


def test_what_somebody_holds_is_not_touched(
    storage: LocalStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file that is being written, and an upload that somebody appends to, whatever their age."""
    monkeypatch.setattr(directory, "_TMPFILE", None)
    upload = storage.uploads.create("held.bin", size=100)
    drafts: Any = storage.uploads._backend
    now = later(9 * DAY)
    with (
        storage._tree.hold_open() as root,
        NewFile(root) as file,
        drafts.hold(upload.handle[1:]),
    ):
        file.write(b"some")
        before = tree(storage)
        assert set() == {
            (what, name)
            for what, name in swept(sweep(storage, delete=True, now=now))
            if what is not GarbageKind.DIRECTORY
        }
        assert before == tree(storage)


def test_what_is_not_ours_is_not_touched(storage: LocalStorage, tmp_path: Path) -> None:
    """Whatever others have put there, and whatever a link leads to."""
    root = Path(storage.directory)
    outside = tmp_path / "outside"
    (outside / "03" / IDENTIFIER).mkdir(parents=True)
    (outside / f".partial-{'a' * 32}").write_bytes(b"")
    (root / "lost+found").mkdir()
    (root / "2001/02/today").mkdir(parents=True)
    (root / "2002").symlink_to(outside)
    (root / f".partial-{'b' * 32}").symlink_to(outside / f".partial-{'a' * 32}")
    (root / ".partial-mine").write_bytes(b"")
    os.mkfifo(root / f".partial-{'c' * 32}")
    before = tree(storage), {*outside.rglob("*")}
    assert set() == swept(sweep(storage, delete=True, now=later(9 * DAY)))
    assert before == (tree(storage), {*outside.rglob("*")})


def test_a_file_that_cannot_be_removed_is_told_and_the_others_are(
    storage: LocalStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The storage's own error says why."""
    names = [f".partial-{letter * 32}" for letter in "abc"]
    for name in names:
        (Path(storage.directory) / name).write_bytes(b"")
    unlink = os.unlink

    def refuse(path: str, **options: Any) -> None:
        if path == names[1]:
            raise PermissionError(1, "Operation not permitted")
        unlink(path, **options)

    monkeypatch.setattr(os, "unlink", refuse)
    results = [*sweep(storage, delete=True, now=later(2 * DAY))]
    assert [GarbageKind.FILE, GarbageKind.FAILED, GarbageKind.FILE] == [one.kind for one in results]
    assert names[1] == results[1].handle
    assert "file: " in results[1].reason


# Attachments that nobody refers to.


@pytest.mark.parametrize("kind", ["memory", "directory"])
def test_attachments_that_nobody_refers_to_are_removed(kind: str, storage: LocalStorage) -> None:
    """Once they are old enough."""
    with MemoryStorage() if kind == "memory" else storage as used:
        handles = [used.add(f"{number}.txt", b"x") for number in range(200)]
        referenced = handles[::3]
        others = set(handles) - set(referenced)
        assert set() == swept(sweep(used, referenced=referenced, delete=True))
        expected = {(GarbageKind.ATTACHMENT, handle) for handle in others}
        assert expected == swept(sweep(used, referenced=referenced, now=later(2 * DAY)))
        assert set(handles) == set(used)
        found = swept(sweep(used, referenced=referenced, now=later(2 * DAY), delete=True))
        assert expected == found
        assert set(referenced) == set(used)


@pytest.mark.parametrize(
    ("referenced", "kind"),
    [
        ([], Kind.CONFIGURATION),
        (["/2001/02/03/" + IDENTIFIER + "/another.txt"], Kind.CONFIGURATION),
        (["42"], Kind.ILL_FORMED),
        ([None], Kind.ILL_FORMED),
    ],
)
def test_handles_that_cannot_be_those_of_the_application_remove_nothing(
    referenced: list[Any], kind: Kind
) -> None:
    """No handle at all, those of another storage, and what is no handle."""
    with MemoryStorage() as storage:
        handle = storage.add("a.txt", b"x")
        with pytest.raises(Error) as raised:
            sweep(storage, referenced=referenced, delete=True, now=later(9 * DAY))
        assert kind is raised.value.kind
        with pytest.raises(Error):
            sweep(storage, referenced=[handle, *referenced, "x"], delete=True, now=later(9 * DAY))
        assert [handle] == [*storage]


def test_handles_whose_reading_fails_in_the_middle_remove_nothing() -> None:
    """What raises comes out before anything is removed."""
    with MemoryStorage() as storage:
        handles = [storage.add("a.txt", b"x") for _ in range(3)]

        def failing() -> Iterator[str]:
            yield handles[0]
            raise ConnectionError

        with pytest.raises(ConnectionError):
            sweep(storage, referenced=failing(), delete=True, now=later(9 * DAY))
        assert 3 == len([*storage])


@pytest.mark.parametrize("grace", [0, 59.9, -1, float("nan")])
def test_a_grace_that_protects_nothing_is_refused(grace: float) -> None:
    """What is being made at the moment may not look like it."""
    with MemoryStorage() as storage, pytest.raises(Error) as raised:
        sweep(storage, grace=grace)
    assert Kind.ILL_FORMED is raised.value.kind


def test_while_attachments_move_both_storages_are_swept(storage: LocalStorage) -> None:
    """Uploads that have expired, only in the new one."""
    planted = plant(storage)
    moving = FallbackStorage(MemoryStorage(), storage)
    expected = {(what, name) for what, name in planted if what is not GarbageKind.UPLOAD}
    assert expected == swept(sweep(moving, delete=True, now=later(3 * DAY)))


# On a server.


@pytest.fixture
def bucket(seaweedfs: SeaweedFS) -> Iterator[S3Storage]:
    """Give a storage on S3; see afterwards that nothing but attachments is in it."""
    harness = S3Harness(seaweedfs)
    with harness.storage() as storage:
        assert isinstance(storage, S3Storage)
        storage.upload_expires = DAY
        yield storage
        assert [] == harness.garbage(storage)


def test_all_that_is_left_on_a_server_is_found(bucket: S3Storage, seaweedfs: SeaweedFS) -> None:
    """And what belongs to uploads that have not expired is not."""
    other = s3_storage(**_same(bucket, seaweedfs), prefix=f"{bucket.prefix}other")
    foreign = other.reserve("foreign.bin")
    foreign_id = other.multipart.create(foreign)
    attachment = bucket.add("kept.txt", b"kept")
    left = bucket.reserve("left.bin")
    bucket.multipart.create(left)
    part = bucket.uploads.create("part.bin", size=PART + 100, partial=True)
    bucket.uploads.append(part.handle, 0, bytes(PART + 50))
    bucket.upload_expires = 9 * DAY
    live = bucket.uploads.create("live.bin", size=PART + 100)
    bucket.uploads.append(live.handle, 0, bytes(PART + 50))
    bucket.upload_expires = DAY
    tail = f".drafts/2001/02/03/{IDENTIFIER}/tail-0-4"
    client = s3_client(seaweedfs.endpoint, seaweedfs.access_key, seaweedfs.secret_key)
    client.put_object(Bucket=bucket.bucket, Key=bucket.prefix + tail, Body=b"left")

    assert set() == swept(sweep(bucket, delete=True))
    files = {(GarbageKind.FILE, tail)}
    assert files == swept(sweep(bucket, now=later(DAY + HOUR)))
    for delete in (False, True):
        found = [*sweep(bucket, now=later(3 * DAY), delete=delete)]
        left_over = {(GarbageKind.UPLOAD, part.handle), (GarbageKind.PARTS, left[1:])}
        assert files | left_over == swept(iter(found))
        assert PART + 50 == {one.handle: one.size for one in found}[part.handle]
    assert set() == swept(sweep(bucket, now=later(3 * DAY), delete=True))
    bucket.uploads.append(live.handle, PART + 50, bytes(50))
    assert {attachment, live.handle} == set(bucket)
    other.multipart.abort(foreign, foreign_id)
    other.close()


@pytest.mark.long
def test_nothing_is_touched_while_uploads_run(bucket: S3Storage) -> None:
    """Adds in parts, uploads in pieces and in parts, swept all the time; then all are complete."""
    is_over = threading.Event()
    found: list[set[tuple[GarbageKind, str]]] = []

    def sweeping() -> None:
        while not (is_over.is_set() and found):
            found.append(swept(sweep(bucket, delete=True, now=later(DAY + HOUR))))

    def pieces(size: int) -> Iterator[bytes]:
        for _ in range(0, size, 1 << 20):
            yield bytes(1 << 20)

    sweeper = threading.Thread(target=sweeping)
    sweeper.start()
    try:
        for _ in range(3):
            bucket.add("parts.bin", pieces(3 * PART))
            upload = bucket.uploads.create("pieces.bin", size=2 * PART + 5)
            for at in (0, 5, PART + 5):
                bucket.uploads.append(upload.handle, at, bytes(PART if at else 5))
            bucket.add("small.bin", b"small")
    finally:
        is_over.set()
        sweeper.join()
    # Of an upload that is over, the record goes first, and a sweep may be quicker with the rest.
    # A claim is for the moment of completing, and looks a day old here.
    over = [f".drafts/{handle[1:].rpartition('/')[0]}/tail-" for handle in bucket]
    passing = (*over, ".drafts/claims/")
    assert all(
        what is GarbageKind.FILE and name.startswith(passing) for what, name in set().union(*found)
    )
    assert [5, 2 * PART + 5, 3 * PART] == sorted({bucket.info(handle).size for handle in bucket})
    assert 9 == len([*bucket])


def test_a_bucket_takes_the_rules_that_sweep_it(bucket: S3Storage, seaweedfs: SeaweedFS) -> None:
    """They give uploads the time that they may take, and the grace, in whole days."""
    client = s3_client(seaweedfs.endpoint, seaweedfs.access_key, seaweedfs.secret_key)
    bucket.upload_expires = DAY + 1
    rules = [*lifecycle(bucket, grace=DAY)]
    client.put_bucket_lifecycle_configuration(
        Bucket=bucket.bucket, LifecycleConfiguration={"Rules": rules}
    )
    client.delete_bucket_lifecycle(Bucket=bucket.bucket)
    parts, drafts = rules
    assert {"DaysAfterInitiation": 3} == parts["AbortIncompleteMultipartUpload"]
    assert {"Prefix": bucket.prefix} == parts["Filter"]
    assert {"Days": 3} == drafts["Expiration"]
    assert {"Prefix": f"{bucket.prefix}.drafts/"} == drafts["Filter"]


def test_a_directory_has_no_rules() -> None:
    """It is swept by the command alone."""
    with MemoryStorage() as storage, pytest.raises(Error) as raised:
        lifecycle(storage)
    assert Kind.UNSUPPORTED is raised.value.kind


def _same(bucket: S3Storage, server: SeaweedFS) -> dict[str, Any]:
    return {
        "bucket": bucket.bucket,
        "endpoint": server.endpoint,
        "access_key": server.access_key,
        "secret_key": server.secret_key,
    }


# Any history.

EPOCH = datetime.datetime(2040, 1, 1, tzinfo=datetime.UTC)
"""When the histories begin: later than what the real clock gives to files that were touched."""


class History:
    """A directory, what has happened to it by a fake clock, and what a sweep has to find."""

    def __init__(self, path: Path, chance: random.Random) -> None:
        self.now = EPOCH
        self.storage = LocalStorage(path, upload_expires=3 * DAY)
        self.storage.check()
        self._root = path
        self._chance = chance
        self._since: dict[tuple[GarbageKind, str], datetime.datetime] = {}
        self._handles: set[str] = set()
        self._uploads: dict[str, int] = {}
        self._live: dict[str, NewFile] = {}
        self._years = iter(range(1000, 3000))

    def tick(self) -> None:
        """Give what the real clock has touched the time of the fake one."""
        for path in [self._root, *self._root.rglob("*")]:
            if path.lstat().st_mtime < EPOCH.timestamp():
                os.utime(path, (self.now.timestamp(),) * 2)

    def advance(self) -> None:
        """Let time pass."""
        self.now += datetime.timedelta(seconds=self._chance.choice([1, HOUR, 20 * HOUR, 2 * DAY]))

    def add(self) -> None:
        """Add an attachment, to which the application refers or not."""
        handle = self.storage.add("a.txt", b"a")
        if self._chance.random() < 0.5:
            self._handles.add(handle)
        else:
            self._since[GarbageKind.ATTACHMENT, handle] = self.now

    def begin(self) -> None:
        """Begin an upload in pieces."""
        handle = self.storage.uploads.create("b.bin", size=8).handle
        self._uploads[handle] = 0
        self._since[GarbageKind.UPLOAD, handle] = self.now + datetime.timedelta(days=3)

    def go_on(self) -> None:
        """Go on with an upload, which may complete it; one that has expired waits for a sweep."""
        for handle in [*self._uploads][:1]:
            if self._since[GarbageKind.UPLOAD, handle] <= self.now:
                with pytest.raises(Error):
                    self.storage.uploads.append(handle, self._uploads[handle], b"1234")
                self._uploads.pop(handle)
                continue
            self.storage.uploads.append(handle, self._uploads[handle], b"1234")
            self._uploads[handle] += 4
            if self._uploads[handle] == 8:
                self._uploads.pop(handle)
                self._since.pop((GarbageKind.UPLOAD, handle))
                self._since[GarbageKind.ATTACHMENT, handle] = self.now

    def crash(self) -> None:
        """Leave what a process that ends too early leaves."""
        name = f"{self._chance.getrandbits(128):032x}"
        parts = (name[:8], name[8:12], name[12:16], name[16:20], name[20:])
        made = self._chance.choice(
            [
                f".partial-{name}",
                f".uploads/{'-'.join(parts)}.data",
                f".uploads/{'-'.join(parts)}.key",
            ]
        )
        (self._root / ".uploads").mkdir(exist_ok=True)
        (self._root / made).write_bytes(b"x")
        self._since[GarbageKind.FILE, made] = self.now

    def tidy(self) -> None:
        """Leave empty directories."""
        path = Path(f"{next(self._years)}/01/02/{IDENTIFIER}")
        (self._root / path).mkdir(parents=True)
        for each in [path, *path.parents][:4]:
            self._since[GarbageKind.DIRECTORY, str(each)] = self.now

    def write(self) -> None:
        """Begin to write a file, or end it."""
        if self._live and self._chance.random() < 0.5:
            self._live.popitem()[1].__exit__()
            return
        with self.storage._tree.hold_open() as root:
            file = NewFile(os.dup(root))
        assert file._partial is not None
        self._live[file._partial] = file

    def sweep(self) -> None:
        """Sweep; all that is old is found, and nothing else."""
        grace = self._chance.choice([60, HOUR, DAY])
        delete = self._chance.random() < 0.7
        handles = self._handles or None
        before = self.now - datetime.timedelta(seconds=grace)
        old = {
            key
            for key, since in self._since.items()
            if since < before and (handles or key[0] is not GarbageKind.ATTACHMENT)
        }
        found = swept(
            sweep(self.storage, delete=delete, grace=grace, referenced=handles, now=self.now)
        )
        assert old == found
        if delete:
            for what, name in old:
                del self._since[what, name]
                self._uploads.pop(name, None)

    def end(self) -> None:
        """See that all that was not swept is there, and nothing else."""
        names = {name for what, name in self._since if what is GarbageKind.ATTACHMENT}
        assert names | self._handles == set(self.storage)
        names = {name for what, name in self._since if what is GarbageKind.UPLOAD}
        assert names == set(self.storage.uploads.list())
        for what, name in self._since:
            if what in (GarbageKind.FILE, GarbageKind.DIRECTORY):
                assert (self._root / name).exists()
        for name, file in self._live.items():
            assert (self._root / name).exists()
            file.__exit__()
        self.storage.close()


STEPS: list[Callable[[History], None]] = [
    History.advance,
    History.add,
    History.begin,
    History.go_on,
    History.crash,
    History.tidy,
    History.write,
    History.sweep,
]


@pytest.mark.long
@settings(
    max_examples=150,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(st.lists(st.sampled_from(STEPS), max_size=40), st.randoms(use_true_random=False))
def test_whatever_has_happened_a_sweep_finds_what_is_old_and_not_in_use(
    tmp_path_factory: pytest.TempPathFactory,
    steps: list[Callable[[History], None]],
    chance: random.Random,
) -> None:
    """By a fake clock: random histories of adds, uploads, crashes and sweeps."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(directory, "_TMPFILE", None)
        history = History(tmp_path_factory.mktemp("history"), chance)
        patch.setattr(rex.attach.storage.resumable, "_now", lambda: history.now)
        for step in [*steps, History.advance, History.sweep]:
            step(history)
            history.tick()
        history.end()
