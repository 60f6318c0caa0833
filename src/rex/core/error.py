"""The exception of the platform and its kinds."""

from __future__ import annotations

import enum
import errno
from typing import Any, Self

__all__ = ["Error", "Kind"]


class Kind(enum.Enum):
    """The kind of an error, for programs; the message is for people.

    The kind decides the exit code of a command (`rex.core.exit_codes`) and the status of a response
    (`rex.core.web`).
    """

    NOT_FOUND = "not-found"
    """The requested object does not exist."""
    ILL_FORMED = "ill-formed"
    """An argument is malformed, independent of any state."""
    EXISTS = "exists"
    """The object to create exists already."""
    CONFLICT = "conflict"
    """The state differs from the caller's assumption; reading it again may help."""
    BUSY = "busy"
    """Another client is using the object; trying again soon may help."""
    DENIED = "denied"
    """The permission is missing."""
    REFUSED = "refused"
    """The application refuses an upload, after its own checks; the message is for the client."""
    TOO_LARGE = "too-large"
    """The content exceeds a limit."""
    UNSUPPORTED = "unsupported"
    """The operation is not supported; the payload says what would make it possible."""
    CONFIGURATION = "configuration"
    """A setting, a package or their combination is wrong."""
    UNAVAILABLE = "unavailable"
    """A dependency does not answer or is full; trying again later may help."""
    ABSENT = "absent"
    """The storage itself, a directory or a bucket, does not exist."""
    EMPTY = "empty"
    """Something that must have content is empty."""
    CORRUPT = "corrupt"
    """The bytes that were read are not the bytes that were written."""
    INTERNAL = "internal"
    """Any other error: most likely a bug."""


class Error(Exception):
    """An error with a message for people, and a kind and a code for programs.

    Its text is the message, followed by the payload on indented lines::

        Attachment does not exist:
            /2026/11/23/5f5e1d5e-…/scan.png

    `message` is a phrase without a full stop or a colon; `payload` is the object that the message
    is about (printed with `str`); `kind` classifies the error. `code` is more precise and stable
    when messages change (docs/reference/errors.md); it defaults to the kind's value. `setting` is
    the name of the wrong setting, or None. Programs decide by `kind`, `code` and `setting`, never
    by the message; the printed class name is always `rex.core.Error`.

    For code that expects the exceptions of files, an error is also the corresponding `OSError`:
    `FileNotFoundError` for `NOT_FOUND`, `FileExistsError` for `EXISTS`, `PermissionError` for
    `DENIED`, plain `OSError` for `UNAVAILABLE` and `CORRUPT`. Our own ``except OSError`` therefore
    follows an ``except Error`` wherever both can occur.
    """

    def __new__(cls, *args: object, kind: Kind = Kind.INTERNAL, **_: object) -> Self:
        """Select the class by the kind."""
        chosen: Any = _BY_KIND.get(kind, cls) if cls is Error else cls
        # OSError sets its attributes here; the other classes ignore the arguments.
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
        """Add what the program was doing when the error occurred; return the same error.

        Use as ``raise error.wrap("While reading the settings", path)``. Contexts are printed in the
        order in which they were added.
        """
        self.context = (*self.context, (message, payload))
        return self

    def as_os_error(self) -> Error:
        """Return this error, or an equal error that is an `OSError`."""
        if isinstance(self, OSError):
            return self
        error = _OSError(self.message, self.payload, **self._fields())
        error.context = self.context
        return error

    def _fields(self) -> dict[str, Any]:
        return {"kind": self.kind, "code": self.code, "setting": self.setting}

    @property
    def headline(self) -> str:
        """The message, followed by the name of the wrong setting."""
        return self.message if self.setting is None else f"{self.message} (setting {self.setting})"

    def __str__(self) -> str:
        paragraphs = ((self.headline, self.payload), *self.context)
        return "\n".join(_paragraph(message, payload) for message, payload in paragraphs)

    def __repr__(self) -> str:
        more = f", code={self.code!r}" if self.code != self.kind.value else ""
        more += f", setting={self.setting!r}" if self.setting is not None else ""
        return f"{type(self).__name__}({self.message!r}, {self.payload!r}, kind={self.kind}{more})"

    def __reduce__(self) -> tuple[object, ...]:
        # A payload is for printing and need not be picklable.
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
    is_os_error: bool,  # noqa: FBT001 - pickle passes positional arguments
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
    """Return a subclass of `Error` and of an exception of the system, with the name `Error`."""
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
