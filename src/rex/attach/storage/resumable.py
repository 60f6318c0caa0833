"""Uploads that arrive piece by piece, and can be taken up again where they broke off."""

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
"""The longest note that an attachment keeps: S3 takes 2 KiB of metadata, in base64 here."""


@dataclass(frozen=True, slots=True)
class Upload:
    """What is known of an attachment that arrives piece by piece."""

    handle: str
    """The handle that the attachment will have."""
    offset: int
    """How many bytes are stored for good."""
    size: int | None
    """How many there will be; None as long as nobody said."""
    content_type: str
    """What to serve it as."""
    metadata: str
    """What `create` or `join` was given to keep with it.

    Empty for a complete upload if it had more than `MAX_KEPT_METADATA_BYTES` in UTF-8, or if the
    storage cannot keep it. The metadata does not move with the attachment to another storage.
    """
    partial: bool
    """Whether it is for `Uploads.join` alone, and will be no attachment by itself."""
    expires_at: datetime.datetime | None
    """When it will be given up (aware, UTC); None once it is an attachment."""

    @property
    def is_complete(self) -> bool:
        """Whether all has arrived."""
        return self.offset == self.size


@final
class Uploads:
    """Uploads piece by piece, on any storage: ``storage.uploads``.

    An upload is begun, then appended to until its size is reached; with that it is an attachment,
    and no upload any more. Until then it is neither listed nor opened, and it outlasts the process:
    any other that uses the storage can go on with it. Every verb may be called from any thread,
    and raises `rex.core.Error`; those that `Storage` names may come from each.
    """

    def __init__(self, storage: Storage, drafts: Resumable) -> None:
        self._storage = storage
        self._drafts = drafts

    def __repr__(self) -> str:
        return f"{self._storage!r}.uploads"

    def create(
        self,
        name: str | None,
        *,
        size: int | None = None,
        content_type: str | None = None,
        metadata: str = "",
        partial: bool = False,
        owner: str | None = None,
    ) -> Upload:
        """Begin to upload a file called `name`; `size` is in bytes, where it is known already.

        `owner` is that of `Storage.reserve`.

        Errors: `ILL_FORMED`; `TOO_LARGE` over the limit for an attachment; `BUSY` when the owner
        has as many unfinished uploads as the storage allows (setting attach_max_uploads); those of
        `Storage.reserve`.
        """
        with Operation("uploads.create", self._storage) as op:
            handle = op.handle = self._storage.reserve(name, owner=owner)
            if not isinstance(metadata, str) or len(metadata) > MAX_METADATA_LENGTH:
                raise Error(
                    f"The metadata of an upload has at most {MAX_METADATA_LENGTH} characters",
                    kind=Kind.ILL_FORMED,
                )
            lifetime = datetime.timedelta(seconds=self._storage.upload_expires)
            upload = Upload(
                handle=handle,
                offset=0,
                size=None if size is None else self._check_size(size),
                content_type=content_type_for(parse_handle(handle).name, content_type),
                metadata=metadata,
                partial=partial,
                expires_at=_now() + lifetime,
            )
            if owner is not None:
                self._check_count(owner)
            with self._map_errors(handle):
                self._drafts.create(
                    key_of(handle),
                    _encode(upload),
                    upload.content_type,
                    partial=partial,
                    upload_metadata="" if partial else _keepable(metadata),
                )
            return self._complete(upload, None, op) if upload.is_complete else upload

    def info(self, handle: str) -> Upload:
        """Return how far an upload is; its offset outlasts a power cut.

        A complete upload is known as long as its attachment exists. Nothing is removed, also when
        the upload has expired: `rex.attach.maintenance.sweep` does that.

        Errors: `NOT_FOUND`, also when it has expired; `ILL_FORMED`.
        """
        upload = self._load(handle)
        if not upload.is_complete or upload.partial or upload.expires_at is None:
            return upload
        # Whoever completed it may have come to an end before it was an attachment.
        try:
            with self._hold(handle):
                return self._complete(self._load(handle), None)
        except Error as error:
            if error.kind is not Kind.BUSY:
                raise
            return upload

    def append(
        self, handle: str, offset: int, content: ContentSource, *, size: int | None = None
    ) -> Upload:
        """Store more of an upload, whose `offset` (bytes) the caller has to know.

        `size` tells how many bytes there will be, where `create` was not told. What the content
        gives before it raises is stored; then its exception propagates unchanged. The same holds
        for a file that became shorter while it was stored (`CORRUPT`).

        Errors: `NOT_FOUND`; `CONFLICT` when the upload is at another offset, or its size is known
        to be another; `BUSY` while somebody else appends; `TOO_LARGE` for more than there should
        be; `ILL_FORMED`.
        """
        stream = Content(content)
        with (
            Operation("uploads.append", self._storage, handle) as op,
            self._hold(handle),
            self._map_errors(handle, stream),
        ):
            op.content = stream
            upload = self._load(handle)
            if size is not None:
                upload = self._set_size(upload, size)
            if offset != upload.offset:
                raise Error(
                    "The upload is at another offset",
                    f"{handle}: at {upload.offset}, not {show(offset)}",
                    kind=Kind.CONFLICT,
                    code="offset-mismatch",
                )
            _limit(stream, upload, self._storage.max_size)
            if upload.expires_at is None:  # nothing is missing
                next(stream, None)
                return upload
            remaining = None if upload.size is None or upload.partial else upload.size - offset
            self._drafts.append(handle[1:], offset, stream, remaining)
            upload = dataclasses.replace(upload, offset=offset + stream.size)
            digest = stream.digest if offset == 0 else None
            return self._complete(upload, digest, op) if upload.is_complete else upload

    def join(
        self,
        name: str | None,
        parts: Sequence[str],
        *,
        content_type: str | None = None,
        metadata: str = "",
        owner: str | None = None,
    ) -> str:
        """Store an attachment that consists of complete uploads made for that; give its handle.

        A part may be named more than once. The parts are no uploads any more afterwards. The note
        is that of `Upload.metadata`, and the owner that of `Storage.reserve`.

        Errors: `NOT_FOUND`; `CONFLICT` when one is not complete or was not made for that;
        `TOO_LARGE`.
        """
        with Operation("uploads.join", self._storage, None, INFO) as op:
            uploads = {handle: self.info(handle) for handle in parts}
            if not all(upload.partial and upload.is_complete for upload in uploads.values()):
                raise Error(
                    "Only complete uploads that were made as parts can be joined",
                    kind=Kind.CONFLICT,
                )
            if self._storage.max_size is not None:
                self._check_size(sum(uploads[handle].offset for handle in parts))
            chunks = itertools.chain.from_iterable(self._read(uploads[part]) for part in parts)
            # It counts as one verb, and its bytes have been counted when they came.
            storage = self._storage
            handle = storage.reserve(name, owner=owner)
            content = Content(chunks, max_size=storage.max_size)
            content.upload_metadata = _keepable(metadata)
            storage._add(handle, content, content_type)  # noqa: SLF001 - not an operation
            op.handle, op.size = handle, content.size
            for part in uploads:
                with suppress(Error):  # it is stored; a part that stays expires
                    self._remove(part)
            return handle

    def remove(self, handle: str) -> None:
        """Give up an upload; an attachment stays.

        Errors: `NOT_FOUND` when it is complete or there is none; `BUSY`; `ILL_FORMED`.
        """
        with Operation("uploads.remove", self._storage, handle):
            self._remove(handle)

    def list(self) -> Iterator[str]:
        """List the handles of the uploads that are not complete, and of parts."""
        with self._map_errors(None):
            for key in self._drafts.keys():  # noqa: SIM118 - it is no dictionary
                handle = handle_of(key)
                if handle is not None:
                    yield handle

    def _check_count(self, owner: str) -> None:
        """Check that an owner may begin another upload."""
        limit = self._storage.max_uploads
        if limit is not None:
            own = (handle for handle in self.list() if self._storage.is_owned_by(handle, owner))
            if sum(1 for _ in itertools.islice(own, limit)) == limit:
                raise Error(
                    "There are too many unfinished uploads; finish or remove one",
                    f"at most {limit} for each owner",
                    kind=Kind.BUSY,
                    code="too-many-uploads",
                )

    def _remove(self, handle: str) -> None:
        with self._hold(handle), self._map_errors(handle):
            if not self._drafts.remove(handle[1:]):
                raise FileNotFoundError

    def peek(self, handle: str) -> Upload:
        """Tell what is stored of an upload, also when it has expired; nothing is changed.

        Errors: `NOT_FOUND`, `ILL_FORMED`; `CORRUPT` when its record cannot be read.
        """
        key = key_of(handle)
        with self._map_errors(handle):
            try:
                draft = self._drafts.load(key)
            except FileNotFoundError:
                return _from_attachment(handle, self._storage._head(key))  # noqa: SLF001 - with its note
            return _decode(handle, *draft)

    def _load(self, handle: str) -> Upload:
        upload = self.peek(handle)
        if upload.expires_at is None or upload.expires_at > _now():
            return upload
        # Nothing is removed: the clock of this machine may be wrong.
        raise Error("The upload has expired", handle, kind=Kind.NOT_FOUND, code="upload-expired")

    def _complete(self, upload: Upload, digest: str | None, op: Operation | None = None) -> Upload:
        """Make an attachment of an upload of which all is there, unless it is a part or is one."""
        if upload.partial or upload.expires_at is None:
            return upload
        with self._map_errors(upload.handle):
            metadata = _keepable(upload.metadata)
            self._drafts.publish(upload.handle[1:], upload.content_type, digest, metadata)
        if op is not None:
            op.level = INFO
        return dataclasses.replace(upload, expires_at=None, metadata=metadata)

    def _set_size(self, upload: Upload, size: int) -> Upload:
        checked = self._check_size(size)
        if upload.size == checked:
            return upload
        if upload.size is not None or checked < upload.offset:
            raise Error(
                "The size of the upload is known to be another", upload.handle, kind=Kind.CONFLICT
            )
        sized = dataclasses.replace(upload, size=checked)
        self._drafts.save(upload.handle[1:], _encode(sized))
        return sized

    def _check_size(self, size: int) -> int:
        if not isinstance(size, int) or size < 0:
            raise Error("The size is a number of bytes", show(size), kind=Kind.ILL_FORMED)
        limit = self._storage.max_size
        if limit is not None and size > limit:
            raise Error("Attachment is too large", f"more than {limit} bytes", kind=Kind.TOO_LARGE)
        return size

    def _read(self, upload: Upload) -> Iterator[bytes]:
        """Yield all bytes of a complete upload; what lacks some must not be joined and removed."""
        size = 0
        with self._map_errors(upload.handle):
            for chunk in self._drafts.read(upload.handle[1:]):
                size += len(chunk)
                yield chunk
        if size != upload.offset:
            reason = f"{upload.handle}: {size} of {upload.offset} bytes"
            raise Error("The storage did not return all of a part", reason, kind=Kind.CORRUPT)

    @contextmanager
    def _hold(self, handle: str) -> Iterator[None]:
        key = key_of(handle)
        with ExitStack() as stack:
            with self._map_errors(handle):
                try:
                    stack.enter_context(self._drafts.hold(key))
                except BlockingIOError:
                    raise Error(
                        "Somebody else is working on the upload", handle, kind=Kind.BUSY
                    ) from None
                except FileNotFoundError:
                    pass  # whoever loads it finds out
            yield

    @property
    def _map_errors(self) -> Callable[..., AbstractContextManager[None]]:
        return self._storage.map_errors


