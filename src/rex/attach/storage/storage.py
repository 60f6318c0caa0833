"""The storage: the operations that applications call.

The guarantees of every backend are implemented here, once: an ill-formed handle never reaches the
backend, limits hold, and every failure is an `Error` with a kind.
"""

from __future__ import annotations

import dataclasses
import datetime  # noqa: TC003 - resolved at run time
import functools
import os  # noqa: TC003 - resolved at run time
from collections.abc import Iterator, Sequence  # noqa: TC003 - resolved at run time
from typing import TYPE_CHECKING, Any, Self, Unpack, final

from rex.attach.backend.abilities import Abilities, require
from rex.attach.backend.base import Backend
from rex.attach.content.comparison import compare
from rex.attach.content.content import Content, ContentSource  # noqa: TC001 - as above
from rex.attach.content.media_type import content_type_for, disposition, is_inline_type, text_type
from rex.attach.content.reader import Body, Reader, Stream
from rex.attach.handle import (
    MARK_BYTES,
    handle_of,
    key_of,
    make_handle,
    mark_of,
    safe_file_name,
    show,
)
from rex.attach.info import Info, Metadata
from rex.attach.links.link import PresignedLink, link_seconds
from rex.attach.storage.arguments import (
    MAX_POSITION,
    check_position,
    choose_first_end,
    choose_limit,
    choose_media_type,
    make_content,
    parse_day,
)
from rex.attach.storage.error_map import ErrorMap
from rex.attach.storage.options import StorageOptions, UploadMethod
from rex.attach.telemetry.operation import INFO, Operation, report_bytes
from rex.core import Error, Kind, Secret

if TYPE_CHECKING:
    from rex.attach.backend.garbage import Garbage
    from rex.attach.links.token import TokenSigner
    from rex.attach.storage.aio import AsyncStorage
    from rex.attach.storage.cors import BucketCors
    from rex.attach.storage.multipart import MultipartUploads
    from rex.attach.storage.resumable import Uploads

__all__ = ["MAX_POSITION", "Storage", "StorageOptions", "UploadMethod"]


