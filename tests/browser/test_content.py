"""What people upload runs no script, however a browser is made to open it."""

from __future__ import annotations

from contextlib import suppress
from html import escape
from typing import TYPE_CHECKING

import httpx
import pytest
from playwright.sync_api import Error as BrowserError

from browser.traps import STYLESHEET, TRAPS

if TYPE_CHECKING:
    from collections.abc import Iterable

    from playwright.sync_api import Page

    from browser.rig import PlainServer
    from rex.attach.storages.s3 import S3Storage
    from served import Served

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
        return said | set(self.server.ran)

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


def uploaded(service: Served, server: PlainServer) -> dict[str, str]:
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
            content = trap.content(f"{server.origin}/ran/", style)
            for declared in trap.declared:
                upload(trap.name, declared, content)
    return found


def test_the_traps_work(watch: Watch) -> None:
    """Served with the type that they want, and without our headers, each of them runs."""
    server = watch.server
    server.pages["/style.xsl"] = ("text/xsl", STYLESHEET.encode())
    for trap in TRAPS:
        content = trap.content(f"{server.origin}/ran/", "/style.xsl")
        server.pages[f"/{trap.name}"] = (trap.runs_as, content)
    urls = [f"{server.origin}/{trap.name}" for trap in TRAPS]
    names = {trap.name for trap in TRAPS}
    scripts = {trap.name for trap in TRAPS if "javascript" in trap.runs_as}
    watch.open_each(urls)
    assert names - scripts == watch.ran()
    watch.forget()
    watch.embed(server.origin, urls)
    assert names == watch.ran()
    assert names == set(server.ran)


def test_no_script_runs_from_the_service(watch: Watch, on_directory: Served) -> None:
    """Opened, or put into a page of the same or of another site.

    Over other kinds of storage it answers the same, as `attach/web/hostile` sees.
    """
    urls = uploaded(on_directory, watch.server)
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
    handles = uploaded(on_s3, watch.server).values()
    links = [s3_storage.download_link(handle, inline=shown == "inline") for handle in handles]
    urls = [link.url for link in links]
    watch.open_each(urls)
    assert set() == watch.ran()
    for host in (f"{on_s3.url}/health", watch.server.origin):
        watch.embed(host, urls, EMBEDDED)
        assert (host, set()) == (host, watch.ran())
