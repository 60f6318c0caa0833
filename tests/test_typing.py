"""Types of the public operations, as the type checker of an application sees them.

mypy checks every line (``make lint``). A test also runs; what would need a server does not.
"""

from __future__ import annotations

import ast
import asyncio
import dataclasses
import datetime
import io
import os
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, assert_type
from uuid import UUID

import pytest

from rex.attach import (
    Info,
    PresignedLink,
    Reader,
    Storage,
    StoredUpload,
    UploadRequest,
    get_storage,
    open_storage,
)
from rex.attach.backend.abilities import Abilities
from rex.attach.backend.garbage import Garbage
from rex.attach.backend.multipart import Part
from rex.attach.backends.memory.storage import MemoryStorage
from rex.attach.storage.aio import AsyncReader, AsyncStorage, AsyncUploads
from rex.attach.storage.archive import Archive
from rex.attach.storage.cors import BucketCors
from rex.attach.storage.multipart import MultipartUploads
from rex.attach.storage.resumable import Upload, Uploads
from rex.attach.testing import Answer, Leak, Leaks, SeaweedFS, UploadVia
from rex.attach.web import Access, Rule, User, access_of, attachments, upload
from rex.attach.web.upload import Uploaded
from rex.core import (
    Error,
    Kind,
    Rex,
    RexMiddleware,
    Secret,
    Setting,
    Settings,
    get_rex,
    get_settings,
    typed,
)

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.types import ASGIApp

URL = "https://example.org/attach"
DAY = datetime.date(2026, 11, 23)
LATER = datetime.timedelta(minutes=5)

CHECKED = (
    AsyncReader,
    AsyncStorage,
    AsyncUploads,
    BucketCors,
    Info,
    MultipartUploads,
    Part,
    PresignedLink,
    Storage,
    StoredUpload,
    Upload,
    UploadRequest,
    Uploads,
)
INTERNAL = {"map_errors", "opener", "stop", "tokens"}
"""Names that other modules use and applications do not."""


@pytest.fixture
def storage(tmp_path: Path) -> Iterator[Storage]:
    """Open a storage on a directory, with links of the service."""
    with open_storage(f"file://{tmp_path}", url=URL) as opened:
        yield assert_type(opened, Storage)


def test_storing_returns_a_handle(storage: Storage) -> None:
    """For each type of content, and with each option."""
    handle = assert_type(storage.add("a.txt", "text"), str)
    storage.add(None, b"bytes", content_type="text/plain", digest=None, owner="ada")
    storage.add("a.bin", bytearray(b"bytes"))
    storage.add("a.bin", memoryview(b"bytes"))
    storage.add("a.bin", io.BytesIO(b"bytes"))
    storage.add("a.bin", (bytes([n]) for n in range(3)))
    with storage.open(handle) as file:
        storage.add("a.txt", file)
    reserved = assert_type(storage.reserve("a.txt", owner="ada"), str)
    put: Callable[[str, bytes], None] = storage.put
    put(reserved, b"bytes")
    assert assert_type(storage.is_owned_by(reserved, "ada"), bool)


def test_reading_returns_metadata_and_a_binary_file(storage: Storage) -> None:
    """Metadata is `Info`, and an open attachment is a `Reader`."""
    handle = storage.add("a.txt", "text")
    info = assert_type(storage.info(handle), Info)
    assert_type(storage.stat(handle), os.stat_result)
    assert_type(storage.read_cached(handle), tuple[Info, bytes] | None)
    with storage.open(handle, start=1, length=2) as reader:
        assert_type(reader, Reader)
        assert_type(reader.info, Info)
        name: str = reader.name
        assert "a.txt" == name
        assert_type(reader.seek(0), int)
        assert b"t" == assert_type(reader.read(1), bytes)
    assert_type(info.handle, str)
    assert_type(info.name, str)
    assert_type(info.size, int)
    assert_type(info.content_type, str)
    assert_type(info.modified, datetime.datetime)
    assert_type(info.etag, str)
    assert_type(info.digest, str | None)
    assert_type(info.content_encoding, str | None)
    assert_type(info.as_stat(), os.stat_result)
    assert_type(info.as_dict(), dict[str, object])


