"""Django forms whose files go straight to the storage, in Chromium."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import expect

from browser.django_rig import (
    BUCKET,
    EXAMPLE,
    PASSWORD,
    Visitor,
    site_on_directory,
    site_on_s3,
)
from browser.media import png

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from playwright.sync_api import Browser, BrowserContext, FilePayload

    from browser.django_rig import Site
    from rex.attach_demo.seaweedfs import SeaweedFS

pytestmark = pytest.mark.long

MIB = 1024 * 1024
LARGE = b"large " * (MIB // 2)
OF_FORMS = 64 * 1024
"""More bytes than the fields of some forms have, and fewer than a file."""


@pytest.fixture(scope="module")
def server(seaweedfs: SeaweedFS) -> SeaweedFS:
    """Return the S3 server, with a bucket of our own, since CORS rules concern all of a bucket."""
    seaweedfs.create_bucket(BUCKET)
    return seaweedfs


@pytest.fixture(scope="module")
def sites(tmp_path_factory: pytest.TempPathFactory, server: SeaweedFS) -> Iterator[dict[str, Site]]:
    """Serve the site over a directory, and over SeaweedFS."""
    module = "browser.django_site"
    with (
        site_on_directory(tmp_path_factory.mktemp("django-directory"), module) as on_directory,
        site_on_s3(tmp_path_factory.mktemp("django-s3"), module, server) as on_s3,
    ):
        yield {"directory": on_directory, "s3": on_s3}


@pytest.fixture(params=["directory", "s3"])
def site(request: pytest.FixtureRequest, sites: dict[str, Site]) -> Site:
    """Return the site over each kind of storage."""
    return sites[request.param]


@pytest.fixture
def ann(context: BrowserContext, site: Site) -> Iterator[Visitor]:
    """Log a user in; the pages must not complain of anything, such as their policy."""
    visitor = Visitor(context, site, "ann")
    yield visitor
    assert [] == visitor.complaints


def test_a_form_sends_a_token_in_place_of_the_file(ann: Visitor, site: Site) -> None:
    """The bytes go to the storage alone, once; the form waits for them, and may be shown again."""
    before, stored = site.received(), site.names()
    ann.open("/paper/")
    assert [] == ann.violations()
    ann.page.get_by_label("Title").fill("a title that is longer than it may be"[:20])
    ann.choose("large.txt", LARGE)
    ann.save()  # while the upload is on its way
    [[key, title, name]] = [paper for paper in site.papers() if "large" in paper[2]]
    assert sorted([*stored, "large.txt"]) == site.names()
    with site.storage.open(f"/{name}") as file:
        assert file.read() == LARGE
    sent = site.received() - before
    assert sent < OF_FORMS if site.is_direct else len(LARGE) < sent < len(LARGE) + OF_FORMS

    ann.open(f"/paper/{key}/")
    expect(ann.page.get_by_role("link", name="large.txt", exact=True)).to_be_visible()
    ann.page.locator("[name=file-clear]").check()
    ann.save()
    assert [key, title, ""] in site.papers()


def test_a_form_with_an_error_in_another_field_keeps_the_upload(ann: Visitor, site: Site) -> None:
    """The user need not choose the file again, and may remove it."""
    ann.open("/paper/")
    ann.page.get_by_label("Title").evaluate("input => { input.required = false }")
    ann.upload("kept.pdf", b"kept")
    token = ann.tokens()
    ann.save()
    ann.expect_states("uploaded")
    assert [] == ann.violations()
    assert token == ann.tokens()
    expect(ann.page.get_by_text("This field is required")).to_be_visible()
    ann.page.get_by_label("Title").fill("kept")
    ann.save()
    assert ["kept"] == [title for _, title, name in site.papers() if name.endswith("kept.pdf")]

    ann.open("/paper/")
    ann.page.get_by_label("Title").fill("refused")
    ann.upload("refused.pdf", b"refuse me")
    ann.save()
    expect(ann.page.get_by_text("The content is refused.")).to_be_visible()
    ann.expect_states()
    ann.upload("refused.exe", b"MZ")
    ann.save()
    expect(ann.page.get_by_text("File extension “exe” is not allowed")).to_be_visible()
    ann.upload("removed.txt", b"removed")
    ann.page.get_by_role("button", name="Remove removed.txt").press("Enter")
    ann.expect_states()
    ann.save()
    assert [""] == [name for _, title, name in site.papers() if title == "refused"]


def test_an_upload_can_be_cancelled_and_retried(ann: Visitor, site: Site) -> None:
    """The page shows how far it is; a form with a failed upload is not sent."""
    ann.may_fail = True
    ann.open("/paper/")
    ann.page.get_by_label("Title").fill("retried")
    site.relay.hold_after(MIB)
    ann.choose("slow.txt", LARGE)
    site.relay.wait_until_held()
    bar = ann.page.get_by_role("progressbar", name="slow.txt")
    expect(bar).to_be_visible()
    ann.page.wait_for_function("bar => bar.value > 0", arg=bar.element_handle())
    assert [] == ann.violations()
    ann.page.get_by_role("button", name="Cancel slow.txt").press("Enter")
    ann.expect_states()
    expect(ann.page.locator("input[type=file]")).to_be_focused()
    site.relay.release()

    site.relay.hold_after(MIB)
    ann.choose("slow.txt", LARGE)
    site.relay.wait_until_held()
    with site.relay.refusing():
        ann.expect_states("failed")
    assert [] == ann.violations()
    ann.page.get_by_role("button", name="Save", exact=True).click()
    retry = ann.page.get_by_role("button", name="Retry slow.txt")
    expect(retry).to_be_focused()
    expect(ann.page.get_by_role("status")).to_contain_text("An upload failed")
    retry.press("Enter")
    ann.expect_states("uploaded")
    ann.save()
    [name] = [name for _, title, name in site.papers() if title == "retried"]
    assert site.storage.info(f"/{name}").size == len(LARGE)


def test_rows_that_the_admin_adds_upload_like_the_others(ann: Visitor, site: Site) -> None:
    """Each row has its own file; the pages are right from right to left, and in the dark."""
    ann.open("/admin/papers/folder/add/")
    assert [] == ann.violations()
    ann.page.get_by_label("Name").fill("folder")
    ann.page.get_by_role("button", name="Add another Paper").click()
    ann.page.get_by_role("button", name="Add another Paper").click()
    fields = ann.page.locator("input[type=file]:visible")
    expect(fields).to_have_count(3)
    for number in (0, 2):
        ann.page.locator(f"[name=paper_set-{number}-title]").fill(f"row {number}")
        ann.choose(f"row {number}.txt", b"%d" % number, at=fields.nth(number))
    ann.expect_states("uploaded", "uploaded")
    assert [] == ann.violations()
    ann.page.locator("#paper_set-1 .inline-deletelink").click()
    ann.save()
    rows = {title: name for _, title, name in site.papers() if title.startswith("row")}
    assert ["row 0", "row 2"] == sorted(rows)
    for title, name in rows.items():
        assert name.endswith(f"/{title}.txt")
        with site.storage.open(f"/{name}") as file:
            assert file.read().decode() == title[-1]


def test_the_admin_names_the_file_and_may_be_dark_and_from_right_to_left(
    browser: Browser, site: Site
) -> None:
    """The name is the file name; an image has its dimensions."""
    with browser.new_context(
        color_scheme="dark", locale="ar", viewport={"width": 400, "height": 800}
    ) as context:
        ann = Visitor(context, site)
        ann.open("/admin/login/?next=/admin/papers/picture/add/")
        ann.page.locator("[name=username]").fill("ann")
        ann.page.locator("[name=password]").fill(PASSWORD)
        ann.page.locator("[type=submit]").click()
        ann.upload("dark.png", png(300, 200, noise=7))
        assert "rtl" == ann.page.locator("html").get_attribute("dir")
        assert [] == ann.violations()
        with ann.page.expect_navigation():
            ann.page.locator("[name=_continue]").click()
        form = ann.page.locator("#picture_form")
        expect(form.get_by_role("link", name="dark.png", exact=True)).to_be_visible()
        [[_, width, height]] = site.get("/papers/")["pictures"][-1:]
        assert (300, 200) == (width, height)
        assert [] == ann.complaints


def test_several_files_go_to_one_field_of_an_anonymous_visitor(
    context: BrowserContext, site: Site
) -> None:
    """Each has a row; a file that is too large is refused before it is sent."""
    visitor = Visitor(context, site)
    visitor.may_fail = True
    visitor.open("/several/")
    visitor.page.get_by_label("Title").fill("several")
    chosen: list[FilePayload] = [
        {"name": f"{name}.txt", "mimeType": "", "buffer": name.encode()} for name in ("a", "b", "c")
    ]
    visitor.page.locator("input[type=file]").set_input_files(chosen)
    visitor.expect_states("uploaded", "uploaded", "uploaded")
    visitor.choose("huge.txt", bytes(1_000_001))
    visitor.expect_states("uploaded", "uploaded", "uploaded", "failed")
    assert [] == visitor.violations()
    visitor.page.get_by_role("button", name="Remove huge.txt").click()
    visitor.save()
    names = [name for _, title, name in site.papers() if title == "several"]
    assert ["a.txt", "b.txt", "c.txt"] == sorted(name.rpartition("/")[2] for name in names)
    assert [] == visitor.complaints


def test_a_form_without_javascript_sends_the_file_to_django(browser: Browser, site: Site) -> None:
    """The field is a plain file input."""
    before = site.received()
    with browser.new_context(java_script_enabled=False) as context:
        ann = Visitor(context, site, "ann")
        ann.open("/paper/")
        ann.page.get_by_label("Title").fill("plain")
        ann.choose("plain.txt", LARGE)
        ann.save()
    [name] = [name for _, title, name in site.papers() if title == "plain"]
    assert site.storage.info(f"/{name}").size == len(LARGE)
    assert site.received() - before > len(LARGE)


def test_tokens_of_others_are_refused(browser: Browser, ann: Visitor, site: Site) -> None:
    """So are used ones, those of another field, bare handles, and changed ones."""
    stored = site.papers()
    ann.open("/paper/")
    ann.page.get_by_label("Title").fill("used")
    ann.upload("used.txt", b"used")
    [used] = ann.tokens()
    ann.save()
    [[_, _, name]] = [paper for paper in site.papers() if paper not in stored]
    ann.open("/picture/")
    ann.upload("other.png", png(10, 10))
    [other_field] = ann.tokens()
    ann.open("/paper/")
    ann.upload("hers.txt", b"hers")
    [hers] = ann.tokens()
    with browser.new_context() as context:
        bob = Visitor(context, site, "bob")
        for visitor, token, words in (
            (bob, hers, "cannot be used"),
            (bob, used, "cannot be used"),
            (ann, used, "saved already"),
            (ann, other_field, "cannot be used"),
            (ann, f"/{name}", "cannot be used"),
            (ann, name, "cannot be used"),
            (ann, f"{hers}a", "cannot be used"),
        ):
            visitor.open("/paper/")
            visitor.page.get_by_label("Title").fill("stolen")
            visitor.page.locator("rex-upload").evaluate(INJECT, token)
            visitor.save()
            expect(visitor.page.get_by_text(words)).to_be_visible()
    assert [] == [paper for paper in site.papers() if paper[1] == "stolen"]


INJECT = """
(element, value) => {
  const input = document.createElement('input')
  element.append(Object.assign(input, { type: 'hidden', name: 'file-upload', value }))
}
"""


@pytest.fixture(params=[pytest.param("directory", marks=pytest.mark.again), "s3"])
def example(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Site]:
    """Serve the example over each kind of storage."""
    if request.param == "directory":
        with site_on_directory(tmp_path, EXAMPLE) as site:
            yield site
        return
    with site_on_s3(tmp_path, EXAMPLE, request.getfixturevalue("server")) as site:
        yield site


def test_users_of_the_example_keep_their_files_apart(browser: Browser, example: Site) -> None:
    """They upload, list, view and remove their own."""
    with browser.new_context() as first, browser.new_context() as second:
        ann, bob = Visitor(first, example), Visitor(second, example)
        for visitor, name in ((ann, "ann"), (bob, "bob")):
            visitor.open("/")
            visitor.page.get_by_label("Username").fill(name)
            visitor.page.get_by_label("Password").fill(PASSWORD)
            visitor.page.get_by_role("button", name="Log in").click()
            visitor.page.get_by_label("Title").fill(f"of {name}")
            visitor.choose(f"{name}.txt", name.encode())
            visitor.save()
        assert ["ann.txt", "bob.txt"] == example.names()
        bob.may_fail = True
        for visitor, name, others in ((ann, "ann", "bob"), (bob, "bob", "ann")):
            link = visitor.page.get_by_role("link", name=f"of {name}")
            expect(visitor.page.get_by_text(f"{others}.txt")).to_have_count(0)
            response = visitor.context.request.get(f"{example.url}{link.get_attribute('href')}")
            assert name.encode() == response.body()
        theirs = ann.page.get_by_role("link", name="of ann").get_attribute("href")
        assert 404 == bob.context.request.get(f"{example.url}{theirs}").status
        ann.page.get_by_role("button", name="Remove of ann").click()
        expect(ann.page.get_by_text("ann.txt")).to_have_count(0)
        assert ["bob.txt"] == example.names()
