"""The list of the page of the demo: previews, links, removal, search, on both kinds of storage."""

from __future__ import annotations

import http.client
import re
from typing import TYPE_CHECKING

import pytest
import requests
from playwright.sync_api import expect

from browser.media import frames, pdf, png, wav, webm
from browser.page import DROP, READER, Visit, demo_on_directory, demo_on_s3
from browser.rig import CHROMIUM

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from playwright.sync_api import Browser, Locator, Page

    from browser.page import Demo
    from rex.attach_demo.seaweedfs import SeaweedFS

pytestmark = pytest.mark.long

PROGRAM = CHROMIUM  # which has a reader of PDF

SECONDS = 16
"""The length of the video, in frames as well."""

SEEK = """
(video) => new Promise((resolve, reject) => {
  video.onerror = () => reject(video.error)
  video.onseeked = () => resolve([video.currentTime, video.videoWidth])
  video.currentTime = video.duration - 2
})
"""


@pytest.fixture(scope="module")
def film(browser: Browser) -> bytes:
    """Make a video, of frames that the browser draws."""
    with browser.new_page() as page:
        return webm(frames(page, SECONDS), 1280, 720)


@pytest.fixture
def shown(visit: Visit) -> Iterator[Locator]:
    """Yield the content of the preview; check afterwards that the preview closes."""
    yield visit.page.locator("#preview-content")
    if visit.page.locator("#preview").is_visible():
        visit.page.keyboard.press("Escape")
    expect(visit.page.locator("#preview")).to_be_hidden()
    expect(visit.page.locator("#preview-content > *")).to_have_count(0)


def stored(visit: Visit, **files: bytes) -> None:
    """Store files, and load the page anew."""
    for name, content in files.items():
        visit.demo.storage.add(name.replace("__", "."), content)
    visit.open()


def look(visit: Visit, name: str) -> None:
    """Open the preview of a file."""
    visit.page.get_by_role("button", name=name, exact=True).click()


# Previews.


def test_images_have_thumbnails_and_previews(visit: Visit, shown: Locator) -> None:
    """Made in the browser; what only says that it is an image has none."""
    stored(visit, good__png=png(200, 100), bad__png=b"no image")
    expect(visit.row("good.png").locator("canvas")).to_be_visible()
    look(visit, "good.png")
    image = shown.locator("img")
    expect(image).to_have_js_property("naturalWidth", 200)
    visit.page.keyboard.press("Escape")
    look(visit, "bad.png")
    expect(shown).to_have_text("Your browser cannot show this file.")
    expect(visit.row("bad.png").locator(".thumb")).to_have_text("png")
    expect(visit.row("bad.png").locator("canvas")).to_have_count(0)


def test_texts_are_shown_as_texts(visit: Visit, shown: Locator) -> None:
    """Also those that would be markup; of a large one, the beginning."""
    stored(visit, a__md=b"# <b>bold</b> <script>document.title = 'ran'</script>\n" + b"x" * 200_000)
    look(visit, "a.md")
    expect(shown.locator("pre")).to_contain_text("# <b>bold</b> <script>")
    expect(shown.locator("pre")).to_contain_text("… 100 kB more")
    expect(shown.locator("pre *")).to_have_count(0)
    expect(visit.page).to_have_title("Attachments")


def test_a_pdf_is_shown(visit: Visit, shown: Locator) -> None:
    """By the browser's own reader, within the page."""
    stored(visit, report__pdf=pdf("Hello"))
    look(visit, "report.pdf")
    expect(shown.locator("iframe")).to_be_visible()
    visit.until(lambda: any(frame.url.startswith(READER) for frame in visit.page.frames))


def test_sound_is_played(visit: Visit, shown: Locator) -> None:
    """Its length is known."""
    stored(visit, memo__wav=wav(3))
    look(visit, "memo.wav")
    expect(shown.locator("audio")).to_have_js_property("duration", 3)


def test_a_video_can_be_sought_in(visit: Visit, shown: Locator, film: bytes) -> None:
    """The browser asks for the part that it needs, by range."""
    stored(visit, film__webm=film)
    look(visit, "film.webm")
    video = shown.locator("video")
    expect(video).to_have_js_property("duration", SECONDS)
    position, width = video.evaluate(SEEK)
    assert (SECONDS - 2, 1280) == (position, width)
    ranges = [request.headers.get("range", "") for request in visit.requests]
    starts = [int(found[1]) for asked in ranges if (found := re.match(r"bytes=(\d+)-", asked))]
    assert max(starts) > len(film) / 2


