"""The campaign: ``python -m trust [PART] [TIMES]``, or ``make trust``."""

from __future__ import annotations

import argparse
import importlib
import json
import logging
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from postgresql import PROGRAMS
from trust import broken, disk
from trust.report import Report, table

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["PARTS", "Part", "run_part"]

TESTS = Path(__file__).parent.parent
PAUSE_SECONDS = 10
"""Between two lines of progress."""


class Part(NamedTuple):
    """A part of the campaign."""

    times: int
    """How often it tries, in its own unit: a cut, a failure, a call, a history, a meeting."""
    short_times: int
    """How often in `make test-all`."""
    needs_disk: bool = False
    """Whether it mounts file systems."""


PARTS = {
    "power_cuts": Part(100, 2, needs_disk=True),
    "failing_device": Part(50, 1, needs_disk=True),
    "system_calls": Part(10_000, 80),
    "histories": Part(15, 1),
    "network": Part(400, 8),
    "two_writers": Part(15, 1),
    "hooks": Part(50, 4),
    "sql": Part(5_000, 40),
}
"""The parts, by the names of their modules."""


def obstacle(name: str) -> str | None:
    """Return why a part cannot run on this machine, or None."""
    if name == "sql" and PROGRAMS is None:
        return "needs Debian's postgresql"
    return disk.obstacle() if PARTS[name].needs_disk else None


def run_part(name: str, times: int, broken_by: str = "", *, is_quiet: bool = True) -> Report:
    """Run a part in a process of its own; `broken_by` names what to break before."""
    program = [sys.executable, "-m", "trust", name, str(times), "--inside"]
    if broken_by:
        program += ["--break", broken_by]
    if PARTS[name].needs_disk:
        program = [*disk.IN_NAMESPACE, *program]
    with tempfile.TemporaryDirectory(prefix="rex-trust-") as directory:
        path = os.pathsep.join([str(TESTS), *filter(None, [os.environ.get("PYTHONPATH")])])
        environment = {**os.environ, "TMPDIR": directory, "PYTHONPATH": path}
        process = subprocess.Popen(
            program,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL if is_quiet else None,
        )
        try:
            output, _ = process.communicate()
        except BaseException:
            # A namespace ends with its first process; others clean up after themselves.
            (process.kill if PARTS[name].needs_disk else process.terminate)()
            process.wait()
            raise
        if process.returncode:
            raise ChildProcessError(process.returncode, name)
    return Report.from_json(json.loads(output))


def _inside(name: str, times: int, broken_by: str) -> None:
    """Run a part in this process, and print its report as JSON."""
    logging.getLogger("rex.attach").addHandler(logging.NullHandler())  # it expects what fails
    broken.BREAKS[broken_by]()
    told = [time.monotonic()]

    def tell(report: Report) -> None:
        if time.monotonic() - told[0] > PAUSE_SECONDS:
            told[0] = time.monotonic()
            line = report.lines[-1]
            print(f"  {line.what}: {line.times:,}", *_found(report), file=sys.stderr, flush=True)

    try:
        report = importlib.import_module(f"trust.{name}").run(times, tell)
    except KeyboardInterrupt:
        sys.exit(130)
    print(json.dumps(report.as_json()), flush=True)


def _found(report: Report) -> Iterator[str]:
    if report.violations:
        yield f"{len(report.violations)} violations, the last: {report.violations[-1]}"


def main() -> int:
    """Run the parts that were asked for, and print a table."""
    parser = argparse.ArgumentParser(prog="python -m trust", description=__doc__)
    parser.add_argument("part", nargs="?", default="all", choices=["all", *PARTS])
    parser.add_argument("times", nargs="?", type=int, help="how often it tries")
    parser.add_argument("--break", dest="broken_by", default="", choices=[*broken.BREAKS])
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    if given.inside:
        _inside(given.part, given.times, given.broken_by)
        return 0
    whole, failed = Report(), False
    for name in PARTS if given.part == "all" else [given.part]:
        if reason := obstacle(name):
            print(f"{name} cannot run here: it {reason}", file=sys.stderr)
            continue
        times = PARTS[name].times if given.times is None else given.times
        print(f"{name} ...", file=sys.stderr, flush=True)
        start = time.monotonic()
        try:
            whole.merge(run_part(name, times, given.broken_by, is_quiet=False))
        except ChildProcessError as failure:  # the other parts have found something, too
            failed = True
            print(f"{name} failed: {failure}", file=sys.stderr, flush=True)
        print(f"{name}: {time.monotonic() - start:.0f} s", file=sys.stderr, flush=True)
    print(table(whole))
    for violation in whole.violations:
        print(f"VIOLATION {violation}")
    return 1 if whole.violations or failed or not whole.lines else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