class Storage(Backend):
    """A storage of attachments.

    An attachment is written once, read many times, and removed; it never changes. Its handle is
    its permanent name. Every operation may be called from any thread, and raises `rex.core.Error`
    with a `kind`. Besides the kinds named below, every operation may raise `DENIED` (the backend
    refuses access), `UNAVAILABLE` (the backend does not respond, or is full) and `CONFIGURATION`
    (the backend does not exist).

    A backend is a subclass that implements the backend methods (`rex.attach.backend.base`); see
    `docs/writing-a-storage.md`. `storage.aio` has the same operations as coroutines.
    """

    def __init__(self, **options: Unpack[StorageOptions]) -> None:
        """Set the options of every backend: see `StorageOptions`."""
        self.max_size = options.get("max_size")
        self.link_expires = options.get("link_expires", 3600)
        self.upload_expires = options.get("upload_expires", 7 * 24 * 3600)
        self.max_uploads = options.get("max_uploads", 1000)
        self.url = options.get("url")
        secret = options.get("secret")
        self._secret = Secret(secret) if isinstance(secret, str) else secret

    # Operations.

    @final
    def add(
        self,
        name: str | None,
        content: ContentSource,
        *,
        content_type: str | None = None,
        digest: str | None = None,
        owner: str | None = None,
    ) -> str:
        """Store an attachment; return its handle once it is durable.

        `name` is the file name, which is sanitised first; None means ``attachment``. `content` is
        a string (stored as UTF-8), bytes, a file open in binary mode (read from its position to
        its end, not closed), or an iterable of bytes. `content_type` defaults to the type of the
        name; a text type gets a charset if the content is a string. `digest` is the expected
        SHA-256 in hexadecimal: bytes with a different digest are not stored. `owner` is as in
        `reserve`. When this operation raises, it leaves nothing in the storage (except that a
        server that becomes unreachable may keep what it received).

        Errors: `ILL_FORMED` (name, content, type, digest or owner); `TOO_LARGE`; `CORRUPT` for a
        different digest, or a file that shrank while it was read; those of `reserve`. Exceptions
        raised by `content` propagate unchanged.
        """
        with Operation("add", self, None, INFO) as op:
            handle = op.handle = self._new_handle(name, owner)
            op.content = self._content(content, digest)
            media_type = choose_media_type(_name(handle), content, content_type)
            self._add(handle, op.content, media_type)
            return handle

    @final
    def put(
        self,
        handle: str,
        content: ContentSource,
        *,
        content_type: str | None = None,
        digest: str | None = None,
        idempotent: bool = True,
    ) -> None:
        """Store the attachment of a reserved handle: see `add`.

        An attachment never changes: if it exists already, nothing is stored. If the existing
        attachment has the same bytes and content type, `put` succeeds nevertheless, so that a
        caller can retry after a timeout, a lost response or a killed process; with `idempotent`
        false, it raises `EXISTS`. If several callers put different bytes concurrently, exactly one
        succeeds, provided that the server supports conditional writes (`docs/operations.md`,
        servers). After any error but `EXISTS`, the attachment may or may not be stored; it is never
        stored partially, and an existing attachment is never removed.

        Errors: those of `add`, and `EXISTS`.
        """
        with Operation("put", self, handle, INFO) as op:
            key = key_of(handle)
            stored = op.content = self._content(content, digest)
            media_type = choose_media_type(_name(handle), content, content_type)
            try:
                with self.map_errors(handle, stored):
                    self._put(key, stored, media_type)
            except Error as error:
                is_same = idempotent and error.kind is Kind.EXISTS
                if not is_same or not self._is_stored(handle, stored, media_type):
                    raise

    @final
    def reserve(self, name: str | None, *, owner: str | None = None) -> str:
        """Make a handle for an attachment to be stored later, or uploaded with a link.

        Nothing is stored. With `owner`, a string that identifies a user of the application,
        `is_owned_by` recognises the handle as that user's; the handle does not reveal the owner.

        Errors: `ILL_FORMED` if `name` is neither a string nor None, or `owner` neither a non-empty
        string nor None; `CONFIGURATION` for an owner if the storage has no secret (setting
        attach_secret).
        """
        return self._new_handle(name, owner)

    @final
    def is_owned_by(self, handle: str, owner: str) -> bool:
        """Return whether a handle was made for this owner, with the secret of this storage.

        The attachment need not exist. A handle without an owner belongs to no owner; nor do older
        handles after a change of the secret (setting attach_secret; without it, the S3 secret
        key).

        Errors: `ILL_FORMED`; `CONFIGURATION` if the storage has no secret.
        """
        from hmac import compare_digest

        marked = mark_of(handle)
        return marked is not None and compare_digest(self._mark(owner, marked[0]), marked[1])

    @final
    def open(self, handle: str, *, start: int = 0, length: int | None = None) -> Reader:
        """Open an attachment for reading, as a seekable binary file.

        The file is positioned at `start`, in bytes; earlier bytes are not requested unless the
        caller seeks back. A position past the end reads no bytes. With `length`, reading ends
        after that many bytes, which are fetched in one request; a length past the end means the
        rest. Without `length`, the first request is for the rest, or for 64 KiB if the name is
        that of a format that libraries read at random (zip, Parquet, images: see
        `rex.attach.content.formats`). After a seek, requests cover the bytes that are read.

        Errors, raised here and not by the first read: `NOT_FOUND`, `ILL_FORMED`.
        """
        with Operation("open", self, handle) as op:
            key = key_of(handle)
            check_position("start", start)
            if length is not None:
                check_position("length", length)
            end = choose_first_end(_name(handle), start, length)
            with self.map_errors(handle):
                body = self._get_body(key, start, end)
            info = _info(handle, body.metadata)
            op.size = info.size
            fetch = functools.partial(self._get, key)
            mapped = functools.partial(self.map_errors, handle)
            return Reader(Stream(info, body, fetch, mapped, start=start, length=length))

    @final
    def read_cached(self, handle: str) -> tuple[Info, bytes] | None:
        """Return a small attachment from the page cache, or None if reading it might block.

        This operation waits for neither disk nor server, so that an event loop may call it.
        Errors: those of `open`, if they can be found without waiting; `CORRUPT` if the bytes do
        not match the recorded SHA-256.
        """
        with Operation("read_cached", self, handle) as op, self.map_errors(handle):
            cached = self._get_cached(key_of(handle))
            if cached is None:
                op.discard = True
                return None
            metadata, content = cached
            info = _info(handle, metadata)
            compare(info, content)
            op.size = len(content)
            report_bytes("out", op.size)
            return info, content

    @final
    def info(self, handle: str) -> Info:
        """Return the attachment's metadata. Errors: `NOT_FOUND`, `ILL_FORMED`."""
        with Operation("info", self, handle) as op, self.map_errors(handle):
            info = _info(handle, self._head(key_of(handle)))
            op.size = info.size
            return info

    @final
    def stat(self, handle: str) -> os.stat_result:
        """Return size (bytes) and times (seconds) in the form of `os.stat`.

        Errors: `NOT_FOUND`, `ILL_FORMED`.
        """
        return self.info(handle).as_stat()

    @final
    def remove(self, handle: str) -> None:
        """Remove an attachment permanently. Errors: `NOT_FOUND`, `ILL_FORMED`.

        A bucket with versioning keeps the bytes as a noncurrent version until a lifecycle rule
        removes that version.
        """
        with Operation("remove", self, handle, INFO), self.map_errors(handle):
            self._delete(key_of(handle))

    @final
    def list(
        self, *, day: datetime.date | str | None = None, after: str | None = None
    ) -> Iterator[str]:
        """Yield the handles of all attachments lazily, in lexicographical order.

        `day` (a date, or ``YYYY-MM-DD``) selects the handles made on that day (UTC). The listing
        begins after the handle `after`, which need not exist. An attachment that is added or
        removed meanwhile may or may not be listed. Errors: `ILL_FORMED`, raised here and not by
        the first step of the iteration.
        """
        date = None if day is None else parse_day(day)
        return self._handles(date, None if after is None else key_of(after))

    @final
    def unknown_keys(self) -> Iterator[str]:
        """Yield the unknown keys, unchanged: those of objects that are not attachments.

        No other operation touches these objects. A key may contain any character: pass it through
        `rex.core.printable` before showing it.
        """
        with self.map_errors(None):
            yield from self._unknown_keys()

    @final
    def garbage(self, before: datetime.datetime) -> Iterator[Garbage]:
        """Yield abandoned uploads, temporary files and the like, unused since before `before`.

        `before` is an aware datetime. Call `clear` of an item, if at all, before requesting the
        next; see `rex.attach.maintenance.sweep`.
        """
        find = self.abilities.garbage
        if find is None:
            return
        with self.map_errors(None):
            for found in find(before):
                yield dataclasses.replace(found, clear=functools.partial(self._clear, found))

    @final
    def lifecycle(self, days: int, noncurrent: int | None = None) -> Sequence[dict[str, Any]]:
        """Return the lifecycle rules with which a bucket removes abandoned uploads after `days`.

        With `noncurrent` (days), the rules also remove the versions of removed attachments. Their
        format is that of PutBucketLifecycleConfiguration. Errors: `UNSUPPORTED` without a bucket.
        """
        return require(self.abilities.bucket, "bucket").lifecycle(days, noncurrent)

    @final
    def __iter__(self) -> Iterator[str]:
        """Yield the handles of all attachments: see `list`."""
        return self.list()

    @final
    def __contains__(self, handle: object) -> bool:
        """Return whether the attachment exists; False for anything that is not a handle."""
        try:
            self.info(handle)  # type: ignore[arg-type]  # anything may be given
        except Error as error:
            if error.kind in (Kind.NOT_FOUND, Kind.ILL_FORMED):
                return False
            raise
        return True

    @final
    def upload_link(
        self,
        handle: str,
        *,
        method: UploadMethod = "POST",
        max_size: int | None = None,
        content_type: str | None = None,
        expires: float | datetime.timedelta | None = None,
    ) -> PresignedLink:
        """Create a link that allows uploading to a reserved handle.

        With ``POST`` the client sends a form: the link's `fields`, then the part ``file``. The
        form is limited to `max_size` bytes, or the storage's own limit. With ``PUT`` the client
        sends the bytes with the link's `headers`; the link works once and cannot limit the size.
        The client must send `content_type`, by default the type of the name. `expires` is in
        seconds (or a timedelta), at most 7 days.

        Errors: `ILL_FORMED`; `UNSUPPORTED` if the storage cannot sign links, and for a size limit
        with ``PUT``.
        """
        with Operation("upload_link", self, handle), self.map_errors(handle):
            key = key_of(handle)
            name = _name(handle)
            if method not in ("POST", "PUT"):
                raise Error(
                    "method must be POST or PUT",
                    show(method),
                    kind=Kind.ILL_FORMED,
                )
            limit = choose_limit(max_size, self.max_size)
            if method == "PUT" and limit is not None:
                raise Error(
                    "A PUT link cannot limit the size of an upload",
                    f"use a POST link for at most {limit} bytes",
                    kind=Kind.UNSUPPORTED,
                    code="unlimited-link",
                )
            media_type = content_type_for(name, content_type)
            seconds = link_seconds(self.link_expires if expires is None else expires)
            links = require(self.abilities.links, "links")
            if method == "PUT":
                return links.put(key, media_type, seconds)
            return links.post(key, media_type, limit, seconds)

    @final
    def download_link(
        self,
        handle: str,
        *,
        filename: str | None = None,
        inline: bool = False,
        expires: float | datetime.timedelta | None = None,
    ) -> PresignedLink:
        """Create a link that allows downloading an attachment, without checking that it exists.

        The file is downloaded as `filename`, by default the name in the handle. With `inline`, a
        browser may show the file if its type cannot carry a script (by the name in the handle:
        images but SVG, audio, video, PDF, plain text); any other type is downloaded nevertheless.
        `expires` is in seconds (or a timedelta), at most 7 days.

        Errors: `ILL_FORMED`; `UNSUPPORTED` if the storage cannot sign links.
        """
        with Operation("download_link", self, handle), self.map_errors(handle):
            key = key_of(handle)
            name = _name(handle)
            media_type = content_type_for(name)
            inline = inline and is_inline_type(media_type)
            shown_name = name if filename is None else safe_file_name(filename)
            seconds = link_seconds(self.link_expires if expires is None else expires)
            return require(self.abilities.links, "links").get(
                key,
                disposition(shown_name, inline=inline),
                text_type(media_type) if inline else None,
                seconds,
            )

    @final
    def check(self, *, create: bool = True) -> None:
        """Check that the storage is usable, as an application does when it starts.

        A directory is created if only its last component is missing, and gets its marker if it is
        new or contains attachments. With `create` false, as for maintenance, nothing is created.

        Errors: the message names the setting to change. With `create` false also `ABSENT` if the
        directory or bucket does not exist, and `EMPTY` for an empty directory without a marker,
        which may be the mount point of a disk.
        """
        with Operation("check", self), self.map_errors(None):
            self._check(create=create)

    @final
    def is_untouched(self) -> bool:
        """Return whether the storage is empty, and a directory has no marker either."""
        with self.map_errors(None):
            return self._is_untouched()

    @final
    def init(self) -> bool:
        """Create the directory of a storage and its marker; return whether either was missing.

        Other backends have nothing to create.
        """
        with self.map_errors(None):
            return self._init()

    @final
    @functools.cached_property
    def tokens(self) -> TokenSigner:
        """The signer of the tokens that clients carry."""
        from rex.attach.links.token import TokenSigner

        with self.map_errors(None):
            given = self._secret.reveal() if self._secret else ""
            return TokenSigner(given.encode() or self._own_secret())

    @final
    @functools.cached_property
    def abilities(self) -> Abilities:
        """The optional abilities of the backend."""
        return self._abilities()

    @final
    @functools.cached_property
    def uploads(self) -> Uploads:
        """Resumable uploads. Errors: `UNSUPPORTED` if the backend does not have them."""
        from rex.attach.storage.resumable import Uploads

        return Uploads(self, require(self.abilities.resumable, "resumable"))

    @final
    @functools.cached_property
    def multipart(self) -> MultipartUploads:
        """Multipart uploads with links. Errors: `UNSUPPORTED` if the backend does not have them."""
        from rex.attach.storage.multipart import MultipartUploads

        return MultipartUploads(self, require(self.abilities.multipart, "multipart"))

    @final
    @functools.cached_property
    def cors(self) -> BucketCors:
        """The CORS rules that let pages of other origins use the links."""
        from rex.attach.storage.cors import BucketCors

        return BucketCors(self)

    @final
    @functools.cached_property
    def aio(self) -> AsyncStorage:
        """The same operations as coroutines, over worker threads."""
        from rex.attach.storage.aio import AsyncStorage

        return AsyncStorage(self)

    def close(self) -> None:
        """Close the storage and release its resources."""
        aio = self.__dict__.pop("aio", None)
        if aio is not None:
            aio.stop()

    @final
    def __enter__(self) -> Self:
        return self

    @final
    def __exit__(self, *exc_info: object) -> None:
        self.close()

    # Shared by the operations.

    def _content(self, content: ContentSource, digest: str | None = None) -> Content:
        return make_content(content, self.max_size, digest)

    def _new_handle(self, name: str | None, owner: str | None) -> str:
        return make_handle(name, None if owner is None else functools.partial(self._mark, owner))

    def _mark(self, owner: str, place: bytes) -> bytes:
        """Compute the mark of an owner in a handle (`make_handle`)."""
        if not isinstance(owner, str) or not owner:
            raise Error("owner must be a non-empty string", kind=Kind.ILL_FORMED)
        return self.tokens.mac("owner", owner, place)[:MARK_BYTES]

    def _add(self, handle: str, content: Content, content_type: str | None) -> None:
        """Store content under a new handle."""
        media_type = content_type_for(_name(handle), content_type)
        with self.map_errors(handle, content):
            self._put_new(handle[1:], content, media_type)

    def _is_stored(self, handle: str, content: Content, media_type: str) -> bool:
        """Return whether an attachment has this content, of which some may have been read."""
        with self.map_errors(handle, content):
            try:
                metadata = self._head(handle[1:])
            except FileNotFoundError:
                return False
            sizes = (None, metadata.size)
            if content.known_size not in sizes or metadata.content_type != media_type:
                return False
            for _ in content:
                if content.size > metadata.size:
                    return False
            if content.size != metadata.size:
                return False
            return content.digest == (metadata.digest or self._compute_digest(handle[1:]))

    def _compute_digest(self, key: str) -> str:
        """Compute the SHA-256 of an object without a recorded digest."""
        from hashlib import sha256

        digest, body = sha256(), self._get(key, 0, None)
        for chunk in body.chunks:
            digest.update(chunk)
        return digest.hexdigest()

    def _get_body(self, key: str, start: int, end: int | None) -> Body:
        """Return the object and its bytes from `start`, which may be past the end."""
        try:
            return self._get(key, start, end)
        except FileNotFoundError:
            raise
        except Exception:
            # A server refuses a range that begins past the end (RFC 9110, section 15.5.17).
            metadata = None if start == 0 and end is None else self._head(key)
            if metadata is None or start < metadata.size:
                raise
            return Body(metadata, iter(()))

    def _clear(self, found: Garbage) -> bool:
        with self.map_errors(None):
            return found.clear()

    def _handles(self, day: datetime.date | None, after: str | None) -> Iterator[str]:
        with Operation("list", self), self.map_errors(None):
            for key in self._list(day, after):
                handle = handle_of(key)
                if handle is not None:
                    yield handle

    @final
    def map_errors(self, handle: str | None, content: Content | None = None) -> ErrorMap:
        """Return a context manager that makes an `Error` of a backend's exception.

        The error names `handle`. Exceptions raised by `content` propagate unchanged.
        """
        return ErrorMap(self._translate, handle, content)

    def _translate(self, failure: Exception, handle: str | None) -> Error | None:
        if isinstance(failure, Error):
            return None
        if isinstance(failure, FileNotFoundError):
            return Error("Attachment does not exist", handle, kind=Kind.NOT_FOUND)
        if isinstance(failure, FileExistsError):
            return Error("Attachment exists already", handle, kind=Kind.EXISTS)
        explained = self._explain(failure)
        if explained is None:
            return None
        return explained.error(handle or repr(self))


def _name(handle: str) -> str:
    """Return the file name in a well-formed handle."""
    return handle.rpartition("/")[2]


def _info(handle: str, metadata: Metadata) -> Info:
    return Info(
        handle=handle,
        name=_name(handle),
        size=metadata.size,
        modified=metadata.modified,
        content_type=metadata.content_type,
        etag=metadata.etag,
        digest=metadata.digest,
        content_encoding=metadata.content_encoding,
    )
