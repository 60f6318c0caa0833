"""How the one exception prints, and what survives pickling."""

from __future__ import annotations

import copy
import pickle
import threading
import traceback

import pytest

from rex.core import Error, Kind


def test_a_message_alone_prints_as_it_is() -> None:
    """Without a payload there is no colon."""
    assert str(Error("No application is active")) == "No application is active"


def test_a_payload_prints_indented_below_the_message() -> None:
    """The payload may be anything that has a `str`, of any number of lines."""
    assert str(Error("Wrong settings", "a: 1\nb: 2")) == "Wrong settings:\n    a: 1\n    b: 2"
    assert str(Error("Over the limit", 17)) == "Over the limit:\n    17"


def test_a_traceback_shows_the_public_name() -> None:
    """Doctests compare the last lines of a traceback, so these must not change."""
    lines = traceback.format_exception_only(Error("Ill-formed handle", "/x"))
    assert "".join(lines) == "rex.core.Error: Ill-formed handle:\n    /x\n"


def test_wrapping_returns_the_same_error_and_prints_the_outermost_context_last() -> None:
    """What was being done follows what happened."""
    error = Error("Cannot be read", kind=Kind.UNAVAILABLE)
    wrapped = error.wrap("While reading", "/etc/rex.toml").wrap("While starting")
    assert wrapped is error
    assert str(error) == "Cannot be read\nWhile reading:\n    /etc/rex.toml\nWhile starting"


def test_an_error_without_a_kind_is_internal() -> None:
    """Whoever does not say what sort of failure it is has most likely made a mistake."""
    assert Error("Oh").kind is Kind.INTERNAL


def test_the_repr_shows_all_parts() -> None:
    """A log of reprs tells errors apart."""
    error = Error("Gone", "/x", kind=Kind.NOT_FOUND)
    assert repr(error) == "Error('Gone', '/x', kind=Kind.NOT_FOUND)"


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_pickled_error_comes_back_whole(protocol: int) -> None:
    """Message, payload, kind and context survive the way between processes."""
    error = Error("Gone", "/x", kind=Kind.NOT_FOUND).wrap("While reading", "y").wrap("At last")
    restored = pickle.loads(pickle.dumps(error, protocol))  # noqa: S301 - made one line above
    assert (restored.message, restored.payload, restored.kind) == ("Gone", "/x", Kind.NOT_FOUND)
    assert restored.context == (("While reading", "y"), ("At last", None))
    assert str(restored) == str(error)


def test_a_copied_error_can_be_wrapped_on_its_own() -> None:
    """The context of a copy is not the original's."""
    error = Error("Gone")
    assert str(copy.copy(error).wrap("While copying")) == "Gone\nWhile copying"
    assert str(error) == "Gone"


def test_an_error_travels_whatever_it_is_about() -> None:
    """What cannot be pickled travels as it is printed."""
    error = Error("Something about", threading.Lock()).wrap("While", object())
    assert str(error) == str(pickle.loads(pickle.dumps(error)))  # noqa: S301 - our own
