"""Processing all items of a command although some fail."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from rex.core import Error
from rex.core.exit_codes import EXIT_CODES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

__all__ = ["process_all"]


def process_all(items: Iterable[str], act: Callable[[str], None]) -> int:
    """Process all items, print the failures, and return the exit code of the first, or 0."""
    code = 0
    for item in items:
        try:
            act(item)
        except Error as error:
            click.echo(f"rex: {error}", err=True)
            code = code or EXIT_CODES[error.kind]
    return code
