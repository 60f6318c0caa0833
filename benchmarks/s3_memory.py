"""The memory that a large attachment takes: the highest that the process ever had, above idle.

Each is a process of its own, which adds or opens 4 GiB (512 MiB in the quick run) on S3 or in a
directory, and looks at its own peak (Linux: VmHWM, proc_pid_status(5)).
"""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING

from measure import Figure

if TYPE_CHECKING:
    from bench import Bench

MIB = 1024 * 1024
GOAL = 64.0

PROGRAM = """
import json, re, sys
from rex.attach import open_storage

def peak():
    status = open("/proc/self/status").read()
    return int(re.search(r"VmHWM:\\s+(\\d+) kB", status)[1]) / 1024

given = json.loads(sys.stdin.read())
chunk = bytes(1024 * 1024)
with open_storage(given["url"], **given["keys"]) as storage:
    storage.remove(storage.add("warm.bin", b"warm"))
    idle = peak()
    if given["handle"] is None:
        handle = storage.add("large.bin", (chunk for _ in range(given["mib"])))
    else:
        handle = given["handle"]
        with storage.open(handle) as stream:
            while stream.read(len(chunk)):
                pass
    print(json.dumps([handle, peak() - idle]))
"""


def run(bench: Bench) -> list[Figure]:
    """Measure it."""
    mib = bench.choose(256, 2048)
    server = bench.server
    on_s3 = {"access_key": server.access_key, "secret_key": server.secret_key}
    figures = []
    for place, url, keys in (
        ("on S3", f"s3://{server.bucket}?endpoint={server.endpoint}", on_s3),
        ("in a directory", f"file://{bench.directory}", {}),
    ):
        handle = None
        for verb in ("add", "open"):
            given = {"url": url, "keys": keys, "mib": mib, "handle": handle}
            done = subprocess.run(
                [sys.executable, "-c", PROGRAM],
                input=json.dumps(given),
                capture_output=True,
                text=True,
                check=True,
            )
            handle, above = json.loads(done.stdout)
            case = f"memory of {verb} of {mib} MiB {place}"
            figures.append(Figure(case, "idle", (above,), GOAL, unit="MiB"))
    return figures
