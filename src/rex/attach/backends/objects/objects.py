"""The objects with a prefix on a server, accessed through obstore."""

from __future__ import annotations

import abc
import base64
import hashlib
import re
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Literal

from rex.attach.backend.failures import Meaning
from rex.attach.backend.multipart import MAX_PARTS
from rex.attach.backends.objects import native
from rex.attach.backends.objects.pump import feed
from rex.attach.backends.objects.requests import UNKNOWN
from rex.attach.content.content import READ_SIZE
from rex.attach.content.media_type import DEFAULT_TYPE, disposition, normalize_coding
from rex.attach.content.reader import Body
from rex.attach.info import Metadata
from rex.core import Error, Kind

if TYPE_CHECKING:
    from collections.abc import Iterator

    from obstore import GetOptions, GetResult
    from obstore.store import ObjectStore

    from rex.attach.content.content import Content

__all__ = [
    "PARTS_IN_FLIGHT",
    "PART_SIZE",
    "Objects",
    "code_of",
    "digest_metadata",
    "encode_upload_metadata",
    "explain_obstore",
    "object_headers",
    "part_size",
]

MIB = 1024 * 1024
PART_SIZE = 8 * MIB
"""The largest object to send in one request, and the smallest part of a multipart upload."""
PARTS_IN_FLIGHT = 4
MAX_PREFIX_BYTES = 700
"""S3 allows keys of up to 1,024 bytes, and a handle has up to 305."""

_DIGEST = "sha256"
_SHA256 = re.compile("[0-9a-f]{64}")
_UPLOAD_METADATA = "upload_metadata"

_BY_NAME = {
    "AlreadyExistsError": Meaning(Kind.EXISTS, "Attachment exists already"),
    "PreconditionError": Meaning(Kind.EXISTS, "Attachment exists already"),
    "NotFoundError": Meaning(Kind.NOT_FOUND, "Attachment does not exist"),
    "PermissionDeniedError": Meaning(Kind.DENIED, "The server denies access"),
    "UnauthenticatedError": Meaning(Kind.DENIED, "The server does not accept the credentials"),
    "NotSupportedError": Meaning(Kind.UNSUPPORTED, "The server does not support the operation"),
    "InvalidPathError": Meaning(Kind.ILL_FORMED, "The server does not accept the key"),
    "NotModifiedError": Meaning(Kind.CORRUPT, "The response has no content"),
    "JoinError": Meaning(Kind.UNAVAILABLE, "The request was interrupted"),
    "UnknownConfigurationKeyError": Meaning(
        Kind.CONFIGURATION, "The configuration of obstore has an unknown key"
    ),
    "GenericError": UNKNOWN,
    "BaseError": UNKNOWN,
}


def object_headers(key: str, content_type: str) -> dict[str, str]:
    """Return the headers to store with an object, also when a client uploads it by a link.

    The content coding ``identity`` means that the bytes are not encoded. Without this header, a
    client could add a different coding, and a browser would decode the bytes while we do not.
    """
    return {
        "Content-Type": content_type,
        "Content-Disposition": disposition(key.rpartition("/")[2]),
        "Content-Encoding": "identity",
        "Cache-Control": "private, no-cache",
    }


def encode_upload_metadata(upload_metadata: str) -> dict[str, str]:
    """Return the user metadata that records upload metadata, in Base64 as headers are ASCII."""
    if not upload_metadata:
        return {}
    return {_UPLOAD_METADATA: base64.b64encode(upload_metadata.encode()).decode()}


