"""Files that a browser can show, made here: images, a PDF, sound, a video."""

from __future__ import annotations

import base64
import struct
import zlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from playwright.sync_api import Page

SECOND = 1000

_FRAME = """
async (number) => {
  const canvas = new OffscreenCanvas(1280, 720)
  const pixels = new Uint32Array(1280 * 720).map((_, at) => Math.imul(at + number, 2654435761))
  const image = new ImageData(new Uint8ClampedArray(pixels.buffer), 1280, 720)
  canvas.getContext('2d').putImageData(image, 0, 0)
  const blob = await canvas.convertToBlob({ type: 'image/webp', quality: 0.95 })
  const bytes = new Uint8Array(await blob.arrayBuffer())
  return btoa(Array.from(bytes, (byte) => String.fromCharCode(byte)).join(''))
}
"""
"""A frame of noise, so that the video is large."""


def png(width: int, height: int, *, noise: int = 1) -> bytes:
    """Make an image (PNG) of a pattern."""
    rows = b"".join(
        b"\0" + b"".join(bytes((x * noise & 255, y & 255, (x ^ y) & 255)) for x in range(width))
        for y in range(height)
    )
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in chunks
    )


def pdf(text: str) -> bytes:
    """Make a page with a line of text (PDF 1.4; readers mend the missing table)."""
    drawn = f"BT /F1 24 Tf 40 100 Td ({text}) Tj ET".encode()
    return b"""%%PDF-1.4
1 0 obj<</Type/Catalog/Pages 2 0 R>>endobj
2 0 obj<</Type/Pages/Kids[3 0 R]/Count 1>>endobj
3 0 obj<</Type/Page/Parent 2 0 R/MediaBox[0 0 300 200]/Contents 4 0 R
/Resources<</Font<</F1 5 0 R>>>>>>endobj
4 0 obj<</Length %d>>stream
%s
endstream endobj
5 0 obj<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>endobj
trailer<</Root 1 0 R>>
""" % (len(drawn), drawn)


def wav(seconds: int) -> bytes:
    """Make a sound (WAV)."""
    rate = 8000
    sound = bytes((number * 7) % 200 for number in range(rate)) * seconds
    form = struct.pack("<IHHIIHH", 16, 1, 1, rate, rate, 1, 8)
    data = b"WAVEfmt " + form + b"data" + struct.pack("<I", len(sound)) + sound
    return b"RIFF" + struct.pack("<I", len(data)) + data


def webm(images: list[bytes], width: int, height: int) -> bytes:
    """Make a video (WebM) of lossy WebP images, a second each, with an index for seeking.

    A lossy WebP image is a key frame of VP8 in a RIFF container.
    """
    frames = [image[image.index(b"VP8 ") + 8 :] for image in images]
    video = _element(0xE0, _number(0xB0, width) + _number(0xBA, height))
    track = _number(0xD7, 1) + _number(0x73C5, 1) + _number(0x83, 1) + _element(0x86, b"V_VP8")
    tracks = _element(0x1654AE6B, _element(0xAE, track + video))
    length = struct.pack(">d", float(len(frames) * SECOND))
    about = _number(0x2AD7B1, 1_000_000) + _element(0x4489, length)
    about += _element(0x4D80, b"tests") + _element(0x5741, b"tests")
    head = _element(0x1549A966, about) + tracks
    clusters = [
        _element(
            0x1F43B675,
            _number(0xE7, number * SECOND) + _element(0xA3, b"\x81\x00\x00\x80" + frame),
        )
        for number, frame in enumerate(frames)
    ]
    place, cues = len(head) + len(_cues([0] * len(frames))), []
    for cluster in clusters:
        cues.append(place)
        place += len(cluster)
    body = head + _cues(cues) + b"".join(clusters)
    kind = _number(0x4286, 1) + _number(0x42F7, 1) + _number(0x42F2, 4) + _number(0x42F3, 8)
    kind += _element(0x4282, b"webm") + _number(0x4287, 2) + _number(0x4285, 2)
    return _element(0x1A45DFA3, kind) + _element(0x18538067, body)


def frames(page: Page, count: int) -> list[bytes]:
    """Draw frames of a video in a page, 1280 wide and 720 high."""
    return [base64.b64decode(page.evaluate(_FRAME, number)) for number in range(count)]


def _cues(places: list[int]) -> bytes:
    """Say where in the segment each second begins; as long whatever the places are."""
    points = (
        _element(
            0xBB,
            _number(0xB3, number * SECOND)
            + _element(0xB7, _number(0xF7, 1) + _element(0xF1, struct.pack(">Q", place))),
        )
        for number, place in enumerate(places)
    )
    return _element(0x1C53BB6B, b"".join(points))


def _element(kind: int, content: bytes) -> bytes:
    """Make an element of EBML (RFC 8794); its length takes eight bytes."""
    name = kind.to_bytes((kind.bit_length() + 7) // 8, "big")
    return name + (len(content) | 1 << 56).to_bytes(8, "big") + content


def _number(kind: int, value: int) -> bytes:
    return _element(kind, value.to_bytes(max(1, (value.bit_length() + 7) // 8), "big"))
