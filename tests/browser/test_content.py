"""What people upload runs no script, however a browser is made to open it."""

from __future__ import annotations

import time
import uuid
from contextlib import suppress
from html import escape
from typing import TYPE_CHECKING
from urllib.parse import quote

import httpx
import pytest
from playwright.sync_api import Error as BrowserError

from browser.media import frames, pdf, png, wav, webm
from browser.page import READER
from browser.rig import CHROMIUM, PlainServer
from browser.traps import STYLESHEET, TRAPS
from programs import PATIENCE
from rex.attach.backends.local.storage import LocalStorage

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from playwright.sync_api import Browser, Frame, Page

    from rex.attach import Storage
    from rex.attach.backends.s3.storage import S3Storage
    from served import Served

    Kind = tuple[Served, Storage]

pytestmark = pytest.mark.long

PROGRAM = CHROMIUM  # which has a reader of PDF


EMBEDDED = (
    '<iframe src="{0}"></iframe><object data="{0}"></object><embed src="{0}"><img src="{0}">'
    '<link rel="stylesheet" href="{0}">'
)
AS_SCRIPT = '<script src="{0}"></script><script type="module" src="{0}"></script>'


class Watch:
    """A page, and each script that runs in it or in its frames, whatever it is forbidden."""

    def __init__(self, page: Page, server: PlainServer) -> None:
        self.page = page
        self.server = server
        self._mark = uuid.uuid4().hex
        self.report = f"{server.origin}/ran/{self._mark}/"
        """Where its scripts report to: those of another watch may be late."""
        self._said: list[str] = []
        self.forget()
        page.on("console", lambda message: self._said.append(message.text))

    def forget(self) -> None:
        """Begin anew."""
        self.server.ran.clear()
        self._said.clear()

    def ran(self) -> set[str]:
        """Name the traps whose script ran."""
        self.page.evaluate("0")  # what was said before has come by now
        said = {text.removeprefix("ran ") for text in self._said if text.startswith("ran ")}
        return said | self.reported()

    def reported(self) -> set[str]:
        """Name the traps whose script has called the server."""
        reports = [each.partition("/") for each in self.server.ran]
        return {name for mark, _, name in reports if mark == self._mark}

    def wait_for(self, condition: Callable[[], bool]) -> None:
        """Ask again and again until something holds."""
        deadline = time.monotonic() + PATIENCE
        while not condition():
            assert time.monotonic() < deadline, (self.ran(), self.reported())
            self.page.wait_for_timeout(20)

    def open_each(self, urls: Iterable[str]) -> None:
        """Go to each address; what is downloaded is no page."""
        for url in urls:
            with self.page.expect_response(url) as answered, suppress(BrowserError):
                self.page.goto(url)
            assert 200 == answered.value.status

    def embed(self, host: str, urls: Iterable[str], ways: str = EMBEDDED + AS_SCRIPT) -> None:
        """Show a page of a host that has each address in it, in many ways."""
        self.page.goto(host)
        self.page.set_content("".join(ways.format(escape(url)) for url in urls))


@pytest.fixture
def watch(page: Page, plain_server: PlainServer) -> Watch:
    """Watch the page of a test."""
    return Watch(page, plain_server)


def uploaded(service: Served, report: str) -> dict[str, str]:
    """Upload each trap as each thing that its sender may call it; give addresses and handles."""
    found = {}
    with httpx.Client(base_url=service.url) as client:

        def upload(name: str, declared: str, content: bytes) -> str:
            stored = client.post(
                "/attach/",
                params={"name": name},
                content=content,
                headers={"Content-Type": declared},
            )
            (one,) = stored.raise_for_status().json()["attachments"]
            found[f"{service.url}{one['url']}"] = one["handle"]
            return str(one["url"])

        style = upload("style.xsl", "text/xsl", STYLESHEET.encode())
        for trap in TRAPS:
            content = trap.content(report, style)
            for declared in trap.declared:
                upload(trap.name, declared, content)
    return found


