"""Promises on file names: they are kept or sanitised, equally on every storage."""

from __future__ import annotations

import datetime
import re
import unicodedata
from typing import TYPE_CHECKING

from rex.attach.conformance.expectations import expect, expect_error, expect_true
from rex.attach.conformance.promise import promise
from rex.core import Kind

if TYPE_CHECKING:
    from rex.attach.conformance.harness import Harness

HANDLE = re.compile(
    r"/(\d{4})/(\d{2})/(\d{2})"
    r"/[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}/([^/]+)",
    re.ASCII,
)

KEPT = (
    "plain.txt",
    "UPPER.TXT",
    "with blanks in it.txt",
    "no-extension",
    "two.dots.tar.gz",
    "naïve café.txt",
    "中文.jpg",
    "日本語ファイル.pdf",
    "Ελληνικά.doc",
    "русский.txt",
    "עברית.txt",
    "العربية.pdf",
    "हिन्दी.txt",
    "ไทย.txt",
    "한국어.txt",
    "می\u200cشود.txt",
    "क्\u200dष क्\u200cष.txt",
    "\N{GRINNING FACE}\N{PARTY POPPER}.png",
    "\N{WOMAN}\u200d\N{GIRL}.png",
    "\N{MATHEMATICAL BOLD CAPITAL A}.txt",
    "it's.txt",
    "`ticks`.txt",
    "a+b.txt",
    "100%.txt",
    "%41%2f%00.txt",
    "a#b.txt",
    "a&b=c;d.txt",
    "a,b@c!d~e.txt",
    "(a) [b] {c}.txt",
    "$(id).txt",
    "$name ^ x.txt",
    "{0} %s %(a)s.txt",
    "a  b.txt",
    "é" * 125 + ".txt",
    "a" * 251 + ".txt",
    "名" * 85,
)
"""Names that are kept unchanged."""

CHANGED = {
    "../../x.txt": "x.txt",
    "C:\\Windows\\x.txt": "x.txt",
    "sub/dir\\x.txt": "x.txt",
    "/": "attachment",
    "": "attachment",
    ".": "attachment",
    "..": "attachment",
    "...": "attachment",
    "\u200b": "attachment",
    ".htaccess": "htaccess",
    "a\0b.txt": "ab.txt",
    "a\r\nb.txt": "ab.txt",
    "a\u202egpj.exe": "agpj.exe",
    "sc\u200dan\u200c.txt": "scan.txt",
    "a\ud800b.txt": "ab.txt",
    "CON": "_CON",
    "nul.txt": "_nul.txt",
    "a.txt::$DATA": "a.txt__$DATA",
    "a.txt. . ": "a.txt",
    "e\u0301.txt": "é.txt",
    "a" * 300: "a" * 255,
    "é" * 200 + ".txt": "é" * 125 + ".txt",
    '"><img src=x>.png': "___img src=x_.png",
    "*?[a-z]|.txt": "__[a-z]_.txt",
    "${filename}": "_{filename}",
    "what?.txt": "what_.txt",
}
"""Names that are sanitised, and the results."""


@promise
def a_file_without_a_name_gets_one(harness: Harness) -> None:
    """A name that is None, since a form can omit it, becomes ``attachment``."""
    with harness.storage() as storage:
        for handle in (storage.add(None, b"data"), storage.reserve(None)):
            expect("name", "attachment", handle.rpartition("/")[2])


@promise
def a_handle_has_its_form(harness: Harness) -> None:
    """A handle is ``/YYYY/MM/DD/<uuid4>/<name>`` with the current day (UTC)."""
    with harness.storage() as storage:
        for handle in (storage.add("a.txt", b"data"), storage.reserve("a.txt")):
            match = HANDLE.fullmatch(handle)
            expect("type of a handle", str, type(handle))
            if match is None:
                raise AssertionError(f"not a handle: {handle!r}")
            year, month, day, name = match.groups()
            made = datetime.date(int(year), int(month), int(day))
            today = datetime.datetime.now(datetime.UTC).date()
            expect_true(f"{made} is today", abs(today - made) <= datetime.timedelta(days=1))
            expect("name in the handle", "a.txt", name)


@promise
def names_in_every_script_are_kept(harness: Harness) -> None:
    """A harmless name is kept, and every operation works with its handle."""
    with harness.storage() as storage:
        handles = {storage.add(name, name): name for name in KEPT}
        expect("names in the handles", list(KEPT), [_name(handle) for handle in handles])
        expect("attachments listed", sorted(handles), list(storage))
        for handle, name in handles.items():
            expect(f"size of {name!r}", len(name.encode()), storage.stat(handle).st_size)
            expect("name in info", name, storage.info(handle).name)
            with storage.open(handle) as stream:
                expect(f"content of {name!r}", name.encode(), stream.read())
            storage.remove(handle)
        expect("attachments left", [], list(storage))
        expect("garbage left", [], harness.garbage(storage))


@promise
def names_are_made_harmless(harness: Harness) -> None:
    """A harmful name is sanitised by the same rules on every storage."""
    with harness.storage() as storage:
        for given, expected in CHANGED.items():
            for handle in (storage.add(given, b"data"), storage.reserve(given)):
                expect(f"name made of {ascii(given)[:60]}", expected, _name(handle))
        expect("attachments stored", len(CHANGED), len(list(storage)))


@promise
def a_name_in_the_form_of_apple_is_the_same_name(harness: Harness) -> None:
    """Names are normalised (NFC): a letter has one spelling in a handle."""
    with harness.storage() as storage:
        decomposed = unicodedata.normalize("NFD", "Über Café 한국.txt")
        handle = storage.add(decomposed, b"data")
        expect("name in the handle", unicodedata.normalize("NFC", decomposed), _name(handle))
        expect("attachments listed", [handle], list(storage))
        other = unicodedata.normalize("NFD", handle)
        expect_error(Kind.ILL_FORMED, "info of the other spelling", storage.info, other)


@promise
def names_that_differ_in_case_are_different(harness: Harness) -> None:
    """A handle in a different case is `NOT_FOUND`."""
    with harness.storage() as storage:
        handle = storage.add("Report.txt", b"data")
        folder = handle.rpartition("/")[0]
        for other in ("report.txt", "REPORT.TXT", "Report.TXT"):
            what = f"info of {other}"
            expect_error(Kind.NOT_FOUND, what, storage.info, f"{folder}/{other}")


def _name(handle: str) -> str:
    return handle.rpartition("/")[2]
