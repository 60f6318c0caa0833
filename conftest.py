"""What all tests share: an S3 server, the examples of the documentation, the report at the end.

A test that cannot run on a machine does not exist there, so that none is ever skipped; its module
says so in `LEFT_OUT`, and the summary shows it.
"""

from __future__ import annotations

import contextlib
import faulthandler
import io
import os
import signal
from ctypes.util import find_library
from pathlib import Path
from typing import TYPE_CHECKING, Any

import hypothesis
import pytest
from sybil import Sybil
from sybil.evaluators.python import PythonEvaluator
from sybil.parsers.markdown import CodeBlockParser, SkipParser

from rex.attach_demo.azurite import Azurite

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sybil.example import Example

    from rex.attach.testing import SeaweedFS

# The programs that tests start find the helpers of the tests.
os.environ.setdefault("PYTHONPATH", str(Path(__file__).parent / "tests"))

# A background job starts with SIGINT ignored, and so would the programs that tests interrupt.
signal.signal(signal.SIGINT, signal.default_int_handler)

# A machine that has other things to do as well is no failure.
hypothesis.settings.register_profile("any machine", hypothesis.settings(), deadline=None)
hypothesis.settings.load_profile("any machine")

END_SECONDS = 60
"""After the last test, a process that has not ended by then never would."""

HAS_LIBMAGIC = find_library("magic") is not None
OF_LIBMAGIC = ("test_checks_types.py", "checks.md")

FIGURES = pytest.StashKey[list[str]]()
LEFT_OUT = pytest.StashKey[dict[str, None]]()


@pytest.fixture(scope="session")
def seaweedfs(attach_s3_server: SeaweedFS) -> SeaweedFS:
    """Return the server of our plugin; each test uses a prefix of its own, or makes a bucket."""
    return attach_s3_server


@pytest.fixture(scope="session")
def azurite() -> Iterator[Azurite]:
    """Run an Azurite; tests keep apart by prefix, or make a container of their own."""
    with Azurite() as server:
        yield server


@pytest.fixture
def place_of_an_example(
    seaweedfs: SeaweedFS, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Run an example in an empty directory, with the settings of the S3 server around it."""
    monkeypatch.chdir(tmp_path)
    for name, value in seaweedfs.settings().items():
        monkeypatch.setenv(name.upper(), value)


class Printing(PythonEvaluator):
    """Runs an example; what it prints is `printed` to a hidden block that follows it."""

    def __call__(self, example: Example) -> None:
        """Run it in the namespace of its page."""
        with contextlib.redirect_stdout(io.StringIO()) as output:
            super().__call__(example)
        example.namespace["printed"] = output.getvalue()


pytest_collect_file = Sybil(
    parsers=[CodeBlockParser("python", Printing()), SkipParser()],
    patterns=["README.md", "docs/*.md", "docs/*/*.md", "docs/*/*/*.md"],
    fixtures=["place_of_an_example"],
).pytest()


@pytest.fixture
def report_figure(pytestconfig: pytest.Config) -> Callable[[str], None]:
    """Give a function that has a line shown at the end of the run."""
    return pytestconfig.stash.setdefault(FIGURES, []).append


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run what takes long first, so that the workers of pytest-xdist end together.

    A test whose programs are all missing has no parameters: it does not exist.
    """
    items[:] = [
        item
        for item in items
        if not item.name.endswith("[NOTSET]")
        and (HAS_LIBMAGIC or item.path.name not in OF_LIBMAGIC)
    ]
    items.sort(key=lambda item: item.get_closest_marker("long") is None)


def pytest_itemcollected(item: pytest.Item) -> None:
    """Note what the module of a test leaves out here."""
    module = getattr(item, "module", None)
    item.config.stash.setdefault(LEFT_OUT, {}).update(
        dict.fromkeys(getattr(module, "LEFT_OUT", ()))
    )


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Take over what a worker of pytest-xdist measured and left out."""
    told: dict[str, list[str]] = getattr(node, "workeroutput", {})
    stash = node.config.stash
    stash.setdefault(FIGURES, []).extend(told.get("figures", ()))
    stash.setdefault(LEFT_OUT, {}).update(dict.fromkeys(told.get("left out", ())))


@pytest.hookimpl(tryfirst=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """Where everything must run, as in CI, fail if a test was skipped or left out."""
    told = getattr(session.config, "workeroutput", None)
    if told is not None:
        told["figures"] = session.config.stash.get(FIGURES, [])
        told["left out"] = [*session.config.stash.get(LEFT_OUT, {})]
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    skip = session.config.stash.get(LEFT_OUT, {})
    if os.environ.get("CI") and (skip or (reporter and reporter.stats.get("skipped"))):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_unconfigure(config: pytest.Config) -> None:
    """Rather than hang, fail and show the thread that keeps the process from its end."""
    if not hasattr(config, "workerinput"):  # a worker of xdist waits for the others
        faulthandler.dump_traceback_later(END_SECONDS, exit=True)


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    """Show what was measured and what was left out."""
    for title, lines in (
        ("measured", config.stash.get(FIGURES, [])),
        ("left out on this machine", config.stash.get(LEFT_OUT, {})),
    ):
        if lines:
            terminalreporter.section(title)
        for line in lines:
            terminalreporter.line(line)
