"""Creation and parsing of handles, and the rules for file names.

A handle is ``/YYYY/MM/DD/<uuid4>/<file name>``: its day of creation (UTC), a random UUID, and a
file name made safe by `safe_file_name`. The key of an attachment is its handle without the first
slash in every backend, so handles stay valid when attachments move between storages.

The handle of an upload with an owner carries a mark of the owner: see `make_handle`.
"""

from __future__ import annotations

import datetime
import functools
import os
import re
import unicodedata
from typing import TYPE_CHECKING, NamedTuple

from rex.attach.joiners import INVISIBLE, without_strays
from rex.core import Error, Kind

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = [
    "FALLBACK_NAME",
    "MARK_BYTES",
    "Handle",
    "handle_of",
    "key_of",
    "make_handle",
    "mark_of",
    "parse_handle",
    "safe_file_name",
    "show",
]

FALLBACK_NAME = "attachment"
"""Replacement for a file name of which nothing safe remains."""

MAX_NAME_BYTES = 255
"""Maximum length of a file name in bytes of UTF-8, which ext4, XFS, APFS and NTFS all support."""

MARK_BYTES = 6
_MARK_BITS = 8 * MARK_BYTES
_MARKED = 1 << 61
"""The first bit of a UUID after its version and its variant (RFC 9562, section 5.4)."""
_FIXED, _VERSION_4 = 0xF000_E000 << 48, 0x4000_8000 << 48
"""The bits of the version, the variant and `_MARKED`, and their values without a mark."""

_MAX_EXTENSION_BYTES = 32
_MAX_HANDLE_LENGTH = 400

_HANDLE = re.compile(
    r"/(?P<year>[0-9]{4})/(?P<month>[0-9]{2})/(?P<day>[0-9]{2})"
    r"/(?P<id>[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12})"
    r"/(?P<name>[^/]+)"
)

# Control, format, surrogate, line separator, paragraph separator.
_REMOVED = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})

# Characters that Windows forbids in a name (a colon opens an alternate stream), and the start of
# the variable that S3 replaces in the key of a form upload.
_REPLACED = re.compile(r'[<>:"|?*]|\$(?=\{)')

# The look-behind keeps this linear: an inner run is tried once, not from each of its positions.
_EDGES = re.compile(r"\A[\s.]+|(?<![\s.])[\s.]+\Z")

_DEVICE = re.compile(
    r"(?:con|prn|aux|nul|com[0-9\u00b9\u00b2\u00b3]|lpt[0-9\u00b9\u00b2\u00b3]|conin\$|conout\$)"
    r"\s*(?:\.|\Z)",
    re.IGNORECASE,
)


# Names that are safe already, the common case.
_PLAIN = re.compile(r"[0-9A-Za-z_-](?:[0-9A-Za-z_ .-]*[0-9A-Za-z_-])?")


class Handle(NamedTuple):
    """The parts of a handle."""

    day: datetime.date
    """Day of creation (UTC)."""
    id: str
    """A random UUID (version 4) in lower case."""
    name: str
    """File name, made safe by `safe_file_name`."""

    @property
    def is_marked(self) -> bool:
        """Whether the handle carries the mark of an owner."""
        return _number(self.id) & _MARKED != 0


def make_handle(name: str | None, mark: Callable[[bytes], bytes] | None = None) -> str:
    """Return a new handle for a file called `name`, or `FALLBACK_NAME` for None.

    With `mark`, the handle belongs to an owner: its UUID has 73 random bits instead of 121, and
    ends with the 6 bytes that `mark` computes from the day and the rest of the UUID (10 bytes). One
    bit distinguishes both forms.

    Errors: `ILL_FORMED` if `name` is neither a string nor None. Any string is accepted: see
    `safe_file_name`.
    """
    if name is None:
        name = FALLBACK_NAME

    day = datetime.datetime.now(datetime.UTC).date().isoformat()
    number = int.from_bytes(os.urandom(16)) & ~_FIXED | _VERSION_4
    if mark is not None:
        number = (number | _MARKED) >> _MARK_BITS << _MARK_BITS
        number |= int.from_bytes(mark(_strip_mark(day, number)))
    digits = f"{number:032x}"
    identifier = "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))
    return f"/{day.replace('-', '/')}/{identifier}/{safe_file_name(name)}"


def mark_of(handle: str) -> tuple[bytes, bytes] | None:
    """Return the input of a handle's mark, and the mark; None for a handle without a mark.

    Errors: `ILL_FORMED`, as `parse_handle`.
    """
    parsed = parse_handle(handle)
    if not parsed.is_marked:
        return None
    number = _number(parsed.id)
    return _strip_mark(parsed.day.isoformat(), number), number.to_bytes(16)[-MARK_BYTES:]


