"""Downloads that a proxy sends after the service's response (setting attach_sendfile).

X-Accel-Redirect names a path in an internal location of nginx or Caddy; X-Sendfile of Apache names
a file. The service still decides everything: access, headers, conditions and ranges. It hands over
only what a proxy cannot send differently, the whole attachment or one range of it.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING
from urllib.parse import quote, urlsplit

from rex.attach.handle import key_of

if TYPE_CHECKING:
    from rex.attach.storage import Storage

__all__ = ["can_hand_over", "is_offline", "target_header"]

X_SENDFILE = "x-sendfile"
FETCH_SECONDS = 300
"""How long a proxy may take to begin fetching, clocks that differ included."""


def can_hand_over(storage: Storage) -> bool:
    """Return whether the proxy in front of the service can send attachments of a storage."""
    if storage.sendfile is None:
        return False
    abilities = storage.abilities
    if abilities.directory is not None:
        return True
    links = abilities.links
    return storage.sendfile != X_SENDFILE and links is not None and links.is_fetchable


def is_offline(storage: Storage) -> bool:
    """Return whether `target_header` needs no server, so that an event loop may call it."""
    abilities = storage.abilities
    return abilities.directory is not None or bool(abilities.links and abilities.links.is_offline)


def target_header(storage: Storage, handle: str) -> dict[str, str]:
    """Return the header by which the proxy finds the bytes of an attachment.

    Errors: those of `Storage.download_link`, unless the storage is a directory.
    """
    directory = storage.abilities.directory
    if directory is None:
        return {"X-Accel-Redirect": f"{storage.sendfile}{_fetched(storage, handle)}"}
    key = key_of(handle)
    if storage.sendfile == X_SENDFILE:
        # Not percent-encoded, since the module of Debian does not decode it; the bytes of UTF-8.
        return {"X-Sendfile": os.fsencode(f"{directory}/{key}").decode("latin-1")}
    return {"X-Accel-Redirect": f"{storage.sendfile}/{quote(key)}"}


def _fetched(storage: Storage, handle: str) -> str:
    """Return the host, path and query of a link, as ``/host/path?query``.

    The path is encoded twice, since nginx decodes it once: what it sends is what was signed.
    """
    url = urlsplit(storage.download_link(handle, expires=FETCH_SECONDS, window=0).url)
    return f"/{url.netloc}{url.path.replace('%', '%25')}?{url.query}"
