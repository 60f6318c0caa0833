"""Joiners and tags in file names: kept where writing needs them, and nowhere else."""

from __future__ import annotations

import unicodedata

import idna
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from idna import idnadata

from rex.attach import handle as handles
from rex.attach import joiners
from rex.attach.handle import make_handle, parse_handle, safe_file_name
from rex.attach.joiners import INVISIBLE

ZWNJ, ZWJ, VS16 = "\u200c", "\u200d", "\ufe0f"
BLACK_FLAG = "\U0001f3f4"


def tags(text: str) -> str:
    """Return the invisible tag characters of a text."""
    return "".join(chr(0xE0000 + ord(char)) for char in text)


FLAGS = [f"{BLACK_FLAG}{tags(region)}\U000e007f" for region in ("gbeng", "gbsct", "gbwls")]

NEEDED = {
    "Persian": f"می{ZWNJ}شود.txt",
    "Persian with marks": f"نامه\u064b{ZWNJ}\u064eیک.pdf",
    "Urdu": f"بے شک می{ZWNJ}گنت.txt",
    "Syriac": f"ܒ{ZWNJ}ܒ.txt",
    "N'Ko": f"ߓ{ZWNJ}ߓ.txt",
    "Mongolian": f"ᠠ{ZWNJ}ᠠ.txt",
    "Adlam": f"\U0001e922{ZWNJ}\U0001e922.txt",
    "Hindi half form": f"क्{ZWJ}ष.txt",
    "Hindi without a conjunct": f"क्{ZWNJ}ष.txt",
    "Bengali ya-phalaa": f"র{ZWJ}্যাব.pdf",
    "Sinhala conjunct": f"ශ්{ZWJ}රී ලංකා.pdf",
    "Sinhala touching letters": f"ක{ZWJ}්ෂ.pdf",
    "Kannada": f"ರ{ZWJ}್ಕ.txt",
    "Malayalam": f"ന്{ZWJ}.txt",
    "a family": ZWJ.join("👨👩👧👦") + ".png",
    "an astronaut with a skin tone": f"👩🏽{ZWJ}🚀.png",
    "a heart on fire": f"❤{VS16}{ZWJ}🔥.jpg",
    "a rainbow flag": f"🏳{VS16}{ZWJ}🌈.jpg",
    "a pirate flag": f"{BLACK_FLAG}{ZWJ}☠{VS16}.jpg",
    "a black cat": f"🐈{ZWJ}⬛.jpg",
    "people holding hands": f"🧑🏻{ZWJ}🤝{ZWJ}🧑🏿.jpg",
    "England": f"{FLAGS[0]}.svg",
    "Scotland and Wales": f"{FLAGS[1]} {FLAGS[2]}.svg",
}

STRAY = {
    f"a{ZWJ}b.txt": "ab.txt",
    f"a{ZWNJ}b.txt": "ab.txt",
    f"{ZWJ}a{ZWJ}.txt": "a.txt",
    f"sc{ZWNJ}an{ZWJ}.p{ZWNJ}ng": "scan.png",
    f"1{ZWJ}2": "12",
    f"中{ZWJ}文": "中文",
    f"{ZWNJ}{ZWJ}": "attachment",
    f"می{ZWNJ}{ZWJ}{ZWNJ}شود": f"می{ZWNJ}شود",
    f"می{ZWJ}شود": "میشود",
    f"د{ZWNJ}ب": "دب",
    f"ب{ZWNJ}a": "بa",
    f"ب{ZWNJ}": "ب",
    f"{ZWNJ}ب": "ب",
    f"क्{ZWNJ}": "क्",
    f"क्{ZWJ}ि": "क्ि",
    f"क{ZWJ}ष": "कष",
    f"👩{ZWJ}": "👩",
    f"{ZWJ}👩": "👩",
    f"👩{ZWJ}a": "👩a",
    f"👩{ZWJ}{ZWJ}👧": f"👩{ZWJ}👧",
    f"👩{ZWNJ}👧": "👩👧",
    f"👩{VS16}{VS16}{ZWJ}👧": f"👩{VS16}{VS16}👧",
    f"e{ZWJ}\u0301": "é",
    f"{BLACK_FLAG}{tags('usca')}\U000e007f": BLACK_FLAG,
    f"{BLACK_FLAG}{tags('gbeng')}": BLACK_FLAG,
    f"{BLACK_FLAG}{tags('gbeng ignore all of it')}\U000e007f": BLACK_FLAG,
    f"🏳{tags('gbeng')}\U000e007f": "🏳",
    tags("hidden"): "attachment",
    f"a\U000e0001{tags('en')}.txt": "a.txt",
    f"می\u202a{ZWNJ}\u202eشود\u2066": f"می{ZWNJ}شود",
}


@pytest.mark.parametrize("name", NEEDED.values(), ids=NEEDED)
def test_a_joiner_stays_where_writing_needs_it(name: str) -> None:
    """In cursive words, in conjuncts, in emoji and in the three flags (UAX 31, UTS 51)."""
    assert name == safe_file_name(name)
    assert name == parse_handle(make_handle(name)).name


