"""Download links that stay the same for a while, so that browsers can cache what they lead to."""

from __future__ import annotations

import asyncio
import datetime
import time
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from attach.s3_storage import s3_storage
from rex.attach import Storage, open_storage
from rex.attach.backends.fallback import FallbackStorage
from rex.attach.backends.s3 import bucket
from rex.attach.links.sigv4 import Credentials
from rex.attach.web import Access, attachments
from rex.attach.web.app import Options
from rex.core import Error, Kind

if TYPE_CHECKING:
    from collections.abc import Callable

    from rex.attach import PresignedLink
    from rex.attach.backends.s3.storage import S3Storage

NOON = 1_795_867_200
"""Noon of a day, a multiple of each window below; in seconds since 1970."""
HOUR = 3600
HANDLE = "/2026/11/28/5f5e1d5e-6c1c-4e0a-9b0a-0123456789ab/a.png"


def s3(**options: Any) -> S3Storage:
    """Make a storage on a server that is never asked."""
    keys = {"access_key": "key", "secret_key": "secret"}
    return s3_storage("bucket", endpoint="http://127.0.0.1:9", **keys | options)


def served(**options: Any) -> Storage:
    """Make a storage with service links."""
    return open_storage("memory:", url="https://example.org/attach", **options)


STORAGES: dict[str, Callable[..., Storage]] = {"S3": s3, "service": served}


@pytest.fixture(params=STORAGES)
def make(request: pytest.FixtureRequest) -> Callable[..., Storage]:
    """Give the function that makes a storage with links."""
    return STORAGES[request.param]


class Clock:
    """The time, as a test sets it."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.now = float(NOON)
        patch.setattr(time, "time", lambda: self.now)
        patch.setattr(bucket, "_now", lambda: at(int(self.now - NOON)))


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Set the time to noon."""
    return Clock(monkeypatch)


def at(seconds: float) -> datetime.datetime:
    """Give the time so many seconds after noon."""
    return datetime.datetime.fromtimestamp(NOON + seconds, datetime.UTC)


def test_a_link_stays_the_same_within_a_window(make: Callable[..., Storage], clock: Clock) -> None:
    """Its expiry too, which is that of the start of the window; the next window has another."""
    storage = make()
    links = []
    for seconds in (0, 0.9, 1, 899.9, 900, 1000, 1799, 1800):
        clock.now = NOON + seconds
        links.append(storage.download_link(HANDLE, expires=HOUR, window=900))
    urls = [link.url for link in links]
    assert [0] * 4 + [4] * 3 + [7] == [urls.index(url) for url in urls]
    expected = [at(HOUR)] * 4 + [at(HOUR + 900)] * 3 + [at(HOUR + 1800)]
    assert expected == [link.expires_at for link in links]


def test_a_link_is_new_each_time_without_a_window(
    make: Callable[..., Storage], clock: Clock
) -> None:
    """By default, and with a window of 0 where the storage has one."""
    storage, windowed = make(), make(link_window=900)
    for seconds in (1, 2):
        clock.now = NOON + seconds
        for link in (storage.download_link(HANDLE), windowed.download_link(HANDLE, window=0)):
            assert at(seconds + HOUR) == link.expires_at


def test_the_window_of_the_storage_is_the_default(
    make: Callable[..., Storage], clock: Clock
) -> None:
    """For links that last longer than it; the same for coroutines, and while attachments move."""
    clock.now = NOON + 100
    storage = make(link_window=900)
    moving = FallbackStorage(storage, open_storage("memory:"))
    assert at(HOUR) == storage.download_link(HANDLE).expires_at
    assert at(HOUR) == asyncio.run(storage.aio.download_link(HANDLE)).expires_at
    assert 900 == moving.link_window
    assert at(100 + 900) == storage.download_link(HANDLE, expires=900).expires_at
    assert at(901) == storage.download_link(HANDLE, expires=901).expires_at
    given: Any
    for given in (60, 60.9, datetime.timedelta(minutes=1)):
        link = asyncio.run(storage.aio.download_link(HANDLE, window=given))
        assert at(60 + HOUR) == link.expires_at
    storage.close()