def _number(identifier: str) -> int:
    """Return a UUID as a 128-bit number (RFC 9562, section 4)."""
    return int(identifier.replace("-", ""), 16)


def _strip_mark(day: str, number: int) -> bytes:
    return day.encode() + number.to_bytes(16)[:-MARK_BYTES]


def parse_handle(handle: str) -> Handle:
    """Parse a handle.

    Errors: `ILL_FORMED` for anything that `make_handle` cannot have returned.
    """
    parsed = _parse(handle)
    if parsed is None:
        raise _ill_formed(handle)
    return parsed


def key_of(handle: str) -> str:
    """Return the key of an attachment in a backend.

    Errors: `ILL_FORMED`, as `parse_handle`.
    """
    if _parse(handle) is None:
        raise _ill_formed(handle)
    return handle[1:]


def handle_of(key: str) -> str | None:
    """Return the handle of a key, or None if the key is not an attachment's."""
    handle = f"/{key}"
    return None if _parse(handle) is None else handle


def safe_file_name(name: str) -> str:
    """Return a file name that is safe and identical on every backend and operating system.

    The result is the last component of `name` (after a slash or a backslash), without control and
    format characters except joiners and tags that words and emoji need (`rex.attach.joiners`), and
    in NFC. Characters that Windows forbids become underscores, and Windows device names get an
    underscore as prefix. Dots and blanks at both ends are removed. A name over 255 bytes of UTF-8
    is cut between code points, keeping the extension. An empty result becomes `FALLBACK_NAME`.

    Errors: `ILL_FORMED` if `name` is not a string.
    """
    if not isinstance(name, str):
        raise Error("A file name must be a string", type(name).__name__, kind=Kind.ILL_FORMED)
    if not name.isprintable():
        # A character unknown to this Python may be a format character to the next version.
        name = "".join(char for char in name if unicodedata.category(char) != "Cn")
    return _safe(name)


def show(given: object) -> str:
    """Return an untrusted value for an error message: one short line without control characters."""
    try:
        text = given if isinstance(given, str) else repr(given)
    except ValueError:  # an integer of too many digits
        text = type(given).__name__
    text = text if text.isprintable() else ascii(text)
    return text if len(text) <= _MAX_HANDLE_LENGTH else f"{text[:_MAX_HANDLE_LENGTH]}…"


def _ill_formed(handle: object) -> Error:
    return Error("Ill-formed attachment handle", show(handle), kind=Kind.ILL_FORMED)


def _parse(handle: object) -> Handle | None:
    is_short = isinstance(handle, str) and len(handle) <= _MAX_HANDLE_LENGTH
    return _parse_cached(handle) if is_short else None


@functools.lru_cache(maxsize=256)
def _parse_cached(handle: str) -> Handle | None:
    # Cached, since one request parses its handle several times.
    match = _HANDLE.fullmatch(handle)
    if match is None:
        return None
    year, month, day, identifier, name = match.groups()
    try:
        date = datetime.date(int(year), int(month), int(day))
    except ValueError:
        return None
    return Handle(date, identifier, name) if _safe(name) == name else None


def _safe(name: str) -> str:
    if len(name) <= MAX_NAME_BYTES and _PLAIN.fullmatch(name) and not _DEVICE.match(name):
        return name
    name = name.replace("\\", "/").rpartition("/")[2]
    if not name.isprintable():
        name = "".join(char for char in name if char in INVISIBLE or not _is_removed(char))
    name = _normal(unicodedata.normalize("NFC", name))
    name = _REPLACED.sub("_", name)
    name = _shorten(_EDGES.sub("", name))
    if _DEVICE.match(name):
        name = _shorten(f"_{name}")
    return name or FALLBACK_NAME


def _is_removed(char: str) -> bool:
    return unicodedata.category(char) in _REMOVED


def _normal(name: str) -> str:
    """Remove unneeded joiners and tags from a normalised name."""
    while not INVISIBLE.isdisjoint(name):
        kept = without_strays(name)
        if kept == name:
            break
        # Characters that are adjacent now may compose, and then no longer need other joiners.
        name = unicodedata.normalize("NFC", kept)
    return name


def _shorten(name: str) -> str:
    if len(name.encode()) <= MAX_NAME_BYTES:
        return name
    stem, dot, extension = name.rpartition(".")
    suffix = dot + extension
    if not stem or len(suffix.encode()) > _MAX_EXTENSION_BYTES:
        stem, suffix = name, ""
    room = MAX_NAME_BYTES - len(suffix.encode())
    return _EDGES.sub("", _normal(stem.encode()[:room].decode(errors="ignore")) + suffix)
