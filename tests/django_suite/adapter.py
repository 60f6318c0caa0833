"""Our storages under the name and with the arguments of ``FileSystemStorage``.

A location is a place of its own: a directory, a prefix on a server, or a storage in memory. The
tests empty a location by removing its directory, which therefore exists wherever the files are; a
location whose directory was removed is a new place.
"""

from __future__ import annotations

import hashlib
import itertools
import os
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urljoin

from django.conf import settings
from django.utils.encoding import filepath_to_uri

from rex.attach import open_storage
from rex.attach.django.named import NamedAttachmentStorage
from rex.attach.django.storage import AttachmentStorage

if TYPE_CHECKING:
    from rex.attach import Storage

__all__ = ["HandleStorage", "NamedStorage", "touches"]

_NUMBERS = itertools.count(1)
_LOCK = threading.Lock()
_PLACES: dict[str, Place] = {}


class Touches:
    """The number of operations on our storages."""

    count = 0


touches = Touches()


class Place:
    """Where the files of a location are."""

    def __init__(self, location: str) -> None:
        Path(location).mkdir(parents=True, exist_ok=True)
        self._directory = os.open(location, os.O_RDONLY | os.O_DIRECTORY)
        self.key = f"{location[-40:]}#{next(_NUMBERS)}"
        self.rex = self._open(location)

    def _open(self, location: str) -> Storage:
        url = os.environ["DJANGO_SUITE_URL"]
        if url.startswith("s3:"):
            folder = hashlib.sha256(self.key.encode()).hexdigest()[:16]
            place, _, query = url.partition("?")
            keys = ("access_key", "secret_key")
            given = {name: os.environ[f"DJANGO_SUITE_{name.upper()}"] for name in keys}
            return open_storage(f"{place}-{os.getpid()}-{folder}?{query}", **given)
        return open_storage(url if url == "memory:" else location)

    @property
    def is_gone(self) -> bool:
        """Whether the directory was removed."""
        return os.fstat(self._directory).st_nlink == 0

    def close(self) -> None:
        """Close what is open."""
        os.close(self._directory)
        self.rex.close()


def place_of(location: str) -> Place:
    """Return the place of a location; it is a new one if its directory was removed."""
    with _LOCK:
        place = _PLACES.get(location)
        if place is not None and place.is_gone:
            place.close()
            place = None
        if place is None:
            place = _PLACES[location] = Place(location)
        return place


class Placed(AttachmentStorage):
    """A storage at a location of the file system."""

    OS_OPEN_FLAGS = 0  # a test module reads it when it is imported

    def __init__(
        self, location: str | None = None, base_url: str | None = None, **options: Any
    ) -> None:
        for name in ("file_permissions_mode", "directory_permissions_mode"):
            options.pop(name, None)
        super().__init__(**options)
        self._location = location
        self._base_url = base_url

    @property
    def base_location(self) -> str:
        """The location as it was given; ours has none, since libraries take it for a directory."""
        return settings.MEDIA_ROOT if self._location is None else self._location

    @property
    def location(self) -> str:
        """The absolute path of the location."""
        return os.path.abspath(self.base_location)  # noqa: PTH100 - as Django does

    @property
    def _place(self) -> Place:
        touches.count += 1
        return place_of(self.location)

    @property
    def rex(self) -> Storage:
        """The storage of the location."""
        return self._place.rex

    @property
    def key(self) -> str:
        """The key of the location."""
        return self._place.key

    @property
    def base_url(self) -> str:
        """The start of the URLs that the tests expect, since no view of ours answers them."""
        base = settings.MEDIA_URL if self._base_url is None else self._base_url
        return base if base.endswith("/") else f"{base}/"

    @base_url.setter
    def base_url(self, base_url: str) -> None:
        self._base_url = base_url

    def url(self, name: str | None, **_: Any) -> str:
        """Return the URL that the tests expect."""
        touches.count += 1
        return urljoin(self.base_url, filepath_to_uri(name or "").lstrip("/"))


class HandleStorage(Placed):
    """The storage whose names are handles."""


class NamedStorage(Placed, NamedAttachmentStorage):
    """The storage that keeps names."""
