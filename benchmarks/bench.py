"""The benchmarks: ``make bench`` (minutes), ``make bench-full``, or ``python benchmarks/bench.py``.

Each case compares with the alternatives that a user might pick, on the same server, in turns.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from history import append, row_of
from measure import Figure, progress, spread
from report import draw, machine, write

from rex.attach_demo.seaweedfs import SeaweedFS

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

CASES = (
    "s3_small",
    "s3_large",
    "s3_memory",
    "s3_many",
    "archive",
    "links",
    "local",
    "django_files",
    "listing",
    "copying",
    "serving",
    "delivering",
    "tus",
    "companion",
    "starting",
)

T = TypeVar("T")


class Bench(NamedTuple):
    """What a case can use."""

    server: SeaweedFS
    directory: Path
    """An empty directory on this machine's disk."""
    is_full: bool

    def choose(self, quick: T, full: T) -> T:
        """Return the amount of work for this run."""
        return full if self.is_full else quick


def main() -> None:
    """Measure, print the table, and write the page if requested."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "cases", nargs="*", metavar="CASE", help=f"one of {', '.join(CASES)}; default: all"
    )
    parser.add_argument("--full", action="store_true", help="repeat until the figures are reliable")
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    parser.add_argument(
        "--write",
        type=Path,
        help="write the page and its plots to this path, and a row to history.jsonl",
    )
    parser.add_argument(
        "--plots", type=Path, help="write only the plots, for the page at this path"
    )
    options = parser.parse_args()
    unknown = {*options.cases} - {*CASES}
    if unknown:
        parser.error(f"unknown case: {', '.join(sorted(unknown))}")
    if options.plots:
        import growth

        import clients

        with prepared(is_full=options.full) as bench:
            draw(options.plots, growth.run(bench))
            clients.draw(options.plots, clients.run(bench))
        return
    by_module = {}
    for name in options.cases or CASES:
        began = time.monotonic()
        with prepared(is_full=options.full) as bench:
            found = importlib.import_module(name).run(bench)
        progress("")
        if not options.json:
            show(found)
            print(f"{name}: {time.monotonic() - began:.0f} s", flush=True)
        by_module[name] = found
    figures = [figure for found in by_module.values() for figure in found]
    if options.json:
        print(json.dumps([figure._asdict() for figure in figures], indent=2))
    if options.write:
        import growth

        import clients

        append(row_of(by_module, machine()))
        with prepared(is_full=options.full) as bench:
            more = clients.draw(options.write, clients.run(bench))
            write(options.write, figures, growth.run(bench), more)
        progress("")


@contextlib.contextmanager
def prepared(*, is_full: bool) -> Iterator[Bench]:
    """Start a server and create a directory for one case."""
    # Not in /tmp, which may be memory.
    with (
        tempfile.TemporaryDirectory(prefix=".bench-", dir=Path(__file__).parent) as directory,
        SeaweedFS() as server,
    ):
        yield Bench(server, Path(directory), is_full)


def show(figures: Sequence[Figure]) -> None:
    """Print rows of the table."""
    for figure in figures:
        met = {None: "", True: "met", False: "MISSED"}[figure.is_met]
        goal = "" if figure.goal is None else f"{figure.sense} {figure.goal:g}"
        print(
            f"{figure.case:34} {figure.peer:27} {figure.median:8.3g} {figure.unit:7} "
            f"({spread(figure.values)})  {goal:14} {met:6} {figure.note}",
            flush=True,
        )


if __name__ == "__main__":
    sys.exit(main())
