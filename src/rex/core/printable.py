"""Escaping of untrusted text for a terminal."""

from __future__ import annotations

__all__ = ["printable"]

_KEPT = "\u200c\u200d"
"""The joiners: some scripts and emoji need them, and terminals do not interpret them."""


def printable(text: str) -> str:
    r"""Return the text with characters escaped that a terminal might interpret or hide.

    Control and format characters, including line breaks, become ``\n``, ``\x1b``, ``\u202e``;
    bytes of a file name that are not UTF-8 become ``\xff``.
    """
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c in _KEPT else _escape(c) for c in text)


def _escape(char: str) -> str:
    if "\udc80" <= char <= "\udcff":  # `os.fsdecode` returns these for bytes that are not UTF-8
        return f"\\x{ord(char) - 0xDC00:02x}"
    return char.encode("unicode_escape").decode()
