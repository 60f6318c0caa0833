"""The content type and the disposition of an attachment (RFC 9110, RFC 6266, RFC 8187)."""

from __future__ import annotations

import functools
import re

from rex.attach.handle import shown
from rex.core import Error, Kind

__all__ = ["INLINE_TYPES", "content_type_for", "disposition", "is_inline_type"]

DEFAULT_TYPE = "application/octet-stream"

INLINE_TYPES = frozenset(
    {
        "application/pdf",
        "audio/aac",
        "audio/flac",
        "audio/mp4",
        "audio/mpeg",
        "audio/ogg",
        "audio/wav",
        "audio/webm",
        "image/avif",
        "image/bmp",
        "image/gif",
        "image/jpeg",
        "image/png",
        "image/webp",
        "text/plain",
        "video/mp4",
        "video/ogg",
        "video/webm",
    }
)
"""The types that a browser may show in place: none of them can carry a script that runs as ours."""

# The standard library's own table varies with the version and lacks these.
_MORE_TYPES = {
    ".7z": "application/x-7z-compressed",
    ".aac": "audio/aac",
    ".avif": "image/avif",
    ".bmp": "image/bmp",
    ".dcm": "application/dicom",
    ".docx": "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
    ".flac": "audio/flac",
    ".gz": "application/gzip",
    ".heic": "image/heic",
    ".jpg": "image/jpeg",
    ".js": "text/javascript",
    ".m4a": "audio/mp4",
    ".md": "text/markdown",
    ".odp": "application/vnd.oasis.opendocument.presentation",
    ".ods": "application/vnd.oasis.opendocument.spreadsheet",
    ".odt": "application/vnd.oasis.opendocument.text",
    ".oga": "audio/ogg",
    ".ogg": "audio/ogg",
    ".ogv": "video/ogg",
    ".opus": "audio/ogg",
    ".pptx": "application/vnd.openxmlformats-officedocument.presentationml.presentation",
    ".rtf": "application/rtf",
    ".wav": "audio/wav",
    ".weba": "audio/webm",
    ".webm": "video/webm",
    ".webp": "image/webp",
    ".xls": "application/vnd.ms-excel",
    ".xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    ".zst": "application/zstd",
}

_TOKEN = r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"  # noqa: S105 - the grammar of RFC 9110, no secret
_CONTENT_TYPE = re.compile(
    rf'{_TOKEN}/{_TOKEN}(?:[ ]*;(?:[ ]*{_TOKEN}=(?:{_TOKEN}|"(?:[ !#-\[\]-~]|\\[ -~])*"))?)*',
    re.ASCII,
)
_MAX_TYPE_LENGTH = 255


def content_type_for(name: str, given: str | None = None) -> str:
    """Give the content type of a file: the one given, or else what its name suggests.

    The suggestion depends on the name alone, not on the machine, and is
    ``application/octet-stream`` when the name suggests nothing.

    Errors: `ILL_FORMED` when the type given is not one by RFC 9110, section 8.3.1.
    """
    if given is None:
        return _guess(name.rpartition(".")[2].lower()) if "." in name else DEFAULT_TYPE
    well_formed = isinstance(given, str) and len(given) <= _MAX_TYPE_LENGTH
    if not well_formed or not _CONTENT_TYPE.fullmatch(given):
        raise Error("Ill-formed content type", shown(given), kind=Kind.ILL_FORMED)
    return given


def is_inline_type(content_type: str) -> bool:
    """Tell whether a browser may show this type in place."""
    return content_type.partition(";")[0].strip().lower() in INLINE_TYPES


def disposition(name: str, *, inline: bool = False) -> str:
    """Give the value of ``Content-Disposition`` that keeps the name of the file.

    A plain name stands in ``filename``; any other also in ``filename*`` (RFC 8187), which browsers
    prefer, with its closest plain form in ``filename`` for those that do not know it (RFC 6266).
    """
    kind = "inline" if inline else "attachment"
    plain = re.sub(r'[^\x20-\x7e]|["\\%]', "_", name)
    if plain == name:
        return f'{kind}; filename="{name}"'
    from urllib.parse import quote

    encoded = quote(name, safe="!#$&+-.^_`|~")
    return f"{kind}; filename=\"{plain}\"; filename*=UTF-8''{encoded}"


@functools.cache
def _types() -> dict[str, str]:
    import mimetypes

    return mimetypes.MimeTypes().types_map[True] | _MORE_TYPES


@functools.lru_cache(maxsize=256)
def _guess(extension: str) -> str:
    return _types().get(f".{extension}", DEFAULT_TYPE)
