"""The type of the content, as libmagic finds it, against what is allowed and what is declared."""

from __future__ import annotations

import gzip
import io
import sys
import wave
import zipfile
from ctypes.util import find_library
from typing import TYPE_CHECKING

import pytest
from PIL import Image

from attach.checked import refusal, upload
from rex.attach.checks import all_of, content_type
from rex.core import Error, Kind

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

LEFT_OUT = () if find_library("magic") else ("checks of content types (needs libmagic)",)

OFFICE = "application/vnd.openxmlformats-officedocument"
DOCX, XLSX = f"{OFFICE}.wordprocessingml.document", f"{OFFICE}.spreadsheetml.sheet"
PPTX = f"{OFFICE}.presentationml.presentation"
ODT = "application/vnd.oasis.opendocument.text"
UNKNOWN = "application/octet-stream"


def image(form: str) -> bytes:
    """Make a small image."""
    file = io.BytesIO()
    Image.new("RGB", (8, 8), "red").save(file, form)
    return file.getvalue()


def archive(*names: str, stored: str = "") -> bytes:
    """Make a zip file with these members, the first one of them perhaps not compressed."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as made:
        if stored:
            made.writestr("mimetype", stored, zipfile.ZIP_STORED)
        for name in names:
            made.writestr(name, f"<{name}/>" * 50)
    return file.getvalue()


def box(kind: bytes, content: bytes) -> bytes:
    """Make a box of the ISO base media format."""
    return (len(content) + 8).to_bytes(4) + kind + content


def iso(brands: bytes) -> bytes:
    """Make the beginning of a file of that format."""
    return box(b"ftyp", brands) + box(b"meta", bytes(100))


def sound() -> bytes:
    """Make a WAV file."""
    file = io.BytesIO()
    with wave.open(file, "wb") as made:
        made.setnchannels(1)
        made.setsampwidth(2)
        made.setframerate(8000)
        made.writeframes(bytes(800))
    return file.getvalue()


TYPES = "[Content_Types].xml"
PAGE = b"<!DOCTYPE html><html><body><script>alert(1)</script></body></html>"
PICTURE = b'<svg xmlns="http://www.w3.org/2000/svg" width="1" height="1"><rect/></svg>'
FILES: dict[str, tuple[str, bytes]] = {
    **{form: (f"image/{form.lower()}", image(form)) for form in ("PNG", "JPEG", "GIF", "WEBP")},
    "PDF": ("application/pdf", image("PDF")),
    "TIFF": ("image/tiff", image("TIFF")),
    "BMP": ("image/bmp", image("BMP")),
    "icon": ("image/x-icon", image("ICO")),
    "docx of Word": (DOCX, archive(TYPES, "_rels/.rels", "word/document.xml")),
    "docx of LibreOffice": (DOCX, archive("_rels/.rels", "word/document.xml", TYPES)),
    "xlsx of LibreOffice": (XLSX, archive("_rels/.rels", "xl/workbook.xml", TYPES)),
    "pptx": (PPTX, archive("docProps/app.xml", "ppt/presentation.xml", TYPES)),
    "odt": (ODT, archive("content.xml", stored=ODT)),
    "epub": ("application/epub+zip", archive("a.xml", stored="application/epub+zip")),
    "zip": ("application/zip", archive("a.txt", "b.txt")),
    "zip of Windows": ("application/x-zip-compressed", archive("a.txt")),
    "gzip": ("application/gzip", gzip.compress(b"text")),
    "SVG": ("image/svg+xml", PICTURE),
    "SVG with prolog": ("image/svg+xml", b'<?xml version="1.0"?>\n<!-- x -->\n' + PICTURE),
    "HEIC": ("image/heic", iso(b"heic\0\0\0\0mif1heic")),
    "HEIC as HEIF": ("image/heic", iso(b"mif1\0\0\0\0mif1heic")),
    "AVIF": ("image/avif", iso(b"avif\0\0\0\0avifmif1miaf")),
    "MP4": ("video/mp4", iso(b"isom\0\0\2\0isomiso2avc1mp41")),
    "sound in MP4": ("audio/mp4", iso(b"M4A \0\0\0\0M4A mp42isom")),
    "sound as MP4": ("audio/mp4", iso(b"isom\0\0\2\0isomiso2avc1mp41")),
    "QuickTime": ("video/quicktime", iso(b"qt  \0\0\0\0qt  ")),
    "WAV": ("audio/wav", sound()),
    "text": ("text/plain; charset=utf-8", "Grüße".encode()),
    "text in Latin-1": ("text/plain", "Grüße".encode("latin-1")),
    "empty text": ("text/plain", b""),
    "CSV": ("text/csv", b"a,b\n1,2\n3,4\n"),
    "CSV of one column": ("text/csv", b"a\n"),
    "CSV of Windows": ("application/vnd.ms-excel", b"a,b,c\n1,2,3\n4,5,6\n"),
    "Markdown like a program": ("text/markdown", b"import os\nfrom x import y\ndef f(): pass\n"),
    "JSON": ("application/json", b'{"a": [1, 2]}'),
    "broken JSON": ("application/json", b'{"a": '),
    "XML": ("application/xml", b'<?xml version="1.0"?><a/>'),
    "page": ("text/html", PAGE),
}


@pytest.mark.parametrize("name", FILES)
def test_what_users_upload_has_the_type_that_it_says(name: str) -> None:
    """It is accepted under its own type, and refused where another type is wanted."""
    declared, content = FILES[name]
    bare = declared.partition(";")[0]
    assert "accepted" == refusal(content_type(bare), upload(content, declared))
    words = refusal(content_type("model/stl"), upload(content, declared))
    expected = f"Files of this type are not accepted:\n    {bare}; accepted: model/stl"
    assert expected == words


SHOWN = {"icon": "image/vnd.microsoft.icon", "zip of Windows": "application/zip"}
ALIKE = ("HEIC as HEIF", "sound as MP4", "CSV of Windows", "CSV of one column", "JSON", "XML")


@pytest.mark.parametrize("name", [name for name in FILES if name not in ALIKE])
def test_content_decides_where_no_type_was_declared(name: str) -> None:
    """As from a program that sends everything as application/octet-stream."""
    declared, content = FILES[name]
    if content and not declared.startswith(("text/markdown", "application/json")):
        bare = SHOWN.get(name, declared.partition(";")[0])
        assert "accepted" == refusal(content_type(bare), upload(content, UNKNOWN))
    assert "accepted" != refusal(content_type("model/stl"), upload(content, UNKNOWN))


@pytest.mark.parametrize(
    ("declared", "content", "found"),
    [
        ("image/png", PAGE, "text/html"),
        ("text/plain", PAGE, "text/html"),
        ("text/plain", b'<?xml version="1.0"?><a/>', "text/xml"),
        ("image/png", PICTURE, "image/svg+xml"),
        ("text/plain", PICTURE, "image/svg+xml"),
        ("image/png", FILES["JPEG"][1], "image/jpeg"),
        ("image/jpeg", FILES["HEIC"][1], "image/heic"),
        ("application/pdf", FILES["zip"][1], "application/zip"),
        ("image/png", b"", "empty"),
        ("image/png", b"hello", "text/plain"),
        ("image/png", bytes(range(1, 255)) * 20, "not known"),
        (DOCX, FILES["zip"][1], "application/zip"),
        (DOCX, FILES["xlsx of LibreOffice"][1], XLSX),
        (DOCX, archive("a.txt", TYPES), "application/zip"),
        ("image/png", b"x", "empty"),
        ("text/csv", FILES["zip"][1], "application/zip"),
    ],
)
def test_content_that_contradicts_its_type_is_refused(
    declared: str, content: bytes, found: str
) -> None:
    """Although both types are allowed: it would be served as what it is not."""
    check = content_type("image/*", "text/*", "application/*")
    words = refusal(check, upload(content, declared))
    assert f"the type is {declared}, the content is {found}" in words


def test_content_that_libmagic_does_not_know_needs_to_be_allowed() -> None:
    """A format of one's own, with a type of its own."""
    own = upload(b"\x93\x01\x02OWN" + bytes(range(128, 255)), "application/vnd.example.own")
    assert "not known" in refusal(content_type("application/vnd.example.own"), own)
    both = content_type("application/vnd.example.own", UNKNOWN)
    assert "accepted" == refusal(both, own)


