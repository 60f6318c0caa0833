"""Receipts in the responses that begin an upload by links."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rex.core import Error, Kind

if TYPE_CHECKING:
    from rex.attach.storage import Storage
    from rex.attach.storage.hooks import UploadRequest

__all__ = ["receipt_of"]


async def receipt_of(storage: Storage, begun: UploadRequest) -> dict[str, str]:
    """Return the field ``receipt`` of a response; nothing if the storage has no secret."""
    try:
        receipt = await storage.aio.receipt(
            begun.handle, owner=begun.owner, max_size=begun.max_size
        )
    except Error as error:
        if error.kind is not Kind.CONFIGURATION:
            raise
        return {}
    return {"receipt": receipt}
