"""Files and commands on the pages of the documentation."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["write_files"]


def write_files(page: Path, directory: Path) -> None:
    """Write the blocks that the page names as files into a directory."""
    text = page.read_text("utf-8")
    for name, content in re.findall(
        r"<!--- file: (\S+) -->\n+(?:<!--- skip: next -->\n+)?```\w+\n(.*?)^```",
        text,
        re.MULTILINE | re.DOTALL,
    ):
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
