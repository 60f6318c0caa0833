"""The configuration of a storage in a directory."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from rex.attach.backend.config import BackendSpec, option
from rex.core import typed

if TYPE_CHECKING:
    from urllib.parse import SplitResult

__all__ = ["LocalConfig", "spec"]


@dataclass(frozen=True, slots=True)
class LocalConfig:
    """The directory, and whether it must have its marker."""

    directory: str = option(
        typed.path,
        setting="attach_dir",
        in_url=True,
        help="the directory that keeps the attachments",
    )
    require_marker: bool = option(
        typed.boolean,
        False,
        help="whether the directory must exist and have its marker, which is missing while its "
        "disk is not mounted",
    )


def _read_url(parts: SplitResult) -> dict[str, str] | None:
    from urllib.parse import unquote

    if parts.netloc not in ("", "localhost") or parts.path[:1] != "/":
        return None
    return {"directory": unquote(parts.path)}


spec = BackendSpec(
    scheme="file",
    example="file:///directory",
    config=LocalConfig,
    prefix="attach_dir_",
    read_url=_read_url,
    factory="rex.attach.backends.local.storage:make",
)
