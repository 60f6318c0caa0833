"""A client for links that uses only the standard library and does not follow redirects.

The client uses the proxies of the environment, as other clients do.
"""

from __future__ import annotations

import http.client
import secrets
import ssl
import urllib.error
import urllib.request
from email.message import Message
from email.utils import collapse_rfc2231_value
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rex.attach.links.link import PresignedLink

__all__ = ["Answer", "Client", "Form", "Unreachable", "make_form"]

TIMEOUT = 30


class Answer(NamedTuple):
    """A response of the server."""

    status: int
    headers: Message
    body: bytes

    @property
    def ok(self) -> bool:
        """Whether the request succeeded (2xx)."""
        return 200 <= self.status < 300  # noqa: PLR2004 - RFC 9110, section 15.3

    @property
    def refused(self) -> bool:
        """Whether the server refused the request (4xx)."""
        return 400 <= self.status < 500  # noqa: PLR2004 - RFC 9110, section 15.5

    @property
    def disposition(self) -> str | None:
        """``attachment`` or ``inline`` (RFC 6266)."""
        return self.headers.get_content_disposition()

    @property
    def filename(self) -> str | None:
        """The file name; ``filename*`` takes precedence over ``filename`` (RFC 6266)."""
        value = self.headers.get("Content-Disposition", "")
        extended = value.partition("filename*=")
        if extended[1]:
            kept = Message()
            kept["Content-Disposition"] = f"attachment; filename*={extended[2]}"
            return collapse_rfc2231_value(kept.get_param("filename", "", "Content-Disposition"))
        return self.headers.get_filename()


class Form(NamedTuple):
    """The body of a form, around the bytes of its file."""

    content_type: str
    before: bytes
    after: bytes


def make_form(link: PresignedLink) -> Form:
    """Return the form of a POST link: the fields, then the part ``file``."""
    border = secrets.token_hex(16)
    lines = []
    for name, value in link.fields.items():
        head = f'--{border}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n'
        lines.append(f"{head}{value}\r\n")
    head = f'--{border}\r\nContent-Disposition: form-data; name="file"; filename="file"\r\n'
    lines.append(f"{head}Content-Type: application/octet-stream\r\n\r\n")
    return Form(
        f"multipart/form-data; boundary={border}",
        "".join(lines).encode(),
        f"\r\n--{border}--\r\n".encode(),
    )


class Unreachable(OSError):  # noqa: N818 - not an `Error`
    """The server did not answer; the text is the reason, without the link, which is a secret."""

    def __init__(self, reason: str, *, is_certificate: bool = False) -> None:
        super().__init__(reason)
        self.is_certificate = is_certificate
        """Whether the server's certificate is not trusted."""


class Client:
    """A client that sends one request at a time.

    `context` has the trusted certificates; `most` is the maximum number of bytes to read from a
    response (default: all). A request raises `Unreachable` if no response arrives within `timeout`
    seconds. A redirect is returned as a response, not followed.
    """

    def __init__(
        self,
        *,
        context: ssl.SSLContext | None = None,
        timeout: float = TIMEOUT,
        most: int | None = None,
    ) -> None:
        self._timeout = timeout
        self._most = -1 if most is None else most
        self._opener = urllib.request.build_opener(
            _NoRedirect(), urllib.request.HTTPSHandler(context=context)
        )

    def upload(self, link: PresignedLink, data: bytes) -> Answer:
        """Send the form of a POST link: the fields, then the part ``file``."""
        form = make_form(link)
        body = b"".join([form.before, data, form.after])
        return self.send("POST", link.url, {"Content-Type": form.content_type}, body)

    def put(self, link: PresignedLink, data: bytes) -> Answer:
        """Send the bytes to a PUT link with the link's headers."""
        return self.send("PUT", link.url, link.headers, data)

    def fetch(self, link: PresignedLink, headers: Mapping[str, str] | None = None) -> Answer:
        """Send a GET request to a download link."""
        return self.send("GET", link.url, {**link.headers, **(headers or {})})

    def send(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str] | None = None,
        body: bytes | None = None,
    ) -> Answer:
        """Send a request."""
        request = urllib.request.Request(url, body, dict(headers or {}), method=method)  # noqa: S310 - our own link
        try:
            with self._opener.open(request, timeout=self._timeout) as response:
                return Answer(response.status, response.headers, response.read(self._most))
        except urllib.error.HTTPError as response:
            with response:
                return Answer(response.code, response.headers, response.read(self._most))
        except urllib.error.URLError as failure:
            is_certificate = isinstance(failure.reason, ssl.SSLCertVerificationError)
            raise Unreachable(str(failure.reason), is_certificate=is_certificate) from None
        except OSError as failure:
            raise Unreachable(str(failure) or type(failure).__name__) from None
        except (http.client.HTTPException, UnicodeError) as failure:
            # The texts of these may contain the link with its signature.
            raise Unreachable(type(failure).__name__) from None


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """Handler that returns redirects as responses."""

    def redirect_request(self, *_: object) -> None:
        return None
