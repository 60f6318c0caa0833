"""The size of an image is checked by its header; no more is read, and nothing is decoded."""

from __future__ import annotations

import io
import itertools
import struct
import sys
import zlib
from typing import TYPE_CHECKING, Any

import pytest
from PIL import Image

from attach.checked import Upload, refusal, upload
from rex.attach import open_storage
from rex.attach.checks import image_size
from rex.core import Error, Kind

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rex.attach import Reader
    from rex.attach.content.reader import Body
    from rex.attach.storage import Storage

FORMS = ("PNG", "JPEG", "GIF", "WEBP", "TIFF", "BMP")
MAX_BYTES = 256 * 1024


def image(form: str, width: int = 40, height: int = 30, **options: Any) -> bytes:
    """Make an image whose pixels compress badly."""
    file = io.BytesIO()
    noise = Image.effect_noise((width, height), 100).convert("RGB")
    noise.save(file, form, **options)
    return file.getvalue()


def png(width: int, height: int) -> bytes:
    """Make the header of a PNG of any size, and nothing of its pixels."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return (
            struct.pack(">I", len(content))
            + kind
            + content
            + struct.pack(">I", zlib.crc32(kind + content))
        )

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", b"no pixels")


WEBP = {"lossy": {}, "lossless": {"lossless": True}, "extended": {"exif": b"Exif\0\0" + bytes(10)}}


@pytest.mark.parametrize(
    ("form", "options"),
    [*((form, {}) for form in FORMS), *(("WEBP", each) for each in WEBP.values())],
    ids=[*FORMS, *WEBP],
)
@pytest.mark.parametrize(
    ("limits", "words"),
    [
        ({"max_pixels": 1200, "max_width": 40, "max_height": 30}, "accepted"),
        ({"min_width": 40, "min_height": 30}, "accepted"),
        ({"max_pixels": 1199}, "must have at most 1199 pixels"),
        ({"max_width": 39}, "must have at most 39 pixels wide"),
        ({"max_height": 29}, "must have at most 29 pixels high"),
        ({"min_width": 41}, "must have at least 41 pixels wide"),
        ({"min_height": 31}, "must have at least 31 pixels high"),
    ],
)
def test_a_size_outside_the_limits_is_refused(
    form: str, options: dict[str, Any], limits: dict[str, int], words: str
) -> None:
    """In each format, and the words say by what."""
    assert words in refusal(image_size(**limits), upload(image(form, **options)))


class Counting(Upload):
    """An upload that counts the bytes that are read from the backend."""

    def __init__(self, storage: Storage, handle: str) -> None:
        super().__init__(storage, handle)
        self.read = 0

    def open(self) -> Reader:
        """Open the content, and count."""
        reader = super().open()
        stream = reader.stream
        take = stream.readinto

        def readinto(buffer: Any) -> int:
            size = take(buffer)
            self.read += size
            return size

        stream.readinto = readinto  # type: ignore[method-assign]
        return reader


@pytest.mark.parametrize("form", FORMS)
def test_only_the_header_is_read(form: str) -> None:
    """Of an image of megabytes; the directory of a TIFF may be at its end."""
    content = image(form, 1500, 1500)
    assert len(content) > 2 * MAX_BYTES
    with open_storage("memory:") as storage:
        counting = Counting(storage, storage.add("a", content))
        assert "accepted" == refusal(image_size(max_pixels=1500 * 1500), counting)
    assert 0 < counting.read <= MAX_BYTES


@pytest.mark.parametrize("size", [(60_000, 60_000), (2**31 - 1, 2**31 - 1), (100_000, 1000)])
def test_a_decompression_bomb_is_refused_by_its_header(size: tuple[int, int]) -> None:
    """Nothing of it is decoded: it has no pixels that could be."""
    assert "not accepted" in refusal(image_size(max_pixels=1_000_000), upload(png(*size)))


def jpeg_with_endless_header() -> bytes:
    """Make a JPEG whose size comes after megabytes of comments."""
    comments = b"".join(b"\xff\xfe" + struct.pack(">H", 65535) + bytes(65533) for _ in range(64))
    content = image("JPEG")
    return content[:2] + comments + content[2:]


def tiff_that_seeks() -> bytes:
    """Make a TIFF whose tags are all over the file."""
    count = 200
    tags = b"".join(
        struct.pack("<HHII", 256 + number, 4, 64, 1 << 20 | number << 17) for number in range(count)
    )
    return b"II*\0\x08\0\0\0" + struct.pack("<H", count) + tags + bytes(4 + (28 << 20))


@pytest.mark.parametrize("make", [jpeg_with_endless_header, tiff_that_seeks])
def test_a_header_without_end_is_given_up(make: Any) -> None:
    """After 256 KiB, a seek counting as a request."""
    with open_storage("memory:") as storage:
        counting = Counting(storage, storage.add("a", make()))
        assert "not an image" in refusal(image_size(), counting)
    assert counting.read <= MAX_BYTES + 128 * 1024


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"x",
        b"hello, this is no image",
        b"<svg xmlns='http://www.w3.org/2000/svg' width='1' height='1'/>",
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n",
        b"RIFF\x20\0\0\0WEBPVP8X",
        b"RIFF\x20\0\0\0WEBPVP9 " + bytes(20),
        *(image(form)[:10] for form in FORMS),
    ],
)
def test_what_is_no_image_is_refused(content: bytes) -> None:
    """Also what is cut off, and formats that need more than their header."""
    assert "must be PNG, JPEG, GIF, WebP, TIFF or BMP" in refusal(image_size(), upload(content))


@pytest.mark.parametrize("form", FORMS)
def test_damaged_headers_are_refused_or_measured(form: str) -> None:
    """Whatever byte is changed, the check neither fails nor hangs."""
    content = image(form, 4, 4)[:200]
    for place, value in itertools.product(range(len(content)), (0, 0x7F, 0xFF)):
        damaged = content[:place] + bytes([value]) + content[place + 1 :]
        refusal(image_size(max_pixels=100), upload(damaged))


def test_a_failure_of_the_storage_is_not_a_refusal() -> None:
    """Pillow would call it a file that is no image."""
    with open_storage("memory:") as storage:
        handle = storage.add("a.png", image("PNG", 500, 500))
        failing = Upload(storage, handle)

        def chunks() -> Iterator[bytes]:
            yield png(500, 500)[:40]  # the header ends later
            raise Error("The disk is gone", kind=Kind.DENIED)

        def get(key: str, start: int, end: int | None) -> Body:
            return right(key, start, end)._replace(chunks=chunks())

        right = storage._get
        storage._get = get  # type: ignore[method-assign]
        with pytest.raises(Error) as caught:
            image_size()(failing)
    assert Kind.DENIED is caught.value.kind


def test_a_missing_library_is_named_when_the_check_is_made(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """And not when the first upload comes."""
    monkeypatch.setitem(sys.modules, "PIL.Image", None)
    with pytest.raises(Error, match="Pillow") as caught:
        image_size()
    assert (Kind.CONFIGURATION, "missing-package") == (caught.value.kind, caught.value.code)
