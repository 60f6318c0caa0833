"""Hostile names of files, as ``?name=`` and in forms."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from urllib.parse import quote, unquote

import pytest

from attach.web.hostile.raw import file_part, form, request

if TYPE_CHECKING:
    from attach.web.hostile.conftest import Everywhere

pytestmark = pytest.mark.long

URL = re.compile(r"/attach/[0-9/]{11}[0-9a-f-]{36}/[0-9A-Za-z._~%-]+")
DISPOSITION = re.compile(
    r'(inline|attachment); filename="([ !#$&-\[\]-~]+)"'
    r"(?:; filename\*=UTF-8''([!#$%&+\-.^_`|~\w]+))?",
    re.ASCII,
)

NAMES = {
    # Paths: the last component counts.
    "../../x.txt": "x.txt",
    "../../../../../../etc/passwd": "passwd",
    "/etc/passwd": "passwd",
    "C:\\Windows\\x.txt": "x.txt",
    "\\\\server\\share\\x.txt": "x.txt",
    "sub/dir\\x.txt": "x.txt",
    "..\\..\\x.txt": "x.txt",
    "file:///etc/passwd": "passwd",
    "%2e%2e%2fx.txt": "%2e%2e%2fx.txt",
    "..\uff0f..\uff0fx.txt": "\uff0f..\uff0fx.txt",
    # Nothing left.
    "": "attachment",
    ".": "attachment",
    "..": "attachment",
    "...": "attachment",
    "/": "attachment",
    "../": "attachment",
    "   ": "attachment",
    "\u200b": "attachment",
    "\u3000": "attachment",
    ".htaccess": "htaccess",
    " .. .bashrc": "bashrc",
    # Control and format characters.
    "a\0b.txt": "ab.txt",
    "a.txt\0.png": "a.txt.png",
    "a\r\nSet-Cookie: x=y.txt": "aSet-Cookie_ x=y.txt",
    "a\r\n\r\n<script>alert(1)</script>": "script_",
    "photo\u202egnp.exe": "photognp.exe",
    "a\u2028b\u2029c.txt": "abc.txt",
    "\ufeffa.txt": "a.txt",
    "a\x1b[31mb\x7f.txt": "a[31mb.txt",
    "a\x85b.txt": "ab.txt",
    "a\U000e0041b.txt": "ab.txt",
    # Joiners stay where a script or an emoji needs them.
    "می\u200cشود.txt": "می\u200cشود.txt",
    "क्\u200dष.txt": "क्\u200dष.txt",
    "👩\u200d👧.png": "👩\u200d👧.png",
    "sc\u200dan\u200c.txt": "scan.txt",
    "\u202bمی\u200cشود\u202c.txt": "می\u200cشود.txt",
    "👩\u200d\u202e👧.png": "👩\u200d👧.png",
    # Windows.
    "CON": "_CON",
    "nul.txt": "_nul.txt",
    "com¹.log": "_com¹.log",
    "CONIN$": "_CONIN$",
    "a.txt::$DATA": "a.txt__$DATA",
    "a.txt...": "a.txt",
    "a.txt . . ": "a.txt",
    "<>:|?*.txt": "______.txt",
    # Length.
    "a" * 300: "a" * 255,
    "é" * 200: "é" * 127,
    "a" * 300 + ".txt": "a" * 251 + ".txt",
    "𝄞" * 100 + ".jpeg": "𝄞" * 62 + ".jpeg",
    "a." + "b" * 5000: "a." + "b" * 253,
    # Unicode.
    "e\u0301.txt": "é.txt",
    "中文.jpg": "中文.jpg",
    "عربى.pdf": "عربى.pdf",
    "👩.txt": "👩.txt",
    "ﬁ.txt": "ﬁ.txt",
    # What means something elsewhere.
    '"><img src=x onerror=alert(1)>': "___img src=x onerror=alert(1)_",
    "$(id).txt": "$(id).txt",
    "`id`;rm -rf ~ #.txt": "`id`;rm -rf ~ #.txt",
    "*?[a-z].txt": "__[a-z].txt",
    "${filename}": "_{filename}",
    "{0.__class__}%s%n{{7*7}}.txt": "{0.__class__}%s%n{{7_7}}.txt",
    "?link&x=y#z.txt": "_link&x=y#z.txt",
    "'; DROP TABLE x;--": "'; DROP TABLE x;--",
    "=cmd|' '!A0.csv": "=cmd_' '!A0.csv",
    "-rf": "-rf",
    "a; filename*=UTF-8''evil.exe": "a; filename_=UTF-8''evil.exe",
    "%0d%0aX-Evil: 1.txt": "%0d%0aX-Evil_ 1.txt",
}


@pytest.mark.parametrize("name", NAMES, ids=lambda name: ascii(name)[1:25])
def test_a_name_in_the_query_is_made_harmless(everywhere: Everywhere, name: str) -> None:
    """The same on every storage; and what is stored can be removed by its url."""
    query = quote(name.encode(), safe="")
    assert [NAMES[name]] == everywhere.stored(request("POST", f"/attach/?name={query}", body=b"x"))


def test_names_in_a_form_are_made_harmless(everywhere: Everywhere) -> None:
    """All of them, as a browser writes them."""
    written = {"\r": "%0D", "\n": "%0A", '"': "%22"}
    parts = []
    for name in NAMES:
        escaped = "".join(written.get(char, char) for char in name).replace("\0", "")
        parts.append(file_part(f'name="f"; filename="{escaped}"'))
    assert len(parts) < 100
    unescape = {"%0d%0aX-Evil: 1.txt": "%0d%0aX-Evil_ 1.txt"}
    expected = [unescape.get(name, made) for name, made in NAMES.items()]
    typed = "Content-Type: multipart/form-data; boundary=edge"
    assert expected == everywhere.stored(request("POST", "/attach/", typed, body=form(*parts)))


@pytest.mark.parametrize(
    ("query", "name"),
    [
        ("name=%ff%fe.txt", "��.txt"),
        ("name=%c0%ae%c0%ae%c0%afx", "������x"),
        ("name=%ed%a0%80.txt", "���.txt"),
        ("name=a+b%2Bc", "a b+c"),
        ("name=%", "%"),
        ("name=%zz%2", "%zz%2"),
        ("name=%252e%252e", "%2e%2e"),
        ("name=a=b", "a=b"),
        ("&&name=a&&x=y&", "a"),
        ("%6eame=a", "a"),
        ("name=a;name=b", "a;name=b"),
    ],
)
def test_ill_encoded_names_are_made_harmless(everywhere: Everywhere, query: str, name: str) -> None:
    """No encoding is decoded twice, and none that is wrong does harm."""
    assert [name] == everywhere.stored(request("POST", f"/attach/?{query}", body=b"x"))


@pytest.mark.parametrize("query", ["", "name=a&name=b", "Name=a", "name[]=a", "x=" + "a" * 60000])
def test_without_one_name_nothing_is_stored(everywhere: Everywhere, query: str) -> None:
    """A name that is missing, twice there or called otherwise."""
    assert 400 == everywhere.status(request("POST", f"/attach/?{query}", body=b"x"))


def test_stored_names_stay_inert(everywhere: Everywhere) -> None:
    """In urls, and in the headers of what is served."""
    parts = [file_part(f'name="f"; filename="{name}"') for name in NAMES.values()]
    typed = "Content-Type: multipart/form-data; boundary=edge"
    for service in everywhere.services:
        stored = everywhere.one(service, request("POST", "/attach/", typed, body=form(*parts)))
        assert "application/json" == stored.headers["content-type"]
        for told in stored.json["attachments"]:
            assert URL.fullmatch(told["url"]), told
            served = everywhere.one(service, request("GET", told["url"]))
            disposition = DISPOSITION.fullmatch(served.headers["content-disposition"])
            assert disposition
            _, plain, encoded = disposition.groups()
            assert told["name"] == (plain if encoded is None else unquote(encoded))
            assert 204 == everywhere.one(service, request("DELETE", told["url"])).status
