"""Uploads as a check gets them, in a storage that counts what is read of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rex.attach import open_storage
from rex.core import Error, Kind

if TYPE_CHECKING:
    from collections.abc import Callable

    from rex.attach import Info, Reader, Storage

__all__ = ["Upload", "refusal", "upload"]


class Upload:
    """An upload that is complete, and not acknowledged yet."""

    def __init__(self, storage: Storage, handle: str) -> None:
        self._storage = storage
        self.info: Info = storage.info(handle)

    def open(self) -> Reader:
        """Open the content."""
        return self._storage.open(self.info.handle)


def upload(content: bytes, content_type: str | None = None, name: str = "file") -> Upload:
    """Give an upload with this content."""
    storage = open_storage("memory:")
    return Upload(storage, storage.add(name, content, content_type=content_type))


def refusal(check: Callable[[Upload], None], upload: Upload) -> str:
    """Run a check that must refuse; give the words for the client."""
    raised = None
    try:
        check(upload)
    except Error as error:
        raised = error
    if raised is None:
        return "accepted"
    # A cause would hide the words from the client.
    assert (Kind.REFUSED, None) == (raised.kind, raised.__cause__), raised
    return str(raised)
