"""A real power cut: processes add and remove on a file system whose power then goes.

This is a program, since it needs a mount namespace of its own: whatever happens to it, the mount
goes with it. ``power_cut.py cut ext4 fsync`` prints a `Report` as JSON. The file system lives in
a file behind a loop device; its power goes by the ioctl with which the file systems' own tests do
it: nothing more is written, not even the journal.
"""

from __future__ import annotations

import datetime
import fcntl
import hashlib
import json
import os
import random
import selectors
import shutil
import stat
import struct
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypedDict

from rex.attach.content import Content
from rex.attach.handle import make_handle
from rex.attach.storages.local import LocalStorage
from rex.attach.storages.tree import MARKER
from rex.core import Error

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ADDS = 200
"""So many attachments are acknowledged before the power goes."""
WORKERS = 4
SIZES = (0, 1, 100, 4096, 70_000, 1_200_000)
DAYS = (0, 0, 1, 2, 40, 400)
"""How many days ago the attachments were made: today's directory and others."""

_FS_IOC_SHUTDOWN = 0x8004587D
_WITHOUT_JOURNAL = 2  # FS_GOING_FLAGS_NOLOGFLUSH

_ENOUGH = ADDS + WORKERS  # each worker may be about to remove one
_IN_NAMESPACE = ("unshare", "--mount", "--propagation=private")


class Report(TypedDict):
    """What was acknowledged before the power went, and what was there after it came back."""

    added: int
    """Adds acknowledged, and not removed again."""
    removed: int
    """Removals acknowledged."""
    lost: int
    """Of the added: those that are gone, or not what they were."""
    risen: int
    """Of the removed: those that are there again."""
    broken: int
    """Files that are visible, acknowledged or not, and not whole."""
    usable: bool
    """Whether attachments can be added afterwards."""


class Added(NamedTuple):
    """What a worker says of an attachment: all that must outlast the power cut."""

    handle: str
    size: int
    digest: str
    content_type: str


