"""Forms with files: what clients send, what attackers send, and how it may be cut up."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, NamedTuple

import httpx
import pytest
import requests
from hypothesis import given
from hypothesis import strategies as st

from attach.web.sent import pieces
from rex.attach.web.multipart import Form
from rex.core import Error, Kind

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable

MIB = 1024 * 1024
TYPE = "multipart/form-data; boundary=frontier"
A_FILE = b'Content-Disposition: form-data; name="file"; filename="a.txt"\r\n\r\nabc'
A_FIELD = b'Content-Disposition: form-data; name="field"\r\n\r\nvalue'


class Read(NamedTuple):
    """All that is in a form."""

    files: list[tuple[str, str | None, bytes]]
    fields: dict[str, str]


def form(*parts: bytes) -> bytes:
    """Make the body of a form."""
    return b"".join(b"--frontier\r\n" + part + b"\r\n" for part in parts) + b"--frontier--\r\n"


def file_called(file_name: bytes) -> bytes:
    """Make a part with a parameter as it stands."""
    return b'Content-Disposition: form-data; name="file"; ' + file_name + b"\r\n\r\nabc"


def file_with(*headers: bytes) -> bytes:
    """Make a part with more headers."""
    return A_FILE.replace(
        b"\r\n\r\n", b"".join(b"\r\n" + header for header in headers) + b"\r\n\r\n"
    )


async def each(chunks: Iterable[bytes]) -> AsyncIterator[bytes]:
    """Give chunks as a body does."""
    for chunk in chunks:
        yield chunk


def read(chunks: Iterable[bytes], content_type: str = TYPE) -> Read:
    """Read a form to its end."""

    async def reading() -> Read:
        parts = Form(each(chunks), content_type)
        files = [
            (part.name, part.content_type, b"".join([chunk async for chunk in part.content]))
            async for part in parts
        ]
        return Read(files, parts.fields)

    return asyncio.run(reading())


def kind_of(chunks: Iterable[bytes], content_type: str = TYPE) -> Kind:
    """Give the kind of the error that reading a form ends with."""
    with pytest.raises(Error) as caught:
        read(chunks, content_type)
    assert len(str(caught.value)) < 1000
    return caught.value.kind


def encoded(client: Any, files: Any, data: Any = None) -> tuple[bytes, str]:
    """Have httpx or requests make the form; give it and its content type."""
    if client is httpx:
        request = httpx.Request("POST", "http://test", files=files, data=data)
        return request.read(), request.headers["Content-Type"]
    prepared = requests.Request("POST", "http://test", files=files, data=data).prepare()
    assert isinstance(prepared.body, bytes)
    return prepared.body, prepared.headers["Content-Type"]


@pytest.mark.parametrize("client", [httpx, requests])
def test_what_http_clients_encode_is_read(client: Any) -> None:
    """Several files, with and without a type, and fields before them."""
    files = [
        ("file", ("a.txt", b"\r\n--abc\r\n", "text/plain")),
        ("file", ("größe 中文.bin", bytes(200_000), None)),
        ("other", ('a"b\\c.txt', b"", "image/svg+xml")),
    ]
    body, content_type = encoded(client, files, {"title": "grün", "note": ""})
    found = read([body], content_type)
    assert {"title": "grün", "note": ""} == found.fields
    assert [b"\r\n--abc\r\n", bytes(200_000), b""] == [content for _, _, content in found.files]
    assert ["a.txt", "größe 中文.bin", 'a"b\\c.txt'] == [name for name, _, _ in found.files]
    assert ["text/plain", "image/svg+xml"] == [found.files[0][1], found.files[2][1]]


@given(
    contents=st.lists(st.text(alphabet="\r\n-fx").map(str.encode), max_size=4),
    before=st.sampled_from([b"", b"\r\n", b"pre-amble\r\n", b"--fronti\r\n"]),
    after=st.sampled_from([b"", b"epilogue", b"\r\n--frontier\r\n"]),
    places=st.lists(st.integers(0, 600)),
)
def test_a_form_is_the_same_however_it_is_cut(
    contents: list[bytes], before: bytes, after: bytes, places: list[int]
) -> None:
    """At random places, into single bytes, or not at all."""
    parts = [file_called(b'filename="a.txt"').replace(b"abc", content) for content in contents]
    body = before + form(A_FIELD, *parts) + after
    expected = Read([("a.txt", None, content) for content in contents], {"field": "value"})
    assert expected == read([body])
    assert expected == read(pieces(body, places))
    assert expected == read(pieces(body, range(len(body))))


@given(start=st.integers(0, 30), places=st.lists(st.integers(0, 200)))
def test_content_that_almost_is_a_boundary_is_content(start: int, places: list[int]) -> None:
    """Cut anywhere."""
    almost = b"\r\n--frontie\r\r\n--frontier-x\r\n--frontier\rx\r\n--frontierx\r\n"[start:]
    body = form(A_FILE.replace(b"abc", almost))
    assert [("a.txt", None, almost)] == read(pieces(body, places)).files


@given(
    junk=st.binary(max_size=300), place=st.integers(0, 300), places=st.lists(st.integers(0, 600))
)
def test_junk_is_read_or_refused_alike_however_it_is_cut(
    junk: bytes, place: int, places: list[int]
) -> None:
    """And nothing but an `Error` is raised."""

    def outcome(chunks: list[bytes]) -> object:
        try:
            return read(chunks)
        except Error as failure:
            return failure.kind

    whole = form(A_FIELD, A_FILE)
    body = whole[:place] + junk + whole[place:]
    assert (
        outcome([body]) == outcome(pieces(body, places)) == outcome(pieces(body, range(len(body))))
    )


@pytest.mark.parametrize(
    ("parameter", "expected"),
    [
        (b'filename="a.txt"', "a.txt"),
        (b"filename=a.txt", "a.txt"),
        (b'FileName = "a.txt" ;', "a.txt"),
        (b'filename="a;b=c.txt"', "a;b=c.txt"),
        (b'filename="a%22b%0D%0Ac%41%20.txt"', 'a"b\r\nc%41%20.txt'),
        (b'filename="a\\"b.txt"', 'a"b.txt'),
        (b'filename="a\\"; filename=\\"b.txt"', 'a"; filename="b.txt'),
        (b'filename="C:\\Users\\x.txt"', "C:\\Users\\x.txt"),
        (b'filename="\\\\host\\x.txt"', "\\host\\x.txt"),
        (b'filename="a\\"', "a\\"),
        ('filename="größe 中文.txt"'.encode(), "größe 中文.txt"),
        (b'filename="gr\xf6\xdfe.txt"', "gr\ufffd\ufffde.txt"),
        (b'filename="a\x00b.txt"', "a\x00b.txt"),
        (b'filename="a\nX-Evil: b.txt"', "a\nX-Evil: b.txt"),
        (b'filename="../../x.txt"', "../../x.txt"),
        (b"filename=\"a.txt\"; filename*=UTF-8''evil.html", "a.txt"),
        (b"filename*=UTF-8''evil.html; filename=\"a.txt\"", "a.txt"),
        (b'filename=""', ""),
        (b'filename="=?utf-8?B?R3LDvMOfZS50eHQ=?="', "Grüße.txt"),
        (b"filename==?utf-8?B?R3LDvMOfZS50eHQ=?=", "Grüße.txt"),
        (b'filename="=?UTF-8?q?Gr=C3=BC=C3=9Fe_=3F.txt?="', "Grüße ?.txt"),
        (b'filename="=?iso-8859-1?Q?Gr=FC=DFe?= =?utf-8?B?LnR4dA==?="', "Grüße.txt"),
        (b'filename="=?utf-8?B?4p==?="', "\ufffd"),
        (b'filename="=?utf-8?B?Li4vLi4veC50eHQ=?="', "../../x.txt"),
        (b'filename="=?utf-8?Q?a%22b?="', "a%22b"),
        (b"filename=\"=?utf-8?B?eA==?=\"; filename*=utf-8''Gr%C3%BC%C3%9Fe.txt", "Grüße.txt"),
        (b"filename*=UTF-8'de'Gr%C3%BC%C3%9Fe.txt; filename=\"=?utf-8?B?eA==?=\"", "Grüße.txt"),
        (b"filename=\"=?utf-8?B?eA==?=\"; filename*=x-unknown''y", "x"),
        (b'filename="=?utf-8?B?eA==?="; filename*=junk', "x"),
        (b'filename="=?utf-8?B?eA==?= b"', "=?utf-8?B?eA==?= b"),
        (b'filename="a =?utf-8?B?eA==?="', "a =?utf-8?B?eA==?="),
        (b'filename="=?zlib?B?eA==?="', "=?zlib?B?eA==?="),
        (b'filename="=?utf-8?X?eA==?="', "=?utf-8?X?eA==?="),
        (b'filename="=?utf-8?B?e?="', "=?utf-8?B?e?="),
    ],
)
def test_a_file_name_is_read_as_browsers_write_it(parameter: bytes, expected: str) -> None:
    """Escapes of the HTML standard and of old clients; other percent signs are themselves.

    What no user types, an encoded word (RFC 2047), is what .NET makes of a name, beside filename*.
    """
    body = form(file_called(parameter))
    assert [(expected, None, b"abc")] == read([body]).files
    assert [(expected, None, b"abc")] == read(pieces(body, range(len(body)))).files


@pytest.mark.parametrize(
    "parameter",
    [
        b'filename="a\r\nX-Evil: b.txt"',
        b'filename="a',
        b'filename="a"b"',
        b'filename="a.txt"; filename="b.html"',
        b"filename*=UTF-8''a.txt",
        b"filename",
    ],
)
def test_a_file_name_that_can_be_read_in_two_ways_is_refused(parameter: bytes) -> None:
    """Among them a line break, which ends the header that it stands in."""
    assert Kind.ILL_FORMED is kind_of([form(file_called(parameter))])


@pytest.mark.parametrize(
    ("header", "kind"),
    [
        (b"Content-Encoding: gzip", Kind.UNSUPPORTED),
        (b"content-encoding: identity, br", Kind.UNSUPPORTED),
        (b"Content-Range: bytes 0-2/3", Kind.ILL_FORMED),
        (b"Content-Transfer-Encoding: base64", Kind.ILL_FORMED),
    ],
)
def test_a_file_that_is_not_sent_as_it_is_is_refused(header: bytes, kind: Kind) -> None:
    """Its bytes would be kept, and what they are would be forgotten."""
    assert kind is kind_of([form(file_with(header))])


@pytest.mark.parametrize("header", [b"Content-Encoding: identity", b"Content-Encoding:"])
def test_a_file_in_no_coding_is_read(header: bytes) -> None:
    """A client may say that there is no coding."""
    assert [("a.txt", None, b"abc")] == read([form(file_with(header))]).files


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (b"Content-Type: text/plain", "text/plain"),
        (b"Content-Type: video/webm;codecs=vp8,opus", 'video/webm;codecs="vp8,opus"'),
        (b"Content-Type: image/jpg", "image/jpeg"),
        (b"content-type:text/plain; charset=utf-8 ", "text/plain; charset=utf-8"),
        (b"Content-Type: junk", None),
        (b"Content-Type: text/html\n<script>", None),
        (b"Content-Type:", None),
        (b"X-Other: text/plain", None),
    ],
)
def test_the_type_of_a_file_counts_where_it_is_well_formed(
    header: bytes, expected: str | None
) -> None:
    """A client that sends nonsense has sent no type."""
    assert [("a.txt", expected, b"abc")] == read([form(file_with(header))]).files


def test_an_input_left_empty_is_no_file() -> None:
    """A browser sends a part with neither name nor content for it."""
    empty = file_called(b'filename=""').replace(b"abc", b"")
    assert [("a.txt", None, b"abc")] == read([form(empty, A_FILE, empty)]).files


def test_what_was_not_read_of_a_file_is_skipped() -> None:
    """The next file begins where it begins."""

    async def names() -> list[str]:
        parts = Form(each([form(A_FILE, A_FILE.replace(b"a.txt", b"b.txt"))]), TYPE)
        return [part.name async for part in parts]

    assert ["a.txt", "b.txt"] == asyncio.run(names())


def test_of_fields_with_one_name_the_last_counts() -> None:
    """And bytes that are no UTF-8 are replaced."""
    assert {"field": "\ufffd"} == read([form(A_FIELD, A_FIELD.replace(b"value", b"\xff"))]).fields


@pytest.mark.parametrize(
    "part",
    [
        file_with(b"Content-Type: multipart/mixed; boundary=inner"),
        file_with(b"Content-Type: Multipart/Form-Data; boundary=inner"),
        A_FIELD.replace(b"\r\n\r\n", b"\r\nContent-Type: multipart/mixed; boundary=inner\r\n\r\n"),
        file_with(b"Content-Transfer-Encoding: base64"),
        file_with(b'Content-Disposition: form-data; name="x"; filename="x"'),
        file_with(b" folded: header"),
        file_with(b"no colon"),
        file_with(b"Na\x00me: value"),
        file_with(*(b"X-%d: x" % number for number in range(50))),
        file_with(*(b"X-%d: %s" % (number, b"x" * 3000) for number in range(3))),
        file_with(b"X: " + b"x" * MIB),
        file_with(b"X:" + b" " * MIB + b"x"),
        file_with(b"X" * MIB + b": x"),
        b"Content-Type: text/plain\r\n\r\nabc",
        b"\r\nabc",
        A_FILE.replace(b"form-data", b"attachment"),
        A_FILE.replace(b"name=", b"nom="),
    ],
)
def test_a_part_that_breaks_the_rules_is_refused(part: bytes) -> None:
    """Nested, encoded, nameless, or with headers that are ill-formed or too long."""
    assert Kind.ILL_FORMED is kind_of([form(A_FILE, part)])
    assert Kind.ILL_FORMED is kind_of(pieces(form(part), range(0, 2 * MIB, 1000)))


@pytest.mark.parametrize("split", [1000, 20 * MIB])
def test_a_preamble_and_an_epilogue_are_bounded(split: int) -> None:
    """10 MB before the first boundary or after the last are refused; 60 KiB are skipped."""
    for size, is_fine in ((60 * 1024, True), (10 * MIB, False)):
        filler = b"x" * size
        for body in (filler + b"\r\n" + form(A_FILE), form(A_FILE) + filler):
            chunks = pieces(body, range(0, len(body), split))
            if is_fine:
                assert [("a.txt", None, b"abc")] == read(chunks).files
            else:
                assert Kind.ILL_FORMED is kind_of(chunks)


def test_a_preamble_that_is_too_long_is_read_no_further() -> None:
    """Not even to see whether a form follows."""
    taken: list[int] = []

    def endless() -> Iterable[bytes]:
        while True:
            taken.append(1)
            yield b"x" * 1000

    assert Kind.ILL_FORMED is kind_of(endless())
    assert 70 > len(taken)


@pytest.mark.parametrize("part", [A_FIELD, A_FILE])
def test_a_form_has_at_most_a_hundred_fields_and_files(part: bytes) -> None:
    """5,000 are refused, and so is the one too many."""
    found = read([form(*[part] * 100)])
    assert 100 == len(found.files) if part is A_FILE else {"field": "value"} == found.fields
    assert Kind.TOO_LARGE is kind_of([form(*[part] * 101)])
    assert Kind.TOO_LARGE is kind_of([form(*[part] * 5000)])


def test_a_field_has_at_most_64_kib() -> None:
    """However it is cut."""
    for size, is_fine in ((65536, True), (65537, False)):
        body = form(A_FIELD.replace(b"value", b"x" * size))
        for chunks in ([body], pieces(body, range(0, len(body), 100))):
            if is_fine:
                assert {"field": "x" * size} == read(chunks).fields
            else:
                assert Kind.TOO_LARGE is kind_of(chunks)


def test_all_fields_together_have_at_most_a_mib() -> None:
    """Their names count too, or they would be what is filled."""
    wide = A_FIELD.replace(b"value", b"x" * 60_000)
    assert Kind.TOO_LARGE is kind_of([form(*[wide] * 18)])
    assert Kind.TOO_LARGE is kind_of([form(*[wide.replace(b"field", b"n" * 8000)] * 16)])
    assert {"field": "x" * 60_000} == read([form(*[wide] * 16)]).fields


@pytest.mark.parametrize(
    "content_type",
    [
        "multipart/form-data",
        "multipart/form-data; boundary=",
        'multipart/form-data; boundary=""',
        'multipart/form-data; boundary="ends in a blank "',
        "multipart/form-data; boundary=front\x00ier",
        "multipart/form-data; boundary=frontiér",
        "multipart/form-data; boundary=frontier; boundary=other",
        f"multipart/form-data; boundary={'f' * 71}",
        f"multipart/form-data; boundary={'f' * 5000}",
        "multipart/mixed; boundary=frontier",
        "text/plain",
        "",
    ],
)
def test_a_boundary_is_one_by_rfc_2046(content_type: str) -> None:
    """Up to 70 characters of a small set, given once."""
    assert Kind.ILL_FORMED is kind_of([form(A_FILE)], content_type)


@pytest.mark.parametrize(
    "boundary", ["f" * 70, "a'()+_,-./:=?z", "----WebKitFormBoundaryx", "with blank"]
)
def test_any_boundary_by_rfc_2046_will_do(boundary: str) -> None:
    """Quoted, as it should be where it has such characters."""
    body = form(A_FILE).replace(b"frontier", boundary.encode())
    found = read([body], f'Multipart/Form-Data; charset=x; boundary="{boundary}"')
    assert [("a.txt", None, b"abc")] == found.files


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\r\n",
        b"abc",
        b"--frontier",
        b"--frontierx\r\n" + A_FILE,
        form(A_FILE).replace(b"--frontier--", b""),
        form(A_FILE).replace(b"--frontier--", b"--frontier"),
        form(A_FILE).replace(b"--frontier--", b"--frontier\r\n"),
        form(A_FILE)[:-4],
        form(A_FILE, A_FIELD)[:-40],
        form(A_FILE).replace(b"\r\n--frontier--", b"\n--frontier--"),
    ],
)
def test_a_form_without_its_last_boundary_is_refused(body: bytes) -> None:
    """What came may be only half of it."""
    assert Kind.ILL_FORMED is kind_of([body])
    assert Kind.ILL_FORMED is kind_of(pieces(body, range(len(body))))


def test_a_form_with_nothing_in_it_is_one() -> None:
    """That it has no file is for others to judge."""
    assert Read([], {}) == read([form()])


def test_what_reading_the_body_raises_passes() -> None:
    """It is not mistaken for a fault of the form."""

    async def broken() -> AsyncIterator[bytes]:
        yield form(A_FILE)[:-20]
        raise Error("The client went away", kind=Kind.UNAVAILABLE)

    async def reading() -> None:
        async for part in Form(broken(), TYPE):
            async for _ in part.content:
                pass

    with pytest.raises(Error, match="went away"):
        asyncio.run(reading())


def test_a_header_of_blanks_takes_no_long_time() -> None:
    """It is looked at once; tried from each of its places, this would take hours."""
    hostile = "multipart/form-data; boundary=" + " " * 1_000_000 + '"'
    with pytest.raises(Error):
        Form(each([]), hostile)
