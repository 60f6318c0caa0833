"""Multipart uploads on Azure: parts as blocks, which the service or the application stores."""

from __future__ import annotations

import datetime
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from rex.attach.backend.garbage import GarbageKind
from rex.attach.backend.multipart import Part
from rex.attach.backends.azure.control import AzureControl
from rex.attach.conformance.samples import at_once
from rex.attach.maintenance import sweep
from rex.attach.storage.hooks import Hooks
from rex.core import Error, Kind

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from rex.attach.backends.azure.storage import AzureStorage
    from rex.attach.backends.s3.storage import S3Storage

MIB = 1024 * 1024
LARGE = b"a" * (8 * MIB) + b"b"
"""The bytes of a part of two blocks."""
MONTH = datetime.timedelta(days=30)

Upload = tuple[str, str, list[tuple[int, str]]]


def send(
    azure: AzureStorage, parts: Sequence[bytes] = (b"abc",), handle: str | None = None
) -> Upload:
    """Create an upload and store its parts; give what completes it."""
    handle = handle or azure.reserve("a.bin")
    upload_id = azure.multipart.create(handle, "x/own")
    named = [
        (number, azure.multipart.put_part(handle, upload_id, number, part).etag)
        for number, part in enumerate(parts, 1)
    ]
    return handle, upload_id, named


def kind_of(call: Any) -> Kind | None:
    """Return the kind of error of a call, None for success."""
    try:
        call()
    except Error as error:
        return error.kind
    return None


def test_parts_become_an_attachment(azure: AzureStorage) -> None:
    """In the order of their numbers, whatever the order in which they arrived."""
    multipart, handle = azure.multipart, azure.reserve("größe.bin")
    upload_id = multipart.create(handle, "x/own")
    sent = [multipart.put_part(handle, upload_id, *part) for part in ((7, b"end"), (2, LARGE))]
    assert [(2, len(LARGE)), (7, 3)] == [
        (part.number, part.size) for part in multipart.parts(handle, upload_id)
    ]
    assert sent[::-1] == [*multipart.parts(handle, upload_id)]
    multipart.complete(handle, upload_id, [(part.number, part.etag) for part in sent])
    info = azure.info(handle)
    assert ("x/own", len(LARGE) + 3) == (info.content_type, info.size)
    assert LARGE + b"end" == azure.open(handle).read()


def test_a_part_is_replaced_as_a_whole(azure: AzureStorage) -> None:
    """By the latest whole attempt: one that breaks off changes nothing."""
    handle, upload_id, named = send(azure, [LARGE])

    def breaks_off() -> Iterator[bytes]:
        yield b"c" * 9 * MIB
        raise RuntimeError("the client went away")

    with pytest.raises(RuntimeError, match="went away"):
        azure.multipart.put_part(handle, upload_id, 1, breaks_off())
    (kept,) = azure.multipart.parts(handle, upload_id)
    assert named == [(kept.number, kept.etag)]
    again = azure.multipart.put_part(handle, upload_id, 1, b"shorter")
    assert [again] == [*azure.multipart.parts(handle, upload_id)]
    with pytest.raises(Error) as caught:
        azure.multipart.complete(handle, upload_id, named)
    assert "parts-mismatch" == caught.value.code
    azure.multipart.complete(handle, upload_id, [(1, again.etag)])
    assert b"shorter" == azure.open(handle).read()


def test_parts_that_are_not_there_complete_nothing(azure: AzureStorage) -> None:
    """Nor does a part of another upload of the same handle."""
    handle, upload_id, named = send(azure)
    _, other_id, of_other = send(azure, handle=handle)
    for parts in ([*named, (2, named[0][1])], [(1, '"0000000000000000"')], of_other):
        assert Kind.CONFLICT is kind_of(partial(azure.multipart.complete, handle, upload_id, parts))
    assert [] == [*azure]
    for each in (upload_id, other_id):
        azure.multipart.abort(handle, each)
    # Blocks of several uploads are not removed with one of them.
    later = datetime.datetime.now(datetime.UTC) + MONTH
    assert [GarbageKind.PARTS] == [found.kind for found in sweep(azure, delete=True, now=later)]


