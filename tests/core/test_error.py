"""How the one exception prints, and what survives pickling."""

from __future__ import annotations

import copy
import errno
import pickle
import threading
import traceback

import pytest

from rex.core import Error, Kind


@pytest.mark.wording
def test_a_message_alone_prints_as_it_is() -> None:
    """Without a payload there is no colon."""
    assert str(Error("No application is active")) == "No application is active"


@pytest.mark.wording
def test_a_payload_prints_indented_below_the_message() -> None:
    """The payload may be anything that has a `str`, of any number of lines."""
    assert str(Error("Wrong settings", "a: 1\nb: 2")) == "Wrong settings:\n    a: 1\n    b: 2"
    assert str(Error("Over the limit", 17)) == "Over the limit:\n    17"


@pytest.mark.wording
def test_a_traceback_shows_the_public_name() -> None:
    """Doctests compare the last lines of a traceback, so these must not change."""
    lines = traceback.format_exception_only(Error("Ill-formed handle", "/x"))
    assert "".join(lines) == "rex.core.Error: Ill-formed handle:\n    /x\n"


@pytest.mark.wording
def test_wrapping_returns_the_same_error_and_prints_the_outermost_context_last() -> None:
    """What was being done follows what happened."""
    error = Error("Cannot be read", kind=Kind.UNAVAILABLE)
    wrapped = error.wrap("While reading", "/etc/rex.toml").wrap("While starting")
    assert wrapped is error
    assert str(error) == "Cannot be read\nWhile reading:\n    /etc/rex.toml\nWhile starting"


def test_an_error_without_a_kind_is_internal() -> None:
    """Whoever does not say what sort of failure it is has most likely made a mistake."""
    assert Error("Oh").kind is Kind.INTERNAL


@pytest.mark.wording
def test_the_repr_shows_all_parts() -> None:
    """A log of reprs tells errors apart."""
    error = Error("Gone", "/x", kind=Kind.NOT_FOUND)
    assert repr(error) == "Error('Gone', '/x', kind=Kind.NOT_FOUND)"


def test_the_code_is_that_of_the_kind_unless_there_is_a_more_precise_one() -> None:
    """So every error has one, and a program need not ask for both."""
    assert "denied" == Error("No", kind=Kind.DENIED).code
    assert "link-expired" == Error("No", kind=Kind.DENIED, code="link-expired").code


@pytest.mark.wording
def test_the_setting_at_fault_is_printed_behind_the_message() -> None:
    """The message itself does not name it."""
    error = Error("Wrong value", "expected a size", setting="attach_max_size").wrap("At start")
    assert "Wrong value" == error.message
    assert "Wrong value (setting attach_max_size)" == error.headline
    assert "Wrong value (setting attach_max_size):\n    expected a size\nAt start" == str(error)


@pytest.mark.parametrize("kind", [Kind.DENIED, Kind.CONFIGURATION])
def test_code_and_setting_survive_all_that_is_done_to_an_error(kind: Kind) -> None:
    """Wrapping, pickling, copying, and becoming an `OSError`; the repr shows both."""
    error = Error("No", "/x", kind=kind, code="link-expired", setting="attach_url")
    pickled = pickle.loads(pickle.dumps(error))  # noqa: S301 - our own
    for each in (error.wrap("While"), pickled, copy.copy(error), error.as_os_error()):
        assert ("link-expired", "attach_url") == (each.code, each.setting)
        assert "code='link-expired', setting='attach_url')" in repr(each)


@pytest.mark.wording
@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_pickled_error_comes_back_whole(protocol: int) -> None:
    """Message, payload, kind and context survive the way between processes."""
    error = Error("Gone", "/x", kind=Kind.NOT_FOUND).wrap("While reading", "y").wrap("At last")
    restored = pickle.loads(pickle.dumps(error, protocol))  # noqa: S301 - made one line above
    assert (restored.message, restored.payload, restored.kind) == ("Gone", "/x", Kind.NOT_FOUND)
    assert restored.context == (("While reading", "y"), ("At last", None))
    assert str(restored) == str(error)


SYSTEM = {
    Kind.NOT_FOUND: (FileNotFoundError, errno.ENOENT),
    Kind.EXISTS: (FileExistsError, errno.EEXIST),
    Kind.DENIED: (PermissionError, errno.EACCES),
    Kind.UNAVAILABLE: (OSError, errno.EIO),
    Kind.CORRUPT: (OSError, errno.EIO),
}
"""What the system would raise in place of an error."""


@pytest.mark.wording
@pytest.mark.parametrize("kind", SYSTEM)
def test_code_that_knows_files_only_can_catch_an_error(kind: Kind) -> None:
    """It is what the system would raise, with its number; all else is as with any other error."""
    base, number = SYSTEM[kind]
    error = Error("Gone", "/x", kind=kind)
    assert isinstance(error, base)
    assert (number, "Gone") == (error.errno, error.strerror)
    assert ("Gone", "/x") == error.args
    assert "rex.core.Error: Gone:\n    /x\n" == "".join(traceback.format_exception_only(error))
    assert f"Error('Gone', '/x', kind={kind})" == repr(error)


@pytest.mark.parametrize("kind", [kind for kind in Kind if kind not in SYSTEM])
def test_an_error_that_no_file_has_is_not_one_of_the_system(kind: Kind) -> None:
    """Code that catches what a file raises does not hide a wrong argument or setting."""
    assert not isinstance(Error("Wrong", kind=kind), OSError)


@pytest.mark.parametrize("kind", Kind)
def test_an_error_of_any_kind_can_come_out_of_a_file(kind: Kind) -> None:
    """It is an `OSError` then, and nothing else about it is another; also after pickling."""
    error = Error("Gone", "/x", kind=kind).wrap("While reading")
    raised = error.as_os_error()
    assert isinstance(raised, OSError)
    assert (raised is error) == isinstance(error, OSError)
    for each in (raised, copy.copy(raised), pickle.loads(pickle.dumps(raised))):  # noqa: S301 - our own
        assert issubclass(type(each), OSError)
        assert (str(error), repr(error), kind) == (str(each), repr(each), each.kind)
        assert error.args == each.args


def test_groups_are_split_by_error_and_by_what_the_system_calls_it() -> None:
    """``except*`` finds an error under both of its names."""
    errors = [Error("a", kind=Kind.NOT_FOUND), Error("b")]
    group = ExceptionGroup("two", [*errors, ValueError("c")])
    for known, expected in ((FileNotFoundError, errors[:1]), (Error, errors)):
        found, _ = group.split(known)
        assert found is not None
        assert expected == [*found.exceptions]


def test_an_error_may_have_heirs_of_its_own() -> None:
    """They may take any arguments, and their kind does not make another class of them."""

    class Heir(Error):  # noqa: N818 - of a test
        def __init__(self) -> None:
            super().__init__("Gone", kind=Kind.NOT_FOUND)

    assert type(Heir()) is Heir
    assert Kind.NOT_FOUND is Heir().kind


@pytest.mark.wording
def test_a_copied_error_can_be_wrapped_on_its_own() -> None:
    """The context of a copy is not the original's."""
    error = Error("Gone")
    assert str(copy.copy(error).wrap("While copying")) == "Gone\nWhile copying"
    assert str(error) == "Gone"


def test_an_error_travels_whatever_it_is_about() -> None:
    """What cannot be pickled travels as it is printed."""
    error = Error("Something about", threading.Lock()).wrap("While", object())
    assert str(error) == str(pickle.loads(pickle.dumps(error)))  # noqa: S301 - our own
