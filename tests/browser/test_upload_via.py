"""Chromium sees of an upload what `upload_via` says that a page sees."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from attach.testing.page_cases import CASES, DATA, Case, Recording

if TYPE_CHECKING:
    from playwright.sync_api import Page

    from browser.rig import PlainServer

pytestmark = pytest.mark.long

UPLOAD = """
([link, data]) => new Promise((resolve) => {
  const request = new XMLHttpRequest()
  request.upload.onprogress = () => {}
  request.onerror = () => resolve(null)
  request.onload = () => resolve([request.status, request.getAllResponseHeaders()])
  request.open(link.method, link.url)
  for (const [name, value] of Object.entries(link.headers)) request.setRequestHeader(name, value)
  let body = new Blob([data])
  if (link.method === "POST") {
    const form = new FormData()
    for (const [name, value] of Object.entries(link.fields)) form.append(name, value)
    form.append("file", body, "file")
    body = form
  }
  request.send(body)
})
"""


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_page_sees_what_the_server_allows(
    page: Page, plain_server: PlainServer, case: Case
) -> None:
    """The cases are those of `upload_via`, and so are the requests."""
    page.goto(plain_server.origin)
    with Recording(case, plain_server.origin).running() as server:
        seen: Any = page.evaluate(UPLOAD, [server.link.as_dict(), DATA.decode()])
    if case.readable is None:
        assert seen is None
    else:
        status, headers = seen
        assert case.upload.status == status
        assert case.readable == {line.partition(":")[0] for line in headers.splitlines()}
    assert ["OPTIONS", *([case.link[0]] if case.is_sent else [])] == server.methods
