"""The page of the demo for everybody: accessibility, the keyboard, small screens, its weight."""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING, Any, Literal

import pytest
from playwright.sync_api import expect

from browser.media import png
from browser.page import Visit
from browser.rig import HERE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from playwright.sync_api import Browser, Page

    from browser.page import Demo

pytestmark = pytest.mark.long

AXE = HERE / "node_modules/axe-core/axe.min.js"
RULES = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]}

FIRST_SHOWN = """
() => {
  const [page] = performance.getEntriesByType('navigation')
  const [paint] = performance.getEntriesByName('first-contentful-paint')
  const files = performance.getEntriesByType('resource')
  const list = files.find(({ name }) => name.includes('/files'))
  if (!paint || !list) return null
  return [paint.startTime, page.domContentLoadedEventEnd, list.responseEnd].map(Math.round)
}
"""
"""When there is something to see, when all can be pressed, and when the list is there (ms).

Nothing as long as the browser does not know that.
"""


LONG_NAMES = """
() => {
  const data = new DataTransfer()
  const add = (name) => data.items.add(new File([name], name))
  for (let number = 0; number < 20; number++) add('صورة'.repeat(50) + number + '.png')
  add('x'.repeat(240) + '.txt')
  document.dispatchEvent(new ClipboardEvent('paste', { clipboardData: data, bubbles: true }))
  document.dispatchEvent(new ClipboardEvent('paste', { clipboardData: data, bubbles: true }))
}
"""
"""Add files with long names, twice, so that the second time they are refused."""

CUT_NAMES = """
() => [...document.querySelectorAll('#uploads .name')].every((name) =>
  name.scrollHeight <= name.clientHeight + 1 &&
  name.textContent === name.title &&
  name.lastChild.data.endsWith('.png') && !name.lastChild.data.startsWith('صورةصورة'))
"""
"""Whether the names of uploads take two lines, with the end visible and the whole name as text."""

TRY_SCRIPTS = """
async () => {
  const refused = []
  const inline = document.createElement('script')
  inline.textContent = 'document.title = "ran"'
  document.body.append(inline)
  if (document.title !== 'ran') refused.push('inline')
  const other = document.createElement('script')
  other.src = 'http://localhost:9/script.js'
  await new Promise((resolve) => {
    other.onload = resolve
    other.onerror = () => resolve(refused.push('other'))
    document.body.append(other)
  })
  try {
    globalThis.eval('document.title = "ran"')
  } catch {
    refused.push('evaluated')
  }
  return refused
}
"""
"""Scripts of three kinds that the page does not bring; which of them did not run."""


@pytest.fixture
def directory_demo(demos: dict[str, Demo]) -> Iterator[Demo]:
    """Give the demo over a directory; what it looks like does not depend on the storage."""
    demo = demos["directory"]
    yield demo
    demo.relay.release()
    demo.clear()


def checked(page: Page) -> list[str]:
    """Ask axe what is wrong with the page as it stands."""
    # Not as an element of the page, which its policy forbids.
    page.evaluate(AXE.read_text("utf-8"))
    found: dict[str, Any] = page.evaluate("rules => axe.run(document, rules)", RULES)
    assert len(found["passes"]) > 10
    return [
        f"{broken['id']}: {node['html']}"
        for broken in found["violations"]
        for node in broken["nodes"]
    ]


@pytest.mark.parametrize(("scheme", "width"), [("light", 360), ("dark", 1280)])
def test_axe_finds_nothing(  # noqa: PLR0917 - fixtures
    scheme: Literal["light", "dark"],
    width: int,
    browser: Browser,
    directory_demo: Demo,
    large_file: Path,
    report_figure: Callable[[str], None],
) -> None:
    """On an empty list, on a full one, in dialogs, while something is uploaded, with no list."""
    with browser.new_context(
        color_scheme=scheme, viewport={"width": width, "height": 800}
    ) as context:
        visit = Visit(context.new_page(), directory_demo)
        visit.open()
        expect(visit.page.locator("#empty")).to_be_visible()
        found = {"empty": checked(visit.page)}
        scans = [(f"scan {number:02}.txt", b"text") for number in range(9)]
        directory_demo.add(*scans, ("image.png", png(100, 60)))
        visit.open()
        expect(visit.stored).to_have_count(10)
        for name in chain(
            files_shown(visit), uploads_shown(visit, large_file), errors_shown(visit)
        ):
            found[name] = checked(visit.page)
    assert {state: [] for state in found} == found
    report_figure(f"axe, {scheme}, {width} wide: no violation in {len(found)} states")


def files_shown(visit: Visit) -> Iterator[str]:
    """Bring the list into its states, and name each."""
    page, action = visit.page, visit.page.locator("#toast-action")
    visit.choose("image.png", "Copy link")
    expect(page.get_by_label("Link to image.png")).to_be_visible()
    yield "full"
    visit.button("More for", "image.png").click()
    expect(page.get_by_role("menuitem", name="Open")).to_be_focused()
    yield "menu"
    page.get_by_role("menuitem", name="Select").click()
    yield "selection"
    page.locator("#select-all").click()
    page.locator("#remove-selected").click()
    yield "confirm"
    page.get_by_role("button", name="Keep").click()
    page.locator("#select-none").click()
    page.get_by_role("button", name="image.png", exact=True).click()
    expect(page.locator("#preview-content img")).to_be_visible()
    yield "preview"
    page.keyboard.press("Escape")
    visit.choose("image.png", "Remove")
    action.focus()  # so that it stays
    yield "removed"
    action.click()
    expect(visit.row("image.png")).to_be_visible()


