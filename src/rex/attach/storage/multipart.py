"""Multipart uploads, which clients send directly to the S3 server, or in parts to the service."""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Iterator  # noqa: TC003 - resolved at run time
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypeAlias, final

from rex.attach.backend.multipart import MAX_PARTS, Part
from rex.attach.content.content import Content, ContentSource
from rex.attach.content.media_type import content_type_for
from rex.attach.handle import key_of, show
from rex.attach.links.link import PresignedLink, link_seconds
from rex.attach.storage.arguments import choose_limit
from rex.attach.telemetry.operation import INFO, Operation
from rex.core import Error, Kind

if TYPE_CHECKING:
    from rex.attach.backend.multipart import Multipart
    from rex.attach.storage import Storage

__all__ = ["MultipartUploads", "check_part_number"]

MAX_ID_LENGTH = 2048

Expires: TypeAlias = float | datetime.timedelta | None


class MultipartUploads:
    """Multipart uploads: a client sends the parts to the server with links.

    Parts are numbered from 1 to `MAX_PARTS`; on S3, each but the last has at least 5 MiB. A handle
    and the id that the server assigned identify an upload. Where a server has no links for parts
    (`is_relayed`), `put_part` stores them, and the operations that create links are `UNSUPPORTED`.

    Errors of every operation: `ILL_FORMED` for a handle, an id, a number or a type; `NOT_FOUND`
    if the upload does not exist.
    """

    def __init__(self, storage: Storage, backend: Multipart) -> None:
        self._storage = storage
        self._backend = backend

    def __repr__(self) -> str:
        return f"{self._storage!r}.multipart"

    @property
    def bucket(self) -> str:
        """The name of the bucket."""
        return self._backend.bucket

    @property
    def is_relayed(self) -> bool:
        """Whether `put_part` stores the parts, because the server has no links for them."""
        return self._backend.is_relayed

    # An upload, step by step.

    @final
    def create(self, handle: str, content_type: str | None = None) -> str:
        """Create an upload to a reserved handle; return the upload's id.

        `content_type` defaults to the type of the name.
        """
        with Operation("multipart.create", self._storage, handle):
            key = key_of(handle)
            media_type = content_type_for(handle, content_type)
            with self._storage.map_errors(handle):
                return self._backend.create(key, media_type)

    @final
    def link(
        self, handle: str, upload_id: str, number: int, *, expires: Expires = None
    ) -> PresignedLink:
        """Create a link that allows uploading one part: ``PUT``, without a content type."""
        with Operation("multipart.link", self._storage, handle):
            key = self._key_of_upload(handle, upload_id)
            check_part_number(number)
            with self._storage.map_errors(handle):
                return self._backend.sign_part(key, upload_id, number, self._seconds(expires))

    @final
    def put_part(
        self,
        handle: str,
        upload_id: str,
        number: int,
        content: ContentSource,
        *,
        max_size: int | None = None,
    ) -> Part:
        """Store a part; return it with its ETag. It replaces an earlier part with its number.

        A part has at most `max_size` bytes, or the storage's own limit. If the content raises,
        nothing is replaced, and the exception propagates unchanged.

        Errors: `ILL_FORMED` for an empty part; `TOO_LARGE`; `UNSUPPORTED` unless `is_relayed`.
        """
        limit = choose_limit(max_size, self._storage.max_size)
        stream = Content(content, max_size=limit)
        stream.skip_digest()
        with Operation("multipart.put_part", self._storage, handle) as op:
            op.content = stream
            key = self._key_of_upload(handle, upload_id)
            check_part_number(number)
            with self._storage.map_errors(handle, stream):
                return self._backend.put_part(key, upload_id, number, stream)

    @final
    def parts(self, handle: str, upload_id: str) -> Iterator[Part]:
        """Yield the parts that the server has stored, lazily, in the order of their numbers."""
        return self._list_parts(handle, self._key_of_upload(handle, upload_id), upload_id)

    @final
    def complete(
        self,
        handle: str,
        upload_id: str,
        parts: Iterable[tuple[int, str]],
        *,
        max_size: int | None = None,
        owner: object = None,
    ) -> None:
        """Store the attachment that consists of these parts (number and ETag).

        The sizes of the parts are those that the server reports. Their sum is limited to
        `max_size` bytes, or the storage's own limit; a larger upload is aborted. `owner` is the
        user who uploads, for the hooks ``on_complete`` and ``on_stored``.

        Errors: `CONFLICT` if a part is missing on the server or has a different ETag; `TOO_LARGE`;
        `EXISTS` if the attachment exists; those of `Storage.notify`.
        """
        is_new = self._complete(handle, upload_id, parts, max_size)
        if self._storage.hooks.notifies:
            self._storage.notify(handle, owner=owner, is_new=is_new, is_known=True)

    def _complete(
        self,
        handle: str,
        upload_id: str,
        parts: Iterable[tuple[int, str]],
        max_size: int | None,
    ) -> bool:
        """Complete an upload; return False if an earlier call may have completed it."""
        with Operation("multipart.complete", self._storage, handle, INFO) as op:
            key = self._key_of_upload(handle, upload_id)
            named = _etags_by_number(parts)
            try:
                there = {part.number: part for part in self._parts(handle, key, upload_id)}
            except Error as error:
                # An earlier call, whose response was lost, may have completed the upload.
                etags = [named[number] for number in sorted(named)]
                with self._storage.map_errors(handle):
                    if error.kind is Kind.NOT_FOUND and self._backend.is_made_of(key, etags):
                        return False
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
                return self._backend.complete(key, upload_id, chosen)

    @final
    def abort(self, handle: str, upload_id: str) -> None:
        """Abort an upload and remove its parts.

        Some servers do not report an upload that does not exist.
        """
        with Operation("multipart.abort", self._storage, handle):
            self._abort_upload(handle, upload_id)

    # The same steps for a client that speaks S3 to the server.

    @final
    def create_link(
        self, handle: str, content_type: str | None = None, *, expires: Expires = None
    ) -> PresignedLink:
        """Create a link that allows creating an upload: ``POST``; the response has its id."""
        with Operation("multipart.create_link", self._storage, handle):
            key = key_of(handle)
            media_type = content_type_for(handle, content_type)
            with self._storage.map_errors(handle):
                return self._backend.sign_create(key, media_type, self._seconds(expires))

    @final
    def parts_link(self, handle: str, upload_id: str, *, expires: Expires = None) -> PresignedLink:
        """Create a link that allows listing the parts: ``GET``."""
        with Operation("multipart.parts_link", self._storage, handle):
            key = self._key_of_upload(handle, upload_id)
            with self._storage.map_errors(handle):
                return self._backend.sign_parts(key, upload_id, self._seconds(expires))

    @final
    def complete_link(
        self, handle: str, upload_id: str, *, expires: Expires = None
    ) -> PresignedLink:
        """Create a link that allows completing an upload: ``POST``.

        Errors: `EXISTS` if the attachment exists; `UNSUPPORTED` if the storage limits the size,
        since the link cannot count parts that are sent later: use `complete` instead.
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
                return self._backend.sign_complete(key, upload_id, self._seconds(expires))

    @final
    def abort_link(self, handle: str, upload_id: str, *, expires: Expires = None) -> PresignedLink:
        """Create a link that allows aborting an upload: ``DELETE``."""
        with Operation("multipart.abort_link", self._storage, handle):
            key = self._key_of_upload(handle, upload_id)
            with self._storage.map_errors(handle):
                return self._backend.sign_abort(key, upload_id, self._seconds(expires))

    # Shared by the operations.

    def _key_of_upload(self, handle: str, upload_id: Any) -> str:
        """Return the key of a handle. Errors: `ILL_FORMED` for the handle or the id."""
        key = key_of(handle)
        is_text = isinstance(upload_id, str) and 0 < len(upload_id) <= MAX_ID_LENGTH
        if not is_text or not (upload_id.isascii() and upload_id.isprintable()):
            raise Error(
                "The id of an upload must be printable ASCII text",
                show(upload_id),
                kind=Kind.ILL_FORMED,
            )
        return key

    def _seconds(self, expires: Expires) -> float:
        return link_seconds(self._storage.link_expires if expires is None else expires)

    def _list_parts(self, handle: str, key: str, upload_id: str) -> Iterator[Part]:
        with Operation("multipart.parts", self._storage, handle):
            yield from self._parts(handle, key, upload_id)

    def _abort_upload(self, handle: str, upload_id: str) -> None:
        key = self._key_of_upload(handle, upload_id)
        with self._storage.map_errors(handle):
            self._backend.abort(key, upload_id)

    def _parts(self, handle: str, key: str, upload_id: str) -> Iterator[Part]:
        with self._storage.map_errors(handle):
            yield from self._backend.parts(key, upload_id)

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


def check_part_number(number: object) -> None:
    """Check the number of a part. Errors: `ILL_FORMED`."""
    is_number = isinstance(number, int) and not isinstance(number, bool)
    if not is_number or not 1 <= number <= MAX_PARTS:  # type: ignore[operator]  # it is a number
        raise Error(
            f"The number of a part must be from 1 to {MAX_PARTS}",
            show(number),
            kind=Kind.ILL_FORMED,
        )


def _etags_by_number(parts: Iterable[tuple[int, str]]) -> dict[int, str]:
    """Return the ETags of the parts by number, without quotes."""
    named: dict[int, str] = {}
    for number, etag in parts:
        check_part_number(number)
        if number in named:
            raise Error("Every part may be named only once", number, kind=Kind.ILL_FORMED)
        if not isinstance(etag, str):
            raise Error("The ETag of a part must be a string", number, kind=Kind.ILL_FORMED)
        named[number] = _bare(etag)
    if not named:
        raise Error("An upload must have at least one part", kind=Kind.ILL_FORMED)
    return named


def _bare(etag: str) -> str:
    return etag.strip('"')
