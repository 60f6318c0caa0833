"""Hostile requests for links (JSON), and hostile parameters of listings."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

import pytest

from attach.web.hostile.raw import request

if TYPE_CHECKING:
    from attach.web.hostile.conftest import Everywhere

LINKS = "/attach/links"

HANDLE = re.compile(r"/[0-9/]{11}[0-9a-f-]{36}/[^/\\\0-\x1f\"<>\ud800-\udfff]+")

ILL_FORMED: dict[str, bytes] = {
    "nothing": b"",
    "no JSON": b"name=a",
    "a list": b'["name"]',
    "a text": b'"name"',
    "null": b"null",
    "NaN": b"NaN",
    "half": b'{"name": "a"',
    "two": b'{"name": "a"}{"name": "b"}',
    "a comment": b'{"name": "a"} // x',
    "single quotes": b"{'name': 'a'}",
    "no name": b"{}",
    "another member": b'{"Name": "a"}',
    "deep lists": b"[" * 30_000,
    "deep objects": b'{"a":' * 10_000,
    "a deep member": b'{"name": ' + b"[" * 30_000 + b"]" * 30_000 + b"}",
    "a huge number": b'{"name": "a", "size": ' + b"9" * 30_000 + b"}",
    "ill-encoded": b'{"name": "\xff\xfe"}',
    "overlong": b'{"name": "\xc0\xae"}',
    "a control character": b'{"name": "a\x00"}',
    "UTF-16 of nothing": b"\xff\xfe",
    "the last of two names": b'{"name": "a", "name": 1}',
}

WRONG: dict[str, list[Any]] = {
    "name": [None, 1, True, 1.5, [], {}, ["a"], {"$ne": ""}],
    "size": [-1, 1.5, True, "x", "-1", "1e3", "", [], {}, [1], "٣x", "9" * 5000, float("nan")],
    "content_type": [1, True, [], {}, "", "x", "a/b\r\nX: y", "a/b, c/d", "\u0000", "x/" * 5000],
    "method": [1, True, [], {}, "", "get", "GET", "DELETE", "put", "PUT\r\nX: y", "P" * 5000],
}


@pytest.mark.parametrize("what", ILL_FORMED)
def test_what_is_no_request_for_a_link_is_refused(everywhere: Everywhere, what: str) -> None:
    """On every storage, whether it makes links or not."""
    for lines in ((), ("Content-Type: application/json",), ("Content-Type: text/plain; x",)):
        answer = everywhere.answer(request("POST", LINKS, *lines, body=ILL_FORMED[what]))
        assert (400, "ill-formed") == (answer.status, answer.json["kind"])


@pytest.mark.parametrize(
    ("member", "value"),
    [(member, value) for member, values in WRONG.items() for value in values],
    ids=lambda given: ascii(given)[:30],
)
def test_a_member_of_a_wrong_kind_is_refused(
    everywhere: Everywhere, member: str, value: object
) -> None:
    """On every storage, before it is asked for a link."""
    body = json.dumps({"name": "a", member: value}).encode()
    assert 400 == everywhere.status(request("POST", LINKS, body=body))


@pytest.mark.parametrize("size", ["1e999", "1000001", "9" * 400, '"1 TB"', "18446744073709551616"])
def test_a_size_beyond_the_limit_is_refused(everywhere: Everywhere, size: str) -> None:
    """However it is written."""
    body = b'{"name": "a", "size": %s}' % size.encode()
    status = everywhere.status(request("POST", LINKS, body=body))
    assert status in (400, 413)


def test_a_request_for_a_link_is_small(everywhere: Everywhere) -> None:
    """A longer one is not read."""
    for body in (b'{"name": "' + b"a" * 70_000 + b'"}', b" " * 70_000 + b"{}", b"[" * 10_000_000):
        assert everywhere.status(request("POST", LINKS, body=body)) in (413, None)


@pytest.mark.parametrize(
    "name",
    [
        "../../etc/passwd",
        "a\ud800b.txt",
        "\ud83d\ude00.txt",
        "a\0\r\nX: y",
        '"><svg/onload=alert(1)>',
        "${filename}",
        "a" * 5000,
        "",
        "__proto__",
    ],
    ids=lambda given: ascii(given)[:30],
)
def test_a_link_is_for_a_harmless_name_or_none(everywhere: Everywhere, name: str) -> None:
    """The handle is one of ours, whatever the name."""
    body = json.dumps({"name": name}).encode()
    for answer in everywhere.each(request("POST", LINKS, body=body)):
        assert answer
        assert 201 == answer.status
        assert HANDLE.fullmatch(answer.json["handle"])


HOSTS = [
    "Host: evil.example",
    "X-Forwarded-Host: evil.example",
    "X-Forwarded-Proto: https",
    "X-Forwarded-Prefix: /evil.example",
    "Forwarded: host=evil.example;proto=https",
    "X-Original-Host: evil.example",
    "X-Script-Name: /evil.example",
]


@pytest.mark.parametrize("line", HOSTS)
def test_an_address_is_never_taken_from_a_request(everywhere: Everywhere, line: str) -> None:
    """Urls, the next page and the links stay where they were."""
    told = everywhere.each(request("POST", LINKS, line, body=b'{"name": "a"}'))
    told += everywhere.each(request("GET", "/attach{kept}?link", line))
    for service in everywhere.services:
        for _ in range(2):
            told.append(everywhere.one(service, request("POST", "/attach/?name=a", line, body=b"")))
            assert told[-1]
            assert told[-1].headers["location"].startswith("/attach/20")
        told.append(everywhere.one(service, request("GET", "/attach/?limit=1", line)))
        assert told[-1]
        assert told[-1].json["next"].startswith("/attach/?limit=1&after=%2F20")
        everywhere.clean(service)
    for answer in told:
        assert answer
        assert b"evil" not in answer.body


@pytest.mark.parametrize(
    "query",
    [
        "limit=0",
        "limit=-1",
        "limit=1001",
        "limit=" + "9" * 5000,
        "limit=1e2",
        "limit=%201",
        "limit=1%0a",
        "limit=+1",
        "limit=0x1",
        "limit=%D9%A3",
        "limit=",
        "limit=NaN",
        "limit=1&limit=x",
        "day=x",
        "day=2026-13-01",
        "day=2026-02-30",
        "day=20261123",
        "day=2026-W48-1",
        "day=2026-11-23T00:00:00",
        "day=0000-01-01",
        "day=%D9%A2%D9%A0%D9%A2%D9%A6-11-23",
        "day=2026-11-23%0a",
        "day=../../..",
        "day=2026-11-23%00",
        "day=" + "2" * 5000,
        "day=%ff",
        "after=x",
        "after=/",
        "after=../../etc/passwd",
        "after=%00",
        "after=%ff",
        "after=/2026/13/01/5f5e1d5e-6c1c-4e0a-9b0a-0123456789ab/a",
        "after={kept}/",
        "after={kept}%0a",
        "after=" + "a" * 5000,
        "after=/" + "a/" * 5000,
    ],
    ids=lambda given: given[:40],
)
def test_a_listing_is_for_what_can_be_listed(everywhere: Everywhere, query: str) -> None:
    """Anything else is refused, by name."""
    answer = everywhere.answer(request("GET", f"/attach/?{query}"))
    assert (400, "ill-formed") == (answer.status, answer.json["kind"])


@pytest.mark.parametrize(
    "query",
    [
        "day=0001-01-01",
        "day=9999-12-31",
        "day=2026-11-23&after={kept}",
        "limit=1000&day=1999-01-01",
    ],
)
def test_a_listing_of_another_day_is_empty(everywhere: Everywhere, query: str) -> None:
    """The first and the last day are days."""
    answer = everywhere.answer(request("GET", f"/attach/?{query}"))
    assert {"attachments": [], "next": None} == answer.json


def test_unknown_parameters_of_a_listing_are_ignored(everywhere: Everywhere) -> None:
    """However many there are."""
    for query in (
        "x=y",
        "&" * 5000,
        "a&" * 20_000,
        "%zz=%",
        "prefix=../&delimiter=/&endpoint=file:///",
    ):
        answer = everywhere.answer(request("GET", f"/attach/?{query}"))
        assert 1 == len(answer.json["attachments"])


def test_a_download_link_is_signed_for_what_it_is(everywhere: Everywhere) -> None:
    """Its holder can neither change nor add a parameter of it."""
    *_, s3 = everywhere.services
    answer = everywhere.one(s3, request("GET", "/attach{kept}?link&expires=999999&inline=1"))
    query = parse_qs(urlsplit(answer.json["url"]).query)
    assert ["3600"] == query["X-Amz-Expires"]
    assert ['attachment; filename="kept.txt"'] == query["response-content-disposition"]
