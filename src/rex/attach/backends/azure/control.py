"""Requests to Azure other than plain requests for blobs: blocks, listings, account properties.

They are sent by the client of the standard library, since obstore sends no blocks of our own. Every
request has its own connection; an upload of 8 MiB takes much longer than a handshake.
"""

from __future__ import annotations

import base64
import datetime
import hashlib
import html
import http.client
import re
from email.utils import format_datetime, parsedate_to_datetime
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import quote

from rex.attach.backends.azure.codes import AZURE_CODES, DISCARDED
from rex.attach.backends.objects.requests import (
    PASSING_STATUSES,
    ServerFailure,
    element,
    retry,
)
from rex.attach.links.client import Client, Unreachable
from rex.attach.links.sas import VERSION
from rex.attach.links.sigv4 import encode_path
from rex.core import Kind

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from rex.attach.backends.azure.credentials import Credentials
    from rex.attach.links.client import Answer

__all__ = ["AzureControl", "AzureFailure", "Block", "Listed"]


_BLOB = re.compile(r"<Blob>(.*?)</Blob>|<BlobPrefix>(.*?)</BlobPrefix>", re.DOTALL)
_BLOCK = re.compile(r"<Block><Name>([^<]*)</Name><Size>([0-9]{1,20})</Size></Block>")


class AzureFailure(ServerFailure):
    """An error response of the server, with the code and message of Azure; or no response."""

    codes = AZURE_CODES
    passing = PASSING_STATUSES


class Block(NamedTuple):
    """A block of a blob on the server."""

    id: str
    size: int
    is_committed: bool


class Listed(NamedTuple):
    """A blob in a listing, or the common prefix of several."""

    name: str
    size: int
    modified: datetime.datetime | None
    """None for a common prefix, and where the server does not know."""
    is_prefix: bool = False


