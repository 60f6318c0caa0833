"""What a backend implements for multipart uploads, and the parts that its server has."""

from __future__ import annotations

import abc
from collections.abc import Iterator, Sequence  # noqa: TC003 - resolved at run time
from dataclasses import dataclass

from rex.attach.links.link import PresignedLink  # noqa: TC001 - resolved at run time

__all__ = ["MAX_PARTS", "Multipart", "Part"]

MAX_PARTS = 10_000
"""The limit of S3."""


@dataclass(frozen=True, slots=True)
class Part:
    """A part that the server has stored."""

    number: int
    size: int
    """In bytes."""
    etag: str
    """The entity tag of the part, in quotes."""


class Multipart(abc.ABC):
    """What a backend implements for multipart uploads; keys, numbers and ids are well formed.

    A method may raise any exception: the operations make an `Error` of it, with `Backend._explain`.
    """

    bucket: str
    """The name of the bucket."""
    prefix: str
    """The prefix of every key in the bucket."""

    @abc.abstractmethod
    def create(self, key: str, content_type: str) -> str:
        """Create an upload; return its id."""

    @abc.abstractmethod
    def parts(self, key: str, upload_id: str) -> Iterator[Part]:
        """Yield the stored parts in the order of their numbers."""

    @abc.abstractmethod
    def complete(self, key: str, upload_id: str, parts: Sequence[Part]) -> None:
        """Assemble the object; must raise `FileExistsError` if a different object exists.

        An existing object must not be replaced, provided that the server supports conditional
        completion. A repetition, after a lost response, succeeds.
        """

    @abc.abstractmethod
    def is_made_of(self, key: str, etags: Sequence[str]) -> bool:
        """Return whether the object is known to consist of parts with these ETags."""

    @abc.abstractmethod
    def abort(self, key: str, upload_id: str) -> None:
        """Abort an upload and remove its parts."""

    @abc.abstractmethod
    def sign_create(self, key: str, content_type: str, seconds: float) -> PresignedLink:
        """Sign the request that creates an upload; every header is signed."""

    @abc.abstractmethod
    def sign_part(self, key: str, upload_id: str, number: int, seconds: float) -> PresignedLink:
        """Sign the upload of a part."""

    @abc.abstractmethod
    def sign_parts(self, key: str, upload_id: str, seconds: float) -> PresignedLink:
        """Sign the request that lists the parts."""

    @abc.abstractmethod
    def sign_complete(self, key: str, upload_id: str, seconds: float) -> PresignedLink:
        """Sign the request that completes an upload, unless the object exists."""

    @abc.abstractmethod
    def sign_abort(self, key: str, upload_id: str, seconds: float) -> PresignedLink:
        """Sign the request that aborts an upload."""
