"""Storage: the verbs that people call.

All that must never be forgotten happens here, once, for every kind of storage: handles are
checked before the storage is asked, limits hold, whatever fails is an `Error` with its kind.
"""

from __future__ import annotations

import dataclasses
import datetime
import functools
import os  # noqa: TC003 - resolved at run time
import re
from collections.abc import Callable, Iterator, Sequence  # noqa: TC003 - resolved at run time
from typing import TYPE_CHECKING, Any, Literal, Self, TypedDict, Unpack, final

from rex.attach.backend.abilities import Abilities, require
from rex.attach.backend.base import Backend
from rex.attach.content.comparison import compare
from rex.attach.content.content import Content, ContentSource
from rex.attach.content.formats import is_read_in_parts
from rex.attach.content.media_type import content_type_for, disposition, is_inline_type, text_type
from rex.attach.content.reader import MIN_REQUEST, Body, Reader, Stream
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

UploadMethod = Literal["POST", "PUT"]

_DIGEST = re.compile("[0-9a-f]{64}")

MAX_POSITION = 2**63 - 1
"""The furthest position that a binary file of Python can have."""


class StorageOptions(TypedDict, total=False):
    """What every kind of storage can be told."""

    max_size: int | None
    """The largest size of an attachment, in bytes; without it, there is no limit."""
    link_expires: float
    """How long a link lasts, in seconds."""
    upload_expires: float
    """How long an upload that is sent piece by piece may take, in seconds."""
    max_uploads: int | None
    """How many unfinished uploads an owner may have at a time; None: any number."""
    url: str | None
    """The address at which clients reach the service, for the links of a storage without any."""
    secret: Secret | str | None
    """What signs tokens; without it, the storage has a secret of its own."""


