"""The application takes part in every upload, at whichever door the client comes in."""

from __future__ import annotations

import asyncio
import dataclasses
import io
from typing import TYPE_CHECKING, Any, NoReturn

import pytest

from attach.s3_uploads import abort_unfinished
from attach.web.doors import (
    CLAIMED,
    CONTENT,
    EVERY_DOOR,
    PIECE,
    TYPE,
    Sender,
    StoppedError,
    body,
    companion,
    form,
    ietf,
    params,
    post_link,
    put_link,
    sign_link,
    sign_parts,
    sign_relayed,
    tus,
    tus_at_once,
    tus_joined,
)
from attach.web.uploaders import Page
from rex.attach.backends.fallback import FallbackStorage
from rex.attach.backends.memory.storage import MemoryStorage
from rex.attach.backends.s3.storage import S3Storage
from rex.attach.storage.hooks import Hooks
from rex.core import Error, Kind

if TYPE_CHECKING:
    from collections.abc import Callable

    from attach.web.doors import Door
    from rex.attach import Storage, StoredUpload, UploadRequest

WORDS = "Scans must be PDF files"
INTERNAL = (500, "internal", "Internal server error.")
SECRET = "the password of the database"


class Application:
    """An application that records what it is told."""

    def __init__(self, storage: Storage, **hooks: Any) -> None:
        self.calls: list[str] = []
        self.uploads: list[StoredUpload] = []
        self.storage = storage
        self.instead: dict[str, Callable[[Any], Any]] = hooks
        """What it does in a hook besides that."""
        storage.hooks = Hooks(
            on_begin=lambda request: self._called("begin", request),
            on_complete=lambda upload: self._called("complete", upload),
            on_stored=lambda upload: self._called("stored", upload),
            on_removed=lambda handle: self._called("removed", handle),
        )

    def _called(self, name: str, argument: Any) -> Any:
        self.calls.append(name)
        if name == "stored":
            self.uploads.append(argument)
        hook = self.instead.get(name)
        return None if hook is None else hook(argument)

    @property
    def left(self) -> list[str]:
        """What is in the storage, as far as clients may see it."""
        unfinished = self.storage.uploads.list()
        return [*self.storage, *unfinished]


def refuse(_: object) -> NoReturn:
    """Refuse."""
    raise Error(WORDS, kind=Kind.REFUSED)


def fail(_: object) -> NoReturn:
    """Fail."""
    raise ValueError(SECRET)


def stopped(door: Door, sender: Sender) -> tuple[int, str, str]:
    """Upload in vain; return status, code and words."""
    with pytest.raises(StoppedError) as error:
        door(sender)
    return error.value.problem


def sends_nothing(storage: Storage) -> bool:
    """Return whether a client need not send the last bytes again after a failure."""
    return not isinstance(storage, S3Storage)


def clean(storage: Storage) -> None:
    """Remove what clients gave up on a server."""
    if isinstance(storage, S3Storage):
        abort_unfinished(storage)


# An upload begins.


@EVERY_DOOR
def test_the_application_refuses_an_upload_before_it_begins(door: Door, storage: Storage) -> None:
    """The client gets its words at the first request, and nothing begins."""
    application = Application(storage, begin=refuse)
    sender = Sender(storage, "ann")
    assert (422, "refused", WORDS) == stopped(door, sender)
    assert ["begin"] == application.calls
    assert [] == application.left
    if isinstance(storage, S3Storage):
        assert [] == [*storage._bucket.control.list_uploads(storage.prefix)]


@EVERY_DOOR
def test_the_application_sees_and_changes_an_upload_that_begins(
    door: Door, storage: Storage
) -> None:
    """Its name and its type."""
    seen: list[UploadRequest] = []

    def begin(request: UploadRequest) -> UploadRequest:
        seen.append(request)
        return dataclasses.replace(request, name="42.pdf", content_type="application/pdf")

    application = Application(storage, begin=begin)
    sender = Sender(storage, "ann")
    handle = door(sender)
    assert (sender.name, "ann", "") == (seen[-1].name, seen[-1].owner, seen[-1].handle)
    assert handle.endswith("/42.pdf")
    assert "application/pdf" == storage.info(handle).content_type
    assert handle == application.uploads[-1].handle


