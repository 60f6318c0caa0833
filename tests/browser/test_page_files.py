"""The list of the page of the demo: previews, links, removal, search, on both kinds of storage."""

from __future__ import annotations

import http.client
import io
import re
import zipfile
from functools import partial
from typing import TYPE_CHECKING

import pytest
import requests
from playwright.sync_api import expect

from browser.media import frames, pdf, png, wav, webm
from browser.page import DROP, READER, Visit, demo_on_directory
from browser.rig import CHROMIUM
from programs import PATIENCE

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from playwright.sync_api import Browser, BrowserContext, Page

    from browser.page import Demo

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
    """Make a video of a frame that the browser draws."""
    with browser.new_page() as page:
        return webm(frames(page, 1) * SECONDS, 1280, 720)


@pytest.fixture
def plain(page: Page, demos: dict[str, Demo]) -> Iterator[Visit]:
    """Give a page, not opened yet, over a directory: for what does not depend on the storage."""
    yield from visiting(page, demos["directory"])
    demos["directory"].relay.release()
    demos["directory"].clear()


@pytest.fixture
def visit(page: Page, demo: Demo) -> Iterator[Visit]:
    """Give a page, not opened yet, over each kind of storage."""
    yield from visiting(page, demo)


def visiting(page: Page, demo: Demo) -> Iterator[Visit]:
    """See afterwards that the page said and asked for nothing that it should not."""
    visit = Visit(page, demo)
    yield visit
    assert [] == visit.strangers
    assert [] == visit.complaints


def stored(visit: Visit, **files: bytes) -> None:
    """Store files, and load the page."""
    visit.demo.add(*((name.replace("__", "."), content) for name, content in files.items()))
    visit.open()
    expect(visit.stored).to_have_count(len(files))


def starts(visit: Visit) -> list[int]:
    """Return where the ranges begin that the page has asked for; 0 stands for whole files."""
    ranges = [request.headers.get("range", "") for request in visit.requests]
    return [0, *(int(found[1]) for each in ranges if (found := re.match(r"bytes=(\d+)-", each)))]


def look(visit: Visit, name: str) -> None:
    """Open the preview of a file."""
    visit.page.get_by_role("button", name=name, exact=True).click()


# Previews.


def test_each_kind_of_file_has_its_preview(visit: Visit, film: bytes) -> None:
    """One after the other, by the arrow keys; markup is shown as text, and scripts not at all."""
    markup = b"# <b>bold</b> <script>document.title = 'ran'</script>\n" + b"x" * 200_000
    stored(
        visit,
        a__md=markup,
        bad__png=b"no image",
        film__webm=film,
        good__png=png(200, 100),
        memo__wav=wav(3),
        report__pdf=pdf("Hello"),
        script__svg=b"<svg xmlns='http://www.w3.org/2000/svg' onload='alert(1)'/>",
    )
    expect(visit.row("good.png").locator("canvas")).to_be_visible()
    expect(visit.row("bad.png").locator(".thumb")).to_have_text("png")
    expect(visit.row("bad.png").locator("canvas")).to_have_count(0)
    expect(visit.row("memo.wav").locator(".detail")).to_contain_text("24 kB · WAV audio · just now")
    visit.page.get_by_label("Sort").select_option("name")
    expect(visit.page.locator("#stored .name").first).to_have_text("a.md")
    shown, press = visit.page.locator("#preview-content"), visit.page.keyboard.press

    look(visit, "a.md")
    expect(visit.page.get_by_role("button", name="Previous file")).to_be_disabled()
    expect(shown.locator("pre")).to_contain_text("# <b>bold</b> <script>")
    expect(shown.locator("pre")).to_contain_text("… 100 kB more")
    expect(shown.locator("pre *")).to_have_count(0)
    expect(visit.page).to_have_title("Attachments")
    press("ArrowRight")
    expect(shown).to_have_text("Your browser cannot show this file.")
    press("ArrowRight")
    expect(shown.locator("video")).to_have_js_property("duration", SECONDS)
    position, width = shown.locator("video").evaluate(SEEK)
    assert (SECONDS - 2, 1280) == (position, width)
    visit.until(lambda: max(starts(visit)) > len(film) / 2)
    press("ArrowRight")
    expect(shown.locator("img")).to_have_js_property("naturalWidth", 200)
    visit.page.get_by_role("button", name="Next file").click()
    expect(shown.locator("audio")).to_have_js_property("duration", 3)
    press("ArrowRight")
    expect(shown.locator("iframe")).to_be_visible()
    visit.until(lambda: any(frame.url.startswith(READER) for frame in visit.page.frames))
    visit.page.get_by_role("button", name="Next file").click()
    expect(shown).to_contain_text("No preview for files of this kind (SVG image).")
    expect(visit.page.locator("#preview-close")).to_be_focused()  # there is no next file
    press("Escape")
    expect(visit.page.locator("#preview")).to_be_hidden()
    expect(shown.locator("*")).to_have_count(0)
    expect(visit.page.get_by_role("button", name="script.svg", exact=True)).to_be_focused()


