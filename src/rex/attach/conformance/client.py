"""A client of links, made of the standard library alone."""

from __future__ import annotations

import http.client
import secrets
from email.message import Message
from email.utils import collapse_rfc2231_value
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rex.attach.link import PresignedLink

__all__ = ["Answer", "fetch", "put", "upload"]

TIMEOUT = 30


class Answer(NamedTuple):
    """What the server answered."""

    status: int
    headers: Message
    body: bytes

    @property
    def ok(self) -> bool:
        """Whether the server did it."""
        return 200 <= self.status < 300  # noqa: PLR2004 - RFC 9110, section 15.3

    @property
    def refused(self) -> bool:
        """Whether the server said that the client may not."""
        return 400 <= self.status < 500  # noqa: PLR2004 - RFC 9110, section 15.5

    @property
    def disposition(self) -> str | None:
        """``attachment`` or ``inline`` (RFC 6266)."""
        return self.headers.get_content_disposition()

    @property
    def filename(self) -> str | None:
        """The name to save the body under; ``filename*`` before ``filename`` (RFC 6266)."""
        value = self.headers.get("Content-Disposition", "")
        extended = value.partition("filename*=")
        if extended[1]:
            kept = Message()
            kept["Content-Disposition"] = f"attachment; filename*={extended[2]}"
            return collapse_rfc2231_value(kept.get_param("filename", "", "Content-Disposition"))
        return self.headers.get_filename()


def upload(link: PresignedLink, data: bytes) -> Answer:
    """Send the form of a POST link: its fields, then the part ``file``."""
    border = secrets.token_hex(16)
    lines = []
    for name, value in link.fields.items():
        head = f'--{border}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n'
        lines.append(f"{head}{value}\r\n".encode())
    head = f'--{border}\r\nContent-Disposition: form-data; name="file"; filename="file"\r\n'
    lines.append(f"{head}Content-Type: application/octet-stream\r\n\r\n".encode())
    body = b"".join([*lines, data, f"\r\n--{border}--\r\n".encode()])
    return _send(
        "POST", link.url, body, {"Content-Type": f"multipart/form-data; boundary={border}"}
    )


def put(link: PresignedLink, data: bytes) -> Answer:
    """Send the bytes to a PUT link, with its headers."""
    return _send("PUT", link.url, data, link.headers)


def fetch(link: PresignedLink) -> Answer:
    """Get what a download link leads to."""
    return _send("GET", link.url, None, link.headers)


def _send(method: str, url: str, body: bytes | None, headers: Mapping[str, str]) -> Answer:
    parts = urlsplit(url)
    secure = parts.scheme == "https"
    connect = http.client.HTTPSConnection if secure else http.client.HTTPConnection
    connection = connect(parts.netloc, timeout=TIMEOUT)
    try:
        connection.request(
            method, url[url.index(parts.netloc) + len(parts.netloc) :], body, dict(headers)
        )
        response = connection.getresponse()
        return Answer(response.status, response.headers, response.read())
    finally:
        connection.close()