def test_many_attachments_are_read_or_linked_at_once(tmp_path: Path) -> None:
    """An archive is bytes and has a length; links are in the order of the handles."""
    options = {"url": URL, "public_url": "https://files.example.org"}
    with open_storage(f"file://{tmp_path}", **options) as storage:
        handle = storage.add("a.txt", "text")
        with assert_type(storage.zip([handle], missing=[]), Archive) as archive:
            assert archive.size == len(b"".join(assert_type(archive, Archive)))
        links = assert_type(storage.download_links([handle]), Sequence[PresignedLink])
        assert 1 == len(links)
        assert assert_type(storage.public_url(handle), str).endswith("/a.txt")
        upload = assert_type(storage.uploads.store("a.txt", b"text"), Upload)
        assert not assert_type(upload.is_open, bool)


def test_listing_yields_handles(storage: Storage) -> None:
    """All of them, or those of a day."""
    handle = storage.add("a.txt", "text")
    assert handle in storage
    assert [handle] == list(assert_type(storage.list(), Iterator[str]))
    assert_type(storage.list(day=DAY, after=handle), Iterator[str])
    assert_type(storage.list(day="2026-11-23"), Iterator[str])
    assert_type(iter(storage), Iterator[str])
    assert_type(storage.unknown_keys(), Iterator[str])
    assert_type(storage.garbage(datetime.datetime.now(datetime.UTC)), Iterator[Garbage])
    remove: Callable[[str], None] = storage.remove
    remove(handle)


def test_links_are_values(storage: Storage) -> None:
    """For uploads and for downloads; `expires` is a number of seconds or a timedelta."""
    handle = storage.reserve("a.txt")
    link = assert_type(storage.upload_link(handle, max_size=10, expires=60), PresignedLink)
    storage.upload_link(handle, method="PUT", content_type="text/plain", expires=LATER)
    storage.download_link(handle, window=LATER)
    assert_type(
        storage.download_link(handle, filename="b.txt", inline=True, expires=1.5), PresignedLink
    )
    assert_type(link.method, str)
    assert_type(link.url, str)
    assert_type(link.headers, Mapping[str, str])
    assert_type(link.fields, Mapping[str, str])
    assert_type(link.expires_at, datetime.datetime)
    assert_type(link.as_dict(), dict[str, object])


def test_resumable_uploads_are_values(storage: Storage) -> None:
    """Each operation returns the upload as it is then."""
    uploads = assert_type(storage.uploads, Uploads)
    begun = assert_type(uploads.create("a.txt", size=4, content_type="text/plain"), Upload)
    assert_type(uploads.info(begun.handle), Upload)
    assert_type(uploads.check_idle(begun.handle), None)
    assert [begun.handle] == list(assert_type(uploads.list(), Iterator[str]))
    assert_type(uploads.append(begun.handle, 0, b"te"), Upload)
    done = assert_type(uploads.append(begun.handle, 2, io.BytesIO(b"xt"), size=4), Upload)
    assert_type(uploads.peek(begun.handle), Upload)
    assert_type(done.handle, str)
    assert_type(done.offset, int)
    assert_type(done.size, int | None)
    assert_type(done.content_type, str)
    assert_type(done.metadata, str)
    assert_type(done.partial, bool)
    assert_type(done.expires_at, datetime.datetime | None)
    assert assert_type(done.is_complete, bool)


def resumable_uploads_end(uploads: Uploads, handle: str) -> None:
    """Check how resumable uploads are removed and joined."""
    remove: Callable[[str], None] = uploads.remove
    remove(handle)
    assert_type(uploads.join("a.txt", [handle], owner=None), str)


def multipart_uploads(storage: Storage, handle: str, upload_id: str) -> None:
    """Check a multipart upload, step by step and by links."""
    multipart = assert_type(storage.multipart, MultipartUploads)
    assert_type(multipart.bucket, str)
    assert_type(multipart.is_relayed, bool)
    assert_type(storage.key_of_handle(handle), str)
    assert_type(storage.handle_of_key("key"), str)
    assert_type(storage.prefix, str)
    assert_type(multipart.create(handle, "text/plain"), str)
    assert_type(multipart.link(handle, upload_id, 1, expires=LATER), PresignedLink)
    assert_type(multipart.put_part(handle, upload_id, 1, b"x", max_size=1), Part)
    assert_type(multipart.parts(handle, upload_id), Iterator[Part])
    complete: Callable[[str, str, list[tuple[int, str]]], None] = multipart.complete
    complete(handle, upload_id, [(1, "etag")])
    abort: Callable[[str, str], None] = multipart.abort
    abort(handle, upload_id)
    assert_type(multipart.create_link(handle, None, expires=60), PresignedLink)
    assert_type(multipart.parts_link(handle, upload_id), PresignedLink)
    assert_type(multipart.complete_link(handle, upload_id), PresignedLink)
    assert_type(multipart.abort_link(handle, upload_id), PresignedLink)


