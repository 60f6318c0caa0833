"""Copying everything from a directory to S3 and back, beside `rclone copy` and `s5cmd cp`.

Many small files (20,000 of 4 KiB; the quick run, 2,000) and some large ones (40 of 20 MiB; 8). All
are commands, with the same files and a new place each time; rclone gets as many workers as ours,
s5cmd has 256. Ours checks each SHA-256 and lists both sides; in a directory, what it has written is
on the disk, while the others leave that to the system.
"""

from __future__ import annotations

import itertools
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from measure import OURS, Figure, compare, progress

from rex.attach import open_storage

if TYPE_CHECKING:
    from collections.abc import Callable

    from bench import Bench

KIB = 1024
MIB = 1024 * KIB
WORKERS = "32"


def run(bench: Bench) -> list[Figure]:
    """Measure it."""
    small, large = bench.choose((2000, 8), (20_000, 40))
    rounds = 3
    goals = {"rclone": 2.0, "s5cmd": 1.1}
    return [
        *_both_ways(bench, small, 4 * KIB, goals, rounds),
        *_both_ways(bench, large, 20 * MIB, dict.fromkeys(goals, 1.0), rounds),
    ]


def _both_ways(
    bench: Bench, number: int, size: int, goals: dict[str, float], rounds: int
) -> list[Figure]:
    what = f"{number:,} of {size // KIB:,} KiB"
    source = bench.directory / f"source-{size}"
    progress(f"making {what}")
    with open_storage(f"file://{source}") as storage:
        storage.check()
        content = os.urandom(size)
        for each in range(number):
            storage.add(f"{each}.bin", content[each % 97 :] + content[: each % 97])
    there = _Commands(bench, number).to_s3(source)
    figures = compare(f"copy {what} to S3", there, dict(goals), rounds=rounds, sense="at least")
    back = _Commands(bench, number).from_s3(source)
    figures += compare(f"copy {what} from S3", back, dict(goals), rounds=rounds, sense="at least")
    shutil.rmtree(source)
    return figures


class _Commands:
    """The contestants."""

    places = itertools.count()

    def __init__(self, bench: Bench, number: int) -> None:
        self._bench = bench
        self._number = number
        server = bench.server
        self._endpoint = server.endpoint
        self._bucket = server.bucket
        self._bin = Path(sys.executable).parent
        self._environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(bench.directory),
            "RCLONE_CONFIG": "/dev/null",
            "AWS_ACCESS_KEY_ID": server.access_key,
            "AWS_SECRET_ACCESS_KEY": server.secret_key,
            "AWS_REGION": "us-east-1",
        }

    def to_s3(self, source: Path) -> dict[str, Callable[[], object]]:
        """Copy a directory to a new place on the server."""
        return {
            OURS: lambda: self._ours(f"file://{source}", self._url(self._place())),
            "rclone": lambda: self._rclone(str(source), self._remote(self._place())),
            "s5cmd": lambda: self._s5cmd(f"{source}/", f"s3://{self._bucket}/{self._place()}/"),
        }

    def from_s3(self, source: Path) -> dict[str, Callable[[], object]]:
        """Copy what is on the server to a new directory."""
        place = self._place()
        self._ours(f"file://{source}", self._url(place))

        def into(copy: Callable[[str], object]) -> Callable[[], object]:
            def act() -> None:
                target = self._bench.directory / self._place()
                copy(str(target))
                copied = sum(path.is_file() for path in target.glob("*/*/*/*/*"))
                assert self._number == copied
                shutil.rmtree(target)

            return act

        return {
            OURS: into(lambda target: self._ours(self._url(place), f"file://{target}")),
            "rclone": into(lambda target: self._rclone(self._remote(place), target)),
            "s5cmd": into(
                lambda target: self._s5cmd(f"s3://{self._bucket}/{place}/*", f"{target}/")
            ),
        }

    def _place(self) -> str:
        return f"copies-{next(self.places)}"

    def _url(self, place: str) -> str:
        return f"s3://{self._bucket}/{place}?endpoint={self._endpoint}"

    def _remote(self, place: str) -> str:
        options = f'provider=Other,env_auth=true,no_check_bucket=true,endpoint="{self._endpoint}"'
        return f":s3,{options}:{self._bucket}/{place}"

    def _ours(self, source: str, dest: str) -> None:
        self._run("rex", "attach", "copy", "--workers", WORKERS, source, dest)

    def _rclone(self, source: str, dest: str) -> None:
        options = ("--transfers", WORKERS, "--checkers", WORKERS)
        self._run("rclone", "copy", *options, source, dest)

    def _s5cmd(self, source: str, dest: str) -> None:
        self._run("s5cmd", "--endpoint-url", self._endpoint, "--log", "error", "cp", source, dest)

    def _run(self, command: str, *arguments: str) -> None:
        subprocess.run(
            [self._bin / command, *arguments],
            env=self._environment,
            check=True,
            stdout=subprocess.DEVNULL,
        )
