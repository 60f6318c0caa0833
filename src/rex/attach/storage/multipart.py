"""Uploads in parts that clients send straight to the server, in S3's own terms."""

from __future__ import annotations

import abc
import datetime
from collections.abc import Iterable, Iterator, Sequence  # noqa: TC003 - resolved at run time
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias, final

from rex.attach.content.media_type import content_type_for
from rex.attach.handle import handle_of, key_of, show
from rex.attach.links.link import PresignedLink, link_seconds
from rex.attach.telemetry.operation import INFO, Operation
from rex.core import Error, Kind

if TYPE_CHECKING:
    from rex.attach.storage import Storage

__all__ = ["MAX_PARTS", "Multipart", "MultipartUploads", "Part"]

MAX_PARTS = 10_000
MAX_ID_LENGTH = 2048

Expires: TypeAlias = float | datetime.timedelta | None


@dataclass(frozen=True, slots=True)
class Part:
    """A part that the server has."""

    number: int
    size: int
    """In bytes."""
    etag: str
    """What the server calls this content, in quotes."""


class Multipart(abc.ABC):
    """What a kind of storage fills in for uploads in parts; keys, numbers and ids are well formed.

    A hook may raise what it likes: the verbs make an `Error` of it, with `Backend._explain`.
    """

    bucket: str
    """The name of the bucket."""
    prefix: str
    """What stands before every key in the bucket."""

    @abc.abstractmethod
    def create(self, key: str, content_type: str) -> str:
        """Begin an upload; give its id."""

    @abc.abstractmethod
    def parts(self, key: str, upload_id: str) -> Iterator[Part]:
        """Give all parts that are there, in the order of their numbers."""

    @abc.abstractmethod
    def complete(self, key: str, upload_id: str, parts: Sequence[Part]) -> None:
        """Make the object of the parts; must raise `FileExistsError` where another one exists.

        What another client stored must stay, as far as the server makes completing conditional. A
        repetition, after an answer that was lost, is a success.
        """

    @abc.abstractmethod
    def is_made_of(self, key: str, etags: Sequence[str]) -> bool:
        """Tell whether the object is the one that parts with these ETags make, where it can."""

    @abc.abstractmethod
    def abort(self, key: str, upload_id: str) -> None:
        """End an upload and remove its parts."""

    @abc.abstractmethod
    def sign_create(self, key: str, content_type: str, seconds: float) -> PresignedLink:
        """Sign the request that begins an upload; every header is signed."""

    @abc.abstractmethod
    def sign_part(self, key: str, upload_id: str, number: int, seconds: float) -> PresignedLink:
        """Sign the upload of a part."""

    @abc.abstractmethod
    def sign_parts(self, key: str, upload_id: str, seconds: float) -> PresignedLink:
        """Sign the request that lists the parts."""

    @abc.abstractmethod
    def sign_complete(self, key: str, upload_id: str, seconds: float) -> PresignedLink:
        """Sign the request that makes the object, unless there is one."""

    @abc.abstractmethod
    def sign_abort(self, key: str, upload_id: str, seconds: float) -> PresignedLink:
        """Sign the request that ends an upload."""


