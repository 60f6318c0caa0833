"""What all object servers have in common: attachments through obstore."""

from __future__ import annotations

import abc
import base64
import os
import re
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Literal, TypeVar, Unpack

import obstore
import obstore.exceptions

from rex.attach.content import READ_SIZE
from rex.attach.content_type import DEFAULT_TYPE, coding_of, disposition
from rex.attach.failures import Meaning
from rex.attach.info import Metadata
from rex.attach.multipart import MAX_PARTS
from rex.attach.reader import Body
from rex.attach.storage import Storage, StorageOptions
from rex.attach.storages.feeding import feed
from rex.attach.storages.s3_codes import S3_CODES
from rex.core import Error, Kind

if TYPE_CHECKING:
    import datetime
    from collections.abc import Iterator

    from obstore import GetOptions
    from obstore.store import ObjectStore

    from rex.attach.content import Content

__all__ = [
    "PARTS_IN_FLIGHT",
    "PART_SIZE",
    "ObjectStorage",
    "Runtime",
    "digest_metadata",
    "etag_of",
    "note_metadata",
    "object_headers",
    "part_size",
]

T = TypeVar("T")

MIB = 1024 * 1024
PART_SIZE = 8 * MIB
"""Up to this many bytes are sent in one request; more, in parts of at least this size."""
PARTS_IN_FLIGHT = 4
MAX_PREFIX_BYTES = 700
"""S3 takes keys of 1,024 bytes, and a handle has up to 305."""

_DIGEST = "sha256"
_NOTE = "note"

_VAGUE = Meaning(Kind.UNAVAILABLE, "The server does not answer as it should")

_BY_CLASS: dict[type[Exception], Meaning] = {
    obstore.exceptions.AlreadyExistsError: Meaning(Kind.EXISTS, "Attachment exists already"),
    obstore.exceptions.PreconditionError: Meaning(Kind.EXISTS, "Attachment exists already"),
    obstore.exceptions.NotFoundError: Meaning(Kind.NOT_FOUND, "Attachment does not exist"),
    obstore.exceptions.PermissionDeniedError: S3_CODES["AccessDenied"],
    obstore.exceptions.UnauthenticatedError: Meaning(
        Kind.DENIED, "The server does not accept our keys"
    ),
    obstore.exceptions.NotSupportedError: S3_CODES["NotImplemented"],
    obstore.exceptions.InvalidPathError: Meaning(
        Kind.ILL_FORMED, "The server cannot hold such a key"
    ),
    obstore.exceptions.NotModifiedError: Meaning(Kind.CORRUPT, "The server gave no content"),
    obstore.exceptions.JoinError: Meaning(Kind.UNAVAILABLE, "The request was cut off"),
    obstore.exceptions.UnknownConfigurationKeyError: Meaning(
        Kind.CONFIGURATION, "The server is configured wrongly"
    ),
    obstore.exceptions.GenericError: _VAGUE,
    obstore.exceptions.BaseError: _VAGUE,
}


def object_headers(key: str, content_type: str) -> dict[str, str]:
    """Return the headers that are stored with every object, however it gets there.

    The coding ``identity`` means that the bytes are as they are. Without it, a client that uploads
    by a link could add another, and a browser would see other bytes than we do.
    """
    return {
        "Content-Type": content_type,
        "Content-Disposition": disposition(key.rpartition("/")[2]),
        "Content-Encoding": "identity",
        "Cache-Control": "private, no-cache",
    }


def note_metadata(note: str) -> dict[str, str]:
    """Return the metadata of an object that record a note: a header takes no other characters."""
    return {_NOTE: base64.b64encode(note.encode()).decode()} if note else {}


class Runtime:
    """Whether obstore can be used in this process.

    Its threads start with the first request. A child forked after that has none of them, so each
    request in it would wait for ever; nothing can start them anew.
    """

    started = False
    lost = False

    @classmethod
    def enter(cls) -> None:
        """Note that it is used; raise `UNSUPPORTED` where it cannot be."""
        if cls.lost:
            raise Error(
                "The storage was used before this process was forked, and cannot be used here",
                "use it first after the fork, or start processes with 'spawn' or 'forkserver'",
                kind=Kind.UNSUPPORTED,
                code="forked",
            )
        cls.started = True

    @classmethod
    def watch(cls, items: Iterator[T]) -> Iterator[T]:
        """Give what obstore gives, until the process is forked."""
        cls.enter()
        for item in items:
            yield item
            cls.enter()

    @classmethod
    def forked(cls) -> None:
        """Note that this process is a child of one that may have used it."""
        cls.lost = cls.started


