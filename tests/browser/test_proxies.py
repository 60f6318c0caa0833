"""Pages of the service behind nginx and Caddy, in a browser that sees an ordinary host name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from playwright.sync_api import sync_playwright

from browser.page import go_through_the_demo
from browser.rig import launch
from proxies import HERE, LEFT_OUT, NAME, Deployment, deployed
from served import HOST

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from playwright.sync_api import Browser

__all__ = ["LEFT_OUT"]

pytestmark = pytest.mark.long

MIB = 1024 * 1024
LARGE = 200 * MIB
DIFFERENT = ("nginx", "nginx alone", "caddy")
"""The others differ from these in paths and sockets only, which `tuspy` goes through in CI, too."""

UPLOAD = """
async ([service, size, hasLinks]) => {
  const say = async (answer) => {
    if (!answer.ok) throw new Error(`${answer.status} ${await answer.text()}`)
    return answer
  }
  const form = new FormData()
  form.append('file', new Blob(['content']), 'small.txt')
  const formed = await (await say(await fetch(service, { method: 'POST', body: form }))).json()
  const url = formed.attachments[0].url
  const link = hasLinks && (await (await say(await fetch(`${url}?link`))).json()).url
  const content = await (await say(await fetch(link || url))).text()

  const body = new Blob([new Uint8Array(size)])
  const large = await say(await fetch(`${service}?name=large.bin`, { method: 'POST', body }))
  const stored = (await (await say(await fetch(large.headers.get('Location')))).blob()).size

  const tus = { 'Tus-Resumable': '1.0.0' }
  const create = { method: 'POST', headers: { ...tus, 'Upload-Length': size } }
  const upload = (await say(await fetch(`${service}tus/`, create))).headers.get('Location')
  const type = 'application/offset+octet-stream'
  const headers = { ...tus, 'Content-Type': type, 'Upload-Offset': 0 }
  const patched = await say(await fetch(upload, { method: 'PATCH', headers, body }))
  const attachment = patched.headers.get('Content-Location')
  const resumed = (await (await say(await fetch(attachment))).blob()).size

  const removed = await fetch(url, { method: 'DELETE' })
  return { isSecureContext, content, stored, resumed, removed: removed.status }
}
"""
"""Upload a small form, and 200 MiB as a body and by tus; fetch each by the address given."""

REFUSED = """
async (service) => {
  const answer = await fetch(`${service}?name=a`, { method: 'POST', body: 'x' })
  return [answer.status, (await answer.json()).detail]
}
"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Run Chromium, to which a host name is this machine, but not a trustworthy one."""
    with sync_playwright() as playwright:
        yield launch(playwright, f"--host-resolver-rules=MAP {NAME} {HOST}")


def on_page(browser: Browser, deployment: Deployment, script: str, given: Any) -> Any:
    """Run a script in a page of the service."""
    with browser.new_context(ignore_https_errors=True) as context:
        page = context.new_page()
        page.goto(f"{deployment.url}/openapi.json")
        return page.evaluate(script, given)


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=[] if name in DIFFERENT else pytest.mark.again) for name in HERE],
)
def test_a_page_uploads_and_downloads(
    browser: Browser, name: str, tmp_path: Path, report_figure: Callable[[str], None]
) -> None:
    """Over plain HTTP, the browser does not say that the page is of the same site."""
    with deployed(name, tmp_path) as deployment:
        has_links = deployment.setup.has_url or deployment.setup.has_path
        done = on_page(browser, deployment, UPLOAD, [f"{deployment.url}/", LARGE, has_links])
        written = deployment.written()
        if not deployment.setup.has_url:
            assert [] == deployment.spooled()
            assert written < MIB
        report_figure(
            f"Chromium, {name}: 2 x 200 MiB in and out, {written / MIB:.1f} MiB on the proxy's disk"
        )
    assert {
        "isSecureContext": deployment.setup.has_tls,
        "content": "content",
        "stored": LARGE,
        "resumed": LARGE,
        "removed": 204,
    } == done


@pytest.mark.parametrize("name", [name for name in HERE if name in ("nginx", "nginx prefix")])
def test_the_demo_page_is_beside_the_service(browser: Browser, name: str, tmp_path: Path) -> None:
    """Below a path as well, over TLS: a file is uploaded, listed, downloaded and removed."""
    (tmp_path / "rex.toml").write_text('packages = ["rex.attach_demo"]\n')
    file = tmp_path / "scan ü.bin"
    file.write_bytes(bytes(range(256)) * 8192)
    changes = {"location /attach/": "location /"}
    with (
        deployed(name, tmp_path, changes) as deployment,
        browser.new_context(ignore_https_errors=True) as context,
    ):
        go_through_the_demo(context, f"{deployment.origin}{deployment.setup.prefix}", file)
        assert [] == deployment.spooled()


@pytest.mark.parametrize("name", [name for name in HERE if name == "nginx alone"])
def test_a_page_behind_proxy_pass_alone_reads_what_to_set(
    browser: Browser, name: str, tmp_path: Path
) -> None:
    """Without attach_url, every upload over plain HTTP is refused."""
    with deployed(name, tmp_path, attach_url="") as deployment:
        assert deployment.served is not None
        service = f"http://{HOST}:{deployment.served.port}"
        told = (
            f"Cross-origin request refused:\n    the page is from {deployment.origin}, the service "
            f"is {service}; allow {deployment.origin} with attach_origins; if it is the service, "
            f"behind a proxy, set attach_url to {deployment.url} or let the proxy send Host"
        )
        assert [403, told] == on_page(browser, deployment, REFUSED, f"{deployment.url}/")