class MultipartUploads:
    """Uploads in parts: somebody sends the parts to the server with links, and we complete them.

    The parts are numbered from 1 to `MAX_PARTS`; each but the last has at least 5 MiB. An upload
    is known by its handle and the id that the server gave it.

    Errors of every verb: `ILL_FORMED` for a handle, an id, a number or a type; `NOT_FOUND` when
    there is no such upload.
    """

    def __init__(self, storage: Storage, hooks: Multipart) -> None:
        self._storage = storage
        self._hooks = hooks

    def __repr__(self) -> str:
        return f"{self._storage!r}.multipart"

    @property
    def bucket(self) -> str:
        """The name of the bucket."""
        return self._hooks.bucket

    @final
    def key(self, handle: str) -> str:
        """Give the key of an attachment as the server knows it."""
        return self._hooks.prefix + key_of(handle)

    @final
    def handle(self, key: str) -> str:
        """Give the handle of the attachment that the server keeps, or will keep, under a key.

        Errors: `ILL_FORMED` when the key is not one of ours.
        """
        is_ours = isinstance(key, str) and key.startswith(self._hooks.prefix)
        handle = handle_of(key.removeprefix(self._hooks.prefix)) if is_ours else None
        if handle is None:
            raise Error("This is no key of an attachment", show(key), kind=Kind.ILL_FORMED)
        return handle

    # An upload, step by step.

    @final
    def create(self, handle: str, content_type: str | None = None) -> str:
        """Begin to upload the attachment of a reserved handle; give the upload's id.

        It is served as `content_type`; without it, the name decides.
        """
        with Operation("multipart.create", self._storage, handle):
            key = key_of(handle)
            media_type = content_type_for(handle, content_type)
            with self._storage.map_errors(handle):
                return self._hooks.create(key, media_type)

    @final
    def link(
        self, handle: str, upload_id: str, number: int, *, expires: Expires = None
    ) -> PresignedLink:
        """Permit somebody to upload one part with ``PUT``, without a content type."""
        with Operation("multipart.link", self._storage, handle):
            key = self._key_of_upload(handle, upload_id)
            _check_number(number)
            with self._storage.map_errors(handle):
                return self._hooks.sign_part(key, upload_id, number, self._seconds(expires))

    @final
    def parts(self, handle: str, upload_id: str) -> Iterator[Part]:
        """Give the parts that the server has, in the order of their numbers, as they are found."""
        return self._list_parts(handle, self._key_of_upload(handle, upload_id), upload_id)

    @final
    def complete(
        self,
        handle: str,
        upload_id: str,
        parts: Iterable[tuple[int, str]],
        *,
        max_size: int | None = None,
    ) -> None:
        """Store the attachment that these parts (number and ETag) make.

        What the server says of the parts counts. They may have `max_size` bytes together, or as
        many as the storage's own limit; an upload over it is aborted.

        Errors: `CONFLICT` when the server has not got one of the parts, or other content for it;
        `TOO_LARGE`; `EXISTS` when the attachment is there already.
        """
        with Operation("multipart.complete", self._storage, handle, INFO) as op:
            key = self._key_of_upload(handle, upload_id)
            named = _etags_by_number(parts)
            try:
                there = {part.number: part for part in self._parts(handle, key, upload_id)}
            except Error as error:
                # An earlier call may have completed it, whose answer was lost.
                etags = [named[number] for number in sorted(named)]
                with self._storage.map_errors(handle):
                    if error.kind is Kind.NOT_FOUND and self._hooks.is_made_of(key, etags):
                        return
                raise
            missing = [
                n for n, etag in named.items() if n not in there or _bare(there[n].etag) != etag
            ]
            if missing:
                numbers = ", ".join(map(str, missing[:10]))
                raise Error(
                    "These parts are missing on the server or have a different ETag",
                    f"{handle}: {numbers}",
                    kind=Kind.CONFLICT,
                    code="parts-mismatch",
                )
            chosen = [there[number] for number in sorted(named)]
            size = op.size = sum(part.size for part in chosen)
            self._check_size(handle, upload_id, size, max_size)
            with self._storage.map_errors(handle):
                self._hooks.complete(key, upload_id, chosen)

    @final
    def abort(self, handle: str, upload_id: str) -> None:
        """End an upload that will not be completed, and remove its parts.

        Some servers say nothing when there is no such upload.
        """
        with Operation("multipart.abort", self._storage, handle):
            self._abort_upload(handle, upload_id)

    # The same steps for somebody who speaks S3 to the server.

    @final
    def create_link(
        self, handle: str, content_type: str | None = None, *, expires: Expires = None
    ) -> PresignedLink:
        """Permit somebody to begin the upload: ``POST``, answered with the upload's id."""
        with Operation("multipart.create_link", self._storage, handle):
            key = key_of(handle)
            media_type = content_type_for(handle, content_type)
            with self._storage.map_errors(handle):
                return self._hooks.sign_create(key, media_type, self._seconds(expires))

    @final
    def parts_link(self, handle: str, upload_id: str, *, expires: Expires = None) -> PresignedLink:
        """Permit somebody to list the parts: ``GET``."""
        with Operation("multipart.parts_link", self._storage, handle):
            key = self._key_of_upload(handle, upload_id)
            with self._storage.map_errors(handle):
                return self._hooks.sign_parts(key, upload_id, self._seconds(expires))

    @final
    def complete_link(
        self, handle: str, upload_id: str, *, expires: Expires = None
    ) -> PresignedLink:
        """Create a link that allows completing an upload: ``POST``.

        Errors: `EXISTS` when the attachment is there already; `UNSUPPORTED` where the storage
        limits the size, since parts that are sent after the link was made cannot be counted: use
        `complete`.
        """
        with Operation("multipart.complete_link", self._storage, handle):
            key = self._key_of_upload(handle, upload_id)
            if self._storage.max_size is not None:
                raise Error(
                    "A link that completes an upload cannot limit its size",
                    f"call complete for at most {self._storage.max_size} bytes",
                    kind=Kind.UNSUPPORTED,
                    code="unlimited-link",
                )
            with self._storage.map_errors(handle):
                self._check_new(key)
                return self._hooks.sign_complete(key, upload_id, self._seconds(expires))

    @final
    def abort_link(self, handle: str, upload_id: str, *, expires: Expires = None) -> PresignedLink:
        """Permit somebody to end an upload: ``DELETE``."""
        with Operation("multipart.abort_link", self._storage, handle):
            key = self._key_of_upload(handle, upload_id)
            with self._storage.map_errors(handle):
                return self._hooks.sign_abort(key, upload_id, self._seconds(expires))

    # What the verbs share.

    def _key_of_upload(self, handle: str, upload_id: Any) -> str:
        """Give the key of a handle that is well formed, as the id has to be."""
        key = key_of(handle)
        is_text = isinstance(upload_id, str) and 0 < len(upload_id) <= MAX_ID_LENGTH
        if not is_text or not (upload_id.isascii() and upload_id.isprintable()):
            raise Error("Ill-formed id of an upload", show(upload_id), kind=Kind.ILL_FORMED)
        return key

    def _seconds(self, expires: Expires) -> float:
        return link_seconds(self._storage.link_expires if expires is None else expires)

    def _list_parts(self, handle: str, key: str, upload_id: str) -> Iterator[Part]:
        with Operation("multipart.parts", self._storage, handle):
            yield from self._parts(handle, key, upload_id)

    def _abort_upload(self, handle: str, upload_id: str) -> None:
        key = self._key_of_upload(handle, upload_id)
        with self._storage.map_errors(handle):
            self._hooks.abort(key, upload_id)

    def _parts(self, handle: str, key: str, upload_id: str) -> Iterator[Part]:
        with self._storage.map_errors(handle):
            yield from self._hooks.parts(key, upload_id)

    def _check_size(self, handle: str, upload_id: str, size: int, max_size: int | None) -> None:
        limits = [limit for limit in (max_size, self._storage.max_size) if limit is not None]
        if limits and size > min(limits):
            self._abort_upload(handle, upload_id)
            reason = f"{handle}: {size} bytes, more than {min(limits)}"
            raise Error("Attachment is too large", reason, kind=Kind.TOO_LARGE)

    def _check_new(self, key: str) -> None:
        with suppress(FileNotFoundError):
            self._storage._head(key)  # noqa: SLF001 - not an operation
            raise FileExistsError


def _check_number(number: object) -> None:
    is_number = isinstance(number, int) and not isinstance(number, bool)
    if not is_number or not 1 <= number <= MAX_PARTS:  # type: ignore[operator]  # it is a number
        raise Error(f"Parts are numbered from 1 to {MAX_PARTS}", show(number), kind=Kind.ILL_FORMED)


def _etags_by_number(parts: Iterable[tuple[int, str]]) -> dict[int, str]:
    """Give the ETag of each part that was named, without its quotes."""
    named: dict[int, str] = {}
    for number, etag in parts:
        _check_number(number)
        if number in named:
            raise Error("A part is named twice", number, kind=Kind.ILL_FORMED)
        if not isinstance(etag, str):
            raise Error("The ETag of a part is a text", number, kind=Kind.ILL_FORMED)
        named[number] = _bare(etag)
    if not named:
        raise Error("An upload has at least one part", kind=Kind.ILL_FORMED)
    return named


def _bare(etag: str) -> str:
    return etag.strip('"')