@EVERY_DOOR
def test_the_limit_of_the_application_holds(door: Door, storage: Storage) -> None:
    """One byte more is refused, by the service or by the server, and nothing is stored."""
    application = Application(
        storage, begin=lambda request: dataclasses.replace(request, max_size=len(CONTENT))
    )
    assert door(Sender(storage, "ann")) in storage
    with pytest.raises(StoppedError) as error:
        door(Sender(storage, "ann", content=CONTENT + b"x"))
    # S3 answers 400 to a form that is too large.
    of_server = isinstance(storage, S3Storage) and door in CLAIMED.values()
    assert (400 if of_server else 413) == error.value.status
    assert 1 == len([*storage])
    assert 1 == application.calls.count("stored")
    clean(storage)


@pytest.mark.parametrize(
    "door", [form, body, put_link, post_link, params, sign_link, sign_relayed, tus_at_once]
)
def test_the_application_chooses_the_owner(door: Door, storage: Storage) -> None:
    """It may record uploads for a tenant whose identity it adds to its users."""
    application = Application(
        storage, begin=lambda request: dataclasses.replace(request, owner=request.owner["tenant"])
    )
    handle = door(Sender(storage, {"tenant": "t1", "sub": "ann"}))
    assert (True, False) == tuple(storage.is_owned_by(handle, each) for each in ("t1", "t2"))
    # A link has no user.
    if door in (form, body, tus_at_once):
        assert ["t1"] == [upload.owner for upload in application.uploads]


# All bytes are there.


@EVERY_DOOR
def test_the_application_reads_an_upload_before_it_counts(door: Door, storage: Storage) -> None:
    """All bytes and from any position; then it is told, once, and then the client is answered."""
    read: list[tuple[str, int, str, bytes, bytes]] = []

    def complete(upload: StoredUpload) -> None:
        with upload.open() as stream:
            whole = stream.read()
            stream.seek(-4, io.SEEK_END)
            info = upload.info
            read.append((info.handle, info.size, info.content_type, whole, stream.read()))

    application = Application(storage, complete=complete)
    sender = Sender(storage, "ann")
    noted = Noted(sender, application)
    handle = door(sender)
    assert [(handle, len(CONTENT), TYPE, CONTENT, CONTENT[-4:])] == read
    assert ["complete", "stored", "answered"] == noted.events[-3:]
    assert 1 == noted.events.count("stored")
    assert storage.info(handle) == application.uploads[0].info
    assert "ann" == application.uploads[0].owner or storage.is_owned_by(handle, "ann")


class Noted:
    """Notes in which order the application is told and responses begin."""

    def __init__(self, sender: Sender, application: Application) -> None:
        self.events = application.calls
        self.loops: list[object] = []
        app = sender.page._app

        async def noting(scope: Any, receive: Any, send: Any) -> None:
            async def send_noted(message: Any) -> None:
                if message["type"] == "http.response.start":
                    self.events.append("answered")
                await send(message)

            self.loops.append(asyncio.get_running_loop())
            await app(scope, receive, send_noted)

        sender.page._app = noting


@EVERY_DOOR
def test_the_application_refuses_an_upload_that_it_has_read(door: Door, storage: Storage) -> None:
    """The bytes are gone, unless they came by themselves and were claimed."""
    application = Application(storage, complete=refuse)
    sender = Sender(storage, "ann")
    assert (422, "refused", WORDS) == stopped(door, sender)
    assert "stored" not in application.calls
    if isinstance(storage, S3Storage) and door in CLAIMED.values():
        assert 1 == len(application.left)
    elif door is tus_joined:
        assert [] == [*storage]
    else:
        assert [] == application.left
    clean(storage)


def test_a_form_is_stored_as_a_whole_or_not_at_all(storage: Storage) -> None:
    """If the second of three files is refused, none is there, and none was told."""

    def refuse_second(upload: StoredUpload) -> None:
        if upload.info.name == "2":
            refuse(upload)

    application = Application(storage, complete=refuse_second)
    files = [("file", (name, b"x", TYPE)) for name in "123"]
    answer = Page(storage, "ann").ask("POST", "/", files=files)
    assert (422, WORDS) == (answer.status_code, answer.json()["detail"])
    assert ["begin", "begin", "begin", "complete", "complete"] == application.calls
    assert [] == application.left
    application.instead = {}
    answer = Page(storage, "ann").ask("POST", "/", files=files)
    told = [(upload.handle, upload.owner) for upload in application.uploads]
    assert [(each["handle"], "ann") for each in answer.json()["attachments"]] == told


# The application fails.


PART = {"Content-Type": "application/partial-upload"}
KNOWN = (put_link, post_link, params, sign_link, sign_relayed, companion, sign_parts)
"""Doors whose client knows the handle, and repeats its last request."""


