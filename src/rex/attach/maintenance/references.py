"""The handles that an application refers to, from wherever it keeps them."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

from rex.attach.handle import show
from rex.core import Error, Kind

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

__all__ = ["from_command", "from_database", "from_lines"]


def from_lines(lines: Iterable[str]) -> Iterator[str]:
    """Give the handles of a text with one a line; empty lines are passed over."""
    return (handle for line in lines if (handle := line.rstrip("\r\n")))


def from_command(command: str) -> Iterator[str]:
    """Give the handles that a command of the shell prints, one a line.

    Errors: `UNAVAILABLE` when it fails, after all that it printed.
    """
    with subprocess.Popen(  # noqa: S602 - it is the operator's own, given for that
        command, shell=True, stdout=subprocess.PIPE, text=True, encoding="utf-8"
    ) as process:
        assert process.stdout is not None  # noqa: S101 - it is a pipe
        yield from from_lines(process.stdout)
    if process.returncode:
        reason = f"exit code {process.returncode}"
        raise Error("The command for the handles failed", reason, kind=Kind.UNAVAILABLE)


def from_database(url: str, query: str) -> Iterator[str]:
    """Give the first column of what a database answers to a query in SQL; NULL is passed over.

    `url` is SQLAlchemy's, as ``postgresql+psycopg://user@host/database``. Errors: `CONFIGURATION`
    without SQLAlchemy, or for a wrong URL; `UNAVAILABLE` when the database answers otherwise.
    """
    try:
        import sqlalchemy
        from sqlalchemy.exc import SQLAlchemyError
    except ImportError as missing:
        reason = "Asking a database needs more packages: pip install 'rex-attach[sql]'"
        raise Error(reason, missing, kind=Kind.CONFIGURATION) from None
    try:
        engine = sqlalchemy.create_engine(url)
    except (SQLAlchemyError, ImportError, ValueError) as failure:
        # What it says may hold the URL, and that a password.
        reason = "The URL of the database cannot be used"
        raise Error(reason, type(failure).__name__, kind=Kind.CONFIGURATION) from None
    try:
        with engine.connect() as connection:
            streaming = connection.execution_options(yield_per=1000)
            for handle, *_ in streaming.execute(sqlalchemy.text(query)):
                if handle is not None:
                    yield handle
    except SQLAlchemyError as failure:
        said = str(getattr(failure, "orig", None) or type(failure).__name__).partition("\n")[0]
        password = engine.url.password
        reason = said.replace(password, "…") if password else said
        raise Error(
            "The database does not answer with handles", show(reason), kind=Kind.UNAVAILABLE
        ) from None
    finally:
        engine.dispose()
