"""Responses of Flask: a download, an error, and what the service answers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import flask

from rex.attach.content.media_type import disposition
from rex.attach.flask.state import find_state
from rex.attach.http.download import HEADERS, DownloadRequest, open_download
from rex.attach.web.errors import is_denied_to_us
from rex.core import Error, Kind
from rex.core.problem import problem_of

if TYPE_CHECKING:
    from werkzeug.datastructures import Headers

__all__ = ["Verbatim", "answer_error", "send_attachment"]

_DISPOSITION = "Content-Disposition"


class Verbatim(flask.Response):
    """A response whose headers reach the server as they are: Flask adds only a session's."""

    default_mimetype = None

    def get_wsgi_headers(self, environ: Any) -> Headers:  # noqa: ARG002 - the signature of werkzeug
        """Return the headers, with the length of a body that is in memory."""
        if self.is_sequence and self.status_code not in (204, 304):
            length = sum(map(len, self.iter_encoded()))
            self.headers.setdefault("Content-Length", str(length))
        return self.headers


def send_attachment(
    handle: str, *, inline: bool = True, download_name: str | None = None
) -> flask.Response:
    """Return the response to a GET or HEAD of an attachment, streamed from the storage.

    Conditions and byte ranges are those of the current request (RFC 9110). With `inline`, a browser
    may display the attachment if its type cannot carry a script. `download_name` replaces the name
    in the handle. The view decides who may read the attachment.

    Errors: those of `Storage.open`; `NOT_FOUND` becomes 404.
    """
    request = flask.request
    headers = {
        name: ", ".join(values) for name in HEADERS if (values := request.headers.getlist(name))
    }
    asked = DownloadRequest(request.method, headers)
    download = open_download(find_state().storage, handle, asked, inline=inline)
    shown_as = download.headers.get(_DISPOSITION)
    if download_name is not None and shown_as is not None:
        is_inline = shown_as.startswith("inline")
        download.headers[_DISPOSITION] = disposition(download_name, inline=is_inline)
    # A response without a length is small, and has no reader to close.
    is_small = "Content-Length" not in download.headers
    body = list(download) if is_small else download
    return Verbatim(body, download.status, download.headers)


def answer_error(failure: Error) -> flask.Response:
    """Return the problem document of an error that a view raised."""
    if is_denied_to_us(failure):
        # The storage denied access to the application, not the application to its client.
        failure = Error(str(failure), kind=Kind.UNAVAILABLE)
    problem = problem_of(failure)
    return Verbatim(problem.content, problem.status, problem.headers)
