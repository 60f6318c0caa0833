"""Content types and dispositions: what browsers and mail programs read is what was meant."""

from __future__ import annotations

import email.policy
import re
from contextlib import suppress
from email.parser import HeaderParser
from typing import Any
from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rex.attach.content import media_type as content_types
from rex.attach.content.media_type import (
    INLINE_TYPES,
    content_type_for,
    disposition,
    is_inline_type,
    normalize_coding,
    text_type,
)
from rex.attach.handle import safe_file_name
from rex.core import Error, Kind

TYPES = st.from_regex(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+/[a-z0-9.+-]+", fullmatch=True)


def parsed(value: str) -> dict[str, str]:
    """Take a disposition apart by the grammar of RFC 6266 and RFC 8187, without our own code."""
    match = re.fullmatch(
        r'(?P<kind>inline|attachment); filename="(?P<plain>[\x20-\x7e]*)"'
        r"(?:; filename\*=UTF-8''(?P<coded>(?:[A-Za-z0-9!#$&+\-.^_`|~]|%[0-9A-F]{2})+))?",
        value,
    )
    assert match is not None, value
    return {name: part for name, part in match.groupdict().items() if part is not None}


@given(st.text(max_size=100).map(safe_file_name), st.booleans())
def test_a_disposition_keeps_the_name(name: str, inline: bool) -> None:  # noqa: FBT001 - generated
    """The name comes out of the header as it went in, and the header is one line of ASCII."""
    value = disposition(name, inline=inline)
    parts = parsed(value)
    assert parts["kind"] == ("inline" if inline else "attachment")
    assert name == (
        unquote(parts["coded"], errors="strict") if "coded" in parts else parts["plain"]
    )
    assert not re.search(r'["\\%]', parts["plain"])


@given(st.text(max_size=60).map(safe_file_name))
def test_another_parser_finds_the_same_name(name: str) -> None:
    """The parser of the standard library reads the kind, and the name where it is plain."""
    header = HeaderParser(policy=email.policy.HTTP).parsestr(
        f"Content-Disposition: {disposition(name)}\n\n"
    )["Content-Disposition"]
    assert header.content_disposition == "attachment"
    if "filename*" not in disposition(name):
        assert name == header.params["filename"]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("scan 1.png", 'attachment; filename="scan 1.png"'),
        ("a;b=c.txt", 'attachment; filename="a;b=c.txt"'),
        ("é.txt", "attachment; filename=\"_.txt\"; filename*=UTF-8''%C3%A9.txt"),
        ("100%.txt", "attachment; filename=\"100_.txt\"; filename*=UTF-8''100%25.txt"),
        ("it's (1)*.txt", 'attachment; filename="it\'s (1)*.txt"'),
        ("中'*.txt", "attachment; filename=\"_'*.txt\"; filename*=UTF-8''%E4%B8%AD%27%2A.txt"),
    ],
)
def test_a_disposition_is_written_as_the_rfcs_say(name: str, expected: str) -> None:
    """Plain names stand alone; any other has a plain form beside it."""
    assert expected == disposition(name)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("a.txt", "text/plain"),
        ("a.PNG", "image/png"),
        ("a.jpg", "image/jpeg"),
        ("a.html", "text/html"),
        ("a.svg", "image/svg+xml"),
        ("a.js", "text/javascript"),
        ("a.tar.gz", "application/gzip"),
        ("a.webp", "image/webp"),
        ("a.ogg", "audio/ogg"),
        ("a.", "application/octet-stream"),
        ("txt", "application/octet-stream"),
        ("a.nothing-of-the-kind", "application/octet-stream"),
    ],
)
def test_a_name_suggests_a_type(name: str, expected: str) -> None:
    """The extension decides, in any case of letters, the same on every machine."""
    assert expected == content_type_for(name)


@given(TYPES, st.sampled_from(["", "; charset=utf-8", ';charset="utf-8"', "; a=b; c=d"]))
def test_a_given_type_is_kept(given_type: str, parameters: str) -> None:
    """A type by RFC 9110, with parameters or without, is kept as it is."""
    if len(given_type) < 200:
        assert given_type + parameters == content_type_for("a.txt", given_type + parameters)


@pytest.mark.parametrize(
    "wrong",
    [
        "",
        "text",
        "text/",
        "/plain",
        "text/plain/x",
        "text plain",
        "text /plain",
        "text/ plain",
        "text/plain\r\nX-Other: 1",
        "text/plain\0",
        "text/plain, text/html",
        "text/(plain)",
        "*",
        ";charset=utf-8",
        "téxt/plain",
        "a/" + "b" * 254,
        7,
        b"text/plain",
    ],
)
def test_what_is_no_type_is_refused(wrong: Any) -> None:
    """What could break out of a header, or is no type at all, is `ILL_FORMED`."""
    with pytest.raises(Error, match="Ill-formed content type") as caught:
        content_type_for("a.txt", wrong)
    assert caught.value.kind is Kind.ILL_FORMED
    assert str(caught.value.payload).isprintable()


@pytest.mark.parametrize(
    "content_type",
    [
        "text/html",
        "image/svg+xml",
        "application/xml",
        "text/xml",
        "application/xhtml+xml",
        "text/javascript",
        "text/css",
        "application/octet-stream",
        "image/png/x",
        "",
    ],
)
def test_what_can_carry_a_script_is_not_inline(content_type: str) -> None:
    """A browser may not show in place what could run as ours."""
    assert not is_inline_type(content_type)


