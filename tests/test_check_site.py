"""What `tools/check_site.py` finds on a site of two pages."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from check_site import check

if TYPE_CHECKING:
    from pathlib import Path

OTHER = '<h1 id="there">Other</h1>'


@pytest.mark.parametrize(
    ("html", "expected"),
    [
        ('<a href="other.html#there">x</a> <a href="https://example.org">y</a>', []),
        ('<a href="#here">x</a> <p id="here">y</p> <a href="deep/../other.html">z</a>', []),
        ('<a href="other.html#nowhere">x</a>', ["index.html links to other.html#nowhere"]),
        ('<a href="missing.html">x</a>', ["index.html links to missing.html"]),
        (
            '<script src="https://example.org/x.js"></script>',
            ["index.html loads https://example.org/x.js"],
        ),
        ('<img src="//example.org/x.png">', ["index.html loads //example.org/x.png"]),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, html: str, expected: list[str]) -> None:
    """Links that lead nowhere, and what a browser would load from elsewhere."""
    (tmp_path / "index.html").write_text(html)
    (tmp_path / "other.html").write_text(OTHER)
    assert expected == [*check(tmp_path)]


def test_a_style_loads_nothing_from_elsewhere(tmp_path: Path) -> None:
    """Fonts and pictures, too."""
    (tmp_path / "site.css").write_text("p { background: url(https://example.org/x.png) }")
    assert ["site.css loads url(https://example.org/x.png"] == [*check(tmp_path)]
