"""The storage: the operations that applications call.

The guarantees of every backend are implemented here, once: an ill-formed handle never reaches the
backend, limits hold, and every failure is an `Error` with a kind.
"""

from __future__ import annotations

import dataclasses
import datetime  # noqa: TC003 - resolved at run time
import functools
import os  # noqa: TC003 - resolved at run time
from collections.abc import Iterable, Iterator, Sequence  # noqa: TC003 - resolved at run time
from contextlib import suppress
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
from rex.attach.owner import owner_of
from rex.attach.storage.arguments import (
    MAX_POSITION,
    check_position,
    choose_first_end,
    choose_limit,
    choose_media_type,
    choose_window,
    make_content,
    parse_day,
)
from rex.attach.storage.error_map import ErrorMap
from rex.attach.storage.hooks import Hooks, StoredUpload, UploadRequest
from rex.attach.storage.options import StorageOptions, UploadMethod
from rex.attach.telemetry.operation import INFO, Operation, report_bytes
from rex.core import Error, Kind, Secret
from rex.core.secret import reveal

if TYPE_CHECKING:
    from rex.attach.backend.garbage import Garbage
    from rex.attach.links.token import TokenSigner
    from rex.attach.storage.aio import AsyncStorage
    from rex.attach.storage.archive import Archive, Archives
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
    `docs/project/writing-a-storage.md`. `storage.aio` has the same operations as coroutines.
    """

    prefix = ""
    """The prefix of every key on the server."""

    def __init__(self, **options: Unpack[StorageOptions]) -> None:
        """Set the options of every backend: see `StorageOptions`."""
        self.max_size = options.get("max_size")
        self.link_expires = options.get("link_expires", 3600)
        self.link_window = options.get("link_window")
        self.upload_expires = options.get("upload_expires", 7 * 24 * 3600)
        self.max_uploads = options.get("max_uploads", 1000)
        self.url = options.get("url")
        self.sendfile = options.get("sendfile")
        self.cdn = options.get("cdn")
        self._public_url = options.get("public_url")
        secret = options.get("secret")
        self._secret = None if secret is None else Secret(str(reveal(secret)))
        self.hooks = Hooks(
            on_begin=options.get("on_begin"),
            on_complete=options.get("on_complete"),
            on_stored=options.get("on_stored"),
            on_removed=options.get("on_removed"),
        )

    # Operations.

    @final
    def add(
        self,
        name: str | UploadRequest | None,
        content: ContentSource,
        *,
        content_type: str | None = None,
        digest: str | None = None,
        owner: object = None,
        notify: bool = True,
    ) -> str:
        """Store an attachment; return its handle once it is durable.

        `name` is the file name, which is sanitised first; None means ``attachment``. `content` is
        a string (stored as UTF-8), bytes, a file open in binary mode (read from its position to
        its end, not closed), or an iterable of bytes. `content_type` defaults to the type of the
        name; a text type gets a charset if the content is a string. `digest` is the expected
        SHA-256 in hexadecimal: bytes with a different digest are not stored. `owner` is as in
        `reserve`. A `name` from `begin` has the type, the limit and the owner too.

        The hooks of the application take part: ``on_begin``, ``on_complete``, ``on_stored``. With
        `notify` false the last two are not called; call `notify` before the attachment counts.

        When this operation raises, it leaves nothing in the storage (except that a server that
        becomes unreachable may keep what it received, and that an attachment stays after a failure
        of ``on_stored``, since the application may know it).

        Errors: `ILL_FORMED` (name, content, type, digest or owner); `TOO_LARGE`; `CORRUPT` for a
        different digest, or a file that shrank while it was read; `REFUSED` by a hook; `INTERNAL`
        if a hook fails; those of `reserve`. Exceptions raised by `content` propagate unchanged.
        """
        with Operation("add", self, None, INFO) as op:
            begun = self._begun(name, content_type, owner)
            handle = op.handle = begun.handle
            limit = choose_limit(begun.max_size, self.max_size)
            op.content = make_content(content, limit, digest)
            media_type = choose_media_type(_name(handle), content, begun.content_type)
            self._add(handle, op.content, media_type)
            if notify and self.hooks.notifies:
                self.notify(handle, owner=begun.owner, is_new=True)
            return handle

    @final
    def put(
        self,
        handle: str,
        content: ContentSource,
        *,
        content_type: str | None = None,
        digest: str | None = None,
        owner: object = None,
        idempotent: bool = True,
        notify: bool = True,
    ) -> None:
        """Store the attachment of a reserved handle: see `add`.

        An attachment never changes: if it exists already, nothing is stored. If the existing
        attachment has the same bytes and content type, `put` succeeds nevertheless, so that a
        caller can retry after a timeout, a lost response or a killed process; with `idempotent`
        false, it raises `EXISTS`. If several callers put different bytes concurrently, exactly one
        succeeds, provided that the server supports conditional writes (`docs/how-to/operations.md`,
        servers). After any error but `EXISTS` and `REFUSED`, the attachment may or may not be
        stored; it is never stored partially, and an existing attachment is never removed.

        The hooks ``on_complete`` and ``on_stored`` take part with `owner`, also if the attachment
        existed; an attachment that existed is not removed if they refuse it.

        Errors: those of `add`, and `EXISTS`.
        """
        with Operation("put", self, handle, INFO) as op:
            key = key_of(handle)
            stored = op.content = self._content(content, digest)
            media_type = choose_media_type(_name(handle), content, content_type)
            is_new = True
            try:
                with self.map_errors(handle, stored):
                    self._put(key, stored, media_type)
            except Error as error:
                is_same = idempotent and error.kind is Kind.EXISTS
                if not is_same or not self._is_stored(handle, stored, media_type):
                    raise
                is_new = False
            if notify and self.hooks.notifies:
                self.notify(handle, owner=owner, is_new=is_new, is_known=True)

    @final
    def begin(
        self,
        name: str | None,
        *,
        content_type: str | None = None,
        size: int | None = None,
        owner: object = None,
    ) -> UploadRequest:
        """Begin an upload, as each door of the service does: call ``on_begin``, reserve a handle.

        Nothing is stored. Pass the result to `add`, `uploads.create` or `uploads.join` in place of
        the name, or its handle, type and limit to `upload_link`.

        Errors: `REFUSED` by the hook; `INTERNAL` if it fails; `TOO_LARGE` for a size over its
        limit; `ILL_FORMED`; those of `reserve`.
        """
        request = UploadRequest(
            name=name, content_type=content_type, size=size, max_size=self.max_size, owner=owner
        )
        if self.hooks.begins:
            request = self.hooks.begin(request)
        limit = choose_limit(request.max_size, self.max_size)
        if limit is not None and size is not None and size > limit:
            raise Error("Attachment is too large", f"more than {limit} bytes", kind=Kind.TOO_LARGE)
        return UploadRequest(
            name=request.name,
            content_type=request.content_type,
            size=size,
            max_size=limit,
            owner=request.owner,
            handle=self._new_handle(request.name, request.owner),
        )

    @final
    def notify(
        self, *handles: str, owner: object = None, is_new: bool = False, is_known: bool = False
    ) -> list[Info]:
        """Notify the application of stored attachments; return their metadata.

        Calls ``on_complete`` for all, then ``on_stored`` for all. Both may have been called for
        them before. If ``on_complete`` refuses one, or fails, and they are new (no call before this
        one can have called the hooks for them), all are removed. With `is_known`, they stay after
        a failure, since the client knows the handles and repeats the request.

        Errors: `NOT_FOUND`; `REFUSED`; `INTERNAL` if a hook fails.
        """
        try:
            uploads = [self._accept(self.info(handle), owner) for handle in handles]
        except Error as error:
            if is_new and (error.kind is Kind.REFUSED or not is_known):
                for handle in handles:
                    with suppress(Error):  # another error is reported
                        self.remove(handle, notify=False)
            raise
        for upload in uploads:
            self.hooks.stored(upload)
        return [upload.info for upload in uploads]

    def _accept(self, info: Info, owner: object) -> StoredUpload:
        """Call ``on_complete`` for a stored attachment."""
        upload = StoredUpload(info=info, owner=owner, opener=self.open)
        self.hooks.complete(upload)
        return upload

    @final
    def claim(self, claimed: str, *, owner: object = None) -> Info:
        """Return the metadata of an uploaded attachment to its owner; notify the application.

        `claimed` is what a client presents: a handle that was made for the owner (`reserve`), or
        a receipt (`receipt`). The bytes must be there, at most as many as the receipt allows. The
        hooks ``on_complete`` and ``on_stored`` are called as for any upload. A client may repeat
        the claim and gets the same result; the application gets the same handle.

        An attachment that is refused here is not removed, since the application may have accepted
        it before: it is an orphan, unless the application refers to it.

        Errors: `DENIED` for another owner's handle or receipt, and for a receipt that is forged,
        expired, or of another application; `NOT_FOUND` if the bytes never came; `TOO_LARGE`;
        `REFUSED`; `INTERNAL` if a hook fails; `ILL_FORMED`.
        """
        with Operation("claim", self) as op:
            from rex.attach.storage.receipt import read_receipt

            receipt = read_receipt(self, claimed, owner)
            op.handle = receipt.handle
            limit = choose_limit(receipt.max_size, self.max_size)
            info = self.info(receipt.handle)
            if limit is not None and info.size > limit:
                reason = f"{receipt.handle}: {info.size} bytes, more than {limit}"
                raise Error("Attachment is too large", reason, kind=Kind.TOO_LARGE)
            self.hooks.stored(self._accept(info, owner))
            return info

    @final
    def receipt(
        self,
        handle: str,
        *,
        owner: object = None,
        max_size: int | None = None,
        expires: float | datetime.timedelta | None = None,
    ) -> str:
        """Return a signed text with which `claim` recognises an upload to a reserved handle.

        Only `owner` can claim it; without `owner`, every client that has the receipt can. It does
        not reveal the owner. `max_size` is in bytes. The receipt outlasts a link of `expires`
        seconds (or a timedelta) by the lifetime of an upload (setting attach_upload_expires).

        Errors: `ILL_FORMED`; `CONFIGURATION` if the storage has no secret (setting attach_secret).
        """
        from rex.attach.storage.receipt import make_receipt

        key_of(handle)
        limit = choose_limit(max_size, self.max_size)
        seconds = link_seconds(self.link_expires if expires is None else expires)
        return make_receipt(self, handle, owner, limit, seconds)

    @final
    def reserve(self, name: str | None, *, owner: object = None) -> str:
        """Make a handle for an attachment to be stored later, or uploaded with a link.

        Nothing is stored. `owner` is a user of the application: a string, a number, a UUID, or an
        object that has an identity (`rex.attach.owner`). `is_owned_by` recognises the handle as
        that user's; the handle does not reveal the owner.

        Errors: `ILL_FORMED` if `name` is neither a string nor None, or for an owner without an
        identity; `CONFIGURATION` for an owner if the storage has no secret (setting attach_secret).
        """
        return self._new_handle(name, owner)

    @final
    def is_owned_by(self, handle: str, owner: object) -> bool:
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
    def key_of_handle(self, handle: str) -> str:
        """Return the key under which a server or directory has the attachment of a handle.

        The key is the handle without its first slash, after the prefix of the storage, if any. The
        attachment need not exist. Errors: `ILL_FORMED`.
        """
        return f"{self.prefix}{key_of(handle)}"

    @final
    def handle_of_key(self, key: str) -> str:
        """Return the handle of a key: the inverse of `key_of_handle`.

        The key is not decoded. The event notifications of S3 servers have URL-encoded keys, which
        may look like the key of a different attachment: decode them first.

        Errors: `ILL_FORMED` for a key that is not an attachment's, or that lacks the prefix.
        """
        is_ours = isinstance(key, str) and key.startswith(self.prefix)
        handle = handle_of(key.removeprefix(self.prefix)) if is_ours else None
        if handle is None:
            raise Error("Not the key of an attachment", show(key), kind=Kind.ILL_FORMED)
        return handle

    @final
    def open(
        self,
        handle: str,
        *,
        start: int = 0,
        length: int | None = None,
        request_size: int | None = None,
    ) -> Reader:
        """Open an attachment for reading, as a seekable binary file.

        The file is positioned at `start`, in bytes; earlier bytes are not requested unless the
        caller seeks back. A position past the end reads no bytes. With `length`, reading ends
        after that many bytes, which are fetched in one request; a length past the end means the
        rest. Without `length`, the first request is for the rest, or for 64 KiB if the name is
        that of a format that libraries read at random (zip, Parquet, images: see
        `rex.attach.content.formats`). After a seek, requests cover the bytes that are read. With
        `request_size`, no request to a server is for more than that many bytes, unless more are
        read at once: so that a reader that pauses holds little memory.

        Errors, raised here and not by the first read: `NOT_FOUND`, `ILL_FORMED`.
        """
        with Operation("open", self, handle) as op:
            key = key_of(handle)
            check_position("start", start)
            if length is not None:
                check_position("length", length)
            if request_size is not None:
                check_position("request_size", request_size)
            end = choose_first_end(_name(handle), start, length, request_size)
            errors = self.map_errors(handle)
            with errors:
                body = self._get_body(key, start, end)
            info = _info(handle, body.metadata)
            op.size = info.size
            fetch = functools.partial(self._get, key)
            stream = Stream(info, body, fetch, errors, start=start, length=length)
            stream.request_limit = request_size
            return Reader(stream)

    @final
    def zip(self, handles: Iterable[str], *, missing: Iterable[str] = ()) -> Archive:
        """Return a ZIP archive of attachments, whose length is known before its bytes are read.

        The attachments are stored without compression, in the order of the handles, under their
        file names; ``photo.png`` is followed by ``photo (2).png``. A handle given twice counts
        once. Those that do not exist, and the handles in `missing`, are named in the last entry,
        ``missing.txt``, a handle in each line, sorted.

        The metadata of all is read here; their bytes arrive as the caller iterates. An attachment
        that is removed or changed meanwhile ends the iteration with an error. Needs the extra
        ``zip``.

        Errors: `ILL_FORMED`; `TOO_LARGE` for more than 10,000 attachments; `CONFIGURATION` if the
        extra is not installed.
        """
        return self._archives.make(handles, missing)

    @final
    @functools.cached_property
    def _archives(self) -> Archives:
        from rex.attach.storage.archive import Archives

        return Archives(self)

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
    def remove(self, handle: str, *, notify: bool = True) -> None:
        """Remove an attachment permanently.

        The hook ``on_removed`` is called first, unless `notify` is false: a process that dies in
        between leaves an orphan, and the application never refers to an attachment that is gone.

        Errors: `NOT_FOUND`, `ILL_FORMED`; `REFUSED` by the hook; `INTERNAL` if the hook fails.

        A bucket with versioning keeps the bytes as a noncurrent version until a lifecycle rule
        removes that version.
        """
        with Operation("remove", self, handle, INFO), self.map_errors(handle):
            key = key_of(handle)
            if notify and self.hooks.notifies_removed:
                self._head(key)
                self.hooks.removed(handle)
            self._delete(key)

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
        format is that of the server, on S3 that of PutBucketLifecycleConfiguration.

        Errors: `UNSUPPORTED` without a bucket.
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
        owner: object = None,
    ) -> PresignedLink:
        """Create a link that allows uploading to a reserved handle.

        With ``POST`` the client sends a form: the link's `fields`, then the part ``file``. The
        form is limited to `max_size` bytes, or the storage's own limit. With ``PUT`` the client
        sends the bytes with the link's `headers`; the link works once, and can limit the size on
        Google Cloud Storage only.
        The client must send `content_type`, by default the type of the name. `expires` is in
        seconds (or a timedelta), at most 7 days. With `owner`, the link has a `receipt`.

        Errors: `ILL_FORMED`; `UNSUPPORTED` if the storage cannot sign links, and for a size limit
        with ``PUT`` if its links cannot have one; those of `receipt`.
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
            links = self.abilities.links
            if method == "PUT" and limit is not None and not (links and links.limits_put):
                raise Error(
                    "A PUT link cannot limit the size of an upload",
                    f"use a POST link for at most {limit} bytes",
                    kind=Kind.UNSUPPORTED,
                    code="unlimited-link",
                )
            media_type = content_type_for(name, content_type)
            seconds = link_seconds(self.link_expires if expires is None else expires)
            links = require(links, "links")
            if method == "PUT":
                link = links.put(key, media_type, limit, seconds)
            else:
                link = links.post(key, media_type, limit, seconds)
            if owner is None:
                return link
            receipt = self.receipt(handle, owner=owner, max_size=limit, expires=seconds)
            return dataclasses.replace(link, receipt=receipt)

    @final
    def download_link(
        self,
        handle: str,
        *,
        filename: str | None = None,
        inline: bool = False,
        expires: float | datetime.timedelta | None = None,
        window: float | datetime.timedelta | None = None,
    ) -> PresignedLink:
        """Create a link that allows downloading an attachment, without checking that it exists.

        The file is downloaded as `filename`, by default the name in the handle. With `inline`, a
        browser may show the file if its type cannot carry a script (by the name in the handle:
        images but SVG, audio, video, PDF, plain text); any other type is downloaded nevertheless.
        `expires` is in seconds (or a timedelta), at most 7 days.

        With `window`, in seconds (or a timedelta), all calls within a window return the same link,
        so that browsers can cache the file. Such a link lasts up to `window` less than `expires`,
        never longer. With 0, each link is new. The default is the storage's own window, for links
        that last longer than it.

        Errors: `ILL_FORMED`, also for a window that is not shorter than the link's duration;
        `UNSUPPORTED` if the storage cannot sign links.
        """
        with Operation("download_link", self, handle), self.map_errors(handle):
            shown = _shown(handle, filename, inline=inline)
            seconds = link_seconds(self.link_expires if expires is None else expires)
            chosen = choose_window(window, self.link_window, seconds)
            return require(self.abilities.links, "links").get(*shown, seconds, chosen)

    @final
    def download_links(
        self,
        handles: Iterable[str],
        *,
        inline: bool = False,
        expires: float | datetime.timedelta | None = None,
        window: float | datetime.timedelta | None = None,
    ) -> Sequence[PresignedLink]:
        """Create a link for each handle, in their order, as `download_link` does.

        For a page with many attachments: one call, and in coroutines one thread.

        Errors: those of `download_link`.
        """
        with Operation("download_links", self), self.map_errors(None):
            shown = [_shown(handle, None, inline=inline) for handle in handles]
            seconds = link_seconds(self.link_expires if expires is None else expires)
            chosen = choose_window(window, self.link_window, seconds)
            sign = require(self.abilities.links, "links").get
            return [sign(*each, seconds, chosen) for each in shown]

    @final
    def public_url(self, handle: str) -> str:
        """Return the address of an attachment that needs no permission, below `public_url`.

        Every client that knows it can read the attachment, for ever, unless the server below the
        setting attach_public_url decides otherwise, as CloudFront does by cookies.

        Errors: `ILL_FORMED`; `UNSUPPORTED` without the setting.
        """
        from rex.attach.links.sigv4 import encode_path

        if self._public_url is None:
            raise Error(
                "This storage has no public address",
                "set attach_public_url",
                kind=Kind.UNSUPPORTED,
                code="no-public-url",
            )
        return f"{self._public_url.rstrip('/')}/{encode_path(self.key_of_handle(handle))}"

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
        """The optional abilities of the backend; download links lead to the CDN, if one is set."""
        abilities = self._abilities()
        if self.cdn is None:
            return abilities
        from rex.attach.backend.cdn_links import CdnLinks

        links = CdnLinks(require(abilities.links, "links"), self.cdn, self.prefix)
        return dataclasses.replace(abilities, links=links)

    @final
    @functools.cached_property
    def uploads(self) -> Uploads:
        """Resumable uploads. Errors: `UNSUPPORTED` if the backend does not have them."""
        from rex.attach.storage.resumable import Uploads

        return Uploads(self, require(self.abilities.resumable, "resumable"))

    @final
    @functools.cached_property
    def multipart(self) -> MultipartUploads:
        """Multipart uploads. Errors: `UNSUPPORTED` if the backend does not have them."""
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
        aio, archives = self.__dict__.pop("aio", None), self.__dict__.pop("_archives", None)
        if aio is not None:
            aio.stop()
        if archives is not None:
            archives.close()

    @final
    def __enter__(self) -> Self:
        return self

    @final
    def __exit__(self, *exc_info: object) -> None:
        self.close()

    @final
    def __copy__(self) -> Self:
        """Return the storage itself: it is a place, and a copy would be the same place."""
        return self

    @final
    def __deepcopy__(self, _: object) -> Self:
        """Return the storage itself, as `copy.copy` does."""
        return self

    def __reduce__(self) -> tuple[object, ...]:
        """Return how to open the same place in another process; backends implement it.

        The pickle of a storage has its settings, secrets included. Errors: `UNSUPPORTED`.
        """
        raise Error(
            "This storage cannot be pickled",
            f"{self!r}: open it in each process",
            kind=Kind.UNSUPPORTED,
        )

    def _restorable(self, *arguments: object, **more: object) -> tuple[object, ...]:
        """Return the value of `__reduce__` for a constructor with these arguments and options."""
        options = StorageOptions(
            max_size=self.max_size,
            link_expires=self.link_expires,
            link_window=self.link_window,
            upload_expires=self.upload_expires,
            max_uploads=self.max_uploads,
            url=self.url,
            sendfile=self.sendfile,
            cdn=self.cdn,
            public_url=self._public_url,
            secret=self._secret,
        )
        return _restore, (type(self), arguments, {**more, **options, **self.hooks.given})

    # Shared by the operations.

    def _content(self, content: ContentSource, digest: str | None = None) -> Content:
        return make_content(content, self.max_size, digest)

    def _begun(
        self, name: str | UploadRequest | None, content_type: str | None, owner: object
    ) -> UploadRequest:
        """Return an upload that `begin` returned, or begin one."""
        if isinstance(name, UploadRequest):
            key_of(name.handle)
            return name
        return self.begin(name, content_type=content_type, owner=owner)

    def _new_handle(self, name: str | None, owner: object) -> str:
        return make_handle(name, None if owner is None else functools.partial(self._mark, owner))

    def _mark(self, owner: object, place: bytes) -> bytes:
        """Compute the mark of an owner in a handle (`make_handle`)."""
        identity = owner_of(owner)  # checked first, also by a storage without a secret
        return self.tokens.mac("owner", identity, place)[:MARK_BYTES]

    def _add(self, handle: str, content: Content, media_type: str) -> None:
        """Store content under a new handle."""
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


def _restore(cls: type[Storage], arguments: Sequence[Any], options: dict[str, Any]) -> Storage:
    return cls(*arguments, **options)


def _name(handle: str) -> str:
    """Return the file name in a well-formed handle."""
    return handle.rpartition("/")[2]


def _shown(handle: str, filename: str | None, *, inline: bool) -> tuple[str, str, str | None]:
    """Return the key, the disposition and the content type of a download link."""
    key = key_of(handle)
    name = _name(handle)
    shown_name = name if filename is None else safe_file_name(filename)
    if not inline or not is_inline_type(media_type := content_type_for(name)):
        return key, disposition(shown_name), None
    return key, disposition(shown_name, inline=True), text_type(media_type)


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
