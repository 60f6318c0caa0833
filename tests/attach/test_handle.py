"""Handles and file names: what is made can be parsed, and no name can do harm."""

from __future__ import annotations

import datetime
import re
import unicodedata
from typing import TYPE_CHECKING, Any, NoReturn

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rex.attach import handle as handles
from rex.attach.backends.memory.storage import MemoryStorage
from rex.attach.conformance import Harness, failures, promises
from rex.attach.conformance.handles import ILL_FORMED
from rex.attach.handle import (
    FALLBACK_NAME,
    MAX_NAME_BYTES,
    handle_of,
    key_of,
    make_handle,
    parse_handle,
    safe_file_name,
    show,
)
from rex.core import Error, Kind

if TYPE_CHECKING:
    from rex.attach.storage import Storage

FOLDER = "/2026/11/23/5f5e1d5e-6c1c-4e0a-9b0a-0123456789ab"

NASTY = st.text(
    st.one_of(
        st.sampled_from("/\\.. \t\n\0:*?<>|\"'%$#{}\u200b\u202e\u2028\ud800\u0301é中COMNUL189²"),
        st.characters(),
    ),
    max_size=300,
)


@given(NASTY)
def test_a_safe_name_stays_as_it_is(name: str) -> None:
    """Making a name harmless twice changes nothing more."""
    safe = safe_file_name(name)
    assert safe == safe_file_name(safe)


@given(NASTY)
def test_a_safe_name_can_do_no_harm(name: str) -> None:
    """A safe name is one component, visible, normalised, and not too long anywhere."""
    safe = safe_file_name(name)
    assert 1 <= len(safe.encode()) <= MAX_NAME_BYTES
    assert not re.search(r'[/\\<>:"|?*]|\$\{', safe)
    assert safe[0] not in ". "
    assert safe[-1] not in ". "
    assert safe == unicodedata.normalize("NFC", safe)
    assert {unicodedata.category(char) for char in safe}.isdisjoint({"Cc", "Cf", "Cs", "Zl", "Zp"})


@given(st.text("aA0_-. CONAUX1$\n\u00e9", max_size=300))
def test_the_short_way_of_plain_names_is_no_other(name: str) -> None:
    """Whatever takes it would come out of the long one as it stands."""
    short = safe_file_name(name)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(handles, "_PLAIN", re.compile(r"(?!)"))
        assert safe_file_name(name) == short


@given(NASTY)
def test_a_made_handle_can_be_parsed(name: str) -> None:
    """What `make_handle` makes is a handle of today, with the safe name."""
    handle = make_handle(name)
    parsed = parse_handle(handle)
    today = datetime.datetime.now(datetime.UTC).date()
    assert abs(today - parsed.day) <= datetime.timedelta(days=1)
    assert safe_file_name(name) == parsed.name
    assert f"/{parsed.day:%Y/%m/%d}/{parsed.id}/{parsed.name}" == handle
    assert handle == handle_of(key_of(handle))


@given(st.text(max_size=100) | NASTY.map(lambda name: f"{FOLDER}/{name}"))
def test_only_what_could_have_been_made_is_a_handle(text: str) -> None:
    """A text is a handle only when its name is safe already.

    A character that this Python does not know is in no name that it makes, but it may be in one
    that a newer Python has made.
    """
    handle = handle_of(text[1:])
    if handle is not None:
        name = parse_handle(handle).name
        unknown = any(unicodedata.category(char) == "Cn" for char in name)
        assert unknown or name == safe_file_name(name)
        assert text[1:] == key_of(handle)
        assert text.endswith(f"/{name}")


@given(st.text(max_size=1000).filter(lambda text: handle_of(text[1:]) is None))
def test_the_error_of_an_ill_formed_handle_can_be_shown(text: str) -> None:
    """Whatever was given, the error is a message and one line that a terminal can show."""
    with pytest.raises(Error, match="Ill-formed attachment handle") as caught:
        parse_handle(text)
    assert caught.value.kind is Kind.ILL_FORMED
    assert str(caught.value.payload).isprintable()
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("scan.png", "scan.png"),
        ("../../x.txt", "x.txt"),
        ("C:\\Windows\\x.txt", "x.txt"),
        ("sub/dir\\x.txt", "x.txt"),
        ("folder/", FALLBACK_NAME),
        ("", FALLBACK_NAME),
        (".", FALLBACK_NAME),
        ("..", FALLBACK_NAME),
        ("\u200b", FALLBACK_NAME),
        (" . . ", FALLBACK_NAME),
        (".htaccess", "htaccess"),
        ("..hidden..", "hidden"),
        ("a\0b\x07.txt", "ab.txt"),
        ("a\r\nSet-Cookie: x.txt", "aSet-Cookie_ x.txt"),
        ("photo\u202egpj.exe", "photogpj.exe"),
        ("a\ud800.txt", "a.txt"),
        ("a\u2028b\u2029.txt", "ab.txt"),
        ("CON", "_CON"),
        ("con.txt", "_con.txt"),
        ("nul.txt", "_nul.txt"),
        ("COM1.log", "_COM1.log"),
        ("com\N{SUPERSCRIPT ONE}", "_com\N{SUPERSCRIPT ONE}"),
        ("LPT9 .txt", "_LPT9 .txt"),
        ("CONIN$", "_CONIN$"),
        ("console.log", "console.log"),
        ("a.txt::$DATA", "a.txt__$DATA"),
        ("a.txt...", "a.txt"),
        ("a.txt ", "a.txt"),
        ("e\u0301.txt", "é.txt"),
        ("中文.jpg", "中文.jpg"),
        ('"><img src=x onerror=alert(1)>', "___img src=x onerror=alert(1)_"),
        ("$(id)`id`;id", "$(id)`id`;id"),
        ("*?[a-z]", "__[a-z]"),
        ("${filename}", "_{filename}"),
        ("%2e%2e%2fx", "%2e%2e%2fx"),
        ("{0.__class__}%s", "{0.__class__}%s"),
        ("a" * 300, "a" * 255),
        ("é" * 200, "é" * 127),
        ("é" * 200 + ".txt", "é" * 125 + ".txt"),
        ("a" * 300 + ".tar.gz", "a" * 252 + ".gz"),
        ("a." + "b" * 300, "a." + "b" * 253),
        ("\N{GRINNING FACE}" * 100, "\N{GRINNING FACE}" * 63),
    ],
)
def test_a_hostile_name_becomes_harmless(name: str, expected: str) -> None:
    """Each rule for names, by example."""
    assert expected == safe_file_name(name)


