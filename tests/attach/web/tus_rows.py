"""What a line of the table of tus is made of: an upload, a request about it, and the answer."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from attach.web.tus_client import FOLDER, PIECE, Client, encoded

if TYPE_CHECKING:
    from collections.abc import Mapping

    import httpx

T = TypeVar("T")

FIRST, LAST = b"hello ", b"world"
WHOLE = FIRST + LAST
METADATA = f"filename {encoded('größe.txt')},filetype {encoded('text/x-row')},flag,empty "
MAX_SIZE = 1000

Expected = str | Callable[[str | None], bool]
"""What a header has to be: a text, or what a function takes (None stands for no header)."""


class Request(NamedTuple):
    """A request; ``{first}`` and its like in its headers stand for addresses."""

    method: str
    headers: dict[str, str]
    body: bytes = b""


class Answer(NamedTuple):
    """What is expected of an answer."""

    status: int
    headers: dict[str, Expected]
    content: bytes | None = None


class Row(NamedTuple):
    """One line of the table."""

    level: str
    promise: str
    upload: str
    """The state that the upload is in, a key of `UPLOADS`."""
    request: Request
    answer: Answer
    then: tuple[tuple[Request, Answer], ...] = ()
    """What follows, at the address in Location where there is one."""
    is_about_headers: bool = False
    """Whether it does not depend on the storage."""

    def check(self, client: Client) -> None:
        """Make the requests, and compare the answers."""
        addresses = UPLOADS[self.upload](client)
        place = addresses["address"]
        for request, expected in ((self.request, self.answer), *self.then):
            headers = {name: value.format(**addresses) for name, value in request.headers.items()}
            content = request.body or None
            answer = client.ask(request.method, place, headers=headers, content=content)
            _compare(answer, expected, addresses)
            place = answer.headers.get("Location", place)


def _compare(answer: httpx.Response, expected: Answer, addresses: Mapping[str, str]) -> None:
    assert expected.status == answer.status_code, answer.text
    # Every answer names the version of the server.
    assert "1.0.0" == answer.headers["Tus-Resumable"]
    for name, value in expected.headers.items():
        found = answer.headers.get(name)
        if isinstance(value, str):
            assert value.format(**addresses) == found, name
        else:
            assert value(found), f"{name}: {found}"
    assert expected.content in (None, answer.content)


# Lines.


def must(
    promise: str, upload: str, request: Request, answer: Answer, *then: tuple[Request, Answer]
) -> Row:
    """Make a line of what the protocol demands."""
    return Row("MUST", promise, upload, request, answer, then)


def should(
    promise: str, upload: str, request: Request, answer: Answer, *then: tuple[Request, Answer]
) -> Row:
    """Make a line of what the protocol recommends."""
    return Row("SHOULD", promise, upload, request, answer, then)


def may(
    promise: str, upload: str, request: Request, answer: Answer, *then: tuple[Request, Answer]
) -> Row:
    """Make a line of what the protocol leaves to the server, or of what it does not know."""
    return Row("MAY", promise, upload, request, answer, then)


def about_headers(*rows: Row) -> list[Row]:
    """Mark lines that do not depend on the storage."""
    return [row._replace(is_about_headers=True) for row in rows]


# Requests and answers.


def ask(method: str, body: bytes = b"", **headers: str) -> Request:
    """Make a request; an underscore in the name of a header stands for a hyphen."""
    return Request(method, _named(headers), body)


def post(size: object = None, body: bytes = b"", **headers: str) -> Request:
    """Make a creation."""
    length = {} if size is None else {"Upload-Length": str(size)}
    return Request("POST", {**length, **_named(headers)}, body)


def patch(offset: object, body: bytes = b"", **headers: str) -> Request:
    """Make a piece."""
    return Request("PATCH", {**PIECE, "Upload-Offset": str(offset), **_named(headers)}, body)


def is_(status: int, content: bytes | None = None, **headers: Expected) -> Answer:
    """Expect an answer."""
    return Answer(status, _named(headers), content)


def at(offset: int, **headers: Expected) -> tuple[Request, Answer]:
    """Expect HEAD to tell an offset."""
    return ask("HEAD"), is_(200, None, Upload_Offset=str(offset), **headers)


def holds(content: bytes) -> tuple[Request, Answer]:
    """Expect GET to give some content."""
    return ask("GET"), is_(200, content)


def _named(headers: Mapping[str, T]) -> dict[str, T]:
    return {name.replace("_", "-"): value for name, value in headers.items()}


# What a header may be.


def missing(found: str | None) -> bool:
    """Tell whether there is no such header."""
    return found is None


def given(found: str | None) -> bool:
    """Tell whether there is one, whatever it says."""
    return bool(found)


def lists(*items: str) -> Callable[[str | None], bool]:
    """Expect these items among those that commas separate."""
    return lambda found: {*items} <= {*(found or "").replace(" ", "").split(",")}


def lists_no(item: str) -> Callable[[str | None], bool]:
    """Expect other items."""
    return lambda found: item not in (found or "").replace(" ", "").split(",")


def date(found: str | None) -> bool:
    """Tell whether it is a date of HTTP (RFC 9110, section 5.6.7)."""
    return found is not None and found.endswith(" GMT") and parsedate_to_datetime(found) is not None


def lower_case(found: str | None) -> bool:
    """Tell whether it is ASCII without upper case."""
    return found is not None and found.isascii() and found == found.lower()


def checksum(content: bytes, algorithm: str = "sha1") -> str:
    """Return the Upload-Checksum of some content."""
    return f"{algorithm} {encoded(hashlib.new(algorithm, content).digest())}"


# The uploads that lines are about.


def _new(client: Client) -> dict[str, str]:
    return {"address": client.create(len(WHOLE), Upload_Metadata=METADATA)}


def _half(client: Client) -> dict[str, str]:
    upload = _new(client)
    client.patch(upload["address"], 0, FIRST)
    return upload


def _complete(client: Client) -> dict[str, str]:
    upload = _half(client)
    client.patch(upload["address"], len(FIRST), LAST)
    return upload


def _deferred(client: Client) -> dict[str, str]:
    address = client.create(Upload_Metadata=METADATA)
    client.patch(address, 0, FIRST)
    return {"address": address}


def _told_later(client: Client) -> dict[str, str]:
    upload = _deferred(client)
    client.patch(upload["address"], len(FIRST), b"", Upload_Length=str(len(WHOLE)))
    return upload


def _expired(client: Client) -> dict[str, str]:
    client.storage.upload_expires = 0
    return _half(client)


def _terminated(client: Client) -> dict[str, str]:
    upload = _half(client)
    client.ask("DELETE", upload["address"])
    return upload


def _partial(client: Client) -> dict[str, str]:
    address = client.create(len(FIRST), Upload_Concat="partial", Upload_Metadata=METADATA)
    client.patch(address, 0, FIRST[:1])
    return {"address": address}


def _complete_partial(client: Client) -> dict[str, str]:
    upload = _partial(client)
    client.patch(upload["address"], 1, FIRST[1:])
    return upload


def _parts(client: Client) -> dict[str, str]:
    """Make two parts that are complete, one that is not, and what is not a part."""
    second = client.create(len(LAST), Upload_Concat="partial")
    client.patch(second, 0, LAST)
    return {
        "address": "/tus",
        "first": _complete_partial(client)["address"],
        "second": second,
        "short": _partial(client)["address"],
        "other": _complete(client)["address"],
        "nowhere": f"{FOLDER}/a.txt",
    }


def _final(client: Client, **headers: str) -> dict[str, str]:
    parts = _parts(client)
    return {**parts, "address": client.join(parts["first"], parts["second"], **headers)}


UPLOADS: dict[str, Callable[[Client], dict[str, str]]] = {
    "none": lambda _: {"address": "/tus"},
    "unknown": lambda _: {"address": f"{FOLDER}/a.txt"},
    "new": _new,
    "without metadata": lambda client: {"address": client.create(len(WHOLE))},
    "half": _half,
    "complete": _complete,
    "empty": lambda client: {"address": client.create(0, Upload_Metadata=METADATA)},
    "of unknown length": _deferred,
    "of a length told later": _told_later,
    "expired": _expired,
    "terminated": _terminated,
    "partial": _partial,
    "complete partial": _complete_partial,
    "parts": _parts,
    "used part": lambda client: {"address": _final(client)["first"]},
    "final": lambda client: _final(client, Upload_Metadata=METADATA),
    "final without metadata": _final,
}
