"""Garbage in a bucket: abandoned multipart uploads, and remains of resumable uploads."""

from __future__ import annotations

from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any

from rex.attach.backend.garbage import Garbage, GarbageKind
from rex.attach.backends.objects.garbage import find_remains
from rex.attach.backends.s3.codes import PLACE
from rex.attach.backends.s3.control import S3Failure
from rex.attach.backends.s3.resumable import S3Resumable
from rex.attach.handle import handle_of
from rex.core import Kind

if TYPE_CHECKING:
    import datetime
    from collections.abc import Iterator

    from rex.attach.backends.s3.bucket import Bucket
    from rex.attach.backends.s3.control import S3Control

__all__ = ["find_garbage", "lifecycle"]

RULE_ID = "rex-attach"


def find_garbage(
    bucket: Bucket, before: datetime.datetime, lifetime: datetime.timedelta
) -> Iterator[Garbage]:
    """Yield garbage older than `before`.

    A multipart upload is garbage once its `lifetime` has passed, unless it belongs to a resumable
    upload, with which it ends.
    """
    uploads = S3Resumable(bucket)
    targets = set(uploads.targets())
    control = bucket.control
    for path, upload_id, began in control.list_uploads(bucket.prefix):
        name = path.removeprefix(bucket.prefix)
        is_ours = handle_of(name.removeprefix(f"{PLACE}/")) is not None
        if is_ours and path not in targets and began + lifetime < before:
            size = _size(control, path, upload_id)
            clear = partial(_abort, control, path, upload_id)
            yield Garbage(GarbageKind.PARTS, name, began + lifetime, size, clear)
    remains = control.objects(bucket.path(f"{PLACE}/"))
    yield from find_remains(bucket, remains, before, lifetime, is_over=uploads.is_over)


def lifecycle(prefix: str, days: int, noncurrent: int | None) -> list[dict[str, Any]]:
    """Return the lifecycle rules that remove abandoned uploads `days` after their start.

    With `noncurrent` (days), the rules also remove the versions of removed attachments.
    """
    aborted = {"DaysAfterInitiation": days}
    versions = {
        "ID": f"{RULE_ID}-versions",
        "Status": "Enabled",
        "Filter": {"Prefix": prefix},
        "NoncurrentVersionExpiration": {"NoncurrentDays": noncurrent},
    }
    return [
        *([] if noncurrent is None else [versions]),
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
