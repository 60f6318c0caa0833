"""Uploads of the page whose responses are lost, as when a gateway of the S3 server dies."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import expect

from browser.page import Visit
from programs import PATIENCE

if TYPE_CHECKING:
    from pathlib import Path

    from playwright.sync_api import Page, Response, Route

    from browser.page import Demo

pytestmark = pytest.mark.long


def test_an_upload_whose_response_was_lost_is_listed(
    page: Page, demos: dict[str, Demo], tmp_path: Path
) -> None:
    """Uppy repeats it by the same link, which works once: it is refused (412), and stored."""
    file = tmp_path / "a.txt"
    file.write_bytes(b"content")
    visit = Visit(page, demos["s3"])
    visit.may_fail = True
    statuses: list[int] = []

    def note(response: Response) -> None:
        """Note what the server says to an upload."""
        if response.request.method == "PUT":
            statuses.append(response.status)

    def lose(route: Route) -> None:
        """Send the file to the server, and abort the request when its response arrives."""
        statuses.append(route.fetch(timeout=1000 * PATIENCE).status)
        route.abort("connectionreset")

    visit.open()
    page.on("response", note)
    page.route(f"{visit.demo.relay.url}/**", lose, times=1)
    visit.add(file)
    expect(visit.row("a.txt")).to_have_count(1)
    expect(visit.uploading).to_be_hidden()
    assert [200, 412] == statuses
    assert ["a.txt"] == visit.demo.names()
    visit.demo.clear()
