"""Uploads through the page of the demo, over a directory and over S3, in a real browser."""

from __future__ import annotations

import base64
import hashlib
import re
from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import expect

from browser.page import DROP, Visit, demo_on_directory

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from playwright.sync_api import Page, Request

    from browser.page import Demo

pytestmark = pytest.mark.long

MIB = 1024 * 1024
LARGE = 150 * MIB
HELD_AT = 60 * MIB
"""Of the large file; S3 has got some parts by then."""
NOT_AGAIN = LARGE * 5 // 4
"""What is sent at most where an upload goes on; HELD_AT and all of it again would be more."""

ASK_THE_BROWSER = """
async () => {
  const end = (request) => new Promise((resolve) => {
    request.onsuccess = () => resolve(request.result)
  })
  const database = await end(indexedDB.open('attachments'))
  const store = (name) => database.transaction(name, 'readwrite').objectStore(name)
  const uploads = () => end(store('uploads').getAll())
  const answer = await (%s)
  database.close()
  return answer
}
"""
KEPT = ASK_THE_BROWSER % "end(store('files').count())"
"""How many files the browser keeps for a reload."""
FORGET = ASK_THE_BROWSER % "end(store('files').clear())"
PAUSED = ASK_THE_BROWSER % "uploads().then((all) => all.some(({ isPaused }) => isPaused))"
KNOWN = ASK_THE_BROWSER % (
    "uploads().then((all) => all.some(({ tus, s3Multipart }) => tus?.uploadUrl || s3Multipart))"
)
"""Whether it knows where the upload is."""

SIGNING = re.compile(r"/attach/(sign|tus/?)$")
"""The first request of each upload to the application."""

DRAG = """
() => {
  const data = new DataTransfer()
  data.items.add(new File([''], 'dragged.txt'))
  const event = { dataTransfer: data, bubbles: true, cancelable: true }
  document.querySelector('h1').dispatchEvent(new DragEvent('dragover', event))
}
"""
"""Drag a file over the page."""

PASTE = """
(name) => {
  const data = new DataTransfer()
  data.items.add(new File([name.repeat(100)], name))
  document.dispatchEvent(new ClipboardEvent('paste', { clipboardData: data, bubbles: true }))
}
"""


def made(directory: Path, *names: str) -> list[Path]:
    """Make small files."""
    for name in names:
        (directory / name).write_bytes(name.encode() * 100)
    return [directory / name for name in names]


