"""Resumable uploads: uploads that continue after an interruption."""

from __future__ import annotations

import dataclasses
import datetime
import itertools
import json
from collections.abc import Callable, Iterator, Sequence  # noqa: TC003 - resolved at run time
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, final

from rex.attach.backend.resumable import unreadable
from rex.attach.content.content import Content, ContentSource
from rex.attach.content.media_type import content_type_for
from rex.attach.handle import handle_of, key_of, parse_handle, show
from rex.attach.storage.arguments import choose_limit
from rex.attach.storage.hooks import UploadRequest
from rex.attach.telemetry.operation import INFO, Operation
from rex.core import Error, Kind

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from rex.attach.backend.resumable import Resumable
    from rex.attach.info import Metadata
    from rex.attach.storage import Storage

__all__ = ["MAX_KEPT_METADATA_BYTES", "MAX_METADATA_LENGTH", "Upload", "Uploads"]

MAX_METADATA_LENGTH = 8192
MAX_KEPT_METADATA_BYTES = 1400
"""The longest metadata that an attachment keeps: S3 allows 2 KiB, in base64 here."""


@dataclass(frozen=True, slots=True)
class Upload:
    """The state of a resumable upload."""

    handle: str
    """The handle that the attachment will have."""
    offset: int
    """The number of durable bytes."""
    size: int | None
    """The size of the attachment in bytes; None until the client announces it."""
    content_type: str
    """The content type of the attachment."""
    metadata: str
    """The metadata that the client sent, as passed to `create` or `join`.

    Empty for a complete upload if the metadata exceeds `MAX_KEPT_METADATA_BYTES` in UTF-8, or if
    the backend cannot keep metadata. Copying an attachment to another storage loses it.
    """
    partial: bool
    """Whether this is a partial upload, for `Uploads.join` only."""
    expires_at: datetime.datetime | None
    """When the upload expires (aware, UTC); None once it is an attachment."""
    max_size: int | None = None
    """The size limit that ``on_begin`` set, in bytes; None for the limit of the storage."""
    is_open: bool = False
    """Whether the upload stays unfinished at its size, until `Uploads.append` completes it."""

    @property
    def is_complete(self) -> bool:
        """Whether all bytes are stored."""
        return self.offset == self.size and not self.is_open


