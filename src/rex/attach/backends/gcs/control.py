"""Requests to Google Cloud Storage other than plain requests for objects.

These are sessions of resumable uploads, listings, and the rules of the bucket. They are sent to the
JSON interface by the client of the standard library, since obstore has no sessions. Every request
has its own connection; an upload of 8 MiB takes much longer than a handshake.
"""

from __future__ import annotations

import datetime
import http.client
import json
import random
import re
import time
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import quote, urlencode

from rex.attach.backends.gcs.codes import GCS_CODES
from rex.attach.backends.objects.requests import (
    FIRST_PAUSE,
    LONGEST_PAUSE,
    PASSING_STATUSES,
    Listed,
    ServerFailure,
    element,
    retry,
)
from rex.attach.links.client import Client, Unreachable

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from rex.attach.backends.gcs.credentials import Credentials
    from rex.attach.links.client import Answer

__all__ = ["GRANULE", "GCSControl", "GCSFailure", "Progress", "failure_of"]

GRANULE = 256 * 1024
"""The server keeps multiples of this many bytes of an unfinished upload."""
RESUME = 308
OVER = (404, 410, 499)
"""The statuses of a session that was cancelled or has expired."""
_sleep = time.sleep


class GCSFailure(ServerFailure):
    """An error response of the server, with the code and message of Google; or no response."""

    codes = GCS_CODES
    passing = PASSING_STATUSES


class Progress(NamedTuple):
    """The state of a session: the size of what the server has, and the finished object."""

    size: int
    made: Mapping[str, Any] | None = None


