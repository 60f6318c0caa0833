"""The release: its README by itself, and the files that a forge and an index look for."""

from __future__ import annotations

import importlib.util
import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from readme_hook import standalone
from release import notes

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text("utf-8")


def test_the_readme_of_the_release_needs_no_other_file() -> None:
    """Neither pictures nor pages; what is written stays."""
    text = standalone(README, "")
    assert [] == re.findall(r"\]\((?!https?:|#)[^)]*\)|<!--", text)
    assert "docs/how-to/operations.md" in text
    linked = standalone("see [a page](docs/a.md) and [it](https://example.org/b)", "https://c/d")
    assert "see [a page](https://c/d/blob/main/docs/a.md) and [it](https://example.org/b)" == linked


def test_release_notes_are_the_section_of_a_version() -> None:
    """With its own headings, and nothing of other versions."""
    changelog = "# Changelog\n\n## 1.10.0\n\na\n\n### Fixed\n\nb\n\n## 1.1 (2026)\n\nc\n"
    assert "a\n\n### Fixed\n\nb\n" == notes(changelog, "1.10.0")
    assert "c\n" == notes(changelog, "1.1")
    assert notes(changelog, "1") is None
    assert "### Added" in (notes((ROOT / "CHANGELOG.md").read_text("utf-8"), "0.1.0") or "")


def test_the_forge_runs_what_must_pass() -> None:
    """The workflow calls .ci/run, and templates have the fields that a report needs."""
    folder = ROOT / ".github"
    workflow = yaml.safe_load((folder / "workflows" / "ci.yaml").read_text())
    steps = workflow["jobs"]["run"]["steps"]
    assert ".ci/run" in [step.get("run") for step in steps]
    template = yaml.safe_load((folder / "ISSUE_TEMPLATE" / "bug.yaml").read_text())
    labels = [field.get("attributes", {}).get("label") for field in template["body"]]
    assert "Output of `rex attach doctor`" in labels


@pytest.fixture
def history() -> Any:
    """Import the module of the benchmarks, which are no package."""
    spec = importlib.util.spec_from_file_location("history", ROOT / "benchmarks" / "history.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_full_run_of_the_benchmarks_adds_a_row(history: Any, tmp_path: Path) -> None:
    """A margin of 2 is twice as good as the goal, whichever way the goal points."""
    path = tmp_path / "history.jsonl"
    ratio = {"module": "s3_small", "unit": "times", "case": "add", "peer": "boto3"}
    ratios = [
        {**ratio, "median": 0.25, "goal": 0.5, "sense": "at most"},
        {**ratio, "median": 8, "goal": 4, "sense": "at least"},
        {**ratio, "median": 1, "goal": None, "sense": "at most"},
    ]
    for day in ("2026-01-01", "2026-01-02"):
        history.append({"day": day, "commit": "", "ratios": ratios}, path)
    rows = history.read(path)
    assert ["2026-01-01", "2026-01-02"] == [row["day"] for row in rows]
    assert {"s3_small": pytest.approx(2)} == history.margins(rows[0])
    for line in history.PATH.read_text("utf-8").splitlines():
        assert {"day", "commit", "machine", "python", "ratios"} <= {*json.loads(line)}
