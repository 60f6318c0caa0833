"""Hostile forms (multipart/form-data)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from attach.web.hostile.conftest import MAX_SIZE
from attach.web.hostile.raw import file_part, form, request

if TYPE_CHECKING:
    from attach.web.hostile.conftest import Everywhere

TYPE = "Content-Type: multipart/form-data; boundary=edge"
FILE = file_part('name="f"; filename="a.txt"')
FIELD = b'Content-Disposition: form-data; name="x"\r\n\r\nvalue'


def part(headers: str, content: bytes = b"x") -> bytes:
    """Write a part with these headers."""
    return headers.encode() + b"\r\n\r\n" + content


REFUSED = {
    "nothing": (b"", 400),
    "no boundary in it": (b"x" * 1000, 400),
    "a preamble of 10 MB": (b"x" * 10_000_000 + form(FILE), 400),
    "a preamble of CRLF": (b"\r\n" * 500_000 + form(FILE), 400),
    "a preamble of dashes": (b"\r\n--" * 500_000 + form(FILE), 400),
    "an epilogue of 10 MB": (form(FILE) + b"x" * 10_000_000, 400),
    "no end": (form(FILE)[:-8], 400),
    "an end at once": (b"--edge--\r\n", 400),
    "half a boundary": (form(FILE, FILE).replace(b"--edge--", b"--ed"), 400),
    "5000 fields": (form(*[FIELD] * 5000), 413),
    "5000 files": (form(*[FILE] * 5000), 413),
    "5000 empty files": (form(*[file_part('name="f"; filename=""', b"")] * 5000), 413),
    "a field that is too large": (form(FIELD + b"x" * 100_000, FILE), 413),
    "fields that are too large": (form(*[FIELD + b"x" * 60_000] * 50, FILE), 413),
    "a file that is too large": (form(FILE, FILE + b"x" * MAX_SIZE), 413),
    "a header of 1 MB": (form(part("X-A: " + "a" * 1_000_000), FILE), 400),
    "10000 headers": (form(part("X-A: a\r\n" * 10_000), FILE), 400),
    "a header name of 1 MB": (form(part("X" * 1_000_000 + ": a"), FILE), 400),
    "no header": (form(b"\r\nx"), 400),
    "no name": (form(part("Content-Disposition: form-data")), 400),
    "another disposition": (form(part('Content-Disposition: attachment; name="f"')), 400),
    "the same header twice": (
        form(FILE.replace(b"\r\n\r\n", b'\r\nContent-Disposition: form-data; name="g"\r\n\r\n')),
        400,
    ),
    "the same parameter twice": (form(file_part('name="f"; filename="a"; filename="b"')), 400),
    "filename* alone": (form(file_part("name=\"f\"; filename*=UTF-8''evil.exe")), 400),
    "a form in a form": (
        form(FILE.replace(b"\r\n\r\n", b"\r\nContent-Type: multipart/mixed; boundary=e\r\n\r\n")),
        400,
    ),
    "an encoded part": (
        form(FILE.replace(b"\r\n\r\n", b"\r\nContent-Transfer-Encoding: base64\r\n\r\n")),
        400,
    ),
    "no file": (form(FIELD), 400),
    "an unterminated quote": (form(file_part('name="f"; filename="a')), 400),
    "quotes and backslashes": (form(file_part('name="f"; filename="' + '\\"' * 3000)), 400),
    "semicolons": (form(file_part('name="f"' + ";a=b" * 1500 + '; filename="a" x')), 400),
    "a bare CR in a header": (form(file_part('name="f"; filename="a\rb"')), 400),
    "NULs": (b"\0" * 100_000, 400),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_is_no_proper_form_is_refused_whole(everywhere: Everywhere, what: str) -> None:
    """With what is wrong about it, and none of its files is kept."""
    body, status = REFUSED[what]
    answer = everywhere.ask(request("POST", "/attach/", TYPE, body=body))
    # A client that is still sending when it is refused may see the connection close instead.
    assert (None if answer is None else status) == (answer and answer.status)
    assert answer is not None or len(body) > MAX_SIZE


@pytest.mark.parametrize(
    "given",
    [
        "multipart/form-data",
        "multipart/form-data; boundary=",
        'multipart/form-data; boundary=""',
        "multipart/form-data; boundary=" + "a" * 71,
        "multipart/form-data; boundary=" + "a" * 5000,
        "multipart/form-data; boundary=edge; boundary=other",
        'multipart/form-data; boundary="ed\\ge\t"',
        "multipart/form-data; boundary=ed<ge",
        "multipart/form-data boundary=edge",
        'multipart/form-data; boundary="edge',
        b"multipart/form-data; boundary=\xff\xfe",
        "multipart/form-data; boundary=" + ";" * 5000,
        "multipart/form-data;" + ' a="' * 5000,
        "multipart/mixed; boundary=edge",
        "multipart/",
    ],
    ids=lambda given: ascii(given)[:60],
)
def test_a_form_without_a_proper_boundary_is_refused(
    everywhere: Everywhere, given: str | bytes
) -> None:
    """Before anything of it is read."""
    line = b"Content-Type: " + (given if isinstance(given, bytes) else given.encode())
    assert 400 == everywhere.status(request("POST", "/attach/", line, body=form(FILE)))
    assert 400 == everywhere.status(request("POST", "/attach/?name=a", line, body=form(FILE)))


def test_two_content_types_are_refused(everywhere: Everywhere) -> None:
    """One reader would see a form where another sees bytes."""
    lines = ["Content-Type: text/plain", TYPE]
    assert 400 == everywhere.status(request("POST", "/attach/?name=a", *lines, body=form(FILE)))


@pytest.mark.parametrize(
    ("parameters", "name"),
    [
        ('name="f"; filename="good.txt"; filename*=UTF-8\'\'evil.exe', "good.txt"),
        ('name="f"; filename*=UTF-8\'\'%2e%2e%2fevil.exe; filename="good.txt"', "good.txt"),
        ('name="f"; filename="=?utf-8?B?Li4vLi4vw7wudHh0?="', "ü.txt"),
        ("name=f; filename=\"=?utf-8?Q?x?=\"; filename*=UTF-8''%2e%2e%2f%00%C3%BC.txt", "ü.txt"),
        ('name="f"; filename="=?utf-8?B?DQpYLUV2aWw6IHk=?="', "X-Evil_ y"),
        ('name="f"; filename="=?rot13?Q?x?="', "=_rot13_Q_x_="),
        ("name=f; filename=plain.txt", "plain.txt"),
        ('name="f"; filename="C:\\\\dir\\\\a.txt"', "a.txt"),
        ('name="f"; filename="C:\\dir\\a.txt"', "a.txt"),
        ('name="f"; filename="a\\"b.txt"', "a_b.txt"),
        ('name="f"; FileName="a.txt"', "a.txt"),
        ('name="../../f"; filename="a;name=g.txt"', "a;name=g.txt"),
        (b'name="f"; filename="\xff\xfe.txt"', "��.txt"),
        ('name="f"; filename="%0d%0aX-Evil: y"', "%0d%0aX-Evil_ y"),
        ('name="f"; filename="%0D%0AX-Evil: y"', "X-Evil_ y"),
    ],
    ids=ascii,
)
def test_a_file_is_called_what_its_form_says(
    everywhere: Everywhere, parameters: str | bytes, name: str
) -> None:
    """By ``filename`` alone (RFC 7578, section 4.2), but where it is an encoded word (RFC 2047)."""
    body = form(file_part(parameters))
    assert [name] == everywhere.stored(request("POST", "/attach/", TYPE, body=body))


@pytest.mark.parametrize(
    "given",
    [
        "text/html\tx",
        "text",
        "/",
        "a/b/c",
        "text/plain, text/html",
        "text/" + "x" * 5000,
        "\x80",
    ],
    ids=lambda given: ascii(given)[:30],
)
def test_an_ill_formed_type_is_none(everywhere: Everywhere, given: str) -> None:
    """In a form the name decides then; a body of such a type is refused."""
    typed = FILE.replace(b"\r\n\r\n", b"\r\nContent-Type: " + given.encode() + b"\r\n\r\n")
    stored = everywhere.stored(request("POST", "/attach/", TYPE, body=form(typed)))
    assert ["a.txt"] == stored
    line = b"Content-Type: " + given.encode()
    assert 400 == everywhere.status(request("POST", "/attach/?name=a", line, body=b"x"))