def part_of_a_multipart_upload(part: Part) -> None:
    """Check the attributes of a part."""
    assert_type(part.number, int)
    assert_type(part.size, int)
    assert_type(part.etag, str)


def rules_of_a_bucket(storage: Storage) -> None:
    """Check the CORS and lifecycle rules."""
    cors = assert_type(storage.cors, BucketCors)
    assert_type(cors.rules(), list[dict[str, Any]])
    assert_type(cors.make_rule(["https://example.org"]), dict[str, Any])
    assert_type(cors.allow(["https://example.org"]), list[dict[str, Any]])
    assert_type(cors.allows(["https://example.org"]), bool)
    assert_type(cors.is_account_wide, bool)
    for rule in storage.lifecycle(days=7, noncurrent=30):
        assert_type(rule, dict[str, Any])


def fixtures_of_pytest(
    attach_s3: Storage,
    attach_s3_server: SeaweedFS,
    upload_via: UploadVia,
    attach_leaks: Leaks,
) -> None:
    """Check the types with which a test annotates the fixtures of the plugin."""
    link = attach_s3.upload_link(attach_s3.reserve("a.txt"))
    assert_type(upload_via(link, b"text", origin=URL), Answer)
    upload_via(link, b"text", cut_after=2)
    attach_leaks.references(attach_s3)
    attach_leaks.references(lambda: [None, "handle"])
    assert_type(attach_leaks.find(), dict[Storage, list[Leak]])
    assert_type(attach_s3_server.settings(), dict[str, str])


def test_the_life_of_an_upload_has_types() -> None:
    """Hooks, receipts and claims, with a user that is an object."""

    def begin(request: UploadRequest) -> UploadRequest:
        assert_type(request.size, int | None)
        assert_type(request.content_type, str | None)
        return dataclasses.replace(request, name=request.name, max_size=request.max_size)

    async def stored(upload: StoredUpload) -> None:
        assert_type(upload.info, Info)
        assert_type(upload.handle, str)
        assert_type(upload.owner, object)
        with upload.open() as reader:
            assert_type(reader, Reader)

    with MemoryStorage(url=URL, on_begin=begin, on_stored=stored) as storage:
        begun = assert_type(storage.begin("a.txt", size=1, owner=7), UploadRequest)
        assert_type(begun.size, int | None)
        assert_type(begun.handle, str)
        assert_type(begun.owner, object)
        storage.put(begun.handle, b"a", notify=False)
        receipt = assert_type(storage.receipt(begun.handle, owner=7, max_size=1), str)
        assert_type(storage.claim(receipt, owner=7), Info)
        assert_type(storage.notify(begun.handle, is_new=False), list[Info])
        link = storage.upload_link(storage.reserve("b.txt", owner=7), owner=7)
        assert_type(link.receipt, str)
        storage.remove(begun.handle, notify=False)
        asyncio.run(claims(storage.aio))


async def part(aio: AsyncStorage, handle: str, chunks: AsyncIterator[bytes]) -> None:
    """Check the coroutine that stores a part."""
    assert_type(await aio.put_part(handle, "id", 1, chunks, max_size=1), Part)


async def claims(aio: AsyncStorage) -> None:
    """Begin, store and claim."""
    begun = assert_type(await aio.begin("a.txt", owner=UUID(int=1)), UploadRequest)
    handle = await aio.add(begun, b"a", notify=False)
    receipt = assert_type(await aio.receipt(handle, owner=UUID(int=1)), str)
    assert_type(await aio.claim(receipt, owner=UUID(int=1)), Info)
    assert_type(await aio.notify(handle), list[Info])
    assert_type(await aio.run_long(len, "abc"), int)


def test_opening_and_closing_has_types(tmp_path: Path) -> None:
    """With and without an application."""
    check: Callable[[], None]
    close: Callable[[], None]
    with Rex("rex.attach", attach_dir=tmp_path) as rex:
        assert_type(rex, Rex)
        assert_type(get_rex(), Rex)
        assert_type(get_settings(), Settings)
        storage = assert_type(get_storage(), Storage)
        assert_type(storage.abilities, Abilities)
        assert assert_type(storage.init(), bool)
        assert not assert_type(storage.is_untouched(), bool)
        check = storage.check
        check()
    rex.install()
    assert_type(RexMiddleware(rex, rex), RexMiddleware)
    rex.uninstall()
    opened = assert_type(open_storage("memory:", max_size="10 MiB"), Storage)
    with opened as entered:
        assert_type(entered, Storage)
    close = opened.close
    close()


