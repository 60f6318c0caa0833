"""The content that Django gives: the file below its wrappers, rewound, or its chunks as bytes."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any, NamedTuple

from django.core.files.base import File
from django.core.files.uploadedfile import InMemoryUploadedFile

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rex.attach.content.content import ContentSource

__all__ = ["Source", "source_of"]

_PLAIN_CHUNKS = (File.chunks, InMemoryUploadedFile.chunks)


class Source(NamedTuple):
    """Content for `rex.attach.Storage.add`."""

    content: ContentSource
    is_text: bool
    """Whether the content is text, encoded as UTF-8."""
    size: int | None
    """Size in bytes, if known in advance."""


def source_of(content: File[Any]) -> Source:
    """Return the content of a file of Django; it is not closed.

    A binary file below it is passed on, since its size can be measured. A wrapper that has its own
    `chunks`, or text, is read by its chunks.
    """
    file = _below(content)
    if file is not None and not _is_text(file):
        return Source(file, False, _rewind(file))
    is_text = file is not None
    return Source(_encoded(content), is_text, None)


def _below(content: Any) -> Any:
    """Return the file below the wrappers of Django, or None if one has chunks of its own."""
    while isinstance(content, File):
        if type(content).chunks not in _PLAIN_CHUNKS:
            return None
        content = content.file
    return content if hasattr(content, "read") else None


def _is_text(file: Any) -> bool:
    return isinstance(file, io.TextIOBase) or hasattr(file, "encoding") or file.read(0) == ""


def _rewind(file: Any) -> int | None:
    """Rewind a file; return its size in bytes, or None if it is read from where it is."""
    try:
        size = file.seek(0, io.SEEK_END)
        file.seek(0)
    except (AttributeError, OSError):
        return None
    return size if isinstance(size, int) else None


def _encoded(content: File[Any]) -> Iterator[bytes]:
    for chunk in content.chunks():
        yield chunk.encode() if isinstance(chunk, str) else chunk
