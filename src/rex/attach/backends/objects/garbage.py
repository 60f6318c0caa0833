"""Garbage of resumable uploads whose objects are in a folder of the storage's own."""

from __future__ import annotations

import itertools
from functools import partial
from typing import TYPE_CHECKING

from rex.attach.backend.garbage import Garbage, GarbageKind
from rex.attach.backends.objects.records import RECORD

if TYPE_CHECKING:
    import datetime
    from collections.abc import Callable, Iterable, Iterator

    from rex.attach.backends.objects.objects import Objects
    from rex.attach.backends.objects.requests import Listed

__all__ = ["find_remains"]


def find_remains(
    objects: Objects,
    found: Iterable[Listed],
    before: datetime.datetime,
    lifetime: datetime.timedelta,
    *,
    is_over: Callable[[str], bool],
) -> Iterator[Garbage]:
    """Yield objects of uploads without a record, or whose upload ended long ago.

    `found` are the objects of the folder in the order of their names. A record is garbage
    from `lifetime` after its last change, if `is_over` says so of its path.
    """
    for folder, group in itertools.groupby(found, lambda each: each.name.rpartition("/")[0]):
        there = {each.name: each for each in group}
        kept = there.pop(f"{folder}/{RECORD}", None)
        if kept is not None:
            if kept.modified + lifetime >= before or not is_over(kept.name):
                continue
            there = {kept.name: kept, **there}
        for path, each in there.items():
            if each.modified < before:
                name = path.removeprefix(objects.prefix)
                clear = partial(_delete, objects, path)
                yield Garbage(GarbageKind.FILE, name, each.modified, each.size, clear)


def _delete(objects: Objects, path: str) -> bool:
    objects.delete(path)
    return True
