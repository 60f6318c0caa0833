"""A check of the type of the content, which libmagic finds out from the bytes."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from rex.attach.checks.check import missing_package, refuse
from rex.attach.content.media_type import DEFAULT_TYPE, content_type_for, essence
from rex.core import Error, Kind

if TYPE_CHECKING:
    import io
    from collections.abc import Callable

    from rex.attach.checks.check import Check, CheckedUpload

__all__ = ["content_type"]

HEAD_BYTES = 64 * 1024
TAIL_BYTES = 64 * 1024
"""The end of a zip file, with the names of its members; documents have few of them."""

_EMPTY = "application/x-empty"
_ZIP = "application/zip"
_OFFICE = "application/vnd.openxmlformats-officedocument"
_OFFICE_MEMBERS = {
    b"word/document.xml": f"{_OFFICE}.wordprocessingml.document",
    b"xl/workbook.xml": f"{_OFFICE}.spreadsheetml.sheet",
    b"ppt/presentation.xml": f"{_OFFICE}.presentationml.presentation",
}

_FAMILIES = (
    {_ZIP, "application/x-zip-compressed", "application/java-archive"},
    {_ZIP, "application/vnd.google-earth.kmz", "application/vnd.comicbook+zip"},
    {"application/gzip", "application/x-compressed-tar", "application/x-gtar-compressed"},
    {"application/vnd.rar", "application/x-rar", "application/x-rar-compressed"},
    {"application/ogg", "audio/ogg", "video/ogg"},
    {"application/rtf", "text/rtf"},
    {"application/vnd.ms-excel", "text/csv"},  # as browsers on Windows name CSV
    {"audio/mp4", "video/mp4", "video/x-m4v", "video/3gpp", "audio/3gpp"},
    {"audio/webm", "video/webm", "video/x-matroska", "audio/x-matroska"},
    {"image/heic", "image/heif", "image/heic-sequence", "image/heif-sequence"},
    {"image/vnd.microsoft.icon", "image/x-icon"},
    {
        "application/cdfv2",
        "application/msword",
        "application/vnd.ms-excel",
        "application/vnd.ms-outlook",
        "application/vnd.ms-powerpoint",
        "application/x-ole-storage",
    },
)
"""Names of one format, or of formats that their first bytes cannot distinguish."""

_TEXTS = {"application/javascript", "application/json", "application/x-ndjson", "message/rfc822"}
_PAGES = {"text/html", "text/xml"}
"""Texts that a browser would not show as plain text."""


def content_type(*allowed: str) -> Check:
    """Return a check that accepts content of these types: ``image/png``, or ``image/*`` for all.

    libmagic determines the type from the first 64 KiB (of a zip file also the last). The check
    refuses content of other types, and content that contradicts the upload's content type: a page
    called image/png. Content that libmagic cannot identify is accepted only if
    ``application/octet-stream`` is allowed. A text may have any text type, except that HTML and XML
    must be declared as such.

    Errors, raised here: `ILL_FORMED` for a malformed type; `CONFIGURATION` if the extra ``checks``
    or the library libmagic is not installed. Errors of the check: `REFUSED`, with the code
    ``type-refused``.
    """
    detect = _detector()
    accepted = [essence(content_type_for("", each)) for each in allowed]
    if not accepted:
        raise Error("content_type needs at least one type", kind=Kind.ILL_FORMED)

    def check(upload: CheckedUpload) -> None:
        declared = essence(upload.info.content_type)
        with upload.open() as file:
            detected = _detect(file, upload.info.size, detect)
        if declared == DEFAULT_TYPE:
            declared = detected
        if not _agree(declared, detected):
            unknown = detected == DEFAULT_TYPE and DEFAULT_TYPE in accepted
            if not unknown:
                raise _contradiction(declared, detected)
        elif not any(_is_accepted(each, accepted) for each in _names(declared, detected)):
            raise refuse(
                "Files of this type are not accepted",
                f"{declared}; accepted: {', '.join(accepted)}",
                code="type-refused",
            )

    return check


def _contradiction(declared: str, detected: str) -> Error:
    shown = {DEFAULT_TYPE: "not known", _EMPTY: "empty"}.get(detected, detected)
    return refuse(
        "The content of the file does not match its type",
        f"the type is {declared}, the content is {shown}",
        code="type-refused",
    )


def _detector() -> Callable[[bytes], str]:
    try:
        import magic
    except ImportError as missing:
        raise missing_package(
            "content_type needs python-magic and the system's libmagic (Debian: libmagic1)", missing
        ) from None
    detect: Callable[[bytes], str] = magic.Magic(mime=True).from_buffer
    return detect


def _detect(file: io.BufferedReader, size: int, detect: Callable[[bytes], str]) -> str:
    """Return the type of the content, without parameters."""
    if size <= 1:  # libmagic does not try
        return _EMPTY
    found = essence(content_type_for("", detect(file.read(HEAD_BYTES)) or DEFAULT_TYPE))
    if found != _ZIP:
        return found
    # libmagic expects the members of a document in the order in which Word writes them.
    file.seek(max(size - TAIL_BYTES, 0), os.SEEK_SET)
    end = file.read(TAIL_BYTES)
    is_office = b"[Content_Types].xml" in end
    members = (name for name in _OFFICE_MEMBERS if is_office and name in end)
    return _OFFICE_MEMBERS.get(next(members, b""), _ZIP)


def _agree(declared: str, detected: str) -> bool:
    """Return whether content of the detected type may have the declared type."""
    if _short(declared) == _short(detected):
        return True
    if any({declared, detected} <= family for family in _FAMILIES):
        return True
    if detected == "text/xml":
        return declared.endswith(("/xml", "+xml"))
    is_text = detected in _TEXTS or detected == _EMPTY or detected.startswith("text/")
    return is_text and detected not in _PAGES and _is_text(declared)


def _is_text(declared: str) -> bool:
    is_structured = declared.endswith(("/xml", "+xml", "+json", "/yaml"))
    return declared.startswith("text/") or declared in _TEXTS or is_structured


def _names(declared: str, detected: str) -> tuple[str, ...]:
    """Return the types of which one must be allowed."""
    is_plain = declared == detected and detected.startswith("text/") and detected not in _PAGES
    return (declared, detected, "text/plain") if is_plain else (declared, detected)


def _short(name: str) -> str:
    return name.replace("/x-", "/", 1)


def _is_accepted(name: str, accepted: list[str]) -> bool:
    return name in accepted or f"{name.partition('/')[0]}/*" in accepted