class Storage(Backend):
    """Where attachments live.

    An attachment is written once, read many times, and removed; it never changes. Its handle is
    its permanent name. Every verb may be called from any thread, and raises `rex.core.Error`
    whose `kind` tells what happened: besides those named below, `DENIED` (the storage refuses us),
    `UNAVAILABLE` (it does not answer, or is full), `CONFIGURATION` (it is not there at all).

    A kind of storage is a subclass that fills in the hooks (`rex.attach.backend.base`); see
    `docs/writing-a-storage.md`. `storage.aio` has the same verbs as coroutines.
    """

    def __init__(self, **options: Unpack[StorageOptions]) -> None:
        """Set what every kind of storage can be told: see `StorageOptions`."""
        self.max_size = options.get("max_size")
        self.link_expires = options.get("link_expires", 3600)
        self.upload_expires = options.get("upload_expires", 7 * 24 * 3600)
        self.max_uploads = options.get("max_uploads", 1000)
        self.url = options.get("url")
        secret = options.get("secret")
        self._secret = Secret(secret) if isinstance(secret, str) else secret

    # The verbs.

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
        """Store an attachment; return its handle once it is stored for good.

        `name` is the name of the file, which is made harmless first; without a name (None), the
        file is called ``attachment``. `content` is a string (stored as UTF-8), bytes, a file open
        in binary mode (read from its position to its end, not closed), or an iterable of bytes.
        `content_type` is what to serve it as; without it, the name decides, and the
        text type of a string gets its charset. `digest` is the SHA-256 of the bytes in hexadecimal,
        where it is known: other bytes are not stored. `owner` is that of `reserve`. When this
        raises, nothing is left in the storage (a server that goes away in the middle may keep what
        it had, since it cannot be told).

        Errors: `ILL_FORMED` (name, content, type, digest or owner); `TOO_LARGE`; `CORRUPT` for
        another digest, or for a file that became shorter while it was stored; those of `reserve`.
        What `content` raises propagates unchanged.
        """
        with Operation("add", self, None, INFO) as op:
            handle = op.handle = self._new_handle(name, owner)
            op.content = self._content(content, digest)
            media_type = _media_type(handle, content, content_type)
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

        An attachment never changes: where one exists, nothing is stored. If it has the same bytes
        and the same type, that is a success all the same, so that a caller who does not know what
        became of a first try (a time limit, a lost answer, a killed process) can try again. With
        `idempotent` false, it is `EXISTS`, too. Of several who put different bytes at once, exactly
        one succeeds, as far as the server makes storing conditional (`docs/operations.md`,
        servers). When this raises anything but `EXISTS`, the attachment may be stored or not; it is
        never stored in part, and what was there before is never removed.

        Errors: as `add`, and `EXISTS`.
        """
        with Operation("put", self, handle, INFO) as op:
            key = key_of(handle)
            stored = op.content = self._content(content, digest)
            media_type = _media_type(handle, content, content_type)
            try:
                with self.map_errors(handle, stored):
                    self._put(key, stored, media_type)
            except Error as error:
                is_same = idempotent and error.kind is Kind.EXISTS
                if not is_same or not self._is_stored(handle, stored, media_type):
                    raise

    @final
    def reserve(self, name: str | None, *, owner: str | None = None) -> str:
        """Make the handle of an attachment that will be stored later, or uploaded with a link.

        Nothing is stored. With `owner`, a text that stands for one user of the application,
        `is_owned_by` recognises the handle as that user's; the handle does not reveal the owner.

        Errors: `ILL_FORMED` when `name` is neither a string nor None, or `owner` neither a text of
        at least one character nor None; `UNSUPPORTED` for an owner where the storage has no secret
        (setting attach_secret).
        """
        return self._new_handle(name, owner)

    @final
    def is_owned_by(self, handle: str, owner: str) -> bool:
        """Return whether a handle was made for this owner, with the secret of this storage.

        Nothing is looked up: the handle need not exist, and a handle without an owner belongs to
        none. After a change of the secret (setting attach_secret, or the S3 key where there is no
        attach_secret), older handles belong to none either.

        Errors: `ILL_FORMED`; `UNSUPPORTED` where the storage has no secret.
        """
        from hmac import compare_digest

        marked = mark_of(handle)
        return marked is not None and compare_digest(self._mark(owner, marked[0]), marked[1])

    @final
    def open(self, handle: str, *, start: int = 0, length: int | None = None) -> Reader:
        """Open an attachment for reading, as a seekable binary file.

        Its position is `start`, in bytes from the beginning: what comes before is not requested
        unless the caller seeks back. Past the end there is nothing to read, as after a seek. With
        `length`, reading ends after so many bytes, and one request is for just these; a length past
        the end means all the rest. Without it, the first request is for all the rest, or for
        64 KiB where the name is that of a format that libraries read in parts (zip, Parquet,
        images: see `rex.attach.content.formats`). After a seek, requests are for what is read.

        Errors, raised here and not at the first read: `NOT_FOUND`, `ILL_FORMED`.
        """
        with Operation("open", self, handle) as op:
            key = key_of(handle)
            _check_position("start", start)
            if length is not None:
                _check_position("length", length)
            end = _first_end(_name(handle), start, length)
            with self.map_errors(handle):
                body = self._get_body(key, start, end)
            info = _info(handle, body.metadata)
            op.size = info.size
            fetch = functools.partial(self._get, key)
            mapped = functools.partial(self.map_errors, handle)
            return Reader(Stream(info, body, fetch, mapped, start=start, length=length))

    @final
    def read_cached(self, handle: str) -> tuple[Info, bytes] | None:
        """Give a small attachment and its bytes if they are in this machine's memory already.

        Or else None, also where that cannot be known. This waits for no disk and no server, so
        that an event loop may call it. Errors: as `open`, where they are found without waiting;
        `CORRUPT` when the bytes do not have the SHA-256 that was recorded.
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
        """Tell what is known of an attachment. Errors: `NOT_FOUND`, `ILL_FORMED`."""
        with Operation("info", self, handle) as op, self.map_errors(handle):
            info = _info(handle, self._head(key_of(handle)))
            op.size = info.size
            return info

    @final
    def stat(self, handle: str) -> os.stat_result:
        """Tell size (bytes) and times (seconds) as `os.stat` does.

        Errors: `NOT_FOUND`, `ILL_FORMED`.
        """
        return self.info(handle).as_stat()

    @final
    def remove(self, handle: str) -> None:
        """Remove an attachment for good. Errors: `NOT_FOUND`, `ILL_FORMED`.

        A bucket that keeps versions keeps its bytes as an older version, until a lifecycle rule
        removes it.
        """
        with Operation("remove", self, handle, INFO), self.map_errors(handle):
            self._delete(key_of(handle))

    @final
    def list(
        self, *, day: datetime.date | str | None = None, after: str | None = None
    ) -> Iterator[str]:
        """List the handles of all attachments, in the order of their text, as they are found.

        `day` (a date, or ``YYYY-MM-DD``) restricts it to the handles made on that day (UTC);
        `after` is a handle, which need not exist, after which to begin. What is added or removed
        meanwhile may be listed or not. Errors: `ILL_FORMED`.
        """
        date = None if day is None else _date(day)
        return self._handles(date, None if after is None else key_of(after))

    @final
    def unknown_keys(self) -> Iterator[str]:
        """List the keys of what others put where attachments are, exactly as they named it.

        No other operation touches it. A key may hold any character: see `rex.core.printable` before
        showing it.
        """
        with self.map_errors(None):
            yield from self._unknown_keys()

    @final
    def garbage(self, before: datetime.datetime) -> Iterator[Garbage]:
        """List what nobody finished and has been of no use since before a moment (aware).

        What it finds, it removes when it is told to, and before the next is asked for; see
        `rex.attach.maintenance.sweep`.
        """
        find = self.abilities.garbage
        if find is None:
            return
        with self.map_errors(None):
            for found in find(before):
                yield dataclasses.replace(found, clear=functools.partial(self._clear, found))

    @final
    def lifecycle(self, days: int, noncurrent: int | None = None) -> Sequence[dict[str, Any]]:
        """Return the rules with which a bucket removes abandoned uploads after days.

        With `noncurrent` (days), also the versions that it keeps of removed attachments. They are
        those of PutBucketLifecycleConfiguration. Errors: `UNSUPPORTED` without a bucket.
        """
        return require(self.abilities.bucket, "bucket").lifecycle(days, noncurrent)

    @final
    def __iter__(self) -> Iterator[str]:
        """List the handles of all attachments: see `list`."""
        return self.list()

    @final
    def __contains__(self, handle: object) -> bool:
        """Tell whether there is such an attachment; what is no handle is not there."""
        try:
            self.info(handle)  # type: ignore[arg-type]  # whatever it is
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
        """Permit somebody to upload the attachment of a reserved handle.

        With ``POST`` the client sends a form: the link's `fields`, then the part ``file``. The
        size may be at most `max_size` bytes, or the storage's own limit. With ``PUT`` the client
        sends the bytes with the link's `headers`; that works once and cannot limit the size.
        `content_type` is what the client has to send it as; without it, the name decides.
        `expires` is in seconds (or a timedelta), at most 7 days.

        Errors: `ILL_FORMED`; `UNSUPPORTED` where the storage cannot sign links, and for a limit
        of the size with ``PUT``.
        """
        with Operation("upload_link", self, handle), self.map_errors(handle):
            key = key_of(handle)
            name = _name(handle)
            if method not in ("POST", "PUT"):
                raise Error(
                    "The method of an upload link is POST or PUT",
                    show(method),
                    kind=Kind.ILL_FORMED,
                )
            limit = _tighter(max_size, self.max_size)
            if method == "PUT" and limit is not None:
                raise Error(
                    "A PUT link cannot limit the size of the upload",
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
        """Permit somebody to download an attachment; whether it exists is not asked.

        It is downloaded as `filename`, or as the name in the handle. With `inline`, a browser
        may show it in place if it is of a type that cannot carry a script (judged by the name in
        the handle: images but SVG, audio, video, PDF, plain text); any other is downloaded all
        the same. `expires` is in seconds (or a timedelta), at most 7 days.

        Errors: `ILL_FORMED`; `UNSUPPORTED` where the storage cannot sign links.
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
        """Make sure that the storage can be used, as an application does when it starts.

        A directory is made if only its last component is missing, and gets its marker if it is new
        or holds attachments. With `create` false, as for maintenance, nothing is made.

        Errors: the `kind` says what is wrong, and the message names the setting to change. With
        `create` false also `ABSENT`, where the directory or bucket does not exist, and `EMPTY` for
        an empty directory without a marker, which may be the mount point of a disk.
        """
        with Operation("check", self), self.map_errors(None):
            self._check(create=create)

    @final
    def is_untouched(self) -> bool:
        """Tell whether nothing is in the storage, and a directory has no marker either."""
        with self.map_errors(None):
            return self._is_untouched()

    @final
    def init(self) -> bool:
        """Make the directory of a storage and its marker; return whether anything was missing.

        Other storages need nothing made.
        """
        with self.map_errors(None):
            return self._init()

    @final
    @functools.cached_property
    def tokens(self) -> TokenSigner:
        """What signs and reads the permissions that clients carry."""
        from rex.attach.links.token import TokenSigner

        with self.map_errors(None):
            given = self._secret.reveal() if self._secret else ""
            return TokenSigner(given.encode() or self._own_secret())

    @final
    @functools.cached_property
    def abilities(self) -> Abilities:
        """What the storage can do besides storing."""
        return self._abilities()

    @final
    @functools.cached_property
    def uploads(self) -> Uploads:
        """Uploads piece by piece. Errors: `UNSUPPORTED` where the storage has none."""
        from rex.attach.storage.resumable import Uploads

        return Uploads(self, require(self.abilities.resumable, "resumable"))

    @final
    @functools.cached_property
    def multipart(self) -> MultipartUploads:
        """Uploads in parts, by links. Errors: `UNSUPPORTED` where the storage has none."""
        from rex.attach.storage.multipart import MultipartUploads

        return MultipartUploads(self, require(self.abilities.multipart, "multipart"))

    @final
    @functools.cached_property
    def cors(self) -> BucketCors:
        """Which sites' pages may use the links."""
        from rex.attach.storage.cors import BucketCors

        return BucketCors(self)

    @final
    @functools.cached_property
    def aio(self) -> AsyncStorage:
        """The same verbs as coroutines, over worker threads."""
        from rex.attach.storage.aio import AsyncStorage

        return AsyncStorage(self)

    def close(self) -> None:
        """Let go of what the storage holds open; it must not be used afterwards."""
        aio = self.__dict__.pop("aio", None)
        if aio is not None:
            aio.stop()

    @final
    def __enter__(self) -> Self:
        return self

    @final
    def __exit__(self, *exc_info: object) -> None:
        self.close()

    # What the verbs share.

    def _content(self, content: ContentSource, digest: str | None = None) -> Content:
        if digest is not None and not (isinstance(digest, str) and _DIGEST.fullmatch(digest)):
            raise Error("Ill-formed SHA-256", show(digest), kind=Kind.ILL_FORMED)
        return Content(content, max_size=self.max_size, digest=digest)

    def _new_handle(self, name: str | None, owner: str | None) -> str:
        return make_handle(name, None if owner is None else functools.partial(self._mark, owner))

    def _mark(self, owner: str, place: bytes) -> bytes:
        """Compute the mark of an owner in a handle (`make_handle`)."""
        if not isinstance(owner, str) or not owner:
            raise Error("An owner is a text of at least one character", kind=Kind.ILL_FORMED)
        return self.tokens.mac("owner", owner, place)[:MARK_BYTES]

    def _add(self, handle: str, content: Content, content_type: str | None) -> None:
        """Store under a handle that was just made."""
        media_type = content_type_for(_name(handle), content_type)
        with self.map_errors(handle, content):
            self._put_new(handle[1:], content, media_type)

    def _is_stored(self, handle: str, content: Content, media_type: str) -> bool:
        """Compare content, of which some may have been read, with the attachment of a handle."""
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
        """Compute the SHA-256 of an object whose digest was not recorded."""
        from hashlib import sha256

        digest, body = sha256(), self._get(key, 0, None)
        for chunk in body.chunks:
            digest.update(chunk)
        return digest.hexdigest()

    def _get_body(self, key: str, start: int, end: int | None) -> Body:
        """Give the object and its bytes from `start`, which may be past the end."""
        try:
            return self._get(key, start, end)
        except FileNotFoundError:
            raise
        except Exception:
            # A server refuses to begin past the end (RFC 9110, section 15.5.17).
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
    def map_errors(self, handle: str | None, content: Content | None = None) -> _Mapped:
        """Return a context manager that makes an `Error` about a handle of what a backend raises.

        For the parts of a storage in files of their own. Exceptions raised by `content` propagate
        unchanged.
        """
        return _Mapped(self._translate, handle, content)

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


class _Mapped:
    """See `Storage.map_errors`; a class, since a generator takes longer than what it guards."""

    __slots__ = ("_content", "_handle", "_translate")

    def __init__(
        self,
        translated: Callable[[Exception, str | None], Error | None],
        handle: str | None,
        content: Content | None,
    ) -> None:
        self._translate = translated
        self._handle = handle
        self._content = content

    def __enter__(self) -> None:
        """Begin."""

    def __exit__(self, _: object, failure: BaseException | None, __: object) -> None:
        if not isinstance(failure, Exception):
            return
        own = None if self._content is None else self._content.failure
        error = self._translate(failure, self._handle) if own is None else own
        if error is not None and error is not failure:
            raise error from failure


def _name(handle: str) -> str:
    """Give the name of the file in a handle that is known to be well formed."""
    return handle.rpartition("/")[2]


def _check_position(what: str, given: int) -> None:
    if not isinstance(given, int) or not 0 <= given <= MAX_POSITION:
        raise Error(f"The {what} is a number of bytes", show(given), kind=Kind.ILL_FORMED)


def _first_end(name: str, start: int, length: int | None) -> int | None:
    """Choose where the first request ends; None is the end of the attachment."""
    if length is not None:
        end = start + max(length, 1)  # no request is for nothing
        return end if end < MAX_POSITION else None
    return start + MIN_REQUEST if is_read_in_parts(name) else None


def _media_type(handle: str, content: ContentSource, given: str | None) -> str:
    """Return the type to store content with; what is encoded here is in UTF-8."""
    media_type = content_type_for(_name(handle), given)
    return text_type(media_type) if isinstance(content, str) else media_type


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


def _date(day: datetime.date | str) -> datetime.date:
    if isinstance(day, datetime.datetime):
        raise Error("A day is a date without a time", show(day), kind=Kind.ILL_FORMED)
    if isinstance(day, datetime.date):
        return day
    try:
        date = datetime.date.fromisoformat(day)
    except (TypeError, ValueError):
        date = None
    if date is None or date.isoformat() != day:  # ISO 8601 has other forms too
        raise Error("Ill-formed day (YYYY-MM-DD)", show(day), kind=Kind.ILL_FORMED)
    return date


def _tighter(asked: int | None, own: int | None) -> int | None:
    if asked is not None and (not isinstance(asked, int) or asked < 0):
        raise Error("The largest size is a number of bytes", show(asked), kind=Kind.ILL_FORMED)
    return min((limit for limit in (asked, own) if limit is not None), default=None)