class AzureControl:
    """A client for one container; paths are names of blobs, with the prefix of the storage.

    Transient failures are retried for `timeout` seconds. Errors: `AzureFailure`, and the errors of
    the credentials. Safe to use from any thread, and in a forked child.
    """

    def __init__(self, url: str, *, service: str, credentials: Credentials, timeout: float) -> None:
        """Make no request yet; `url` is the address of the container, `service` of the service."""
        self._url = url
        self._service = service
        self._credentials = credentials
        self.timeout = timeout
        self._client = Client(timeout=timeout)

    def __repr__(self) -> str:
        return f"AzureControl({self._url!r})"

    # Blocks.

    def put_block(self, path: str, block_id: str, data: bytes) -> None:
        """Store an uncommitted block; the server compares its MD5."""
        md5 = base64.b64encode(hashlib.md5(data, usedforsecurity=False).digest()).decode()
        query = {"comp": "block", "blockid": block_id}
        self.ask("PUT", path, query, {"Content-MD5": md5}, data)

    def commit(self, path: str, block_ids: Sequence[str], headers: Mapping[str, str]) -> bool:
        """Create a blob of these uncommitted blocks. Errors: `FileExistsError` if it exists.

        Return False if an earlier request, whose response was lost, created it.
        """
        try:
            self._create_of(path, block_ids, headers)
        except AzureFailure as failure:
            if failure.kind not in (Kind.EXISTS, Kind.CONFLICT):
                raise
            blocks = self.blocks(path)
            # Without blocks, nothing tells whose blob it is.
            if block_ids and [b.id for b in blocks if b.is_committed] == [*block_ids]:
                return False
            if failure.kind is Kind.EXISTS or self.exists(path):
                raise FileExistsError from None
            raise
        return True

    def _create_of(self, path: str, block_ids: Sequence[str], headers: Mapping[str, str]) -> Answer:
        inner = "".join(f"<Uncommitted>{each}</Uncommitted>" for each in block_ids)
        body = f'<?xml version="1.0" encoding="utf-8"?><BlockList>{inner}</BlockList>'.encode()
        query = {"comp": "blocklist"}
        return self.ask("PUT", path, query, {**headers, "If-None-Match": "*"}, body)

    def blocks(self, path: str) -> list[Block]:
        """Return the blocks of a blob, committed or not; empty if there is no blob."""
        try:
            query = {"comp": "blocklist", "blocklisttype": "all"}
            answer = self.ask("GET", path, query)
        except AzureFailure as failure:
            if failure.kind is Kind.NOT_FOUND or failure.status == http.client.NOT_FOUND:
                return []
            raise
        text = answer.body.decode(errors="replace")
        committed, _, rest = text.partition("<UncommittedBlocks")
        return [
            *(
                Block(html.unescape(name), int(size), True)
                for name, size in _BLOCK.findall(committed)
            ),
            *(Block(html.unescape(name), int(size), False) for name, size in _BLOCK.findall(rest)),
        ]

    def discard(self, path: str) -> None:
        """Remove the uncommitted blocks of a blob that does not exist.

        Azure has no such request: an empty blob replaces the blocks, and is removed. It is marked,
        so that no reader takes it for an attachment.
        """
        # Not Put Blob: Azurite considers a blob with uncommitted blocks to exist.
        answer = self._create_of(path, (), {f"x-ms-meta-{DISCARDED}": "1"})
        self.ask("DELETE", path, {}, {"If-Match": answer.headers.get("ETag", "*")})

    # Blobs.

    def exists(self, path: str) -> bool:
        """Return whether a blob exists."""
        try:
            self.ask("HEAD", path)
        except AzureFailure as failure:
            if failure.status == http.client.NOT_FOUND:
                return False
            raise
        return True

    def delete(self, path: str) -> None:
        """Remove a blob. Errors: `FileNotFoundError` if it does not exist.

        One request: the server answers 404 to all clients but one. The condition spares uncommitted
        blocks, which Azurite would remove.
        """
        try:
            self.ask("DELETE", path, {}, {"If-Match": "*"})
        except AzureFailure as failure:
            gone = (http.client.NOT_FOUND, http.client.PRECONDITION_FAILED)
            if failure.status in gone and failure.code != "ContainerNotFound":
                raise FileNotFoundError from None
            raise

    def objects(
        self, prefix: str, *, uncommitted: bool = False, is_flat: bool = True
    ) -> Iterator[Listed]:
        """Yield the blobs with a prefix in the order of their names.

        With `uncommitted`, also those that have uncommitted blocks only. If not `is_flat`, the
        names end at the next slash.
        """
        query = {"restype": "container", "comp": "list", "prefix": prefix}
        if uncommitted:
            query["include"] = "uncommittedblobs"
        if not is_flat:
            query["delimiter"] = "/"
        while True:
            page = self.ask("GET", None, query).body.decode(errors="replace")
            if "<EnumerationResults" not in page:
                raise AzureFailure("MalformedAnswer", "the response is not a listing")
            for blob, common in _BLOB.findall(page):
                yield _listed(blob or common, is_prefix=not blob)
            marker = html.unescape(element(page, "NextMarker"))
            if not marker or marker == query.get("marker"):
                return
            query["marker"] = marker

    # The account.

    def properties(self) -> str:
        """Return the properties of the blob service as XML: they hold the CORS rules."""
        answer = self.ask("GET", None, {"restype": "service", "comp": "properties"})
        return answer.body.decode(errors="replace")

    def set_properties(self, xml: str) -> None:
        """Change the properties of the blob service that the XML names, and no others."""
        query = {"restype": "service", "comp": "properties"}
        self.ask("PUT", None, query, {"Content-Type": "application/xml"}, xml.encode())

    # Requests.

    def ask(
        self,
        method: str,
        path: str | None,
        query: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        body: bytes | None = None,
    ) -> Answer:
        """Send a request, retrying for `timeout` seconds. Errors: `AzureFailure`."""
        return retry(lambda: self.ask_once(method, path, query, headers, body), self.timeout)

    def ask_once(
        self,
        method: str,
        path: str | None,
        query: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        body: bytes | None = None,
    ) -> Answer:
        """Send a request, without retries."""
        url = self._address(path, query or {})
        given = {
            "x-ms-version": VERSION,
            "x-ms-date": format_datetime(_utc(), usegmt=True),
            **({} if body is None else {"Content-Type": "application/octet-stream"}),
            **(headers or {}),
        }
        size = {"Content-Length": str(len(body))} if body else {}
        url, given = self._credentials.authorize(method, url, {**given, **size})
        given.pop("Content-Length", None)  # the client sends it
        try:
            answer = self._client.send(method, url, given, body)
        except Unreachable as failure:
            is_passing = not failure.is_certificate
            raise AzureFailure("Unreachable", str(failure), is_passing=is_passing) from None
        if not answer.ok:
            raise failure_of(answer)
        return answer

    def _address(self, path: str | None, query: Mapping[str, str]) -> str:
        base = self._service if query.get("restype") == "service" else self._url
        place = base if path is None else f"{base}/{encode_path(path)}"
        if base == self._service:
            place += "/"
        pairs = "&".join(f"{name}={quote(value, safe='')}" for name, value in query.items())
        return f"{place}?{pairs}" if pairs else place


def failure_of(answer: Answer) -> AzureFailure:
    """Return the failure that an error response describes."""
    text = answer.body.decode(errors="replace")
    code = answer.headers.get("x-ms-error-code") or element(text, "Code") or str(answer.status)
    message = element(text, "AuthenticationErrorDetail") or element(text, "Message")
    message = message.partition("\n")[0]
    if code == "AuthorizationFailure" and "failed to authenticate" in message:
        code = "AuthenticationFailed"  # as Azure, unlike Azurite, calls a wrong signature
    return AzureFailure(code, message, status=answer.status)


def _listed(entry: str, *, is_prefix: bool) -> Listed:
    # A name that XML cannot hold is percent-encoded: no attachment has such a name.
    name = html.unescape(
        element(entry, "Name") or element(entry.replace(' Encoded="true"', ""), "Name")
    )
    size, modified = element(entry, "Content-Length"), element(entry, "Last-Modified")
    moment = parsedate_to_datetime(modified) if modified else None
    return Listed(name, int(size or 0), moment, is_prefix)


def _utc() -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC)
