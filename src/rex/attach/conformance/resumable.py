"""Promises on resumable uploads: stored bytes are kept, and the last one completes."""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
from typing import TYPE_CHECKING, Any

from rex.attach.conformance.expectations import (
    expect,
    expect_content,
    expect_error,
    expect_nothing_stored,
    expect_raises,
    expect_true,
)
from rex.attach.conformance.promise import upload_promise
from rex.attach.conformance.samples import MIB, CutFile, fail_after, sample, split_chunks
from rex.attach.storage.resumable import MAX_KEPT_METADATA_BYTES
from rex.core import Error, Kind

if TYPE_CHECKING:
    from rex.attach.conformance.harness import Harness
    from rex.attach.storage import Storage

LARGE = 9 * MIB
"""More bytes than a server gets in one request."""


@upload_promise(supported=False)
def uploads_in_pieces_that_cannot_be_taken_are_refused(harness: Harness) -> None:
    """A storage without resumable uploads says so."""
    with harness.storage() as storage:
        error = expect_error(Kind.UNSUPPORTED, "uploads", lambda: storage.uploads)
        expect_true("the error has an explanation", error.payload)


@upload_promise(supported=True)
def an_upload_in_pieces_becomes_an_attachment(harness: Harness) -> None:
    """Chunks of any size, appended in order, become the attachment; no garbage is left."""
    with harness.storage() as storage:
        for size, piece in ((1, 1), (1000, 7), (3 * MIB, MIB), (2 * LARGE + 1, LARGE - 1)):
            data = sample(size)
            handle = storage.uploads.create("a b.png", size=size).handle
            for start in range(0, size, piece):
                there = data[start : start + piece]
                upload = storage.uploads.append(handle, start, there)
                expect("offset", start + len(there), upload.offset)
            expect("whether it is complete", True, upload.is_complete)
            expect("handle", handle, upload.handle)
            expect_content(storage, handle, data)
            info = storage.info(handle)
            expect("name", "a b.png", info.name)
            expect("content type", "image/png", info.content_type)
            digest = hashlib.sha256(data).hexdigest()
            expect_true("a digest that is recorded is right", info.digest in (None, digest))
            expect("listed", [handle], list(storage))
            expect("garbage in the storage", [], harness.garbage(storage))
            storage.remove(handle)


@upload_promise(supported=True)
def an_upload_in_one_piece_has_all_that_is_known(harness: Harness) -> None:
    """A small upload has the same metadata as an added attachment."""
    with harness.storage() as storage:
        added = storage.info(storage.add("a.bin", b"data", content_type="x/special"))
        upload = storage.uploads.create("a.bin", size=4, content_type="x/special")
        storage.uploads.append(upload.handle, 0, b"data")
        found = storage.info(upload.handle)
        for what in ("name", "size", "content_type", "digest"):
            expect(what, getattr(added, what), getattr(found, what))


@upload_promise(supported=True)
def an_upload_is_no_attachment_before_it_is_complete(harness: Harness) -> None:
    """An unfinished upload cannot be listed, opened or removed as an attachment."""
    with harness.storage() as storage:
        for size, partial in ((10, False), (LARGE, False), (10, True), (LARGE, True)):
            upload = storage.uploads.create("a.bin", size=size + 1, partial=partial)
            storage.uploads.append(upload.handle, 0, sample(size))
            expect_no_attachment(storage, upload.handle)
            storage.uploads.remove(upload.handle)


@upload_promise(supported=True)
def an_upload_tells_how_far_it_is(harness: Harness) -> None:
    """`info`, `create` and `append` return the complete state of an upload."""
    with harness.storage() as storage:
        metadata = "filename YS50eHQ=,größe " + "x" * 4000
        made = storage.uploads.create("a.txt", size=10, content_type="x/special", metadata=metadata)
        expect("result of info", made, storage.uploads.info(made.handle))
        expect(
            "state",
            (0, 10, "x/special", metadata, False),
            dataclasses.astuple(made)[1:6],
        )
        expect_true("the upload has an expiry", made.expires_at is not None)
        appended = storage.uploads.append(made.handle, 0, b"abc")
        expect("result of append", dataclasses.replace(made, offset=3), appended)
        expect("result of info", appended, storage.uploads.info(made.handle))
        finished = storage.uploads.append(made.handle, 3, b"defghij")
        expect("offset and size", (10, 10), (finished.offset, finished.size))
        expect("expiry", None, finished.expires_at)
        told = storage.uploads.info(made.handle)
        expect("result of info for an attachment", (10, 10), (told.offset, told.size))
        expect("expiry", None, told.expires_at)