def test_coroutines_return_what_the_operations_return(storage: Storage) -> None:
    """Those of `storage.aio` have the same arguments and results."""
    asyncio.run(coroutines(assert_type(storage.aio, AsyncStorage)))


async def coroutines(aio: AsyncStorage) -> None:
    """Store, read, list and remove."""
    handle = await assert_type(aio.add("a.txt", "text"), Coroutine[Any, Any, str])
    assert_type(await aio.add(None, pieces(), content_type=None, digest=None, owner="ada"), str)
    assert_type(await aio.info(handle), Info)
    assert_type(await aio.stat(handle), os.stat_result)
    async with await aio.open(handle, start=1, length=2, request_size=1) as reader:
        assert_type(reader, AsyncReader)
        assert_type(reader.info, Info)
        assert_type(reader.name, str)
        assert_type(reader.mode, str)
        assert_type(reader.tell(), int)
        assert_type(reader.limit_requests(None), None)
        assert_type(reader.release(), None)
        assert_type(await reader.seek(0), int)
        assert_type(await reader.read(1), bytes)
    assert_type(aio.list(day=DAY, after=None), AsyncIterator[str])
    async for found in aio:
        assert_type(found, str)
    await assert_type(aio.remove(handle), Coroutine[Any, Any, None])
    reserved = assert_type(await aio.reserve("a.txt", owner="ada"), str)
    assert_type(await aio.is_owned_by(reserved, "ada"), bool)
    await assert_type(aio.put(reserved, pieces(), idempotent=False), Coroutine[Any, Any, None])
    assert_type(await aio.upload_link(reserved, method="PUT"), PresignedLink)
    assert_type(await aio.download_link(reserved, expires=LATER, window=60), PresignedLink)
    assert_type(await aio.run(len, "text"), int)
    assert_type(await aio.sign(aio.storage.upload_link, reserved, method="PUT"), PresignedLink)
    await assert_type(aio.check(), Coroutine[Any, Any, None])
    await coroutines_of_resumable_uploads(assert_type(aio.uploads, AsyncUploads))
    async with aio as entered:
        assert_type(entered, AsyncStorage)
    await assert_type(aio.close(), Coroutine[Any, Any, None])


async def coroutines_of_resumable_uploads(uploads: AsyncUploads) -> None:
    """Create, append and remove."""
    begun = assert_type(await uploads.create("a.txt", owner="ada"), Upload)
    assert_type(await uploads.append(begun.handle, 0, pieces()), Upload)
    assert_type(await uploads.info(begun.handle), Upload)
    await assert_type(uploads.check_idle(begun.handle), Coroutine[Any, Any, None])
    await assert_type(uploads.remove(begun.handle), Coroutine[Any, Any, None])
    assert_type(uploads.join("a.txt", [begun.handle]), Coroutine[Any, Any, str]).close()


async def pieces() -> AsyncIterator[bytes]:
    """Yield content."""
    yield b"te"
    yield b"xt"


def test_an_error_has_a_kind_and_a_code() -> None:
    """For programs; and the setting at fault, where there is one."""
    with pytest.raises(Error) as caught:
        open_storage("memory:", max_size="ten")
    assert Kind.CONFIGURATION is assert_type(caught.value.kind, Kind)
    assert_type(caught.value.kind.value, str)
    assert "attach_max_size" == assert_type(caught.value.setting, str | None)
    assert_type(caught.value.code, str)
    assert_type(caught.value.message, str)
    assert_type(caught.value.payload, object)


def test_the_value_of_a_setting_has_the_type_of_the_setting() -> None:
    """By the setting itself; by its name, the type is unknown."""
    limit = Setting("example_limit", typed.size, help="a limit")
    seconds = Setting("example_seconds", typed.duration, 30.0, help="a time")
    password = Setting("example_password", typed.text, help="a password", secret=True)
    settings = Settings({"example_limit": 1, "example_seconds": 30.0, "example_password": None})
    assert_type(settings[limit], int | None)
    assert_type(settings[seconds], float)
    assert_type(settings[password], Secret | None)
    assert_type(settings["example_limit"], Any)


def test_the_service_is_an_asgi_application(tmp_path: Path) -> None:
    """It needs a storage and an access rule, which may be a coroutine."""
    with Rex("rex.attach", attach_dir=tmp_path) as rex:
        access = assert_type(access_of(rex), Access)
        service: ASGIApp = attachments(get_storage(), access)
        assert callable(service)
    rules: list[Rule] = [plain_rule, coroutine_rule, request_rule]
    assert [Access(rule, origins=["https://example.org"], hosts=[]) for rule in rules]
    users: list[User] = [lambda request: request.scope["user"], coroutine_user]
    assert [Access(plain_rule, user=user) for user in users]


