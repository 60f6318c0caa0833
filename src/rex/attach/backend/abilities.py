"""The optional abilities of a backend: one value, with a field for each ability."""

from __future__ import annotations

import abc
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from rex.core import Error, Kind

if TYPE_CHECKING:
    import datetime
    from collections.abc import Callable, Iterator, Sequence
    from contextlib import AbstractContextManager

    from rex.attach.backend.diagnostics import Diagnosed, Doctor
    from rex.attach.backend.garbage import Garbage
    from rex.attach.backend.multipart import Multipart
    from rex.attach.backend.resumable import Resumable
    from rex.attach.links.link import PresignedLink
    from rex.attach.links.reason import Comparison
    from rex.attach.links.signed_link import SignedLink

    GarbageFinder = Callable[[datetime.datetime], Iterator[Garbage]]
    Diagnostics = Callable[[], Sequence[Doctor[Any]]]

__all__ = ["Abilities", "BucketRules", "LinkSigner", "doctors_of", "require"]

T = TypeVar("T")


class LinkSigner(abc.ABC):
    """Signs links; its arguments are valid.

    A method may raise any exception: the operations make an `Error` of it, with `Backend._explain`.
    """

    is_service = False
    """Whether the service answers the links, and not the server of the backend."""
    signs_uploads = True
    """Whether the signer also signs uploads, and not only downloads."""
    signs_downloads = True
    """Whether the signer signs downloads of all attachments, and not only of some."""

    post_links = True
    """Whether there are links for form uploads (POST)."""
    pins_type = True
    """Whether a PUT link fixes the headers of an upload, the content type among them."""
    limits_put = False
    """Whether a PUT link can limit the size of an upload."""

    @property
    def is_served(self) -> bool:
        """Whether the service answers some of the links, or all of them."""
        return self.is_service

    @property
    def is_fetchable(self) -> bool:
        """Whether each download link leads to a server from which a proxy can fetch the bytes."""
        return self.signs_downloads and not self.is_served

    @property
    def is_offline(self) -> bool:
        """Whether signing needs no server, so that an event loop may call it."""
        return False

    @abc.abstractmethod
    def post(
        self, key: str, content_type: str, max_size: int | None, seconds: float
    ) -> PresignedLink:
        """Sign a form upload; the client cannot change any field.

        Must raise an `UNSUPPORTED` error if `post_links` is False.
        """

    @abc.abstractmethod
    def put(
        self, key: str, content_type: str, max_size: int | None, seconds: float
    ) -> PresignedLink:
        """Sign an upload that works once; every header is signed if `pins_type`.

        `max_size` is None unless `limits_put`.
        """

    @abc.abstractmethod
    def get(
        self,
        key: str,
        content_disposition: str,
        content_type: str | None,
        seconds: float,
        window: int,
    ) -> PresignedLink:
        """Sign a download whose response has this disposition and, if given, this type.

        With a `window` other than 0, the same link is signed by each call within a window, a
        multiple of so many seconds since 1970: see `rex.attach.links.link.round_down`.
        """

    def compare(self, link: SignedLink) -> Comparison | None:
        """Compare a link with the settings, offline; return None for a link of another kind."""
        del link
        return None


class BucketRules(abc.ABC):
    """The rules of a bucket or container; CORS rules have the format of S3."""

    is_account_wide = False
    """Whether the CORS rules hold for all containers of an account."""
    has_ids = True
    """Whether CORS rules have ids."""
    lifecycle_name = "Rules"
    """The name of the list of lifecycle rules in the file that the tools of the server take."""

    @abc.abstractmethod
    def cors(self) -> list[dict[str, Any]]:
        """Return the CORS rules of the bucket."""

    @abc.abstractmethod
    def set_cors(self, rules: list[dict[str, Any]]) -> None:
        """Replace all CORS rules of the bucket."""

    @abc.abstractmethod
    def lifecycle(self, days: int, noncurrent: int | None) -> list[dict[str, Any]]:
        """Return the lifecycle rules that remove abandoned uploads after `days`.

        With `noncurrent` (days), the rules also remove the versions of removed attachments.
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class Abilities:
    """The abilities of a backend; None for an ability that it does not have.

    A backend around another one passes its abilities on, changed with `dataclasses.replace`.
    """

    links: LinkSigner | None = None
    """Signs links for clients."""
    resumable: Resumable | None = None
    """Stores resumable uploads."""
    multipart: Multipart | None = None
    """Handles multipart uploads, which clients send to a server, or to the service."""
    bucket: BucketRules | None = None
    """Reads and sets the rules of a bucket."""
    garbage: GarbageFinder | None = None
    """Yields abandoned files and uploads, unused since before the given moment.

    It omits expired resumable uploads whose records exist. The caller clears an item, if at all,
    before it requests the next; a directory comes after its content.
    """
    grouped: Callable[[], AbstractContextManager[None]] | None = None
    """Within a block of it, threads that store many attachments wait for the disk together.

    What is stored is as durable as without it, and what is there at its beginning is durable, too:
    a process that was killed may have left it under its handle and not synced.
    """
    directory: str | None = None
    """The directory with a file for each attachment, whose path in it is the key."""
    one_remover: bool = False
    """Whether exactly one of several concurrent removals of an attachment succeeds."""
    create_once: bool = False
    """Whether exactly one of several concurrent stores under a handle succeeds, at any size.

    False if that depends on the server, or holds for small attachments only.
    """
    diagnostics: Diagnostics | None = None
    """Returns the doctor of the storage, or the doctors of those that it consists of."""


_UNSUPPORTED = {
    "links": partial(
        Error,
        "This storage cannot create links",
        "links need a server that clients can reach: set attach_url to the address of the "
        "service, or keep the attachments on S3, Azure or Google Cloud Storage",
        kind=Kind.UNSUPPORTED,
        code="no-links",
    ),
    "resumable": partial(
        Error,
        "This storage does not support resumable uploads",
        "upload in one request, or keep the attachments in a directory or a bucket",
        kind=Kind.UNSUPPORTED,
        code="no-resumable",
    ),
    "multipart": partial(
        Error,
        "This storage does not support multipart uploads",
        "keep the attachments on an S3-compatible server (attach_s3_bucket) or on Azure",
        kind=Kind.UNSUPPORTED,
        code="no-multipart",
    ),
    "bucket": partial(
        Error,
        "This storage has no bucket with rules",
        "for CORS, set attach_origins: the service applies it",
        kind=Kind.UNSUPPORTED,
        code="no-bucket-rules",
    ),
}


def require(ability: T | None, name: str) -> T:
    """Return an ability. Errors: `UNSUPPORTED` if the backend does not have it."""
    if ability is None:
        error = _UNSUPPORTED[name]()
        raise error
    return ability


def doctors_of(storage: Diagnosed, abilities: Abilities) -> Sequence[Doctor[Any]]:
    """Return the doctor of a storage, or the doctors of those that it consists of."""
    from rex.attach.backend.diagnostics import Doctor

    return (Doctor(storage),) if abilities.diagnostics is None else abilities.diagnostics()
