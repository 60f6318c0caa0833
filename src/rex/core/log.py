"""Logging: the library's loggers, the warnings of commands, and the formats of `rex serve`."""

from __future__ import annotations

import contextlib
import datetime
import json
import logging
from typing import TYPE_CHECKING, Any

from rex.core.printable import printable

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = [
    "FORMATS",
    "LEVELS",
    "JsonFormatter",
    "TextFormatter",
    "configuration",
    "get_logger",
    "show_warnings",
]

FORMATS = ("text", "json")
LEVELS = ("debug", "info", "warning", "error", "critical")

# Without a handler, Python prints warnings on stderr, also those of a library in a script.
logging.getLogger("rex").addHandler(logging.NullHandler())

get_logger = logging.getLogger


class TextFormatter(logging.Formatter):
    """Time, level, logger and message in a line, then the traceback."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - the name in logging
        """Return the line of a record; control characters are escaped."""
        message = printable(record.message)
        return f"{_time(record)} {record.levelname:<8} {_name(record)}: {message}"


class JsonFormatter(logging.Formatter):
    """A JSON object per record, with the fields that the caller gave as `extra`."""

    _known = frozenset(logging.makeLogRecord({}).__dict__) | {"message", "asctime", "taskName"}

    def format(self, record: logging.LogRecord) -> str:
        """Return the JSON of a record in one line."""
        shown: dict[str, Any] = {
            "time": _time(record),
            "level": record.levelname.lower(),
            "logger": _name(record),
            "message": record.getMessage(),
        }
        given = record.__dict__.items()
        shown |= {name: value for name, value in given if name not in {*self._known, *shown}}
        if record.exc_info:
            shown["traceback"] = self.formatException(record.exc_info)
        return json.dumps(shown, default=str)


def configuration(level: str, form: str, *, access_log: bool) -> dict[str, Any]:
    """Return the logging of a server, as `logging.config.dictConfig` accepts it.

    All lines go to stderr in one format: those of the application, of granian and of other
    libraries, which have no debug lines.
    """
    at = level.upper()
    formatter = JsonFormatter if form == "json" else TextFormatter
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"rex": {"()": formatter}},
        "handlers": {"rex": {"class": "logging.StreamHandler", "formatter": "rex"}},
        "root": {"handlers": ["rex"], "level": "INFO" if level == "debug" else at},
        "loggers": {
            "rex": {"level": at},
            "rex.access": {"level": "INFO" if access_log else "WARNING"},
            "_granian": {"level": at},
        },
    }


@contextlib.contextmanager
def show_warnings() -> Iterator[None]:
    """Show warnings on stderr while a command runs.

    The failure of an operation is not shown, since the command reports it.
    """
    log, handler = logging.getLogger("rex"), _Warnings(logging.WARNING)
    log.addHandler(handler)
    try:
        yield
    finally:
        log.removeHandler(handler)


class _Warnings(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        import click

        if not hasattr(record, "outcome"):
            click.echo(f"rex: warning: {printable(record.getMessage())}", err=True)


def _name(record: logging.LogRecord) -> str:
    return record.name.removeprefix("_")


def _time(record: logging.LogRecord) -> str:
    moment = datetime.datetime.fromtimestamp(record.created, datetime.UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
