"""All requests that a storage on S3 makes, once each: what its credentials must allow."""

from __future__ import annotations

import datetime
from typing import TYPE_CHECKING

import requests

from programs import PATIENCE
from rex.attach.maintenance import Verdict, diagnose, sweep

if TYPE_CHECKING:
    from rex.attach import PresignedLink, Storage
    from rex.attach.maintenance import Check

__all__ = ["SITE", "exercise", "exercise_form", "set_rules"]

SITE = "https://pages.example.org"
MIB = 1024 * 1024
LARGE = bytes(8 * MIB + 1)
"""Content that becomes a multipart upload of two parts."""


def send(link: PresignedLink, content: bytes = b"") -> requests.Response:
    """Use a link as a client does."""
    if link.method == "POST" and link.fields:
        files = {"file": content}
        answer = requests.post(link.url, data=link.fields, files=files, timeout=PATIENCE)
    else:
        method, headers = link.method, link.headers
        answer = requests.request(method, link.url, headers=headers, data=content, timeout=PATIENCE)
    answer.raise_for_status()
    return answer


def exercise(storage: Storage) -> list[Check]:
    """Use each operation, each way to upload except forms, and the maintenance.

    Return the failures that the doctor finds.
    """
    storage.check()
    handle, reserved = storage.add("a.bin", b"content"), storage.reserve("a.bin")
    for _ in range(2):
        storage.put(reserved, b"content")
    storage.put(storage.reserve("a.bin"), LARGE)
    with storage.open(handle, start=5) as stream:
        stream.read()
    storage.info(handle)
    assert handle in [*storage]
    assert [] == [*storage.unknown_keys()]
    storage.remove(handle)
    upload_resumably(storage)
    upload_in_parts(storage)
    handle = storage.reserve("a.txt")
    send(storage.upload_link(handle, method="PUT"), b"content")
    send(storage.download_link(handle))
    later = datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=30)
    assert [*sweep(storage, delete=True, now=later)]
    return [check for check in diagnose(storage, [SITE]) if check.verdict is Verdict.FAIL]


def upload_resumably(storage: Storage) -> None:
    """Complete an upload and a join of two, and leave an upload for the sweep."""
    whole = storage.uploads.create("a.bin", size=len(LARGE)).handle
    storage.uploads.append(whole, 0, LARGE[:-5])
    storage.uploads.append(whole, storage.uploads.info(whole).offset, LARGE[-5:])
    parts = [storage.uploads.create("a.bin", size=5, partial=True).handle for _ in range(2)]
    for part in parts:
        storage.uploads.append(part, 0, b"parts")
    storage.uploads.join("a.bin", parts)
    left = storage.uploads.create("a.bin", size=len(LARGE)).handle
    storage.uploads.append(left, 0, b"a part")
    assert left in [*storage.uploads.list()]


def upload_in_parts(storage: Storage) -> None:
    """Complete a multipart upload, abort another, and leave one for the sweep."""
    uploads, handle = storage.multipart, storage.reserve("a.bin")
    upload_id = uploads.create(handle)
    etag = send(uploads.link(handle, upload_id, 1), b"part").headers["ETag"]
    send(uploads.parts_link(handle, upload_id))
    uploads.complete(handle, upload_id, [(1, etag)])
    other = storage.reserve("a.bin")
    send(uploads.create_link(other))
    upload_id = uploads.create(other)
    send(uploads.abort_link(other, upload_id))


def exercise_form(storage: Storage) -> None:
    """Upload a form."""
    send(storage.upload_link(storage.reserve("a.txt")), b"content")


def set_rules(storage: Storage) -> None:
    """Set the CORS rule of the bucket, as `rex attach cors --apply` does."""
    storage.cors.allow([SITE])