def test_of_two_uploads_one_wins(azure: AzureStorage) -> None:
    """The other learns that the attachment exists, and nothing is replaced."""
    for _ in range(5):
        handle = azure.reserve("a.bin")
        uploads = [send(azure, [content], handle) for content in (b"one", b"two")]
        calls = [partial(azure.multipart.complete, *upload) for upload in uploads]
        found = [getattr(outcome, "kind", None) for outcome in at_once(calls)]
        assert {None, Kind.EXISTS} == {*found}
        winner = found.index(None)
        assert (b"one", b"two")[winner] == azure.open(handle).read()
        azure.multipart.abort(*uploads[1 - winner][:2])


def test_a_later_upload_learns_that_the_attachment_exists(azure: AzureStorage) -> None:
    """Its parts are gone, since Azure removes them when others are committed."""
    first = send(azure)
    second = send(azure, [b"other"], first[0])
    azure.multipart.complete(*first)
    assert Kind.EXISTS is kind_of(partial(azure.multipart.complete, *second))
    assert Kind.EXISTS is kind_of(lambda: [*azure.multipart.parts(*second[:2])])
    assert b"abc" == azure.open(first[0]).read()
    azure.multipart.abort(*second[:2])


def test_of_completions_of_one_upload_one_stores_it(azure: AzureStorage) -> None:
    """Each succeeds; a client repeats one whose response was lost."""
    upload = send(azure)
    stored: list[bool] = []
    at_once([lambda: stored.append(azure.multipart._complete(*upload, None))] * 4)
    assert [False, False, False, True] == sorted(stored)
    azure.multipart.complete(*upload)
    backend, (handle, upload_id, ((number, etag),)) = azure.abilities.multipart, upload
    assert backend is not None
    # The record was removed after the parts were listed.
    assert not backend.complete(handle[1:], upload_id, [Part(number, 3, etag)])
    assert Kind.NOT_FOUND is kind_of(
        partial(azure.multipart.complete, *upload[:2], [(1, '"0000000000000000"')])
    )
    assert b"abc" == azure.open(upload[0]).read()