os.register_at_fork(after_in_child=Runtime.forked)


class ObjectStorage(Storage):
    """Attachments on an object server, each under its key behind a prefix.

    A small attachment is one request, and so is opening one. A large one is sent in parts, a few
    at a time, and what was sent is aborted when it fails.
    """

    def __init__(self, *, prefix: str, **options: Unpack[StorageOptions]) -> None:
        super().__init__(**options)
        self.prefix = _checked_prefix(prefix)
        self._made: ObjectStore | None = None

    @abc.abstractmethod
    def _make_store(self) -> ObjectStore:
        """Make obstore's client for this server."""

    def close(self) -> None:
        """Let go of the connections; they end when what still reads from them does."""
        super().close()
        self._made = None

    def _path(self, key: str) -> str:
        return f"{self.prefix}{key}"

    def _store(self) -> ObjectStore:
        Runtime.enter()
        if self._made is None:
            self._made = self._make_store()
        return self._made

    def _put(self, key: str, content: Content, content_type: str) -> None:
        whole = self._whole(content)
        if whole is not None:
            self._put_whole(key, whole, content, content_type, mode="create")
            return
        # Not every server makes completing an upload conditional, so ask before.
        if self._exists(key):
            raise FileExistsError
        self._put_large(key, content, content_type)

    @abc.abstractmethod
    def _put_large(self, key: str, content: Content, content_type: str) -> None:
        """Store content of more than one request under a new key that others may know.

        As `_put`: where another object is there in the end, it must stay as it is.
        """

    def _put_new(self, key: str, content: Content, content_type: str) -> None:
        # Without a condition, which costs servers time.
        whole = self._whole(content)
        if whole is None:
            self._put_parts(key, content, content_type)
        else:
            self._put_whole(key, whole, content, content_type, mode="overwrite")

    def _whole(self, content: Content) -> bytes | None:
        """Give all of the content if it is sent in one request."""
        content.limit(part_size(content) * MAX_PARTS, "the most that fits into its parts")
        return content.whole(PART_SIZE)

    def _put_whole(
        self,
        key: str,
        whole: bytes,
        content: Content,
        content_type: str,
        *,
        mode: Literal["create", "overwrite"],
    ) -> None:
        attributes: Any = {
            **object_headers(key, content_type),
            **note_metadata(content.note),
            _DIGEST: content.digest,
        }
        obstore.put(
            self._store(),
            self._path(key),
            whole,
            attributes=attributes,
            mode=mode,
            use_multipart=False,
        )

    def _put_parts(self, key: str, content: Content, content_type: str) -> None:
        attributes: Any = object_headers(key, content_type) | note_metadata(content.note)
        if content.known_digest is not None:  # any other comes out too late to be recorded
            attributes[_DIGEST] = content.known_digest
        content.skip_digest()
        store = self._store()
        feed(
            content,
            lambda chunks: obstore.put(
                store,
                self._path(key),
                chunks,
                attributes=attributes,
                use_multipart=True,
                chunk_size=part_size(content),
                max_concurrency=PARTS_IN_FLIGHT,
            ),
        )
        try:
            self._check_stored(key, content.size)
        except BaseException:
            with suppress(Exception):  # under a key that was just made, it is this very object
                obstore.delete(self._store(), self._path(key))
            raise

    def _check_stored(self, key: str, size: int) -> None:
        stored = self._head(key).size
        if stored != size:
            raise Error(
                "The server did not store all of the attachment",
                f"/{key}: {stored} of {size} bytes",
                kind=Kind.CORRUPT,
            )

    def _get(self, key: str, start: int, end: int | None) -> Body:
        options: GetOptions = {}
        if end is not None:
            options = {"range": (start, end)}
        elif start:
            options = {"range": {"offset": start}}
        result = obstore.get(self._store(), self._path(key), options=options)
        return Body(_metadata(result), Runtime.watch(iter(result.stream(READ_SIZE))), end)

    def _head(self, key: str) -> Metadata:
        return _metadata(obstore.get(self._store(), self._path(key), options={"head": True}))

    def _exists(self, key: str) -> bool:
        try:
            self._head(key)
        except FileNotFoundError:
            return False
        return True

    def _delete(self, key: str) -> None:
        # The server answers the same whether there was an object or not.
        self._head(key)
        obstore.delete(self._store(), self._path(key))

    def _list(self, day: datetime.date | None, after: str | None) -> Iterator[str]:
        folder = self.prefix if day is None else self._path(day.isoformat().replace("-", "/"))
        pages = obstore.list(
            self._store(),
            folder.rstrip("/") or None,
            offset=None if after is None else self._path(after),
        )
        for page in Runtime.watch(pages):
            for meta in page:
                key = meta["path"].removeprefix(self.prefix)
                if after is None or key > after:  # not every server begins where it is asked to
                    yield key

    def _translated(self, failure: Exception, handle: str | None) -> Error | None:
        if isinstance(failure, FileNotFoundError) and "<Code>NoSuchBucket</Code>" in str(failure):
            # For obstore, a missing bucket is a missing object.
            failure = obstore.exceptions.GenericError(str(failure))
        return super()._translated(failure, handle)

    def _explain(self, failure: Exception) -> Meaning | None:
        code = re.search(r"<Code>(\w+)</Code>", str(failure))
        if code is not None and code[1] in S3_CODES:
            return S3_CODES[code[1]]  # which says more than the class of the exception
        for known in type(failure).__mro__:
            if known in _BY_CLASS:
                meaning = _BY_CLASS[known]
                is_vague = meaning.kind is Kind.UNAVAILABLE
                return meaning.because(_reason(failure)) if is_vague else meaning
        return super()._explain(failure)


