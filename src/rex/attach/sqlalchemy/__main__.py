"""Print the handles that the models refer to: ``python -m rex.attach.sqlalchemy shop.models:Base``.

For ``rex attach sweep --handles-from``. The database is an SQLAlchemy URL in ``DATABASE_URL``, or
the second argument, where other users of the machine can read its password.
"""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from typing import TYPE_CHECKING

import sqlalchemy
from sqlalchemy.exc import SQLAlchemyError

from rex.attach.sqlalchemy.references import referenced_handles
from rex.core import Error, Kind

if TYPE_CHECKING:
    from sqlalchemy import Engine, MetaData

__all__ = ["main"]


def main() -> int:
    """Print the handles; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m rex.attach.sqlalchemy", description=__doc__)
    parser.add_argument("models", help="module:name of the declarative base, or of its metadata")
    parser.add_argument("database", nargs="?", help="default: DATABASE_URL")
    given = parser.parse_args()
    database = given.database or os.environ.get("DATABASE_URL")
    if not database:
        parser.error("the database URL is missing; set DATABASE_URL")
    try:
        for handle in referenced_handles(_metadata(given.models), _engine(database)):
            print(handle)  # noqa: T201 - the output of the command
    except Error as error:
        print(error, file=sys.stderr)  # noqa: T201 - as above
        return 1
    return 0


def _metadata(given: str) -> MetaData:
    module, _, name = given.partition(":")
    sys.path.insert(0, "")
    found = getattr(importlib.import_module(module), name or "Base")
    metadata: MetaData = getattr(found, "metadata", found)
    return metadata


def _engine(url: str) -> Engine:
    try:
        return sqlalchemy.create_engine(url)
    except (SQLAlchemyError, ImportError, ValueError) as failure:
        # The message may contain the URL, and the URL a password.
        reason = "The database URL must be a valid SQLAlchemy URL"
        raise Error(reason, type(failure).__name__, kind=Kind.CONFIGURATION) from None


if __name__ == "__main__":
    sys.exit(main())