def test_a_text_that_is_cut_within_a_character_is_a_text() -> None:
    """What is looked at ends after 64 KiB, wherever that is."""
    for shift in range(4):
        content = b"x" * shift + "€".encode() * 50_000
        assert "accepted" == refusal(content_type("text/plain"), upload(content, "text/plain"))


def test_names_of_types_are_read_as_everywhere() -> None:
    """Any case, parameters, aliases; a whole class."""
    check = content_type("Image/JPG", "TEXT/*")
    assert "accepted" == refusal(check, upload(FILES["JPEG"][1], "image/jpeg"))
    assert "accepted" == refusal(check, upload(b"x", "text/x-anything; charset=utf-8"))
    assert "image/jpeg, text/*" in refusal(check, upload(FILES["PNG"][1], "image/png"))


def test_types_are_checked_when_the_check_is_made() -> None:
    """And not when the first upload comes."""
    wrong: Sequence[tuple[str, ...]] = ((), ("png",), ("image/png\r\nx",), ("",))
    for types in wrong:
        with pytest.raises(Error) as caught:
            content_type(*types)
        assert Kind.ILL_FORMED is caught.value.kind


def test_a_missing_library_is_named_when_the_check_is_made(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Both the package and what the system must have."""
    monkeypatch.setitem(sys.modules, "magic", None)
    with pytest.raises(Error, match="libmagic1") as caught:
        content_type("image/png")
    assert (Kind.CONFIGURATION, "missing-package") == (caught.value.kind, caught.value.code)


def test_several_checks_run_up_to_the_first_that_refuses() -> None:
    """In their order; without any, everything is accepted."""
    ran = []

    def noted(name: str) -> Callable[[object], None]:
        return lambda _: ran.append(name)

    check = all_of(noted("first"), content_type("image/png"), noted("last"))
    assert "accepted" == refusal(check, upload(FILES["PNG"][1], "image/png"))
    assert "accepted" != refusal(check, upload(FILES["GIF"][1], "image/gif"))
    assert ["first", "last", "first"] == ran
    assert "accepted" == refusal(all_of(), upload(b""))
