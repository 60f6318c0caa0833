"""Each door by which a client uploads a file, used as real clients use it."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, unquote

import httpx
import pytest

from attach.web.uploaders import ANYBODY, Page, at
from rex.attach.backends.s3.storage import S3Storage

if TYPE_CHECKING:
    from collections.abc import Callable

    from rex.attach import Storage
    from rex.attach.web import Access

    Door = Callable[["Sender"], str]
    """Uploads a file; returns its handle, or raises `StoppedError`."""

__all__ = ["CLAIMED", "CONTENT", "DOORS", "EVERY_DOOR", "KINDS", "LINKS", "Sender", "StoppedError"]

HERE = "http://here"
CONTENT = b"the content of a file"
NAME = "größe (1).bin"
TYPE = "application/x-own"
KINDS = ("memory", "directory", "s3")
PIECE = {"Tus-Resumable": "1.0.0", "Content-Type": "application/offset+octet-stream"}


class StoppedError(Exception):
    """A request was answered with an error."""

    def __init__(self, response: httpx.Response) -> None:
        super().__init__(response.status_code, response.text)
        self.response = response
        self.status = response.status_code

    @property
    def problem(self) -> tuple[int, str, str]:
        """The status, the code and the words of a problem document."""
        content = json.loads(self.response.content)
        return self.status, content["type"], content["detail"]


class Sender:
    """A client that uploads one file as a user."""

    def __init__(
        self,
        storage: Storage,
        user: object = None,
        *,
        content: bytes = CONTENT,
        name: str = NAME,
        access: Access = ANYBODY,
    ) -> None:
        if not isinstance(storage, S3Storage):
            storage.url = HERE
        self.here = HERE
        """The address of the service in links."""
        self.page = Page(storage, user, access)
        self.content, self.name = content, name
        self.receipt: str | None = None
        """The receipt in the response that began the upload."""
        self.again: Callable[[], httpx.Response] = NotImplemented
        """Repeats the last request to the service."""

    def ask(self, method: str, path: str, **options: Any) -> httpx.Response:
        """Make a request to the service that must succeed."""
        self.again = lambda: self.page.ask(method, path, **options)
        return succeeded(self.again())

    def begin(self, method: str, path: str, **options: Any) -> Any:
        """Make the request that begins an upload; return its JSON."""
        begun = self.ask(method, path, **options).json()
        self.receipt = begun.get("receipt")
        return begun

    def follow(self, link: Any) -> None:
        """Upload with a link, to the service or to the server."""
        if link.get("fields"):
            options = {"data": link["fields"], "files": {"file": (self.name, self.content)}}
        else:
            options = {"content": self.content, "headers": link["headers"]}
        url, method = link["url"], link.get("method", "POST" if link.get("fields") else "PUT")
        if url.startswith(self.here):
            self.ask(method, url.removeprefix(self.here), **options)
        else:
            succeeded(httpx.request(method, url, **options))

    def path(self, link: Any) -> str:
        """Return the path of a link to the service."""
        path: str = link["url"].removeprefix(self.here)
        return path

    def claim(self) -> str:
        """Claim the upload by its receipt."""
        claimed: str = self.ask("POST", "/claim", json={"receipt": self.receipt}).json()["handle"]
        return claimed


def succeeded(response: httpx.Response) -> httpx.Response:
    """Return a response of success."""
    if not response.is_success:
        raise StoppedError(response)
    return response


def form(sender: Sender) -> str:
    """Send a form of a browser."""
    file = sender.name, sender.content, TYPE
    handle: str = sender.ask("POST", "/", files={"file": file}).json()["attachments"][0]["handle"]
    return handle


def body(sender: Sender) -> str:
    """Send the bytes alone."""
    path, headers = f"/?name={quote(sender.name)}", {"Content-Type": TYPE}
    answer = sender.ask("POST", path, headers=headers, content=sender.content)
    handle: str = answer.json()["attachments"][0]["handle"]
    return handle


def tus(sender: Sender) -> str:
    """Create an upload, and send all bytes in one request."""
    headers = tus_headers(sender, **{"Upload-Length": str(len(sender.content))})
    path = sender.ask("POST", "/tus/", headers=headers).headers["Location"]
    sender.ask("PATCH", path, headers=PIECE | {"Upload-Offset": "0"}, content=sender.content)
    return handle_at(path)


def tus_at_once(sender: Sender) -> str:
    """Create an upload with its bytes."""
    headers = PIECE | tus_headers(sender, **{"Upload-Length": str(len(sender.content))})
    path = sender.ask("POST", "/tus/", headers=headers, content=sender.content).headers["Location"]
    return handle_at(path)


def ietf(sender: Sender) -> str:
    """Begin an upload of the IETF, and send the rest."""
    half = len(sender.content) // 2
    headers = ietf_headers(sender, "?0", **{"Upload-Length": str(len(sender.content))})
    answer = sender.ask("POST", "/", headers=headers, content=sender.content[:half])
    path, rest = answer.headers["Location"], sender.content[half:]
    headers = {"Upload-Offset": str(half), "Upload-Complete": "?1"}
    headers |= {"Content-Type": "application/partial-upload"}
    sender.ask("PATCH", path, headers=headers, content=rest)
    return "/" + unquote(path.partition("/uploads/")[2])


def ietf_at_once(sender: Sender) -> str:
    """Send a whole file, as a client that could resume it."""
    headers = ietf_headers(sender, "?1", **{"Upload-Draft-Interop-Version": "6"})
    answer = sender.ask("POST", "/", headers=headers, content=sender.content)
    handle: str = answer.json()["attachments"][0]["handle"]
    return handle


def ietf_headers(sender: Sender, complete: str, **headers: str) -> dict[str, str]:
    """Return the headers that begin an upload."""
    disposition = f"inline; filename*=UTF-8''{quote(sender.name)}"
    known = {"Content-Disposition": disposition, "Content-Type": TYPE}
    return {"Upload-Complete": complete, **known, **headers}


def handle_at(path: str) -> str:
    """Return the handle of an upload by its path."""
    return "/" + unquote(path.partition("/tus/")[2])


def tus_joined(sender: Sender) -> str:
    """Upload two parts, and join them."""
    half, paths = len(sender.content) // 2, []
    for part in (sender.content[:half], sender.content[half:]):
        headers = {"Upload-Length": str(len(part)), "Upload-Concat": "partial"}
        answer = sender.ask("POST", "/tus/", headers=PIECE | headers, content=part)
        paths.append(answer.headers["Location"])
    headers = tus_headers(sender, **{"Upload-Concat": f"final;{' '.join(paths)}"})
    path = sender.ask("POST", "/tus/", headers=headers).headers["Location"]
    return handle_at(path)


def tus_headers(sender: Sender, **headers: str) -> dict[str, str]:
    """Return the headers that create an upload."""
    known = (("filename", sender.name), ("filetype", TYPE))
    listed = (f"{name} {base64.b64encode(value.encode()).decode()}" for name, value in known)
    return {"Tus-Resumable": "1.0.0", "Upload-Metadata": ",".join(listed), **headers}


def put_link(sender: Sender) -> str:
    """Reserve a handle with a link for PUT."""
    return _linked(sender, "PUT")


def post_link(sender: Sender) -> str:
    """Reserve a handle with a link for a form."""
    return _linked(sender, "POST")


def _linked(sender: Sender, method: str) -> str:
    wanted = {"name": sender.name, "content_type": TYPE, "method": method}
    begun = sender.begin("POST", "/links", json=wanted)
    sender.follow(begun["link"])
    handle: str = begun["handle"]
    return handle


def params(sender: Sender) -> str:
    """Ask for a form as Uppy does."""
    begun = sender.begin("GET", "/s3/params", params={"filename": sender.name, "type": TYPE})
    sender.follow(begun)
    handle: str = begun["handle"]
    return handle


def sign_relayed(sender: Sender) -> str:
    """Send a whole file through the service."""
    signed = sender.begin("POST", "/sign", json={"method": "PUT", "key": sender.name})
    sender.follow({**signed, "headers": {"Content-Type": TYPE}})
    handle: str = signed["handle"]
    return handle


def sign_link(sender: Sender) -> str:
    """Send a whole file with a link that has headers."""
    wanted = {"method": "PUT", "key": sender.name, "contentType": TYPE}
    signed = sender.begin("POST", "/sign", json=wanted)
    sender.follow(signed)
    handle: str = signed["handle"]
    return handle


def companion(sender: Sender) -> str:
    """Send a part to S3 and complete the upload, as Uppy 5 does."""
    begun = sender.begin("POST", "/s3/multipart", json={"filename": sender.name, "type": TYPE})
    link = sender.ask("GET", at(begun, "/1")).json()
    part = {"PartNumber": 1, "ETag": send_part(link["url"], sender.content)}
    handle: str = sender.ask("POST", at(begun, "/complete"), json={"parts": [part]}).json()[
        "handle"
    ]
    return handle


def sign_parts(sender: Sender) -> str:
    """Send a part to S3 and complete the upload, as Uppy 6 does."""
    signed = sender.begin("POST", "/sign", json={"method": "POST", "key": sender.name})
    begun = sender.ask("POST", sender.path(signed), headers={"Content-Type": TYPE}).text
    upload_id = begun.partition("<UploadId>")[2].partition("<")[0]
    upload = {"key": signed["key"], "uploadId": upload_id}
    part = sender.ask("POST", "/sign", json={**upload, "method": "PUT", "partNumber": 1}).json()
    etag = send_part(part["url"], sender.content).strip('"')
    completing = sender.ask("POST", "/sign", json={**upload, "method": "POST"}).json()
    named = f"<Part><PartNumber>1</PartNumber><ETag>{etag}</ETag></Part>"
    content = f"<CompleteMultipartUpload>{named}</CompleteMultipartUpload>"
    sender.ask("POST", sender.path(completing), content=content)
    handle: str = signed["handle"]
    return handle


def send_part(url: str, content: bytes) -> str:
    """Send a part to the server; return its ETag."""
    etag: str = succeeded(httpx.put(url, content=content)).headers["ETag"]
    return etag


def claimed_after(door: Door) -> Door:
    """Return a door that leads straight to the server, with the claim that follows."""

    def claimed(sender: Sender) -> str:
        handle = door(sender)
        assert handle == sender.claim()
        return handle

    return claimed


LINKS: dict[str, Door] = {
    "a PUT link": put_link,
    "a POST link": post_link,
    "the form of params": params,
    "a link of sign": sign_link,
}
"""Doors whose links lead to the server, where there is one."""

CLAIMED = {name: claimed_after(door) for name, door in LINKS.items()}

COMMON: dict[str, Door] = {
    "form": form,
    "body": body,
    "tus": tus,
    "tus at once": tus_at_once,
    "tus joined": tus_joined,
    "ietf": ietf,
    "ietf at once": ietf_at_once,
    "sign through the service": sign_relayed,
}
DOORS: dict[str, dict[str, Door]] = {
    "memory": COMMON | LINKS,
    "directory": COMMON | LINKS,
    "s3": COMMON | CLAIMED | {"companion": companion, "sign in parts": sign_parts},
}
"""The doors of each kind of storage, by which the application is told."""

EVERY_DOOR = pytest.mark.parametrize(
    ("harness", "door"),
    [
        pytest.param(kind, door, id=f"{kind}-{name}")
        for kind, doors in DOORS.items()
        for name, door in doors.items()
    ],
    indirect=["harness"],
)
