"""The configuration of a storage in memory, which has no options."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from rex.attach.backend.config import BackendSpec

if TYPE_CHECKING:
    from urllib.parse import SplitResult

__all__ = ["MemoryConfig", "spec"]


@dataclass(frozen=True, slots=True)
class MemoryConfig:
    """An empty configuration."""


def _read_url(parts: SplitResult) -> dict[str, str] | None:
    return None if parts.netloc or parts.path else {}


spec = BackendSpec(
    scheme="memory",
    example="memory:",
    config=MemoryConfig,
    prefix="attach_memory_",
    read_url=_read_url,
    factory="rex.attach.backends.memory.storage:make",
)
