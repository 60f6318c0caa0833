"""The protocol tus 1.0.0 (2016-03-25) as a table: what a server has to do, a line each.

A line says how binding it is, what is promised, in which state the upload is, the request and the
answer, and what is asked for afterwards. Where the storage matters, each kind of it is tried.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from attach.harnesses import LocalHarness, MemoryHarness, S3Harness
from attach.web.tus_client import PIECE, Client, encoded
from attach.web.tus_rows import (
    FIRST,
    LAST,
    MAX_SIZE,
    METADATA,
    WHOLE,
    Row,
    about_headers,
    ask,
    at,
    checksum,
    date,
    given,
    holds,
    is_,
    lists,
    lists_no,
    lower_case,
    may,
    missing,
    must,
    patch,
    post,
    should,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rex.attach import Storage

pytestmark = pytest.mark.long

STORAGES = ("memory", "directory", "s3")

TYPE = PIECE["Content-Type"]
HALF = at(6)
DONE = at(11), holds(WHOLE)
GONE = ask("HEAD"), is_(404, Upload_Offset=missing)
GOES_ON = HALF, (patch(6, LAST), is_(204, Upload_Offset="11")), holds(WHOLE)

# fmt: off
TABLE: dict[str, list[Row]] = {

"Tus-Resumable": [
    must("POST in another version is 412, and nothing is begun", "none",
         post(11, Tus_Resumable="0.2.2"), is_(412, Tus_Version="1.0.0", Location=missing)),
    must("HEAD in another version is 412", "half",
         ask("HEAD", Tus_Resumable="0.2.2"), is_(412, Tus_Version="1.0.0", Upload_Offset=missing)),
    must("PATCH in another version is 412, and nothing is stored", "half",
         patch(6, LAST, Tus_Resumable="0.2.2"), is_(412, Tus_Version="1.0.0"), HALF),
    must("DELETE in another version is 412, and nothing is removed", "half",
         ask("DELETE", Tus_Resumable="0.2.2"), is_(412, Tus_Version="1.0.0"), HALF),
    *about_headers(
        must("POST without a version is 412", "none",
             post(11, Tus_Resumable=""), is_(412, Tus_Version="1.0.0", Location=missing)),
        must("HEAD without a version is 412", "half",
             ask("HEAD", Tus_Resumable=""), is_(412, Tus_Version="1.0.0")),
        must("PATCH without a version is 412", "half",
             patch(6, LAST, Tus_Resumable=""), is_(412, Tus_Version="1.0.0"), HALF),
        must("DELETE without a version is 412", "half",
             ask("DELETE", Tus_Resumable=""), is_(412, Tus_Version="1.0.0"), HALF),
        must("a method that there is not has an answer with the version", "half",
             ask("PUT"), is_(405, Allow="DELETE, GET, HEAD, OPTIONS, PATCH")),
    ),
],

"Upload-Offset and Upload-Length": about_headers(
    *(must(f"an offset is a number that is not negative: not {offset!r}", "half",
           patch(offset, LAST), is_(400), HALF)
      for offset in ("-1", "+6", "6.0", "0x6", "six", "6,6", "")),
    *(must(f"a length is a number that is not negative: not {size!r}", "none",
           post(size), is_(400, Location=missing))
      for size in ("-1", "+11", "11.0", "1e3", "eleven", "11,11")),
),

"OPTIONS": about_headers(
    must("it names the versions, in whatever version it is asked", "none",
         ask("OPTIONS", Tus_Resumable="0.2.2"), is_(204, Tus_Version="1.0.0")),
    must("it names the versions, asked in none", "none",
         ask("OPTIONS", Tus_Resumable=""), is_(204, Tus_Version="1.0.0")),
    should("it names the largest size", "none", ask("OPTIONS"), is_(204, Tus_Max_Size="1000")),
    may("it tells the same at an upload", "half",
        ask("OPTIONS"), is_(204, Tus_Version="1.0.0", Tus_Extension=given, Tus_Max_Size="1000")),
    *(must(f"it announces {extension}", "none",
           ask("OPTIONS"), is_(204, Tus_Extension=lists(extension)))
      for extension in ("creation", "creation-with-upload", "creation-defer-length", "expiration",
                        "checksum", "termination", "concatenation")),
    *(must(f"it does not announce {extension}, which is not supported", "none",
           ask("OPTIONS"), is_(204, Tus_Extension=lists_no(extension)))
      for extension in ("checksum-trailer", "concatenation-unfinished")),
    must("it names the algorithms, sha1 among them", "none",
         ask("OPTIONS"), is_(204, Tus_Checksum_Algorithm=lists("sha1"))),
    must("the names of the algorithms have no upper case", "none",
         ask("OPTIONS"), is_(204, Tus_Checksum_Algorithm=lower_case)),
),

"X-HTTP-Method-Override": about_headers(
    must("a POST with it is a PATCH", "half",
         ask("POST", LAST, X_HTTP_Method_Override="PATCH", Content_Type=TYPE, Upload_Offset="6"),
         is_(204, Upload_Offset="11"), *DONE),
    must("a POST with it is a DELETE", "half",
         ask("POST", X_HTTP_Method_Override="DELETE"), is_(204), GONE),
    must("a POST with it is a HEAD", "half",
         ask("POST", X_HTTP_Method_Override="HEAD"), is_(200, b"", Upload_Offset="6")),
    may("a GET with it stays a GET: a proxy may let GET pass, and nothing else", "complete",
        ask("GET", X_HTTP_Method_Override="DELETE"), is_(200, WHOLE), *DONE),
),

"HEAD": [
    must("a new upload has the offset 0", "new",
         ask("HEAD"), is_(200, Upload_Offset="0", Upload_Length="11")),
    must("half an upload has its offset", "half",
         ask("HEAD"), is_(200, Upload_Offset="6", Upload_Length="11")),
    must("a complete upload has its offset", "complete",
         ask("HEAD"), is_(200, Upload_Offset="11", Upload_Length="11")),
    must("an empty upload has the offset 0", "empty",
         ask("HEAD"), is_(200, Upload_Offset="0", Upload_Length="0")),
    must("an upload of unknown length has its offset", "of unknown length",
         ask("HEAD"), is_(200, Upload_Offset="6")),
    must("a length that was told later is told", "of a length told later",
         ask("HEAD"), is_(200, Upload_Offset="6", Upload_Length="11")),
    should("what is not there is 404, without an offset", "unknown", *GONE),
    *about_headers(
        *(must(f"the answer about an upload that is {upload} is not cached", upload,
               ask("HEAD"), is_(status, Cache_Control="no-store"))
          for upload, status in (("new", 200), ("complete", 200), ("unknown", 404))),
        may("it has no length of content, which would be that of GET", "complete",
            ask("HEAD"), is_(200, Content_Length=missing)),
        must("what is in a cache for GET does not answer it", "complete",
             ask("GET"), is_(200, Vary=lists("Tus-Resumable"))),
    ),
],

"PATCH": [
    must("a piece is 204, and the new offset is the sum", "half",
         patch(6, b"wor"), is_(204, Upload_Offset="9"), at(9)),
    must("the last piece is 204 at the length", "half",
         patch(6, LAST), is_(204, Upload_Offset="11"), *DONE),
    must("an empty piece is 204 at the offset before", "half",
         patch(6), is_(204, Upload_Offset="6"), *GOES_ON),
    *(must(f"at {offset} in place of 6 is 409, and changes nothing", "half",
           patch(offset, LAST), is_(409), *GOES_ON)
      for offset in (0, 5, 7, 11)),
    must("before the end of a complete upload is 409, and changes nothing", "complete",
         patch(6, LAST), is_(409), *DONE),
    may("nothing at the end of a complete upload is 204", "complete",
        patch(11), is_(204, Upload_Offset="11"), *DONE),
    should("more than is missing is 413, and the upload goes on", "half",
           patch(6, LAST + b"!"), is_(413), *GOES_ON),
    should("more behind the end is 413, and changes nothing", "complete",
           patch(11, b"!"), is_(413), *DONE),
    should("to what is not there is 404", "unknown", patch(0, LAST), is_(404)),
    *about_headers(
        must("without an offset is 400", "half",
             ask("PATCH", LAST, Content_Type=TYPE), is_(400), HALF),
        *(should(f"of the type {media_type!r} is 415, and changes nothing", "half",
                 patch(6, LAST, Content_Type=media_type), is_(415), HALF)
          for media_type in ("application/octet-stream", "application/partial-upload", "")),
    ),
],

"Creation": [
    must("it is 201 with an address, at which the upload begins", "none",
         post(11), is_(201, Location=given),
         at(0), (patch(0, WHOLE), is_(204, Upload_Offset="11")), *DONE),
    may("of the length 0 is complete at once", "none",
        post(0), is_(201, Location=given), at(0, Upload_Length="0"), holds(b"")),
    must("over the largest size is 413", "none", post(MAX_SIZE + 1), is_(413, Location=missing)),
    *about_headers(
        must("without any length is 400", "none", post(), is_(400, Location=missing)),
        must("with a length, and a later one, is 400", "none",
             post(11, Upload_Defer_Length="1"), is_(400, Location=missing)),
        *(should(f"with a later length that is {value!r} in place of 1 is 400", "none",
                 post(Upload_Defer_Length=value), is_(400, Location=missing))
          for value in ("0", "2", "true", "-1", "01")),
    ),
],

"Upload-Defer-Length": [
    must("HEAD says that the length is unknown", "of unknown length",
         ask("HEAD"), is_(200, Upload_Defer_Length="1", Upload_Length=missing)),
    *(must(f"an upload that is {upload} does not have it", upload,
           ask("HEAD"), is_(200, Upload_Defer_Length=missing, Upload_Length="11"))
      for upload in ("new", "complete", "of a length told later")),
    must("PATCH tells the length later", "of unknown length",
         patch(6, LAST, Upload_Length="11"), is_(204, Upload_Offset="11"), *DONE),
    must("a later length over the largest size is 413", "of unknown length",
         patch(6, LAST, Upload_Length="1001"), is_(413), at(6, Upload_Defer_Length="1")),
    must("a later length below the offset is refused", "of unknown length",
         patch(6, LAST, Upload_Length="5"), is_(409), at(6, Upload_Defer_Length="1")),
    *(must(f"the length of an upload that is {upload} does not change", upload,
           patch(6, LAST, Upload_Length="12"), is_(409), at(6, Upload_Length="11"), *GOES_ON)
      for upload in ("half", "of a length told later")),
],

"Upload-Metadata": [
    *(must(f"HEAD of an upload that is {upload} has it as it was sent", upload,
           ask("HEAD"), is_(200, Upload_Metadata=METADATA))
      for upload in ("new", "half", "complete", "empty", "of unknown length",
                     "of a length told later", "partial", "complete partial", "final")),
    must("an upload that was begun without it has none", "without metadata",
         ask("HEAD"), is_(200, Upload_Metadata=missing)),
    *about_headers(
        *(must(f"{reason} is refused", "none",
               post(11, Upload_Metadata=metadata), is_(400, Location=missing))
          for reason, metadata in (("an empty key", ",b YQ=="),
                                   ("a key twice", "a YQ==,a Yg=="),
                                   ("a value that is not base64", "filename !!!"),
                                   ("a value without its padding", "filename YQ"),
                                   ("a pair of three", "filename YQ== YQ=="))),
        *(may(f"{reason} is taken, and told", "none",
              post(11, Upload_Metadata=metadata), is_(201), at(0, Upload_Metadata=metadata))
          for reason, metadata in (("an empty value", "a ,b YQ=="),
                                   ("a key alone", "a,b YQ=="),
                                   ("a blank after a comma", "a YQ==, b YQ=="),
                                   ("a value that is not text", f"a {encoded(bytes(range(256)))}"),
                                   ("a line in a value", f"filename {encoded('a' + chr(10))}"))),
    ),
],

"Creation With Upload": [
    must("a part is stored, and the answer has the offset", "none",
         post(11, FIRST, Content_Type=TYPE), is_(201, Location=given, Upload_Offset="6"), *GOES_ON),
    must("the whole is stored, and the answer has the offset", "none",
         post(11, WHOLE, Content_Type=TYPE), is_(201, Location=given, Upload_Offset="11"), *DONE),
    must("nothing is stored of nothing, and the answer has the offset", "none",
         post(11, Content_Type=TYPE), is_(201, Location=given, Upload_Offset="0"), at(0)),
    must("what is not of the type of a piece is not stored", "none",
         post(11, FIRST, Content_Type="text/plain"), is_(201, Upload_Offset=missing), at(0)),
    must("more than the length is 413", "none",
         post(11, WHOLE + b"!", Content_Type=TYPE), is_(413, Location=missing)),
],

"Expiration": [
    must("a creation tells when the upload expires", "none",
         post(11), is_(201, Upload_Expires=date)),
    must("a piece tells when the upload expires", "half",
         patch(6, b"w"), is_(204, Upload_Expires=date), at(7, Upload_Expires=date)),
    must("an upload that is complete does not expire", "half",
         patch(6, LAST), is_(204, Upload_Expires=missing), at(11, Upload_Expires=missing)),
    should("HEAD of an upload that has expired is 404", "expired", *GONE),
    should("PATCH of an upload that has expired is 404", "expired", patch(6, LAST), is_(404), GONE),
    should("DELETE of an upload that has expired is 404", "expired", ask("DELETE"), is_(404), GONE),
],

"Checksum": [
    *(must(f"a piece with its {algorithm} is stored", "half",
           patch(6, LAST, Upload_Checksum=checksum(LAST, algorithm)), is_(204), *DONE)
      for algorithm in ("sha1", "sha256", "sha512", "md5")),
    must("a piece with another checksum is 460, and discarded", "half",
         patch(6, LAST, Upload_Checksum=checksum(b"World")), is_(460), *GOES_ON),
    must("a piece with an unknown algorithm is 400, and discarded", "half",
         patch(6, LAST, Upload_Checksum="crc32 AAAA"), is_(400), *GOES_ON),
    must("content of a creation with its checksum is stored", "none",
         post(11, FIRST, Content_Type=TYPE, Upload_Checksum=checksum(FIRST)),
         is_(201, Upload_Offset="6"), *GOES_ON),
    must("content of a creation with another checksum is 460, and discarded", "none",
         post(11, FIRST, Content_Type=TYPE, Upload_Checksum=checksum(LAST)),
         is_(460, Location=missing)),
    *about_headers(
        must("an algorithm in upper case is unknown", "half",
             patch(6, LAST, Upload_Checksum=checksum(LAST).upper()), is_(400), HALF),
        must("a checksum is in base64", "half",
             patch(6, LAST, Upload_Checksum="sha1 !!!"), is_(400), HALF),
    ),
],

"Termination": [
    *(must(f"DELETE of an upload that is {upload} is 204, and nothing is there afterwards", upload,
           ask("DELETE"), is_(204), GONE, (ask("GET"), is_(404)), (patch(6, LAST), is_(404)),
           (ask("DELETE"), is_(404)))
      for upload in ("new", "half", "complete", "empty", "of unknown length", "partial",
                     "complete partial", "final")),
    should("DELETE of what is not there is 404", "unknown", ask("DELETE"), is_(404)),
],

"Concatenation: partial uploads": [
    must("a creation says that the upload is partial", "none",
         post(6, Upload_Concat="partial"), is_(201, Upload_Concat="partial"),
         at(0, Upload_Concat="partial")),
    must("HEAD says that the upload is partial", "partial",
         ask("HEAD"), is_(200, Upload_Concat="partial", Upload_Offset="1", Upload_Length="6")),
    must("HEAD says that a complete upload is partial", "complete partial",
         ask("HEAD"), is_(200, Upload_Concat="partial", Upload_Offset="6", Upload_Length="6")),
    *(must(f"HEAD does not say so of an upload that is {upload}", upload,
           ask("HEAD"), is_(200, Upload_Concat=missing))
      for upload in ("half", "complete")),
    should("one that is complete is not an attachment", "complete partial", ask("GET"), is_(404)),
    may("it is gone after the concatenation", "used part", *GONE),
],

"Concatenation: final uploads": [
    *(must(reason, "parts",
           post(Upload_Concat=f"final;{listed}"),
           is_(201, Location=given, Upload_Concat=f"final;{listed}"),
           at(len(content), Upload_Length=str(len(content)), Upload_Concat=f"final;{listed}"),
           holds(content))
      for reason, listed, content in (
          ("they are in the order of the list", "{first} {second}", WHOLE),
          ("another order is another content", "{second} {first}", LAST + FIRST),
          ("of one part", "{second}", LAST),
          ("a part may be listed twice", "{first} {second} {first}", WHOLE + FIRST),
          ("addresses may be absolute", "http://here{first} {second}", WHOLE),
          ("a blank may come first", " {first} {second}", WHOLE))),
    must("HEAD has the list as it was sent", "final",
         ask("HEAD"), is_(200, Upload_Concat="final;{first} {second}")),
    must("the metadata of parts do not become theirs", "final without metadata",
         ask("HEAD"), is_(200, Upload_Metadata=lists_no("flag"))),
    *(must(f"PATCH is 403, and changes nothing: {place}", "final",
           patch(offset, body), is_(403), *DONE)
      for place, offset, body in (("at the beginning", 0, b"x"), ("at the end", 11, b"x"),
                                  ("nothing at the end", 11, b""), ("behind the end", 12, b"x"))),
    *(must(f"{reason} is {status}", "parts",
           post(Upload_Concat=concat), is_(status, Location=missing))
      for reason, status, concat in (
          ("a part that is not complete", 409, "final;{first} {short}"),
          ("an upload that is not partial", 409, "final;{first} {other}"),
          ("what is not there", 404, "final;{first} {nowhere}"),
          ("what is on another server", 404, "final;{first} https://example.com/a"),
          ("a list of nothing", 400, "final;"),
          ("what is neither partial nor final", 400, "half"),
          ("more than the largest size", 413, "final;" + "{first} " * 170))),
],

"Download, which the protocol does not know": [
    *(may(f"GET of an upload that is {upload} is its attachment, in whatever version", upload,
          ask("GET", Tus_Resumable=""), is_(200, content, ETag=given, Content_Disposition=given))
      for upload, content in (("complete", WHOLE), ("empty", b""), ("final", WHOLE))),
    *(may(f"GET of an upload that is {upload} is 404", upload, ask("GET"), is_(404))
      for upload in ("new", "half", "unknown", "partial", "complete partial", "terminated")),
    may("GET of a range is a part of it", "complete",
        ask("GET", Range="bytes=6-"), is_(206, LAST, Content_Range="bytes 6-10/11")),
],

}
# fmt: on

CASES = [
    pytest.param(row, kind, id=f"{row.level} {section}: {row.promise} [{kind}]")
    for section, rows in TABLE.items()
    for row in rows
    for kind in (STORAGES[:1] if row.is_about_headers else STORAGES)
]


@pytest.fixture
def limited(kind: str, request: pytest.FixtureRequest) -> Iterator[Storage]:
    """Give an empty storage of a kind, for small attachments."""
    harness: Any = {"memory": MemoryHarness, "directory": LocalHarness}.get(kind)
    made = S3Harness(request.getfixturevalue("seaweedfs")) if harness is None else harness()
    with made.storage() as storage:
        storage.max_size = MAX_SIZE
        yield storage


@pytest.mark.parametrize(("row", "kind"), CASES)
def test_the_protocol_is_kept(row: Row, limited: Storage) -> None:
    """Each line of the table."""
    row.check(Client(limited))


def test_every_line_promises_something_of_its_own() -> None:
    """So that a failure names its line."""
    for rows in TABLE.values():
        promises = [row.promise for row in rows]
        assert sorted({*promises}) == sorted(promises)
