"""The configuration of a backend over obstore's memory store."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from rex.attach.backend.config import BackendSpec, option
from rex.core import typed

if TYPE_CHECKING:
    from urllib.parse import SplitResult


@dataclass(frozen=True, slots=True)
class ObstoreConfig:
    """A store by its name in this process."""

    store: str = option(typed.text, in_url=True, help="the name of a store in this process")
    prefix: str = option(typed.text, "", in_url=True, help="a folder in the store for all keys")


def _read_url(parts: SplitResult) -> dict[str, str] | None:
    return {"store": parts.netloc, "prefix": parts.path} if parts.netloc else None


spec = BackendSpec(
    scheme="obstore",
    example="obstore://store/prefix",
    config=ObstoreConfig,
    prefix="attach_obstore_",
    read_url=_read_url,
    factory="attach.obstore_memory.storage:ObstoreStorage",
    extra="s3",
)
