"""Runs Django's tests in a process of their own: its source archive, the changes to it, the result.

The archive is downloaded by pip, once, and kept; its version is that of the installed Django.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import sys
import tarfile
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["ARCHIVES", "Outcome", "run_tests", "unpack"]

ARCHIVES = {
    "5.2.19": "ad03d8abc51dbff95ebf34b27123cf0c26a3b62db7ba0cd520783686362533d1",
    "6.1.3": "b5d2d9e35295065d13b1927b3f19a59bd119f737aa6299def14ccca1ae3c8c0d",
}
"""The SHA-256 of the source archive of each version."""

LABELS = (
    "file_storage",
    "files",
    "file_uploads",
    "model_fields.test_filefield",
    "model_fields.test_imagefield",
    "model_forms",
    "forms_tests",
    "admin_widgets",
    "staticfiles_tests",
    "admin_views.tests.AdminInlineFileUploadTest",
)

CHANGED = (
    "file_storage/models.py",
    "file_storage/tests.py",
    "file_storage/test_generate_filename.py",
    "model_fields/models.py",
    "model_fields/storage.py",
    "model_forms/models.py",
    "admin_views/models.py",
    "admin_widgets/models.py",
    "forms_tests/models.py",
)
IMPORT = re.compile(
    r"^from django\.core\.files\.storage(?:\.filesystem)? import (.*\bFileSystemStorage\b.*)$",
    re.MULTILINE,
)
ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Outcome:
    """What the tests came to."""

    outcomes: Mapping[str, str]
    """``passed``, ``failed`` or ``skipped``, by the name of the test."""
    touched: frozenset[str]
    """The tests that used a storage of ours."""
    output: str
    """What the tests printed."""


def unpack(version: str, kept: Path, directory: Path) -> Path:
    """Return Django's tests of a version, unpacked into a directory; the archive is kept."""
    archive = kept / f"django-{version}.tar.gz"
    if not archive.exists():
        kept.mkdir(parents=True, exist_ok=True)
        options = ("--no-deps", "--no-binary", "django", "--quiet", "--dest", str(kept))
        subprocess.run(
            [sys.executable, "-m", "pip", "download", *options, f"django=={version}"], check=True
        )
    found = hashlib.sha256(archive.read_bytes()).hexdigest()
    if found != ARCHIVES[version]:
        raise ValueError(f"the archive of Django {version} is not the one known here: {found}")
    with tarfile.open(archive) as opened:
        opened.extractall(directory, filter="data")
    return next(directory.glob("?jango-*")) / "tests"


def change(tests: Path, storage: str) -> None:
    """Make the tests use one of our storages: one line in each of nine modules."""
    for name in CHANGED:
        path = tests / name
        path.write_text(_replaced(path.read_text(), storage))
    path = tests / "runtests.py"
    opening = "ALWAYS_INSTALLED_APPS = ["
    text = path.read_text()
    if text.count(opening) != 1:
        raise ValueError("runtests.py has no list of applications")
    path.write_text(text.replace(opening, f'{opening}\n    "rex.attach.django",'))


def _replaced(source: str, storage: str) -> str:
    match = IMPORT.search(source)
    if match is None:
        raise ValueError("a module does not import FileSystemStorage")
    rest = [name for name in re.split(r",\s*", match[1]) if name != "FileSystemStorage"]
    ours = f"from django_suite.adapter import {storage} as FileSystemStorage"
    lines = [ours, *([f"from django.core.files.storage import {', '.join(rest)}"] if rest else [])]
    return source[: match.start()] + "\n".join(lines) + source[match.end() :]


def run_tests(tests: Path, storage: str, environment: Mapping[str, str]) -> Outcome:
    """Run the tests on one of our storages at a place."""
    change(tests, storage)
    with tempfile.TemporaryDirectory(prefix="django-suite-") as directory:
        record = Path(directory, "record.json")
        given = {
            **{name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ},
            "PYTHONPATH": os.pathsep.join((str(ROOT / "src"), str(ROOT / "tests"))),
            "DJANGO_SUITE_RECORD": str(record),
            "DJANGO_SUITE_TEMP": directory,
            "TMPDIR": directory,
            **environment,
        }
        options = ("--settings=django_suite.suite_settings", "--parallel=1", "--noinput")
        done = subprocess.run(
            [sys.executable, "runtests.py", *options, *LABELS],
            cwd=tests,
            env=given,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        if not record.exists():
            raise RuntimeError(done.stdout)
        found = json.loads(record.read_text())
    return Outcome(found["outcomes"], frozenset(found["touched"]), done.stdout)
