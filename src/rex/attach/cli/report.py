"""What `copy`, `verify` and `sweep` print: a line per result, the progress, and a summary."""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import json
import random
import shlex
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, NamedTuple, TypeVar

import click

from rex.attach.cli.units import format_size, format_time
from rex.attach.maintenance.copying import Outcome
from rex.core import Error, Kind
from rex.core.exit_codes import EXIT_CODES
from rex.core.printable import printable

if TYPE_CHECKING:
    import enum
    from collections.abc import Callable, Generator, Mapping

    from rex.attach.maintenance.copying import Copied
    from rex.attach.maintenance.sweeping import Swept
    from rex.attach.maintenance.verifying import Verified
    from rex.attach.storage import Storage

    Counts = Mapping[str, int]

__all__ = ["Tally", "print_results"]

T = TypeVar("T")

SHOWN_EVERY = 0.2
"""Seconds between two updates of the progress on a terminal."""
SAMPLE = 1000
"""The number of attachments whose size is looked up for the estimate of the total."""
LOOKUPS = 16
"""The number of these lookups at a time."""


def print_results(
    results: Generator[Copied | Verified | Swept, None, None],
    tally: Tally,
    *,
    as_json: bool,
    shows_all: bool = False,
    may_be_none: bool = False,
) -> None:
    """Print the failures, or all results as JSON, and a summary; exit with a code on a failure."""
    try:
        with contextlib.closing(tally), contextlib.closing(results):
            try:
                for result in results:
                    _print_result(result, tally, as_json=as_json, shows_all=shows_all)
            except KeyboardInterrupt as interrupt:
                for result in _rest(results, interrupt):
                    _print_result(result, tally, as_json=as_json, shows_all=shows_all)
                raise
    except KeyboardInterrupt:
        if as_json:
            click.echo(json.dumps({"summary": {**tally.as_dict(), "interrupted": True}}))
        click.echo(f"rex: interrupted: {tally.summary()}; {tally.continuation()}", err=True)
        raise
    click.echo(json.dumps({"summary": tally.as_dict()}) if as_json else tally.summary())
    if tally.is_bad:
        raise click.exceptions.Exit(EXIT_CODES[Kind.CORRUPT])
    if not tally.total and not may_be_none:
        raise click.exceptions.Exit(EXIT_CODES[Kind.EMPTY])


def _rest(
    results: Generator[T, None, None], interrupt: KeyboardInterrupt
) -> Generator[T, None, None]:
    """Interrupt the generator too; yield what was done until then (`map_concurrently`)."""
    with contextlib.suppress(KeyboardInterrupt, StopIteration):
        yield results.throw(interrupt)
        yield from results


def _print_result(
    result: Copied | Verified | Swept, tally: Tally, *, as_json: bool, shows_all: bool
) -> None:
    kind = tally.count(result)
    if as_json:
        click.echo(json.dumps({**dataclasses.asdict(result), tally.name: kind}, default=str))
    elif shows_all or not result.is_fine or kind == Outcome.UNKNOWN.value:
        tally.close()
        reason = f": {result.reason}" if result.reason else ""
        # A hostile source may have named it.
        click.echo(printable(f"{kind}  {result.handle}{reason}"))


class Tally:
    """The number of results of each kind, and the progress on a terminal."""

    def __init__(
        self,
        name: str,
        kinds: type[enum.Enum],
        phrase: Callable[[Counts, int], str],
        storage: Storage | None = None,
    ) -> None:
        """Count results by their field `name`, whose values are `kinds`.

        `phrase` makes the summary from the counts and the bytes. With `storage`, which must then
        be read completely, the progress shows the total and the time that is left.
        """
        self.name = name
        self.is_bad = False
        self.done_to: str | None = None
        self._kinds = [kind.value for kind in kinds]
        self._phrase = phrase
        self._counts: collections.Counter[str] = collections.Counter()
        self._bytes = 0
        self._is_shown = sys.stderr.isatty()
        self._total = _Total() if storage is None or not self._is_shown else _estimate(storage)
        self._lock = threading.Lock()
        self._moved = self._idle = 0
        self._began = self._shown_at = time.monotonic()

    def count(self, result: Copied | Verified | Swept) -> str:
        """Count a result; return its kind."""
        kind: str = getattr(result, self.name).value
        self._counts[kind] += 1
        self._bytes += result.size
        self.is_bad = self.is_bad or not result.is_fine
        self._idle += not result.size
        self.done_to = getattr(result, "done_to", None)
        self.move(0)
        return kind

    def move(self, size: int) -> None:
        """Count bytes that were read, in any thread, and update the progress."""
        with self._lock:
            self._moved += size
            now = time.monotonic()
            if self._is_shown and now - self._shown_at >= SHOWN_EVERY:
                self._shown_at = now
                click.echo(f"\r\x1b[2K{self._progress(now - self._began)}", nl=False, err=True)

    @property
    def total(self) -> int:
        """The number of results, without unknown keys."""
        return self._counts.total() - self._counts[Outcome.UNKNOWN.value]

    def close(self) -> None:
        """Clear the progress from the terminal."""
        if self._is_shown:
            click.echo("\r\x1b[2K", nl=False, err=True)

    def _progress(self, seconds: float) -> str:
        done, moved, whole = self.total, self._moved, self._total
        rate = f"{format_size(moved / seconds)}/s"
        if whole.number < max(done, 1):
            return f"{done:,}, {format_size(moved)}, {rate}"
        # What DEST has already is done, although its bytes were not moved.
        left = max(whole.size - moved - self._idle * whole.size / whole.number, 0)
        size = format_size(max(whole.size, moved))
        shown = f"{done:,} of {whole.number:,}, {format_size(moved)} of {size}"
        ending = f", {format_time(left * seconds / moved)} left" if moved else ""
        return f"{shown}, {rate}{ending}"

    def continuation(self) -> str:
        """Return how to go on after an interruption, for a shell."""
        if self.done_to is None:
            return "to go on, repeat the command"
        return f"go on with --after {shlex.quote(self.done_to)}"

    def summary(self) -> str:
        """Return the summary in one line."""
        return self._phrase(self._counts, self._bytes)

    def as_dict(self) -> dict[str, object]:
        """Return the counts and the bytes as a JSON object."""
        counts = {kind: self._counts[kind] for kind in self._kinds}
        return {**counts, "bytes": self._bytes}


class _Total(NamedTuple):
    """The number of attachments of a storage, and their size in bytes."""

    number: int = 0
    size: float = 0


def _estimate(storage: Storage) -> _Total:
    """Count the attachments; estimate their size from a sample, which is exact for few."""
    sample: list[str] = []
    number = 0
    for number, handle in enumerate(storage, 1):
        # Reservoir sampling: each handle stays with the same probability.
        if number <= SAMPLE:
            sample.append(handle)
        elif (place := random.randrange(number)) < SAMPLE:  # noqa: S311 - no secret
            sample[place] = handle

    def look_up(handle: str) -> int | None:
        with contextlib.suppress(Error):  # removed meanwhile, or unreadable
            return storage.info(handle).size
        return None

    with ThreadPoolExecutor(LOOKUPS) as pool:
        sizes = [size for size in pool.map(look_up, sample) if size is not None]
    return _Total(number, number * sum(sizes) / len(sizes) if sizes else 0)