def test_a_record_that_outlives_its_upload_is_removed_by_a_repetition(
    azure: AzureStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As after a process that died between the two requests."""
    upload = send(azure)
    with monkeypatch.context() as patch:
        patch.setattr(azure._container, "delete", lambda _: None)
        azure.multipart.complete(*upload)
    assert [1] == [part.number for part in azure.multipart.parts(*upload[:2])]
    azure.multipart.complete(*upload)
    assert Kind.NOT_FOUND is kind_of(lambda: [*azure.multipart.parts(*upload[:2])])


def test_an_aborted_upload_leaves_nothing(azure: AzureStorage) -> None:
    """Nor does a part that arrives afterwards; the fixture looks."""
    handle, upload_id, _ = send(azure, [LARGE])
    multipart = azure.multipart

    def aborted() -> Iterator[bytes]:
        yield b"late" * 3 * MIB
        multipart.abort(handle, upload_id)
        yield b"too late"

    for call in (
        lambda: multipart.put_part(handle, upload_id, 2, aborted()),
        lambda: multipart.put_part(handle, upload_id, 3, b"later"),
        lambda: [*multipart.parts(handle, upload_id)],
        lambda: multipart.abort(handle, upload_id),
    ):
        assert Kind.NOT_FOUND is kind_of(call)


def test_only_an_upload_that_was_created_takes_parts(azure: AzureStorage) -> None:
    """An id that a client makes up is not one, nor is that of another handle."""
    handle, upload_id, _ = send(azure)
    other, renamed = azure.reserve("b.bin"), handle.replace("a.bin", "b.bin")
    for wrong in (
        (other, upload_id),
        (renamed, upload_id),
        (handle, "0" * 16),
        (handle, "../record"),
        (handle, "x"),
    ):
        for call in (azure.multipart.put_part, azure.multipart.complete):
            arguments = (1, b"x") if call == azure.multipart.put_part else ([(1, "x")],)
            assert Kind.NOT_FOUND is kind_of(partial(call, *wrong, *arguments))
    azure.multipart.abort(handle, upload_id)


def test_an_abandoned_upload_is_swept_once_it_has_expired(azure: AzureStorage) -> None:
    """Its blocks and its record; before that, both stay."""
    handle, upload_id, named = send(azure, [LARGE])
    assert [] == [*sweep(azure, delete=True)]
    assert named == [(part.number, part.etag) for part in azure.multipart.parts(handle, upload_id)]
    later = datetime.datetime.now(datetime.UTC) + MONTH
    found = {each.kind: each.size for each in sweep(azure, delete=True, now=later)}
    assert {GarbageKind.PARTS, GarbageKind.FILE} == found.keys()
    assert len(LARGE) == found[GarbageKind.PARTS]


def test_the_limit_counts_all_parts(azure: AzureStorage) -> None:
    """A larger upload is aborted; a larger part is refused before it is stored."""
    azure.max_size = 5
    handle, upload_id, named = send(azure, [b"123", b"456"])
    assert Kind.TOO_LARGE is kind_of(
        partial(azure.multipart.put_part, handle, upload_id, 3, b"123456")
    )
    assert Kind.TOO_LARGE is kind_of(partial(azure.multipart.complete, handle, upload_id, named))
    assert Kind.NOT_FOUND is kind_of(lambda: [*azure.multipart.parts(handle, upload_id)])


def test_what_cannot_be_a_part_is_refused(azure: AzureStorage) -> None:
    """Nothing at all, or a number that S3 does not have either."""
    handle, upload_id, _ = send(azure)
    for number, content in ((1, b""), (0, b"x"), (10_001, b"x"), (True, b"x")):
        call = partial(azure.multipart.put_part, handle, upload_id, number, content)
        assert Kind.ILL_FORMED is kind_of(call)
    azure.multipart.abort(handle, upload_id)


def test_hooks_are_called_once_an_upload_is_complete(azure: AzureStorage) -> None:
    """With the owner; a refused upload is removed."""
    told: list[tuple[str, object]] = []

    def refuse(_: object) -> None:
        raise Error("not this one", kind=Kind.REFUSED)

    azure.hooks = Hooks(on_stored=lambda upload: told.append((upload.handle, upload.owner)))
    upload = send(azure)
    assert [] == told
    azure.multipart.complete(*upload, owner="ann")
    assert [(upload[0], "ann")] == told
    azure.hooks = Hooks(on_complete=refuse)
    assert Kind.REFUSED is kind_of(partial(azure.multipart.complete, *send(azure)))
    assert [upload[0]] == [*azure]


def test_damage_in_transit_leaves_no_part(
    azure: AzureStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A part of which a block is missing is not listed."""
    handle, upload_id, _ = send(azure)
    put_block = AzureControl.put_block

    def lose(control: AzureControl, path: str, block_id: str, data: bytes) -> None:
        if len(data) < MIB:
            put_block(control, path, block_id, data)

    with monkeypatch.context() as patch:
        patch.setattr(AzureControl, "put_block", lose)
        azure.multipart.put_part(handle, upload_id, 2, LARGE)
    assert [1] == [part.number for part in azure.multipart.parts(handle, upload_id)]
    azure.multipart.abort(handle, upload_id)


def test_a_storage_has_either_links_for_parts_or_takes_them(
    azure: AzureStorage, s3: S3Storage
) -> None:
    """The error says which."""
    handle, upload_id = azure.reserve("a"), "0" * 16
    multipart = azure.multipart
    calls: list[Callable[[], object]] = [
        lambda: multipart.link(handle, upload_id, 1),
        lambda: multipart.create_link(handle),
        lambda: multipart.parts_link(handle, upload_id),
        lambda: multipart.complete_link(handle, upload_id),
        lambda: multipart.abort_link(handle, upload_id),
    ]
    for call in calls:
        with pytest.raises(Error) as caught:
            call()
        assert (Kind.UNSUPPORTED, "no-part-links") == (caught.value.kind, caught.value.code)
    with pytest.raises(Error) as caught:
        s3.multipart.put_part(handle, "id", 1, b"x")
    assert (Kind.UNSUPPORTED, "no-part-relay") == (caught.value.kind, caught.value.code)
    assert (True, False) == (multipart.is_relayed, s3.multipart.is_relayed)