def test_redirects_of_the_service_have_the_window_of_the_storage(clock: Clock) -> None:
    """So that a page finds its images in the cache of the browser."""
    storage = served(link_window=900)
    handle = storage.add("a.png", b"a")
    app = attachments(storage, Access(lambda *_: True), Options(redirect=True))

    async def redirect() -> str:
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            return (await client.get(handle)).headers["Location"]

    places = []
    for seconds in (0, 899, 900):
        clock.now = NOON + seconds
        places.append(asyncio.run(redirect()))
    assert places[0] == places[1] != places[2]
    storage.close()


def test_uploads_have_no_window(make: Callable[..., Storage], clock: Clock) -> None:
    """Each of them is for one file."""
    clock.now = NOON + 100
    storage = make(link_window=900)
    for method in ("POST", "PUT"):
        link = storage.upload_link(HANDLE, method=method)
        assert at(100 + HOUR) == link.expires_at


def test_other_names_and_presentations_have_other_links(
    make: Callable[..., Storage], clock: Clock
) -> None:
    """The window joins calls with the same arguments only."""
    storage = make(link_window=900)
    others: list[Any] = [{}, {"filename": "b.png"}, {"inline": True}, {"expires": 7200}]
    links = [storage.download_link(HANDLE, **other) for other in others]
    assert len(others) == len({link.url for link in links})
    assert clock.now == NOON


@pytest.mark.parametrize("window", [-1, 0.5, HOUR, 2 * HOUR, float("nan"), "15m", [1]])
def test_a_window_is_shorter_than_the_duration(make: Callable[..., Storage], window: Any) -> None:
    """Or a link could have expired when it is made."""
    with pytest.raises(Error, match="shorter than the link's duration") as caught:
        make().download_link(HANDLE, expires=HOUR, window=window)
    assert Kind.ILL_FORMED is caught.value.kind


@pytest.mark.parametrize(
    "settings", [{"link_window": "1h"}, {"link_window": 60, "link_expires": 60}]
)
def test_the_window_of_the_settings_is_shorter_than_the_duration(settings: Any) -> None:
    """The error names the setting."""
    with pytest.raises(Error) as caught:
        open_storage("memory:", **settings)
    assert (Kind.CONFIGURATION, "attach_link_window") == (caught.value.kind, caught.value.setting)


def temporary(storage: S3Storage, token: str, ends: float) -> None:
    """Give a storage temporary credentials that end so many seconds after noon."""
    keys = Credentials("key", "secret", token, at(ends))
    storage._bucket.credentials = lambda: keys


def test_a_window_does_not_reach_back_before_temporary_credentials(clock: Clock) -> None:
    """A server may refuse a signature that is older than they are; they end every link."""
    storage = s3()

    def link(token: str, seconds: float, ends: float = 5 * HOUR) -> PresignedLink:
        temporary(storage, token, ends)
        clock.now = NOON + seconds
        return storage.download_link(HANDLE, expires=HOUR, window=900)

    first = link("first", 100)
    assert at(100 + HOUR) == first.expires_at
    assert first == link("first", 899)
    assert at(900 + HOUR) == link("first", 1000).expires_at
    renewed = link("renewed", 1100)
    assert at(1100 + HOUR) == renewed.expires_at
    assert renewed == link("renewed", 1799)
    short = [link("short", 1900 + seconds, ends=2800) for seconds in (0, 30, 700)]
    assert {at(2800)} == {each.expires_at for each in short}
    assert 1 == len({each.url for each in short})
    with pytest.raises(Error) as caught:
        link("short", 2800, ends=2800)
    assert "credentials-expired" == caught.value.code


@pytest.mark.usefixtures("clock")
def test_many_links_are_those_that_single_calls_return(make: Callable[..., Storage]) -> None:
    """In the order of the handles; for coroutines too."""
    storage = make()
    names = ("a.png", "ü.html", "a.png", "b c.txt")
    handles = [*map(storage.reserve, names), HANDLE, HANDLE]
    options: list[dict[str, Any]] = [{}, {"inline": True, "expires": HOUR, "window": 60}]
    for given in options:
        expected = [storage.download_link(handle, **given) for handle in handles]
        assert expected == storage.download_links(handles, **given)
        assert expected == asyncio.run(storage.aio.download_links(handles, **given))
    assert [] == storage.download_links([])
    for wrong in ([HANDLE, "/a"], [HANDLE, None]):
        with pytest.raises(Error) as caught:
            storage.download_links(wrong)  # type: ignore[arg-type]
        assert Kind.ILL_FORMED is caught.value.kind
