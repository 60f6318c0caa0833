"""Names in the headers of form parts, as browsers and other clients encode them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from urllib.parse import unquote_to_bytes

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["file_name", "message_file_name", "unescape"]

# What browsers escape in names (HTML, "multipart/form-data encoding algorithm").
_ESCAPES = {"%22": '"', "%0D": "\r", "%0A": "\n"}

# RFC 2047, section 2: how .NET and mail libraries encode a name that is not ASCII.
_WORD = r"=\?[!-)+-<>@-~]+\?[BbQq]\?[!->@-~]*\?="
_WORDS = re.compile(rf"{_WORD}(?:[ \t]+{_WORD})*")

_CHARSETS = frozenset({"utf-8", "us-ascii", "iso-8859-1", "iso-8859-15", "windows-1252"})

# RFC 8187, section 3.2.1.
_EXTENDED = re.compile(r"(?P<charset>[A-Za-z0-9-]+)'[A-Za-z0-9-]*'(?P<value>[!-~]*)")


def file_name(parameters: Mapping[str, str]) -> str | None:
    """Return the file name in the parameters of Content-Disposition, or None.

    The file name is `filename`. An encoded word (RFC 2047), which users do not type, is decoded.
    `filename*` (RFC 8187), which a form must not have (RFC 7578, section 4.2), counts only together
    with an encoded word, since clients that send both mean the same name.
    """
    given = parameters.get("filename")
    if given is None:
        return None
    if not _WORDS.fullmatch(given):
        return unescape(given)
    extended = _decode_extended(parameters.get("filename*", ""))
    return _decode_words(given) if extended is None else extended


def message_file_name(parameters: Mapping[str, str]) -> str | None:
    """Return the file name in the Content-Disposition of a message (RFC 6266), or None.

    There, in contrast to a form, `filename*` is preferred.
    """
    extended = _decode_extended(parameters.get("filename*", ""))
    return parameters.get("filename") if extended is None else extended


def unescape(name: str) -> str:
    """Decode the escapes of quotes and line breaks in a name."""
    return re.sub("%(?:22|0[AD])", lambda match: _ESCAPES[match[0]], name)


def _decode_words(words: str) -> str:
    """Decode encoded words; words in an unknown charset are returned unchanged."""
    from email.errors import HeaderParseError
    from email.header import decode_header

    try:
        pieces = decode_header(words)
    except HeaderParseError:
        return words
    texts = [_text(piece, charset) for piece, charset in pieces if isinstance(piece, bytes)]
    return words if None in texts else "".join(filter(None, texts))


def _decode_extended(value: str) -> str | None:
    found = _EXTENDED.fullmatch(value)
    return None if found is None else _text(unquote_to_bytes(found["value"]), found["charset"])


def _text(encoded: bytes, charset: str | None) -> str | None:
    charset = (charset or "").lower()
    return encoded.decode(charset, "replace") if charset in _CHARSETS else None
