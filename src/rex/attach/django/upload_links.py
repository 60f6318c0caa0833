"""Links for uploads: those of the server, or signed paths of the project's own view."""

from __future__ import annotations

import datetime
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from django.core import signing
from django.core.exceptions import ImproperlyConfigured
from django.urls import NoReverseMatch, reverse

from rex.attach.content.media_type import content_type_for
from rex.attach.links.link import PresignedLink, link_seconds
from rex.attach.storage.arguments import choose_limit

if TYPE_CHECKING:
    from rex.attach.django.storage import AttachmentStorage

__all__ = ["UPLOAD_VIEW", "Upload", "make_upload_link", "read_upload_token"]

UPLOAD_VIEW = "rex_attach:upload"
"""The view, which has the argument `token`."""

_SALT = "rex.attach.django.upload"


@dataclass(frozen=True, slots=True)
class Upload:
    """What a link for an upload allows."""

    storage: AttachmentStorage
    handle: str
    content_type: str
    max_size: int | None
    """In bytes."""


def make_upload_link(
    storage: AttachmentStorage,
    handle: str,
    *,
    max_size: int | None = None,
    content_type: str | None = None,
    expires: float | datetime.timedelta | None = None,
) -> PresignedLink:
    """Return a link that allows uploading to a reserved handle, of at most `max_size` bytes.

    On a server with links, the client sends a form (``POST``). Otherwise, it sends the bytes to
    the view in `rex.attach.django.urls` (``PUT``), whose path is relative to the site. `expires`
    is in seconds (or a timedelta).

    Errors: `ImproperlyConfigured` if the view is needed and missing; those of
    `rex.attach.Storage.upload_link`.
    """
    rex = storage.rex
    if rex.abilities.links is not None:
        return rex.upload_link(
            handle, max_size=max_size, content_type=content_type, expires=expires
        )
    seconds = link_seconds(rex.link_expires if expires is None else expires)
    end = int(time.time() + seconds)
    media_type = content_type_for(handle.rpartition("/")[2], content_type)
    signed = [storage.key, handle, media_type, choose_limit(max_size, rex.max_size), end]
    token = signing.Signer(salt=_SALT).sign_object(signed)
    headers = {"Content-Type": media_type}
    expires_at = datetime.datetime.fromtimestamp(end, datetime.UTC)
    return PresignedLink("PUT", _path(storage, token), headers, {}, expires_at)


def _path(storage: AttachmentStorage, token: str) -> str:
    try:
        return reverse(UPLOAD_VIEW, kwargs={"token": token})
    except NoReverseMatch:
        raise ImproperlyConfigured(
            "Browsers can upload to this storage only with its view; add "
            'path("attachments/", include("rex.attach.django.urls")) to the URL configuration '
            f"({storage!r})"
        ) from None


def read_upload_token(token: str) -> Upload:
    """Return what the token of a link allows.

    A token that was signed with one of ``SECRET_KEY_FALLBACKS`` is valid too.

    Errors: `signing.SignatureExpired`; `signing.BadSignature` also if its storage is gone.
    """
    from rex.attach.django.storage import find_storage

    key, handle, media_type, limit, end = signing.Signer(salt=_SALT).unsign_object(token)
    if time.time() >= end:
        raise signing.SignatureExpired("The link has expired")
    storage = find_storage(key)
    if storage is None:
        raise signing.BadSignature("The storage of the link does not exist")
    return Upload(storage, handle, media_type, limit)