KEEPING = (tus, ietf)
"""Doors whose upload outlasts the failure of a request."""


@EVERY_DOOR
@pytest.mark.parametrize("hook", ["complete", "stored"])
def test_a_client_repeats_what_the_application_failed_to_record(
    hook: str, door: Door, storage: Storage, caplog: pytest.LogCaptureFixture
) -> None:
    """Nothing is lost; the client learns nothing, the log all."""
    application = Application(storage, **{hook: fail})
    sender = Sender(storage, "ann")
    assert INTERNAL == stopped(door, sender)
    failures = [record for record in caplog.records if record.exc_info]
    assert 1 == len(failures)
    assert SECRET in caplog.text
    assert "in fail" in caplog.text
    if door in KNOWN or door in CLAIMED.values() or door in KEEPING or hook == "stored":
        (handle,) = storage
    else:
        assert [] == [*storage]
    application.instead = {}
    if door in KNOWN or door in CLAIMED.values():
        assert sender.again().is_success
        assert [handle] == [upload.handle for upload in application.uploads[-1:]]
        assert CONTENT == storage.open(handle).read()
    elif door is tus:
        calls = len(application.calls)
        path, version = f"/tus{handle}", {"Tus-Resumable": "1.0.0"}
        answer = sender.page.ask("HEAD", path, headers=version)
        offset = answer.headers["Upload-Offset"]
        # The last bytes are not kept twice on a server.
        assert (200, str(len(CONTENT) if sends_nothing(storage) else 0)) == (
            answer.status_code,
            offset,
        )
        headers, rest = PIECE | {"Upload-Offset": offset}, CONTENT[int(offset) :]
        assert 204 == sender.page.ask("PATCH", path, headers=headers, content=rest).status_code
        assert ["complete", "stored"] == application.calls[calls:]
        assert CONTENT == storage.open(handle).read()
    elif door is ietf:
        calls = len(application.calls)
        offset = sender.page.ask("HEAD", f"/uploads{handle}").headers["Upload-Offset"]
        headers = {"Upload-Offset": offset, "Upload-Complete": "?1"} | PART
        answer = sender.page.ask(
            "PATCH", f"/uploads{handle}", headers=headers, content=CONTENT[int(offset) :]
        )
        assert (201, "?1") == (answer.status_code, answer.headers["Upload-Complete"])
        assert ["complete", "stored"] == application.calls[calls:]
        assert CONTENT == storage.open(handle).read()
    else:
        assert door(Sender(storage, "ann")) in storage
    clean(storage)


def test_a_whole_upload_is_not_told_as_whole_while_the_application_fails(storage: Storage) -> None:
    """A tus client takes the full offset for success."""
    application = Application(storage, stored=fail)
    sender = Sender(storage, "ann")
    assert INTERNAL == stopped(tus, sender)
    (handle,) = storage
    version = {"Tus-Resumable": "1.0.0"}
    for hook, status in ((fail, 500), (refuse, 422)):
        application.instead = {"complete": hook}
        answer = sender.page.ask("HEAD", f"/tus{handle}", headers=version)
        if sends_nothing(storage):
            assert status == answer.status_code
        else:
            assert "0" == answer.headers["Upload-Offset"]
            assert status == sender.again().status_code
    # The application may have recorded it.
    assert [handle] == [*storage]


class WeirdError(BaseException):
    """An exception that no application should raise."""


FAILURES = [
    ValueError(SECRET),
    SystemExit(SECRET),
    asyncio.CancelledError(SECRET),
    WeirdError(SECRET),
    StopIteration(SECRET),
    FileNotFoundError(SECRET),
    Error(SECRET),
    *(Error(SECRET, kind=kind) for kind in Kind if kind is not Kind.REFUSED),
]


