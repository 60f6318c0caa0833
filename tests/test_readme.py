"""The documentation is true: tables match the code, and links lead somewhere."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from rex.attach.opening import package

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text("utf-8")
EXAMPLES = re.findall(r"^```python\n(.*?)^```", README, re.MULTILINE | re.DOTALL)


def test_the_examples_are_short() -> None:
    """Ten lines of Python, imports included, or a few more."""
    assert all(len(example.splitlines()) <= 13 for example in EXAMPLES)


def test_every_setting_is_in_the_readme() -> None:
    """With the help that `rex settings` shows."""
    table = README.partition("<!-- settings -->")[2].partition("<!-- /settings -->")[0]
    rows = [line for line in table.splitlines() if line.startswith("| `")]
    assert [f"| `{setting.name}` | {setting.help} |" for setting in package.settings] == rows


@pytest.mark.parametrize("page", sorted(ROOT.glob("*.md")) + sorted(ROOT.glob("docs/**/*.md")))
def test_links_between_pages_lead_somewhere(page: Path) -> None:
    """Every relative link of a page names a file."""
    targets = re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text("utf-8"))
    assert [] == [target for target in targets if not (page.parent / target).exists()]