@final
class Uploads:
    """Resumable uploads: ``storage.uploads``.

    An upload is created, then appended to until it reaches its size and becomes an attachment.
    Until then it cannot be listed or opened. It outlasts the process: any process that uses the
    storage can continue it. Every operation may be called from any thread, and raises
    `rex.core.Error`, also of the kinds that `Storage` names.

    With hooks, an upload is complete once they have succeeded: until then it stays unfinished, and
    each operation on it calls them again.
    """

    def __init__(self, storage: Storage, backend: Resumable) -> None:
        self._storage = storage
        self._backend = backend

    def __repr__(self) -> str:
        return f"{self._storage!r}.uploads"

    def create(
        self,
        name: str | UploadRequest | None,
        *,
        size: int | None = None,
        content_type: str | None = None,
        metadata: str = "",
        partial: bool = False,
        is_open: bool = False,
        owner: object = None,
    ) -> Upload:
        """Create an upload of a file called `name`; `size` is in bytes, if already known.

        An open upload is complete once `append` says so, not at its size. `owner` is as in
        `Storage.reserve`. A `name` from `Storage.begin` has the type, the limit and the owner too.

        Errors: `ILL_FORMED`; `TOO_LARGE` over the size limit; `BUSY` if the owner has reached the
        limit of unfinished uploads (setting attach_max_uploads); those of `Storage.begin`, and for
        an empty upload those of `Storage.notify`.
        """
        with Operation("uploads.create", self._storage) as op:
            if not isinstance(name, UploadRequest):
                name = self._storage.begin(name, content_type=content_type, size=size, owner=owner)
            begun = name
            handle = op.handle = begun.handle
            _check_metadata(metadata)
            lifetime = datetime.timedelta(seconds=self._storage.upload_expires)
            upload = Upload(
                handle=handle,
                offset=0,
                size=None if size is None else self._check_size(size, begun.max_size),
                content_type=content_type_for(parse_handle(handle).name, begun.content_type),
                metadata=metadata,
                partial=partial,
                expires_at=_now() + lifetime,
                max_size=begun.max_size,
                is_open=is_open,
            )
            if begun.owner is not None:
                self._check_count(begun.owner)
            with self._map_errors(handle):
                self._backend.create(
                    key_of(handle),
                    _encode(upload),
                    upload.content_type,
                    partial=partial,
                    upload_metadata="" if partial else _keepable(metadata),
                )
            if not upload.is_complete:
                return upload
            return self._complete(upload, None, op, owner=begun.owner)

    def store(
        self,
        name: str | UploadRequest | None,
        content: ContentSource,
        *,
        content_type: str | None = None,
        metadata: str = "",
        owner: object = None,
    ) -> Upload:
        """Store a whole upload at once, as `Storage.add` does; return its state.

        Nothing can be continued: if this raises, nothing is stored. `name`, `content_type`,
        `metadata` and `owner` are as in `create`.

        Errors: those of `Storage.add`.
        """
        with Operation("uploads.store", self._storage, None, INFO) as op:
            storage, stream = self._storage, Content(content)
            op.content = stream
            if not isinstance(name, UploadRequest):
                name = storage.begin(
                    name, content_type=content_type, size=stream.known_size, owner=owner
                )
            begun, handle = name, name.handle
            op.handle = handle
            _check_metadata(metadata)
            stream.upload_metadata = _keepable(metadata)
            media_type = content_type_for(parse_handle(handle).name, begun.content_type)
            with self._map_errors(handle, stream):
                limit = choose_limit(begun.max_size, storage.max_size)
                if limit is not None:
                    stream.limit(limit, "the limit for an attachment")
            storage._add(handle, stream, media_type)  # noqa: SLF001 - not an operation
            if storage.hooks.notifies:
                storage.notify(handle, owner=begun.owner, is_new=True)
            return Upload(
                handle=handle,
                offset=stream.size,
                size=stream.size,
                content_type=media_type,
                metadata=stream.upload_metadata,
                partial=False,
                expires_at=None,
            )

    def info(self, handle: str, *, owner: object = None) -> Upload:
        """Return the state of an upload; its offset is durable.

        `owner` is the user who asks, for the hooks of an upload that is complete but untold.

        A complete upload is known as long as its attachment exists. An expired upload is not
        removed here: `rex.attach.maintenance.sweep` does that.

        Errors: `NOT_FOUND`, also for an expired upload; `ILL_FORMED`; those of `Storage.notify`,
        and `BUSY` while another client waits for the hooks.
        """
        upload = self._load(handle)
        if not upload.is_complete or upload.partial or upload.expires_at is None:
            return upload
        # The process that stored the last byte may have died before publishing the attachment.
        try:
            with self._hold(handle):
                return self._complete(self._load(handle), None, owner=owner)
        except Error as error:
            # A client takes the whole upload for acknowledged, but the hooks may still refuse it.
            if error.kind is not Kind.BUSY or self._storage.hooks.notifies:
                raise
            return upload

    def check_idle(self, handle: str) -> None:
        """Check that no client appends to an upload: meanwhile, its offset grows.

        In a directory, this includes clients of other processes; on a server, it does not.

        Errors: `BUSY`; `ILL_FORMED`.
        """
        with self._hold(handle):
            pass

    def append(
        self,
        handle: str,
        offset: int,
        content: ContentSource,
        *,
        size: int | None = None,
        complete: bool | None = None,
        owner: object = None,
    ) -> Upload:
        """Append content to an upload at its current `offset` (bytes).

        `size` announces the size of the attachment if `create` did not; `owner` is the user who
        uploads, for the hooks. With `complete`, the upload ends with this content, also if its size
        was not announced; with False, it is open (`Upload.is_open`). If the content raises,
        the bytes before that are stored and the exception propagates unchanged. The same holds
        for a file that shrank while it was read (`CORRUPT`).

        Errors: `NOT_FOUND`; `CONFLICT` for a different offset, or a size that differs from the
        announced one, also of content that completes the upload; `BUSY` while another client
        appends; `TOO_LARGE` for content beyond the size; `ILL_FORMED`; those of
        `Storage.notify` once all bytes are stored.
        """
        stream = Content(content)
        with (
            Operation("uploads.append", self._storage, handle) as op,
            self._hold(handle),
            self._map_errors(handle, stream),
        ):
            op.content = stream
            upload = self._load(handle)
            if offset != upload.offset:
                raise Error(
                    "The upload has a different offset",
                    f"{handle}: {upload.offset}, not {show(offset)}",
                    kind=Kind.CONFLICT,
                    code="offset-mismatch",
                )
            # Content that breaks off completes nothing, even if all of its bytes have arrived.
            upload = self._announce(upload, size, complete=False if complete is False else None)
            _limit(stream, upload, self._storage.max_size)
            ending = dataclasses.replace(upload, is_open=upload.is_open and not complete)
            if ending.is_complete and not upload.partial:
                next(stream, None)
            else:
                self._backend.append(handle[1:], offset, stream, _remaining(ending))
                upload = dataclasses.replace(upload, offset=offset + stream.size)
            if complete:
                upload = self._announce(upload, upload.offset, complete=True)
            digest = stream.digest if offset == 0 else None
            return self._complete(upload, digest, op, owner) if upload.is_complete else upload

    def join(
        self,
        name: str | UploadRequest | None,
        parts: Sequence[str],
        *,
        content_type: str | None = None,
        metadata: str = "",
        owner: object = None,
    ) -> str:
        """Store an attachment that consists of complete partial uploads; return its handle.

        A partial upload may be named more than once; all are removed afterwards. `metadata` is as
        in `Upload`; `name` and `owner` are as in `create`.

        Errors: `NOT_FOUND`; `CONFLICT` if an upload is not complete or not partial; `TOO_LARGE`;
        those of `Storage.begin` and `Storage.notify`.
        """
        with Operation("uploads.join", self._storage, None, INFO) as op:
            uploads = {handle: self.info(handle) for handle in parts}
            if not all(upload.partial and upload.is_complete for upload in uploads.values()):
                raise Error(
                    "Only complete partial uploads can be joined",
                    kind=Kind.CONFLICT,
                )
            storage, size = self._storage, sum(uploads[handle].offset for handle in parts)
            if not isinstance(name, UploadRequest):
                name = storage.begin(name, content_type=content_type, size=size, owner=owner)
            begun, handle = name, name.handle
            limit = choose_limit(begun.max_size, storage.max_size)
            _check_limit(size, limit)
            chunks = itertools.chain.from_iterable(self._read(uploads[part]) for part in parts)
            # This is one operation, and the bytes were counted when they arrived.
            content = Content(chunks, max_size=limit)
            content.upload_metadata = _keepable(metadata)
            media_type = content_type_for(parse_handle(handle).name, begun.content_type)
            storage._add(handle, content, media_type)  # noqa: SLF001 - not an operation
            op.handle, op.size = handle, content.size
            if storage.hooks.notifies:
                storage.notify(handle, owner=begun.owner, is_new=True)
            for part in uploads:
                with suppress(
                    Error
                ):  # the attachment is stored; a partial upload that stays will expire
                    self._remove(part)
            return handle

    def remove(self, handle: str) -> None:
        """Remove an unfinished upload; never an attachment.

        Errors: `NOT_FOUND`, also for a complete upload; `BUSY`; `ILL_FORMED`.
        """
        with Operation("uploads.remove", self._storage, handle):
            self._remove(handle)

    def list(self) -> Iterator[str]:
        """Yield the handles of the unfinished and the partial uploads."""
        with self._map_errors(None):
            for key in self._backend.keys():  # noqa: SIM118 - not a dictionary
                handle = handle_of(key)
                if handle is not None:
                    yield handle

    def _check_count(self, owner: object) -> None:
        """Check that an owner may create an upload. Errors: `BUSY`."""
        limit = self._storage.max_uploads
        if limit is not None:
            own = (handle for handle in self.list() if self._storage.is_owned_by(handle, owner))
            if sum(1 for _ in itertools.islice(own, limit)) == limit:
                raise Error(
                    "Too many unfinished uploads; finish or remove one",
                    f"at most {limit} per owner",
                    kind=Kind.BUSY,
                    code="too-many-uploads",
                )

    def _remove(self, handle: str) -> None:
        with self._hold(handle), self._map_errors(handle):
            if not self._backend.remove(handle[1:]):
                raise FileNotFoundError

    def peek(self, handle: str) -> Upload:
        """Return the state of an upload, even if it has expired; change nothing.

        Errors: `NOT_FOUND`, `ILL_FORMED`; `CORRUPT` if its record cannot be read.
        """
        key = key_of(handle)
        with self._map_errors(handle):
            try:
                stored = self._backend.load(key)
            except FileNotFoundError:
                return _from_attachment(handle, self._storage._head(key))  # noqa: SLF001 - for its metadata
            return _decode(handle, *stored)

    def _load(self, handle: str) -> Upload:
        upload = self.peek(handle)
        if upload.expires_at is None or upload.expires_at > _now():
            return upload
        # The upload is not removed: the clock of this machine may be wrong.
        raise Error("The upload has expired", handle, kind=Kind.NOT_FOUND, code="upload-expired")

    def _complete(
        self,
        upload: Upload,
        digest: str | None,
        op: Operation | None = None,
        owner: object = None,
    ) -> Upload:
        """Publish a complete upload as an attachment, unless it is partial; call the hooks.

        The record of the upload stays until the hooks have succeeded.
        """
        if upload.partial or upload.expires_at is None:
            return upload
        handle, key, metadata = upload.handle, upload.handle[1:], _keepable(upload.metadata)
        with self._map_errors(handle):
            is_new = self._backend.publish(key, upload.content_type, digest, metadata)
        if self._storage.hooks.notifies:
            try:
                self._storage.notify(handle, owner=owner)
            except Error as error:
                # Otherwise the application may have recorded it in an earlier call.
                if is_new and error.kind is Kind.REFUSED:
                    self._refuse(handle)
                raise
        with self._map_errors(handle):
            self._backend.forget(key)
        if op is not None:
            op.level = INFO
        return dataclasses.replace(upload, expires_at=None, metadata=metadata)

    def _refuse(self, handle: str) -> None:
        """Remove a published upload that the application does not know; ignore errors."""
        with suppress(Error):
            self._storage.remove(handle, notify=False)
        with suppress(Error), self._map_errors(handle):
            self._backend.forget(handle[1:])

    def _announce(self, upload: Upload, size: int | None, *, complete: bool | None) -> Upload:
        """Record the size of an upload, and whether it is complete at this size."""
        if size is not None:
            checked = self._check_size(size, upload.max_size)
            if upload.size not in (None, checked) or checked < upload.offset:
                raise Error(
                    "The upload has a different size",
                    upload.handle,
                    kind=Kind.CONFLICT,
                    code="length-mismatch",
                )
            size = checked
        announced = dataclasses.replace(upload, size=upload.size if size is None else size)
        if complete is not None and upload.expires_at is not None:
            announced = dataclasses.replace(announced, is_open=not complete)
        if announced != upload:
            self._backend.save(upload.handle[1:], _encode(announced))
        return announced

    def _check_size(self, size: int, max_size: int | None = None) -> int:
        if not isinstance(size, int) or size < 0:
            raise Error(
                "size must be a number of bytes, 0 or more", show(size), kind=Kind.ILL_FORMED
            )
        _check_limit(size, choose_limit(max_size, self._storage.max_size))
        return size

    def _read(self, upload: Upload) -> Iterator[bytes]:
        """Yield the bytes of a complete upload. Errors: `CORRUPT` unless all of them are there."""
        size = 0
        with self._map_errors(upload.handle):
            for chunk in self._backend.read(upload.handle[1:]):
                size += len(chunk)
                yield chunk
        if size != upload.offset:
            reason = f"{upload.handle}: {size} of {upload.offset} bytes"
            raise Error(
                "The storage did not return all bytes of a partial upload",
                reason,
                kind=Kind.CORRUPT,
            )

    @contextmanager
    def _hold(self, handle: str) -> Iterator[None]:
        key = key_of(handle)
        with ExitStack() as stack:
            with self._map_errors(handle):
                try:
                    stack.enter_context(self._backend.hold(key))
                except BlockingIOError:
                    raise Error(
                        "Another client is working on the upload", handle, kind=Kind.BUSY
                    ) from None
                except FileNotFoundError:
                    pass  # `load` raises it again
            yield

    @property
    def _map_errors(self) -> Callable[..., AbstractContextManager[None]]:
        return self._storage.map_errors


