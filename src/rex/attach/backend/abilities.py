"""What a storage can do besides storing: one value, with a field for each ability."""

from __future__ import annotations

import abc
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from rex.core import Error, Kind

if TYPE_CHECKING:
    import datetime
    from collections.abc import Callable, Iterator, Sequence

    from rex.attach.backend.diagnostics import Doctor
    from rex.attach.backend.garbage import Garbage
    from rex.attach.backend.resumable import Resumable
    from rex.attach.links.link import PresignedLink
    from rex.attach.links.reason import Comparison
    from rex.attach.links.signed_link import SignedLink
    from rex.attach.storage.multipart import Multipart

    GarbageFinder = Callable[[datetime.datetime], Iterator[Garbage]]
    Diagnostics = Callable[[], Sequence[Doctor]]

__all__ = ["Abilities", "BucketRules", "LinkSigner", "require"]

T = TypeVar("T")


class LinkSigner(abc.ABC):
    """Signs links; keys, types and seconds are valid.

    A method may raise any exception: the operations make an `Error` of it, with `Backend._explain`.
    """

    is_service = False
    """Whether the service answers the links, and not a server of the storage."""
    signs_uploads = True
    """Whether there are links for uploads, and not for downloads alone."""

    @property
    def is_offline(self) -> bool:
        """Whether signing asks no server, so that an event loop may call it."""
        return False

    @abc.abstractmethod
    def post(
        self, key: str, content_type: str, max_size: int | None, seconds: float
    ) -> PresignedLink:
        """Sign a form upload; every field is pinned."""

    @abc.abstractmethod
    def put(self, key: str, content_type: str, seconds: float) -> PresignedLink:
        """Sign an upload that works once; every header is signed."""

    @abc.abstractmethod
    def get(
        self, key: str, content_disposition: str, content_type: str | None, seconds: float
    ) -> PresignedLink:
        """Sign a download that is answered with this disposition and, if given, this type."""

    def compare(self, link: SignedLink) -> Comparison | None:
        """Compare a link of S3 with the settings, asking no server; None without such settings."""
        del link
        return None


class BucketRules(abc.ABC):
    """The rules of a bucket, in S3's own words."""

    @abc.abstractmethod
    def cors(self) -> list[dict[str, Any]]:
        """Return the CORS rules of the bucket."""

    @abc.abstractmethod
    def set_cors(self, rules: list[dict[str, Any]]) -> None:
        """Replace all CORS rules of the bucket."""

    @abc.abstractmethod
    def lifecycle(self, days: int, noncurrent: int | None) -> list[dict[str, Any]]:
        """Return the lifecycle rules that remove abandoned uploads after days.

        With `noncurrent` (days), also older versions of removed attachments.
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class Abilities:
    """The abilities of a storage; None stands for what it cannot do.

    A storage around another passes on what it does not change, with `dataclasses.replace`.
    """

    links: LinkSigner | None = None
    """Links for clients."""
    resumable: Resumable | None = None
    """Uploads that arrive piece by piece."""
    multipart: Multipart | None = None
    """Uploads in parts that clients send straight to a server."""
    bucket: BucketRules | None = None
    """A bucket with rules."""
    garbage: GarbageFinder | None = None
    """Finds abandoned files and uploads that have been of no use since before a moment.

    Expired resumable uploads are not among them, as long as their records exist. Each is cleared,
    if at all, before the next is requested; a directory comes after its content.
    """
    diagnostics: Diagnostics | None = None
    """Returns what examines the storage, or each of those that it is made of."""


_LACKING = {
    "links": partial(
        Error,
        "This storage cannot make links",
        "links need a server that a client can reach; say where the service is (setting "
        "attach_url), or keep the attachments on an S3-compatible server",
        kind=Kind.UNSUPPORTED,
        code="no-links",
    ),
    "resumable": partial(
        Error,
        "This storage takes no uploads in pieces",
        "send the attachment in one request, or keep the attachments in a directory or on S3",
        kind=Kind.UNSUPPORTED,
        code="no-resumable",
    ),
    "multipart": partial(
        Error,
        "This storage takes no uploads in parts by links",
        "keep the attachments on an S3-compatible server (attach_s3_bucket)",
        kind=Kind.UNSUPPORTED,
        code="no-multipart",
    ),
    "bucket": partial(
        Error,
        "This storage has no bucket whose rules could be set",
        "the service itself answers to the sites in attach_origins",
        kind=Kind.UNSUPPORTED,
        code="no-bucket-rules",
    ),
}


def require(ability: T | None, name: str) -> T:
    """Return an ability. Errors: `UNSUPPORTED` where the storage has it not."""
    if ability is None:
        error = _LACKING[name]()
        raise error
    return ability
