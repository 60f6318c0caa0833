"""The generated pages are what `make reference` generates from the code."""

from __future__ import annotations

import dataclasses
import re
import sys
from pathlib import Path

import pytest

from programs import run
from rex.attach.backend.abilities import Abilities
from rex.core import package as packages
from rex.core.command import root

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs" / "reference"
PAGES = {
    "README.md": ROOT,
    "cli.md": DOCS,
    "http.md": DOCS,
    "requests.md": DOCS,
    "settings.md": DOCS,
}


@pytest.fixture(scope="module")
def generated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Generate the pages in an empty directory."""
    directory = tmp_path_factory.mktemp("reference")
    done = run(sys.executable, ROOT / "docs" / "make_reference.py", directory)
    assert 0 == done.returncode, done.stderr
    return directory


@pytest.mark.parametrize("page", PAGES)
def test_a_reference_page_is_up_to_date(generated: Path, page: str) -> None:
    """The committed page is the generated one."""
    expected = (generated / page).read_text("utf-8")
    assert expected == (PAGES[page] / page).read_text("utf-8"), (
        f"{page} is out of date; generate it with: make reference"
    )


def test_no_other_page_is_generated(generated: Path) -> None:
    """A new page needs a test."""
    assert {*PAGES} == {path.name for path in generated.iterdir()}


OF_LINKS = ("post_links", "pins_type", "limits_put")


def test_every_ability_has_a_row(generated: Path) -> None:
    """A new ability needs a title, and so have two properties of links."""
    page = (generated / "README.md").read_text("utf-8")
    table = page.partition("<!-- backends -->")[2].partition("<!-- /backends -->")[0]
    assert table.count("\n| ") == 5 + len(dataclasses.fields(Abilities)) + len(OF_LINKS)


def test_every_command_has_a_section(generated: Path) -> None:
    """Those of `rex` itself and those that packages bring."""
    sections = re.findall("^## (.+)$", (generated / "cli.md").read_text("utf-8"), re.MULTILINE)
    assert {"rex", "rex attach", "rex attach add", "rex serve", "rex settings"} <= {*sections}
    assert {f"rex {name}" for name in root.lazy} <= {*sections}


def test_every_default_can_be_given(generated: Path) -> None:
    """A default in the page, given as text, is parsed to the default."""
    page = (generated / "settings.md").read_text("utf-8")
    shown = dict(re.findall(r"^\| `([A-Z0-9_]+)` \|.*\| (?:–|`(.*)`) \|$", page, re.MULTILINE))  # noqa: RUF001 - as in the page
    names = packages.find_installed()
    settings = [setting for name in names for setting in packages.load(name).settings]
    assert [setting.name.upper() for setting in settings] == [*shown]
    for setting in settings:
        assert setting.default == setting.parse(shown[setting.name.upper()])
