"""Sizes and times as people read them."""

from __future__ import annotations

__all__ = ["format_size", "format_time"]

MINUTE, HOUR = 60, 3600


def format_size(size: float) -> str:
    """Return a number of bytes in three digits and a unit of 1000: `12.3 MB`, `1 byte`."""
    if size < 999.5:  # noqa: PLR2004 - what is rounded to 1000 belongs to the next unit
        return f"{size:.0f} {'byte' if round(size) == 1 else 'bytes'}"
    unit = "?"
    for unit in ("kB", "MB", "GB", "TB", "PB"):  # noqa: B007 - used after the loop
        size /= 1000
        if size < 999.5:  # noqa: PLR2004 - the same
            break
    decimals = sum(size < limit for limit in (9.995, 99.95))
    return f"{size:.{decimals}f} {unit}"


def format_time(seconds: float) -> str:
    """Return a duration in its largest units, rounded: `2 h 5 min`, `40 s`."""
    if round(seconds) < MINUTE:
        return f"{seconds:.0f} s"
    hours, minutes = divmod(round(seconds / MINUTE), HOUR // MINUTE)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min"
