"""Garbage in a bucket: remains of resumable uploads.

An unfinished session cannot be listed, and costs nothing: Google ends it after a week.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rex.attach.backends.gcs.codes import PLACE
from rex.attach.backends.gcs.resumable import GCSResumable
from rex.attach.backends.objects.garbage import find_remains

if TYPE_CHECKING:
    import datetime
    from collections.abc import Iterator

    from rex.attach.backend.garbage import Garbage
    from rex.attach.backends.gcs.bucket import GCSBucket

__all__ = ["find_garbage"]


def find_garbage(
    bucket: GCSBucket, before: datetime.datetime, lifetime: datetime.timedelta
) -> Iterator[Garbage]:
    """Yield objects of resumable uploads without a record, or whose upload ended long ago.

    A record is garbage from `lifetime` after its last change.
    """
    found = bucket.control.objects(bucket.path(f"{PLACE}/"))
    is_over = GCSResumable(bucket).is_over
    return find_remains(bucket, found, before, lifetime, is_over=is_over)