def uploads_shown(visit: Visit, large_file: Path) -> Iterator[str]:
    """Bring the uploads into their states, and name each."""
    page = visit.page
    visit.demo.relay.hold_after(20 * 1024 * 1024)
    visit.add(large_file)
    visit.demo.relay.wait_until_held()
    visit.until(lambda: visit.progress() > 0)
    page.locator("#traffic summary").first.click()
    yield "uploading"
    expect(page.locator("#total-text")).to_contain_text("Waiting for the server")
    yield "away"
    visit.button("Cancel", "large.bin").press("Enter")
    expect(page.locator("#cancelled")).to_be_visible()
    yield "cancelled"
    page.locator("#undo-close").click()
    page.route("**/attach/tus/", lambda _: None)
    page.evaluate(LONG_NAMES)
    expect(page.locator("#refused")).to_be_visible()
    expect(page.locator("#rest")).to_be_visible()
    yield "many"
    page.locator("#cancel-all").press("Enter")
    page.locator("#undo-close").click()


def errors_shown(visit: Visit) -> Iterator[str]:
    """Let the list fail."""
    visit.page.route("**/attach_demo/files*", lambda route: route.abort())
    visit.page.reload()
    expect(visit.page.locator("#failure")).to_be_visible()
    yield "failure"


def test_all_can_be_done_by_keyboard(visit: Visit) -> None:
    """In the order in which it stands; dialogs give the focus back."""
    visit.demo.add(("a.txt", b"text"), ("b.txt", b"text"))
    visit.open()
    expect(visit.stored).to_have_count(2)
    press, focus = visit.page.keyboard.press, visit.page.locator(":focus")
    order = []
    for _ in range(9):
        press("Tab")
        order.append(focus.evaluate("at => at.id || at.ariaLabel || at.textContent"))
    assert [
        "files",
        "folder",
        "search",
        "sort",
        "Select b.txt",
        "b.txt",
        "Download b.txt",
        "Copy link b.txt",
        "More for b.txt",
    ] == order
    press("Enter")
    expect(focus).to_have_text("Open")
    press("ArrowUp")
    expect(focus).to_have_text("Remove")
    press("Escape")
    expect(focus).to_have_accessible_name("More for b.txt")
    press("Enter")
    expect(focus).to_have_text("Open")
    press("End")
    press("Enter")
    expect(visit.row("b.txt")).to_have_count(0)
    expect(focus).to_have_accessible_name("a.txt")
    visit.page.get_by_role("button", name="Undo").focus()
    press("Enter")
    expect(visit.row("b.txt")).to_be_visible()
    visit.button("Select", "a.txt").focus()
    press("Space")
    expect(visit.page.locator("#selected")).to_have_text("1 selected")
    press("Escape")
    expect(visit.page.locator("#selection")).to_be_hidden()
    visit.page.get_by_role("button", name="a.txt", exact=True).focus()
    press("Enter")
    expect(focus).to_have_accessible_name("Close")
    press("Enter")
    expect(visit.page.locator("#preview")).to_be_hidden()
    expect(focus).to_have_accessible_name("a.txt")


@pytest.mark.parametrize("width", [320, 768, 2560])
def test_nothing_is_wider_than_the_screen(width: int, page: Page, directory_demo: Demo) -> None:
    """From a phone to a wide screen, with names as long as they come, stored and on their way."""
    directory_demo.add(("x" * 240 + ".txt", b"text"))
    page.set_viewport_size({"width": width, "height": 800})
    visit = Visit(page, directory_demo)
    visit.open()
    expect(visit.stored).to_have_count(1)
    if width < 500:  # a finger needs 44 pixels (WCAG 2.1, 2.5.5)
        target = page.get_by_label("More for x").bounding_box()
        assert target is not None
        assert min(target["width"], target["height"]) >= 44
    page.route("**/attach/tus/", lambda _: None)
    page.evaluate(LONG_NAMES)
    expect(page.locator("#rest")).to_be_visible()
    assert width >= page.evaluate("document.documentElement.scrollWidth")
    visit.until(lambda: page.evaluate(CUT_NAMES))


def test_the_policy_forbids_scripts_in_the_page(visit: Visit) -> None:
    """And evaluated ones, and those of others."""
    answer = visit.page.request.get(visit.demo.url)
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'; script-src 'self'; style-src 'self';" in policy
    assert "unsafe" not in policy
    refused = visit.page.evaluate(TRY_SCRIPTS)
    assert ["inline", "other", "evaluated"] == refused
    expect(visit.page).to_have_title("Attachments")
    assert 2 == len(visit.complaints)  # the third was caught
    visit.complaints.clear()
    visit.strangers.clear()  # asked for, and blocked before anything was sent


def test_the_page_is_light(visit: Visit, report_figure: Callable[[str], None]) -> None:
    """All of its script and style, Uppy included, in bytes as sent."""
    weights = {"js": 0, "css": 0}
    for url in {request.url for request in visit.requests}:
        kind = url.rpartition(".")[2]
        if kind in weights:
            weights[kind] += len(visit.page.request.get(url).body())
    assert 0 < weights["js"] < 250_000
    assert 0 < weights["css"] < 24_000
    visit.until(lambda: bool(visit.page.evaluate(FIRST_SHOWN)))
    seen, ready, there = visit.page.evaluate(FIRST_SHOWN)
    report_figure(
        f"the page: {weights['js']} bytes of script, {weights['css']} of style; seen after {seen} "
        f"ms, can be used after {ready} ms, has its list after {there} ms"
    )