def obstacle(filesystem: str = "ext4") -> str | None:
    """Say why no power can be cut here, or None when it can."""
    if os.geteuid() != 0:
        return "needs root"
    programs = ("unshare", "mount", "umount", f"mkfs.{filesystem}")
    if missing := [name for name in programs if shutil.which(name) is None]:
        return f"needs {', '.join(missing)}"
    done = subprocess.run(
        [*_IN_NAMESPACE, sys.executable, __file__, "try", filesystem],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return None if done.returncode == 0 else done.stderr.strip().rpartition("\n")[2]


def cut(filesystem: str, synced: str) -> Report:
    """Cut the power of a file system; `synced` says what `os.fsync` does: see `_SYNCED`."""
    done = subprocess.run(
        [*_IN_NAMESPACE, sys.executable, __file__, "cut", filesystem, synced],
        stdout=subprocess.PIPE,
        text=True,
        timeout=120,
        check=True,
    )
    report: Report = json.loads(done.stdout)
    return report


# What follows runs in the namespace.


class _Disk:
    """A file system in a file, with a power switch."""

    def __init__(self, directory: Path, filesystem: str, size: int) -> None:
        self._image = directory / "image"
        self.root = directory / "mounted"
        self.root.mkdir()
        with self._image.open("wb") as image:
            image.truncate(size)
        _run(f"mkfs.{filesystem}", "-q", str(self._image))

    def power_on(self) -> None:
        _run("mount", "-o", "loop", str(self._image), str(self.root))

    def cut_power(self) -> None:
        fd = os.open(self.root, os.O_RDONLY)
        try:
            fcntl.ioctl(fd, _FS_IOC_SHUTDOWN, struct.pack("I", _WITHOUT_JOURNAL))
        finally:
            os.close(fd)

    def unmount(self) -> None:
        _run("umount", str(self.root))


def _run(*command: str) -> None:
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


def _try(filesystem: str, directory: Path) -> None:
    disk = _Disk(directory, filesystem, (8 if filesystem == "ext4" else 320) << 20)
    disk.power_on()
    disk.cut_power()
    disk.unmount()


def _cut(filesystem: str, synced: str, directory: Path) -> None:
    disk = _Disk(directory, filesystem, 1 << 30)
    disk.power_on()
    storage = LocalStorage(disk.root / "attachments")
    storage.check()
    workers = [
        subprocess.Popen(
            [sys.executable, __file__, "work", storage.directory, synced, str(number)],
            stdout=subprocess.PIPE,
        )
        for number in range(WORKERS)
    ]
    said = _listen(workers, disk.cut_power)
    storage.close()
    disk.unmount()
    disk.power_on()
    report = _judge(said, LocalStorage(disk.root / "attachments"))
    disk.unmount()
    print(json.dumps(report))  # noqa: T201 - the answer


def _listen(
    workers: list[subprocess.Popen[bytes]], enough: Callable[[], None]
) -> list[tuple[str, Any]]:
    """Collect what the workers say, call `enough` in the middle of their work, and go on."""
    said: dict[int, bytes] = {}
    kept = 0
    with selectors.DefaultSelector() as selector:
        for worker in workers:
            assert worker.stdout is not None
            selector.register(worker.stdout, selectors.EVENT_READ)
        while selector.get_map():
            for key, _ in selector.select():
                data = os.read(key.fd, 1 << 16)
                if not data:
                    selector.unregister(key.fileobj)
                said[key.fd] = said.get(key.fd, b"") + data
            was_enough, kept = kept >= _ENOUGH, sum(map(_kept, said.values()))
            if kept >= _ENOUGH and not was_enough:
                enough()
    for worker in workers:
        worker.communicate()
    return [tuple(json.loads(line)) for lines in said.values() for line in lines.splitlines()]


def _kept(said: bytes) -> int:
    return said.count(b'["added"') - said.count(b'["removing"')


def _judge(said: list[tuple[str, Any]], storage: LocalStorage) -> Report:
    added = {what[0]: Added(*what) for verb, what in said if verb == "added"}
    adding = {what[0]: Added(*what) for verb, what in said if verb == "adding"}
    doomed = {what for verb, what in said if verb == "removing"}
    removed = {what for verb, what in said if verb == "removed"}
    there = {handle: _read(storage, handle) for handle in storage}
    kept = {handle: what for handle, what in added.items() if handle not in doomed}
    return {
        "added": len(kept),
        "removed": len(removed),
        "lost": sum(there.get(handle) != what for handle, what in kept.items()),
        "risen": len(removed & there.keys()),
        "broken": sum(what != adding.get(handle) for handle, what in there.items())
        + sum(not _is_expected(path, there) for path in Path(storage.directory).rglob("*")),
        "usable": storage.open(storage.add("after.txt", b"after")).read() == b"after",
    }


def _read(storage: LocalStorage, handle: str) -> Added | None:
    try:
        with storage.open(handle) as stream:
            content = stream.read()
    except Error:
        return None
    digest = hashlib.sha256(content).hexdigest()
    if digest != stream.info.digest:
        return None
    return Added(handle, len(content), digest, stream.info.content_type)


def _is_expected(path: Path, there: dict[str, Any]) -> bool:
    """Tell whether something in the directory is one of the listed files, or a directory."""
    is_ours = path.name == MARKER or any(str(path).endswith(name) for name in there)
    return is_ours or stat.S_ISDIR(path.lstat().st_mode)


# What follows runs in the workers.


def _work(directory: str, synced: str, seed: int) -> None:
    """Add and remove until the power goes; say what is about to be done, and what is done."""
    setattr(os, "fsync", _SYNCED[synced])  # noqa: B010 - mypy forbids to assign it
    storage = LocalStorage(directory)
    for step in _steps(random.Random(seed)):  # noqa: S311 - no secret
        try:
            step(storage)
        except Error:
            return


def _steps(chance: random.Random) -> Iterator[Callable[[LocalStorage], None]]:
    kept: list[str] = []

    def add(storage: LocalStorage) -> None:
        data = chance.randbytes(chance.choice(SIZES))
        now = datetime.datetime.now(datetime.UTC)
        day = now - datetime.timedelta(days=chance.choice(DAYS))
        handle = make_handle("scan.dat").replace(f"{now:/%Y/%m/%d/}", f"{day:/%Y/%m/%d/}")
        what = Added(handle, len(data), hashlib.sha256(data).hexdigest(), "image/x-scan")
        _say("adding", what)
        # As `Storage.add` does, but for the day.
        with storage._mapped(handle):
            storage._put(handle[1:], Content(data), what.content_type)
        _say("added", what)
        kept.append(handle)

    def remove(storage: LocalStorage) -> None:
        handle = kept.pop(chance.randrange(len(kept)))
        _say("removing", handle)
        storage.remove(handle)
        _say("removed", handle)

    for _ in range(100 * ADDS):
        yield remove if len(kept) > 2 and chance.random() < 0.2 else add


def _say(verb: str, what: object) -> None:
    os.write(1, json.dumps([verb, what]).encode() + b"\n")


_fsync = os.fsync


def _sync_directories(fd: int) -> None:
    if stat.S_ISDIR(os.fstat(fd).st_mode):
        _fsync(fd)


_SYNCED: dict[str, Callable[[int], None]] = {
    "all": _fsync,
    "directories": _sync_directories,
    "nothing": lambda _: None,
}
"""What `os.fsync` does: all that it should, or, to see that it is needed, less."""


if __name__ == "__main__":
    if sys.argv[1] == "work":
        _work(sys.argv[2], sys.argv[3], int(sys.argv[4]))
    else:
        with tempfile.TemporaryDirectory(prefix="rex-power-cut-") as temporary:
            if sys.argv[1] == "cut":
                _cut(sys.argv[2], sys.argv[3], Path(temporary))
            else:
                _try(sys.argv[2], Path(temporary))
