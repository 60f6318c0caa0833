"""A check of the size of an image, which Pillow reads from the header of the file."""

from __future__ import annotations

import io
import struct
from typing import TYPE_CHECKING

from rex.attach.checks.check import missing_package, refuse

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

    from rex.attach.checks.check import Check, CheckedUpload

__all__ = ["image_size"]

FORMATS = ("PNG", "JPEG", "GIF", "TIFF", "BMP")
"""The formats whose size Pillow reads from the header; it would read all of an AVIF."""
READ_BYTES = 16 * 1024
SEEK_BYTES = 64 * 1024
"""The least that an attachment on a server requests after a seek."""
MAX_BYTES = 256 * 1024
WEBP_BYTES = 30


def image_size(
    *,
    max_pixels: int | None = None,
    max_width: int | None = None,
    max_height: int | None = None,
    min_width: int = 1,
    min_height: int = 1,
) -> Check:
    """Return a check that accepts images of a width and height within these limits, in pixels.

    The image may be PNG, JPEG, GIF, WebP, TIFF or BMP; anything else is refused. Only the header
    is read, at most 256 KiB, and no pixels are decoded, so a decompression bomb does no harm: limit
    `max_pixels`, width times height, to what decoding may cost later. The size is that of the first
    frame or page, and the limits of Pillow (``Image.MAX_IMAGE_PIXELS``, twice) hold as well.

    Errors, raised here: `CONFIGURATION` if the extra ``checks`` is not installed. Errors of the
    check: `REFUSED`, with the code ``image-refused``.
    """
    _import_pillow()

    def check(upload: CheckedUpload) -> None:
        with upload.open() as file:
            width, height = _size(file)
        limits = (
            (
                max_pixels is not None and width * height > max_pixels,
                f"at most {max_pixels} pixels",
            ),
            (max_width is not None and width > max_width, f"at most {max_width} pixels wide"),
            (max_height is not None and height > max_height, f"at most {max_height} pixels high"),
            (width < min_width, f"at least {min_width} pixels wide"),
            (height < min_height, f"at least {min_height} pixels high"),
        )
        for is_wrong, words in limits:
            if is_wrong:
                raise refuse(
                    "The image has a size that is not accepted",
                    f"it has {width} x {height} pixels, and must have {words}",
                    code="image-refused",
                )

    return check


def _size(file: io.BufferedReader) -> tuple[int, int]:
    from PIL import Image

    found = _webp_size(file.read(WEBP_BYTES))
    if found is not None:
        return found
    file.seek(0)
    header = _Header(file)
    try:
        with Image.open(io.BufferedReader(header, READ_BYTES), formats=FORMATS) as image:
            return image.size
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise refuse(
            "The image has a size that is not accepted",
            "it has too many pixels",
            code="image-refused",
        ) from None
    except Exception:  # noqa: BLE001 - the parsers of Pillow raise many kinds for hostile files
        if header.failure is not None:
            raise header.failure from None
        raise refuse(
            "The file is not an image that can be checked",
            "it must be PNG, JPEG, GIF, WebP, TIFF or BMP",
            code="image-refused",
        ) from None


def _webp_size(head: bytes) -> tuple[int, int] | None:
    """Return width and height in the header of a WebP file (RFC 9649), or None for another file."""
    if len(head) < WEBP_BYTES or head[:4] != b"RIFF" or head[8:12] != b"WEBP":
        return None
    match head[12:16]:
        case b"VP8X":
            width, height = (int.from_bytes(head[at : at + 3], "little") for at in (24, 27))
            return width + 1, height + 1
        case b"VP8L" if head[20] == 0x2F:  # noqa: PLR2004 - the signature of the format
            bits = int.from_bytes(head[21:25], "little")
            return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
        case b"VP8 " if head[23:26] == b"\x9d\x01\x2a":
            width, height = struct.unpack("<HH", head[26:30])
            return width & 0x3FFF, height & 0x3FFF
    return None


class _Header(io.RawIOBase):
    """The beginning of a file; reading ends with an error once the header is too long."""

    def __init__(self, file: io.BufferedReader) -> None:
        self._file = file
        self._left = MAX_BYTES
        self._end = 0
        self.failure: OSError | None = None
        """Why reading the attachment failed: Pillow may hide it."""

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        target = memoryview(buffer).cast("B")
        has_sought = self._file.tell() != self._end
        self._left -= max(len(target), SEEK_BYTES) if has_sought else len(target)
        if self._left < 0:
            raise OSError("the header of the image is too long")
        try:
            data = self._file.read(len(target))
        except OSError as failure:
            self.failure = failure
            raise
        target[: len(data)] = data
        self._end = self._file.tell()
        return len(data)


def _import_pillow() -> None:
    try:
        import PIL.Image  # noqa: F401
    except ImportError as missing:
        raise missing_package("image_size needs Pillow", missing) from None
