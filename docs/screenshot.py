"""Make docs/screenshot.png, the picture in the README: ``make screenshot``.

The demo is served over a throwaway S3 server; an upload is held in the middle.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from playwright.sync_api import expect, sync_playwright

from browser.media import pdf, png, wav
from browser.page import BUCKET, Visit, demo_on_s3
from browser.rig import launch
from rex.attach_demo.seaweedfs import SeaweedFS

MIB = 1024 * 1024
SHOWN = 0.3
"""How far the upload in the picture is."""
SCREENSHOT = Path(__file__).with_name("screenshot.png")


def main() -> None:
    """Store some files, upload others, and take the picture."""
    with tempfile.TemporaryDirectory() as directory, SeaweedFS() as server:
        server.create_bucket(BUCKET)
        with demo_on_s3(Path(directory), server, "screenshot") as demo, sync_playwright() as driver:
            for name, content in {
                "consent form.pdf": pdf("Consent"),
                "interview.wav": wav(30),
                "scan 0141.png": png(256, 256),
                "scan 0142.png": png(200, 300, noise=3),
                "protocol.txt": b"Minutes of the meeting\n" * 60,
            }.items():
                demo.add((name, content))
            uploads = []
            for name, size in {"film.mov": 150 * MIB, "recording.flac": 24 * MIB}.items():
                uploads.append(Path(directory, name))
                uploads[-1].write_bytes(bytes(size))
            chromium = launch(driver)
            page = chromium.new_page(viewport={"width": 1000, "height": 900})
            visit = Visit(page, demo)
            visit.open()
            expect(visit.page.locator("#stored canvas")).to_have_count(2)
            demo.relay.hold_after(90 * MIB)
            visit.add(*uploads)
            demo.relay.wait_until_held()
            visit.until(lambda: visit.progress() > SHOWN)
            page.screenshot(path=SCREENSHOT)


if __name__ == "__main__":
    main()
