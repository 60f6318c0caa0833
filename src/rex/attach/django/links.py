"""URLs of files: download links of a server, or signed paths of the project's own view."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from django.core import signing
from django.core.exceptions import ImproperlyConfigured
from django.urls import NoReverseMatch, reverse

from rex.attach.links.link import link_seconds, round_down
from rex.attach.storage.arguments import choose_window

if TYPE_CHECKING:
    import datetime

    from rex.attach.django.storage import AttachmentStorage

__all__ = ["VIEW", "Download", "make_url", "read_token"]

VIEW = "rex_attach:download"
"""The view, which has the arguments `token` and `name`."""

_SALT = "rex.attach.django.download"


@dataclass(frozen=True, slots=True)
class Download:
    """What a signed path allows."""

    storage: AttachmentStorage
    handle: str
    filename: str
    """The name that the client's file gets."""
    inline: bool
    """Whether a browser may show the file, if its type cannot carry a script."""
    seconds: float
    """How long the path is still valid."""


def make_url(
    storage: AttachmentStorage,
    handle: str,
    *,
    filename: str,
    inline: bool,
    expires: float | datetime.timedelta | None,
) -> str:
    """Return the URL of a download; no request is made.

    Errors: `ImproperlyConfigured` if the view is needed and missing.
    """
    if storage.rex.abilities.links is not None:
        link = storage.rex.download_link(handle, filename=filename, inline=inline, expires=expires)
        return link.url
    return _make_path(storage, handle, filename=filename, inline=inline, expires=expires)


def _make_path(
    storage: AttachmentStorage,
    handle: str,
    *,
    filename: str,
    inline: bool,
    expires: float | datetime.timedelta | None,
) -> str:
    """Return the signed path of the view, which stays the same within the storage's window."""
    rex = storage.rex
    seconds = link_seconds(rex.link_expires if expires is None else expires)
    window = choose_window(None, rex.link_window, seconds)
    end = int(round_down(time.time(), window) + seconds)
    name = handle.rpartition("/")[2]
    signed = [storage.key, handle, "" if filename == name else filename, int(inline), end]
    token = signing.Signer(salt=_SALT).sign_object(signed)
    try:
        return reverse(VIEW, kwargs={"token": token, "name": filename})
    except NoReverseMatch:
        raise ImproperlyConfigured(
            "The files of this storage have URLs only with its view; add "
            'path("attachments/", include("rex.attach.django.urls")) to the URL configuration '
            f"({storage!r})"
        ) from None


def read_token(token: str) -> Download:
    """Return what a signed path allows.

    A path that was signed with one of ``SECRET_KEY_FALLBACKS`` is valid too.

    Errors: `signing.SignatureExpired`; `signing.BadSignature` also if its storage is gone.
    """
    from rex.attach.django.storage import find_storage

    key, handle, filename, inline, end = signing.Signer(salt=_SALT).unsign_object(token)
    seconds = end - time.time()
    if seconds <= 0:
        raise signing.SignatureExpired("The link has expired")
    storage = find_storage(key)
    if storage is None:
        raise signing.BadSignature("The storage of the link does not exist")
    name = handle.rpartition("/")[2]
    return Download(storage, handle, filename or name, bool(inline), seconds)
