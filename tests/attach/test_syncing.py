"""Threads that wait for the disk together: as durable as each for itself, with fewer syncs."""

from __future__ import annotations

import errno
import os
import signal
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from programs import PATIENCE
from rex.attach import Storage, open_storage
from rex.attach.backends.local import syncing
from rex.attach.backends.local.linux import can_sync_all, sync_all
from rex.attach.maintenance import copy
from rex.attach.maintenance.copying import Outcome
from rex.core import Error, Kind

if TYPE_CHECKING:
    from collections.abc import Iterator

THREADS = 8


@pytest.fixture
def storage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Storage]:
    """Open a directory whose file system counts as one that can sync all, whatever it is."""
    monkeypatch.setattr(syncing, "can_sync_all", lambda _: True)
    with open_storage(f"file://{tmp_path}/ours") as storage:
        storage.init()
        yield storage


@pytest.fixture
def source() -> Iterator[Storage]:
    """Open a storage with attachments to copy."""
    with open_storage("memory:") as storage:
        for number in range(50):
            storage.add(f"{number}.txt", f"content {number}")
        yield storage


def grouped(storage: Storage) -> Any:
    """Return the context manager within which threads wait together."""
    assert storage.abilities.grouped is not None
    return storage.abilities.grouped()


def outcomes(source: Storage, dest: Storage) -> list[Outcome]:
    """Copy everything; return the outcomes."""
    return [copied.outcome for copied in copy(source, dest)]


def test_those_that_come_during_a_sync_share_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not the one that is running, which may have passed their bytes."""
    syncs: list[int] = []
    first_runs = threading.Event()
    waiting = threading.Semaphore(0)
    wait = syncing._Group.wait

    def sync(fd: int) -> None:
        syncs.append(fd)
        if len(syncs) == 1:
            first_runs.set()
            for _ in range(THREADS - 2):  # the first of the next group waits for its turn
                assert waiting.acquire(timeout=PATIENCE)
        sync_all(fd)

    def count(group: syncing._Group) -> None:
        waiting.release()
        wait(group)

    monkeypatch.setattr(syncing, "can_sync_all", lambda _: True)
    monkeypatch.setattr(syncing, "sync_all", sync)
    monkeypatch.setattr(syncing._Group, "wait", count)
    with (tmp_path / "a").open("wb") as file, ThreadPoolExecutor(THREADS) as pool:
        file.write(b"content")
        file.flush()
        together = syncing.grouped(file.fileno())
        calls = [pool.submit(together.sync_file, file.fileno())]
        assert first_runs.wait(PATIENCE)
        calls += [pool.submit(together.sync_file, file.fileno()) for _ in range(THREADS - 1)]
        for call in calls:
            call.result(PATIENCE)
    assert len(syncs) == 2


def test_a_copy_waits_with_all_its_threads(
    storage: Storage, source: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And what is stored afterwards is synced for itself again."""
    syncs: list[int] = []

    def sync(fd: int) -> None:
        syncs.append(fd)
        sync_all(fd)

    monkeypatch.setattr(syncing, "sync_all", sync)
    assert {Outcome.COPIED} == {*outcomes(source, storage)}
    copied = len(syncs)
    assert 2 <= copied <= 2 * len([*source])
    for handle in source:
        with source.open(handle) as ours, storage.open(handle) as theirs:
            assert ours.read() == theirs.read()
    storage.add("a.txt", "content")
    assert copied == len(syncs)


@pytest.mark.parametrize("failing", ["sync_all", "check_written"])
def test_a_failure_is_that_of_the_whole_group(
    storage: Storage, source: Storage, monkeypatch: pytest.MonkeyPatch, failing: str
) -> None:
    """None of its files gets a name. Later, all are copied."""
    syncs = []

    def fail(fd: int) -> None:
        syncs.append(fd)
        if len(syncs) == 1:  # before the copy begins
            sync_all(fd)
            return
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with monkeypatch.context() as patches:
        patches.setattr(syncing, failing, fail)
        if failing == "check_written":
            syncs.append(-1)
        assert {Outcome.FAILED} == {*outcomes(source, storage)}
    assert not [*storage]
    assert {Outcome.COPIED} == {*outcomes(source, storage)}
    assert [*source] == [*storage]


def test_a_copy_syncs_first_what_it_may_find(
    storage: Storage, source: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A copy that was killed may have left names that only the memory has."""
    outcomes(source, storage)
    seen = []

    def sync(_: int) -> None:
        seen.append([*storage])

    monkeypatch.setattr(syncing, "sync_all", sync)
    assert {Outcome.SAME} == {*outcomes(source, storage)}
    assert seen == [[*source]]

    def fail(_: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(syncing, "sync_all", fail)
    with pytest.raises(Error) as caught:
        outcomes(source, storage)
    assert caught.value.kind is Kind.CORRUPT


def test_the_first_of_a_group_that_is_interrupted_wakes_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By Ctrl-C, or by the handler of a signal: their sync has failed."""

    def interrupt(_: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(syncing, "can_sync_all", lambda _: True)
    monkeypatch.setattr(syncing, "sync_all", interrupt)
    with (tmp_path / "a").open("wb") as file:
        together: Any = syncing.grouped(file.fileno())
        with together._turn, ThreadPoolExecutor(2) as pool:
            first = pool.submit(together.sync_file, file.fileno())
            while together._next is None:
                pass
            group = together._next
            other = pool.submit(group.wait)
            together._turn.release()
            assert isinstance(first.exception(PATIENCE), KeyboardInterrupt)
            assert isinstance(other.exception(PATIENCE), InterruptedError)
            together._turn.acquire()


def test_a_fork_syncs_for_itself(storage: Storage) -> None:
    """Its parent's thread that would sync for all does not exist there."""
    with grouped(storage):
        files: Any = storage
        with files._files._syncing._turn, files._files._syncing._lock:
            child = os.fork()
            if child == 0:
                signal.alarm(PATIENCE)
                try:
                    storage.add("a.txt", "content")
                finally:
                    os._exit(len([*storage]))
            _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 1


def test_only_file_systems_whose_failures_are_known_sync_all() -> None:
    """That of /proc is not one of them."""
    with Path("/proc/self/mountinfo").open("rb") as file:
        assert not can_sync_all(file.fileno())
