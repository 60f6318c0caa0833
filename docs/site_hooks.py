"""What `make docs` does besides MkDocs: pages and links of the repository, diagrams, errors.

The pages also work where a forge shows them: their links lead to files of the repository, and
their diagrams are the text of Mermaid.
"""

from __future__ import annotations

import hashlib
import os
import posixpath
import re
import sys
from pathlib import Path
from typing import Any

import mmdr
from mkdocs.structure.files import File, Files
from mkdocs.utils import get_relative_url

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "src"))

from rex.core import Kind  # noqa: E402 - found by now

ROOT_PAGES = {
    "ARCHITECTURE.md": "architecture.md",
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "SECURITY.md": "security.md",
}
"""Pages of the repository, and their places on the site."""

README = "README.md"
LINK = re.compile(r"(?<!\!)\[((?:[^\[\]]|\[[^\]]*\])*)\]\((?![a-z]+:)([^)#\s]+)(#[^)\s]*)?\)")
KINDS = "reference/python/core.html"
ERRORS = re.compile(r"<p>Errors: (.*?)</p>", re.DOTALL)
KIND = re.compile(f"<code>({'|'.join(kind.name for kind in Kind)})</code>")
PAGE = re.compile(r"<code>docs/([\w/-]+)\.md</code>")


def on_config(config: Any) -> Any:
    """Draw diagrams, and let a reader choose the version where several are published."""
    fence = {"name": "mermaid", "class": "diagram", "format": _draw}
    config.mdx_configs["pymdownx.superfences"] = {"custom_fences": [fence]}
    if os.environ.get("MIKE_DOCS_VERSION"):
        config.extra["version"] = {"provider": "mike"}
    return config


def on_files(files: Files, config: Any) -> Files:
    """Add the pages of the repository, with links as from the folder of the other pages."""
    for name, place in ROOT_PAGES.items():
        text = (ROOT / name).read_text("utf-8")
        text = LINK.sub(lambda link: _moved(link, ""), text)
        files.append(File.generated(config, place, content=text))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Point links at the pages of the site; those to other files of the repository become text."""
    folder = posixpath.join("docs", posixpath.dirname(page.file.src_uri))
    return LINK.sub(lambda link: _moved(link, folder), markdown)


def on_page_content(html: str, page: Any, **_: Any) -> str:
    """Link the kinds of errors, and the pages, that the documentation of Python names."""
    kinds = get_relative_url(KINDS, page.file.url)
    html = PAGE.sub(
        lambda found: (
            f'<a href="{get_relative_url(f"{found[1]}.html", page.file.url)}">{found[1]}</a>'
        ),
        html,
    )
    link = rf'<a href="{kinds}#rex.core.Kind.\1"><code>\1</code></a>'
    return ERRORS.sub(
        lambda found: f'<p class="errors"><strong>Errors:</strong> {KIND.sub(link, found[1])}</p>',
        html,
    )


def _moved(link: re.Match[str], folder: str) -> str:
    """Return a link of a page in a folder of the repository as that of its page on the site."""
    words, target, anchor = link[1], link[2], link[3] or ""
    path = posixpath.normpath(posixpath.join(folder, target))
    if path == README:
        path = "docs/index.md"
    elif path in ROOT_PAGES:
        path = f"docs/{ROOT_PAGES[path]}"
    elif not path.startswith("docs/"):
        return words if (ROOT / path).exists() else link[0]
    elif folder:
        return link[0]
    place = posixpath.relpath(path, folder or "docs")
    return f"[{words}]({place}{anchor})"


def _draw(source: str, *_: Any, **__: Any) -> str:
    """Return the picture of a diagram in SVG."""
    svg = mmdr.render(source).svg()
    name = f"diagram-{hashlib.sha256(source.encode()).hexdigest()[:8]}"
    return f'<div class="diagram">{svg.replace("merman", name)}</div>'
