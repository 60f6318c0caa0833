"""The exit codes of the command `rex`."""

from __future__ import annotations

from rex.core.error import Kind

__all__ = ["EXIT_CODES", "INTERRUPTED", "PIPE_CLOSED", "USAGE"]

USAGE = 2
"""The command line is wrong, or click is missing."""
INTERRUPTED = 130
"""Interrupted by Ctrl-C: 128 plus the signal number, as in shells."""
PIPE_CLOSED = 141
"""The reader of our output has gone, as in ``rex … | head``."""

EXIT_CODES = {
    Kind.INTERNAL: 1,
    Kind.NOT_FOUND: 3,
    Kind.ILL_FORMED: 4,
    Kind.EXISTS: 5,
    Kind.DENIED: 6,
    Kind.TOO_LARGE: 7,
    Kind.UNSUPPORTED: 8,
    Kind.CONFIGURATION: 9,
    Kind.UNAVAILABLE: 10,
    Kind.CORRUPT: 11,
    Kind.CONFLICT: 12,
    Kind.BUSY: 13,
    Kind.ABSENT: 14,
    Kind.EMPTY: 15,
    Kind.REFUSED: 16,
}
"""Exit code of a failed command by error kind."""
