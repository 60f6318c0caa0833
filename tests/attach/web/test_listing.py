"""What a listing tells of each attachment, for little or for more."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from attach.web.test_app import ANYBODY, ask
from rex.attach import open_storage
from rex.attach.web import attachments
from rex.core import Error, Kind

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rex.attach import Storage
    from rex.attach.backends.s3.storage import S3Storage


@pytest.fixture
def memory() -> Iterator[Storage]:
    """Give a storage in memory."""
    with open_storage("memory:") as storage:
        yield storage


def listed(storage: Storage, path: str = "/") -> list[dict[str, Any]]:
    """Ask for all pages; give the attachments on them."""
    app = attachments(storage, ANYBODY)
    found = []
    there: str | None = path
    while there is not None:
        answer = ask(app, "GET", there)
        assert 200 == answer.status_code, answer.text
        found += answer.json()["attachments"]
        there = answer.json()["next"]
    return found


def test_a_listing_has_names_and_asks_for_nothing_more(
    memory: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The name is in the handle: on a server, a page is one request."""
    handle = memory.add("Größe.txt", b"content")
    monkeypatch.delattr(type(memory), "_head")
    for path in ("/", "/?details=0", "/?details="):
        assert [{"handle": handle, "url": handle, "name": "Größe.txt"}] == [
            {**each, "url": handle} for each in listed(memory, path)
        ]


@pytest.mark.parametrize("kind", ["memory", "s3"])
def test_details_are_those_of_the_metadata(kind: str, memory: Storage, s3: S3Storage) -> None:
    """On every page, in the order of the listing."""
    storage = memory if kind == "memory" else s3
    handles = sorted(storage.add(f"{number}.png", b"x" * number) for number in range(5))
    names = ("handle", "name", "size", "content_type", "modified")
    expected = [
        {name: storage.info(handle).as_dict()[name] for name in names} for handle in handles
    ]
    found = listed(storage, "/?details=1&limit=2")
    assert expected == [{name: each[name] for name in names} for each in found]
    for handle in handles:
        storage.remove(handle)


def test_what_is_removed_meanwhile_is_left_out(
    memory: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And a storage that fails makes the page fail, with its own status."""
    first, gone = sorted(memory.add("a.txt", b"x") for _ in range(2))
    right = type(memory)._head

    def head(storage: Storage, key: str) -> Any:
        if key == gone[1:]:
            raise failure
        return right(storage, key)

    monkeypatch.setattr(type(memory), "_head", head)
    failure: Exception = FileNotFoundError()
    assert [first] == [each["handle"] for each in listed(memory, "/?details=1")]
    failure = Error("The disk is gone", kind=Kind.UNAVAILABLE)
    answer = ask(attachments(memory, ANYBODY), "GET", "/?details=1")
    assert (503, "unavailable") == (answer.status_code, answer.json()["kind"])


@pytest.mark.parametrize("given", ["2", "all", "size"])
def test_details_are_a_switch(given: str, memory: Storage) -> None:
    """Anything else is refused."""
    assert 400 == ask(attachments(memory, ANYBODY), "GET", f"/?details={given}").status_code
