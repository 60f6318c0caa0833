"""The README as an index shows it, where there are no other files: a metadata hook of hatchling.

Relative links lead to the project's URL `Source` if there is one; otherwise only their text stays.
Relative pictures go.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from hatchling.metadata.plugin.interface import MetadataHookInterface

__all__ = ["ReadmeHook", "standalone"]

_PICTURE = re.compile(r"!\[[^\]]*\]\((?!https?:)[^)]*\)\n*")
_LINK = re.compile(r"(?<!!)\[([^\]]+)\]\((?!https?:|#|mailto:)([^)\s]+)\)")
_COMMENT = re.compile(r"<!--.*?-->\n*", re.DOTALL)


class ReadmeHook(MetadataHookInterface):
    """Sets the dynamic field `readme`."""

    def update(self, metadata: dict[str, Any]) -> None:
        """Read README.md and set the field."""
        source = metadata.get("urls", {}).get("Source", "")
        text = Path(self.root, "README.md").read_text("utf-8")
        metadata["readme"] = {
            "content-type": "text/markdown",
            "text": standalone(text, source),
        }


def standalone(text: str, source: str) -> str:
    """Return a README that needs no other file; `source` is the address of the repository."""

    def link(found: re.Match[str]) -> str:
        label, path = found.groups()
        return f"[{label}]({source.rstrip('/')}/blob/main/{path})" if source else label

    return _LINK.sub(link, _PICTURE.sub("", _COMMENT.sub("", text)))
