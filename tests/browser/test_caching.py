"""What a browser keeps of an attachment, and to whom it shows that again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import httpx
import pytest

from browser.rig import serving_pages

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import BrowserContext, Page

    from rex.attach.backends.s3.storage import S3Storage
    from served import Served

pytestmark = pytest.mark.long

KEY = {"Authorization": "Bearer the-right-key-of-all"}
CONTENT = "the content"

FETCH = """
async ([url, headers]) => {
  const answer = await fetch(url, { headers })
  return [answer.status, await answer.text()]
}
"""


class Seen(NamedTuple):
    """What a page was given, and what the service was asked for that."""

    status: int
    text: str
    asked: list[int]
    """The statuses that the service answered with."""


class Reader:
    """A page of the service's own origin that fetches, and what came over the network for it."""

    def __init__(self, page: Page, origin: str) -> None:
        self._page = page
        self._sent: dict[str, int] = {}
        """The statuses that came over the network, by the request."""
        self._fetched: dict[str, bool | None] = {}
        """Whether the answer to a request came over the network; None as long as none came."""
        page.goto(origin)
        watching = page.context.new_cdp_session(page)
        watching.send("Network.enable")
        watching.on("Network.requestWillBeSent", self._note_request)
        watching.on("Network.responseReceived", self._note_response)
        # A response from the cache alone has no such event.
        watching.on("Network.responseReceivedExtraInfo", self._note_answer)

    def _note_request(self, event: dict[str, Any]) -> None:
        if event["type"] == "Fetch":  # and not the icon, which the browser asks for when it likes
            self._fetched[event["requestId"]] = None

    def _note_response(self, event: dict[str, Any]) -> None:
        if event["requestId"] in self._fetched:
            self._fetched[event["requestId"]] = event["hasExtraInfo"]

    def _note_answer(self, event: dict[str, Any]) -> None:
        self._sent[event["requestId"]] = event["statusCode"]

    def fetch(self, url: str, headers: dict[str, str] | None = None) -> Seen:
        """Fetch as a script does, with the browser's own cache."""
        self._fetched.clear()
        status, text = self._page.evaluate(FETCH, [url, headers or {}])
        while not self._is_known():
            self._page.evaluate("0")  # events are handled meanwhile
        return Seen(status, text, [self._sent[one] for one, sent in self._fetched.items() if sent])

    def _is_known(self) -> bool:
        return bool(self._fetched) and all(
            sent is False or (sent is True and request in self._sent)
            for request, sent in self._fetched.items()
        )


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """Run the service for those who have a key."""
    directory = tmp_path_factory.mktemp("guarded")
    settings: dict[str, Any] = {
        "attach_dir": directory / "attachments",
        "attach_access": "bearer",
        "attach_access_keys": KEY["Authorization"].removeprefix("Bearer "),
    }
    with serving_pages(directory, **settings) as served:
        yield served


@pytest.fixture
def client(guarded: Served) -> Iterator[httpx.Client]:
    """Open a client with the key, and without a cache."""
    with httpx.Client(base_url=guarded.url, headers=KEY) as client:
        yield client


@pytest.fixture
def path(client: httpx.Client) -> str:
    """Store an attachment; give its path."""
    stored = client.post("/attach/", params={"name": "a.txt"}, content=CONTENT)
    return str(stored.raise_for_status().headers["Location"])


@pytest.fixture
def reader(page: Page, guarded: Served) -> Reader:
    """Open a page at the service."""
    return Reader(page, f"{guarded.url}/health")


def test_what_a_rule_protects_is_asked_for_again_and_not_sent_again(
    reader: Reader, path: str
) -> None:
    """As long as the rule lets it: the bytes are those that the browser has (304)."""
    assert Seen(200, CONTENT, [200]) == reader.fetch(path, KEY)
    assert Seen(200, CONTENT, [304]) == reader.fetch(path, KEY)


def test_without_the_key_nothing_is_shown(
    reader: Reader, context: BrowserContext, guarded: Served, path: str
) -> None:
    """Not by a script, nor in another tab, however often the browser has had it with the key."""
    assert CONTENT == reader.fetch(path, KEY).text
    for headers in ({}, {"Authorization": "Bearer a-wrong-key"}):
        seen = reader.fetch(path, headers)
        assert (401, [401]) == (seen.status, seen.asked)
        assert CONTENT not in seen.text
    tab = context.new_page()
    answer = tab.goto(f"{guarded.url}{path}")
    assert answer is not None
    assert (401, False) == (answer.status, CONTENT in tab.content())
    # Who has the key is not sent away for that.
    assert CONTENT == reader.fetch(path, KEY).text


def test_what_was_removed_is_not_shown_again(
    reader: Reader, client: httpx.Client, path: str
) -> None:
    """The browser asks, and hears that it is gone."""
    assert CONTENT == reader.fetch(path, KEY).text
    assert 204 == client.delete(path).status_code
    seen = reader.fetch(path, KEY)
    assert (404, [404]) == (seen.status, seen.asked)
    assert CONTENT not in seen.text


def test_a_part_is_asked_for_again_too(reader: Reader, client: httpx.Client, path: str) -> None:
    """As it is of a video that is sought in."""
    part = {**KEY, "Range": "bytes=4-6"}
    assert (206, "con") == reader.fetch(path, part)[:2]
    assert [] != reader.fetch(path, part).asked
    assert 204 == client.delete(path).status_code
    assert 404 == reader.fetch(path, part).status


def test_a_list_and_a_refusal_are_not_kept(reader: Reader, client: httpx.Client, path: str) -> None:
    """Each is asked for again, and sent again."""
    for _ in range(2):
        assert [200] == reader.fetch("/attach/", KEY).asked
        assert [401] == reader.fetch("/attach/").asked
        assert [200] == reader.fetch(f"{path}?link", KEY).asked
    assert 204 == client.delete(path).status_code
    for _ in range(2):
        assert [404] == reader.fetch(path, KEY).asked


def test_an_answer_to_a_link_is_kept(reader: Reader, client: httpx.Client, path: str) -> None:
    """The address is the permission, so it is not asked for again while the link lasts."""
    link = client.get(f"{path}?link").json()["url"]
    assert Seen(200, CONTENT, [200]) == reader.fetch(link)
    assert Seen(200, CONTENT, []) == reader.fetch(link)


def test_an_answer_of_s3_to_a_link_is_kept(page: Page, s3_storage: S3Storage) -> None:
    """The link says so, whatever caching is stored with the object."""
    page_of_s3 = s3_storage.download_link(s3_storage.add("a.txt", "a page"), inline=True).url
    reader = Reader(page, page_of_s3)
    link = s3_storage.download_link(s3_storage.add("a.txt", CONTENT)).url
    assert Seen(200, CONTENT, [200]) == reader.fetch(link)
    assert Seen(200, CONTENT, []) == reader.fetch(link)