def _now() -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC).replace(microsecond=0)


def _check_metadata(metadata: object) -> None:
    if not isinstance(metadata, str) or len(metadata) > MAX_METADATA_LENGTH:
        raise Error(
            f"metadata must be a string of at most {MAX_METADATA_LENGTH} characters",
            kind=Kind.ILL_FORMED,
        )


def _check_limit(size: int, limit: int | None) -> None:
    if limit is not None and size > limit:
        raise Error("Attachment is too large", f"more than {limit} bytes", kind=Kind.TOO_LARGE)


def _limit(content: Content, upload: Upload, max_size: int | None) -> None:
    """Limit content to the rest of an upload, or to the limit for an attachment."""
    reason = "the limit for an attachment" if upload.size is None else "the size of the upload"
    most = choose_limit(upload.max_size, max_size) if upload.size is None else upload.size
    if most is not None:
        content.limit(most - upload.offset, reason)


def _remaining(upload: Upload) -> int | None:
    """Return after how many bytes an upload is complete, if that is known."""
    if upload.size is None or upload.partial or upload.is_open:
        return None
    return upload.size - upload.offset


def _keepable(metadata: str) -> str:
    """Return the metadata if an attachment can keep it, or an empty string."""
    try:
        return metadata if len(metadata.encode()) <= MAX_KEPT_METADATA_BYTES else ""
    except UnicodeEncodeError:
        return ""


