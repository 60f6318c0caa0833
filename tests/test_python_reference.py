"""The reference of Python names every public object."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import pytest

PAGES = Path(__file__).parents[1] / "docs" / "reference" / "python"
NAMED = {
    name
    for page in PAGES.glob("*.md")
    for name in re.findall(r"^::: (\S+)$", page.read_text("utf-8"), re.MULTILINE)
}
PACKAGES = (
    "rex.attach",
    "rex.attach.checks",
    "rex.attach.django",
    "rex.attach.fastapi",
    "rex.attach.flask",
    "rex.attach.maintenance",
    "rex.attach.sqlalchemy",
    "rex.attach.testing",
    "rex.attach.web",
    "rex.core",
)
ELSEWHERE = {"rex.attach.testing.Storage"}
"""Names that are also those of another package."""


@pytest.mark.parametrize("package", PACKAGES)
def test_every_public_name_is_in_the_reference(package: str) -> None:
    """Those that a package exports."""
    names = {f"{package}.{name}" for name in importlib.import_module(package).__all__}
    assert set() == names - NAMED - ELSEWHERE


def test_every_fixture_is_in_the_reference() -> None:
    """Those of the pytest plugin, which a test names."""
    plugin = Path(importlib.import_module("rex.attach.testing").__file__ or "")
    fixtures = re.findall(
        r"^@pytest\.fixture.*\ndef (\w+)", plugin.read_text("utf-8"), re.MULTILINE
    )
    assert fixtures
    assert set() == {f"rex.attach.testing.{name}" for name in fixtures} - NAMED
