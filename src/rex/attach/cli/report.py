"""What `copy`, `verify` and `sweep` print: a line per result, the progress, and a summary."""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import json
import sys
import time
from typing import TYPE_CHECKING

import click

from rex.attach.maintenance.copying import Outcome
from rex.core import Kind
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

__all__ = ["Tally", "join_counts", "print_results"]

SHOWN_EVERY = 0.2
"""Seconds between two updates of the progress on a terminal."""
MIB = 1024 * 1024
MINUTE = 60


def print_results(
    results: Generator[Copied | Verified | Swept, None, None],
    tally: Tally,
    *,
    as_json: bool,
    shows_all: bool = False,
    may_be_none: bool = False,
) -> None:
    """Print the failures, or all results as JSON, and a summary; exit with a code on a failure."""
    with contextlib.closing(results), contextlib.closing(tally):
        for result in results:
            kind = tally.count(result)
            told = {**dataclasses.asdict(result), tally.name: kind}
            if as_json:
                click.echo(json.dumps(told, default=str))
            elif shows_all or not result.is_fine or kind == Outcome.UNKNOWN.value:
                tally.close()
                reason = f": {result.reason}" if result.reason else ""
                # A hostile source may have named it.
                click.echo(printable(f"{kind}  {result.handle}{reason}"))
    click.echo(json.dumps({"summary": tally.as_dict()}) if as_json else tally.summary())
    if tally.is_bad:
        raise click.exceptions.Exit(EXIT_CODES[Kind.CORRUPT])
    if not tally.total and not may_be_none:
        raise click.exceptions.Exit(EXIT_CODES[Kind.EMPTY])


def join_counts(counts: Counts, words: Mapping[str, str], first: str = "") -> str:
    """Return counts as a phrase, `3 copied, 1 failed`; `first` appears even if its count is 0.

    A word may have a singular and a plural, separated by a slash.
    """
    parts = []
    for name, word in words.items():
        count = counts.get(name, 0)
        if count or name == first:
            singular, _, plural = word.partition("/")
            parts.append(f"{count:,} {singular if count == 1 or not plural else plural}")
    return ", ".join(parts)


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
        be read completely, the progress shows the total.
        """
        self.name = name
        self.is_bad = False
        self.done_to: str | None = None
        self._kinds = [kind.value for kind in kinds]
        self._phrase = phrase
        self._counts: collections.Counter[str] = collections.Counter()
        self._bytes = 0
        self._is_shown = sys.stderr.isatty()
        self._total = 0 if storage is None or not self._is_shown else sum(1 for _ in storage)
        self._began = self._shown_at = time.monotonic()

    def count(self, result: Copied | Verified | Swept) -> str:
        """Count a result; return its kind."""
        kind: str = getattr(result, self.name).value
        self._counts[kind] += 1
        self._bytes += result.size
        self.is_bad = self.is_bad or not result.is_fine
        self.done_to = getattr(result, "done_to", None)
        now = time.monotonic()
        if self._is_shown and now - self._shown_at >= SHOWN_EVERY:
            self._shown_at = now
            click.echo(f"\r\x1b[2K{self._progress(now - self._began)}", nl=False, err=True)
        return kind

    @property
    def total(self) -> int:
        """The number of results, without unknown keys."""
        return self._counts.total() - self._counts[Outcome.UNKNOWN.value]

    def close(self) -> None:
        """Clear the progress from the terminal."""
        if self._is_shown:
            click.echo("\r\x1b[2K", nl=False, err=True)

    def _progress(self, seconds: float) -> str:
        done, mebibytes = self.total, self._bytes / MIB
        shown = f"{done:,}, {mebibytes:,.0f} MiB, {mebibytes / seconds:.1f} MiB/s"
        if self._total < done:
            return shown
        left = seconds / done * (self._total - done)
        return f"{done:,} of {self._total:,}{shown.removeprefix(f'{done:,}')}, {_time(left)} left"

    def summary(self) -> str:
        """Return the summary in one line."""
        return self._phrase(self._counts, self._bytes)

    def as_dict(self) -> dict[str, object]:
        """Return the counts and the bytes as a JSON object."""
        counts = {kind: self._counts[kind] for kind in self._kinds}
        return {**counts, "bytes": self._bytes}


def _time(seconds: float) -> str:
    minutes = round(seconds / MINUTE)
    return f"{minutes} min" if minutes else f"{seconds:.0f} s"
