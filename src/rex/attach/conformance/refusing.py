"""Promises on content that cannot be stored: a clear error, and nothing stored."""

from __future__ import annotations

import io
import pathlib
from typing import TYPE_CHECKING, Any

from rex.attach.conformance.expectations import (
    expect,
    expect_error,
    expect_nothing_stored,
    expect_raises,
    expect_round_trip,
    expect_true,
)
from rex.attach.conformance.promise import promise
from rex.attach.conformance.samples import (
    MIB,
    FailingFile,
    ShortFile,
    fail_after,
    sample,
    split_chunks,
)
from rex.core import Error, Kind

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from rex.attach.conformance.harness import Harness
    from rex.attach.storage import Storage

LIMIT = 10_000


@promise
def a_text_file_is_refused(harness: Harness) -> None:
    """A file in text mode is refused: its encoding is not guessed."""
    with harness.storage() as storage:
        for text in ("some text", ""):
            _expect_refused(storage, io.StringIO(text))
        expect_nothing_stored(harness, storage)


@promise
def a_file_that_has_nothing_to_give_yet_is_refused(harness: Harness) -> None:
    """A non-blocking file whose `read` returns None is refused, not treated as ended."""
    with harness.storage() as storage:
        _expect_refused(storage, _NothingYet())
        expect_nothing_stored(harness, storage)


@promise
def what_is_no_content_is_refused(harness: Harness) -> None:
    """Content other than a string, bytes, a binary file or an iterable of bytes is refused."""
    with harness.storage() as storage:
        for wrong in (
            None,
            7,
            1.5,
            object(),
            pathlib.Path("scan.png"),
            bytes,
            ["text"],
            [1, 2],
            [None],
            [b"bytes", "text"],
            [[b"bytes"]],
            {"a": b"b"},
            range(3),
            _async_chunks(),
        ):
            _expect_refused(storage, wrong)
        expect_nothing_stored(harness, storage)


@promise
def text_without_an_encoding_is_refused(harness: Harness) -> None:
    """A string with a lone surrogate, which has no UTF-8 encoding, is refused."""
    with harness.storage() as storage:
        _expect_refused(storage, "half \ud800 of a pair")
        expect_nothing_stored(harness, storage)


@promise
def a_name_that_is_no_string_is_refused(harness: Harness) -> None:
    """`add` and `reserve` refuse a name that is not a string."""
    with harness.storage() as storage:
        loose: Any = storage
        for wrong in (7, b"name.txt", pathlib.Path("name.txt"), ["name.txt"]):
            expect_error(Kind.ILL_FORMED, f"add({wrong!r})", loose.add, wrong, b"data")
            expect_error(Kind.ILL_FORMED, f"reserve({wrong!r})", loose.reserve, wrong)
        expect_nothing_stored(harness, storage)


@promise
def an_ill_formed_content_type_is_refused(harness: Harness) -> None:
    """A content type that browsers cannot parse, or that would inject a header, is refused."""
    with harness.storage() as storage:
        loose: Any = storage
        for wrong in (
            "",
            "text",
            "text/",
            "/plain",
            "text/plain\r\nX-Other: 1",
            "text/plain\0",
            "text /plain",
            "téxt/plain",
            "text/plain, text/html",
            "a/" + "b" * 300,
            7,
            b"text/plain",
        ):
            what = f"add with the content type {ascii(wrong)[:40]}"
            expect_error(Kind.ILL_FORMED, what, loose.add, "a.txt", b"data", content_type=wrong)
        expect_nothing_stored(harness, storage)


@promise
def what_the_content_raises_comes_out_as_it_is(harness: Harness) -> None:
    """Exceptions raised by the content propagate unchanged, of any class."""
    with harness.storage() as storage:
        for failure in (
            ValueError("mine"),
            OSError("mine"),
            FileNotFoundError(2, "mine"),
            FileExistsError(17, "mine"),
            PermissionError(13, "mine"),
            TimeoutError("mine"),
            Error("mine", kind=Kind.NOT_FOUND),
        ):
            for size in (0, 1, MIB + 1):
                _expect_own(storage, failure, fail_after(failure, size))
                _expect_own(storage, failure, FailingFile(failure, size))
        expect_nothing_stored(harness, storage)


@promise
def content_that_fails_late_leaves_nothing(harness: Harness) -> None:
    """Content that fails after 20 MiB leaves nothing in the storage."""
    with harness.storage() as storage:
        for failure in (ValueError("late"), FileNotFoundError(2, "late")):
            _expect_own(storage, failure, fail_after(failure, 20 * MIB))
        _expect_own(storage, failure, FailingFile(failure, 20 * MIB))
        expect_nothing_stored(harness, storage)


@promise
def an_interrupt_leaves_nothing(harness: Harness) -> None:
    """KeyboardInterrupt and SystemExit propagate, early and late, and leave nothing."""
    with harness.storage() as storage:
        for interrupt in (KeyboardInterrupt(), SystemExit(3)):
            for size in (0, MIB, 10 * MIB):
                _expect_own(storage, interrupt, fail_after(interrupt, size))
        expect_nothing_stored(harness, storage)


@promise
def the_largest_size_allowed_is_allowed(harness: Harness) -> None:
    """Content of `max_size` bytes is stored, of known or unknown size."""
    data = sample(LIMIT)
    with harness.storage(max_size=LIMIT) as storage:
        expect_round_trip(storage, data, data)
        expect_round_trip(storage, split_chunks(data, 999), data)
        expect_round_trip(storage, ShortFile(data, 999), data)


@promise
def one_byte_over_the_largest_size_is_refused(harness: Harness) -> None:
    """Content of `max_size` + 1 bytes is `TOO_LARGE`, and leaves nothing."""
    data = sample(LIMIT + 1)
    with harness.storage(max_size=LIMIT) as storage:
        for content in (data, io.BytesIO(data), split_chunks(data, 999), ShortFile(data, 999)):
            what = f"add of {LIMIT + 1} bytes"
            error = expect_error(Kind.TOO_LARGE, what, storage.add, "a", content)
            expect_true("the error names the limit", str(LIMIT) in str(error))
        expect_nothing_stored(harness, storage)


@promise
def endless_content_is_cut_off_at_the_largest_size(harness: Harness) -> None:
    """Endless content is refused as soon as it exceeds `max_size`."""
    with harness.storage(max_size=9 * MIB) as storage:
        endless = iter(lambda: bytes(MIB), b"")
        expect_error(Kind.TOO_LARGE, "add without an end", storage.add, "a", endless)
        expect_nothing_stored(harness, storage)


class _NothingYet:
    """A non-blocking file without available bytes."""

    def read(self, size: int, /) -> None:
        """Return None."""


async def _async_chunks() -> AsyncIterator[bytes]:
    yield b"only storage.aio takes this"


def _expect_refused(storage: Storage, content: Any) -> None:
    what = f"add of {ascii(content)[:60]}"
    expect_error(Kind.ILL_FORMED, what, storage.add, "sample.bin", content)


def _expect_own(storage: Storage, failure: BaseException, content: Any) -> None:
    what = f"add of content that raises {failure!r}"
    try:
        raised = expect_raises(type(failure), what, storage.add, "sample.bin", content)
    except Error as error:
        raise AssertionError(f"{what}: got {error!r}") from error
    expect_true(f"{what} raises the same exception object, not {raised!r}", raised is failure)
    expect("name of the exception", type(failure), type(raised))