def test_a_file_that_is_gone_is_said(visit: Visit) -> None:
    """Another program has removed it: no message has a handle, and the row goes."""
    visit.may_fail = True
    stored(visit, a__txt=b"a", b__png=png(8, 8), c__txt=b"c", d__txt=b"d")
    expect(visit.row("b.png").locator("canvas")).to_be_visible()
    for handle in visit.demo.storage:
        visit.demo.storage.remove(handle)
    gone = "This file has been removed meanwhile."
    for name in ("a.txt", "b.png"):
        look(visit, name)
        expect(visit.page.locator("#preview-content")).to_have_text(gone)
        visit.page.keyboard.press("Escape")
        expect(visit.row(name)).to_have_count(0)
    for verb, name in (("Copy link", "c.txt"), ("Download", "d.txt")):
        visit.button(verb, name).click()
        expect(visit.page.locator("#toast p")).to_have_text(gone)
        expect(visit.row(name)).to_have_count(0)
        visit.page.get_by_role("button", name="Dismiss").click()
    expect(visit.page.locator("#empty")).to_be_visible()


# Links and downloads.


def test_a_link_is_copied_and_works_for_somebody_else(visit: Visit, browser: Browser) -> None:
    """The page says until when; whoever has it needs nothing else."""
    visit.page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    stored(visit, a__txt=b"for you")
    visit.button("Copy link", "a.txt").click()
    box = visit.row("a.txt").locator(".link")
    expect(box).to_contain_text(re.compile(r"Link copied\. .* until .*, in (59|60) min\."))
    link = visit.page.evaluate("navigator.clipboard.readText()")
    assert link == visit.page.get_by_label("Link to a.txt").input_value()
    assert link.startswith(visit.demo.relay.url)
    with browser.new_context() as fresh:
        page = fresh.new_page()
        with page.expect_download() as begun:
            page.evaluate("link => { location = link }", link)
        assert b"for you" == begun.value.path().read_bytes()
        assert "a.txt" == begun.value.suggested_filename


def test_an_expired_link_is_refused(page: Page, tmp_path: Path) -> None:
    """The page says how soon; then nothing is told of the file."""
    with demo_on_directory(tmp_path, attach_link_expires=1) as demo:
        visit = Visit(page, demo)
        stored(visit, a__txt=b"secret")
        visit.button("Copy link", "a.txt").click()
        expect(visit.row("a.txt").locator(".link")).to_contain_text("in less than a minute")
        link = page.get_by_label("Link to a.txt").input_value()

        def is_refused() -> bool:
            return requests.get(link, timeout=PATIENCE).status_code == http.client.FORBIDDEN

        visit.until(is_refused)
        assert b"secret" not in requests.get(link, timeout=PATIENCE).content


def test_files_are_downloaded_alone_or_as_an_archive_and_opened(
    browser: Browser, demo: Demo
) -> None:
    """Also an image, which the browser would show; opened, a file can carry no script."""
    with browser.new_context() as context:
        visit = Visit(context.new_page(), demo)
        image = png(8, 8)
        stored(visit, a__txt=b"the text", b__png=image, c__txt=b"c")
        with visit.page.expect_download() as begun:
            visit.button("Download", "b.png").click()
        assert ("b.png", image) == (
            begun.value.suggested_filename,
            begun.value.path().read_bytes(),
        )
        look(visit, "b.png")
        with visit.page.expect_download() as begun:
            visit.page.get_by_role("link", name="Download", exact=True).click()
        assert image == begun.value.path().read_bytes()
        visit.page.keyboard.press("Escape")

        visit.choose("a.txt", "Select")
        expect(visit.button("Select", "a.txt")).to_be_focused()
        visit.button("Select", "b.png").check()
        expect(visit.page.locator("#selected")).to_have_text("2 selected")
        with visit.page.expect_download() as begun:
            visit.page.get_by_role("button", name="Download", exact=True).click()
        assert "files.zip" == begun.value.suggested_filename
        with zipfile.ZipFile(io.BytesIO(begun.value.path().read_bytes())) as archive:
            found = {name: archive.read(name) for name in archive.namelist()}
        assert {"a.txt": b"the text", "b.png": image} == found
        visit.page.keyboard.press("Escape")
        expect(visit.page.locator("#selection")).to_be_hidden()

        with context.expect_page() as opened:
            visit.choose("a.txt", "Open")
        expect(opened.value.locator("pre")).to_have_text("the text")
        assert [] == visit.strangers + visit.complaints


