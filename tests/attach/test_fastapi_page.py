"""The examples of the page on FastAPI, as the strict type checker of a developer reads them."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

from programs import run

PAGE = Path(__file__).parents[2] / "docs/frameworks/fastapi.md"


@pytest.mark.long
def test_a_strict_type_checker_accepts_the_page(tmp_path: Path) -> None:
    """Without a cast and without the settings of this project; a storage is typed `Storage`."""
    blocks = re.findall(r"^```python\n(.*?)^```", PAGE.read_text("utf-8"), re.MULTILINE | re.DOTALL)
    text = "\n".join((*blocks, "reveal_type(read_document)\n"))
    assert not re.search(r"cast\(|type: ignore", text)
    (tmp_path / "page.py").write_text(text)
    options = ("--strict", "--config-file=", "--cache-dir", tmp_path / "cache", "page.py")
    done = run(sys.executable, "-m", "mypy", *options, directory=tmp_path)
    assert 0 == done.returncode, done.stdout
    assert "rex.attach.storage.storage.Storage" in done.stdout
