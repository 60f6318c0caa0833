"""The pages of the tutorial, each walked through from an empty directory."""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import uuid4

import pytest

from served import reserved_port
from tutorial import PAGES, Reader, tabs_of

if TYPE_CHECKING:
    from pathlib import Path

    from rex.attach.testing import SeaweedFS

IN_A_BROWSER = "straight-to-s3.md"
"""`browser/test_tutorial.py` walks through this page."""
NAMES = sorted({path.name for path in PAGES.glob("*.md")} - {IN_A_BROWSER})
WALKS = [(name, tab) for name in NAMES for tab in tabs_of(name)]


@pytest.mark.parametrize(("page", "tab"), WALKS)
def test_a_page_prints_what_it_says(
    page: str, tab: str, tmp_path: Path, seaweedfs: SeaweedFS
) -> None:
    """Whatever a reader chose; the settings of an S3 server are those of a throwaway one."""
    settings = {**seaweedfs.settings(), "attach_s3_prefix": uuid4()}
    with reserved_port() as port, Reader(tmp_path, port, settings) as reader:
        reader.read(page, tab)
        assert reader.ran
