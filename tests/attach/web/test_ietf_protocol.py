"""Resumable uploads of the IETF as a table: what draft 12 demands of a server, a line each.

A line names the section, how binding it is, what is promised, the state of the upload, the request
and the answer, and what is asked afterwards. The sections are those of
draft-ietf-httpbis-resumable-upload-12 (July 2026). Demands on clients are not here, nor are these
on servers that send interim responses, which `test_ietf_interim` shows.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple, TypeVar

import httpx
import pytest

from rex.attach import open_storage
from rex.attach.web import Access, attachments
from rex.attach.web.access import access_rule

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping
    from pathlib import Path

    from rex.attach import Storage

FIRST, LAST = b"hello ", b"world"
WHOLE = FIRST + LAST
MAX_SIZE = 1000
TYPE = "application/partial-upload"
OTHER_DIGEST = f"sha-256=:{'A' * 43}=:"
IANA = "https://iana.org/assignments/http-problem-types#"

T = TypeVar("T")

Expected = str | Callable[[str | None], bool]


class Request(NamedTuple):
    """A request to the root (POST, OPTIONS) or to the upload."""

    method: str
    headers: dict[str, str]
    body: bytes = b""
    is_chunked: bool = False


class Answer(NamedTuple):
    """What is expected of a response; `problem` has members of the document."""

    status: int
    headers: dict[str, Expected]
    problem: dict[str, object]


class Row(NamedTuple):
    """One line of the table."""

    section: str
    level: str
    promise: str
    upload: str
    steps: tuple[tuple[Request, Answer], ...]


class Client:
    """Makes requests to the service in this process."""

    def __init__(self, storage: Storage) -> None:
        self.storage = storage
        self._app = attachments(storage, Access(access_rule("public", None)))

    def ask(self, path: str, request: Request) -> httpx.Response:
        """Make a request."""
        return asyncio.run(self._ask(path, request))

    async def _ask(self, path: str, request: Request) -> httpx.Response:
        async def chunks() -> AsyncIterator[bytes]:
            yield request.body

        content = chunks() if request.is_chunked else request.body
        transport = httpx.ASGITransport(self._app)
        async with httpx.AsyncClient(transport=transport, base_url="http://here") as client:
            return await client.request(
                request.method, path, headers=request.headers, content=content
            )


def ask(method: str, body: bytes = b"", *, chunked: bool = False, **headers: str) -> Request:
    """Make a request; an underscore in the name of a header stands for a hyphen."""
    return Request(method, _named(headers), body, chunked)


def post(complete: str, body: bytes = b"", *, chunked: bool = False, **headers: str) -> Request:
    """Make a creation."""
    named = {"Upload_Complete": complete, "Content_Disposition": 'inline; filename="a.txt"'}
    return ask("POST", body, chunked=chunked, **{**named, **headers})


def patch(
    offset: object, complete: str, body: bytes = b"", *, chunked: bool = False, **headers: str
) -> Request:
    """Make an append."""
    named = {"Upload_Offset": str(offset), "Upload_Complete": complete, "Content_Type": TYPE}
    sent = {name: value for name, value in {**named, **headers}.items() if value}
    return ask("PATCH", body, chunked=chunked, **sent)


def is_(
    status: int, problem: str = "", members: Mapping[str, object] | None = None, **headers: Expected
) -> Answer:
    """Expect a response; `problem` is the name of a type that the drafts register."""
    expected: dict[str, object] = {"type": f"{IANA}{problem}"} if problem else {}
    expected |= members or {}
    return Answer(status, _named(headers), expected)


def at(offset: int, complete: str = "?0", **headers: str) -> tuple[Request, Answer]:
    """Expect HEAD to tell an offset."""
    expected = {"Upload_Offset": str(offset), "Upload_Complete": complete, **headers}
    return HEAD, is_(204, "", None, **expected)


def missing(found: str | None) -> bool:
    """Check that a header is absent."""
    return found is None


def is_upload(found: str | None) -> bool:
    """Check for the URL of an upload."""
    return found is not None and found.startswith("/uploads/")


def is_file(found: str | None) -> bool:
    """Check for the URL of an attachment."""
    return found is not None and found.startswith("/2")


def limits(*wanted: str) -> Callable[[str | None], bool]:
    """Expect members of Upload-Limit, a dictionary that is not empty."""
    return lambda found: (
        found is not None
        and all(any(part.strip().startswith(each) for part in found.split(",")) for each in wanted)
    )


def _named(headers: Mapping[str, T]) -> dict[str, T]:
    return {name.replace("_", "-"): value for name, value in headers.items()}


HEAD = ask("HEAD")
DONE = at(11, "?1", Upload_Length="11")
GONE = HEAD, is_(404, Upload_Offset=missing)

UPLOADS: dict[str, tuple[Request, ...]] = {
    "none": (),
    "new": (post("?0", Upload_Length="11"),),
    "half": (post("?0", FIRST, Upload_Length="11"),),
    "of unknown length": (post("?0", FIRST),),
    "at its length": (post("?0", WHOLE, Upload_Length="11"),),
    "complete": (post("?0", FIRST, Upload_Length="11"), patch(6, "?1", LAST)),
    "cancelled": (post("?0", FIRST), ask("DELETE")),
}


def row(  # noqa: PLR0917 - the columns of the table
    section: str,
    level: str,
    promise: str,
    upload: str,
    request: Request,
    answer: Answer,
    *then: tuple[Request, Answer],
) -> Row:
    """Make a line."""
    return Row(section, level, promise, upload, ((request, answer), *then))


# fmt: off
TABLE = [
    # 4.1.1 Offset
    row("4.1.1", "MUST NOT", "the offset does not decrease after a refused append", "half",
        patch(0, "?0", b"again"), is_(409), at(6)),
    row("4.1.1", "MUST", "an upload whose state is lost is not there", "cancelled",
        patch(6, "?0", LAST), is_(404), GONE),
    *(row("4.1.1", "MUST", f"the offset {given!r} is ignored, so that it is missing", "half",
          patch(given, "?0", LAST), is_(400, Upload_Complete="?0"), at(6))
      for given in ("-1", "6.0", "six", "6, 6", '"6"', "?1", "1" * 16, "6;", "0x6")),
    row("4.1.1", "MUST", "parameters of the offset are ignored", "half",
        patch("6;a=1;b", "?0", LAST), is_(204, Upload_Offset="11")),
    row("4.1.1", "MUST", "a huge offset is that of another upload", "half",
        patch("9" * 15, "?0", LAST), is_(409, Upload_Offset="6"), at(6)),
    # 4.1.2 Completeness
    *(row("4.1.2", "MUST", f"Upload-Complete {given!r} is ignored: a conventional upload", "none",
          post(given, WHOLE), is_(201, Location=is_file, Upload_Complete=missing))
      for given in ("1", "true", "?2", "?1, ?0", "?")),
    row("4.1.2", "MUST", "Upload-Complete that is ignored is missing in an append", "half",
        patch(6, "yes", LAST), is_(400), at(6)),
    row("4.1.2", "MUST NOT", "no data is appended after completion", "complete",
        patch(11, "?0", b"more"), is_(400, "completed-upload", Upload_Complete="?0"), DONE),
    row("4.1.2", "MUST NOT", "no data is appended after completion, of unknown length", "complete",
        patch(11, "?1", b"more", chunked=True), is_(400, "completed-upload"), DONE),
    # 4.1.3 Length
    row("4.1.3", "MUST", "both indicators of the length must match at creation", "none",
        post("?1", WHOLE, Upload_Length="12"), is_(400, "inconsistent-upload-length")),
    row("4.1.3", "MUST", "so must they if only the end of the content tells", "none",
        post("?1", WHOLE, chunked=True, Upload_Length="12"),
        is_(400, "inconsistent-upload-length")),
    row("4.1.3", "MUST", "both indicators must match in an append", "half",
        patch(6, "?1", LAST, Upload_Length="12"), is_(400, "inconsistent-upload-length"), at(6)),
    row("4.1.3", "MUST", "the length of several requests must match", "half",
        patch(6, "?0", b"w", Upload_Length="12"), is_(400, "inconsistent-upload-length"), at(6)),
    row("4.1.3", "MUST", "the content that completes an upload must reach its length", "half",
        patch(6, "?1", b"w"), is_(400, "inconsistent-upload-length"), at(6)),
    *(row("4.1.3", "MUST", f"Upload-Length {given!r} is ignored", "none",
          post("?0", FIRST, Upload_Length=given), is_(201, Upload_Length=missing))
      for given in ("-1", "11.5", "eleven", "11, 11", "1" * 16)),
    row("4.1.3", "may", "at its length, an upload is incomplete until the client says so",
        "at its length", HEAD, is_(204, Upload_Complete="?0", Upload_Offset="11"),
        (patch(11, "?1"), is_(201, Location=is_file, Upload_Complete="?1")), DONE),
    # 4.1.4 Limits
    row("4.1.4", "MUST", "OPTIONS tells the limits of the resource", "none",
        ask("OPTIONS"), is_(204, Upload_Limit=limits(f"max-size={MAX_SIZE}"))),
    row("4.1.4", "SHOULD", "413 has the limits", "none",
        post("?0", Upload_Length=str(MAX_SIZE + 1)),
        is_(413, Upload_Limit=limits(f"max-size={MAX_SIZE}"), Location=missing)),
    row("4.1.4", "SHOULD NOT", "the largest size stays the same", "half",
        HEAD, is_(204, Upload_Limit=limits(f"max-size={MAX_SIZE}", "max-age="))),
    # 4.2.2 Creation
    row("4.2.2", "MUST", "content of a part has Location and limits", "none",
        post("?0", FIRST), is_(201, Location=is_upload, Upload_Limit=limits("max-age="),
                               Upload_Complete="?0"), at(6)),
    row("4.2.2", "MUST", "an empty creation has Location and limits", "none",
        post("?0"), is_(201, Location=is_upload, Upload_Limit=limits("max-age=")), at(0)),
    row("4.2.2", "MUST", "the length is recorded: Upload-Length", "new",
        HEAD, is_(204, Upload_Length="11")),
    row("4.2.2", "MUST", "the whole at once needs no upload", "none",
        post("?1", WHOLE), is_(201, Location=is_file, Upload_Complete="?1")),
    row("4.2.2", "MUST", "an empty file at once", "none",
        post("?1"), is_(201, Location=is_file, Upload_Complete="?1")),
    # 4.3.2 Offset retrieval
    row("4.3.2", "MUST", "HEAD has offset, completeness, length and limits; no-store", "half",
        HEAD, is_(204, Upload_Offset="6", Upload_Complete="?0", Upload_Length="11",
                  Upload_Limit=limits("max-age="), Cache_Control="no-store")),
    row("4.3.2", "MUST", "GET has the same", "half",
        ask("GET"), is_(204, Upload_Offset="6", Upload_Complete="?0", Upload_Length="11",
                        Upload_Limit=limits("max-age="), Cache_Control="no-store")),
    row("4.3.2", "MUST", "no length where the client told none", "of unknown length",
        HEAD, is_(204, Upload_Offset="6", Upload_Length=missing)),
    row("4.3.2", "MUST", "a complete upload says so", "complete",
        HEAD, is_(204, Upload_Offset="11", Upload_Complete="?1", Upload_Length="11",
                  Upload_Limit=limits("max-size="))),
    # 4.4.2 Append
    row("4.4.2", "MUST", "another offset is 409 with the right one", "half",
        patch(5, "?1", LAST),
        is_(409, "mismatching-upload-offset", {"expected-offset": 6, "provided-offset": 5},
            Upload_Offset="6", Upload_Complete="?0"), at(6)),
    row("4.4.2", "MUST", "so it is for a complete upload", "complete",
        patch(6, "?1", LAST), is_(409, "mismatching-upload-offset", Upload_Offset="11",
                                  Upload_Complete="?0"), DONE),
    row("4.4.2", "MUST", "the response to the last content says that it is", "half",
        patch(6, "?1", LAST), is_(201, Location=is_file, Upload_Complete="?1"), DONE),
    row("4.4.2", "MUST", "so it does for content whose end tells its size", "of unknown length",
        patch(6, "?1", LAST, chunked=True), is_(201, Location=is_file, Upload_Complete="?1"), DONE),
    row("4.4.2", "MUST", "so it does without content", "of unknown length",
        patch(6, "?1"), is_(201, Upload_Complete="?1"), at(6, "?1", Upload_Length="6")),
    row("4.4.2", "MUST", "content in between is acknowledged", "half",
        patch(6, "?0", b"wo"), is_(204, Upload_Complete="?0", Upload_Offset="8"), at(8)),
    row("4.4.2", "can", "the final response is repeated", "complete",
        patch(11, "?1"), is_(201, Location=is_file, Upload_Complete="?1"), DONE),
    row("4.4.2", "MUST", "the length is recorded: Upload-Length", "of unknown length",
        patch(6, "?0", b"wo", Upload_Length="11"), is_(204), at(8, Upload_Length="11")),
    row("4.4.2", "MUST", "content beyond the length invalidates the upload", "half",
        patch(6, "?0", b"world!"), is_(400, "inconsistent-upload-length"), GONE),
    row("4.4.2", "MUST", "so it does without Content-Length", "half",
        patch(6, "?0", b"world!", chunked=True), is_(400, "inconsistent-upload-length"), GONE),
    row("4.4.2", "MUST", "so it does with content that ends the upload", "half",
        patch(6, "?1", b"world!", chunked=True), is_(400, "inconsistent-upload-length"), GONE),
    row("4.4.1", "MUST", "Upload-Complete is required", "half",
        patch(6, "", LAST), is_(400), at(6)),
    row("4.4.1", "MUST", "Upload-Offset is required", "half",
        ask("PATCH", LAST, Upload_Complete="?0", Content_Type=TYPE), is_(400), at(6)),
    row("6", "MUST", "another media type is 415 with the right one (RFC 5789)", "half",
        patch(6, "?0", LAST, Content_Type="text/plain"),
        is_(415, Accept_Patch=TYPE, Upload_Complete="?0"), at(6)),
    # 4.5.2 Cancellation
    row("4.5.2", "SHOULD", "DELETE deactivates the upload", "half",
        ask("DELETE"), is_(204), GONE, (patch(6, "?1", LAST), is_(404))),
    # 10.2 Content digests (of number 11; RFC 9530)
    row("10.2", "SHOULD", "content with another digest is not appended", "half",
        patch(6, "?0", LAST, Content_Digest=OTHER_DIGEST), is_(400, Upload_Complete="?0"), at(6)),
    *(row("10.1", "SHOULD", f"a file with another digest is not stored, {way}", "none",
          post("?1", WHOLE, chunked="without a length" in way, Repr_Digest=OTHER_DIGEST, **more),
          is_(400, Location=missing, Upload_Complete="?0"))
      for way, more in (("at once", {}), ("without a length", {}),
                        ("version 6", {"Upload_Draft_Interop_Version": "6"}))),
    row("10.1", "can", "the digest of a file is not that of its parts", "none",
        post("?0", FIRST, Repr_Digest=OTHER_DIGEST), is_(201, Location=is_upload), at(6)),
    row("10.2", "can", "content with its digest is appended", "half",
        patch(6, "?1", LAST,
              Content_Digest="sha-256=:SG6kYiTRu0+2gPNPfJrZao8k7Ii+c+qOWmxlJg6cuKc=:"),
        is_(201, Upload_Complete="?1"), DONE),
    # 13 Security: slow clients cannot keep an upload by small appends (`test_ietf_hostile`).
    # Appendix: versions of drafts
    row("Versions", "may", "version 3 has Upload-Incomplete", "none",
        ask("POST", FIRST, Upload_Draft_Interop_Version="3", Upload_Incomplete="?1",
            Content_Disposition="inline; filename=a"),
        is_(201, Upload_Incomplete="?1", Upload_Complete=missing, Upload_Offset="6"),
        (ask("PATCH", LAST, Upload_Draft_Interop_Version="3", Upload_Offset="6"),
         is_(201, Upload_Incomplete="?0")), DONE),
    row("Versions", "may", "up to version 6, the length completes", "none",
        post("?0", FIRST, Upload_Length="11", Upload_Draft_Interop_Version="6"),
        is_(201, Upload_Complete="?0"),
        (patch(6, "?0", LAST, Upload_Draft_Interop_Version="6"), is_(201, Upload_Complete="?1")),
        DONE),
    row("Versions", "may", "up to version 5, PATCH has no media type", "half",
        patch(6, "?1", LAST, Content_Type="", Upload_Draft_Interop_Version="5"),
        is_(201, Upload_Complete="?1"), DONE),
    row("Versions", "may", "a later version is treated as the newest", "half",
        patch(6, "?1", LAST, Upload_Draft_Interop_Version="10"), is_(201, Upload_Complete="?1")),
    row("Versions", "may", "version 2 is refused", "none",
        post("?0", FIRST, Upload_Draft_Interop_Version="2"), is_(400, Location=missing)),
]
# fmt: on


@pytest.fixture
def storage(tmp_path: Path) -> Storage:
    """Return a storage without an upload."""
    return open_storage(tmp_path, max_size=MAX_SIZE)


@pytest.mark.parametrize("line", TABLE, ids=[f"{each.section}: {each.promise}" for each in TABLE])
def test_a_server_does_what_the_draft_demands(line: Row, storage: Storage) -> None:
    """Each request gets its response, and what is stored is the whole or nothing."""
    client = Client(storage)
    place = "/"
    for request in UPLOADS[line.upload]:
        found = client.ask(place, request)
        assert found.is_success, found.text
        place = found.headers["Location"] if place == "/" else place
    for request, expected in line.steps:
        found = client.ask(place, request)
        assert expected.status == found.status_code, found.text
        for name, value in expected.headers.items():
            given = found.headers.get(name)
            assert (value == given) if isinstance(value, str) else value(given), (name, given)
        if expected.problem:
            document = json.loads(found.content)
            assert document == document | expected.problem
            assert "application/problem+json" == found.headers["Content-Type"]
        if is_upload(found.headers.get("Location")):
            place = found.headers["Location"]
    assert {storage.open(handle).read() for handle in storage} <= {WHOLE, FIRST, b""}
