"""The hooks of pre-commit run what `make lint` runs."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_pre_commit_runs_what_make_lint_runs() -> None:
    """The same commands in the same order."""
    makefile = (ROOT / "Makefile").read_text("utf-8")
    recipe = makefile.partition("\nlint:")[2].partition("\n\n")[0]
    hooks = (ROOT / ".pre-commit-config.yaml").read_text("utf-8")
    expected = [f".venv/bin/{command}" for command in re.findall(r"@\$\(BIN\)/(.+)", recipe)]
    assert expected
    assert expected == re.findall("entry: (.+)", hooks)