@upload_promise(supported=True)
def a_complete_upload_has_its_note_or_none(harness: Harness) -> None:
    """A complete upload has metadata up to `MAX_KEPT_METADATA_BYTES` of UTF-8, or none."""
    with harness.storage() as storage:
        for size in (0, 10, LARGE):
            for metadata in (f"größe {size}", "ü" * (MAX_KEPT_METADATA_BYTES // 2 + 1)):
                kept = (
                    (metadata, "") if len(metadata.encode()) <= MAX_KEPT_METADATA_BYTES else ("",)
                )
                made = storage.uploads.create("a.bin", size=size, metadata=metadata)
                finished = storage.uploads.append(made.handle, 0, sample(size))
                part = storage.uploads.create("b.bin", size=size, metadata="a part", partial=True)
                storage.uploads.append(part.handle, 0, sample(size))
                joined = storage.uploads.join("c.bin", [part.handle], metadata=metadata)
                infos = map(storage.uploads.info, (made.handle, joined))
                for told in (finished, *infos):
                    expect_true(
                        f"metadata of {size} bytes: {told.metadata!r}", told.metadata in kept
                    )
            plain = storage.uploads.create("a.bin", size=size).handle
            storage.uploads.append(plain, 0, sample(size))
            expect("metadata of an upload without", "", storage.uploads.info(plain).metadata)


@upload_promise(supported=True)
def what_comes_before_a_failure_is_kept(harness: Harness) -> None:
    """The exception of the content propagates unchanged; the bytes before it are stored."""
    with harness.storage() as storage:
        for size, failure in (
            (0, ValueError("broken")),
            (1000, FileNotFoundError("broken")),
            (3 * MIB, KeyboardInterrupt("broken")),
            (LARGE, BlockingIOError("broken")),
        ):
            data, rest = sample(size), b"and the rest"
            whole = size + size + len(rest)
            handle = storage.uploads.create("a.bin", size=whole).handle
            for start in (0, size):
                content = fail_after(failure, size)
                raised = expect_raises(
                    type(failure), "append", storage.uploads.append, handle, start, content
                )
                expect_true("the same exception object is raised", raised is failure)
                expect("offset", start + size, storage.uploads.info(handle).offset)
            storage.uploads.append(handle, 2 * size, rest)
            expect_content(storage, handle, data + data + rest)


@upload_promise(supported=True)
def content_that_breaks_off_completes_nothing(harness: Harness) -> None:
    """The last bytes before a failure are kept, too, but the upload stays unfinished."""
    with harness.storage() as storage:
        for size in (1000, LARGE):
            data, failure = sample(size), ValueError("broken")
            handle = storage.uploads.create("a.bin", size=2 * size, is_open=True).handle
            storage.uploads.append(handle, 0, data, complete=False)
            content = fail_after(failure, size)
            expect_raises(
                ValueError,
                "append",
                lambda: storage.uploads.append(handle, size, content, complete=True),  # noqa: B023 - called at once
            )
            upload = storage.uploads.info(handle)
            expect("offset", 2 * size, upload.offset)
            expect("whether it is complete", False, upload.is_complete)
            expect("listed", [], list(storage))
            storage.uploads.append(handle, 2 * size, b"", complete=True)
            expect_content(storage, handle, data + data)
            storage.remove(handle)


@upload_promise(supported=True)
def what_came_of_a_piece_that_became_shorter_is_kept(harness: Harness) -> None:
    """A file that shrinks while it is appended is `CORRUPT`; its bytes so far are stored."""
    with harness.storage() as storage:
        for size, cut in ((2 * MIB, MIB), (2 * LARGE, LARGE)):
            data = sample(size)
            handle = storage.uploads.create("a.log", size=size).handle
            append = storage.uploads.append
            expect_error(Kind.CORRUPT, "append", append, handle, 0, CutFile(data, cut))
            expect("offset", cut, storage.uploads.info(handle).offset)
            append(handle, cut, data[cut:])
            expect_content(storage, handle, data)


@upload_promise(supported=True)
def a_wrong_offset_is_a_conflict(harness: Harness) -> None:
    """An append at a wrong offset is a `CONFLICT` and stores nothing."""
    with harness.storage() as storage:
        handle = storage.uploads.create("a.bin", size=6).handle
        storage.uploads.append(handle, 0, b"abc")
        for offset in (0, 2, 4, 6, 7, -1, 10**30):
            what = f"append at {offset}"
            expect_error(Kind.CONFLICT, what, storage.uploads.append, handle, offset, b"x")
        expect("offset", 3, storage.uploads.info(handle).offset)
        storage.uploads.append(handle, 3, b"def")
        expect_error(
            Kind.CONFLICT, "append to an attachment", storage.uploads.append, handle, 3, b"x"
        )
        expect_content(storage, handle, b"abcdef")


@upload_promise(supported=True)
def more_than_an_upload_lacks_is_refused(harness: Harness) -> None:
    """Content beyond the size of an upload is `TOO_LARGE`; bytes up to the size are kept."""
    with harness.storage() as storage:
        handle = storage.uploads.create("a.bin", size=6).handle
        append = storage.uploads.append
        expect_error(Kind.TOO_LARGE, "append of too much", append, handle, 0, b"abcdefg")
        expect("offset", 0, storage.uploads.info(handle).offset)
        chunks = iter([b"abc", b"defg"])
        expect_error(Kind.TOO_LARGE, "append of too many chunks", append, handle, 0, chunks)
        expect("offset", 3, storage.uploads.info(handle).offset)
        append(handle, 3, b"def")
        expect_error(Kind.TOO_LARGE, "append to an attachment", append, handle, 6, b"g")
        expect_content(storage, handle, b"abcdef")


@upload_promise(supported=True)
def the_limit_holds_for_uploads_in_pieces(harness: Harness) -> None:
    """`max_size` bytes are allowed and one more is not, for a known and an unknown size."""
    with harness.storage(max_size=1000) as storage:
        create, append = storage.uploads.create, storage.uploads.append
        expect_error(Kind.TOO_LARGE, "create", create, "a.bin", size=1001)
        handle = create("a.bin", size=1000).handle
        append(handle, 0, sample(1000))
        expect_content(storage, handle, sample(1000))
        unknown = create("a.bin").handle
        expect_error(Kind.TOO_LARGE, "append", append, unknown, 0, iter([sample(1000), b"x"]))
        expect("offset", 1000, storage.uploads.info(unknown).offset)
        expect_error(Kind.TOO_LARGE, "append of 1", append, unknown, 1000, b"x")
        expect_error(Kind.TOO_LARGE, "a size", append, unknown, 1000, b"", size=1001)
        append(unknown, 1000, b"", size=1000)
        expect_content(storage, unknown, sample(1000))
        parts = [upload_part(storage, sample(501)) for _ in range(2)]
        expect_error(Kind.TOO_LARGE, "join", storage.uploads.join, "a.bin", parts)


@upload_promise(supported=True)
def the_size_of_an_upload_can_be_told_later(harness: Harness) -> None:
    """The size may be announced before, with or after the last chunk, and then stays."""
    with harness.storage() as storage:
        create, append = storage.uploads.create, storage.uploads.append
        for size in (6, LARGE):
            data = sample(size)
            for at in (1, 3, size):
                handle = create("a.bin").handle
                expect("size", None, storage.uploads.info(handle).size)
                append(handle, 0, data[:at])
                expect_error(Kind.CONFLICT, "less", append, handle, at, b"", size=at - 1)
                append(handle, at, data[at:], size=size)
                expect_content(storage, handle, data)
        handle = create("a.bin").handle
        append(handle, 0, b"abc", size=6)
        expect("size", 6, storage.uploads.info(handle).size)
        expect_error(Kind.CONFLICT, "a different size", append, handle, 3, b"", size=7)
        append(handle, 3, b"def", size=6)
        expect_content(storage, handle, b"abcdef")


@upload_promise(supported=True)
def an_upload_of_nothing_is_complete_at_once(harness: Harness) -> None:
    """An empty upload is complete once its size is known."""
    with harness.storage() as storage:
        upload = storage.uploads.create("a.txt", size=0)
        expect("expiry", None, upload.expires_at)
        expect_content(storage, upload.handle, b"")
        later = storage.uploads.create("b.txt")
        expect("whether it is complete", False, later.is_complete)
        storage.uploads.append(later.handle, 0, b"", size=0)
        expect_content(storage, later.handle, b"")
        expect("listed", sorted([upload.handle, later.handle]), list(storage))
        expect("garbage in the storage", [], harness.garbage(storage))


@upload_promise(supported=True)
def an_upload_that_is_complete_takes_nothing_more(harness: Harness) -> None:
    """A complete upload can neither be appended to nor removed as an upload."""
    with harness.storage() as storage:
        handle = storage.uploads.create("a.bin", size=4).handle
        storage.uploads.append(handle, 0, b"data")
        expect("offset", 4, storage.uploads.append(handle, 4, b"").offset)
        expect_error(Kind.TOO_LARGE, "append", storage.uploads.append, handle, 4, iter([b"x"]))
        expect_error(Kind.NOT_FOUND, "remove", storage.uploads.remove, handle)
        expect_content(storage, handle, b"data")
        storage.remove(handle)
        expect_error(Kind.NOT_FOUND, "info", storage.uploads.info, handle)


@upload_promise(supported=True)
def an_upload_that_is_removed_leaves_nothing(harness: Harness) -> None:
    """A removed upload of any size leaves nothing."""
    with harness.storage() as storage:
        uploads = storage.uploads
        for size, partial in itertools.product((0, 10, LARGE), (False, True)):
            handle = uploads.create("a.bin", size=LARGE + 1, partial=partial).handle
            uploads.append(handle, 0, sample(size))
            uploads.remove(handle)
            expect_nothing_stored(harness, storage)
            expect("uploads", [], list(uploads.list()))
            expect_error(Kind.NOT_FOUND, "info", uploads.info, handle)
            expect_error(Kind.NOT_FOUND, "append", uploads.append, handle, size, b"x")
            expect_error(Kind.NOT_FOUND, "remove", uploads.remove, handle)


@upload_promise(supported=True)
def uploads_are_listed_until_they_are_complete(harness: Harness) -> None:
    """Partial uploads are listed until they are joined or removed."""
    with harness.storage() as storage:
        storage.add("a.bin", b"data")
        begun = [storage.uploads.create(f"{number}.bin", size=4).handle for number in range(5)]
        part = upload_part(storage, b"part")
        expect("uploads", sorted([*begun, part]), sorted(storage.uploads.list()))
        storage.uploads.append(begun[0], 0, b"data")
        storage.uploads.remove(begun[1])
        expect("uploads", sorted([*begun[2:], part]), sorted(storage.uploads.list()))


@upload_promise(supported=True)
def an_upload_that_has_expired_takes_nothing_more(harness: Harness) -> None:
    """An expired upload is `NOT_FOUND`, but not removed: a clock may be wrong."""
    with harness.storage() as storage:
        uploads, lifetime = storage.uploads, storage.upload_expires
        finished = uploads.create("a.bin", size=4).handle
        uploads.append(finished, 0, b"data")
        for size in (4, LARGE):
            data = sample(size)
            storage.upload_expires = 0
            upload = uploads.create("a.bin", size=size)
            expect_true("the upload has an expiry", upload.expires_at is not None)
            expect_error(Kind.NOT_FOUND, "info", uploads.info, upload.handle)
            expect_error(Kind.NOT_FOUND, "append", uploads.append, upload.handle, 0, data)
            expect("uploads", [upload.handle], list(uploads.list()))
            uploads.remove(upload.handle)
            expect("uploads", [], list(uploads.list()))
            storage.upload_expires = lifetime
        expect_content(storage, finished, b"data")
        expect("offset", 4, uploads.info(finished).offset)
        expect("garbage in the storage", [], harness.garbage(storage))


@upload_promise(supported=True)
def a_handle_that_is_no_upload_is_refused(harness: Harness) -> None:
    """An unknown handle is `NOT_FOUND`, also with just a different name; others `ILL_FORMED`."""
    with harness.storage() as storage:
        uploads = storage.uploads
        upload = uploads.create("a.bin", size=4)
        namesake = upload.handle.rpartition("/")[0] + "/b.bin"
        wrong: Any
        for kind, wrong in (
            (Kind.NOT_FOUND, storage.reserve("a.bin")),
            (Kind.NOT_FOUND, namesake),
            (Kind.ILL_FORMED, "/../../etc/passwd"),
            (Kind.ILL_FORMED, upload.handle[1:]),
            (Kind.ILL_FORMED, None),
        ):
            expect_error(kind, f"info of {wrong!r}", uploads.info, wrong)
            expect_error(kind, f"append to {wrong!r}", uploads.append, wrong, 0, b"x")
            expect_error(kind, f"remove of {wrong!r}", uploads.remove, wrong)
        expect("state of the upload", upload, uploads.info(upload.handle))


@upload_promise(supported=True)
def arguments_of_uploads_are_checked_first(harness: Harness) -> None:
    """Ill-formed arguments are refused, and no upload is created."""
    with harness.storage() as storage:
        loose: Any = storage.uploads
        for wrong in (
            {"name": 7},
            {"size": -1},
            {"size": "4"},
            {"size": 1.5},
            {"content_type": "text"},
            {"metadata": "x" * 8193},
            {"metadata": b"text"},
        ):
            arguments = {"name": "a.bin", "size": 4, **wrong}
            expect_error(Kind.ILL_FORMED, f"create with {wrong}", loose.create, **arguments)
        expect("uploads", [], list(storage.uploads.list()))
        handle = storage.uploads.create("a.bin").handle
        expect_error(Kind.ILL_FORMED, "append of 7", loose.append, handle, 0, 7)
        expect_error(Kind.ILL_FORMED, "size of -1", loose.append, handle, 0, b"", size=-1)
        expect("offset", 0, storage.uploads.info(handle).offset)


def upload_part(storage: Storage, content: bytes) -> str:
    """Store a complete partial upload; return its handle."""
    handle = storage.uploads.create("part", size=len(content), partial=True).handle
    storage.uploads.append(handle, 0, split_chunks(content, MIB))
    return handle


def expect_no_attachment(storage: Storage, handle: str) -> None:
    """Assert that the storage has no attachments, and none of this handle."""
    expect("listed", [], list(storage))
    expect("whether it exists", False, handle in storage)
    for operation in (storage.open, storage.info, storage.remove):
        expect_error(Kind.NOT_FOUND, "an attachment", operation, handle)


@upload_promise(supported=True)
def an_upload_belongs_to_its_owner_alone(harness: Harness) -> None:
    """An upload, also a joined one, belongs to its owner, whose uploads are limited."""
    with harness.storage() as storage:
        storage.max_uploads = 2
        uploads = storage.uploads
        try:
            part = uploads.create("a", size=1, partial=True, owner="ann").handle
        except Error as error:
            expect("kind of the error without a secret", Kind.CONFIGURATION, error.kind)
            return
        uploads.append(part, 0, b"x")
        handles = [part, uploads.create("a", size=1, owner="ann").handle]
        expect_error(Kind.BUSY, "one more", uploads.create, "a", size=1, owner="ann")
        uploads.remove(uploads.create("a", size=1, owner="bob").handle)
        uploads.remove(uploads.create("a", size=1).handle)
        handles.append(uploads.join("a", [part], owner="ann"))
        for handle in handles:
            expect("its owner's", True, storage.is_owned_by(handle, "ann"))
            expect("another's", False, storage.is_owned_by(handle, "bob"))
        uploads.remove(uploads.create("a", size=1, owner="ann").handle)
