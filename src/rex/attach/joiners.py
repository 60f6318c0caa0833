"""Format characters that file names need: joiners within words and emoji, and tags of flags.

Joiners and tags are invisible. They belong to a name only where they change the rendering of their
neighbours, as defined by UAX 31 (layout and format control characters) for scripts and by UTS 51
(emoji ZWJ sequences, emoji tag sequences) for emoji.
"""

from __future__ import annotations

import functools
import re
import unicodedata
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["INVISIBLE", "without_strays"]

NON_JOINER, JOINER = "\u200c", "\u200d"

INVISIBLE = frozenset({NON_JOINER, JOINER, *map(chr, range(0xE0020, 0xE0080))})
"""Joiners and tags."""

# Joining_Type (ArabicShaping, Unicode 18), which the standard library lacks. Dual-joining letters
# and the few left-joining ones join the next letter; left-joining ones do not join the previous.
_DUAL = (
    "620 626 628 62A-62E 633-63F 641-647 649-64A 66E-66F 678-687 69A-6BF 6C1-6C2 6CC 6CE 6D0-6D1 "
    "6FA-6FC 6FF 712-714 71A-71D 71F-727 729 72B 72D-72E 74E-758 75C-76A 76D-770 772 775-777 "
    "77A-77F 7CA-7EA 841-845 848 84A-853 855 860 862-865 868 886 889-88D 88F 8A0-8A9 8AF-8B0 "
    "8B3-8B8 8BA-8C8 1807 1820-1878 1887-18A8 18AA A840-A871 10AC0-10AC4 10AD3-10AD6 10AD8-10ADC "
    "10ADE-10AE0 10AEB-10AEE 10B80 10B82 10B86-10B88 10B8A-10B8B 10B8D 10B90 10BAD-10BAE "
    "10D01-10D21 10D23 10EC3-10EC4 10EC6-10EC7 10F30-10F32 10F34-10F44 10F51-10F53 10F70-10F73 "
    "10F76-10F81 10FB0 10FB2-10FB3 10FB8 10FBB-10FBC 10FBE-10FBF 10FC1 10FC4 10FCA 1E900-1E943"
)
_LEFT = "A872 10ACD 10AD7 10D00 10ED9-10EEE 10FCB"
_RIGHT = (
    "622-625 627 629 62F-632 648 671-673 675-677 688-699 6C0 6C3-6CB 6CD 6CF 6D2-6D3 6D5 6EE-6EF "
    "710 715-719 71E 728 72A 72C 72F 74D 759-75B 76B-76C 771 773-774 778-779 840 846-847 849 854 "
    "856-858 867 869-86A 870-882 88E 8AA-8AC 8AE 8B1-8B2 8B9 10AC5 10AC7 10AC9-10ACA 10ACE-10AD2 "
    "10ADD 10AE1 10AE4 10AEF 10B81 10B83-10B85 10B89 10B8C 10B8E-10B8F 10B91 10BA9-10BAC 10D22 "
    "10EC2 10F33 10F54 10F74-10F75 10FB4-10FB6 10FB9-10FBA 10FBD 10FC2-10FC3 10FC9"
)

# Pictographs by block, to include those of later Unicode versions.
_PICTOGRAPH = (
    "[\xa9\xae\u203c\u2049\u2122\u2139\u2190-\u21ff\u2300-\u23ff\u25a0-\u27bf\u2934\u2935"
    "\u2b00-\u2bff\u3030\u303d\u3297\u3299"
    "\U0001f000-\U0001f1e5\U0001f200-\U0001f3fa\U0001f400-\U0001faff]"
)
# UTS 51, ED-15a: alone, with a presentation selector or with a skin tone.
_ELEMENT_END = re.compile(f"{_PICTOGRAPH}[\ufe0f\U0001f3fb-\U0001f3ff]?\\Z")
_ELEMENT = re.compile(_PICTOGRAPH)

_TRANSPARENT = ("Mn", "Me", "Cn")
"""Categories that do not separate two letters; an unknown character may be a mark."""

_VIRAMA = 9
"""Combining class of the signs that join consonants (UAX 44)."""


def _tags(text: str) -> str:
    return "".join(chr(0xE0000 + ord(char)) for char in text)


# Only these three tag sequences are for interchange (UTS 51, RGI): England, Scotland and Wales.
# Any other sequence could carry hidden text.
_FLAGS = "|".join(_tags(f"{region}\x7f") for region in ("gbeng", "gbsct", "gbwls"))
_FORMAT = re.compile(
    f"(?P<flag>\U0001f3f4(?:{_FLAGS}))|[\U000e0020-\U000e007f]"
    f"|(?P<joiner>[{NON_JOINER}{JOINER}])[{NON_JOINER}{JOINER}]*"
)


def without_strays(name: str) -> str:
    """Return a normalised (NFC) name without unneeded joiners and tags.

    Of consecutive joiners, only the first is considered. A character unknown to this Python's
    Unicode version counts as needing an adjacent joiner.
    """
    return _FORMAT.sub(_keep, name)


def _keep(found: re.Match[str]) -> str:
    if found["flag"]:
        return found[0]
    joiner = found["joiner"]
    return joiner if joiner and _is_needed(joiner, found) else ""


def _is_needed(joiner: str, found: re.Match[str]) -> bool:
    name, (start, stop) = found.string, found.span()
    before, after = name[start - 1 : start], name[stop : stop + 1]
    kinds = [unicodedata.category(char) if char else "" for char in (before, after)]
    if "Cn" in kinds:
        return True
    if joiner == NON_JOINER:
        is_conjunct = _is_virama(before) and kinds[1].startswith("L")
        return is_conjunct or _is_cursive(name, start, stop)
    if _is_virama(before):
        return not kinds[1].startswith("M")
    # The same before a virama: Bengali ya-phalaa, Sinhala touching letters.
    is_conjunct = kinds[0].startswith("L") and _is_virama(after)
    is_emoji = _ELEMENT.match(after) and _ELEMENT_END.search(name, max(start - 2, 0), start)
    return is_conjunct or bool(is_emoji)


def _is_virama(char: str) -> bool:
    return bool(char) and unicodedata.combining(char) == _VIRAMA


def _is_cursive(name: str, start: int, stop: int) -> bool:
    """Check whether the letters around a non-joiner, ignoring marks, would join (UAX 31, A1)."""
    joins_next, joins_previous = _cursive()
    preceding = (name[at] for at in range(start - 1, -1, -1))
    following = (name[at] for at in range(stop, len(name)))
    return _first_letter(preceding, joins_next) and _first_letter(following, joins_previous)


def _first_letter(chars: Iterator[str], wanted: re.Pattern[str]) -> bool:
    """Check whether the first character that is not a mark matches."""
    for char in chars:
        if wanted.match(char):
            return True
        if unicodedata.category(char) not in _TRANSPARENT:
            return False
    return False


@functools.cache
def _cursive() -> tuple[re.Pattern[str], re.Pattern[str]]:
    """Return the letters that join the next letter, and those that join the previous letter."""
    dual, left, right = (
        "".join(
            "-".join(f"\\U{int(end, 16):08x}" for end in span.split("-")) for span in spans.split()
        )
        for spans in (_DUAL, _LEFT, _RIGHT)
    )
    return re.compile(f"[{dual}{left}]"), re.compile(f"[{dual}{right}]")
