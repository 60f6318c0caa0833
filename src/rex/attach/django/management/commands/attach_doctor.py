"""The command ``manage.py attach_doctor``."""

from __future__ import annotations

import collections
from typing import TYPE_CHECKING, Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from rex.attach.backend.diagnostics import Verdict
from rex.attach.cli.wording import check_json, check_lines, count_verdicts
from rex.attach.django.diagnosis import diagnose_storage
from rex.attach.django.management.options import chosen_storages, command_errors, storage_option
from rex.core import Kind
from rex.core.exit_codes import EXIT_CODES
from rex.core.printable import printable

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from rex.attach.backend.diagnostics import Check

__all__ = ["Command"]

VERBOSE = 2
"""The verbosity with which each skipped step has a line."""


class Command(BaseCommand):
    """Check the storages of the project; say what to change."""

    help = (
        "Check the storages of rex.attach in STORAGES; say what to change. The checks do what an "
        "application does, and remove what they stored."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        """Add the options, which are those of ``rex attach doctor``."""
        storage_option(parser)
        parser.add_argument(
            "--origin",
            action="append",
            dest="origins",
            default=[],
            help="Origin whose pages use the links, as https://example.org; may be repeated.",
        )
        parser.add_argument(
            "--json", action="store_true", dest="as_json", help="Print one JSON object per line."
        )

    def handle(self, *_: Any, **options: Any) -> None:
        """Diagnose each storage."""
        verdicts: collections.Counter[str] = collections.Counter()
        with command_errors():
            for key, storage in chosen_storages(options["aliases"]).items():
                found = list(diagnose_storage(key, storage, options["origins"]))
                verdicts.update(check.verdict.value for check in found)
                is_verbose = options["verbosity"] >= VERBOSE
                as_json = options["as_json"]
                lines = (
                    map(check_json, found) if as_json else check_lines(found, verbose=is_verbose)
                )
                for line in lines:
                    self.stdout.write(printable(line))
        counts = {verdict.value: verdicts[verdict.value] for verdict in Verdict}
        if not options["as_json"]:
            self.stdout.write(count_verdicts(counts))
        if verdicts[Verdict.FAIL.value]:
            failed = verdicts[Verdict.FAIL.value]
            raise CommandError(f"{failed} failed", returncode=EXIT_CODES[Kind.CORRUPT])


def _lines(found: Sequence[Check], options: dict[str, Any]) -> Iterable[str]:
    if options["as_json"]:
        return map(check_json, found)
    return check_lines(found, verbose=options["verbosity"] >= VERBOSE)
