"""Promises on the metadata of an attachment."""

from __future__ import annotations

import datetime
import hashlib
import json
import os
import re
import stat
from typing import TYPE_CHECKING

from rex.attach.conformance.expectations import expect, expect_true
from rex.attach.conformance.promise import promise
from rex.attach.conformance.samples import MIB, sample, split_chunks

if TYPE_CHECKING:
    from rex.attach.conformance.harness import Harness

DAY = datetime.timedelta(days=1)


@promise
def the_size_is_known(harness: Harness) -> None:
    """`info` and `stat` return the size in bytes."""
    with harness.storage() as storage:
        for size in (0, 1, 1000, 9 * MIB):
            handle = storage.add("a.bin", split_chunks(sample(size), MIB))
            expect("size in info", size, storage.info(handle).size)
            expect("size in stat", size, storage.stat(handle).st_size)


@promise
def the_digest_is_the_sha_256_or_not_known(harness: Harness) -> None:
    """A recorded digest is the SHA-256 of the bytes in hexadecimal."""
    with harness.storage() as storage:
        for size in (0, 1000, 9 * MIB):
            data = sample(size)
            digest = storage.info(storage.add("a.bin", data)).digest
            expected = hashlib.sha256(data).hexdigest()
            expect_true(f"the digest {digest} is None or {expected}", digest in (None, expected))


@promise
def handle_and_name_are_known(harness: Harness) -> None:
    """`info` returns the handle, and the name in the handle."""
    with harness.storage() as storage:
        handle = storage.add("a/b/report 2.pdf", b"data")
        expect("handle in info", handle, storage.info(handle).handle)
        expect("name in info", "report 2.pdf", storage.info(handle).name)


@promise
def the_content_type_given_is_kept(harness: Harness) -> None:
    """A given content type is stored, not that of the name, for small and large content."""
    with harness.storage() as storage:
        for given in ("text/x-special", "image/png", 'text/plain; charset="utf-8"', "a/b+c;d=e"):
            handle = storage.add("page.html", b"data", content_type=given)
            expect("content type in info", given, storage.info(handle).content_type)
            with storage.open(handle) as stream:
                expect("content type when opened", given, stream.info.content_type)
        handle = storage.add("a.txt", sample(9 * MIB), content_type="x/large")
        expect("content type of large content", "x/large", storage.info(handle).content_type)


@promise
def the_content_type_follows_from_the_name(harness: Harness) -> None:
    """The content type defaults to that of the name, equally on every storage."""
    with harness.storage() as storage:
        for name, expected in (
            ("a.txt", "text/plain"),
            ("SCAN.PNG", "image/png"),
            ("a.b.jpeg", "image/jpeg"),
            ("a.pdf", "application/pdf"),
            ("a.docx", "application/vnd.openxmlformats-officedocument.wordprocessingml.document"),
            ("a.unheard-of", "application/octet-stream"),
            ("README", "application/octet-stream"),
        ):
            info = storage.info(storage.add(name, b"data"))
            expect(f"content type of {name}", expected, info.content_type)


@promise
def a_string_is_stored_with_its_charset(harness: Harness) -> None:
    """The text type of a string gets a charset, so that a reader need not guess UTF-8."""
    with harness.storage() as storage:
        for name, given, expected in (
            ("a.txt", None, "text/plain; charset=utf-8"),
            ("a.md", None, "text/markdown; charset=utf-8"),
            ("a.bin", "text/csv", "text/csv; charset=utf-8"),
            ("a.txt", "text/plain; charset=us-ascii", "text/plain; charset=us-ascii"),
            ("a.json", None, "application/json"),
        ):
            added, reserved = storage.add(name, "data", content_type=given), storage.reserve(name)
            storage.put(reserved, "data", content_type=given)
            for handle in (added, reserved):
                found = storage.info(handle).content_type
                expect(f"content type of a string in {name}", expected, found)
        what = "content type of bytes in a.txt"
        expect(what, "text/plain", storage.info(storage.add("a.txt", b"data")).content_type)


@promise
def when_it_was_stored_is_known(harness: Harness) -> None:
    """`modified` is aware, in UTC, and close to the current time."""
    with harness.storage() as storage:
        modified = storage.info(storage.add("a.bin", b"data")).modified
        expect("offset of the time from UTC", datetime.timedelta(0), modified.utcoffset())
        expect_true(f"{modified} is about now", abs(_now() - modified) < DAY)


@promise
def the_entity_tag_stands_for_the_content(harness: Harness) -> None:
    """An entity tag has quotes (RFC 9110), never changes, and differs for different content."""
    with harness.storage() as storage:
        contents = (b"one", b"two", b"", sample(9 * MIB, "a"), sample(9 * MIB, "b"))
        handles = [storage.add("same.bin", content) for content in contents]
        tags = [storage.info(handle).etag for handle in handles]
        for tag in tags:
            expect_true(f"{tag} is an entity tag", re.fullmatch(r'(?:W/)?"[!#-~]+"', tag))
        expect("different tags of different content", len(contents), len(set(tags)))
        expect("the same tags again", tags, [storage.info(handle).etag for handle in handles])


@promise
def an_open_attachment_tells_the_same_as_info(harness: Harness) -> None:
    """An open attachment has the metadata that `info` returns, also for multipart content."""
    with harness.storage() as storage:
        for size in (0, 10, 9 * MIB):
            handle = storage.add("a.txt", sample(size))
            with storage.open(handle) as stream:
                expect("info when opened", storage.info(handle), stream.info)


@promise
def stat_gives_a_real_stat_result(harness: Harness) -> None:
    """`stat` returns the `os.stat_result` of a regular file, with size and times."""
    with harness.storage() as storage:
        handle = storage.add("a.txt", b"0123456789")
        status = storage.stat(handle)
        expect("type of the result of stat", os.stat_result, type(status))
        expect_true("the result is that of a regular file", stat.S_ISREG(status.st_mode))
        expect("size in stat", 10, status.st_size)
        modified = storage.info(handle).modified.timestamp()
        expect_true("the time is that in info", abs(status.st_mtime - modified) < 1)


@promise
def info_can_be_given_as_json(harness: Harness) -> None:
    """`Info.as_dict` returns a value that can be written as JSON."""
    with harness.storage() as storage:
        info = storage.info(storage.add("a.txt", b"data"))
        told = json.loads(json.dumps(info.as_dict()))
        expect("handle in JSON", info.handle, told["handle"])
        expect("time in JSON", info.modified, datetime.datetime.fromisoformat(told["modified"]))


@promise
def a_storage_that_can_be_used_says_so(harness: Harness) -> None:
    """`check` succeeds and stores nothing; the storage is its own context manager."""
    with harness.storage() as storage:
        storage.check()
        expect("attachments after a check", [], list(storage))
        expect_true("repr names the storage", type(storage).__name__ in repr(storage))
        with storage as entered:
            expect_true("entering returns the storage itself", entered is storage)


def _now() -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC)
