"""What a backend implements for multipart uploads, and the parts that its server has."""

from __future__ import annotations

import abc
from collections.abc import Iterator, Sequence  # noqa: TC003 - resolved at run time
from dataclasses import dataclass

from rex.attach.content.content import Content  # noqa: TC001 - resolved at run time
from rex.attach.links.link import PresignedLink  # noqa: TC001 - resolved at run time
from rex.core import Error, Kind

__all__ = ["MAX_PARTS", "Multipart", "Part", "RelayedMultipart"]

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

    is_relayed = False
    """Whether clients send the parts to the service, because the server has no links for them."""
    has_events = True
    """Whether the server can notify the service of new objects, in the format of S3."""

    bucket: str
    """The name of the bucket."""

    def put_part(self, key: str, upload_id: str, number: int, content: Content) -> Part:
        """Store a part; it replaces an earlier one with its number, once it is whole.

        Must be implemented if `is_relayed`.
        """
        del key, upload_id, number, content
        raise Error(
            "Clients send the parts of an upload to the server",
            "create a link for each part (storage.multipart.link)",
            kind=Kind.UNSUPPORTED,
            code="no-part-relay",
        )

    @abc.abstractmethod
    def create(self, key: str, content_type: str) -> str:
        """Create an upload; return its id."""

    @abc.abstractmethod
    def parts(self, key: str, upload_id: str) -> Iterator[Part]:
        """Yield the stored parts in the order of their numbers."""

    @abc.abstractmethod
    def complete(self, key: str, upload_id: str, parts: Sequence[Part]) -> bool:
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


class RelayedMultipart(Multipart):
    """Multipart uploads to a server without links for parts: the service stores them."""

    is_relayed = True
    has_events = False

    @abc.abstractmethod
    def put_part(self, key: str, upload_id: str, number: int, content: Content) -> Part:
        """Store a part; it replaces an earlier one with its number, once it is whole."""

    def sign_create(self, key: str, content_type: str, seconds: float) -> PresignedLink:
        """Raise the error for links that do not exist."""
        del key, content_type, seconds
        raise _no_links()

    def sign_part(self, key: str, upload_id: str, number: int, seconds: float) -> PresignedLink:
        """Raise the error for links that do not exist."""
        del key, upload_id, number, seconds
        raise _no_links()

    def sign_parts(self, key: str, upload_id: str, seconds: float) -> PresignedLink:
        """Raise the error for links that do not exist."""
        del key, upload_id, seconds
        raise _no_links()

    def sign_complete(self, key: str, upload_id: str, seconds: float) -> PresignedLink:
        """Raise the error for links that do not exist."""
        del key, upload_id, seconds
        raise _no_links()

    def sign_abort(self, key: str, upload_id: str, seconds: float) -> PresignedLink:
        """Raise the error for links that do not exist."""
        del key, upload_id, seconds
        raise _no_links()


def _no_links() -> Error:
    return Error(
        "The server has no links for multipart uploads",
        "send the parts to the service, or store them with storage.multipart.put_part",
        kind=Kind.UNSUPPORTED,
        code="no-part-links",
    )
