"""Users with the demo page: tabs of Chromium that upload by its Uppy, and download by its links."""

from __future__ import annotations

import asyncio
import hashlib
import os
import random
import shutil
import tempfile
import threading
import time
from importlib.util import find_spec
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from clients import SIZES, Load, Outcome

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Sequence

    from playwright.async_api import Page, Request, Response

    from processes import Deployment

__all__ = ["Tabs", "missing_browser"]

CHROMIUM = next(filter(None, map(shutil.which, ("chromium-headless-shell", "chromium"))), None)
LARGE = 20_000_000
"""More than the page sends in one request: Uppy sends it in parts."""
LARGE_SHARE = 0.05
AT_ONCE = 3
"""How many files a user chooses at a time."""
LONGEST_SECONDS = 120
PAUSE_SECONDS = 0.1
UNAUTHORIZED, ERRORS = 401, 400

LISTED = """
() => [...document.querySelectorAll('#stored .actions a[download]')]
  .map((link) => [link.download, link.getAttribute('href')])
"""
RETRY = """
() => [...document.querySelectorAll('#uploads .failed')].map((row) => {
  row.querySelector('button[title=Retry]').click()
  return row.querySelector('.detail').textContent
})
"""
"""Retry the uploads that the page has given up; return its reasons."""
PRESS = """
(name) => {
  const link = document.querySelector(`#stored .actions a[download="${name}"]`)
  link?.click()
  return Boolean(link)
}
"""
"""Press the link of a file: the list moves while others upload, and a pointer might miss it."""
SAID = "() => document.querySelector('#stored .link')?.textContent ?? ''"


def missing_browser() -> list[str]:
    """Return what this machine lacks of Chromium and the package that drives it."""
    needed = {"chromium-headless-shell": CHROMIUM, "playwright (pip)": find_spec("playwright")}
    return [name for name, found in needed.items() if found is None]


class Tabs(Load):
    """Tabs that upload and download in a ``with`` block; what the page lists is acknowledged.

    An outcome is a file, or a request that failed, which the page may have repeated by itself.
    """

    def __init__(self, deployment: Deployment, *, uploaders: int = 2, downloaders: int = 2) -> None:
        super().__init__(deployment, uploaders=0, downloaders=0)
        self._acts: Sequence[Callable[[Page], Coroutine[Any, Any, None]]]
        self._acts = [self._upload_files] * uploaders + [self._download_file] * downloaders
        self._numbers = count(1)
        self._directory = Path()
        self._failures: list[BaseException] = []
        self._threads = [threading.Thread(target=self._run)]

    def __exit__(self, *given: object) -> None:
        super().__exit__(*given)
        for failure in self._failures:
            raise failure

    def _run(self) -> None:
        try:
            asyncio.run(self._drive())
        except BaseException as failure:  # noqa: BLE001 - raised again in the caller's thread
            self._failures.append(failure)

    async def _drive(self) -> None:
        from playwright.async_api import async_playwright

        options = ["--disable-gpu", *["--no-sandbox"] * (os.geteuid() == 0)]
        deployment = self.deployment
        login: Any = {"username": deployment.user, "password": deployment.password}
        with tempfile.TemporaryDirectory(prefix="rex-tabs-") as directory:
            self._directory = Path(directory)
            async with async_playwright() as playwright:
                browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=options)
                context = await browser.new_context(
                    ignore_https_errors=True, http_credentials=login
                )
                await asyncio.gather(
                    *[self._live(await context.new_page(), act) for act in self._acts]
                )
                await browser.close()

    async def _live(self, page: Page, act: Callable[[Page], Coroutine[Any, Any, None]]) -> None:
        """Repeat what the user of a tab does, until the end of the block."""
        page.on("response", self._note_response)
        page.on("requestfailed", self._note_failure)
        await page.goto(self.deployment.page_url)
        while not self._ended.is_set():
            await act(page)

    async def _upload_files(self, page: Page) -> None:
        """Choose files, and wait until the list has them; press Retry where the page offers it."""
        began = time.monotonic()
        digests, paths = {}, {}
        for _ in range(AT_ONCE):
            size = LARGE if random.random() < LARGE_SHARE else random.choice(SIZES)
            content = random.randbytes(size)
            path = self._directory / f"{next(self._numbers)}.bin"
            path.write_bytes(content)
            digests[path.name], paths[path.name] = hashlib.sha256(content).hexdigest(), path
        await page.set_input_files("#files", [*paths.values()])
        while paths:
            for name, handle in (await _listed(page)).items():
                if name in paths:
                    paths.pop(name).unlink()
                    self.digests[handle] = digests[name]
                    self._note("upload", began)
            for reason in await page.evaluate(RETRY):
                self._note("upload", began, reason)
            if time.monotonic() > began + LONGEST_SECONDS:
                for name in paths:
                    self._note("upload", began, f"{name} is not listed")
                return
            await asyncio.sleep(PAUSE_SECONDS)

    async def _download_file(self, page: Page) -> None:
        """Download a file of the list by its link, and compare the bytes."""
        from playwright.async_api import Error

        known = {n: h for n, h in (await _listed(page)).items() if h in self.digests}
        if not known:
            await asyncio.sleep(PAUSE_SECONDS)
            return
        began = time.monotonic()
        name, handle = random.choice([*known.items()])
        try:
            digest = await self._digest_of_download(page, name)
        except _NotListedError:
            return  # newer files have taken its place
        except (OSError, Error) as failure:
            self._note("download", began, str(failure))
            await page.goto(self.deployment.page_url)  # the browser may show an error of the server
        else:
            self._note("download", began)
            if digest != self.digests[handle]:
                self.wrong.append(handle)

    async def _digest_of_download(self, page: Page, name: str) -> str:
        """Press the link of a file; return the digest of what arrives.

        Errors: `OSError`; `_NotListedError`.
        """
        wait = page.wait_for_event("download", timeout=LONGEST_SECONDS * 1000)
        arriving = asyncio.ensure_future(wait)
        try:
            if not await page.evaluate(PRESS, name):
                raise _NotListedError
            while not arriving.done():
                if said := await page.evaluate(SAID):
                    raise OSError(said)
                if page.url != self.deployment.page_url:
                    raise OSError(f"the browser shows {await page.title()!r}")
                await asyncio.sleep(PAUSE_SECONDS)
            download = arriving.result()
        finally:
            arriving.cancel()
        with open(await download.path(), "rb") as file:  # noqa: ASYNC230, PTH123 - small
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        await download.delete()
        return digest

    def _note(self, operation: str, began: float, error: str = "") -> None:
        line = error.partition("\n")[0]
        self.outcomes.append(Outcome(operation, began, time.monotonic(), line))

    def _note_response(self, response: Response) -> None:
        if response.status >= ERRORS and response.status != UNAUTHORIZED:  # before the login
            self._note_request(response.request, str(response.status))

    def _note_failure(self, request: Request) -> None:
        if request.failure != "net::ERR_ABORTED":  # a navigation that became a download
            self._note_request(request, str(request.failure))

    def _note_request(self, request: Request, error: str) -> None:
        host = urlsplit(request.url).hostname
        self._note("request", time.monotonic(), f"{error} {request.method} {host}")


class _NotListedError(Exception):
    """The list does not show a file any more."""


async def _listed(page: Page) -> dict[str, str]:
    """Return the handles of the files in the list of the page, by name."""
    listed: list[tuple[str, str]] = await page.evaluate(LISTED)
    return {name: unquote(href).removeprefix("/attach") for name, href in listed}
