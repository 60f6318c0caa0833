"""Ranges: what a header asks for, beside an oracle that looks at single bytes."""

from __future__ import annotations

import time

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from rex.attach.http.ranges import MAX_SPANS, Span, parse_spans, range_start

SIZE = 100

spec = st.one_of(
    st.tuples(st.integers(0, 30), st.integers(0, 30)),
    st.tuples(st.integers(0, 30), st.none()),
    st.tuples(st.none(), st.integers(0, 30)),
)


def written(first: int | None, last: int | None) -> str:
    """Write a range as the header has it."""
    return f"{'' if first is None else first}-{'' if last is None else last}"


def wanted_bytes(first: int | None, last: int | None, size: int) -> list[int]:
    """Name, one by one, the positions that a range asks for (RFC 9110, section 14.1.2)."""
    if first is None:
        return [at for at in range(size) if at >= size - (last or 0)]
    return [at for at in range(size) if at >= first and (last is None or at <= last)]


@given(st.lists(spec, min_size=1, max_size=4), st.integers(0, 25))
@example([(0, 0)], 1)
@example([(None, 0)], 5)
@example([(None, 7)], 5)
@example([(0, None)], 0)
@example([(None, 5)], 0)
@example([(0, 1), (2, 3)], 4)
@example([(0, 2), (2, 3)], 4)
@example([(4, 5), (50, 60), (0, 1)], 10)
def test_the_parts_are_those_of_a_simple_oracle(
    specs: list[tuple[int | None, int | None]], size: int
) -> None:
    """The bytes of each part in order, nothing twice, and nothing that is not there."""
    header = "bytes=" + ", ".join(written(*pair) for pair in specs)
    parts = [positions for pair in specs if (positions := wanted_bytes(*pair, size))]
    named = [at for positions in parts for at in positions]
    is_valid = all(first is None or last is None or first <= last for first, last in specs)
    is_end_of_nothing = size == 0 and any(first is None and last for first, last in specs)
    spans = parse_spans(header, size)
    if not is_valid or is_end_of_nothing or len(set(named)) < len(named):
        assert spans is None
    else:
        assert spans is not None
        assert parts == [list(range(*span)) for span in spans]
        assert sum(stop - start for start, stop in spans) <= size


@given(st.lists(spec, min_size=1, max_size=4), st.integers(1, 25))
def test_a_start_known_beforehand_is_right(
    specs: list[tuple[int | None, int | None]], size: int
) -> None:
    """Where it is told before the size is known, the first part begins there."""
    header = "bytes=" + ",".join(written(*pair) for pair in specs)
    start, spans = range_start(header), parse_spans(header, size)
    if start is not None and spans:
        assert start == spans[0].start
    if start is not None and spans is None:
        assert start == 0
    if start is None:
        assert len(specs) > 1 or specs[0][0] is None


@pytest.mark.parametrize(
    ("header", "spans"),
    [
        (None, None),
        ("bytes=0-0", (Span(0, 1),)),
        ("bytes=0-99", (Span(0, 100),)),
        ("bytes=0-100", (Span(0, 100),)),
        ("BYTES=99-", (Span(99, 100),)),
        (" bytes=5-6\t", (Span(5, 7),)),
        ("bytes=,, 5-6 ,\t,", (Span(5, 7),)),
        ("bytes=005-0006", (Span(5, 7),)),
        ("bytes=-1", (Span(99, 100),)),
        ("bytes=-1000", (Span(0, 100),)),
        ("bytes=90-99, 0-9", (Span(90, 100), Span(0, 10))),
        ("bytes=0-9,500-", (Span(0, 10),)),
        ("bytes=0-" + "9" * 400, (Span(0, 100),)),
        ("bytes=-" + "9" * 400, (Span(0, 100),)),
        ("bytes=100-", ()),
        ("bytes=100-, -0", ()),
        ("bytes=-0", ()),
        ("bytes=" + "9" * 400 + "-", ()),
    ],
    ids=lambda value: ascii(value)[:24],
)
def test_a_range_is_read_as_it_is_meant(header: str | None, spans: tuple[Span, ...] | None) -> None:
    """Of 100 bytes."""
    assert spans == parse_spans(header, SIZE)


@pytest.mark.parametrize(
    "header",
    [
        "",
        "bytes",
        "bytes=",
        "bytes= ,",
        "bytes=-",
        "bytes=--5",
        "bytes=5",
        "bytes=5-4",
        "bytes=1-2-3",
        "bytes=1 - 2",
        "bytes=a-b",
        "bytes=0x1-2",
        "bytes=+1-2",
        "bytes=1_0-20",
        "bytes=1.5-2",
        "bytes=\u0661-\u0662",
        "bytes=\u00b2-",
        "bytes=0-1\n",
        "bytes=0-1,junk",
        "bytes =0-1",
        "items=0-1",
        "seconds=1-2",
        "=0-1",
        "0-1",
        "bytes=0-1, bytes=2-3",
        "bytes=0-1,1-2",
        "bytes=0-,0-",
        "bytes=0-50,-60",
        "bytes=" + ",".join(f"{at}-{at}" for at in range(0, 2 * MAX_SPANS + 2, 2)),
        "bytes=0-" + "9" * 5000,
    ],
    ids=lambda header: ascii(header[:24]),
)
def test_what_is_no_range_or_too_much_is_ignored(header: str) -> None:
    """Which gives the whole, from its beginning."""
    assert parse_spans(header, SIZE) is None
    if "," not in header:
        assert range_start(header) == 0


def test_as_many_parts_as_allowed_are_given() -> None:
    """The limit itself is allowed."""
    header = "bytes=" + ",".join(f"{at}-{at}" for at in range(0, 2 * MAX_SPANS, 2))
    spans = parse_spans(header, SIZE)
    assert spans is not None
    assert MAX_SPANS == len(spans)


@given(st.text(alphabet="bytes=-,0123456789 \t\n\x00٣²é", max_size=80), st.integers(0, 10**20))
def test_no_header_raises(header: str, size: int) -> None:
    """Whatever it is; and what comes out lies in the attachment."""
    for given_header in (header, f"bytes={header}"):
        range_start(given_header)
        for span in parse_spans(given_header, size) or ():
            assert 0 <= span.start < span.stop <= size


@pytest.mark.parametrize(
    "header",
    [
        "bytes=" + ",".join(f"{at}-{at}" for at in range(5000)),
        "bytes=" + ",".join(["0-"] * 5000),
        "bytes=" + ",".join(["-0"] * 5000),
        "bytes=" + ",".join(["9" * 400 + "-"] * 5000),
        "bytes=" + "," * 100_000,
        "bytes=" + " " * 100_000,
        "bytes=" + "-" * 100_000,
        "bytes=" + "9" * 1_000_000 + "-",
        "bytes=0-" + "9" * 400,
        "=" * 100_000,
    ],
    ids=lambda header: header[:12],
)
def test_hostile_ranges_cost_no_time(header: str) -> None:
    """Each far below 50 ms of CPU."""
    began = time.process_time()
    range_start(header)
    parse_spans(header, 10**9)
    assert time.process_time() - began < 0.05


def test_the_content_range_names_the_last_byte() -> None:
    """It is inclusive in the header, and exclusive here (RFC 9110, section 14.4)."""
    assert Span(0, 10).content_range(100) == "bytes 0-9/100"