MEDIA = (
    "() => { const one = document.querySelector('video'); return [one.duration, one.videoWidth] }"
)
PICTURE = "() => document.querySelector('img').naturalWidth"
PLAYING = "() => document.querySelector('video').readyState >= 2"
PAINTED = "() => document.querySelector('img').naturalWidth > 0"


@pytest.fixture(scope="module")
def film(browser: Browser) -> bytes:
    """Make a video of two seconds."""
    with browser.new_page() as page:
        return webm(frames(page, 2), 1280, 720)


def until(page: Page, frame: Frame, condition: str) -> None:
    """Ask again and again until something holds in a frame, where no script of its own runs."""
    deadline = time.monotonic() + PATIENCE
    while not frame.evaluate(condition):
        assert time.monotonic() < deadline, frame.evaluate("document.documentElement.outerHTML")
        page.wait_for_timeout(20)


def opened(page: Page, url: str, how: str, host: str) -> Frame:
    """Open an address in a tab, or in a frame of a page of a host."""
    if how == "tab":
        page.goto(url)
        return page.main_frame
    page.goto(host)
    page.set_content(f'<iframe src="{escape(url)}" width="800" height="600"></iframe>')
    found = page.locator("iframe").element_handle().content_frame()
    assert found is not None
    return found


def addresses(service: Served, storage: Storage, handle: str) -> list[str]:
    """Return the addresses of an attachment: at the service, and by a link."""
    link = storage.download_link(handle, inline=True).url
    return [f"{service.url}/attach{quote(handle)}", link]


@pytest.fixture(scope="session")
def directory_storage(on_directory: Served) -> Iterator[LocalStorage]:
    """Open the storage behind the service on a directory."""
    directory, url = on_directory.directory / "attachments", f"{on_directory.url}/attach"
    with LocalStorage(directory, url=url) as storage:
        yield storage


@pytest.fixture
def kinds(
    on_directory: Served, directory_storage: LocalStorage, on_s3: Served, s3_storage: S3Storage
) -> list[Kind]:
    """Return the service over each kind of storage, and the storage."""
    return [(on_directory, directory_storage), (on_s3, s3_storage)]


@pytest.mark.parametrize("how", ["tab", "frame", "frame of another site"])
@pytest.mark.parametrize("kind", ["webm", "wav", "png", "pdf"])
def test_what_may_be_shown_is_shown(
    page: Page, kinds: list[Kind], plain_server: PlainServer, film: bytes, *, kind: str, how: str
) -> None:
    """A video and sound play, an image and a PDF are seen: from the service, and by links."""
    content = {"webm": film, "wav": wav(3), "png": png(200, 100), "pdf": pdf("Hello")}[kind]
    for service, storage in kinds:
        host = plain_server.origin if "another" in how else f"{service.url}/health"
        for url in addresses(service, storage, storage.add(f"a.{kind}", content)):
            frame = opened(page, url, how, host)
            if kind == "pdf":
                found = page.frames
                while not any(one.url.startswith(READER) for one in found):
                    page.wait_for_timeout(20)
                    found = page.frames
            elif kind == "png":
                until(page, frame, PAINTED)
                assert 200 == frame.evaluate(PICTURE)
            else:
                until(page, frame, PLAYING)
                expected = [2, 1280] if kind == "webm" else [3, 0]
                assert expected == frame.evaluate(MEDIA)


@pytest.mark.parametrize("name", ["Grüße.txt", "a.txt"])
def test_a_text_that_we_encoded_is_shown_as_it_was(
    page: Page, kinds: list[Kind], name: str
) -> None:
    """By the service and by links; the browser need not guess the encoding."""
    text = "Grüße, 中文"
    for service, storage in kinds:
        for url in addresses(service, storage, storage.add(name, text)):
            page.goto(url)
            assert text == page.locator("body").inner_text()


