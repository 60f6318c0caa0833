"""The console script `rex`: fast start, a hint if click is missing, and an exit code by error kind.

The commands themselves need click and are in `rex.core.command`.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from rex.core.error import Kind
from rex.core.exit_codes import EXIT_CODES, INTERRUPTED, USAGE
from rex.core.version import __version__

if TYPE_CHECKING:
    from typing import TextIO

__all__ = ["main"]


def main() -> None:
    """Run the `rex` command with the arguments of this process and exit."""
    code: object = 0
    try:
        _run(sys.argv[1:])
    except KeyboardInterrupt:
        code = INTERRUPTED
    except SystemExit as done:
        code = done.code
    unwritten = _flush()
    if unwritten and not code:
        sys.stderr.write(f"rex: Cannot write to standard output: {unwritten}\n")
        code = EXIT_CODES[Kind.DENIED]
    sys.exit(code)  # type: ignore[arg-type]  # the code of an earlier sys.exit


def _run(arguments: list[str]) -> None:
    if arguments == ["--version"]:
        sys.stdout.write(f"rex {__version__}\n")
        return
    try:
        from rex.core.command import root  # click may be missing
    except ModuleNotFoundError as error:
        if error.name != "click":
            raise
        sys.stderr.write("rex: the commands need click: pip install 'rex-attach[cli]'\n")
        sys.exit(USAGE)
    root.main(arguments, prog_name="rex")


def _flush() -> str | None:
    """Flush standard output; return the reason of a failure, or None for a closed pipe."""
    output: TextIO | None = sys.stdout
    if output is None:  # closed before we started
        return None
    try:
        output.flush()
    except OSError as failure:
        # The interpreter flushes again as it ends, and would complain.
        os.dup2(os.open(os.devnull, os.O_WRONLY), output.fileno())
        return None if isinstance(failure, BrokenPipeError) else failure.strerror
    return None
