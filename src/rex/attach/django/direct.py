"""The view that makes links for direct uploads."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.http import JsonResponse
from django.utils.translation import gettext
from django.views.decorators.cache import never_cache
from django.views.decorators.csrf import csrf_protect
from django.views.decorators.http import require_POST

from rex.attach.django import names
from rex.attach.django.requests import owner_of_request, users_of
from rex.attach.django.storage import find_storage
from rex.attach.django.tokens import Offer, Upload
from rex.attach.django.upload_links import make_upload_link
from rex.attach.handle import safe_file_name
from rex.attach.storage.arguments import choose_limit
from rex.core import Error, Kind
from rex.core.log import get_logger

if TYPE_CHECKING:
    from django.http import HttpRequest

    from rex.attach import PresignedLink, UploadRequest
    from rex.attach.django.storage import AttachmentStorage

__all__ = ["upload_link"]

log = get_logger("rex.attach.django")

MAX_DIGITS = 15
"""The most digits of a size."""

STATUS = {
    Kind.DENIED: 403,
    Kind.TOO_LARGE: 413,
    Kind.REFUSED: 422,
    Kind.ILL_FORMED: 400,
}
"""The statuses of errors that concern the client; any other is the operator's."""


@require_POST
@csrf_protect
@never_cache
def upload_link(request: HttpRequest) -> JsonResponse:
    """Make a link for one file of a form: the view ``rex_attach:upload-link``.

    The request has the form fields `offer`, `name` (the file name) and `size` (bytes). The response
    is JSON: `link` (as `PresignedLink.as_dict`), and `token`, which the form sends in place of the
    file; or `error`, a text for the user.

    The right to upload is the right to send the form: `offer` is the signed text that the widget
    rendered into the form for this user, and is valid for a day. So a stranger, who is not shown
    the form, cannot make links, and the project need not repeat the form's permissions here. A
    page that any visitor may open lets any visitor upload, as its form does. The request must also
    have the CSRF token, since a link costs a file in the storage.

    The link is for one new handle and at most `size` bytes. The hook ``on_begin`` takes part, with
    the user as owner.
    """
    try:
        return JsonResponse(_make_link(request))
    except Error as error:
        return _refusal(error)


def _make_link(request: HttpRequest) -> dict[str, Any]:
    offer = Offer.read(request.POST.get("offer", ""), users_of(request))
    storage = find_storage(offer.storage)
    if storage is None:
        raise Error("The storage of the form does not exist", offer.storage, kind=Kind.DENIED)
    size = _size(request.POST.get("size", ""), offer)
    user = next(iter(users_of(request, create=True)), None)
    if user is None:
        raise Error("A visitor needs a session to upload", kind=Kind.DENIED)
    begun = _begin(request, storage, request.POST.get("name", ""), size, offer)
    limit = choose_limit(begun.max_size, size)
    link = _link(storage, begun, limit)
    token = Upload(handle=begun.handle, field=offer.field, user=user, max_size=limit).sign()
    return {"link": link.as_dict(), "token": token}


def _size(text: str, offer: Offer) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= MAX_DIGITS):
        raise Error("The size must be a number of bytes", names.show(text), kind=Kind.ILL_FORMED)
    size = int(text)
    if size == 0 and not offer.allows_empty:
        raise Error("The file is empty", kind=Kind.ILL_FORMED)
    if offer.max_size is not None and size > offer.max_size:
        raise Error("Attachment is too large", f"{size} bytes", kind=Kind.TOO_LARGE)
    return size


def _begin(
    request: HttpRequest, storage: AttachmentStorage, name: str, size: int, offer: Offer
) -> UploadRequest:
    """Begin an upload of the user; a storage without a secret cannot mark handles with owners.

    Such a storage is on S3 with credentials of the environment. Errors: `CONFIGURATION` if it has
    hooks, which must know the owner (option ``secret``).
    """
    rex, room = storage.rex, None if storage.keeps_names else offer.max_length
    name = names.fit_handle(safe_file_name(name), room)
    try:
        begun = rex.begin(name, size=size, owner=owner_of_request(request))
    except Error as error:
        if error.code != "no-secret" or rex.hooks.given:
            raise
        begun = rex.begin(name, size=size)
    if room is not None and len(begun.handle) - 1 > room:  # a hook has changed the name
        raise Error("The file name is too long", kind=Kind.REFUSED)
    return begun


def _link(storage: AttachmentStorage, begun: UploadRequest, limit: int | None) -> PresignedLink:
    """Return a link that limits the size, where there are such links.

    Of a server without POST links, the size counts when the form is sent.
    """
    try:
        return make_upload_link(
            storage, begun.handle, max_size=limit, content_type=begun.content_type
        )
    except Error as error:
        if error.kind is not Kind.UNSUPPORTED or storage.rex.max_size is not None:
            raise
    return storage.rex.upload_link(begun.handle, method="PUT", content_type=begun.content_type)


def _refusal(error: Error) -> JsonResponse:
    """Return the response to an error: words for the client, or none if it is the operator's."""
    status = STATUS.get(error.kind)
    if status is None:
        log.error("cannot make an upload link: %s", error)
        status, text = 503, gettext("Uploading is not possible at the moment.")
    elif error.kind is Kind.REFUSED:
        text = error.message
    elif error.kind is Kind.DENIED:
        text = gettext("Uploading is not allowed. Reload the page.")
    elif error.kind is Kind.TOO_LARGE:
        text = gettext("The file is too large.")
    else:
        text = gettext("The submitted file is empty.")
    return JsonResponse({"error": text, "code": error.code}, status=status)
