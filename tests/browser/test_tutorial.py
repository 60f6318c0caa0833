"""The page of the tutorial that uploads straight to S3, as its reader sees it in Chromium."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlsplit
from uuid import uuid4

from playwright.sync_api import expect

from served import HOST, reserved_port
from tutorial import Reader

if TYPE_CHECKING:
    from pathlib import Path

    from playwright.sync_api import Page

    from rex.attach.testing import SeaweedFS


def test_a_file_goes_straight_to_s3_and_appears_in_the_list(
    page: Page, tmp_path: Path, seaweedfs: SeaweedFS
) -> None:
    """The bytes are in a PUT request to the S3 server; the link in the list leads to them."""
    puts: list[str] = []
    page.on("request", lambda request: puts.extend([request.url] * (request.method == "PUT")))
    settings = {**seaweedfs.settings(), "attach_s3_prefix": uuid4()}
    with reserved_port() as port, Reader(tmp_path, port, settings) as reader:
        reader.read("straight-to-s3.md")
        page.goto(f"http://{HOST}:{port}/")
        page.get_by_label("Upload").set_input_files(
            {"name": "report.txt", "mimeType": "text/plain", "buffer": b"All is well."}
        )
        shown = page.get_by_role("link", name="report.txt")
        expect(shown).to_be_visible()
        shown.click()
        expect(page.get_by_text("All is well.")).to_be_visible()
    assert [seaweedfs.endpoint] == ["{0.scheme}://{0.netloc}".format(urlsplit(put)) for put in puts]