@pytest.mark.parametrize("content_type", sorted(INLINE_TYPES))
def test_what_is_safe_is_inline_with_parameters_too(content_type: str) -> None:
    """Letters may be of any case, and parameters may follow."""
    assert is_inline_type(content_type)
    assert is_inline_type(f"{content_type.upper()} ; a=b")


@pytest.mark.parametrize("piece", ["; ", " ;", ";", " ", "; a=b ", '; a="', "\\\\", "a/", ";a=,"])
def test_what_is_nearly_a_type_is_read_without_delay(piece: str) -> None:
    """Tried in every way that it might be read, this would take for ever."""
    with suppress(Error):
        content_type_for("a", f"a/b{piece * 80}"[:250] + "@")


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("video/webm;codecs=vp8,opus", 'video/webm;codecs="vp8,opus"'),
        ("video/webm; codecs=vp8, opus", 'video/webm;codecs="vp8, opus"'),
        ("Video/WebM;Codecs=VP8,opus;a=b", 'video/webm;codecs="VP8,opus";a=b'),
        (" text/plain", "text/plain"),
        ("\t\r\n text/plain \n", "text/plain"),
        ("text/plain ;charset = utf-8;x=y", "text/plain;x=y"),
        ("text/plain; charset", "text/plain"),
        ("text/plain;;; ;charset=utf-8, ", 'text/plain;charset="utf-8,"'),
        ("text/plain; charset=utf-8; charset=a,b", "text/plain;charset=utf-8"),
        ('text/plain; a="b\\"c;d"e;f=g', 'text/plain;a="b\\"c;d";f=g'),
        ('text/plain; a="b\\', 'text/plain;a="b\\\\"'),
        ('text/plain; a="b;c', 'text/plain;a="b;c"'),
        ('text/plain; a="";b=c d', 'text/plain;a="";b="c d"'),
        ('text/plain; a="\r\nX: y";b=c', "text/plain;b=c"),
        ("text/plain; a=é;é=a;b=c", "text/plain;b=c"),
        ("text/html;image/png", "text/html"),
        ("*/*", "*/*"),
    ],
)
def test_a_type_as_browsers_write_it_is_read_as_they_read_it(given: str, expected: str) -> None:
    """MIME Sniffing, sections 4.4 and 4.5; what comes out is one by RFC 9110."""
    assert expected == content_type_for("a", given)
    assert expected == content_type_for("a", expected)


@given(st.text(' \t\r\n;=,"\\\0/aé*-\U0001f600', max_size=40), st.booleans())
def test_no_type_breaks_out_of_its_header(text: str, is_type: bool) -> None:  # noqa: FBT001 - generated
    """Whatever is given, what is stored is short, in ASCII, and comes out again as it is."""
    with suppress(Error):
        stored = content_type_for("a", f"text/plain{text}" if is_type else text)
        assert len(stored) <= 255
        assert re.fullmatch("[ -~]+", stored)
        assert stored == content_type_for("a", stored)


def test_a_type_that_grows_too_long_is_refused() -> None:
    """Quotes take room as well."""
    assert 255 == len(content_type_for("a", f"a/b;c={'d,' * 123}e"[:253]))
    with pytest.raises(Error, match="Ill-formed content type"):
        content_type_for("a", f"a/b;c={'d,' * 124}")


@pytest.mark.parametrize("alias", sorted(content_types._ALIASES))
def test_another_name_of_a_type_that_may_be_shown_is_that_type(alias: str) -> None:
    """As browsers call it; its parameters stay, and it may be shown."""
    named = content_types._ALIASES[alias]
    assert named in INLINE_TYPES
    assert named == content_type_for("a", alias)
    assert f"{named}; a=b" == content_type_for("a", f"{alias.upper()}; a=b")
    assert f'{named};codecs="a,b"' == content_type_for("a", f"{alias};codecs=a,b")
    assert is_inline_type(alias)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("text/plain", "text/plain; charset=utf-8"),
        ("TEXT/Markdown", "TEXT/Markdown; charset=utf-8"),
        ("text/csv; header=present", "text/csv; header=present; charset=utf-8"),
        ("text/plain;", "text/plain; charset=utf-8"),
        ("text/plain; Charset=latin-1", "text/plain; Charset=latin-1"),
        ('text/plain; a="; charset=x"', 'text/plain; a="; charset=x"; charset=utf-8'),
        ("application/json", "application/json"),
        ("image/svg+xml", "image/svg+xml"),
        (f"text/{'x' * 240}", f"text/{'x' * 240}"),
    ],
)
def test_a_text_that_we_encode_says_how(given: str, expected: str) -> None:
    """Types below ``text/`` alone have a charset, and one that is given stays."""
    assert expected == text_type(given)
    assert expected == text_type(expected)


@pytest.mark.parametrize(
    ("stored", "expected"),
    [
        (None, None),
        ("", None),
        ("identity", None),
        ("Identity, identity", None),
        ("gzip", "gzip"),
        ("GZIP , identity,br", "GZIP, br"),
        ("aws-chunked", None),
        ("aws-chunked,gzip", "gzip"),
        ("not one", None),
        ("gzip\r\nX: y", None),
        ("gzip,é", None),
    ],
)
def test_a_coding_is_told_where_there_is_one(stored: str | None, expected: str | None) -> None:
    """Others may have stored anything."""
    assert expected == normalize_coding(stored)


@pytest.mark.parametrize(
    "given", ["text/plain;  charset=utf-8", "text/plain ; charset=utf-8", 'a/b; c="d\\"e"', "a/b;"]
)
def test_what_the_standard_allows_is_a_type(given: str) -> None:
    """Blanks around semicolons, quoted pairs, an empty parameter (RFC 9110, section 5.6.6)."""
    assert given == content_type_for("a", given)
