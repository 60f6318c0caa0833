"""Completion of multipart uploads: at most one of several uploads of a key succeeds.

SeaweedFS checks the condition of a completion (``If-None-Match: *``) some milliseconds before it
creates the object: it accepts two concurrent completions, and the second replaces the first. Ceph
16 ignores the condition. A conditional ``PUT`` of a small object is atomic. A completion therefore
first claims its key: it creates an object with the id of the upload, and removes it afterwards.
"""

from __future__ import annotations

import hashlib
import random
import re
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from rex.attach.backends.objects.requests import FIRST_PAUSE, LONGEST_PAUSE
from rex.attach.backends.s3.control import S3Control, S3Failure
from rex.core import Kind

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from rex.attach.backend.multipart import Part

__all__ = ["CLAIM_SECONDS", "complete", "etag_of_parts"]

CLAIM_SECONDS = 10
"""The age at which a claim expires, below the timeout of a caller: its process probably died."""

_MD5 = re.compile("[0-9a-f]{32}")
_sleep = time.sleep


def complete(control: S3Control, key: str, upload_id: str, parts: Sequence[Part]) -> bool:
    """Complete an upload with these parts; return whether it was certainly this call that did.

    Raise `FileExistsError`, and change nothing, if the key has a different object. After a lost
    response, the ETag of the object tells whether it consists of these parts.
    """
    size = sum(part.size for part in parts)
    expected = etag_of_parts([part.etag for part in parts])
    with _claim_key(control, key, upload_id):
        found, etag = control.head(key), None
        if found is None:
            try:
                etag = control.complete_multipart(key, upload_id, parts)
            except S3Failure:
                found = control.head(key)
                if found is None:
                    raise
            else:
                found = control.head(key)
    ours = {etag, expected} - {None}
    if found is not None and found.size == size and found.etag in ours:
        if etag is None:  # another upload with the same bytes may have made it
            with suppress(S3Failure):
                control.abort(key, upload_id)
        return etag is not None
    if found is not None and found.etag != etag:
        raise FileExistsError
    stored = 0 if found is None else found.size
    raise S3Failure("Incomplete", f"{stored} of {size} bytes were stored")


@contextmanager
def _claim_key(control: S3Control, key: str, upload_id: str) -> Iterator[None]:
    """Hold the claim of a key; continue without a claim if the server does not support claims."""
    claim = f"{control.folder}claims/{hashlib.sha256(key.encode()).hexdigest()}"
    is_held = False
    try:
        is_held = _claim(control, claim, key, upload_id.encode())
        yield
    finally:
        if is_held:
            with suppress(S3Failure):  # the claim expires soon, and sweep removes it
                control.delete(claim)


def _claim(control: S3Control, claim: str, key: str, upload_id: bytes) -> bool:
    """Claim a key, waiting for other uploads; return whether there is a claim to remove."""
    deadline, pause = time.monotonic() + control.timeout, FIRST_PAUSE / 2
    while True:
        try:
            if control.create(claim, upload_id):
                return True
        except S3Failure as failure:
            if failure.kind in (Kind.UNSUPPORTED, Kind.DENIED):
                return False
            raise
        held = control.read(claim)
        if held is not None and held.content == upload_id:
            return True  # by an earlier request whose response was lost
        if control.head(key) is not None:
            return False
        if held is not None and held.age > CLAIM_SECONDS:
            control.delete(claim)
        elif time.monotonic() > deadline:
            raise S3Failure("Claimed", "another upload of the same key is being completed")
        else:
            _sleep(random.uniform(pause / 2, pause))  # noqa: S311 - no secret
            pause = min(2 * pause, LONGEST_PAUSE)


def etag_of_parts(etags: Sequence[str]) -> str | None:
    """Return the ETag of an object that consists of parts, if their ETags are MD5 digests.

    S3 documents no rule; the servers that we know use the MD5 of the MD5 digests.
    """
    sums = [etag.strip('"') for etag in etags]
    if not all(_MD5.fullmatch(each) for each in sums):
        return None
    joined = b"".join(map(bytes.fromhex, sums))
    return f'"{hashlib.md5(joined, usedforsecurity=False).hexdigest()}-{len(sums)}"'
