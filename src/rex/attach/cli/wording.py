"""The texts of commands that other command lines print too; they do not need click."""

from __future__ import annotations

import dataclasses
import itertools
import json
from typing import TYPE_CHECKING

from rex.attach.backend.diagnostics import Verdict
from rex.attach.backend.garbage import GarbageKind
from rex.attach.cli.units import format_size

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from rex.attach.backend.diagnostics import Check

    Counts = Mapping[str, int]

__all__ = ["check_json", "check_lines", "count_verdicts", "join_counts", "sweep_summary"]

NAMED = 3
"""The largest number of skipped steps that are named."""

_LABELS = {
    Verdict.OK: "ok",
    Verdict.WARN: "warn",
    Verdict.FAIL: "FAIL",
    Verdict.SKIP: "skip",
}
_VERDICTS = {"ok": "ok", "warn": "warning/warnings", "fail": "failed", "skip": "skipped"}
_GARBAGE = {
    "upload": "resumable upload/resumable uploads",
    "parts": "multipart upload/multipart uploads",
    "file": "file/files",
    "directory": "directory/directories",
    "attachment": "attachment/attachments",
}


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


def sweep_summary(counts: Counts, size: int, *, delete: bool) -> str:
    """Return the summary of a sweep, from the counts by `GarbageKind` and the bytes."""
    found, failed = join_counts(counts, _GARBAGE), counts.get(GarbageKind.FAILED.value, 0)
    failures = f"{failed:,} failed" if failed else ""
    if not found:
        return f"No garbage deleted, {failures}" if failed else "No garbage found."
    done = "Deleted: " if delete else "Dry run, nothing deleted. Would delete: "
    return f"{done}{found} ({format_size(size)}){f'; {failures}' if failures else ''}"


def count_verdicts(counts: Counts) -> str:
    """Return the summary of a diagnosis, from the counts by `Verdict`."""
    return join_counts(counts, _VERDICTS)


def check_json(found: Check) -> str:
    """Return a check as a JSON object in one line."""
    shown = {"storage": found.storage, **dataclasses.asdict(found), "verdict": found.verdict.value}
    return json.dumps(shown)


def check_lines(checks: Iterable[Check], *, verbose: bool) -> Iterator[str]:
    """Yield the lines of all checks, below the storage that each belongs to.

    Unless `verbose`, steps that were skipped for the same reason share a line.
    """
    for storage, found in itertools.groupby(checks, lambda check: check.storage):
        if storage:
            yield storage
        skipped: dict[str, list[str]] = {}
        for check in found:
            if check.verdict is Verdict.SKIP and not verbose:
                skipped.setdefault(_reason(check), []).append(check.step)
            else:
                yield from _lines(check)
        for reason, steps in skipped.items():
            few = ", ".join(steps) if len(steps) <= NAMED else len(steps)
            yield f"{_LABELS[Verdict.SKIP]:<8}  {few} not tried, since {reason}"


def _reason(check: Check) -> str:
    return f"{check.cause!r} is wrong" if check.cause else check.text


def _lines(found: Check) -> Iterator[str]:
    yield f"{_LABELS[found.verdict]:<8}  {found.step:<17}  {found.text}"
    for line in found.advice:
        yield f"{'':<10}{line}"
