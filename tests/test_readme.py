"""The documentation is true: examples run, tables match the code, links lead somewhere."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from rex.attach.wiring import package

if TYPE_CHECKING:
    from rex.attach_demo.seaweedfs import SeaweedFS

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text("utf-8")
EXAMPLES = re.findall(r"^```python\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
EXPECTED = [
    r"b'Hello, attachments!'\ntext/plain; charset=utf-8 19\n",
    r"/\d{4}/\d\d/\d\d/[0-9a-f-]{36}/numbers\.bin b'\\xff'\n",
    r"7\nb'\\x89PNG\.\.\.'\n",
]


@pytest.mark.parametrize(
    ("example", "expected"), [*zip(EXAMPLES, EXPECTED, strict=True)], ids=["dir", "s3", "link"]
)
def test_the_examples_of_the_readme_run(
    *,
    example: str,
    expected: str,
    seaweedfs: SeaweedFS,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """As they stand, but for the directory, and they print what they seem to."""
    for name, value in seaweedfs.settings().items():
        monkeypatch.setenv(name.upper(), value)
    exec(example.replace("/srv/attachments", str(tmp_path)), {})  # noqa: S102 - our own README
    printed = capsys.readouterr().out
    assert re.fullmatch(expected, printed), printed


def test_the_example_of_a_suite_runs(tmp_path: Path) -> None:
    """The page for authors of storages shows a whole test module; pytest runs it."""
    page = (ROOT / "docs" / "writing-a-storage.md").read_text("utf-8")
    (example,) = re.findall(r"^```python\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    (tmp_path / "test_example.py").write_text(example)
    command = [sys.executable, "-m", "pytest", "-q", "-k", "comes_back", "test_example.py"]
    done = subprocess.run(
        command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stdout
    assert re.search(r"^[0-9]+ passed", done.stdout.splitlines()[-1]), done.stdout


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
