"""The test runner of Django's tests: it leaves some out, and records each outcome.

Modules and classes that test ``FileSystemStorage`` itself, or a subclass of it, are left out.
"""

from __future__ import annotations

import json
import os
import re
import unittest
from pathlib import Path
from typing import Any

from django.db.utils import ConnectionHandler
from django.test.runner import DiscoverRunner

from django_suite.adapter import touches

LEFT_OUT = re.compile(
    r"file_storage\.tests\.(?:OverwritingStorage\w*|CustomStorageTests"
    r"|DiscardingFalseContentStorageTests|FileStoragePermissions|FileSystemStorageTests"
    r"|StorageHandlerTests)\."
)
NAMES = "names"


class NamesRouter:
    """Keeps the names of files in a database of their own, which every test may use.

    Most tests of files forbid themselves the databases that they know.
    """

    def db_for_read(self, model: Any, **_: object) -> str | None:
        """Return the database of names, for its model."""
        return NAMES if model._meta.app_label == "rex_attach" else None

    db_for_write = db_for_read

    def allow_migrate(self, db: str, app_label: str, **_: object) -> bool | None:
        """Create the table only there."""
        return db == NAMES if app_label == "rex_attach" else None


def hide_names() -> None:
    """Hide the database of names from the tests, and create its table."""
    from django.db import connections

    from rex.attach.django.models import File

    def shown(self: ConnectionHandler) -> Any:
        return (alias for alias in self.settings if alias != NAMES)

    setattr(ConnectionHandler, "__iter__", shown)  # noqa: B010 - mypy sees a method
    with connections[NAMES].schema_editor() as editor:
        editor.create_model(File)
    connections[NAMES].close()


class Recording(unittest.TextTestResult):
    """Records the outcome of each test, and whether it used a storage of ours."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.outcomes: dict[str, str] = {}
        self.touched: set[str] = set()
        self._before = 0

    def startTest(self, test: unittest.TestCase) -> None:  # noqa: N802 - unittest
        """Note how often the storages have been used."""
        self._before = touches.count
        super().startTest(test)

    def stopTest(self, test: unittest.TestCase) -> None:  # noqa: N802 - unittest
        """Note whether they were used."""
        self.outcomes.setdefault(test.id(), "passed")
        if touches.count > self._before:
            self.touched.add(test.id())
        super().stopTest(test)

    def addSkip(self, test: unittest.TestCase, reason: str) -> None:  # noqa: N802 - unittest
        """Record a test that does not run here."""
        super().addSkip(test, reason)
        self.outcomes[test.id()] = "skipped"

    def addFailure(self, test: unittest.TestCase, err: Any) -> None:  # noqa: N802 - unittest
        """Record a failure."""
        super().addFailure(test, err)
        self.outcomes[test.id()] = "failed"

    def addError(self, test: unittest.TestCase, err: Any) -> None:  # noqa: N802 - unittest
        """Record an error as a failure."""
        super().addError(test, err)
        self.outcomes[test.id()] = "failed"

    def addSubTest(self, test: unittest.TestCase, subtest: Any, err: Any) -> None:  # noqa: N802 - unittest
        """Record the failure of a part of a test."""
        super().addSubTest(test, subtest, err)
        if err is not None:
            self.outcomes[test.id()] = "failed"


class Runner(DiscoverRunner):
    """Django's runner, with fewer tests and with a record."""

    def build_suite(self, *args: Any, **options: Any) -> Any:
        """Leave out what tests Django's storage itself."""
        suite = super().build_suite(*args, **options)
        tests: Any = suite
        kept = [test for test in tests if not LEFT_OUT.match(test.id())]
        return self.test_suite(kept)

    def run_checks(self, databases: Any) -> None:
        """Check nothing: the fields of the tests are shorter than handles."""

    def get_resultclass(self) -> Any:
        """Use the result that records."""
        return Recording

    def run_suite(self, suite: Any, **options: Any) -> Any:
        """Run the tests, and write the record."""
        hide_names()
        result: Any = super().run_suite(suite, **options)
        record = {"outcomes": result.outcomes, "touched": sorted(result.touched)}
        Path(os.environ["DJANGO_SUITE_RECORD"]).write_text(json.dumps(record))
        return result
