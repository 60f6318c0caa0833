"""A form without JavaScript goes on to a page of the same site, and to no other."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urljoin, urlsplit

import pytest

from attach.web.test_app import ANYBODY, ask
from rex.attach import open_storage
from rex.attach.web import attachments

if TYPE_CHECKING:
    from collections.abc import Iterator

    import httpx

    from rex.attach import Storage

FILES = [("a", ("a b.txt", b"first")), ("b", ("ü&=.txt", b"second"))]


@pytest.fixture
def storage() -> Iterator[Storage]:
    """Give a storage in memory."""
    with open_storage("memory:") as storage:
        yield storage


def send(storage: Storage, *following: str, files: Any = FILES) -> httpx.Response:
    """Send a form, as a browser does."""
    params = [("next", each) for each in following]
    return ask(attachments(storage, ANYBODY), "POST", "/", params=params, files=files)


@pytest.mark.parametrize(
    ("following", "path", "query", "fragment"),
    [
        ("/", "/", [], ""),
        ("/documents/7", "/documents/7", [], ""),
        ("/documents/7?tab=files&x=", "/documents/7", [("tab", "files"), ("x", "")], ""),
        ("/a?handle=own#files", "/a", [("handle", "own")], "files"),
        ("/a b/ü", "/a%20b/%C3%BC", [], ""),
        ("/a%20b?c=%26", "/a%20b", [("c", "&")], ""),
        ("/.//evil.example", "/.//evil.example", [], ""),
        ("/@evil.example", "/@evil.example", [], ""),
        ("/x?u=https://evil.example", "/x", [("u", "https://evil.example")], ""),
    ],
)
def test_a_form_goes_on_to_a_page(
    storage: Storage, following: str, path: str, query: list[tuple[str, str]], fragment: str
) -> None:
    """With the handle of each file, in order; what is in the address already stays."""
    answer = send(storage, following)
    assert (303, b"", "no-store") == (
        answer.status_code,
        answer.content,
        answer.headers["Cache-Control"],
    )
    location = urlsplit(answer.headers["Location"])
    assert ("", "", path, fragment) == (
        location.scheme,
        location.netloc,
        location.path,
        location.fragment,
    )
    assert "here.example" == urlsplit(urljoin("https://here.example/", location.geturl())).netloc
    added = parse_qsl(location.query, keep_blank_values=True)
    assert query == added[: len(query)]
    assert ["handle", "handle"] == [name for name, _ in added[len(query) :]]
    handles = [handle for _, handle in added[len(query) :]]
    assert [b"first", b"second"] == [storage.open(handle).read() for handle in handles]


@pytest.mark.parametrize(
    "following",
    [
        "",
        "documents",
        "//evil.example",
        "///evil.example",
        "/\\evil.example",
        "\\\\evil.example",
        "/a\\b",
        "https://evil.example",
        "https:/evil.example",
        "https:evil.example",
        "javascript:alert(1)",
        "data:text/html,x",
        " /a",
        "\t/a",
        "/\t/evil.example",
        "/\n/evil.example",
        "/a\r\nSet-Cookie: x=1",
        "/a\0",
        "/\u2028",
        "/\u202e",
        "?next=/a",
        "#a",
        "@evil.example",
        "/" + "a" * 2000,
    ],
)
def test_it_goes_to_no_other_site(storage: Storage, following: str) -> None:
    """Nor to what a browser could take for one; nothing is stored then."""
    answer = send(storage, following)
    assert (400, None) == (answer.status_code, answer.headers.get("Location"))
    assert [] == [*storage]


def test_there_is_one_page(storage: Storage) -> None:
    """A proxy might read the first of two, and the service the last."""
    assert 400 == send(storage, "/a", "/b").status_code
    assert [] == [*storage]


def test_bytes_with_a_name_go_on_too(storage: Storage) -> None:
    """The parameter is that of the address, not of the form."""
    answer = ask(
        attachments(storage, ANYBODY), "POST", "/", params={"name": "a", "next": "/x"}, content=b"x"
    )
    assert 303 == answer.status_code
    [handle] = storage
    assert [("handle", handle)] == parse_qsl(urlsplit(answer.headers["Location"]).query)


def test_an_upload_that_fails_goes_nowhere(storage: Storage) -> None:
    """The browser shows the error."""
    answer = send(storage, "/a", files=[])
    assert (400, None) == (answer.status_code, answer.headers.get("Location"))
    assert 201 == send(storage).status_code
