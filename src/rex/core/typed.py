"""Types of settings: parse a value, and describe the values that are accepted.

A type accepts a value as text or already parsed, and returns the parsed value. It raises
`ValueError` for any other value; the setting turns that into an `Error` (`rex.core.setting`).
"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Generic, TypeVar

from rex.core.function import Function

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = [
    "MIN_KEY_LENGTH",
    "Type",
    "between",
    "boolean",
    "choice",
    "duration",
    "function",
    "integer",
    "key",
    "path",
    "path_prefix",
    "size",
    "text",
    "url",
    "url_or_path",
]

MIN_KEY_LENGTH = 16

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


class Type(Generic[T_co]):
    """The type of a setting's value.

    `expected` completes an error message that begins with "expected …". `read` parses a value, or
    raises `ValueError`.
    """

    __slots__ = ("expected", "read")

    def __init__(self, expected: str, read: Callable[[object], T_co]) -> None:
        self.expected = expected
        self.read = read

    def __repr__(self) -> str:
        return f"<type: {self.expected}>"


def choice(*options: str) -> Type[str]:
    """Return a type that accepts only these words."""

    def read(given: object) -> str:
        if given not in options:
            raise ValueError
        return str(given)

    return Type("one of " + ", ".join(repr(option) for option in options), read)


def between(type: Type[T], low: float, high: float, words: str) -> Type[T]:  # noqa: A002 - as in `Setting`
    """Return a numeric type limited to a range, which `words` describe in messages."""

    def read(given: object) -> T:
        value = type.read(given)
        if not low <= value <= high:  # type: ignore[operator]  # a number
            raise ValueError
        return value

    return Type(f"{type.expected}, {words}", read)


def _text(given: object) -> str:
    # A line break is most likely the end of a file; a lone surrogate is not text.
    if not isinstance(given, str) or not given.isprintable():
        raise ValueError
    return given


def _key(given: object) -> str:
    if len(key := _text(given)) < MIN_KEY_LENGTH:
        raise ValueError
    return key


def _integer(given: object) -> int:
    if isinstance(given, int) and not isinstance(given, bool):
        return given
    if re.fullmatch(r"[+-]?[0-9]{1,30}", written := _text(given).strip()):
        return int(written)
    raise ValueError


_WORDS = dict.fromkeys(("true", "yes", "on", "1"), True) | dict.fromkeys(
    ("false", "no", "off", "0"), False
)


def _boolean(given: object) -> bool:
    if isinstance(given, bool):
        return given
    try:
        return _WORDS[_text(given).strip().lower()]
    except KeyError:
        raise ValueError from None


_SECONDS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}


def _duration(given: object) -> float:
    # Accepts a timedelta without importing datetime.
    total_seconds = getattr(given, "total_seconds", None)
    value: object = total_seconds() if callable(total_seconds) else given
    if isinstance(value, bool) or not isinstance(value, int | float):
        value = _scale(_text(value), _SECONDS)
    if not 0 <= value < float("inf"):
        raise ValueError
    return int(value) if value == int(value) else value


_BYTES = {"": 1, "b": 1} | {
    letter + suffix: base ** (power + 1)
    for power, letter in enumerate("kmgtp")
    for suffix, base in (("b", 1000), ("ib", 1024))
}


def _size(given: object) -> int:
    if isinstance(given, str):
        return int(_scale(given, _BYTES))
    if (value := _integer(given)) < 0:
        raise ValueError
    return value


def _scale(given: str, units: dict[str, int]) -> float:
    """Parse a number with a unit; whole numbers stay exact."""
    match = re.fullmatch(r"([0-9]{1,30})(\.[0-9]{1,9})? ?([A-Za-z]*)", given.strip())
    if match is None or (unit := units.get(match[3].lower())) is None:
        raise ValueError
    whole, fraction = int(match[1]) * unit, match[2]
    return whole if fraction is None else whole + float("0" + fraction) * unit


_URL = r"(?i)https?://(\[[0-9a-f:.]+\]|[^\s/?#@:\[\]\\]+)(:(?P<port>[0-9]{1,5}))?(/[^\s?#\\]*)?"


def _url(given: object) -> str:
    written = _text(given).strip()
    match = re.fullmatch(_URL, written)
    if match is None or not 0 < int(match["port"] or 1) < 2**16:
        raise ValueError
    return written


# RFC 3986, section 3.3, without empty segments.
_URL_PATH = re.compile(r"(/([0-9A-Za-z._~!$&'()*+,;=:@-]|%[0-9A-Fa-f]{2})+)*/?")

# Dot segments, and encoded characters that some programs decode to another path.
_MISREAD = re.compile(r"(?i)/(\.|%2e){1,2}(/|\Z)|%(2f|5c|[01][0-9a-f]|7f)")


def _url_path(given: object) -> str:
    written = _text(given).strip()
    if not written or not _URL_PATH.fullmatch(written) or _MISREAD.search(written):
        raise ValueError
    return written


def _url_or_path(given: object) -> str:
    written = _text(given).strip()
    if written.startswith("/"):
        return _url_path(written)
    _, _, after_host = _url(written).partition("://")[2].partition("/")
    _url_path(f"/{after_host}")
    return written


def _path(given: object) -> str:
    written = os.fspath(given) if isinstance(given, os.PathLike) else _text(given)
    if not isinstance(written, str) or "\0" in written:
        raise ValueError
    return os.path.abspath(os.path.expanduser(written))  # noqa: PTH100, PTH111 - light to import


_FUNCTION = r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*"
"""``module:function``, of Python identifiers."""


def _function(given: object) -> Function:
    if isinstance(given, Function):
        return given
    if callable(given) or re.fullmatch(_FUNCTION, _text(given)):
        return Function(given)  # type: ignore[arg-type]  # text or a callable
    raise ValueError


text = Type("text without control characters", _text)
"""Any text without control characters; kept unchanged."""

key = Type(f"text of at least {MIN_KEY_LENGTH} characters", _key)
"""A secret that is long enough to resist guessing."""

integer = Type("a whole number", _integer)
"""A whole number, positive or negative."""

boolean = Type("true or false", _boolean)
"""A switch: true, yes, on, 1; or false, no, off, 0."""

duration = Type("a duration such as 90 (seconds), '15m', '1h' or '7d'", _duration)
"""Seconds: a number, a `datetime.timedelta`, or a number with the unit s, m, h, d or w."""

size = Type("a size such as 1048576 (bytes), '10 MB' or '64 MiB'", _size)
"""Bytes: a whole number, or a number with a unit: kB, MB, … of 1000, KiB, MiB, … of 1024."""

url = Type("an http:// or https:// address without user, query or fragment", _url)
"""An absolute URL, kept unchanged."""

path_prefix = Type(
    "a path such as /files, percent-encoded, without '//', '..', query or fragment",
    lambda given: _url_path(given).rstrip("/"),
)
"""The path in front of all paths of a service, without its last slash; empty for ``/``."""

url_or_path = Type(
    "an http:// or https:// address, or its path alone such as /attach, without user, '..', "
    "query or fragment",
    _url_or_path,
)
"""An absolute URL or a path, kept unchanged; a path is on the host that clients ask."""

path = Type("a path of a file or directory", _path)
"""A path, made absolute relative to the current directory; `~` is the home directory."""

function = Type("module:function, or a callable in Python", _function)
"""A function of the application, as a `Function`, which `Function.load` imports."""