class Objects(abc.ABC):
    """Objects by key; the path of an object is the prefix and the key."""

    def __init__(self, prefix: str, *, setting: str) -> None:
        """Make no request yet; `setting` is the name of the setting that has the prefix."""
        self.prefix = _clean_prefix(prefix, setting)
        self._client: ObjectStore | None = None
        self._generation = 0

    @abc.abstractmethod
    def _connect(self) -> ObjectStore:
        """Create the client of obstore for the server."""

    @property
    def client(self) -> ObjectStore:
        """The client of obstore."""
        generation = native.enter()
        if self._client is None or self._generation != generation:
            self._client, self._generation = self._connect(), generation
        return self._client

    def close(self) -> None:
        """Release the connections; each closes once its last reader ends."""
        self._client = None

    def path(self, key: str) -> str:
        """Return the path of a key on the server."""
        return f"{self.prefix}{key}"

    # Objects by key; `FileNotFoundError` if the object does not exist.

    def head(self, key: str) -> Metadata:
        """Return the metadata of an object."""
        return self._describe(
            native.obstore.get(self.client, self.path(key), options={"head": True})
        )

    def _describe(self, result: GetResult) -> Metadata:
        """Return the metadata in a response; raise `FileNotFoundError` for a discarded object."""
        return _metadata(result)

    def exists(self, key: str) -> bool:
        """Return whether an object exists."""
        try:
            self.head(key)
        except FileNotFoundError:
            return False
        return True

    def get(self, key: str, start: int, end: int | None) -> Body:
        """Return an object and its bytes from `start` up to but excluding `end`."""
        options: GetOptions = {}
        if end is not None:
            options = {"range": (start, end)}
        elif start:
            options = {"range": {"offset": start}}
        result = native.obstore.get(self.client, self.path(key), options=options)
        return Body(self._describe(result), native.watch(iter(result.stream(READ_SIZE))), end)

    def put_whole(
        self,
        key: str,
        whole: bytes,
        content_type: str,
        *,
        digest: str,
        upload_metadata: str,
        mode: Literal["create", "overwrite"],
    ) -> None:
        """Store an object in one request, with its SHA-256 and upload metadata."""
        attributes: Any = {
            **object_headers(key, content_type),
            **encode_upload_metadata(upload_metadata),
            _DIGEST: digest,
        }
        native.obstore.put(
            self.client,
            self.path(key),
            whole,
            attributes=attributes,
            mode=mode,
            use_multipart=False,
        )

    def put_once(self, key: str, whole: bytes, content_type: str, upload_metadata: str) -> bool:
        """Store an object in one request; return whether it was not there.

        An earlier attempt with the same bytes may have stored it. Errors: that of `put_whole` if
        the object has other bytes.
        """
        digest = hashlib.sha256(whole).hexdigest()
        try:
            self.put_whole(
                key,
                whole,
                content_type,
                digest=digest,
                upload_metadata=upload_metadata,
                mode="create",
            )
        except (FileExistsError, native.obstore.exceptions.AlreadyExistsError):
            if self.head(key).digest != digest:
                raise
            return False
        return True

    def put_parts(self, key: str, content: Content, content_type: str) -> None:
        """Store content by a multipart upload, unconditionally; leave nothing after a failure."""
        attributes: Any = object_headers(key, content_type) | encode_upload_metadata(
            content.upload_metadata
        )
        if content.known_digest is not None:  # a computed digest would come too late
            attributes[_DIGEST] = content.known_digest
        content.skip_digest()
        client = self.client
        feed(
            content,
            lambda chunks: native.obstore.put(
                client,
                self.path(key),
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
            with suppress(Exception):  # the key is new, so the object is ours
                self.delete(self.path(key))
            raise

    def _check_stored(self, key: str, size: int) -> None:
        stored = self.head(key).size
        if stored != size:
            raise Error(
                "The server did not store all bytes of the attachment",
                f"/{key}: {stored} of {size} bytes",
                kind=Kind.CORRUPT,
            )

    # Small objects of the storage itself, by path.

    def read(self, path: str) -> bytes:
        """Return the bytes of an object."""
        result = native.obstore.get(self.client, path)
        _etag(result.meta)  # checks that the response is an object
        return bytes(result.bytes())

    def stream(self, path: str, chunk_size: int) -> Iterator[bytes]:
        """Yield the bytes of an object."""
        result = native.obstore.get(self.client, path)
        _etag(result.meta)
        yield from native.watch(iter(result.stream(chunk_size)))

    def write(self, path: str, data: bytes) -> None:
        """Store an object; replace an existing object."""
        native.obstore.put(self.client, path, data, use_multipart=False)

    def delete(self, path: str) -> None:
        """Remove an object, if it exists."""
        native.obstore.delete(self.client, path)


def code_of(failure: Exception) -> str:
    """Return the error code of the server in a failure, or an empty string."""
    found = re.search(r"<Code>(\w+)</Code>", str(failure))
    return "" if found is None else found[1]


def explain_obstore(failure: Exception) -> Meaning | None:
    """Return the meaning of an exception of obstore, or None for any other exception."""
    for known in type(failure).__mro__:
        # By their names: each copy of the library has exceptions of its own.
        if known.__module__ == "obstore.exceptions" and known.__name__ in _BY_NAME:
            meaning = _BY_NAME[known.__name__]
            is_vague = meaning.kind is Kind.UNAVAILABLE
            return meaning.because(_reason(failure)) if is_vague else meaning
    return None


def _reason(failure: Exception) -> str:
    """Return the message of obstore for a failed request, without its debug output."""
    reason = str(failure).partition("\n")[0].partition("Debug source")[0].strip()
    return reason[:300] if reason.isprintable() else ""


def part_size(content: Content) -> int:
    """Return a part size with which the content fits into `MAX_PARTS` parts."""
    parts_of_a_mib = -(-(content.known_size or 0) // (MAX_PARTS * MIB))
    return max(PART_SIZE, parts_of_a_mib * MIB)


def _metadata(result: Any) -> Metadata:
    attributes = result.attributes
    meta = result.meta
    return Metadata(
        size=meta["size"],
        modified=meta["last_modified"],
        content_type=attributes.get("Content-Type", DEFAULT_TYPE),
        etag=_etag(meta),
        digest=_digest_of(attributes.get(_DIGEST)),
        content_encoding=normalize_coding(attributes.get("Content-Encoding")),
        upload_metadata=_decode_upload_metadata(attributes.get(_UPLOAD_METADATA, "")),
    )


def _etag(meta: Any) -> str:
    """Return the ETag of an object; raise if it is missing, as in the page of a web server."""
    etag = meta["e_tag"]
    if not etag:
        raise native.obstore.exceptions.GenericError("the response has no ETag")
    return str(etag)


def _digest_of(recorded: str | None) -> str | None:
    """Return the recorded SHA-256; None if another program recorded something else."""
    return recorded if recorded and _SHA256.fullmatch(recorded) else None


def digest_metadata(digest: str | None) -> dict[str, str]:
    """Return the user metadata that records a SHA-256; empty for None."""
    return {} if digest is None else {_DIGEST: digest}


def _decode_upload_metadata(given: str) -> str:
    """Return the recorded upload metadata; empty if another program recorded something else."""
    if not given:  # almost always
        return ""
    try:
        return base64.b64decode(given, validate=True).decode()
    except ValueError:
        return ""


def _clean_prefix(prefix: str, setting: str) -> str:
    """Return the prefix with a slash at its end, or an empty string."""
    folders = prefix.strip("/").split("/")
    if folders == [""]:
        return ""
    # A form upload replaces ${filename}; some servers treat a backslash as a slash.
    well_formed = (
        prefix.isprintable()
        and not re.search(r"\$\{|\\", prefix)
        and len(prefix.encode()) <= MAX_PREFIX_BYTES
    )
    if not well_formed or any(folder in ("", ".", "..") for folder in folders):
        raise Error(
            f"The prefix must be a path of folders of at most {MAX_PREFIX_BYTES} bytes, without "
            "empty names, . and .., control characters, backslashes and ${",
            ascii(prefix),
            kind=Kind.CONFIGURATION,
            code="wrong-setting",
            setting=setting,
        )
    return "/".join(folders) + "/"
