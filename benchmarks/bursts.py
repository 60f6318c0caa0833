"""How much memory a worker keeps after a burst of uploads.

``PYTHONPATH=tests python benchmarks/bursts.py`` runs ``rex serve`` with one worker on a throwaway
SeaweedFS, sends it 32 uploads of 20 MiB at once, then 128, and prints the resident memory of the
worker before, at its highest, right afterwards and a minute later, and how fast the uploads went.
``--env MALLOC_ARENA_MAX=2`` gives the server an environment variable. Linux only.
"""

from __future__ import annotations

import argparse
import http.client
import tempfile
import threading
import time
from pathlib import Path

from rex.attach_demo.seaweedfs import SeaweedFS
from served import HOST, Served, rex_serving

MIB = 1024 * 1024
SIZE = 20 * MIB
PIECE = 256 * 1024
TIMEOUT = 1800


def upload(port: int, content: bytes, failures: list[str]) -> None:
    """Send one attachment, in pieces as a client does that reads a file."""
    connection = http.client.HTTPConnection(HOST, port, timeout=TIMEOUT)
    try:
        connection.putrequest("POST", "/attach/?name=a.bin")
        connection.putheader("Content-Length", str(len(content)))
        connection.endheaders()
        view = memoryview(content)
        for start in range(0, len(content), PIECE):
            connection.send(view[start : start + PIECE])
        answer = connection.getresponse()
        if answer.status != http.client.CREATED:
            failures.append(f"{answer.status} {answer.read()!r}")
    except OSError as failure:
        failures.append(repr(failure))
    finally:
        connection.close()


def burst(server: Served, number: int, content: bytes, wait: float) -> None:
    """Send so many at once, and print what that took."""
    before = server.memory()
    server.forget_peak()
    failures: list[str] = []
    threads = [
        threading.Thread(target=upload, args=(server.port, content, failures))
        for _ in range(number)
    ]
    began = time.monotonic()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    took = time.monotonic() - began
    after, peak = server.memory(), server.peak_memory()
    time.sleep(wait)
    later = server.memory()
    print(
        f"{number} uploads of {SIZE // MIB} MiB: before {before // MIB} MiB, highest "
        f"{peak // MIB}, afterwards {after // MIB}, {wait:g} s later {later // MIB}; "
        f"{number * SIZE / MIB / took:.0f} MiB/s, CPU {server.cpu_seconds():.0f} s in all; "
        f"{len(failures)} failed {failures[:1]}",
        flush=True,
    )


def main() -> None:
    """Measure, and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--uploads", type=int, nargs="*", default=[32, 128])
    parser.add_argument("--wait", type=float, default=60, help="seconds until the last figure")
    parser.add_argument("--env", nargs="*", default=[], help="NAME=VALUE for the server")
    parser.add_argument("--directory", action="store_true", help="a directory instead of S3")
    options = parser.parse_args()
    environment = dict(each.split("=", 1) for each in options.env)
    content = bytes(range(256)) * (SIZE // 256)
    with SeaweedFS() as seaweedfs, tempfile.TemporaryDirectory(prefix="rex-bursts-") as directory:
        settings = {"attach_dir": f"{directory}/a"} if options.directory else seaweedfs.settings()
        settings["attach_s3_timeout"] = "10m"  # of a slow machine
        with rex_serving(Path(directory), **settings, **environment) as server:
            upload(server.port, content[:MIB], [])
            for number in options.uploads:
                burst(server, number, content, options.wait)


if __name__ == "__main__":
    main()