SHOW = """
async ([url, mode]) => {
  const image = new Image()
  if (mode) image.crossOrigin = mode
  image.src = url
  await image.decode()
  return image.naturalWidth
}
"""
READ = """
async ([url, credentials]) => {
  const headers = { Range: 'bytes=0-9', 'X-Of-Ours': 'a' }
  const answer = await fetch(url, { headers, credentials })
  const named = ['Content-Range', 'Accept-Ranges', 'Content-Disposition', 'Content-Length', 'ETag']
  return [answer.status, ...named.map((name) => answer.headers.has(name))]
}
"""


def test_a_site_that_may_use_the_service_may_show_and_read(
    page: Page, on_directory: Served, directory_storage: LocalStorage, plain_server: PlainServer
) -> None:
    """An image as it is, and with what a script reads of an answer; any other site neither."""
    handle = directory_storage.add("a.png", png(200, 100))
    url = f"{on_directory.url}/attach{handle}"
    page.goto(plain_server.origin)
    for mode in ("", "anonymous", "use-credentials"):
        assert 200 == page.evaluate(SHOW, [url, mode])
    for credentials in ("omit", "include"):
        assert [206, True, True, True, True, True] == page.evaluate(READ, [url, credentials])
    with PlainServer().running() as other:
        page.goto(other.origin)
        for mode in ("", "anonymous", "use-credentials"):
            with pytest.raises(BrowserError, match="EncodingError"):
                page.evaluate(SHOW, [url, mode])
        with pytest.raises(BrowserError, match="Failed to fetch"):
            page.evaluate(READ, [url, "omit"])
    # What the allowed site has had is shown to our own pages, and to it again.
    for origin in (f"{on_directory.url}/health", plain_server.origin):
        page.goto(origin)
        assert 200 == page.evaluate(SHOW, [url, ""])


def test_the_traps_work(watch: Watch) -> None:
    """Served with the type that they want, and without our headers, each of them runs."""
    server = watch.server
    server.pages["/style.xsl"] = ("text/xsl", STYLESHEET.encode())
    for trap in TRAPS:
        content = trap.content(watch.report, "/style.xsl")
        server.pages[f"/{trap.name}"] = (trap.runs_as, content)
    urls = [f"{server.origin}/{trap.name}" for trap in TRAPS]
    names = {trap.name for trap in TRAPS}
    scripts = {trap.name for trap in TRAPS if "javascript" in trap.runs_as}
    watch.open_each(urls)
    watch.wait_for(lambda: names - scripts == watch.ran())
    watch.forget()
    watch.embed(server.origin, urls)
    watch.wait_for(lambda: names == watch.ran() == watch.reported())


def test_no_script_runs_from_the_service(watch: Watch, on_directory: Served) -> None:
    """Opened, or put into a page of the same or of another site.

    Over other kinds of storage it answers the same, as `attach/web/hostile` sees.
    """
    urls = uploaded(on_directory, watch.report)
    watch.open_each(urls)
    assert set() == watch.ran()
    for host in (f"{on_directory.url}/health", watch.server.origin):
        watch.embed(host, urls)
        assert (host, set()) == (host, watch.ran())


@pytest.mark.parametrize("shown", ["attachment", "inline"])
def test_no_script_runs_by_a_download_link(
    watch: Watch, on_s3: Served, s3_storage: S3Storage, shown: str
) -> None:
    """Nor straight from the S3 server, which sends none of our headers.

    A page that loads a script from there trusts it, and no link can keep it from that.
    """
    handles = uploaded(on_s3, watch.report).values()
    links = [s3_storage.download_link(handle, inline=shown == "inline") for handle in handles]
    urls = [link.url for link in links]
    watch.open_each(urls)
    assert set() == watch.ran()
    for host in (f"{on_s3.url}/health", watch.server.origin):
        watch.embed(host, urls, EMBEDDED)
        assert (host, set()) == (host, watch.ran())
