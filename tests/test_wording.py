"""No line decides by a sentence: the suite passes although every message has a word more."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from programs import run

if TYPE_CHECKING:
    import subprocess

TESTS = Path(__file__).parent
MUTATED = TESTS / "mutated"
CHOSEN = (
    "core/test_error.py",
    "core/test_package.py",
    "core/test_setting.py",
    "attach/test_doctor_local.py",
    "attach/test_explain.py",
    "attach/test_explain_command.py",
    "attach/test_wiring.py",
    "attach/web/test_app.py",
    "attach/web/test_body.py",
    "attach/web/test_partial.py",
    "attach/web/test_problems.py",
    "attach/web/test_signed.py",
    "attach/web/test_tus.py",
)
"""What decides by errors, and is quick."""


def mutated(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run Python, and all that it starts, with other messages."""
    paths = (str(MUTATED), os.environ.get("PYTHONPATH", ""))
    settings = {"pythonpath": os.pathsep.join(filter(None, paths))}
    command = (sys.executable, *arguments)
    return run(*command, directory=TESTS.parent, settings=settings, seconds=600)


def test_messages_can_be_changed() -> None:
    """Of each error, once, whatever becomes of it; also in a process that was started so."""
    program = "import pickle; from rex.core import Error; e = Error('It failed', 1, code='a')"
    done = mutated("-c", f"{program}; print(e, pickle.loads(pickle.dumps(e)), e.as_os_error())")
    assert "It failed indeed:\n    1 " * 3 == done.stdout.replace("\n    1\n", "\n    1 ")


@pytest.mark.long
@pytest.mark.again
def test_only_tests_of_wording_depend_on_messages() -> None:
    """All others of what decides by errors pass."""
    files = [str(TESTS / each) for each in CHOSEN]
    quiet = ("-q", "--tb=short", "-p", "no:cacheprovider")
    done = mutated("-m", "pytest", *quiet, "-m", "not wording", *files)
    assert 0 == done.returncode, done.stdout[-6000:]
