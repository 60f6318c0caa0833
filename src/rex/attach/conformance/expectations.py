"""Assertions of the promises, with their messages."""

from __future__ import annotations

from typing import TYPE_CHECKING, ParamSpec, TypeVar

from rex.core import Error, Kind

if TYPE_CHECKING:
    from collections.abc import Callable

    from rex.attach.conformance.harness import Harness
    from rex.attach.content.content import ContentSource
    from rex.attach.storage import Storage

__all__ = [
    "HANGS",
    "expect",
    "expect_content",
    "expect_error",
    "expect_nothing_stored",
    "expect_raises",
    "expect_round_trip",
    "expect_true",
]

P = ParamSpec("P")
X = TypeVar("X", bound=BaseException)

HANGS = 120
"""Seconds after which a thread or a coroutine is considered to hang.

A busy machine must not look like a backend that hangs, and only a backend that hangs takes so long.
"""
BLOCK = 64 * 1024
_MAX_SHOWN = 200
_MAX_LINE = 1000


def expect(what: str, expected: object, actual: object) -> None:
    """Assert that two values are equal."""
    if expected != actual:
        raise AssertionError(f"{what}: {_difference(expected, actual)}")


def expect_true(what: str, holds: object) -> None:
    """Assert that a condition holds; `what` describes the condition."""
    if not holds:
        raise AssertionError(f"does not hold: {what}")


def expect_raises(
    wanted: type[X], what: str, call: Callable[P, object], *args: P.args, **kwargs: P.kwargs
) -> X:
    """Assert that a call raises an exception of the class; return the exception."""
    try:
        result = call(*args, **kwargs)
    except wanted as failure:
        return failure
    except Exception as failure:
        found = f"{type(failure).__name__}: {failure}"
        raise AssertionError(f"{what}: expected {wanted.__name__}, got {found}") from failure
    raise AssertionError(f"{what}: expected {wanted.__name__}, but it returned {_show(result)}")


def expect_error(
    kind: Kind, what: str, call: Callable[P, object], *args: P.args, **kwargs: P.kwargs
) -> Error:
    """Assert that a call raises a printable `Error` of this kind; return the error."""
    error = expect_raises(Error, what, call, *args, **kwargs)
    expect(f"kind of the error of {what} ({error.message})", kind, error.kind)
    expect_true(f"the error of {what} has a message", error.message)
    for line in str(error).splitlines():
        expect_true(f"every line of the error of {what} is short", len(line) <= _MAX_LINE)
        expect_true(f"the error of {what} can be printed: {line!a}", line.isprintable())
    return error


def expect_nothing_stored(harness: Harness, storage: Storage) -> None:
    """Assert that the storage contains neither attachments nor garbage."""
    expect("attachments left in the storage", [], list(storage))
    expect("garbage left in the storage", [], harness.garbage(storage))


def expect_round_trip(storage: Storage, content: ContentSource, expected: bytes) -> str:
    """Store content and assert that it comes back as these bytes; return the handle."""
    handle = storage.add("sample.bin", content)
    with storage.open(handle) as stream:
        expect("content read back", expected, stream.read())
        expect("size of the open attachment", len(expected), stream.info.size)
    expect("size in stat", len(expected), storage.stat(handle).st_size)
    return handle


def expect_content(storage: Storage, handle: str, expected: bytes) -> None:
    """Assert that an attachment has these bytes."""
    with storage.open(handle) as stream:
        expect("content stored", expected, stream.read())


def _difference(expected: object, actual: object) -> str:
    if isinstance(expected, bytes) and isinstance(actual, bytes) and len(expected) > _MAX_SHOWN:

        def differs(start: int, end: int) -> bool:
            return expected[start:end] != actual[start:end]

        block = next(at for at in range(0, len(expected) + 1, BLOCK) if differs(at, at + BLOCK))
        same = next(at for at in range(block, block + BLOCK) if differs(at, at + 1))
        return f"expected {len(expected)} bytes, got {len(actual)}; only the first {same} agree"
    return f"expected {_show(expected)}, got {_show(actual)}"


def _show(value: object) -> str:
    text = repr(value)
    return text if len(text) <= _MAX_SHOWN else f"{text[:_MAX_SHOWN]}… ({len(text)} characters)"