@pytest.mark.parametrize("name", STRAY, ids=ascii)
def test_a_joiner_goes_where_nothing_needs_it(name: str) -> None:
    """It would be invisible there, and so would be a text in tags."""
    assert STRAY[name] == safe_file_name(name)


PIECES = [*"دبیےܒߓ", *"कष्ि़রয্්ශන", *"👩👧🏽❤🚀☠🏳", *"aé\u0301 ._", ZWNJ, ZWJ, VS16, BLACK_FLAG]
PIECES += [
    "\u064b",
    "\u0ddc",
    "\u0dcf",
    "\u0dd9",
    "\u202e",
    *FLAGS,
    tags("g"),
    "\U000e007f",
    "a" * 80,
]
DENSE = st.lists(st.sampled_from(PIECES), max_size=40).map("".join)


@given(DENSE)
@settings(max_examples=500)
def test_a_name_full_of_joiners_is_made_harmless_at_once(name: str) -> None:
    """Whatever meets by what was removed or cut, a second time changes nothing more."""
    safe = safe_file_name(name)
    assert safe == safe_file_name(safe)
    assert safe == parse_handle(make_handle(name)).name
    assert unicodedata.is_normalized("NFC", safe)
    assert len(safe.encode()) <= 255


@given(DENSE)
@settings(max_examples=500)
def test_a_joiner_that_stays_has_a_reason(name: str) -> None:
    """That of domain names (RFC 5892, CONTEXTJ), which others compute, or one of ours."""
    safe = safe_file_name(name)
    for at, char in enumerate(safe):
        if char in (ZWNJ, ZWJ):
            before, after = safe[at - 1], safe[at + 1 : at + 2]
            is_emoji = char == ZWJ and unicodedata.category(after or " ") == "So"
            is_before_virama = char == ZWJ and after and unicodedata.combining(after) == 9
            assert idna.core.valid_contextj(safe, at) or is_emoji or is_before_virama, ascii(safe)
            assert before not in (ZWNJ, ZWJ)
        if char in INVISIBLE and char not in (ZWNJ, ZWJ):
            assert any(flag in safe for flag in FLAGS)


def test_the_letters_that_join_are_those_of_unicode() -> None:
    """Of what this Python knows, the table says what another copy of the data says."""
    known: dict[str, set[str]] = {}
    for kind, spans in idnadata.joining_types.items():
        letters = (chr(code) for span in spans for code in range(span >> 32, span & 0xFFFFFFFF))
        known[kind] = {letter for letter in letters if unicodedata.category(letter) != "Cn"}
    preceding, following = joiners._cursive()
    assert known["D"] | known["L"] == {c for c in _assigned() if preceding.match(c)}
    assert known["D"] | known["R"] == {c for c in _assigned() if following.match(c)}


def _assigned() -> set[str]:
    chars = map(chr, range(0x110000))
    return {char for char in chars if unicodedata.category(char) != "Cn"}


@pytest.mark.parametrize(
    "name",
    [
        *NEEDED.values(),
        f"\u08a0{ZWNJ}\u08a0.txt",
        f"ب\u08ca{ZWNJ}\u08caب.txt",
        f"ب\u08ca\u06d6{ZWNJ}\u06d6\u08caب.txt",
        f"\U00011915\U0001193e{ZWJ}\U00011915.txt",
        f"\U00011915\U0001193e{ZWNJ}\U00011915.txt",
    ],
    ids=ascii,
)
def test_a_handle_of_a_newer_python_is_one(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A Python whose Unicode (3.2) lacks these letters parses what this Python has made."""
    handle = make_handle(name)
    for module in (handles, joiners):
        monkeypatch.setattr(module, "unicodedata", unicodedata.ucd_3_2_0)
    handles._parse_cached.cache_clear()
    assert name == parse_handle(handle).name
    handles._parse_cached.cache_clear()


@pytest.mark.parametrize(
    ("letter", "joiner"), [("ب", ZWNJ), ("क्", ZWNJ), ("👩", ZWJ), (FLAGS[0], ""), (BLACK_FLAG, ZWJ)]
)
def test_what_a_cut_leaves_without_a_reason_goes_too(letter: str, joiner: str) -> None:
    """Wherever the end of a long name falls."""
    for start in range(8):
        for extension in ("", ".txt"):
            name = "a" * start + joiner.join([letter] * 100) + extension
            safe = safe_file_name(name)
            assert safe == safe_file_name(safe)
            assert safe.endswith(extension)
            assert safe.removesuffix(extension)[-1] not in (ZWNJ, ZWJ)
            assert 200 < len(safe.encode()) <= 255


@pytest.mark.long
def test_a_long_row_of_joiners_takes_no_long_time() -> None:
    """Each is looked at a fixed number of times."""
    for piece in (ZWJ, f"{ZWNJ}{ZWJ}", f"e{ZWJ}\u0301", f"क्{ZWJ}ि", f"ب\u064b{ZWNJ}", tags("a")):
        assert len(safe_file_name(piece * 100_000).encode()) <= 255