def _now() -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC).replace(microsecond=0)


def _limit(content: Content, upload: Upload, max_size: int | None) -> None:
    """See to it that no more comes than should."""
    reason = "the limit for an attachment" if upload.size is None else "what the upload lacks"
    most = max_size if upload.size is None else upload.size
    if most is not None:
        content.limit(most - upload.offset, reason)


def _keepable(metadata: str) -> str:
    """Return the note if an attachment can keep it."""
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
    assert upload.expires_at is not None  # noqa: S101 - only what is not finished has a record
    record = {
        "handle": upload.handle,
        "size": upload.size,
        "content_type": upload.content_type,
        "metadata": upload.metadata,
        "partial": upload.partial,
        "expires_at": upload.expires_at.isoformat(),
    }
    return json.dumps(record).encode()


def _decode(handle: str, record: bytes, offset: int) -> Upload:
    """Read a record; whose handle is another's is not there."""
    try:
        fields = json.loads(record)
        if fields.pop("handle") != handle:
            raise FileNotFoundError
        expires_at = datetime.datetime.fromisoformat(fields.pop("expires_at"))
        return Upload(handle=handle, offset=offset, expires_at=expires_at, **fields)
    except (ValueError, TypeError, KeyError, AttributeError):
        raise unreadable(handle) from None