class GCSControl:
    """A client for one bucket; paths are names of objects, with the prefix of the storage.

    Transient failures are retried for `timeout` seconds. Errors: `GCSFailure`, and the errors of
    the credentials. Safe to use from any thread, and in a forked child.
    """

    def __init__(
        self, endpoint: str, bucket: str, *, credentials: Credentials, timeout: float
    ) -> None:
        """Make no request yet."""
        self._endpoint = endpoint
        self._bucket = bucket
        self._credentials = credentials
        self.timeout = timeout
        self._client = Client(timeout=timeout)

    def __repr__(self) -> str:
        return f"GCSControl({self._bucket!r})"

    # Sessions of resumable uploads.

    def begin(self, path: str, resource: Mapping[str, Any]) -> str:
        """Begin a session that creates an object unless it exists; return its secret address."""
        query = {"uploadType": "resumable", "name": path, "ifGenerationMatch": "0"}
        url = f"{self._endpoint}/upload/storage/v1/b/{self._bucket}/o?{urlencode(query)}"
        answer = self.ask("POST", url, json.dumps(resource).encode())
        session = answer.headers.get("Location", "")
        if not session:
            raise GCSFailure("MalformedAnswer", "the response has no session")
        return session

    def send(self, session: str, offset: int, data: bytes, *, total: int | None = None) -> Progress:
        """Send bytes to a session, and continue after interruptions.

        With `total`, the size of the object, these bytes are the last: the object is created.
        Otherwise their number is a multiple of `GRANULE`. Errors: `FileExistsError`; `GCSFailure`,
        also if the server has other bytes than those before `offset`.
        """
        end, deadline, pause = offset + len(data), _now() + self.timeout, FIRST_PAUSE
        at = offset
        while True:
            try:
                found = self._put(session, at, data[at - offset :], total)
            except GCSFailure as failure:
                if not failure.is_passing or _now() + pause > deadline:
                    raise
                found = self.progress(session)
            if found.made is not None or (found.size == end and total is None):
                return found
            if not at <= found.size <= end:
                raise GCSFailure("OffsetChanged", f"{found.size} bytes instead of {at}")
            if found.size == at:
                if _now() + pause > deadline:
                    raise GCSFailure("NoProgress", "the server does not keep the bytes")
                _sleep(random.uniform(pause / 2, pause))  # noqa: S311 - no secret
                pause = min(2 * pause, LONGEST_PAUSE)
            else:
                at, deadline = found.size, _now() + self.timeout

    def _put(self, session: str, offset: int, data: bytes, total: int | None) -> Progress:
        size = "*" if total is None else str(total)
        ends = f"{offset}-{offset + len(data) - 1}" if data else "*"
        return self._session("PUT", session, f"bytes {ends}/{size}", data)

    def progress(self, session: str) -> Progress:
        """Return the state of a session. Errors: `FileExistsError`; `GCSFailure`, SessionOver."""
        return retry(lambda: self._session("PUT", session, "bytes */*", b""), self.timeout)

    def _session(self, method: str, session: str, content_range: str, data: bytes) -> Progress:
        # The address is the authorization: it gets no token, wherever it leads.
        headers = {"Content-Range": content_range, "Content-Length": str(len(data))}
        answer = self._send(method, session, headers, data)
        if answer.status == RESUME:
            found = re.fullmatch(r"bytes=0-([0-9]{1,18})", answer.headers.get("Range", ""))
            return Progress(int(found[1]) + 1 if found else 0)
        if answer.ok:
            made = _json(answer)
            return Progress(int(made.get("size") or 0), made)
        if answer.status == http.client.PRECONDITION_FAILED:
            raise FileExistsError
        if answer.status in OVER:
            raise GCSFailure("SessionOver", status=answer.status)
        raise failure_of(answer)

    def cancel(self, session: str) -> None:
        """End a session; the server removes its bytes."""
        answer = self._send("DELETE", session, {"Content-Length": "0"}, b"")
        if not answer.ok and answer.status not in OVER:
            raise failure_of(answer)

    # Objects.

    def stat(self, path: str) -> Mapping[str, Any]:
        """Return the resource of an object. Errors: `FileNotFoundError`."""
        try:
            return _json(self.ask("GET", self._object(path)))
        except GCSFailure as failure:
            if failure.status == http.client.NOT_FOUND:
                raise FileNotFoundError from None
            raise

    def delete(self, path: str, generation: str | None = None) -> None:
        """Remove an object. Errors: `FileNotFoundError` if it does not exist.

        One request: the server answers 404 to all clients but one.
        """
        query = "" if generation is None else f"?ifGenerationMatch={generation}"
        try:
            self.ask("DELETE", self._object(path) + query)
        except GCSFailure as failure:
            if failure.status == http.client.NOT_FOUND and failure.code != "NoSuchBucket":
                raise FileNotFoundError from None
            raise

    def objects(self, prefix: str, start: str | None = None) -> Iterator[Listed]:
        """Yield the objects with a prefix from the name `start`, in the order of their names."""
        query = {"prefix": prefix, "fields": "nextPageToken,items(name,size,updated)"}
        if start is not None:
            query["startOffset"] = start
        while True:
            page = _json(self.ask("GET", f"{self._url}/o?{urlencode(query)}"))
            for item in page.get("items", ()):
                updated = datetime.datetime.fromisoformat(item["updated"])
                yield Listed(item["name"], int(item["size"]), updated)
            token = page.get("nextPageToken")
            if not token or token == query.get("pageToken"):
                return
            query["pageToken"] = token

    # The bucket.

    def bucket(self) -> dict[str, Any]:
        """Return the resource of the bucket."""
        return _json(self.ask("GET", self._url))

    def patch(self, changes: Mapping[str, Any]) -> None:
        """Change the given fields of the bucket."""
        self.ask("PATCH", self._url, json.dumps(changes).encode())

    # Requests.

    def ask(self, method: str, url: str, body: bytes | None = None) -> Answer:
        """Send a request, retrying for `timeout` seconds. Errors: `GCSFailure`."""
        return retry(lambda: self.ask_once(method, url, body), self.timeout)

    def ask_once(self, method: str, url: str, body: bytes | None = None) -> Answer:
        """Send a request, without retries."""
        headers = {"Authorization": f"Bearer {self._credentials.token().value}"}
        if body is not None:
            headers["Content-Type"] = "application/json"
        answer = self._send(method, url, headers, body)
        if not answer.ok:
            raise failure_of(answer)
        return answer

    def first(self, prefix: str) -> bytes:
        """Return a listing of one object, without retries."""
        query = urlencode({"prefix": prefix, "maxResults": "1"})
        return self.ask_once("GET", f"{self._url}/o?{query}").body

    def _send(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes | None
    ) -> Answer:
        try:
            return self._client.send(method, url, headers, body)
        except Unreachable as failure:
            is_passing = not failure.is_certificate
            raise GCSFailure("Unreachable", str(failure), is_passing=is_passing) from None

    @property
    def _url(self) -> str:
        return f"{self._endpoint}/storage/v1/b/{self._bucket}"

    def _object(self, path: str) -> str:
        return f"{self._url}/o/{quote(path, safe='')}"


def failure_of(answer: Answer) -> GCSFailure:
    """Return the failure that an error response describes, in JSON or in XML."""
    code, message = str(answer.status), ""
    try:
        error = json.loads(answer.body)["error"]
        message = str(error["message"])
        code = str(error["errors"][0]["reason"])
    except (ValueError, KeyError, IndexError, TypeError):
        text = answer.body.decode(errors="replace")
        code = element(text, "Code") or code
        message = element(text, "Message") or message
    if answer.status == http.client.NOT_FOUND and "bucket does not exist" in message:
        code = "NoSuchBucket"
    return GCSFailure(code, message.partition("\n")[0], status=answer.status)


def _json(answer: Answer) -> dict[str, Any]:
    try:
        found = json.loads(answer.body)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise GCSFailure("MalformedAnswer", "the response is not JSON", status=answer.status)
    return found


def _now() -> float:
    return time.monotonic()
