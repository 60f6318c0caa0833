"""A file that is in the storage before a form refers to it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.core.files.uploadedfile import UploadedFile

if TYPE_CHECKING:
    from rex.attach import Info, Reader
    from rex.attach.django.storage import AttachmentStorage

__all__ = ["StoredUpload"]


class StoredUpload(UploadedFile):  # type: ignore[type-arg]  # at run time it takes none
    """An uploaded file whose bytes are in the storage: they are requested when they are read.

    Saving it with a field of the same storage stores nothing.
    """

    def __init__(self, storage: AttachmentStorage, info: Info) -> None:
        self.storage = storage
        self.handle = info.handle
        self.dimensions: tuple[int, int] | None = None
        """Width and height of an image that was validated."""
        self.image: Any = None
        """The image, as Pillow has opened it for the validation."""
        self._reader: Reader | None = None
        super().__init__(None, info.name, info.content_type, info.size)

    @property
    def file(self) -> Any:
        """The attachment, opened when it is first read, and again after `close`."""
        if self._reader is None:
            self._reader = self.storage.rex.open(self.handle)
        return self._reader

    @file.setter
    def file(self, _: object) -> None:
        """Ignore the file that the constructor of the base class sets."""

    @property
    def closed(self) -> bool:
        """Whether the attachment is not open; reading opens the attachment."""
        return self._reader is None

    def open(self, mode: str | None = None, *_: object, **__: object) -> StoredUpload:
        """Go to the beginning; return the file itself."""
        if mode not in (None, "rb", "r"):
            raise ValueError("A stored upload can only be read")
        if self._reader is not None:
            self._reader.seek(0)
        return self

    def close(self) -> None:
        """Close the attachment; reading opens it again, at the beginning."""
        reader, self._reader = self._reader, None
        if reader is not None:
            reader.close()