@pytest.mark.parametrize("is_async", [False, True])
@pytest.mark.parametrize("hook", ["begin", "complete", "stored", "removed"])
def test_every_failure_of_the_application_is_a_500(
    *, is_async: bool, hook: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Also one that looks like an error of the storage, or would end the server."""
    storage = MemoryStorage()
    kept = storage.add("kept", b"x")
    for failure in FAILURES:

        def raise_it(_: object, failure: BaseException = failure) -> NoReturn:
            raise failure

        async def raise_later(_: object, failure: BaseException = failure) -> NoReturn:
            await asyncio.sleep(0)
            raise failure

        Application(storage, **{hook: raise_later if is_async else raise_it})
        caplog.clear()
        if hook == "removed":
            answer = Page(storage).ask("DELETE", kept)
        else:
            answer = Page(storage).ask("POST", "/?name=a", content=b"x")
        problem = answer.json()
        assert INTERNAL == (answer.status_code, problem["type"], problem["detail"]), repr(failure)
        assert f"The application's function on_{hook} failed" in caplog.text
        assert kept in storage


def test_the_words_of_the_application_have_a_cause() -> None:
    """They are for the client nevertheless; from on_stored they are a failure."""

    def refuse_from(_: object) -> None:
        try:
            fail(None)
        except ValueError as failure:
            raise Error(WORDS, "page 3", kind=Kind.REFUSED, code="not-pdf") from failure

    storage = MemoryStorage()
    Application(storage, complete=refuse_from)
    answer = Page(storage).ask("POST", "/?name=a", content=b"x").json()
    assert (422, "not-pdf", f"{WORDS}:\n    page 3") == (
        answer["status"],
        answer["type"],
        answer["detail"],
    )
    Application(storage, stored=refuse_from)
    assert 500 == Page(storage).ask("POST", "/?name=a", content=b"x").status_code


# Where functions run.


@EVERY_DOOR
def test_async_functions_run_in_the_loop_of_the_service(door: Door, storage: Storage) -> None:
    """So that they may use what the application has in that loop."""
    loops: list[object] = []

    async def note(_: object) -> None:
        await asyncio.sleep(0)
        loops.append(asyncio.get_running_loop())

    application = Application(storage, begin=note, complete=note, stored=note, removed=note)
    sender = Sender(storage, "ann")
    noted = Noted(sender, application)
    handle = door(sender)
    sender.ask("DELETE", handle)
    assert 4 <= len(loops)
    assert {*loops} <= {*noted.loops}
    assert loops[-1] is noted.loops[-1]


@EVERY_DOOR
def test_plain_functions_do_not_run_in_the_loop(door: Door, storage: Storage) -> None:
    """They may block."""
    running: list[bool] = []

    def note(_: object) -> None:
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            running.append(False)
        else:
            running.append(True)

    Application(storage, begin=note, complete=note, stored=note, removed=note)
    sender = Sender(storage, "ann")
    sender.ask("DELETE", door(sender))
    assert {False} == {*running}


# An attachment is removed.


def test_the_application_knows_of_a_removal_before_it_happens(storage: Storage) -> None:
    """At both doors; it may refuse, and if it fails nothing is removed."""
    page = Page(storage, "ann")
    version = {"Tus-Resumable": "1.0.0"}
    for prefix in ("", "/tus"):
        handle = storage.add("a", CONTENT, owner="ann")
        there: list[bool] = []
        application = Application(
            storage, removed=lambda handle, there=there: there.append(handle in storage)
        )
        application.instead["removed"], look = refuse, application.instead["removed"]
        answer = page.ask("DELETE", prefix + handle, headers=version)
        assert (422, WORDS) == (answer.status_code, answer.json()["detail"])
        application.instead["removed"] = fail
        assert 500 == page.ask("DELETE", prefix + handle, headers=version).status_code
        assert CONTENT == storage.open(handle).read()
        application.instead["removed"] = look
        assert 204 == page.ask("DELETE", prefix + handle, headers=version).status_code
        assert [True] == there
        assert handle not in storage
        assert 404 == page.ask("DELETE", prefix + handle, headers=version).status_code
        assert [True] == there


def test_an_unfinished_upload_is_removed_without_a_word(storage: Storage) -> None:
    """The application does not know it."""
    application = Application(storage)
    page, version = Page(storage, "ann"), {"Tus-Resumable": "1.0.0"}
    begin = {**version, "Upload-Length": "3"}
    path = page.ask("POST", "/tus/", headers=begin).headers["Location"]
    assert 204 == page.ask("DELETE", path, headers=version).status_code
    assert ["begin"] == application.calls


# Two storages.


@pytest.mark.parametrize("door", [form, tus, tus_at_once, tus_joined, sign_relayed])
def test_a_storage_that_is_moved_has_the_functions_of_the_new_one(door: Door) -> None:
    """Those of the older one are not called."""
    older, newer = MemoryStorage(), MemoryStorage()
    old, new = Application(older), Application(newer)
    with FallbackStorage(newer, older) as both:
        page = Sender(both, "ann")
        handle = door(page)
        there = older.add("older", b"x", notify=False)
        for each in (handle, there):
            page.ask("DELETE", each)
    assert ["complete", "stored", "removed", "removed"] == new.calls[-4:]
    assert "begin" in new.calls
    assert ["begin"] == old.calls  # by `add`
