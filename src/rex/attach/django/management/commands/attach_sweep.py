"""The command ``manage.py attach_sweep``."""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from rex.attach.backend.abilities import require
from rex.attach.backend.garbage import GarbageKind
from rex.attach.cli.wording import sweep_summary
from rex.attach.django.management.options import (
    chosen_storages,
    command_errors,
    duration,
    open_for_command,
    storage_option,
)
from rex.attach.django.references import References, find_references
from rex.attach.maintenance.references import as_handle, from_lines
from rex.attach.maintenance.sweeping import GRACE, WORKERS, lifecycle, sweep
from rex.core import Kind
from rex.core.exit_codes import EXIT_CODES
from rex.core.printable import printable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rex.attach import Storage
    from rex.attach.django.storage import AttachmentStorage
    from rex.attach.maintenance.sweeping import Swept

__all__ = ["Command"]


class Command(BaseCommand):
    """Find abandoned uploads, and attachments that no row refers to."""

    help = (
        "Find abandoned uploads, and attachments that no row of any installed model refers to; "
        "delete them with --delete."
    )
    requires_migrations_checks = True

    def add_arguments(self, parser: CommandParser) -> None:
        """Add the options, which are those of ``rex attach sweep``."""
        storage_option(parser)
        parser.add_argument(
            "--delete", action="store_true", help="Delete what is found (default: only list it)."
        )
        parser.add_argument(
            "--grace",
            type=duration,
            default=GRACE,
            metavar="DURATION",
            help="Keep everything younger than this; at least 1m (default: 24h).",
        )
        parser.add_argument(
            "--handles",
            metavar="FILE",
            help="Read more handles from a file, one per line, such as those in JSON columns; - is "
            "stdin.",
        )
        parser.add_argument(
            "--lifecycle",
            action="store_true",
            help="Print lifecycle rules that delete abandoned uploads.",
        )
        parser.add_argument(
            "--noncurrent",
            type=duration,
            metavar="DURATION",
            help="With --lifecycle: also delete versions of removed attachments after this time.",
        )
        parser.add_argument(
            "--workers",
            type=int,
            default=WORKERS,
            help=f"Attachments to process at the same time (default: {WORKERS}).",
        )
        parser.add_argument(
            "--json",
            action="store_true",
            dest="as_json",
            help="Print one JSON object per line, then a summary.",
        )

    def handle(self, *_: Any, **options: Any) -> None:
        """Sweep each storage."""
        if options["lifecycle"] and options["delete"]:
            raise CommandError("--lifecycle excludes --delete.")
        if options["noncurrent"] is not None and not options["lifecycle"]:
            raise CommandError("--noncurrent requires --lifecycle.")
        with command_errors():
            chosen = chosen_storages(options["aliases"])
            if options["lifecycle"]:
                self._print_lifecycle(chosen, options)
                return
            references = find_references()
            more = _read_lines(options["handles"])
            self._show_references(references, as_json=options["as_json"])
            counts: collections.Counter[str] = collections.Counter()
            for key, storage in chosen.items():
                self._sweep(key, storage, (references.handles, more), counts, options)
        if counts[GarbageKind.FAILED.value]:
            failed = counts[GarbageKind.FAILED.value]
            raise CommandError(f"{failed} failed", returncode=EXIT_CODES[Kind.CORRUPT])

    def _print_lifecycle(
        self, chosen: dict[str, AttachmentStorage], options: dict[str, Any]
    ) -> None:
        if len(chosen) != 1:
            raise CommandError("--lifecycle is for one bucket: choose it with --storage.")
        with open_for_command(*chosen.values()) as rex:
            rules = lifecycle(rex, grace=options["grace"], noncurrent=options["noncurrent"])
            name = require(rex.abilities.bucket, "bucket").lifecycle_name
        self.stdout.write(json.dumps({name: rules}, indent=2))

    def _show_references(self, references: References, *, as_json: bool) -> None:
        if as_json:
            shown = {"columns": references.columns, "unknown": references.unknown}
            self.stdout.write(json.dumps({"references": shown}))
            return
        for column, number in references.columns.items():
            self.stdout.write(f"{column}: {number:,}")
        if references.unknown:
            self.stdout.write(f"Names that are not those of attachments: {references.unknown:,}")

    def _sweep(
        self,
        key: str,
        storage: AttachmentStorage,
        references: tuple[set[str], list[str]],
        total: collections.Counter[str],
        options: dict[str, Any],
    ) -> None:
        """Sweep a storage, and print each item of garbage and a summary."""
        counts: collections.Counter[str] = collections.Counter()
        size = 0
        with open_for_command(storage) as rex:
            handles = references[0] | {as_handle(rex, line) for line in references[1]}
            for found in _swept(rex, handles, options):
                counts[found.kind.value] += 1
                size += found.size
                self._print(key, found, as_json=options["as_json"])
        total.update(counts)
        if options["as_json"]:
            kinds = {kind.value: counts[kind.value] for kind in GarbageKind}
            self.stdout.write(json.dumps({"summary": {"storage": key, **kinds, "bytes": size}}))
        else:
            summary = sweep_summary(counts, size, delete=options["delete"])
            self.stdout.write(f"{key}: {summary}")

    def _print(self, key: str, found: Swept, *, as_json: bool) -> None:
        if as_json:
            shown = {"storage": key, **dataclasses.asdict(found), "kind": found.kind.value}
            self.stdout.write(json.dumps(shown, default=str))
        else:
            reason = f": {found.reason}" if found.reason else ""
            self.stdout.write(printable(f"{found.kind.value}  {found.handle}{reason}"))


def _read_lines(file: str | None) -> list[str]:
    """Return the handles in a file."""
    if file is None:
        return []
    if file == "-":
        return list(from_lines(sys.stdin))
    try:
        return list(from_lines(Path(file).read_text(encoding="utf-8").split("\n")))
    except OSError as failure:
        raise CommandError(f"--handles: {failure}") from None


def _swept(rex: Storage, handles: set[str], options: dict[str, Any]) -> Iterator[Swept]:
    rex.check(create=False)
    if rex.is_untouched():
        return
    items = sweep(
        rex,
        delete=options["delete"],
        grace=options["grace"],
        referenced=handles,
        workers=options["workers"],
    )
    with contextlib.closing(items):
        yield from items