def test_what_cannot_be_shown_is_said(visit: Visit, shown: Locator) -> None:
    """Among it what could run as a script."""
    stored(visit, a__svg=b"<svg xmlns='http://www.w3.org/2000/svg' onload='alert(1)'/>")
    look(visit, "a.svg")
    expect(shown).to_contain_text("No preview for files of type image/svg+xml.")


def test_a_file_that_is_gone_is_said(visit: Visit, shown: Locator) -> None:
    """Somebody else has removed it meanwhile."""
    visit.may_fail = True
    stored(visit, a__txt=b"text")
    visit.demo.clear()
    look(visit, "a.txt")
    expect(shown).to_contain_text("404")


# Links.


def test_a_link_is_copied_and_works_for_somebody_else(
    visit: Visit, browser: Browser, demo: Demo
) -> None:
    """The page says until when; whoever has it needs nothing else."""
    visit.page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    stored(visit, a__txt=b"for you")
    visit.button("Copy link", "a.txt").click()
    box = visit.row("a.txt").locator(".link")
    expect(box).to_contain_text(re.compile(r"Link copied\. .* until .*, in 60 min\."))
    link = visit.page.evaluate("navigator.clipboard.readText()")
    assert link == visit.page.get_by_label("Link to a.txt").input_value()
    assert link.startswith(demo.relay.url)
    with browser.new_context() as fresh:
        page = fresh.new_page()
        with page.expect_download() as begun:
            page.evaluate("link => { location = link }", link)
        assert b"for you" == begun.value.path().read_bytes()
        assert "a.txt" == begun.value.suggested_filename


@pytest.mark.parametrize("kind", ["directory", "s3"])
def test_an_expired_link_is_refused(
    kind: str, page: Page, seaweedfs: SeaweedFS, tmp_path: Path, demos: dict[str, Demo]
) -> None:
    """The server says so; nothing is told of the file."""
    assert kind in demos  # whose bucket it uses
    served = (
        demo_on_directory(tmp_path, attach_link_expires=1)
        if kind == "directory"
        else demo_on_s3(tmp_path, seaweedfs, "expiring", attach_link_expires=1)
    )
    with served as demo:
        visit = Visit(page, demo)
        stored(visit, a__txt=b"secret")
        visit.button("Copy link", "a.txt").click()
        expect(visit.row("a.txt").locator(".link")).to_contain_text("in less than a minute")
        link = page.get_by_label("Link to a.txt").input_value()

        def is_refused() -> bool:
            return requests.get(link, timeout=10).status_code == http.client.FORBIDDEN

        visit.until(is_refused)
        assert b"secret" not in requests.get(link, timeout=10).content
        demo.clear()


# The list.


def test_a_file_is_removed_when_that_is_confirmed(visit: Visit) -> None:
    """And the focus stays in the list."""
    stored(visit, a__txt=b"a", b__txt=b"b")
    visit.button("Remove", "a.txt").click()
    expect(visit.page.locator("#confirm-text")).to_have_text("Permanently remove a.txt?")
    visit.page.get_by_role("button", name="Keep").click()
    assert ["a.txt", "b.txt"] == visit.demo.names()
    visit.button("Remove", "a.txt").click()
    visit.page.keyboard.press("Escape")
    assert ["a.txt", "b.txt"] == visit.demo.names()
    visit.button("Remove", "a.txt").click()
    visit.page.get_by_role("button", name="Remove", exact=True).click()
    visit.expect_stored("b.txt")
    expect(visit.page.get_by_role("button", name="b.txt", exact=True)).to_be_focused()


def test_files_are_opened_in_a_page_of_their_own(visit: Visit) -> None:
    """Where they can carry no script."""
    stored(visit, a__txt=b"the text")
    with visit.page.context.expect_page() as opened:
        visit.button("Open", "a.txt").click()
    expect(opened.value.locator("pre")).to_have_text("the text")


