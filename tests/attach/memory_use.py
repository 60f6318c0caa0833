"""The program that `test_memory.py` runs: how much memory a large attachment takes.

It takes one argument, JSON: the settings and the size in bytes. It prints, as JSON, the peak of
its memory above what it holds when idle, in bytes, for adding from a pipe and for reading back.
"""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rex.attach import Storage, get_storage
from rex.core import Rex

if TYPE_CHECKING:
    from collections.abc import Callable

MIB = 1024 * 1024


def content(size: int) -> None:
    """Write so many bytes, no MiB like another, to standard output."""
    for number in range(0, size, MIB):
        block = number.to_bytes(8, "big") * (MIB // 8)
        sys.stdout.buffer.write(block[: size - number])


def _status(name: str) -> int:
    found = re.search(rf"{name}:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert found is not None
    return int(found[1]) * 1024


def measure(do: Callable[[], None]) -> dict[str, float]:
    """Give the peak of the resident memory above what it is now (bytes), and the seconds."""
    idle = _status("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
    start = time.perf_counter()
    do()
    return {"bytes": _status("VmHWM") - idle, "seconds": time.perf_counter() - start}


def _add(storage: Storage, size: int) -> str:
    writer = subprocess.Popen([sys.executable, __file__, str(size)], stdout=subprocess.PIPE)
    with writer:
        assert writer.stdout is not None
        return storage.add("large.bin", writer.stdout)


def _read(storage: Storage, handle: str, size: int) -> None:
    digest = hashlib.sha256()
    position = 0
    with storage.open(handle) as stream:
        while chunk := stream.read(256 * 1024):
            digest.update(chunk)
            position += len(chunk)
    assert position == size
    expected = hashlib.sha256()
    for number in range(0, size, MIB):
        expected.update((number.to_bytes(8, "big") * (MIB // 8))[: size - number])
    assert expected.digest() == digest.digest()


def main(settings: dict[str, Any], size: int) -> None:
    """Measure with a storage that has been used before."""
    with Rex("rex.attach", **settings):
        storage = get_storage()
        small = storage.add("small.bin", b"small")
        assert storage.open(small).read() == b"small"
        handles = []
        adding = measure(lambda: handles.append(_add(storage, size)))
        reading = measure(lambda: _read(storage, handles[0], size))
        storage.remove(handles[0])
    print(json.dumps({"add": adding, "open": reading}))  # noqa: T201 - the answer


if __name__ == "__main__":
    if sys.argv[1].isdigit():
        content(int(sys.argv[1]))
    else:
        task = json.loads(sys.argv[1])
        main(task["settings"], task["size"])
