"""What nobody finished on an S3 server: multipart uploads, and what is left of drafts."""

from __future__ import annotations

import datetime
import itertools
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any

import obstore

from rex.attach.handle import handle_of
from rex.attach.leftover import Leftover, What
from rex.attach.storages.s3_control import S3Failure
from rex.attach.storages.s3_drafts import PLACE, RECORD, S3Drafts
from rex.core import Kind

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rex.attach.storages.s3 import S3Storage
    from rex.attach.storages.s3_control import S3Control

# It is the storage's own, in a file of its own.
# ruff: noqa: SLF001

__all__ = ["lifecycle", "s3_leftovers"]

RULE_ID = "rex-attach"


def s3_leftovers(storage: S3Storage, before: datetime.datetime) -> Iterator[Leftover]:
    """Give what has been left since before a moment.

    A multipart upload may take as long as any other, so it is of no use when that has passed; those
    of drafts end with their drafts.
    """
    targets = set(S3Drafts(storage).targets())
    lifetime = datetime.timedelta(seconds=storage.upload_expires)
    control = storage._control
    for path, upload_id, began in control.unfinished(storage.prefix):
        name = path.removeprefix(storage.prefix)
        is_ours = handle_of(name.removeprefix(f"{PLACE}/")) is not None
        if is_ours and path not in targets and began + lifetime < before:
            size = _size(control, path, upload_id)
            clear = partial(_abort, control, path, upload_id)
            yield Leftover(What.PARTS, name, began + lifetime, size, clear)
    yield from _without_record(storage, before)


def lifecycle(prefix: str, days: int) -> list[dict[str, Any]]:
    """Give the rules for a bucket that remove the same, days after it was begun."""
    aborted = {"DaysAfterInitiation": days}
    return [
        {
            "ID": f"{RULE_ID}-parts",
            "Status": "Enabled",
            "Filter": {"Prefix": prefix},
            "AbortIncompleteMultipartUpload": aborted,
        },
        {
            "ID": f"{RULE_ID}-drafts",
            "Status": "Enabled",
            "Filter": {"Prefix": f"{prefix}{PLACE}/"},
            "Expiration": {"Days": days},
        },
    ]


def _without_record(storage: S3Storage, before: datetime.datetime) -> Iterator[Leftover]:
    """Find objects of drafts whose record is gone, or never came."""
    pages = obstore.list(storage._store(), storage._path(PLACE))
    found = itertools.chain.from_iterable(pages)
    for folder, metas in itertools.groupby(found, lambda meta: meta["path"].rpartition("/")[0]):
        objects = {meta["path"]: meta for meta in metas}
        if f"{folder}/{RECORD}" in objects:
            continue
        for path, meta in objects.items():
            if meta["last_modified"] < before:
                clear = partial(_delete, storage, path)
                name = path.removeprefix(storage.prefix)
                yield Leftover(What.FILE, name, meta["last_modified"], meta["size"], clear)


def _size(control: S3Control, path: str, upload_id: str) -> int:
    with suppress(S3Failure):
        return sum(part.size for part in control.list_parts(path, upload_id))
    return 0


def _abort(control: S3Control, path: str, upload_id: str) -> bool:
    try:
        control.abort(path, upload_id)
    except S3Failure as failure:
        if failure.kind is Kind.NOT_FOUND:
            return False
        raise
    return True


def _delete(storage: S3Storage, path: str) -> bool:
    obstore.delete(storage._store(), path)
    return True