def _from_attachment(handle: str, metadata: Metadata) -> Upload:
    return Upload(
        handle=handle,
        offset=metadata.size,
        size=metadata.size,
        content_type=metadata.content_type,
        metadata=metadata.upload_metadata,
        partial=False,
        expires_at=None,
    )


def _encode(upload: Upload) -> bytes:
    assert upload.expires_at is not None  # noqa: S101 - only an unfinished upload has a record
    record = {
        "handle": upload.handle,
        "size": upload.size,
        "content_type": upload.content_type,
        "metadata": upload.metadata,
        "partial": upload.partial,
        "expires_at": upload.expires_at.isoformat(),
        "max_size": upload.max_size,
    }
    if upload.is_open:  # a previous release cannot read this field
        record["is_open"] = True
    return json.dumps(record).encode()


def _decode(handle: str, record: bytes, offset: int) -> Upload:
    """Parse a record. Raises `FileNotFoundError` if the record names a different handle."""
    try:
        fields = json.loads(record)
        if fields.pop("handle") != handle:
            raise FileNotFoundError
        expires_at = datetime.datetime.fromisoformat(fields.pop("expires_at"))
        return Upload(handle=handle, offset=offset, expires_at=expires_at, **fields)
    except (ValueError, TypeError, KeyError, AttributeError):
        raise unreadable(handle) from None
