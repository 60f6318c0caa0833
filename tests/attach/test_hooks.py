"""What the functions of an application do to the operations of Python, without a service."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from typing import TYPE_CHECKING, Any, NoReturn

import pytest

from attach.bounded import bounded
from attach.harnesses import LocalHarness, MemoryHarness, S3Harness
from programs import PATIENCE
from rex.attach import open_storage
from rex.attach.backends.memory.storage import MemoryStorage
from rex.attach.backends.s3.storage import S3Storage
from rex.attach.storage.hooks import Hooks
from rex.core import Error, Kind

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator
    from pathlib import Path

    from rex.attach import Storage, StoredUpload, UploadRequest

DATA = b"0123456789"


@pytest.fixture(params=["memory", "directory", "s3"])
def storage(request: pytest.FixtureRequest) -> Iterator[Storage]:
    """Yield an empty storage of each kind; check afterwards that no garbage is in it."""
    harness = (
        MemoryHarness()
        if request.param == "memory"
        else LocalHarness()
        if request.param == "directory"
        else S3Harness(request.getfixturevalue("seaweedfs"))
    )
    with harness.storage() as storage:
        yield storage
        assert [] == harness.garbage(storage)


def add(storage: Storage) -> str:
    """Add an attachment."""
    return storage.add("a", DATA, owner="ann")


def put(storage: Storage) -> str:
    """Put an attachment."""
    handle = storage.reserve("a", owner="ann")
    storage.put(handle, DATA, owner="ann")
    return handle


def append(storage: Storage) -> str:
    """Upload in two pieces."""
    upload = storage.uploads.create("a", size=len(DATA), owner="ann")
    storage.uploads.append(upload.handle, 0, DATA[:4], owner="ann")
    return storage.uploads.append(upload.handle, 4, DATA[4:], owner="ann").handle


def join(storage: Storage) -> str:
    """Join two parts."""
    parts = []
    for piece in (DATA[:4], DATA[4:]):
        upload = storage.uploads.create("a", size=len(piece), partial=True)
        storage.uploads.append(upload.handle, 0, piece)
        parts.append(upload.handle)
    try:
        return storage.uploads.join("a", parts, owner="ann")
    except Error:
        for part in parts:  # which stay for another try
            storage.uploads.remove(part)
        raise


OPERATIONS = [add, put, append, join]


def refuse(_: object) -> NoReturn:
    """Refuse."""
    raise Error("not this one", kind=Kind.REFUSED)


def fail(_: object) -> NoReturn:
    """Fail."""
    raise ValueError("no database")


def both(hook: Callable[[Any], object], *, is_async: bool) -> Callable[[Any], Any]:
    """Return a hook as a plain or an async function."""

    async def later(argument: object) -> None:
        await asyncio.sleep(0)
        hook(argument)

    return later if is_async else hook


@pytest.mark.parametrize("is_async", [False, True], ids=["plain", "async"])
@pytest.mark.parametrize("operation", OPERATIONS)
def test_the_application_is_told_once_before_an_operation_returns(
    operation: Callable[[Storage], str], storage: Storage, *, is_async: bool
) -> None:
    """With the metadata, the bytes and the owner; also from a running loop."""
    told: list[tuple[str, object, bytes]] = []

    def stored(upload: StoredUpload) -> None:
        with upload.open() as stream:
            told.append((upload.handle, upload.owner, stream.read()))

    storage.hooks = Hooks(on_stored=both(stored, is_async=is_async))
    handle = operation(storage)
    assert [(handle, "ann", DATA)] == told

    async def live() -> str:
        return operation(storage)

    handle = bounded(asyncio.run, live())
    assert [(handle, "ann", DATA)] == told[1:]


@pytest.mark.parametrize("is_async", [False, True], ids=["plain", "async"])
@pytest.mark.parametrize("operation", OPERATIONS)
def test_what_the_application_refuses_is_not_there(
    operation: Callable[[Storage], str], storage: Storage, *, is_async: bool
) -> None:
    """Neither before nor after its bytes came."""
    told: list[object] = []
    for hook in ("on_begin", "on_complete"):
        options: Any = {hook: both(refuse, is_async=is_async), "on_stored": told.append}
        storage.hooks = Hooks(**options)
        if (operation, hook) == (put, "on_begin"):
            continue  # the handle was made before
        with pytest.raises(Error, match="not this one") as refused:
            operation(storage)
        assert Kind.REFUSED is refused.value.kind
    assert ([], [], []) == ([*storage], [*storage.uploads.list()], told)


@pytest.mark.parametrize("hook", ["on_complete", "on_stored"])
@pytest.mark.parametrize("operation", [put, append])
def test_what_the_application_failed_to_record_can_be_repeated(
    hook: str, operation: Callable[[Storage], str], storage: Storage
) -> None:
    """The attachment stays; a refusal then does not remove what may have been recorded."""
    hooks: Any = {hook: fail}
    storage.hooks = Hooks(**hooks)
    with pytest.raises(Error) as failed:
        operation(storage)
    assert (Kind.INTERNAL, "hook-failed") == (failed.value.kind, failed.value.code)
    assert isinstance(failed.value.__cause__, ValueError)
    (handle,) = storage
    told: list[str] = []

    def repeat() -> None:
        if operation is put:
            storage.put(handle, DATA, owner="ann")
        else:
            offset = storage.uploads.info(handle, owner="ann").offset
            storage.uploads.append(handle, offset, DATA[offset:], owner="ann")

    storage.hooks = Hooks(on_complete=refuse)
    with pytest.raises(Error, match="not this one"):
        repeat()
    assert [handle] == [*storage]
    storage.hooks = Hooks(on_stored=lambda upload: told.append(upload.handle))
    repeat()
    assert [handle] == told
    assert DATA == storage.open(handle).read()


@pytest.mark.parametrize("operation", [add, join])
def test_what_no_client_can_repeat_is_removed_if_the_application_fails(
    operation: Callable[[Storage], str], storage: Storage
) -> None:
    """Unless it may have recorded it."""
    storage.hooks = Hooks(on_complete=fail)
    with pytest.raises(Error, match="on_complete failed"):
        operation(storage)
    assert [] == [*storage]
    storage.hooks = Hooks(on_stored=fail)
    with pytest.raises(Error, match="on_stored failed"):
        operation(storage)
    assert 1 == len([*storage])


def test_an_upload_in_parts_is_told_of_at_its_end(s3: S3Storage) -> None:
    """It can be completed again after a failure, and is gone after a refusal."""
    import requests

    def upload() -> tuple[str, str, list[tuple[int, str]]]:
        handle = s3.reserve("a", owner="ann")
        upload_id = s3.multipart.create(handle)
        sent = requests.put(s3.multipart.link(handle, upload_id, 1).url, DATA, timeout=PATIENCE)
        return handle, upload_id, [(1, sent.headers["ETag"])]

    told: list[tuple[str, object]] = []
    sent = upload()
    for hook in ("on_complete", "on_stored"):
        hooks: Any = {hook: fail}
        s3.hooks = Hooks(**hooks)
        with pytest.raises(Error, match=f"{hook} failed"):
            s3.multipart.complete(*sent, owner="ann")
        assert [sent[0]] == [*s3]
    s3.hooks = Hooks(on_stored=lambda upload: told.append((upload.handle, upload.owner)))
    s3.multipart.complete(*sent, owner="ann")
    assert [(sent[0], "ann")] == told
    s3.hooks = Hooks(on_complete=refuse)
    refused = upload()
    with pytest.raises(Error, match="not this one"):
        s3.multipart.complete(*refused)
    assert [sent[0]] == [*s3]


@pytest.mark.parametrize("is_async", [False, True], ids=["plain", "async"])
def test_a_removal_is_told_of_first(storage: Storage, *, is_async: bool) -> None:
    """A process that dies in between leaves an orphan, and no reference to nothing."""
    handle = add(storage)
    seen: list[bool] = []
    for hook, kind in ((refuse, Kind.REFUSED), (fail, Kind.INTERNAL)):
        storage.hooks = Hooks(on_removed=both(hook, is_async=is_async))
        with pytest.raises(Error) as error:
            storage.remove(handle)
        assert kind is error.value.kind
        assert DATA == storage.open(handle).read()
    storage.hooks = Hooks(
        on_removed=both(lambda handle: seen.append(handle in storage), is_async=is_async)
    )
    storage.remove(handle)
    with pytest.raises(Error):
        storage.remove(handle)
    assert [True] == seen
    assert handle not in storage


# Functions within functions.


def test_a_function_uses_the_storage_from_the_loop_of_the_service() -> None:
    """An async function that blocks its loop does not wait for that loop."""
    storage = MemoryStorage()
    calls: list[str] = []

    async def removed(handle: str) -> None:
        await asyncio.sleep(0)
        calls.append(handle)

    async def stored(upload: StoredUpload) -> None:
        if upload.info.name == "a":
            other = storage.add("thumbnail", b"x")
            storage.remove(other)
            calls.append(other)

    storage.hooks = Hooks(on_stored=stored, on_removed=removed)

    async def live() -> None:
        await storage.aio.add("a", DATA)

    bounded(asyncio.run, live())
    assert 2 == len(calls)
    assert 1 == len({*calls})


def test_functions_are_given_in_python_or_by_name(tmp_path: Path) -> None:
    """As an option of `open_storage`, or as ``module:function``."""
    told: list[str] = []

    def stored(upload: StoredUpload) -> None:
        told.append(upload.handle)

    with open_storage(f"file://{tmp_path}", on_stored=stored) as storage:
        assert [storage.add("a", DATA)] == told
    with open_storage("memory:", on_begin=f"{MODULE}:{pdf.__name__}") as storage:
        assert storage.add("a", DATA).endswith(".pdf")
    with open_storage("memory:", on_begin="nowhere:function") as storage:
        with pytest.raises(Error, match="nowhere:function") as wrong:
            storage.hooks.check()
        assert (Kind.CONFIGURATION, "attach_on_begin") == (wrong.value.kind, wrong.value.setting)
        with pytest.raises(Error, match="nowhere:function"):
            storage.add("a", DATA)
        assert [] == [*storage]
    for wrong_hook in (5, "no function", b"x"):
        with pytest.raises(Error) as error:
            open_storage("memory:", on_stored=wrong_hook)
        assert Kind.CONFIGURATION is error.value.kind


MODULE = "attach.test_hooks"


def pdf(request: UploadRequest) -> UploadRequest:
    """Name an upload."""
    import dataclasses

    return dataclasses.replace(request, name="a.pdf")


# Tasks and threads.


def test_a_task_that_is_cancelled_while_the_application_works_loses_nothing() -> None:
    """What the application was told of is there."""
    for operation in ("add", "put"):
        storage = MemoryStorage()
        entered, end = threading.Event(), threading.Event()
        told: list[str] = []

        def stored(
            upload: StoredUpload,
            entered: threading.Event = entered,
            end: threading.Event = end,
            told: list[str] = told,
        ) -> None:
            entered.set()
            assert end.wait(PATIENCE)
            told.append(upload.handle)

        storage.hooks = Hooks(on_stored=stored)

        async def live(
            storage: MemoryStorage = storage,
            operation: str = operation,
            entered: threading.Event = entered,
            end: threading.Event = end,
        ) -> None:
            name = "a" if operation == "add" else storage.reserve("a")
            task = asyncio.create_task(getattr(storage.aio, operation)(name, pieces()))
            assert await asyncio.to_thread(entered.wait, PATIENCE)
            task.cancel()
            await asyncio.sleep(0)
            end.set()
            with contextlib.suppress(asyncio.CancelledError):
                await task
            assert task.cancelled()

        bounded(asyncio.run, live())
        assert [*storage] == told
        assert 1 == len(told)


async def pieces() -> AsyncIterator[bytes]:
    """Yield content."""
    yield DATA


def test_a_task_that_is_cancelled_before_leaves_nothing() -> None:
    """The application is not told."""
    storage = MemoryStorage()
    told: list[object] = []
    storage.hooks = Hooks(on_complete=told.append, on_stored=told.append)

    async def live() -> None:
        waits = asyncio.Event()

        async def never() -> AsyncIterator[bytes]:
            yield DATA
            waits.set()
            await asyncio.Event().wait()

        task = asyncio.create_task(storage.aio.add("a", never()))
        await waits.wait()
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task

    bounded(asyncio.run, live())
    assert ([], []) == ([*storage], told)


def test_a_whole_upload_is_busy_while_the_application_works(storage: Storage) -> None:
    """A client that asks then would take it for acknowledged."""
    entered, end = threading.Event(), threading.Event()

    def complete(_: StoredUpload) -> None:
        entered.set()
        assert end.wait(PATIENCE)
        refuse(_)

    upload = storage.uploads.create("a", size=len(DATA))
    storage.hooks = Hooks(on_complete=complete)

    def run() -> None:
        with contextlib.suppress(Error):
            storage.uploads.append(upload.handle, 0, DATA)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        assert entered.wait(PATIENCE)
        if isinstance(storage, S3Storage):
            assert not storage.uploads.info(upload.handle).is_complete  # bytes to be sent again
        else:
            with pytest.raises(Error) as busy:
                storage.uploads.info(upload.handle)
            assert Kind.BUSY is busy.value.kind
        with pytest.raises(Error) as busy:
            storage.uploads.append(upload.handle, 0, DATA)
        assert Kind.BUSY is busy.value.kind
    finally:
        end.set()
        thread.join()
    assert [] == [*storage]
