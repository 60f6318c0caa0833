"""How the parts of an upload become an object: once, also if several uploads of a key end together.

SeaweedFS checks the condition of a completion (``If-None-Match: *``) some milliseconds before it
makes the object: of two completions at once, it accepts both, and the second replaces the first.
Ceph 16 ignores the condition. A conditional ``PUT`` of one small object is atomic. So a completion
first claims its key: it creates an object that names the upload, and removes it afterwards.
"""

from __future__ import annotations

import hashlib
import random
import re
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from rex.attach.backends.s3.control import FIRST_PAUSE, LONGEST_PAUSE, S3Control, S3Failure
from rex.core import Kind

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from rex.attach.storage.multipart import Part

__all__ = ["CLAIM_SECONDS", "complete", "etag_of_parts"]

CLAIM_SECONDS = 10
"""The age at which a claim is void, less than what a caller waits: its process has died, mostly."""

_MD5 = re.compile("[0-9a-f]{32}")
_sleep = time.sleep


def complete(control: S3Control, key: str, upload_id: str, parts: Sequence[Part]) -> None:
    """Make the object of these parts, unless the key has another object.

    Raises `FileExistsError` then, and changes nothing. Where an answer was lost, the ETag of the
    object tells whether these parts made it.
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
        if etag is None:  # maybe of another upload with the same bytes, and ours has not ended
            with suppress(S3Failure):
                control.abort(key, upload_id)
        return
    if found is not None and found.etag != etag:
        raise FileExistsError
    stored = 0 if found is None else found.size
    raise S3Failure("Incomplete", f"{stored} of {size} bytes were stored")


@contextmanager
def _claim_key(control: S3Control, key: str, upload_id: str) -> Iterator[None]:
    """Hold the claim of a key, or go on without one where the server cannot keep claims."""
    claim = f"{control.folder}claims/{hashlib.sha256(key.encode()).hexdigest()}"
    is_held = False
    try:
        is_held = _claim(control, claim, key, upload_id.encode())
        yield
    finally:
        if is_held:
            with suppress(S3Failure):  # a claim that stays is void soon, and sweep removes it
                control.delete(claim)


def _claim(control: S3Control, claim: str, key: str, upload_id: bytes) -> bool:
    """Claim a key, when no other upload does; return whether there is a claim to remove."""
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
            return True  # by an earlier request, whose answer was lost
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
    """Return the ETag of the object that parts make, where theirs are MD5 sums.

    S3 documents no rule; the servers that we know take the MD5 of the MD5 sums.
    """
    sums = [etag.strip('"') for etag in etags]
    if not all(_MD5.fullmatch(each) for each in sums):
        return None
    joined = b"".join(map(bytes.fromhex, sums))
    return f'"{hashlib.md5(joined, usedforsecurity=False).hexdigest()}-{len(sums)}"'
