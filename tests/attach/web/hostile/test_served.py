"""Hostile content, and pages of other sites."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from attach.web.hostile.raw import file_part, form, request

if TYPE_CHECKING:
    from attach.web.hostile.conftest import Everywhere

SAFETY = {
    "x-content-type-options": "nosniff",
    "content-security-policy": "sandbox; default-src 'none'",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
}

SVG = b'<svg xmlns="http://www.w3.org/2000/svg" onload="alert(1)"/>'
HTML = b"<!doctype html><script>alert(1)</script>"
XML = b'<?xml version="1.0"?><x:script xmlns:x="http://www.w3.org/1999/xhtml">alert(1)</x:script>'
POLYGLOT = b"GIF89a/*\x00" + HTML + b"*/=1"

CONTENTS = [
    ("a.svg", None, SVG, "attachment"),
    ("a.png", "image/svg+xml", SVG, "attachment"),
    ("a.svgz", None, b"\x1f\x8b" + SVG, "attachment"),
    ("a.html", None, HTML, "attachment"),
    ("a.htm", "text/html; charset=utf-7", HTML, "attachment"),
    ("a.png", "text/html", HTML, "attachment"),
    ("a.png", "TEXT/HTML", HTML, "attachment"),
    ("a.png", "text/html;image/png", HTML, "attachment"),
    ("a.png", "text/html,image/png", HTML, None),
    ("a.xhtml", None, XML, "attachment"),
    ("a.xml", None, XML, "attachment"),
    ("a.xsl", "application/xslt+xml", XML, "attachment"),
    ("a.js", None, b"alert(1)", "attachment"),
    ("a.swf", None, b"FWS", "attachment"),
    ("a.mht", "multipart/related", HTML, None),
    ("a.eml", "message/rfc822", HTML, "attachment"),
    ("a.xyz", "image/xyz", HTML, "attachment"),
    ("a.html", "application/octet-stream", HTML, "attachment"),
    ("a", None, HTML, "attachment"),
    ("a.png", None, HTML, "inline"),
    ("a.gif", None, POLYGLOT, "inline"),
    ("a.txt", None, HTML, "inline"),
    ("a.pdf", None, b"%PDF-1.7 " + HTML, "inline"),
    ("a.txt", "text/plain; charset=utf-7", b"+ADw-script+AD4-", "inline"),
]


@pytest.mark.parametrize(("name", "given", "content", "shown"), CONTENTS)
def test_content_cannot_become_a_page(
    everywhere: Everywhere, name: str, given: str | None, content: bytes, shown: str | None
) -> None:
    """In whole, in part, by HEAD, and where nothing or a problem is answered."""
    lines = [] if given is None else [f"Content-Type: {given}"]
    for service in everywhere.services:
        stored = everywhere.one(
            service, request("POST", f"/attach/?name={name}", *lines, body=content)
        )
        if shown is None:
            assert 400 == stored.status
            continue
        url = stored.headers["location"]
        for line in ("X: y", "Range: bytes=0-1", "Range: bytes=0-0,2-2", "If-None-Match: *"):
            answer = everywhere.one(service, request("GET", url, line))
            assert SAFETY.items() <= answer.headers.items()
            if answer.status != 304:
                assert shown == answer.headers["content-disposition"].partition(";")[0]
        whole = everywhere.one(service, request("HEAD", url), head=True)
        assert SAFETY.items() <= whole.headers.items()
        if given not in (None, "application/octet-stream"):
            assert given.removesuffix(";image/png") == whole.headers["content-type"]
        for line in ("Range: bytes=999-", 'If-Match: "x"'):
            refused = everywhere.one(service, request("GET", url, line))
            assert SAFETY.items() <= refused.headers.items()
            assert "application/problem+json" == refused.headers["content-type"]
        assert 204 == everywhere.one(service, request("DELETE", url)).status


PLAYED = SAFETY | {
    "content-security-policy": "sandbox allow-same-origin; default-src 'none'; "
    "media-src 'self'; style-src 'unsafe-inline'"
}


@pytest.mark.parametrize(
    ("name", "given"),
    [
        ("a.webm", "video/webm;codecs=vp8,opus"),
        ("a.mp3", None),
        ("a.html", "audio/x-m4a"),
        ("a.html", "video/mp4"),
    ],
)
def test_what_is_played_cannot_become_a_page_either(
    everywhere: Everywhere, name: str, given: str | None
) -> None:
    """Its policy lets it play, and allows no script; of what is refused, nothing is played."""
    lines = [] if given is None else [f"Content-Type: {given}"]
    for service in everywhere.services:
        stored = everywhere.one(
            service, request("POST", f"/attach/?name={name}", *lines, body=HTML)
        )
        url = stored.headers["location"]
        for line in ("X: y", "Range: bytes=0-1", "Range: bytes=0-0,2-2", "If-None-Match: *"):
            assert (
                PLAYED.items() <= everywhere.one(service, request("GET", url, line)).headers.items()
            )
        refused = everywhere.one(service, request("GET", url, "Range: bytes=999-"))
        assert SAFETY.items() <= refused.headers.items()
        assert 204 == everywhere.one(service, request("DELETE", url)).status


def test_a_form_is_served_as_carefully(everywhere: Everywhere) -> None:
    """A type that a part claims is stored; it is not shown in place."""
    part = file_part('name="f"; filename="a.png"', SVG)
    part = part.replace(b"\r\n\r\n", b"\r\nContent-Type: image/svg+xml\r\n\r\n", 1)
    typed = "Content-Type: multipart/form-data; boundary=edge"
    for service in everywhere.services:
        stored = everywhere.one(service, request("POST", "/attach/", typed, body=form(part)))
        url = stored.headers["location"]
        answer = everywhere.one(service, request("GET", url))
        assert "image/svg+xml" == answer.headers["content-type"]
        assert 'attachment; filename="a.png"' == answer.headers["content-disposition"]
        assert 204 == everywhere.one(service, request("DELETE", url)).status


@pytest.mark.parametrize(
    "query", ["inline=1", "response-content-type=text/html", "filename=x.html"]
)
@pytest.mark.parametrize("accept", ["text/html", "*/*", "image/png"])
def test_who_downloads_cannot_choose_the_headers(
    everywhere: Everywhere, query: str, accept: str
) -> None:
    """By the query or by what is accepted."""
    plain = everywhere.answer(request("GET", "/attach{kept}"))
    asked = request("GET", f"/attach{{kept}}?{query}", f"Accept: {accept}")
    answer = everywhere.answer(asked)
    names = ("content-type", "content-disposition", *SAFETY)
    assert [plain.headers[name] for name in names] == [answer.headers[name] for name in names]


CROSS_SITE = [
    ["Origin: https://evil.example"],
    ["Origin: null"],
    ["Origin:"],
    ["Origin: http://here.evil.example"],
    ["Origin: http://here:81"],
    ["Origin: https://here"],
    ["Origin: http://HERE"],
    ["Origin: http://here/"],
    ["Origin: http://here, http://evil.example"],
    ["Origin: http://evil.example", "Origin: http://here"],
    [b"Origin: http://here\xff"],
    ["Origin: " + "a" * 50_000],
    ["Origin: https://evil.example", "Sec-Fetch-Site: cross-site"],
    ["Origin: https://evil.example", "Sec-Fetch-Site: none"],
    ["Origin: https://evil.example", "X-Forwarded-Host: evil.example"],
    ["Origin: https://evil.example", "Forwarded: host=evil.example;proto=https"],
    ["Origin: https://evil.example", "Referer: http://here/"],
    ["Sec-Fetch-Site: cross-site"],
    ["Sec-Fetch-Site: same-site"],
]


@pytest.mark.parametrize("headers", CROSS_SITE, ids=lambda given: ascii(given)[:60])
def test_pages_of_other_sites_are_refused(everywhere: Everywhere, headers: list[str]) -> None:
    """Their forms, scripts and images change nothing, even with a key that is right."""
    typed = "Content-Type: multipart/form-data; boundary=edge"
    body = form(file_part('name="f"; filename="a.txt"'))
    for data in (
        request("POST", "/attach/", typed, *headers, body=body),
        request("POST", "/attach/?name=a", "Content-Type: text/plain", *headers, body=b"x"),
        request("DELETE", "/attach{kept}", *headers),
        request("POST", "/attach/links", *headers, body=b'{"name": "a"}'),
    ):
        answer = everywhere.answer(data)
        assert 403 == answer.status
        assert not [name for name in answer.headers if name.startswith("access-control")]


@pytest.mark.parametrize("method", ["OPTIONS", "GET"])
def test_pages_of_other_sites_may_read_nothing(everywhere: Everywhere, method: str) -> None:
    """Nobody tells their browser that they may."""
    lines = ("Origin: https://evil.example", "Access-Control-Request-Method: DELETE")
    answer = everywhere.answer(request(method, "/attach{kept}", *lines))
    assert not [name for name in answer.headers if name.startswith("access-control")]


@pytest.mark.parametrize(
    "headers", [["Origin: http://here"], ["Origin: null", "Sec-Fetch-Site: same-origin"]]
)
def test_pages_of_our_own_may_upload(everywhere: Everywhere, headers: list[str]) -> None:
    """So that what is refused above is refused for what it is."""
    assert ["a"] == everywhere.stored(request("POST", "/attach/?name=a", *headers, body=b"x"))
