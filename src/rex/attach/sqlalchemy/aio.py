"""The same for asynchronous sessions: ``await aio.add(session, …)``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rex.attach.sqlalchemy.session import begin, record

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncSession, async_scoped_session

    from rex.attach.content.content import AsyncContentSource
    from rex.attach.storage.hooks import UploadRequest

__all__ = ["add"]


async def add(
    session: AsyncSession | async_scoped_session[AsyncSession],
    name: str | UploadRequest | None,
    content: AsyncContentSource,
    *,
    content_type: str | None = None,
    digest: str | None = None,
    owner: object = None,
    notify: bool = True,
) -> str:
    """Store an attachment, to be removed if the transaction is rolled back; return its handle.

    The content is that of `AsyncStorage.add`; the rest is as in `rex.attach.sqlalchemy.add`. If the
    task is cancelled, the attachment is not stored, or removed with the transaction.
    """
    tracker = begin(session)
    handle = await tracker.storage.aio.add(
        name, content, content_type=content_type, digest=digest, owner=owner, notify=notify
    )
    record(session, handle)
    return handle