def _reason(failure: Exception) -> str:
    """Give what obstore says of a request that failed, without what it says for programmers."""
    reason = str(failure).partition("\n")[0].partition("Debug source")[0].strip()
    return reason[:300] if reason.isprintable() else ""


def part_size(content: Content) -> int:
    """Return the size of parts with which the content fits into as many as there may be."""
    parts_of_a_mib = -(-(content.known_size or 0) // (MAX_PARTS * MIB))
    return max(PART_SIZE, parts_of_a_mib * MIB)


def _metadata(result: Any) -> Metadata:
    attributes = result.attributes
    meta = result.meta
    return Metadata(
        size=meta["size"],
        modified=meta["last_modified"],
        content_type=attributes.get("Content-Type", DEFAULT_TYPE),
        etag=etag_of(meta),
        digest=_digest_of(attributes.get(_DIGEST)),
        content_encoding=coding_of(attributes.get("Content-Encoding")),
        note=_recorded_note(attributes.get(_NOTE, "")),
    )


def etag_of(meta: Any) -> str:
    """Return the ETag of an object, which every object server names; a stray page has none."""
    etag = meta["e_tag"]
    if not etag:
        raise obstore.exceptions.GenericError("an answer without an ETag")
    return str(etag)


def _digest_of(recorded: str | None) -> str | None:
    """Return a SHA-256; others may have recorded something else under its name."""
    return recorded if recorded and re.fullmatch("[0-9a-f]{64}", recorded) else None


def digest_metadata(digest: str | None) -> dict[str, str]:
    """Return the metadata of an object that record its SHA-256, where it is known beforehand."""
    return {} if digest is None else {_DIGEST: digest}


def _recorded_note(given: str) -> str:
    """Return the note in an object's metadata, unless another program wrote something else."""
    try:
        return base64.b64decode(given, validate=True).decode()
    except ValueError:
        return ""


def _checked_prefix(prefix: str) -> str:
    """Give the prefix with its slash at the end, or none at all."""
    folders = prefix.strip("/").split("/")
    if folders == [""]:
        return ""
    # A form upload would replace ${filename}; some servers take a backslash for a slash.
    well_formed = (
        prefix.isprintable()
        and not re.search(r"\$\{|\\", prefix)
        and len(prefix.encode()) <= MAX_PREFIX_BYTES
    )
    if not well_formed or any(folder in ("", ".", "..") for folder in folders):
        raise Error(
            "Ill-formed prefix",
            ascii(prefix),
            kind=Kind.CONFIGURATION,
            code="wrong-setting",
            setting="attach_s3_prefix",
        )
    return "/".join(folders) + "/"
