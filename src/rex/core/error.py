"""The one exception of the platform, and the kinds of trouble it tells apart."""

from __future__ import annotations

import enum
import errno
from typing import Any, Self

__all__ = ["Error", "Kind"]


class Kind(enum.Enum):
    """What went wrong, for programs; the message says it for people.

    A kind decides the exit code of a command (`rex.core.cli`).
    """

    NOT_FOUND = "not-found"
    """What was asked for is not there."""
    ILL_FORMED = "ill-formed"
    """An argument breaks the rules for its form, whatever the state of things."""
    EXISTS = "exists"
    """Something stands already where something new was to be made."""
    CONFLICT = "conflict"
    """Things are not as the caller supposes; looking again may help."""
    BUSY = "busy"
    """Somebody else is doing this now; trying again soon may help."""
    DENIED = "denied"
    """The permission is missing."""
    TOO_LARGE = "too-large"
    """The content is over a limit."""
    UNSUPPORTED = "unsupported"
    """This cannot be done here; the message says what would make it possible."""
    CONFIGURATION = "configuration"
    """A setting, a package or the way they are put together is wrong."""
    UNAVAILABLE = "unavailable"
    """Something we depend on does not answer or has no room; trying again later may help."""
    ABSENT = "absent"
    """The storage itself does not exist: a directory, a bucket."""
    EMPTY = "empty"
    """There is nothing where something must be."""
    CORRUPT = "corrupt"
    """What was read is not what was written."""
    INTERNAL = "internal"
    """None of the above: most likely a mistake in the program."""


class Error(Exception):
    """A failure that a person can read and a program can tell apart.

    It prints its message, then its payload, indented, on the lines below::

        Attachment does not exist:
            /2026/11/23/5f5e1d5e-…/scan.png

    `message` is a phrase without a full stop or a colon; `payload` is what the message is
    about (it is printed with `str`); `kind` says what sort of failure it is. `code` says it more
    precisely, in a word that stays the same when messages change (docs/errors.md); it is the
    kind's value unless there is something more precise. `setting` is the name of the setting at
    fault, or None. Programs decide by `kind`, `code` and `setting`, never by a message, and the
    printed name is always `rex.core.Error`.

    For code that expects a file, an error is also the `OSError` that the system would raise:
    `FileNotFoundError` for `NOT_FOUND`, `FileExistsError` for `EXISTS`, `PermissionError` for
    `DENIED`, plain `OSError` for `UNAVAILABLE` and `CORRUPT`. Our own ``except OSError`` therefore
    follows an ``except Error`` wherever both can occur.
    """

    def __new__(cls, *args: object, kind: Kind = Kind.INTERNAL, **_: object) -> Self:
        """Choose the class by the kind."""
        chosen: Any = _BY_KIND.get(kind, cls) if cls is Error else cls
        # OSError takes its attributes here; all others forget the arguments.
        made: Self = super(Error, chosen).__new__(chosen, _ERRNO.get(kind, errno.EIO), *args[:1])
        return made

    def __init__(
        self,
        message: str,
        payload: object = None,
        *,
        kind: Kind = Kind.INTERNAL,
        code: str = "",
        setting: str | None = None,
    ) -> None:
        super().__init__(message, payload)
        self.args = (message, payload)
        self.message = message
        self.payload = payload
        self.kind = kind
        self.code = code or kind.value
        self.setting = setting
        self.context: tuple[tuple[str, object], ...] = ()

    def wrap(self, message: str, payload: object = None) -> Error:
        """Say what was being done when this happened; return the same error.

        Used as ``raise error.wrap("While reading the settings", path)``. The last context added
        is printed last.
        """
        self.context = (*self.context, (message, payload))
        return self

    def as_os_error(self) -> Error:
        """Return this error, or one like it where this is not an `OSError`."""
        if isinstance(self, OSError):
            return self
        error = _OSError(self.message, self.payload, **self._fields())
        error.context = self.context
        return error

    def _fields(self) -> dict[str, Any]:
        return {"kind": self.kind, "code": self.code, "setting": self.setting}

    @property
    def headline(self) -> str:
        """The message, followed by the name of the setting at fault."""
        return self.message if self.setting is None else f"{self.message} (setting {self.setting})"

    def __str__(self) -> str:
        paragraphs = ((self.headline, self.payload), *self.context)
        return "\n".join(_paragraph(message, payload) for message, payload in paragraphs)

    def __repr__(self) -> str:
        more = f", code={self.code!r}" if self.code != self.kind.value else ""
        more += f", setting={self.setting!r}" if self.setting is not None else ""
        return f"{type(self).__name__}({self.message!r}, {self.payload!r}, kind={self.kind}{more})"

    def __reduce__(self) -> tuple[object, ...]:
        # A payload is for printing, and need not be made for travelling.
        context = tuple((message, _printable(payload)) for message, payload in self.context)
        is_os_error = isinstance(self, OSError)
        return _restore, (
            self.message,
            _printable(self.payload),
            self._fields(),
            context,
            is_os_error,
        )


def _restore(
    message: str,
    payload: object,
    fields: dict[str, Any],
    context: tuple[tuple[str, object], ...],
    is_os_error: bool,  # noqa: FBT001 - pickle knows no keywords
) -> Error:
    error = Error(message, payload, **fields)
    error.context = context
    return error.as_os_error() if is_os_error else error


def _printable(payload: object) -> object:
    return payload if payload is None or isinstance(payload, int | float) else str(payload)


def _paragraph(message: str, payload: object) -> str:
    if payload is None:
        return message
    return "\n    ".join((f"{message}:", *str(payload).splitlines()))


# Tracebacks and doctests show the public name.
Error.__module__ = "rex.core"


def _error_and(base: type[OSError]) -> type[Error]:
    """Make the class of the errors that are of another class too; it has no name of its own."""
    return type("Error", (Error, base), {"__module__": "rex.core", "__doc__": Error.__doc__})


_OSError = _error_and(OSError)
_BY_KIND = {
    Kind.NOT_FOUND: _error_and(FileNotFoundError),
    Kind.EXISTS: _error_and(FileExistsError),
    Kind.DENIED: _error_and(PermissionError),
    Kind.UNAVAILABLE: _OSError,
    Kind.CORRUPT: _OSError,
}
_ERRNO = {
    Kind.NOT_FOUND: errno.ENOENT,
    Kind.EXISTS: errno.EEXIST,
    Kind.DENIED: errno.EACCES,
}
