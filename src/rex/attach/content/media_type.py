"""Content types and dispositions of attachments (RFC 9110, RFC 6266, RFC 8187)."""

from __future__ import annotations

import functools
import re

from rex.attach.handle import show
from rex.core import Error, Kind

__all__ = [
    "INLINE_TYPES",
    "content_type_for",
    "disposition",
    "essence",
    "is_inline_type",
    "normalize_coding",
    "text_type",
]

DEFAULT_TYPE = "application/octet-stream"
URLENCODED_TYPE = "application/x-www-form-urlencoded"
"""The type of a form without files, which curl sends by default."""

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
"""Types that browsers may display inline: none of them can run a script in our origin."""

# The table of the standard library depends on the Python version and lacks these.
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

# Other names of these types that browsers and other clients send.
_ALIASES = {
    "application/x-pdf": "application/pdf",
    "audio/m4a": "audio/mp4",
    "audio/mp3": "audio/mpeg",
    "audio/opus": "audio/ogg",
    "audio/vnd.wave": "audio/wav",
    "audio/wave": "audio/wav",
    "audio/x-aac": "audio/aac",
    "audio/x-flac": "audio/flac",
    "audio/x-m4a": "audio/mp4",
    "audio/x-mp3": "audio/mpeg",
    "audio/x-mpeg": "audio/mpeg",
    "audio/x-wav": "audio/wav",
    "image/jpg": "image/jpeg",
    "image/pjpeg": "image/jpeg",
    "image/x-bmp": "image/bmp",
    "image/x-ms-bmp": "image/bmp",
    "image/x-png": "image/png",
    "video/x-m4v": "video/mp4",
}

_BLANKS = " \t\r\n"
_TOKEN = r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"  # noqa: S105 - the grammar of RFC 9110, not a secret
_CONTENT_TYPE = re.compile(
    rf'{_TOKEN}/{_TOKEN}(?:[ ]*;(?:[ ]*{_TOKEN}=(?:{_TOKEN}|"(?:[ !#-\[\]-~]|\\[ -~])*"))?)*',
    re.ASCII,
)
# MIME Sniffing, section 4.4: one parameter, up to the next semicolon outside quotes.
_PARAMETER = re.compile(
    r';[ \t\r\n]*([^;=]*)(?:=(?:"((?:[^"\\]|\\.|\\\Z)*)(?:"[^;]*|\Z)|([^;]*)))?', re.DOTALL
)
_MAX_TYPE_LENGTH = 255


def content_type_for(name: str, given: str | None = None) -> str:
    """Return the given content type, normalised, or else a guess from the file name.

    The guess depends only on the name, not on the machine; it is ``application/octet-stream`` for
    an unknown extension. A given type that is well-formed (RFC 9110, section 8.3.1) is kept, except
    that aliases of inline types are replaced; any other is parsed and serialised as browsers do
    (MIME Sniffing, sections 4.4 and 4.5).

    Errors: `ILL_FORMED` if the given type is invalid or too long.
    """
    if given is None:
        return _guess(name.rpartition(".")[2].lower()) if "." in name else DEFAULT_TYPE
    is_short = isinstance(given, str) and len(given) <= _MAX_TYPE_LENGTH
    content_type = _normalize(given) if is_short else None
    if content_type is None:
        raise Error("Ill-formed content type", show(given), kind=Kind.ILL_FORMED)
    return content_type


def essence(content_type: str) -> str:
    """Return a type without its parameters, in lower case (MIME Sniffing, section 4.2)."""
    return content_type.partition(";")[0].strip(_BLANKS).lower()


def text_type(content_type: str) -> str:
    """Return the type of a text in UTF-8, with a charset if browsers would otherwise guess it."""
    if not essence(content_type).startswith("text/") or "charset" in _parameters(content_type):
        return content_type
    with_charset = f"{content_type.rstrip('; ')}; charset=utf-8"
    return with_charset if len(with_charset) <= _MAX_TYPE_LENGTH else content_type


def normalize_coding(content_encoding: str | None) -> str | None:
    """Return the content codings of a stored object, or None if there are none.

    Ignores an ill-formed value (RFC 9110, section 8.4), and ``aws-chunked``, which some S3 servers
    keep from a chunked transfer.
    """
    if content_encoding in (None, "identity"):  # almost always
        return None
    codings = [coding.strip(" \t") for coding in content_encoding.split(",")]
    if not all(re.fullmatch(_TOKEN, coding) for coding in codings):
        return None
    kept = [coding for coding in codings if coding.lower() not in ("identity", "aws-chunked")]
    return ", ".join(kept) or None


def is_inline_type(content_type: str) -> bool:
    """Check whether browsers may display this type inline."""
    named = essence(content_type)
    return _ALIASES.get(named, named) in INLINE_TYPES


@functools.lru_cache(maxsize=256)
def disposition(name: str, *, inline: bool = False) -> str:
    """Return the ``Content-Disposition`` for a file name (RFC 6266).

    An ASCII name is sent in ``filename``. Any other name is sent in ``filename*`` (RFC 8187), which
    browsers prefer, with an ASCII approximation in ``filename`` for other clients.
    """
    kind = "inline" if inline else "attachment"
    plain = re.sub(r'[^\x20-\x7e]|["\\%]', "_", name)
    if plain == name:
        return f'{kind}; filename="{name}"'
    from urllib.parse import quote

    encoded = quote(name, safe="!#$&+-.^_`|~")
    return f"{kind}; filename=\"{plain}\"; filename*=UTF-8''{encoded}"


@functools.lru_cache(maxsize=256)
def _normalize(given: str) -> str | None:
    """Return a type in the form in which it is stored, or None if it is invalid."""
    written = given if _CONTENT_TYPE.fullmatch(given) else _as_browsers_read(given)
    named, semicolon, parameters = written.partition(";")
    kept = f"{_ALIASES.get(essence(named), named)}{semicolon}{parameters}"
    return kept if len(kept) <= _MAX_TYPE_LENGTH and _CONTENT_TYPE.fullmatch(kept) else None


def _as_browsers_read(given: str) -> str:
    """Parse and serialise a type (MIME Sniffing, sections 4.4 and 4.5)."""
    parameters = _parameters(given.strip(_BLANKS)).items()
    return ";".join([essence(given), *(f"{name}={_quote(value)}" for name, value in parameters)])


def _parameters(content_type: str) -> dict[str, str]:
    """Parse the parameters of a type, without those that are ill-formed or not ASCII."""
    _, semicolon, rest = content_type.partition(";")
    parameters: dict[str, str] = {}
    for found in _PARAMETER.finditer(semicolon + rest):
        name, quoted, plain = found.groups()
        value = (plain or "").rstrip(_BLANKS) or None
        if quoted is not None:
            value = re.sub(r"\\(.)", r"\1", quoted, flags=re.DOTALL)
        if value is not None and re.fullmatch("[ -~]*", value) and re.fullmatch(_TOKEN, name):
            parameters.setdefault(name.lower(), value)
    return parameters


def _quote(value: str) -> str:
    if re.fullmatch(_TOKEN, value):
        return value
    return '"' + re.sub(r'(["\\])', r"\\\1", value) + '"'


@functools.cache
def _types() -> dict[str, str]:
    import mimetypes

    return mimetypes.MimeTypes().types_map[True] | _MORE_TYPES


@functools.lru_cache(maxsize=256)
def _guess(extension: str) -> str:
    return _types().get(f".{extension}", DEFAULT_TYPE)
