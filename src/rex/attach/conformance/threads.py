"""Promises on threads: every operation may be called from any thread at any time."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from rex.attach.conformance.expectations import expect
from rex.attach.conformance.promise import promise
from rex.attach.conformance.samples import MIB, sample, split_chunks

if TYPE_CHECKING:
    from rex.attach.conformance.harness import Harness

THREADS = 16


@promise
def many_threads_can_add_at_once(harness: Harness) -> None:
    """Attachments that 16 threads add concurrently are all stored, with their own bytes."""
    with harness.storage() as storage, ThreadPoolExecutor(THREADS) as pool:
        barrier = threading.Barrier(THREADS)

        def add(number: int) -> dict[str, bytes]:
            barrier.wait()
            contents = [sample(5000, f"{number}-{step}") for step in range(8)]
            return {storage.add("same.bin", split_chunks(data, 999)): data for data in contents}

        stored: dict[str, bytes] = {}
        for added in pool.map(add, range(THREADS)):
            stored |= added
        expect("different handles", THREADS * 8, len(stored))
        expect("attachments listed", sorted(stored), list(storage))
        for handle, data in stored.items():
            with storage.open(handle) as stream:
                expect("content", data, stream.read())


@promise
def large_attachments_can_be_added_at_once(harness: Harness) -> None:
    """Concurrent multipart content does not get mixed up."""
    with harness.storage() as storage, ThreadPoolExecutor(4) as pool:
        contents = [sample(9 * MIB + number) for number in range(4)]
        handles = pool.map(lambda data: storage.add("a.bin", split_chunks(data, MIB)), contents)
        for handle, data in zip(handles, contents, strict=True):
            with storage.open(handle) as stream:
                expect("content", data, stream.read())


@promise
def many_threads_can_read_at_once(harness: Harness) -> None:
    """16 threads read one attachment concurrently from different positions."""
    data = sample(2 * MIB)
    with harness.storage() as storage, ThreadPoolExecutor(THREADS) as pool:
        handle = storage.add("a.bin", data)

        def read(number: int) -> bytes:
            with storage.open(handle) as stream:
                stream.seek(number * 100_000)
                return stream.read()

        for number, rest in enumerate(pool.map(read, range(THREADS))):
            expect(f"from byte {number}00000", data[number * 100_000 :], rest)


@promise
def many_threads_can_do_different_things_at_once(harness: Harness) -> None:
    """Threads add, read, list and remove concurrently without disturbing each other."""
    with harness.storage() as storage, ThreadPoolExecutor(THREADS) as pool:

        def live(number: int) -> str:
            data = sample(2000, str(number))
            handle = storage.add(f"{number}.bin", data)
            passing = storage.add(f"{number}-passing.bin", data)
            with storage.open(handle) as stream:
                expect("content", data, stream.read())
            storage.remove(passing)
            expect("own attachments listed", 1, sum(listed == handle for listed in storage))
            expect("size", 2000, storage.stat(handle).st_size)
            return handle

        expect("attachments left", sorted(pool.map(live, range(3 * THREADS))), list(storage))