def digest(path: Path) -> str:
    """Give the SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def begin(visit: Visit, file: Path) -> None:
    """Begin to upload a file, of which a part gets through."""
    visit.demo.relay.hold_after(HELD_AT)
    visit.add(file)
    visit.demo.relay.wait_until_held()


def name_of(request: Request) -> str:
    """Give the name that an upload by tus begins with."""
    metadata = request.headers["upload-metadata"]
    pairs = dict(pair.split(" ") for pair in metadata.split(","))
    return base64.b64decode(pairs["filename"]).decode()


@pytest.fixture
def sent(visit: Visit) -> Callable[[], int]:
    """Give a function that tells how many bytes were sent to where files go."""
    before = visit.demo.relay.received
    return lambda: visit.demo.relay.received - before


# All of it.


def test_a_file_is_stored(visit: Visit, tmp_path: Path) -> None:
    """It is in the list as soon as it is stored, and what it was."""
    (file,) = made(tmp_path, "größe 中文.txt")
    visit.add(file)
    visit.expect_stored("größe 中文.txt")
    assert digest(file) == visit.demo.digest(file.name)
    expect(visit.row(file.name)).to_contain_text("1.8 kB · Text · just now")
    expect(visit.page.locator("#said")).to_have_text("größe 中文.txt stored")


def test_ten_files_are_stored(visit: Visit, tmp_path: Path) -> None:
    """Given at once."""
    names = [f"{number}.txt" for number in range(10)]
    visit.add(*made(tmp_path, *names))
    visit.expect_stored(*names)


@pytest.mark.parametrize("size", [1000, 17 * MIB])
def test_a_name_may_hold_what_means_something_in_addresses(
    size: int, visit: Visit, tmp_path: Path
) -> None:
    """In one request and in parts; it is marked in the list as what was just uploaded."""
    name = "100% of a&b=c+d #1 %2e;é.bin"
    (tmp_path / name).write_bytes(bytes(size))
    visit.add(tmp_path / name)
    visit.expect_stored(name)
    expect(visit.page.locator("#stored > .new .name")).to_have_text([name])
    with visit.page.expect_download() as begun:
        visit.button("Download", name).click()
    assert name == begun.value.suggested_filename


def test_an_empty_file_is_stored(visit: Visit, tmp_path: Path) -> None:
    """It is a file, too."""
    (tmp_path / "empty.txt").touch()
    visit.add(tmp_path / "empty.txt")
    visit.expect_stored("empty.txt")


def test_a_large_file_is_stored_with_progress_seen(visit: Visit, large_file: Path) -> None:
    """The page shows a share that grows, the speed and the time left; all bytes arrive."""
    begin(visit, large_file)
    visit.until(lambda: visit.progress() > 0)
    first, detail = visit.progress(), visit.page.locator("#uploads .detail")
    told = re.compile(r".*\sMB of 157\sMB · .*B/s · \d+\s(s|min|h).* left")

    def is_told() -> bool:
        """Allow a little more: an upload that has waited for long has no speed."""
        visit.demo.relay.hold_after(MIB // 4)
        return visit.progress() > first and bool(told.fullmatch(detail.text_content() or ""))

    visit.until(is_told)
    assert 0 < first < visit.progress() < 1
    expect(visit.page).to_have_title(re.compile(r"^\d+\s% · Attachments$"))
    assert [] == visit.demo.names()
    visit.demo.relay.release()
    visit.expect_stored("large.bin")
    assert digest(large_file) == visit.demo.digest("large.bin")


def test_folders_can_be_chosen(visit: Visit, tmp_path: Path) -> None:
    """All files in them, also two of one name, which their paths tell apart."""
    visit.may_fail = True
    for folder in ("one", "one/two"):
        (tmp_path / folder).mkdir()
        made(tmp_path / folder, "same.txt", f"{folder[-3:]}.txt")
    visit.page.route(SIGNING, lambda route: route.fulfill(status=403, json={"detail": "Not now"}))
    visit.page.set_input_files("#folder", tmp_path / "one")
    same = visit.page.locator("#uploads > li").filter(has_text="same.txt")
    expect(same).to_have_count(2)
    assert ["one/", "one/two/"] == sorted(same.locator(".path").all_text_contents())
    visit.page.unroute(SIGNING)
    visit.page.locator("#retry-all").click()
    visit.expect_stored("one.txt", "same.txt", "same.txt", "two.txt")


def test_files_can_be_dropped_and_pasted(visit: Visit) -> None:
    """Anywhere; the page says so while they are dragged."""
    visit.page.evaluate(DRAG)
    expect(visit.page.get_by_text("Drop to upload")).to_be_visible()
    visit.page.evaluate(DROP, ["a.txt", "b.txt"])
    expect(visit.page.locator("#over")).to_be_hidden()
    visit.expect_stored("a.txt", "b.txt")
    visit.page.evaluate(PASTE, "c.txt")
    visit.expect_stored("a.txt", "b.txt", "c.txt")


# Interrupted.


def test_a_paused_upload_goes_on(visit: Visit, large_file: Path, sent: Callable[[], int]) -> None:
    """Where it was."""
    begin(visit, large_file)
    visit.button("Pause", "large.bin").click()
    expect(visit.page.locator("#uploads .detail")).to_have_text(re.compile("· paused$"))
    visit.demo.relay.release()
    visit.button("Resume", "large.bin").click()
    visit.expect_stored("large.bin")
    assert digest(large_file) == visit.demo.digest("large.bin")
    assert sent() < NOT_AGAIN


def test_all_uploads_are_paused_and_go_on(visit: Visit, large_file: Path, tmp_path: Path) -> None:
    """With one button; their sum is shown."""
    second = tmp_path / "second.bin"
    second.write_bytes(bytes(40 * MIB))
    visit.demo.relay.hold_after(HELD_AT)
    visit.add(large_file, second)
    visit.demo.relay.wait_until_held()
    total = visit.page.locator("#total-text")
    expect(total).to_have_text(re.compile(r"[01] of 2 done · \d+\s% · .*"))
    button = visit.page.locator("#pause-all")
    button.click()
    expect(button).to_have_text("Resume all")
    expect(total).to_have_text(re.compile("· paused$"))
    visit.demo.relay.release()
    button.click()
    visit.expect_stored("large.bin", "second.bin")


def test_of_many_files_only_those_that_move_have_rows(visit: Visit, tmp_path: Path) -> None:
    """The others are counted; after a reload, all go on when they are told to."""
    visit.may_fail = True  # requests that never get an answer
    visit.page.route(SIGNING, lambda _: None)
    names = [f"{number}.txt" for number in range(40)]
    visit.add(*made(tmp_path, *names))
    rows, rest = visit.page.locator("#uploads > li"), visit.page.locator("#rest")
    expect(rest).to_have_text("and 24 waiting")
    expect(rows).to_have_count(16)
    visit.until(lambda: visit.page.evaluate(KEPT) == 40)
    visit.page.locator("#pause-all").click()
    expect(rest).to_have_text("and 24 paused")
    visit.page.unroute(SIGNING)
    visit.open()
    expect(visit.page.locator("#total-text")).to_have_text(re.compile("^0 of 40 done · .*paused$"))
    assert [] == visit.demo.names()
    visit.page.locator("#pause-all").click()
    visit.expect_stored(*names)
    assert 0 == visit.page.evaluate(KEPT)


def test_a_cut_connection_is_taken_up_by_itself(
    visit: Visit, large_file: Path, sent: Callable[[], int]
) -> None:
    """Where it was, without a click."""
    visit.may_fail = True
    begin(visit, large_file)
    visit.demo.relay.cut()
    visit.demo.app.cut()
    visit.expect_stored("large.bin")
    assert digest(large_file) == visit.demo.digest("large.bin")
    assert sent() < NOT_AGAIN


def test_a_server_that_is_away_for_a_while_is_tried_again(
    visit: Visit, large_file: Path, sent: Callable[[], int]
) -> None:
    """The page says so when it is silent and when it refuses, and no user has to click."""
    visit.may_fail = True
    begin(visit, large_file)
    detail, total = visit.page.locator("#uploads .detail"), visit.page.locator("#total-text")
    expect(detail).to_contain_text("Waiting for the server …")
    expect(total).to_contain_text("Waiting for the server …")
    with visit.demo.relay.refusing(), visit.demo.app.refusing():
        expect(visit.button("Retry", "large.bin")).to_be_visible()
        expect(detail).to_contain_text("Waiting for the server …")
    visit.expect_stored("large.bin")
    assert digest(large_file) == visit.demo.digest("large.bin")
    assert sent() < NOT_AGAIN


def test_who_is_offline_is_told_and_goes_on_when_it_is_over(
    visit: Visit, large_file: Path, sent: Callable[[], int]
) -> None:
    """Where it was, without a click."""
    visit.may_fail = True
    begin(visit, large_file)
    visit.page.context.set_offline(offline=True)
    expect(visit.page.locator("#offline")).to_be_visible()
    visit.demo.relay.cut()
    visit.page.context.set_offline(offline=False)
    visit.expect_stored("large.bin")
    expect(visit.page.locator("#offline")).to_be_hidden()
    assert digest(large_file) == visit.demo.digest("large.bin")
    assert sent() < NOT_AGAIN


def test_an_upload_survives_a_reload(
    visit: Visit, large_file: Path, sent: Callable[[], int]
) -> None:
    """The browser has kept the file, and it goes on where it was."""
    begin(visit, large_file)
    visit.until(lambda: visit.page.evaluate(KEPT) == 1)
    visit.open()
    expect(visit.page.locator("#uploads .name")).to_have_text("large.bin")
    assert [] == visit.demo.names()
    visit.demo.relay.release()
    visit.expect_stored("large.bin")
    assert digest(large_file) == visit.demo.digest("large.bin")
    assert sent() < NOT_AGAIN
    visit.until(lambda: visit.page.evaluate(KEPT) == 0)


def test_a_cancelled_upload_leaves_nothing(visit: Visit, large_file: Path) -> None:
    """Neither in the storage nor on the page, once it cannot be brought back any more."""
    begin(visit, large_file)
    visit.button("Cancel", "large.bin").press("Enter")
    expect(visit.uploading).to_be_hidden()
    with visit.page.expect_response(lambda answer: answer.request.method == "DELETE") as answered:
        visit.page.locator("#undo-close").click()
    assert answered.value.ok
    visit.demo.relay.release()
    assert [] == visit.demo.names()
    assert [] == visit.demo.garbage()


def test_cancelled_uploads_can_be_brought_back(
    visit: Visit, large_file: Path, tmp_path: Path, sent: Callable[[], int]
) -> None:
    """They go on where they were; the message goes by itself, and then they are gone."""
    begin(visit, large_file)
    visit.until(lambda: visit.progress() > 0)
    visit.page.locator("#cancel-all").press("Enter")
    expect(visit.page.locator("#cancelled")).to_contain_text("large.bin cancelled")
    expect(visit.page.locator(":focus")).to_have_text("Undo")
    visit.demo.relay.release()
    visit.page.locator(":focus").press("Enter")
    visit.expect_stored("large.bin")
    assert sent() < NOT_AGAIN
    visit.page.route(SIGNING, lambda _: None)
    visit.add(*made(tmp_path, *(f"{number}.txt" for number in range(20))))
    expect(visit.page.locator("#rest")).to_have_text("and 4 waiting")
    visit.page.locator("#cancel-all").click()
    expect(visit.page.locator("#cancelled")).to_contain_text("20 uploads cancelled")
    expect(visit.page.locator("#cancelled")).to_be_hidden()
    assert 0 == visit.page.evaluate(KEPT)
    visit.expect_stored("large.bin")


def test_what_failed_can_be_tried_again(visit: Visit, tmp_path: Path) -> None:
    """The page says what was wrong."""
    visit.may_fail = True
    (file,) = made(tmp_path, "a.txt")
    visit.page.route(SIGNING, lambda route: route.fulfill(status=403, json={"detail": "Not now"}))
    visit.add(file)
    row = visit.page.locator("#uploads > li")
    expect(row.locator(".detail")).to_have_text("Failed: Not now")
    visit.add(file)
    refused = visit.page.locator("#refused")
    expect(refused).to_contain_text("a.txt is already being uploaded.")
    refused.get_by_role("button").click()
    expect(refused).to_be_hidden()
    visit.add(*made(tmp_path, "b.txt", "d.txt"))
    expect(visit.button("Retry", "d.txt")).to_be_visible()
    expect(visit.page.locator("#pause-all")).to_be_hidden()
    visit.page.unroute(SIGNING)
    visit.add(*made(tmp_path, "c.txt"))  # which is not held up by them
    expect(visit.stored).to_have_count(1)
    expect(row).to_have_count(3)
    visit.button("Cancel", "b.txt").click()
    visit.page.locator("#retry-all").click()
    visit.expect_stored("a.txt", "c.txt", "d.txt")


def test_what_failed_in_the_middle_leaves_nothing_when_it_is_cancelled(
    visit: Visit, large_file: Path
) -> None:
    """Although nobody is at work on it any more."""
    visit.may_fail = True
    begin(visit, large_file)
    refused = re.compile(r"/attach/(sign|tus/.*)$")
    visit.page.route(
        refused,
        lambda route: (
            route.continue_()
            if '"DELETE"' in (route.request.post_data or route.request.method)
            or route.request.method == "DELETE"
            else route.fulfill(status=403, json={"detail": "Not now"})
        ),
    )
    visit.demo.relay.cut()
    expect(visit.page.locator("#uploads .detail")).to_have_text("Failed: Not now")
    with visit.page.expect_response(lambda answer: answer.request.method == "DELETE") as answered:
        visit.button("Cancel", "large.bin").press("Enter")
        visit.page.locator("#undo-close").click()
    assert answered.value.ok
    assert [] == visit.demo.names()
    assert [] == visit.demo.garbage()


def test_a_paused_upload_is_still_paused_after_a_reload(visit: Visit, large_file: Path) -> None:
    """And goes on where it was when it is told to."""
    begin(visit, large_file)
    visit.until(lambda: visit.page.evaluate(KEPT) == 1)
    visit.button("Pause", "large.bin").click()
    visit.demo.relay.release()
    visit.until(lambda: visit.page.evaluate(PAUSED))
    visit.open()
    expect(visit.page.locator("#uploads .detail")).to_have_text(re.compile("· paused$"))
    visit.button("Resume", "large.bin").click()
    visit.expect_stored("large.bin")
    assert digest(large_file) == visit.demo.digest("large.bin")


def test_a_second_tab_leaves_the_uploads_of_the_first_alone(visit: Visit, large_file: Path) -> None:
    """And has uploads of its own."""
    begin(visit, large_file)
    visit.until(lambda: visit.page.evaluate(KEPT) == 1)
    other = Visit(visit.page.context.new_page(), visit.demo)
    other.open()
    other.page.evaluate(DROP, ["a.txt"])
    expect(other.page.locator("#stored .name")).to_have_text(["a.txt"])
    expect(other.uploading).to_be_hidden()
    visit.demo.relay.release()
    visit.expect_stored("large.bin", "a.txt")


def test_a_file_that_the_browser_has_not_kept_can_be_chosen_again(
    visit: Visit, large_file: Path, sent: Callable[[], int]
) -> None:
    """It goes on where it was; what is kept beside it goes on by itself."""
    begin(visit, large_file)
    visit.until(lambda: visit.page.evaluate(KEPT) == 1)
    visit.until(lambda: visit.page.evaluate(KNOWN))
    visit.page.evaluate(FORGET)
    visit.open()
    expect(visit.page.locator("#uploads .detail")).to_contain_text("Choose this file again")
    visit.demo.relay.release()
    visit.add(large_file)
    visit.expect_stored("large.bin")
    assert digest(large_file) == visit.demo.digest("large.bin")
    assert sent() < NOT_AGAIN


# Limits, and who saw the bytes.


def test_limits_are_told_before_anything_is_sent(page: Page, tmp_path: Path) -> None:
    """What is too large is refused in the page; the rest goes."""
    with demo_on_directory(tmp_path, attach_max_size="1MB") as demo:
        visit = Visit(page, demo)
        visit.open()
        expect(page.locator("#limit")).to_have_text("Maximum file size: 1 MB.")
        (tmp_path / "large.bin").write_bytes(bytes(2_000_000))
        visit.add(tmp_path / "large.bin", *made(tmp_path, "small.txt"))
        visit.expect_stored("small.txt")
        expect(page.locator("#refused")).to_contain_text("large.bin is larger than 1 MB (2 MB).")
        posted = [one for one in visit.requests if one.method == "POST"]
        begun = [one for one in posted if "/attach/" in one.url]  # not the claim
        assert ["small.txt"] == [name_of(one) for one in begun]


def test_the_application_sees_no_bytes_of_an_upload_to_s3(
    page: Page, demos: dict[str, Demo], large_file: Path, report_figure: Callable[[str], None]
) -> None:
    """It signs; what it gets while 150 MiB are uploaded is counted in front of it."""
    demo = demos["s3"]
    visit = Visit(page, demo)
    visit.open()
    before, relayed = demo.app.received, demo.relay.received
    visit.add(large_file)
    visit.expect_stored("large.bin")
    received, went = demo.app.received - before, demo.relay.received - relayed
    report_figure(f"150 MiB through the page: {went} bytes to S3, {received} to the application")
    assert went > LARGE
    assert received < MIB // 4
    page.locator("#traffic summary").first.click()
    expect(page.locator("#traffic-text")).to_contain_text(
        f"157 MB went directly from this browser to {demo.relay.url}."
    )
    demo.clear()


def test_developers_see_where_the_bytes_went(visit: Visit, tmp_path: Path) -> None:
    """Each request, and what the link of a form has signed."""
    visit.add(*made(tmp_path, "a.txt"))
    visit.expect_stored("a.txt")
    traffic = visit.page.locator("#traffic")
    traffic.locator("summary").first.click()
    host = visit.demo.relay.url.removeprefix("http://")
    expect(traffic.locator("li")).to_contain_text(f"to {host}")
    request = traffic.locator(".request").first
    request.locator("summary").click()
    expect(request).to_contain_text("PUT" if visit.demo.app is not visit.demo.relay else "POST")
