"""The base of backends on object servers: attachments through obstore."""

from __future__ import annotations

import abc
from typing import TYPE_CHECKING, ClassVar, Literal, Unpack

from rex.attach.backend.multipart import MAX_PARTS
from rex.attach.backends.objects import native
from rex.attach.backends.objects.objects import (
    PART_SIZE,
    code_of,
    explain_obstore,
    part_size,
)
from rex.attach.storage import Storage, StorageOptions

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
    """Attachments on an object server; the path of an attachment is the prefix and the key.

    Storing a small attachment takes one request, and so does opening an attachment. A large
    attachment is a multipart upload with a few concurrent requests, aborted on failure.
    """

    _codes: ClassVar[Mapping[str, Meaning]] = {}
    """The meanings of the error codes of the server."""

    def __init__(self, objects: Objects, **options: Unpack[StorageOptions]) -> None:
        super().__init__(**options)
        self._objects = objects
        self.prefix = objects.prefix

    def close(self) -> None:
        """Release the connections; each closes once its last reader ends."""
        super().close()
        self._objects.close()

    def _put(self, key: str, content: Content, content_type: str) -> None:
        whole = _whole(content)
        if whole is not None:
            self._put_whole(key, whole, content, content_type, mode="create")
            return
        # Not every server supports conditional completion, so check first.
        if self._objects.exists(key):
            raise FileExistsError
        self._put_large(key, content, content_type)

    @abc.abstractmethod
    def _put_large(self, key: str, content: Content, content_type: str) -> None:
        """Store content too large for one request under a key that other callers may know.

        As in `_put`, an existing object must not change.
        """

    def _put_new(self, key: str, content: Content, content_type: str) -> None:
        # Unconditionally: a condition costs servers time.
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
        # The response to DELETE does not tell whether the object existed.
        self._objects.head(key)
        self._objects.delete(self._objects.path(key))

    def _list(self, day: datetime.date | None, after: str | None) -> Iterator[str]:
        folder = self._objects.path("" if day is None else day.isoformat().replace("-", "/"))
        generation = native.enter()
        pages = native.obstore.list(
            self._objects.client,
            folder.rstrip("/") or None,
            offset=None if after is None else self._objects.path(after),
        )
        for page in pages:
            for meta in page:
                key = meta["path"].removeprefix(self.prefix)
                if after is None or key > after:  # not every server respects `offset`
                    after = key
                    yield key
            if native.enter() != generation:
                yield from self._list(day, after)
                return

    def _translate(self, failure: Exception, handle: str | None) -> Error | None:
        if isinstance(failure, FileNotFoundError) and code_of(failure) in self._codes:
            # obstore reports a missing bucket as a missing object.
            failure = native.obstore.exceptions.GenericError(str(failure))
        return super()._translate(failure, handle)

    def _explain(self, failure: Exception) -> Meaning | None:
        # The code is more precise than the class of the exception.
        known = self._codes.get(code_of(failure))
        return known or explain_obstore(failure) or super()._explain(failure)


def _whole(content: Content) -> bytes | None:
    """Return all bytes of the content, or None if it is too large for one request."""
    whole = content.whole(PART_SIZE)
    if whole is None:
        content.limit(part_size(content) * MAX_PARTS, "the largest size of a multipart upload")
    return whole
