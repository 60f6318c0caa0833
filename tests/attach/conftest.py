"""What the operational tests tell at the end of a run: what they measured, and what was left out.

A test that cannot run on a machine does not exist there, so that none is ever skipped; its module
says so in `LEFT_OUT`, and the summary shows it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

FIGURES = pytest.StashKey[list[str]]()
LEFT_OUT = pytest.StashKey[dict[str, None]]()


@pytest.fixture
def report_figure(pytestconfig: pytest.Config) -> Callable[[str], None]:
    """Give a function that has a line shown at the end of the run."""
    return pytestconfig.stash.setdefault(FIGURES, []).append


def pytest_itemcollected(item: pytest.Item) -> None:
    """Note what the module of a test leaves out here."""
    module = getattr(item, "module", None)
    item.config.stash.setdefault(LEFT_OUT, {}).update(
        dict.fromkeys(getattr(module, "LEFT_OUT", ()))
    )


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
