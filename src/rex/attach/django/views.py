"""Downloads and uploads by signed paths, for storages without a server of their own.

The token in the path is the access right, so neither a session nor a CSRF token is checked.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.core import signing
from django.http import HttpResponse, UnreadablePostError
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_http_methods, require_safe

from rex.attach.content.content import READ_SIZE
from rex.attach.django.links import read_token
from rex.attach.django.response import AttachmentResponse
from rex.attach.django.upload_links import read_upload_token
from rex.attach.http.body_headers import ENCODED, Digests, check_whole, read_digests
from rex.core import Error, Kind
from rex.core.problem import make_problem, problem_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from django.http import HttpRequest
    from django.http.response import HttpResponseBase

    from rex.attach.django.upload_links import Upload
    from rex.core.problem import Problem

__all__ = ["download", "upload"]


@require_safe
def download(request: HttpRequest, token: str, name: str) -> HttpResponseBase:
    """Return the file of a signed path."""
    try:
        allowed = read_token(token)
    except signing.BadSignature as error:
        return _denied(error)
    if name != allowed.filename:
        return _answer(make_problem(403, "URL differs from the signed one", "denied"))
    try:
        return AttachmentResponse(
            request,
            allowed.handle,
            storage=allowed.storage,
            inline=allowed.inline,
            filename=allowed.filename,
            max_age=allowed.seconds,
        )
    except Error as error:
        return _answer_error(error)


@csrf_exempt
@require_http_methods(["PUT"])
def upload(request: HttpRequest, token: str) -> HttpResponse:
    """Store the body of a request under the handle of a signed path.

    Under WSGI, the bytes go straight to the storage. Under ASGI, Django itself first writes a body
    over ``FILE_UPLOAD_MAX_MEMORY_SIZE`` to a temporary file.
    """
    try:
        allowed = read_upload_token(token)
    except signing.BadSignature as error:
        return _denied(error)
    try:
        return _store(request, allowed)
    except UnreadablePostError:
        return _answer(make_problem(400, "The body is incomplete", Kind.ILL_FORMED.value))
    except Error as error:
        return _answer_error(error)


def _store(request: HttpRequest, allowed: Upload) -> HttpResponse:
    rex = allowed.storage.rex
    headers = _Headers(request)
    check_whole(headers)
    digests = Digests(read_digests(headers))
    size = request.META.get("CONTENT_LENGTH") or ""
    if not (size.isascii() and size.isdecimal()):  # Django reads nothing without a length
        return _answer(make_problem(411, "Content-Length is required", Kind.ILL_FORMED.value))
    if allowed.max_size is not None and int(size) > allowed.max_size:
        reason = f"more than {allowed.max_size} bytes"
        raise Error("Attachment is too large", reason, kind=Kind.TOO_LARGE)
    rex.put(
        allowed.handle,
        _chunks(request, int(size), digests),
        content_type=allowed.content_type,
        owner=_owner(request) if rex.hooks.notifies else None,
    )
    return HttpResponse(status=201, headers={"ETag": rex.info(allowed.handle).etag})


def _chunks(request: HttpRequest, size: int, digests: Digests) -> Iterator[bytes]:
    """Yield the body. Errors: `ILL_FORMED` if the body is shorter, or has another digest."""
    while size > 0:
        chunk = request.read(min(size, READ_SIZE))
        if not chunk:
            raise Error("The body is incomplete", f"{size} bytes missing", kind=Kind.ILL_FORMED)
        size -= len(chunk)
        digests.update(chunk)
        if not size:
            digests.check()  # before the last bytes are stored
        yield chunk


class _Headers:
    """The headers of a request; the server has joined those with the same name."""

    def __init__(self, request: HttpRequest) -> None:
        self._headers = request.headers

    def getlist(self, key: str, /) -> list[str]:
        """Return the values of a header."""
        return [self._headers[key]] if key in self._headers else []


def _owner(request: HttpRequest) -> object:
    """Return the user of the session for the hooks, or None."""
    user = getattr(request, "user", None)
    return user if user is not None and user.is_authenticated else None


def _denied(error: signing.BadSignature) -> HttpResponse:
    is_expired = isinstance(error, signing.SignatureExpired)
    words = "The link has expired" if is_expired else "The signature is wrong"
    code = "link-expired" if is_expired else "bad-signature"
    return _answer(make_problem(403, words, Kind.DENIED.value, code=code))


def _answer_error(error: Error) -> HttpResponse:
    problem = problem_of(error)
    is_encoded = error.code == ENCODED  # RFC 9110, section 15.5.16
    return _answer(problem, status=415 if is_encoded else problem.status)


def _answer(problem: Problem, status: int | None = None) -> HttpResponse:
    return HttpResponse(problem.content, status=status or problem.status, headers=problem.headers)