def request_rule(user: object, action: str, handle: str | None, request: Request) -> bool:
    """Allow nothing."""
    del request
    return plain_rule(user, action, handle)


async def coroutine_user(request: Request) -> str | None:
    """Return the user of a request."""
    return request.headers.get("x-user")


def plain_rule(user: object, action: str, handle: str | None) -> bool:
    """Allow nothing."""
    del user, action, handle
    return False


async def coroutine_rule(user: object, action: str, handle: str | None) -> bool:
    """Allow nothing."""
    return plain_rule(user, action, handle)


async def routes_of_an_application(request: Request, storage: Storage, access: Access) -> None:
    """Check what routes beside the service use."""
    await assert_type(access.check(request, "upload"), Coroutine[Any, Any, None])
    assert_type(access.owner(request), object)
    stored = await upload(request, storage, max_size=None, stall_seconds=1.5)
    assert_type(stored, list[Uploaded])
    assert_type(stored[0].handle, str)
    assert_type(stored[0].name, str)
    assert_type(stored[0].size, int)
    assert_type(stored[0].content_type, str)


def test_each_public_name_is_checked() -> None:
    """A new operation or attribute needs a line in this file."""
    tree = ast.parse(Path(__file__).read_text("utf-8"))
    checked = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    public = {name for cls in CHECKED for name in dir(cls) if not name.startswith("_")}
    assert INTERNAL == public - checked - {*dir(tuple)}


def wrong_calls(storage: Storage, handle: str, text_file: io.StringIO) -> None:
    """Check that mypy refuses these: each `ignore` must be needed."""
    storage.add("a.txt")  # type: ignore[call-arg]
    storage.add("a.txt", 1)  # type: ignore[arg-type]
    storage.add("a.txt", None)  # type: ignore[arg-type]
    storage.add("a.txt", text_file)  # type: ignore[arg-type]
    storage.add("a.txt", ["text"])  # type: ignore[list-item]
    storage.add("a.txt", pieces())  # type: ignore[arg-type]
    storage.add("a.txt", b"bytes", "text/plain")  # type: ignore[call-arg]
    storage.add(b"a.txt", b"bytes")  # type: ignore[arg-type]
    storage.put(None, b"bytes")  # type: ignore[arg-type]
    storage.open(handle, 0)  # type: ignore[call-arg]
    storage.open(handle, length="1")  # type: ignore[arg-type]
    storage.upload_link(handle, method="GET")  # type: ignore[arg-type]
    storage.upload_link(handle, expires="1h")  # type: ignore[arg-type]
    storage.download_link(handle, inlined=True)  # type: ignore[call-arg]
    storage.list(day=20261123)  # type: ignore[arg-type]
    storage.uploads.append(handle, b"bytes")  # type: ignore[call-arg, arg-type]
    storage.multipart.complete(handle, "id", ["etag"])  # type: ignore[list-item]
    storage.exists(handle)  # type: ignore[attr-defined]
    storage.abilities = None  # type: ignore[misc, assignment]
    open_storage(["memory:"])  # type: ignore[arg-type]
    get_storage(storage)  # type: ignore[call-arg]
    Storage()  # type: ignore[abstract]


def wrong_uses_of_values(info: Info, link: PresignedLink, access: Access, error: Error) -> None:
    """Check that mypy refuses these: each `ignore` must be needed."""
    info.size = 1  # type: ignore[misc]
    link.url = URL  # type: ignore[misc]
    link.fields["key"] = "value"  # type: ignore[index]
    Access(lambda: True)  # type: ignore[arg-type]
    Access(plain_rule, user=lambda: None)  # type: ignore[arg-type, misc]
    attachments(access, access)  # type: ignore[arg-type]
    Error("It failed", kind="not-found")  # type: ignore[arg-type]
    assert error.kind == "not-found"  # type: ignore[comparison-overlap]


async def wrong_coroutines(aio: AsyncStorage, request: Request, access: Access) -> None:
    """Check that mypy refuses these: each `ignore` must be needed."""
    handle: str = aio.add("a.txt", b"bytes")  # type: ignore[assignment]
    with aio:  # type: ignore[attr-defined]
        await aio.info(handle)
    await access.check(request, "delete")  # type: ignore[arg-type]
    await upload(request, aio, max_size=None)  # type: ignore[arg-type]