def test_a_file_without_a_name_is_called_as_if_nothing_were_left_of_one() -> None:
    """A form may name none; `safe_file_name` itself wants a string."""
    assert make_handle(None).endswith("/attachment")
    nameless: Any = None
    with pytest.raises(Error, match="A file name must be a string"):
        safe_file_name(nameless)


@pytest.mark.parametrize("name", [7, b"name.txt", ["name.txt"]])
def test_a_name_is_a_string(name: Any) -> None:
    """What is no string is refused, not turned into one."""
    with pytest.raises(Error, match="A file name must be a string") as caught:
        make_handle(name)
    assert caught.value.kind is Kind.ILL_FORMED


def id_of(handle: Any) -> str:
    """Name a handle in a test, the same in each process."""
    return ascii(show(handle)).partition(" at 0x")[0][:40]


@pytest.mark.parametrize("handle", ILL_FORMED, ids=id_of)
def test_what_is_no_handle_is_refused(handle: Any) -> None:
    """`parse_handle` and `key_of` refuse it, and say what was given in one line."""
    for parse in (parse_handle, key_of):
        with pytest.raises(Error, match="Ill-formed attachment handle") as caught:
            parse(handle)
        assert caught.value.kind is Kind.ILL_FORMED
        assert len(str(caught.value)) < 500
        assert str(caught.value.payload).isprintable()


@pytest.mark.parametrize(
    "key", ["", "a.txt", "2026/11/23/", FOLDER[1:], f"{FOLDER[1:]}/.beside.json", ".partial-0f"]
)
def test_a_key_that_is_not_ours_has_no_handle(key: str) -> None:
    """Whatever else lies in a bucket or a directory is passed over."""
    assert handle_of(key) is None


def test_a_handle_stays_what_it_is() -> None:
    """The form of handles is fixed for ever: one made long ago can be parsed."""
    parsed = parse_handle(f"{FOLDER}/scan 1.png")
    assert datetime.date(2026, 11, 23) == parsed.day
    assert parsed.id == "5f5e1d5e-6c1c-4e0a-9b0a-0123456789ab"
    assert parsed.name == "scan 1.png"


class Untouchable(MemoryStorage):
    """A storage that nobody may ask anything but to add and to list."""


def _refuse(*_: object) -> NoReturn:
    raise AssertionError("the storage was asked")


for hook in ("_get", "_head", "_delete", "_sign_get", "_sign_post", "_sign_put"):
    setattr(Untouchable, hook, _refuse)


class UntouchableHarness(Harness):
    """Opens storages that nobody may ask."""

    def open(self, *, max_size: int | None = None) -> Storage:
        """Give a storage that nobody may ask."""
        return Untouchable(max_size=max_size)


def test_what_is_no_handle_never_reaches_the_storage() -> None:
    """Ill-formed handles are refused by every verb before any hook is called."""
    refusals = tuple(p for p in promises if p.__name__.startswith("a_handle_that_is_none"))
    assert len(refusals) == 4
    assert [] == failures(UntouchableHarness(), refusals)


def test_a_long_run_inside_a_name_takes_no_long_time() -> None:
    """It is looked at once; tried from each of its places, this would hang."""
    for run in (" ", " ."):
        assert safe_file_name(f"a{run * 1_000_000}b") in ("a", "a.b", f"a{run * 126}.b")


@pytest.mark.parametrize("name", ["con" + " " * 300 + "x", "nul." + "a" * 300, "." * 300 + "aux"])
def test_a_name_that_is_a_device_after_being_cut_is_made_harmless(name: str) -> None:
    """What is made is what can be parsed."""
    assert safe_file_name(name) == safe_file_name(safe_file_name(name))
    assert safe_file_name(name) == parse_handle(make_handle(name)).name
