"""What all object servers have in common: attachments through obstore."""

from __future__ import annotations

import abc
from typing import TYPE_CHECKING, ClassVar, Literal, Unpack

import obstore
import obstore.exceptions

from rex.attach.backends.objects.objects import (
    PART_SIZE,
    Runtime,
    code_of,
    explain_obstore,
    part_size,
)
from rex.attach.storage import Storage, StorageOptions
from rex.attach.storage.multipart import MAX_PARTS

if TYPE_CHECKING:
    import datetime
    from collections.abc import Iterator, Mapping

    from rex.attach.backend.failures import Meaning
    from rex.attach.backends.objects.objects import Objects
    from rex.attach.content.content import Content
    from rex.attach.content.reader import Body
    from rex.attach.info import Metadata
    from rex.core import Error

__all__ = ["ObjectStorage"]


class ObjectStorage(Storage):
    """Attachments on an object server, each under its key behind a prefix.

    A small attachment is one request, and so is opening one. A large one is sent in parts, a few
    at a time, and what was sent is aborted when it fails.
    """

    _codes: ClassVar[Mapping[str, Meaning]] = {}
    """What the server's codes mean."""

    def __init__(self, objects: Objects, **options: Unpack[StorageOptions]) -> None:
        super().__init__(**options)
        self._objects = objects
        self.prefix = objects.prefix

    def close(self) -> None:
        """Release the connections; they end when what still reads from them does."""
        super().close()
        self._objects.close()

    def _put(self, key: str, content: Content, content_type: str) -> None:
        whole = _whole(content)
        if whole is not None:
            self._put_whole(key, whole, content, content_type, mode="create")
            return
        # Not every server makes completing an upload conditional, so ask before.
        if self._objects.exists(key):
            raise FileExistsError
        self._put_large(key, content, content_type)

    @abc.abstractmethod
    def _put_large(self, key: str, content: Content, content_type: str) -> None:
        """Store content of more than one request under a new key that others may know.

        As `_put`: an object that another upload has made stays as it is.
        """

    def _put_new(self, key: str, content: Content, content_type: str) -> None:
        # Without a condition, which costs servers time.
        whole = _whole(content)
        if whole is None:
            self._objects.put_parts(key, content, content_type)
        else:
            self._put_whole(key, whole, content, content_type, mode="overwrite")

    def _put_whole(
        self,
        key: str,
        whole: bytes,
        content: Content,
        content_type: str,
        *,
        mode: Literal["create", "overwrite"],
    ) -> None:
        digest, upload_metadata = content.digest, content.upload_metadata
        self._objects.put_whole(
            key, whole, content_type, digest=digest, upload_metadata=upload_metadata, mode=mode
        )

    def _get(self, key: str, start: int, end: int | None) -> Body:
        return self._objects.get(key, start, end)

    def _head(self, key: str) -> Metadata:
        return self._objects.head(key)

    def _delete(self, key: str) -> None:
        # The server answers the same whether there was an object or not.
        self._objects.head(key)
        self._objects.delete(self._objects.path(key))

    def _list(self, day: datetime.date | None, after: str | None) -> Iterator[str]:
        folder = self._objects.path("" if day is None else day.isoformat().replace("-", "/"))
        pages = obstore.list(
            self._objects.client,
            folder.rstrip("/") or None,
            offset=None if after is None else self._objects.path(after),
        )
        for page in Runtime.watch(pages):
            for meta in page:
                key = meta["path"].removeprefix(self.prefix)
                if after is None or key > after:  # not every server begins where it is asked to
                    yield key

    def _translate(self, failure: Exception, handle: str | None) -> Error | None:
        if isinstance(failure, FileNotFoundError) and code_of(failure) in self._codes:
            # For obstore, a missing bucket is a missing object.
            failure = obstore.exceptions.GenericError(str(failure))
        return super()._translate(failure, handle)

    def _explain(self, failure: Exception) -> Meaning | None:
        # The code says more than the class of the exception.
        known = self._codes.get(code_of(failure))
        return known or explain_obstore(failure) or super()._explain(failure)


def _whole(content: Content) -> bytes | None:
    """Return all of the content if one request sends it."""
    content.limit(part_size(content) * MAX_PARTS, "the most that fits into its parts")
    return content.whole(PART_SIZE)
