"""Conditional requests: tables of RFC 9110, section 13."""

from __future__ import annotations

import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rex.attach.http.conditions import (
    CONDITIONS,
    Verdict,
    judge,
    may_be_partial,
    pick_headers,
)

ETAG = '"abc"'
MODIFIED = datetime.datetime(2026, 11, 23, 10, 0, 0, 500_000, tzinfo=datetime.UTC)
SAME = "Mon, 23 Nov 2026 10:00:00 GMT"
EARLIER = "Mon, 23 Nov 2026 09:59:59 GMT"
LATER = "Mon, 23 Nov 2026 10:00:01 GMT"

NO_DATES = [
    "",
    "yesterday",
    "0",
    "Mon, 23 Nov 2026 10:00:00",
    "Mon, 23 Nov 2026 10:00:00 +0100",
    "Mon, 23 Nov 2026 10:00:00 UTC",
    "23 Nov 2026 10:00:00 GMT",
    "Mon, 31 Jun 2026 10:00:00 GMT",
    "Mon, 23 Nov 2026 25:00:00 GMT",
    "Mon, 23 Nov 0000 10:00:00 GMT",
    "Mon, 23 Nov 99999 10:00:00 GMT",
    "Mon, 23 nov 2026 10:00:00 GMT",
    "Mon, 2\u0663 Nov 2026 10:00:00 GMT",
    f"{SAME}, {SAME}",
    "2026-11-23T10:00:00Z",
    "9" * 10_000,
]
"""None of them is an HTTP-date (section 5.6.7)."""

GO, SAME_YET, FAILED = Verdict.PROCEED, Verdict.NOT_MODIFIED, Verdict.PRECONDITION_FAILED


@pytest.mark.parametrize(
    ("headers", "verdict"),
    [
        ({}, GO),
        ({"range": "bytes=0-1"}, GO),
        # If-Match compares strongly.
        ({"if-match": ETAG}, GO),
        ({"if-match": "*"}, GO),
        ({"if-match": f'"x", {ETAG}'}, GO),
        ({"if-match": f'"x,{ETAG}'}, FAILED),
        ({"if-match": '"x"'}, FAILED),
        ({"if-match": f"W/{ETAG}"}, FAILED),
        ({"if-match": "abc"}, FAILED),
        ({"if-match": ""}, FAILED),
        # If-Unmodified-Since counts only without If-Match.
        ({"if-unmodified-since": SAME}, GO),
        ({"if-unmodified-since": LATER}, GO),
        ({"if-unmodified-since": EARLIER}, FAILED),
        ({"if-unmodified-since": EARLIER, "if-match": ETAG}, GO),
        ({"if-unmodified-since": LATER, "if-match": '"x"'}, FAILED),
        # If-None-Match compares weakly.
        ({"if-none-match": ETAG}, SAME_YET),
        ({"if-none-match": "*"}, SAME_YET),
        ({"if-none-match": f"W/{ETAG}"}, SAME_YET),
        ({"if-none-match": f'"x",W/"y" , {ETAG}'}, SAME_YET),
        ({"if-none-match": '"x"'}, GO),
        ({"if-none-match": '"ABC"'}, GO),
        ({"if-none-match": "abc"}, GO),
        ({"if-none-match": '"*"'}, GO),
        # If-Modified-Since counts only without If-None-Match.
        ({"if-modified-since": SAME}, SAME_YET),
        ({"if-modified-since": LATER}, SAME_YET),
        ({"if-modified-since": EARLIER}, GO),
        ({"if-modified-since": SAME, "if-none-match": '"x"'}, GO),
        ({"if-modified-since": EARLIER, "if-none-match": ETAG}, SAME_YET),
        # What fails comes before what is not modified.
        ({"if-match": '"x"', "if-none-match": ETAG}, FAILED),
        ({"if-match": ETAG, "if-none-match": ETAG}, SAME_YET),
        ({"if-unmodified-since": EARLIER, "if-modified-since": SAME}, FAILED),
        ({"if-unmodified-since": SAME, "if-modified-since": SAME}, SAME_YET),
        # The two old forms of a date.
        ({"if-modified-since": "Monday, 23-Nov-26 10:00:00 GMT"}, SAME_YET),
        ({"if-modified-since": "Monday, 23-Nov-26 09:59:59 GMT"}, GO),
        ({"if-modified-since": "Wednesday, 23-Nov-94 10:00:00 GMT"}, GO),
        ({"if-modified-since": "Mon Nov 23 10:00:00 2026"}, SAME_YET),
        ({"if-modified-since": "Tue Nov  3 10:00:00 2026"}, GO),
    ],
    ids=str,
)
def test_conditions_are_judged_in_their_order(headers: dict[str, str], verdict: Verdict) -> None:
    """As section 13.2.2 has it."""
    assert verdict is judge(headers, ETAG, MODIFIED)