# Removal.


def test_a_removal_can_be_undone_and_is_asked_for_where_much_is_lost(visit: Visit) -> None:
    """The focus stays in the list."""
    stored(visit, a__txt=b"a", b__txt=b"b", c__txt=b"c", large__bin=bytes(10_000_001))
    page, everything = visit.page, ["a.txt", "b.txt", "c.txt", "large.bin"]
    remove = page.get_by_role("button", name="Remove", exact=True)
    toast = page.locator("#toast p")
    visit.choose("b.txt", "Remove")
    expect(toast).to_have_text("b.txt removed")
    expect(visit.row("b.txt")).to_have_count(0)
    expect(page.get_by_role("button", name="a.txt", exact=True)).to_be_focused()
    expect(page.locator("#count")).to_have_text("3 files")
    page.get_by_role("button", name="Undo").click()
    expect(visit.stored).to_have_count(4)
    for keep in (
        page.get_by_role("button", name="Keep").click,
        partial(page.keyboard.press, "Escape"),
    ):
        visit.choose("large.bin", "Remove")
        expect(page.locator("#confirm-text")).to_have_text("Permanently remove large.bin?")
        keep()
    assert everything == visit.demo.names()

    visit.choose("b.txt", "Remove")
    page.get_by_role("button", name="Dismiss").click()
    visit.until(lambda: visit.demo.names() == ["a.txt", "c.txt", "large.bin"])
    visit.button("Select", "a.txt").check()
    page.get_by_role("button", name="Select all").click()
    expect(page.locator("#selected")).to_have_text("3 selected")
    visit.button("Select", "a.txt").uncheck()
    page.get_by_role("group", name="Selected files").get_by_role("button", name="Remove").click()
    expect(page.locator("#confirm-text")).to_have_text("Permanently remove 2 files?")
    page.locator("#confirm").get_by_role("button", name="Remove").click()
    expect(toast).to_have_text("2 files removed")
    expect(visit.stored).to_have_count(1)
    page.goto("about:blank")  # a page that is closed removes what it said it had
    visit.until(lambda: visit.demo.names() == ["a.txt"])

    visit.open()
    look(visit, "a.txt")
    remove.click()
    expect(page.locator("#preview")).to_be_hidden()
    page.get_by_role("button", name="Dismiss").click()
    visit.until(lambda: visit.demo.names() == [])
    expect(page.locator("#empty")).to_be_visible()


def test_a_removal_that_fails_is_said(plain: Visit) -> None:
    """And the file is in the list again."""
    plain.may_fail = True
    stored(plain, a__txt=b"a")
    plain.page.route("**/attach_demo/files", lambda route: route.abort())
    plain.choose("a.txt", "Remove")
    plain.page.get_by_role("button", name="Dismiss").click()
    expect(plain.page.locator("#toast p")).to_have_text(
        "Not removed. Cannot reach the application."
    )
    expect(plain.row("a.txt")).to_be_visible()


# The list.


def test_files_are_found_by_name_and_page_by_page(plain: Visit) -> None:
    """Newest first, or in another order; a new one is marked, whatever is shown meanwhile."""
    visit, count = plain, plain.page.locator("#count")
    visit.demo.add(*((f"scan {number:02}.txt", b"") for number in range(60)), ("Größe.txt", b"1"))
    visit.open()
    expect(visit.stored).to_have_count(50)
    expect(count).to_have_text("50 of 61 files")
    times = visit.page.locator("#stored time").evaluate_all("all => all.map(one => one.dateTime)")
    assert sorted(times, reverse=True) == times
    visit.demo.add(("by somebody else.txt", b""))
    visit.page.get_by_role("button", name="Show more").click()
    expect(visit.stored).to_have_count(62)
    expect(visit.page.locator("#more")).to_be_hidden()
    visit.page.evaluate(DROP, ["new.txt"])
    expect(visit.stored).to_have_count(63)
    expect(count).to_have_text("63 files")
    expect(visit.page.locator("#stored > .new .name")).to_have_text(["new.txt"])
    search = visit.page.get_by_label("Search by name")
    search.fill("GRÖ")
    expect(visit.stored).to_have_count(1)
    search.fill("scan 1")
    expect(count).to_have_text("10 files")
    visit.page.get_by_label("Sort").select_option("-name")
    expect(visit.page.locator("#stored .name").first).to_have_text("scan 19.txt")
    search.fill("nowhere")
    expect(visit.page.locator("#empty")).to_have_text("No file name contains “nowhere”.")
    search.fill("")
    expect(count).to_have_text("50 of 63 files")
    visit.page.get_by_label("Sort").select_option("-date")
    expect(visit.page.locator("#stored > .new .badge")).to_have_text(["New"])


