"""Text of others, made fit for a terminal."""

from __future__ import annotations

__all__ = ["printable"]

_KEPT = "\u200c\u200d"
"""The joiners, which some scripts and emoji need, and which no terminal obeys."""


def printable(text: str) -> str:
    r"""Return the text with everything escaped that a terminal might obey or hide.

    Control and format characters, line breaks among them, become ``\n``, ``\x1b``, ``\u202e``;
    bytes of a file name that are not UTF-8 become ``\xff``.
    """
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c in _KEPT else _escape(c) for c in text)


def _escape(char: str) -> str:
    if "\udc80" <= char <= "\udcff":  # as `os.fsdecode` reads what is not UTF-8
        return f"\\x{ord(char) - 0xDC00:02x}"
    return char.encode("unicode_escape").decode()
