"""Check a built documentation site: it loads nothing from elsewhere, and its links lead somewhere.

``python tools/check_site.py DIRECTORY`` prints what is wrong and counts the pages. MkDocs checks
the links between the pages; this reads what a browser gets, so that what a theme or a plugin adds
is checked too.
"""

from __future__ import annotations

import re
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

if TYPE_CHECKING:
    from collections.abc import Iterator

LOADING = {("link", "href"), ("script", "src"), ("img", "src"), ("iframe", "src"), ("use", "href")}
"""Attributes whose address a browser loads without a click."""

OF_STYLES = re.compile(r"(?:url\(|@import)\s*[\"']?(?:https?:)?//[^\"')\s]+")


class Page(HTMLParser):
    """The addresses and anchors of a page."""

    def __init__(self, path: Path) -> None:
        """Read a page."""
        super().__init__()
        self.path = path
        self.anchors = {""}
        self.links: list[str] = []
        self.loaded: list[str] = []
        self.feed(path.read_text("utf-8"))

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        """Note what a tag names and where it leads."""
        values = {name: value or "" for name, value in attributes}
        self.anchors |= {values[name] for name in ("id", "name") if name in values}
        for name in ("href", "src"):
            if name in values:
                self.links.append(values[name])
                if (tag, name) in LOADING and values.get("rel") != "canonical":
                    self.loaded.append(values[name])


def check(site: Path) -> Iterator[str]:
    """Yield what is wrong with a site."""
    pages = {path: Page(path) for path in sorted(site.rglob("*.html"))}
    for path, page in pages.items():
        name = path.relative_to(site)
        yield from (f"{name} loads {each}" for each in page.loaded if urlsplit(each).netloc)
        if path.name != "404.html":  # its links are those of the place where the site is
            yield from (
                f"{name} links to {each}" for each in page.links if _broken(each, page, pages)
            )
    for path in sorted(site.rglob("*.css")):
        for found in OF_STYLES.findall(path.read_text("utf-8")):
            yield f"{path.relative_to(site)} loads {found}"


def _broken(link: str, page: Page, pages: dict[Path, Page]) -> bool:
    """Return whether a link of a page leads nowhere on the site."""
    parts = urlsplit(link)
    if parts.scheme or parts.netloc:
        return False
    target = (page.path.parent / unquote(parts.path)).resolve() if parts.path else page.path
    if target.is_dir():
        target /= "index.html"
    there = pages.get(target)
    return not target.exists() or (
        there is not None and unquote(parts.fragment) not in there.anchors
    )


def main() -> None:
    """Print what is wrong, and fail if anything is."""
    site = Path(sys.argv[1]).resolve()
    wrong = [*check(site)]
    print(*wrong, f"{len([*site.rglob('*.html')])} pages, {len(wrong)} errors", sep="\n")
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
