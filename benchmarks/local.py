"""Storing a small file in a directory, beside the bare system calls.

The bare add is as durable as ours: a file without a name is written, synced, linked into a new
directory, and that directory and the day's are synced.
"""

from __future__ import annotations

import os
import uuid
from typing import TYPE_CHECKING

from measure import OURS, Figure, compare

from rex.attach import open_storage

if TYPE_CHECKING:
    from bench import Bench

SIZE = 4096


def run(bench: Bench) -> list[Figure]:
    """Measure it."""
    content = os.urandom(SIZE)
    rounds, number = bench.choose((7, 100), (15, 300))
    day = bench.directory / "bare/2026/01/01"
    day.mkdir(parents=True)
    day_fd = os.open(day, os.O_RDONLY)

    def add() -> None:
        fd = os.open(bench.directory / "bare", os.O_WRONLY | os.O_TMPFILE, 0o640)
        os.write(fd, content)
        os.fsync(fd)
        name = str(uuid.uuid4())
        os.mkdir(name, 0o750, dir_fd=day_fd)
        parent = os.open(name, os.O_RDONLY, dir_fd=day_fd)
        os.link(
            f"/proc/self/fd/{fd}", "a.bin", src_dir_fd=fd, dst_dir_fd=parent, follow_symlinks=True
        )
        os.fsync(parent)
        os.fsync(day_fd)
        os.close(parent)
        os.close(fd)

    with open_storage(f"file://{bench.directory}/ours") as storage:
        storage.check()  # which makes the directory
        bare = "the bare calls"
        return compare(
            "add 4 KiB in a directory",
            {OURS: lambda: storage.add("a.bin", content), bare: add},
            {bare: 1.25},
            rounds=rounds,
            number=number,
        )
