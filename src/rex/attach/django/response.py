"""The response with an attachment: byte ranges, conditions, HEAD, under WSGI and ASGI."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any, Self

from asgiref.sync import sync_to_async
from django.core.exceptions import ImproperlyConfigured, SuspiciousFileOperation
from django.core.files.storage import default_storage
from django.core.handlers.asgi import ASGIRequest
from django.db.models.fields.files import FieldFile
from django.http import Http404, StreamingHttpResponse

from rex.attach.content.media_type import content_type_for, disposition, is_inline_type, text_type
from rex.attach.django.storage import AttachmentStorage
from rex.attach.handle import handle_of, safe_file_name
from rex.attach.http.download import HEADERS, DownloadRequest, Presentation, open_download
from rex.core import Error, Kind

if TYPE_CHECKING:
    import datetime
    from collections.abc import AsyncIterator

    from django.core.files.storage import Storage
    from django.http import HttpRequest

    from rex.attach import Storage as RexStorage
    from rex.attach.http.download import Download

__all__ = ["AttachmentResponse"]

PARTIAL = 206
NOT_MODIFIED = 304


class AttachmentResponse(StreamingHttpResponse):
    """The response to a GET or HEAD of an attachment (RFC 9110), streamed from its storage.

    It has the statuses and headers of the service: 206 and 416 for ranges, 304 and 412 for
    conditions, and headers that keep a browser from running uploaded content. Under ASGI it is
    streamed asynchronously; no more than a chunk is in memory.
    """

    def __init__(
        self,
        request: HttpRequest,
        file: FieldFile | str,
        *,
        storage: Storage | None = None,
        inline: bool = True,
        filename: str | None = None,
        max_age: float | datetime.timedelta | None = None,
    ) -> None:
        """Open an attachment for a response.

        `file` is the file of a row, or a name or handle in `storage` (default: the default
        storage). With `inline`, a browser may display the attachment if its type cannot carry a
        script. The client's file gets the name `filename`, by default the name in the handle.
        Without `max_age`, clients ask again before they show the attachment from their cache; with
        it, in seconds (or a timedelta), their cache is valid that long.

        In a coroutine, use `acreate`. Errors: `Http404` if the attachment does not exist;
        `ImproperlyConfigured` if its storage is not of rex.attach; otherwise those of
        `rex.attach.Storage.open`.
        """
        rex, handle = _find(file, storage)
        shown = _presentation(handle, inline=inline, filename=filename, max_age=max_age)
        headers = {name: request.headers[name] for name in HEADERS if name in request.headers}
        asked = DownloadRequest(str(request.method), headers, shown)
        try:
            download = open_download(rex, handle, asked, inline=inline)
        except Error as error:
            if error.kind is Kind.NOT_FOUND:
                raise Http404("The attachment does not exist") from error
            raise
        is_async = isinstance(request, ASGIRequest)
        body = _AsyncBody(download, rex) if is_async else download
        super().__init__(body, status=download.status, headers=download.headers)
        if download.status == NOT_MODIFIED:
            del self["Content-Type"]  # Django's own
        elif "Content-Length" not in download.headers:  # a problem document
            self["Content-Length"] = str(sum(map(len, download)))

    @classmethod
    async def acreate(cls, request: HttpRequest, file: FieldFile | str, **options: Any) -> Self:
        """Open an attachment in a thread: the constructor for coroutines."""
        return await sync_to_async(cls)(request, file, **options)

    def has_header(self, header: str) -> bool:
        """Return whether a header is set; a byte range counts as encoded.

        `GZipMiddleware` would otherwise compress the bytes of a range, which then are not those
        that ``Content-Range`` says.
        """
        is_range = self.status_code == PARTIAL and header.lower() == "content-encoding"
        return is_range or super().has_header(header)

    __contains__ = has_header


def _find(file: FieldFile | str, storage: Storage | None) -> tuple[RexStorage, str]:
    """Return the storage and the handle of a file. Errors: `Http404` if there is none."""
    if isinstance(file, FieldFile):
        storage, file = file.storage, str(file.name or "")
    found = storage or default_storage
    if not isinstance(found, AttachmentStorage):
        raise ImproperlyConfigured(
            f"AttachmentResponse needs a file in a storage of rex.attach, not in {found!r}"
        )
    try:
        is_handle = file.startswith("/") and handle_of(file[1:]) is not None
        handle = file if is_handle else found.handle_of(file)
    except SuspiciousFileOperation:
        handle = None
    if handle is None:
        raise Http404("The attachment does not exist")
    return found.rex, handle


def _presentation(
    handle: str,
    *,
    inline: bool,
    filename: str | None,
    max_age: float | datetime.timedelta | None,
) -> Presentation | None:
    """Return the headers that the caller chose, or None to derive them from the attachment."""
    if filename is None and max_age is None:
        return None
    name = handle.rpartition("/")[2]
    media_type = content_type_for(name)
    inline = inline and is_inline_type(media_type)
    seconds = max_age if max_age is None or isinstance(max_age, int | float) else None
    if max_age is not None and seconds is None:
        seconds = max_age.total_seconds()  # type: ignore[union-attr]  # a timedelta
    return Presentation(
        disposition(safe_file_name(name if filename is None else filename), inline=inline),
        text_type(media_type) if inline else None,
        None if seconds is None else time.time() + seconds,
    )


class _AsyncBody:
    """The body of a response under ASGI: each chunk is read in a thread of the storage."""

    def __init__(self, download: Download, rex: RexStorage) -> None:
        self._download = download
        self._chunks = iter(download)
        self._rex = rex
        self._lock = threading.Lock()
        """Held by the reading thread, which continues after its task is cancelled."""

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while chunk := await self._rex.aio.run(self._read):
            yield chunk

    def _read(self) -> bytes:
        with self._lock:
            return next(self._chunks, b"")

    def close(self) -> None:
        """Close the attachment, also if the client left early."""
        with self._lock:
            self._download.close()
