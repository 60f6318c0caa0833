"""Functions of the application that take long or hang, with real clients of a real server."""

from __future__ import annotations

import asyncio
import concurrent.futures
import http.client
import os
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit

import httpx
import pytest

from attach.bounded import bounded
from attach.service import Service
from attach.web.doors import CONTENT, PIECE
from attach.web.uploaders import ANYBODY
from programs import PATIENCE, REX, run
from rex.attach import StoredUpload
from rex.attach.backends.memory.storage import MemoryStorage
from rex.attach.storage.hooks import Hooks
from rex.attach.web import attachments
from rex.core import Kind
from rex.core.exit_codes import EXIT_CODES
from served import reserved_port, rex_serving

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

HANGING = 40
"""More than the threads for operations that do not wait for the application."""
FIFO = "HOOK_FIFO"
MODULE = "attach.web.test_slow_hooks"
"""This module, for `rex serve`."""


@pytest.fixture(autouse=True)
def importable(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let `rex serve` import this module."""
    tests = str(Path(__file__).parents[2])
    paths = filter(None, (tests, os.environ.get("PYTHONPATH")))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(paths))


def wait_for_fifo(_: StoredUpload) -> None:
    """Wait until the test opens the other end; for `rex serve`."""
    with Path(os.environ[FIFO]).open("rb") as fifo:
        fifo.read()


class Slow:
    """A function that waits while the file name is that of a hanging upload."""

    def __init__(self, *, is_async: bool) -> None:
        self.entered = threading.Semaphore(0)
        self.left = threading.Semaphore(0)
        self._end = threading.Event()
        self._ends: list[Callable[[], object]] = []
        self.hook: Callable[[Any], Any] = self._wait_async if is_async else self._wait

    def end(self) -> None:
        """Let all go on."""
        self._end.set()
        for end in self._ends:
            end()

    def _wait(self, argument: Any) -> None:
        if self._hangs(argument):
            self.entered.release()
            assert self._end.wait(PATIENCE)
            self.left.release()

    async def _wait_async(self, argument: Any) -> None:
        if self._hangs(argument):
            event, loop = asyncio.Event(), asyncio.get_running_loop()
            self._ends.append(lambda: loop.call_soon_threadsafe(event.set))
            self.entered.release()
            await asyncio.wait_for(event.wait(), PATIENCE)
            self.left.release()

    def _hangs(self, argument: Any) -> bool:
        name = argument.info.name if isinstance(argument, StoredUpload) else argument.name
        return bool(name == "hang")

    def wait_until_entered(self, count: int = 1) -> None:
        """Wait until so many calls wait."""
        for _ in range(count):
            assert self.entered.acquire(timeout=PATIENCE)


@pytest.fixture
def storage() -> MemoryStorage:
    """Return a storage that is served."""
    return MemoryStorage()


@pytest.fixture
def url(storage: MemoryStorage) -> Iterator[str]:
    """Serve a storage to everyone; yield the address."""
    with Service() as service:
        storage.url = service.serve(storage)
        service._apps[urlsplit(storage.url).path] = attachments(storage, ANYBODY)
        yield storage.url


@pytest.mark.parametrize("is_async", [False, True], ids=["plain", "async"])
@pytest.mark.parametrize("hook", ["on_begin", "on_complete", "on_stored"])
def test_uploads_that_hang_in_the_application_leave_others_alone(
    hook: str, storage: MemoryStorage, url: str, *, is_async: bool
) -> None:
    """However many they are; afterwards all of them are answered."""
    kept = storage.add("kept", CONTENT)
    slow = Slow(is_async=is_async)
    storage.hooks = Hooks(**{hook: slow.hook})
    with concurrent.futures.ThreadPoolExecutor(HANGING) as clients:
        try:
            hanging = [
                clients.submit(httpx.post, f"{url}/?name=hang", content=b"x", timeout=PATIENCE)
                for _ in range(HANGING)
            ]
            slow.wait_until_entered(HANGING)
            bounded(use, url, kept)
        finally:
            slow.end()
        assert {201} == {each.result().status_code for each in hanging}


def use(url: str, kept: str) -> None:
    """Do what other clients do."""
    with httpx.Client(timeout=PATIENCE) as client:
        assert client.get(url + kept).content == CONTENT
        assert client.head(url + kept).is_success
        assert kept in client.get(f"{url}/").text
        assert client.post(f"{url}/?name=a", content=b"x").is_success
        begin = PIECE | {"Upload-Length": "6"}
        begun = client.post(f"{url}/tus/", headers=begin, content=b"abc")
        path = f"{url}/{begun.headers['Location'].partition('/tus/')[2]}".replace(url, f"{url}/tus")
        asked = client.head(path, headers={"Tus-Resumable": "1.0.0"})
        assert "3" == asked.headers["Upload-Offset"]
        sent = client.patch(path, headers=PIECE | {"Upload-Offset": "3"}, content=b"def")
        assert 204 == sent.status_code
        assert client.post(f"{url}/links", json={"name": "a"}).is_success
        assert 204 == client.delete(path.replace("/tus/", "/")).status_code


def test_the_health_check_is_answered_while_the_application_hangs(tmp_path: Path) -> None:
    """As are the clients of `rex serve`."""
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    settings = {
        "attach_dir": tmp_path / "attachments",
        "attach_on_stored": f"{MODULE}:{wait_for_fifo.__name__}",
        FIFO: fifo,
    }
    with (
        rex_serving(tmp_path, **settings) as served,
        concurrent.futures.ThreadPoolExecutor(1) as client,
    ):
        hanging = client.submit(
            httpx.post, f"{served.url}/attach/?name=a", content=CONTENT, timeout=PATIENCE
        )
        with fifo.open("wb"):  # the function is called
            assert 200 == httpx.get(f"{served.url}/health").status_code
            (stored,) = httpx.get(f"{served.url}/attach/").json()["attachments"]
            assert CONTENT == httpx.get(served.url + stored["url"]).content
            assert not hanging.done()
        assert 201 == hanging.result().status_code


@pytest.mark.parametrize(
    "setting", ["attach_on_begin", "attach_on_complete", "attach_on_stored", "attach_on_removed"]
)
def test_a_wrong_function_is_refused_when_the_service_starts(setting: str, tmp_path: Path) -> None:
    """Not at the first upload."""
    for wrong in ("nowhere:function", f"{MODULE}:nothing", f"{MODULE}:HANGING"):
        settings = {"attach_dir": tmp_path, "attach_access": "public", setting: wrong}
        with reserved_port() as port:
            done = run(REX, "serve", "--port", port, settings=settings)
        assert EXIT_CODES[Kind.CONFIGURATION] == done.returncode, done.stderr
        assert setting in done.stderr
        assert "Traceback" not in done.stderr


REQUESTS: dict[str, Callable[[str], tuple[str, str, dict[str, str]]]] = {
    "body": lambda _: ("POST", "/?name=hang", {}),
    "tus at once": lambda _: (
        "POST",
        "/tus/",
        PIECE | {"Upload-Length": str(len(CONTENT)), "Upload-Metadata": "filename aGFuZw=="},
    ),
    "tus": lambda url: ("PATCH", begun(url), PIECE | {"Upload-Offset": "0"}),
    "PUT link": lambda url: linked(url),  # noqa: PLW0108 - it is defined below
}
"""The requests that end an upload called ``hang``: method, path and headers."""


def begun(url: str) -> str:
    """Begin an upload by tus; return its path."""
    length = {"Upload-Length": str(len(CONTENT)), "Upload-Metadata": "filename aGFuZw=="}
    answer = httpx.post(f"{url}/tus/", headers={"Tus-Resumable": "1.0.0", **length})
    return f"/tus/{answer.headers['Location'].partition('/tus/')[2]}"


def linked(url: str) -> tuple[str, str, dict[str, str]]:
    """Reserve a handle; return the request of its link."""
    link = httpx.post(f"{url}/links", json={"name": "hang"}).json()["link"]
    return "PUT", link["url"].removeprefix(url), link["headers"]


@pytest.mark.parametrize("is_async", [False, True], ids=["plain", "async"])
@pytest.mark.parametrize("hook", ["on_complete", "on_stored"])
@pytest.mark.parametrize("name", REQUESTS)
def test_the_application_is_told_although_the_client_has_gone(
    name: str, hook: str, storage: MemoryStorage, url: str, *, is_async: bool
) -> None:
    """The attachment stays, and the application knows it."""
    slow = Slow(is_async=is_async)
    told: list[str] = []
    ended = threading.Event()

    def stored(upload: StoredUpload) -> None:
        told.append(upload.handle)
        ended.set()

    async def stored_slowly(upload: StoredUpload) -> None:
        await slow.hook(upload)
        stored(upload)

    def stored_slowly_in_thread(upload: StoredUpload) -> None:
        slow.hook(upload)
        stored(upload)

    last = stored_slowly if is_async else stored_slowly_in_thread
    storage.hooks = (
        Hooks(on_stored=last)
        if hook == "on_stored"
        else Hooks(on_complete=slow.hook, on_stored=stored)
    )
    method, path, headers = REQUESTS[name](url)
    address = urlsplit(url)
    client = http.client.HTTPConnection(address.netloc)
    client.request(method, quote(address.path + path, "/?=%&()"), CONTENT, headers)
    slow.wait_until_entered()
    client.close()
    slow.end()
    assert ended.wait(PATIENCE)
    (handle,) = storage
    assert [handle] == told
    assert CONTENT == storage.open(handle).read()