def test_files_are_found_by_name_and_page_by_page(visit: Visit) -> None:
    """Newest first."""
    for number in range(60):
        visit.demo.storage.add(f"scan {number:02}.txt", b"")
    visit.demo.storage.add("Größe.txt", b"")
    visit.open()
    expect(visit.stored).to_have_count(50)
    expect(visit.page.locator("#count")).to_have_text("50 of 61 files")
    times = visit.page.locator("#stored time").evaluate_all("all => all.map(one => one.dateTime)")
    assert sorted(times, reverse=True) == times
    visit.demo.storage.add("by somebody else.txt", b"")
    visit.page.get_by_role("button", name="Show more").click()
    expect(visit.stored).to_have_count(62)
    expect(visit.page.locator("#more")).to_be_hidden()
    visit.page.evaluate(DROP, ["new.txt"])
    expect(visit.stored).to_have_count(63)
    expect(visit.page.locator("#count")).to_have_text("63 files")
    expect(visit.page.locator("#stored > .new .name")).to_have_text(["new.txt"])
    search = visit.page.get_by_label("Search by name")
    search.fill("GRÖ")
    expect(visit.stored).to_have_count(1)
    search.fill("scan 1")
    expect(visit.page.locator("#count")).to_have_text("10 files")
    search.fill("nowhere")
    expect(visit.page.locator("#empty")).to_have_text("No file name contains “nowhere”.")
    search.fill("")
    expect(visit.page.locator("#count")).to_have_text("50 of 63 files")
    expect(visit.page.locator("#stored > .new .name")).to_have_text(["new.txt"])


def test_an_empty_list_says_what_to_do(visit: Visit) -> None:
    """There is nothing to search in."""
    expect(visit.page.locator("#empty")).to_contain_text("No files yet.")
    expect(visit.page.get_by_label("Search by name")).to_be_hidden()


def test_a_list_that_cannot_be_had_is_asked_for_again(visit: Visit) -> None:
    """It is said what is wrong, and a click tries again."""
    visit.may_fail = True
    visit.page.route("**/attach_demo/files*", lambda route: route.abort())
    visit.page.reload()
    failure = visit.page.get_by_role("alert")
    expect(failure).to_contain_text("Cannot reach the application.")
    visit.page.unroute("**/attach_demo/files*")
    stored_names = visit.page.get_by_role("button", name="Try again")
    stored_names.click()
    expect(visit.page.locator("#empty")).to_be_visible()
    expect(failure).to_be_hidden()


def test_names_are_only_text(visit: Visit, tmp_path: Path) -> None:
    """Those that the storage keeps, and those that the user's own machine has."""
    kept = "' onerror='document.title=1' &lt;b&gt;.png"
    visit.demo.storage.add(kept, png(8, 8))
    visit.open()
    expect(visit.page.locator("#stored .name")).to_have_text([kept])
    look(visit, kept)
    expect(visit.page.locator("#preview-name")).to_have_text(kept)
    expect(visit.page.locator("#preview-content img")).to_have_js_property("naturalWidth", 8)
    visit.page.keyboard.press("Escape")
    visit.button("Remove", kept).click()
    expect(visit.page.locator("#confirm-text")).to_contain_text(kept)
    visit.page.keyboard.press("Escape")
    own = "<img src=x onerror=document.title=2>.bin"
    (tmp_path / own).write_bytes(bytes(40_000_000))
    visit.demo.relay.hold_after(2_000_000)
    visit.add(tmp_path / own)
    visit.demo.relay.wait_until_held()
    expect(visit.page.locator("#uploads .name")).to_have_text([own])
    expect(visit.page.locator("#traffic .name")).to_have_text([own])
    visit.demo.relay.release()
    expect(visit.stored).to_have_count(2)
    expect(visit.page.locator("main img")).to_have_count(0)
    expect(visit.page).to_have_title("Attachments")


def test_without_script_a_form_uploads(browser: Browser, demo: Demo, tmp_path: Path) -> None:
    """And says what was stored; the chosen file can be seen before."""
    (tmp_path / "a & b.txt").write_text("plain")
    with browser.new_context(java_script_enabled=False) as context:
        page = context.new_page()
        page.goto(demo.url)
        expect(page.locator("#limit")).to_have_text("No size limit.")
        field = page.locator("#files").bounding_box()
        assert field is not None
        assert field["width"] > 100
        page.set_input_files("#files", tmp_path / "a & b.txt")
        page.get_by_role("button", name="Upload").click()
        expect(page.get_by_role("link", name="a & b.txt")).to_be_visible()
        page.get_by_role("link", name="Upload more").click()
        expect(page.locator("#files")).to_be_visible()
        assert demo.url == page.url
    assert ["a & b.txt"] == demo.names()