@pytest.mark.parametrize("date", NO_DATES, ids=lambda date: ascii(date[:40]))
def test_what_is_no_date_is_ignored(date: str) -> None:
    """Such a condition counts as not there; one of `If-Range` as not fulfilled."""
    assert GO is judge({"if-modified-since": date}, ETAG, MODIFIED)
    assert GO is judge({"if-unmodified-since": date}, ETAG, MODIFIED)
    assert not may_be_partial({"if-range": date}, ETAG, MODIFIED)


def test_a_weak_tag_of_ours_never_matches_strongly() -> None:
    """Neither with itself nor with the same one said to be strong (section 8.8.3.2)."""
    weak = f"W/{ETAG}"
    for given_tag in (weak, ETAG):
        assert FAILED is judge({"if-match": given_tag}, weak, MODIFIED)
        assert SAME_YET is judge({"if-none-match": given_tag}, weak, MODIFIED)
        assert not may_be_partial({"if-range": given_tag}, weak, MODIFIED)


@pytest.mark.parametrize(
    ("given_value", "partial"),
    [
        (ETAG, True),
        (f" {ETAG}\t", True),
        (SAME, True),
        ("Mon Nov 23 10:00:00 2026", True),
        ('"x"', False),
        (f"W/{ETAG}", False),
        (f'{ETAG}, "x"', False),
        ("*", False),
        ("abc", False),
        (EARLIER, False),
        (LATER, False),
    ],
)
def test_a_stale_range_gives_the_whole(given_value: str, *, partial: bool) -> None:
    """`If-Range` compares strongly, and a date exactly (section 13.1.5)."""
    assert partial is may_be_partial({"if-range": given_value}, ETAG, MODIFIED)


def test_a_range_without_if_range_may_be_partial() -> None:
    """There is nothing to compare."""
    assert may_be_partial({"range": "bytes=0-1"}, ETAG, MODIFIED)


@given(st.dictionaries(st.sampled_from((*CONDITIONS, "if-range")), st.text(max_size=40)))
def test_no_header_raises(headers: dict[str, str]) -> None:
    """Whatever is in it."""
    judge(headers, ETAG, MODIFIED)
    may_be_partial(headers, ETAG, MODIFIED)


@pytest.mark.parametrize(
    ("headers", "verdict"),
    [
        ({}, GO),
        ({"if-match": ETAG}, GO),
        ({"if-match": "*"}, GO),
        ({"if-match": '"x"'}, FAILED),
        ({"if-match": f"W/{ETAG}"}, FAILED),
        ({"if-unmodified-since": SAME}, GO),
        ({"if-unmodified-since": EARLIER}, FAILED),
        ({"if-unmodified-since": EARLIER, "if-match": ETAG}, GO),
        ({"if-none-match": ETAG}, FAILED),
        ({"if-none-match": f"W/{ETAG}"}, FAILED),
        ({"if-none-match": "*"}, FAILED),
        ({"if-none-match": '"x"'}, GO),
        ({"if-modified-since": LATER}, GO),
        ({"if-modified-since": "junk"}, GO),
    ],
)
def test_a_removal_depends_on_what_is_there(headers: dict[str, str], verdict: Verdict) -> None:
    """It is never 304, and If-Modified-Since is for GET and HEAD (section 13.1.3)."""
    assert verdict is judge(headers, ETAG, MODIFIED, is_read=False)


def test_the_lines_of_a_header_are_one_list() -> None:
    """In their order, and no other header is among them (section 5.3)."""
    lines = [(b"if-match", b'"a"'), (b"x", b"y"), (b"if-match", b'"b"'), (b"if-range", b"\xff")]
    expected = {"if-match": '"a", "b"', "if-range": "\xff"}
    assert expected == pick_headers(lines, ("if-match", "if-range"))