def test_other_tabs_follow(plain: Visit, context: BrowserContext) -> None:
    """Uploads and removals are announced; what another browser does is seen on return."""
    stored(plain, a__txt=b"a")
    other = Visit(context.new_page(), plain.demo)
    other.open()
    plain.page.evaluate(DROP, ["new.txt"])
    expect(other.row("new.txt")).to_be_visible()
    plain.choose("a.txt", "Remove")
    plain.page.get_by_role("button", name="Dismiss").click()
    expect(other.row("a.txt")).to_have_count(0)
    plain.demo.add(("from elsewhere.txt", b"x"))
    other.page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
    expect(other.row("from elsewhere.txt")).to_be_visible()
    assert [] == other.strangers + other.complaints


def test_an_upload_whose_claim_was_lost_is_listed_later(plain: Visit) -> None:
    """By the page that comes after the one that uploaded it."""
    plain.may_fail = True
    plain.open()
    plain.page.route("**/attach_demo/files", lambda route: route.abort())
    plain.page.evaluate(DROP, ["new.txt"])
    expect(plain.page.locator("#unlisted")).to_have_text(
        "One file is uploaded, and will be listed when the application answers."
    )
    assert ["new.txt"] == plain.demo.names()
    plain.page.unroute("**/attach_demo/files")
    plain.open()
    expect(plain.row("new.txt")).to_be_visible()


def test_a_list_that_cannot_be_had_is_asked_for_again(plain: Visit) -> None:
    """It is said what is wrong; rows of the search before are grey; a click tries again."""
    plain.may_fail = True
    plain.open()
    expect(plain.page.locator("#empty")).to_contain_text("No files yet.")
    expect(plain.page.get_by_label("Search by name")).to_be_hidden()
    stored(plain, a__txt=b"a", b__txt=b"b")
    plain.page.route("**/attach_demo/files?*", lambda route: route.abort())
    plain.page.get_by_label("Search by name").fill("b")
    failure = plain.page.get_by_role("alert")
    expect(failure).to_contain_text("Cannot reach the application.")
    expect(plain.row("a.txt")).to_have_css("opacity", "0.45")
    plain.page.unroute("**/attach_demo/files?*")
    plain.page.get_by_role("button", name="Try again").click()
    expect(plain.row("a.txt")).to_have_count(0)
    expect(plain.row("b.txt")).to_have_css("opacity", "1")
    expect(failure).to_be_hidden()


def test_names_are_only_text_each_with_its_own_direction(plain: Visit, tmp_path: Path) -> None:
    """Those that the storage keeps, and those that the user's own machine has."""
    visit = plain
    kept = "' onerror='document.title=1' &lt;b&gt;.png"
    long = f"{'report of a very long meeting, ' * 7}492.docx"
    arabic = "صورة العائلة.png"
    visit.demo.add((kept, png(8, 8)), (long, b"x" * 10_000_001), (arabic, b"x"))
    visit.open()
    names = visit.page.locator("#stored .name")
    expect(names.nth(2)).to_have_text(kept)
    expect(names.nth(1)).to_have_text(long)
    expect(names.nth(1)).to_have_attribute("title", long)
    directions = names.evaluate_all("all => all.map(a => a.matches(':dir(rtl)'))")
    assert [True, False, False] == directions
    look(visit, kept)
    expect(visit.page.locator("#preview-name")).to_have_text(kept)
    expect(visit.page.locator("#preview-content img")).to_have_js_property("naturalWidth", 8)
    visit.page.keyboard.press("Escape")
    visit.choose(long, "Remove")
    expect(visit.page.locator("#confirm-text bdi")).to_contain_text("report of")
    visit.page.keyboard.press("Escape")
    own = "<img src=x onerror=document.title=2>.bin"
    (tmp_path / own).write_bytes(bytes(40_000_000))
    visit.demo.relay.hold_after(2_000_000)
    visit.add(tmp_path / own)
    visit.demo.relay.wait_until_held()
    expect(visit.page.locator("#uploads .name")).to_have_text([own])
    expect(visit.page.locator("#traffic .name")).to_have_text([own])
    visit.demo.relay.release()
    expect(visit.stored).to_have_count(4)
    expect(visit.page.locator("main img")).to_have_count(0)
    expect(visit.page).to_have_title("Attachments")


def test_without_script_a_form_uploads(browser: Browser, demo: Demo, tmp_path: Path) -> None:
    """And says what was stored; the chosen file can be seen before; the list has it."""
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
    assert 1 == requests.get(f"{demo.url}files", timeout=PATIENCE).json()["total"]
