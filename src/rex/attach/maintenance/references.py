"""The attachments that an application refers to: from a file, a command or a database."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

from rex.attach.handle import handle_of, parse_handle, show
from rex.core import Error, Kind

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from rex.attach.storage import Storage

__all__ = ["as_handle", "from_command", "from_database", "from_lines"]


def as_handle(storage: Storage, reference: str) -> str:
    """Return the handle that an application's reference means.

    A reference is a handle, a handle without its first slash (as Django stores file names), or the
    key of the attachment in the storage. Errors: `ILL_FORMED` for any other reference.
    """
    if isinstance(reference, str) and not reference.startswith("/"):
        return handle_of(reference) or storage.handle_of_key(reference)
    parse_handle(reference)
    return reference


def from_lines(lines: Iterable[str]) -> Iterator[str]:
    """Yield the handles of a text with one handle per line; skip empty lines."""
    return (handle for line in lines if (handle := line.rstrip("\r\n")))


def from_command(command: str) -> Iterator[str]:
    """Yield the handles that a shell command prints, one per line.

    Errors: `UNAVAILABLE` if the command fails, raised after its output.
    """
    with subprocess.Popen(  # noqa: S602 - the operator gives the command
        command, shell=True, stdout=subprocess.PIPE, text=True, encoding="utf-8"
    ) as process:
        assert process.stdout is not None  # noqa: S101 - a pipe
        yield from from_lines(process.stdout)
    if process.returncode:
        reason = f"exit code {process.returncode}"
        raise Error("The command for the handles failed", reason, kind=Kind.UNAVAILABLE)


def from_database(url: str, query: str) -> Iterator[str]:
    """Yield the first column of an SQL query; skip NULL.

    `url` is an SQLAlchemy URL, as ``postgresql+psycopg://user@host/database``. Errors:
    `CONFIGURATION` without SQLAlchemy, or for an invalid URL; `UNAVAILABLE` if the query fails.
    """
    try:
        import sqlalchemy
        from sqlalchemy.exc import SQLAlchemyError
    except ImportError as missing:
        reason = "Database queries need SQLAlchemy: pip install 'rex-attach[sql]'"
        raise Error(reason, missing, kind=Kind.CONFIGURATION) from None
    try:
        engine = sqlalchemy.create_engine(url)
    except (SQLAlchemyError, ImportError, ValueError) as failure:
        # The message may contain the URL, and the URL a password.
        reason = "The database URL must be a valid SQLAlchemy URL"
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
        raise Error("The database query failed", show(reason), kind=Kind.UNAVAILABLE) from None
    finally:
        engine.dispose()
