"""Hostile ranges and conditions."""

from __future__ import annotations

import datetime
import functools
import time
from typing import TYPE_CHECKING

import pytest

from attach.web.hostile.conftest import KEPT
from attach.web.hostile.raw import request
from rex.attach.http.conditions import judge, may_be_partial
from rex.attach.http.ranges import parse_spans, range_start

if TYPE_CHECKING:
    from collections.abc import Callable

    from attach.web.hostile.conftest import Everywhere

MAX_HEADER = 417_792
"""The most bytes of headers that granian takes."""

WHOLE, PART, NONE = 200, 206, 416

RANGES = {
    "bytes=0-0": PART,
    "bytes=2-5": PART,
    "bytes=-3": PART,
    "bytes=5-": PART,
    "bytes=0-" + "9" * 400: PART,
    "bytes=" + "0" * 400 + "-0": PART,
    "bytes=-" + "9" * 400: PART,
    "BYTES=0-0": PART,
    "bytes=0-0,": PART,
    "bytes= 0-0": PART,
    "bytes=0-1,4-5": PART,
    "bytes=0-0,99-100": PART,
    "bytes=-0": NONE,
    "bytes=10-": NONE,
    "bytes=10-9223372036854775808": NONE,
    "bytes=18446744073709551616-": NONE,
    "bytes=" + "9" * 400 + "-": NONE,
    "bytes=99-100,200-": NONE,
    "bytes=" + ",".join(f"{at}-{at}" for at in range(5000)): WHOLE,
    "bytes=" + "0-," * 5000: WHOLE,
    "bytes=" + "," * 20000: WHOLE,
    "bytes=" + "9" * 20000 + "-": WHOLE,
    "bytes=0-1,0-1": WHOLE,
    "bytes=0-5,3-9": WHOLE,
    "bytes=0-,0-,0-,0-": WHOLE,
    "bytes=5-2": WHOLE,
    "bytes=-": WHOLE,
    "bytes=--1": WHOLE,
    "bytes=0--1": WHOLE,
    "bytes=+1-2": WHOLE,
    "bytes=1_0-": WHOLE,
    "bytes=0x1-": WHOLE,
    "bytes=1e0-": WHOLE,
    "bytes=\u0660-\u0661": WHOLE,
    "bytes=0-0-0": WHOLE,
    "bytes=0 - 0": WHOLE,
    "bytes=": WHOLE,
    "bytes": WHOLE,
    "=0-0": WHOLE,
    "": WHOLE,
    "lines=0-0": WHOLE,
    "bytes=0-0;x": WHOLE,
    "bytes=*": WHOLE,
}


@pytest.mark.parametrize("given", RANGES, ids=lambda given: ascii(given)[1:25])
def test_a_range_is_answered_in_one_of_three_ways(everywhere: Everywhere, given: str) -> None:
    """A part, the whole, or that there is none; never more bytes than there are."""
    answer = everywhere.answer(request("GET", "/attach{kept}", f"Range: {given}"))
    assert RANGES[given] == answer.status
    if answer.status == WHOLE:
        assert KEPT == answer.body
    elif answer.status == NONE:
        assert "bytes */10" == answer.headers["content-range"]
    looked_at = everywhere.answer(request("HEAD", "/attach{kept}", f"Range: {given}"), head=True)
    assert (WHOLE, "10") == (looked_at.status, looked_at.headers["content-length"])


def test_ranges_in_several_lines_are_one(everywhere: Everywhere) -> None:
    """A client that repeats the header gets no part that it did not ask for."""
    lines = ["Range: bytes=0-0"] * 2
    assert 200 == everywhere.status(request("GET", "/attach{kept}", *lines))


@pytest.mark.parametrize(
    "stale",
    [
        '"stale"',
        'W/"stale"',
        "*",
        "garbage",
        "Mon, 01 Jan 2001 00:00:00 GMT",
        "Mon, 99 Jan 2001 99:00:00 GMT",
        "",
        '"' + "a" * 20000 + '"',
        '", "' * 5000,
    ],
)
def test_a_stale_if_range_gives_the_whole(everywhere: Everywhere, stale: str) -> None:
    """Never a part of another version."""
    lines = ("Range: bytes=0-0", f"If-Range: {stale}")
    assert 200 == everywhere.status(request("GET", "/attach{kept}", *lines))


GARBAGE = [
    "",
    ",",
    "," * 20000,
    '"',
    '"' * 20000,
    'W/"' * 10000,
    '"a",' * 10000,
    "W/" * 20000,
    "garbage",
    "Mon, 31 Jun 2026 00:00:00 GMT",
    "Mon, 01 Jan 0000 00:00:00 GMT",
    "Monday, 31-Jun-99 25:61:61 GMT",
    "Mon Jan 32 00:00:00 9999",
    "Mon, 01 Jan 2\u066001 00:00:00 GMT",
    "9" * 20000,
    "\x80\xff",
    "*, *",
]


@pytest.mark.parametrize("given", GARBAGE, ids=lambda given: ascii(given)[1:25])
def test_garbage_in_a_condition_does_no_harm(everywhere: Everywhere, given: str) -> None:
    """What is no date is ignored, and what is no tag is not ours."""
    for name, status in (
        ("If-None-Match", 200),
        ("If-Modified-Since", 200),
        ("If-Unmodified-Since", 200),
        ("If-Match", 412),
    ):
        line = f"{name}: ".encode() + given.encode()
        assert status == everywhere.status(request("GET", "/attach{kept}", line)), name


@pytest.mark.parametrize("given", [*RANGES, *GARBAGE], ids=lambda given: ascii(given)[1:25])
def test_judging_takes_no_time(given: str) -> None:
    """Less than 50 ms of the processor's for each header, even if it is as long as can be sent."""
    now = datetime.datetime.now(datetime.UTC)
    names = ("if-match", "if-none-match", "if-modified-since", "if-unmodified-since")
    header = given * (MAX_HEADER // max(len(given), 1))
    calls: list[Callable[[], object]] = [
        lambda: (range_start(given), parse_spans(given, 10)),
        lambda: (range_start(header), parse_spans(header, 10)),
        lambda: may_be_partial({"if-range": header}, '"tag"', now),
        *[functools.partial(judge, {name: header}, '"tag"', now) for name in names],
    ]
    for call in calls:
        began = time.process_time()
        call()
        assert 0.05 > time.process_time() - began
