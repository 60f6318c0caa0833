"""Clients that upload and download all the time, by the requests of the page."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import http.client
import json
import random
import ssl
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import quote, urlsplit

from processes import HOST

if TYPE_CHECKING:
    from processes import Deployment

__all__ = ["Client", "Load", "Outcome"]

UNVERIFIED = ssl.create_default_context()
UNVERIFIED.check_hostname = False
UNVERIFIED.verify_mode = ssl.CERT_NONE
TIMEOUT_SECONDS = 60
LARGE = 12 * 1024 * 1024
"""More than a request of the storage: the application sends it to the server in parts."""
SIZES = (1_000, 40_000, 300_000, 1_000_000)
LARGE_SHARE = 0.04
READERS = 8


@dataclass(frozen=True)
class Outcome:
    """One operation of a client."""

    operation: str
    began: float
    ended: float
    error: str = ""


class Client:
    """A user in front of the proxy, with connections that stay open."""

    def __init__(self, deployment: Deployment) -> None:
        self._port = deployment.port("nginx", 8443)
        self._origin = deployment.origin
        pair = f"{deployment.user}:{deployment.password}".encode()
        self._login = {"Authorization": f"Basic {base64.b64encode(pair).decode()}"}
        self._connection = self._connect()

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def upload(self, content: bytes) -> str:
        """Upload as the page does: a link, a form to the server, a claim; return the handle."""
        wanted = {"name": "file.bin", "size": len(content), "method": "POST"}
        begun = self._post("/attach/links", wanted, 201)
        link = begun["link"]
        body, content_type = _form(link["fields"], content)
        self._send("POST", link["url"], body, {"Content-Type": content_type}, 204)
        handle: str = self._post("/attach/claim", {"receipt": begun["receipt"]}, 200)["handle"]
        return handle

    def upload_through(self, content: bytes) -> str:
        """Upload through the application, in parts if it is large; return the handle."""
        url = f"{self._origin}/attach/?name=file.bin"
        stored = json.loads(self._send("POST", url, content, self._login, 201))
        handle: str = stored["attachments"][0]["handle"]
        return handle

    def download(self, handle: str) -> bytes:
        """Download by the link to which the application redirects."""
        url = f"{self._origin}/attach{quote(handle)}"
        link = self._send("GET", url, b"", self._login, 307).decode()
        return self._send("GET", link, b"", {}, 200)

    def _post(self, path: str, body: object, expected: int) -> Any:
        headers = {**self._login, "Content-Type": "application/json"}
        url = f"{self._origin}{path}"
        return json.loads(self._send("POST", url, json.dumps(body).encode(), headers, expected))

    def _send(
        self, method: str, url: str, body: bytes, headers: dict[str, str], expected: int
    ) -> bytes:
        """Send a request; return the body of the response, or the address of a redirect."""
        split = urlsplit(url)
        target = split.path + (f"?{split.query}" if split.query else "")
        headers = {**headers, "Host": split.netloc, "Origin": self._origin}
        try:
            self._connection.request(method, target, body or None, headers)
            response = self._connection.getresponse()
            received = response.read()
        except BaseException:
            self._connection.close()
            self._connection = self._connect()
            raise
        if response.status != expected:
            raise OSError(f"{method} {split.path[:24]}: {response.status} {received[:200]!r}")
        place = response.headers["Location"]
        return place.encode() if place and expected == http.client.TEMPORARY_REDIRECT else received

    def _connect(self) -> http.client.HTTPSConnection:
        return http.client.HTTPSConnection(
            HOST, self._port, timeout=TIMEOUT_SECONDS, context=UNVERIFIED
        )


class Load:
    """Clients that upload and clients that download what was acknowledged, in a ``with`` block."""

    def __init__(self, deployment: Deployment, *, uploaders: int = 4, downloaders: int = 4) -> None:
        self.deployment = deployment
        self._ended = threading.Event()
        self.digests: dict[str, str] = {}
        """The SHA-256 of what was acknowledged, by handle."""
        self.outcomes: list[Outcome] = []
        self.wrong: list[str] = []
        """Handles whose download succeeded with other bytes than were uploaded."""
        acts = [self._upload] * uploaders + [self._download] * downloaders
        self._threads = [threading.Thread(target=self._repeat, args=(act,)) for act in acts]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        for thread in self._threads:
            thread.join()

    def missing(self, sample: int | None = None) -> dict[str, str]:
        """Read what was acknowledged; return what cannot be read, or differs, and why.

        `sample` limits the number that is read, chosen by chance.
        """
        known = [*self.digests.items()]
        chosen = known if sample is None else random.sample(known, min(sample, len(known)))
        with ThreadPoolExecutor(READERS) as pool:
            shares = [chosen[number::READERS] for number in range(READERS)]
            found = pool.map(self._missing_of, shares)
        return {handle: reason for share in found for handle, reason in share.items()}

    def _missing_of(self, share: list[tuple[str, str]]) -> dict[str, str]:
        found = {}
        with contextlib.closing(Client(self.deployment)) as client:
            for handle, digest in share:
                try:
                    content = client.download(handle)
                except (OSError, http.client.HTTPException) as error:
                    found[handle] = str(error) or repr(error)
                else:
                    if hashlib.sha256(content).hexdigest() != digest:
                        found[handle] = f"{len(content)} other bytes"
        return found

    def _repeat(self, act: Any) -> None:
        with contextlib.closing(Client(self.deployment)) as client:
            while not self._ended.is_set():
                began, error = time.monotonic(), ""
                try:
                    operation = act(client)
                except (OSError, http.client.HTTPException, KeyError) as failure:
                    operation = act.__name__.strip("_")
                    error = str(failure) or repr(failure)
                self.outcomes.append(Outcome(operation, began, time.monotonic(), error))
                if error or not self.digests:
                    self._ended.wait(0.05)  # a client that hammers measures itself

    def _upload(self, client: Client) -> str:
        if random.random() < LARGE_SHARE:
            content = random.randbytes(LARGE)
            handle = client.upload_through(content)
        else:
            content = random.randbytes(random.choice(SIZES))
            handle = client.upload(content)
        self.digests[handle] = hashlib.sha256(content).hexdigest()
        return "upload"

    def _download(self, client: Client) -> str:
        if not self.digests:
            return "nothing"
        handle, digest = random.choice([*self.digests.items()])
        if hashlib.sha256(client.download(handle)).hexdigest() != digest:
            self.wrong.append(handle)
        return "download"


def _form(fields: dict[str, str], content: bytes) -> tuple[bytes, str]:
    """Return a form as browsers send it, and its content type."""
    boundary = f"form-{random.getrandbits(64):x}"
    parts = [
        f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'
        for name, value in fields.items()
    ]
    head = (
        f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="file.bin"\r\n\r\n'
    )
    body = "".join([*parts, head]).encode() + content + f"\r\n--{boundary}--\r\n".encode()
    return body, f"multipart/form-data; boundary={boundary}"
