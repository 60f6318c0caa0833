"""The storage that attachments move into, and the older storage that still has some of them."""

from __future__ import annotations

import dataclasses
import heapq
import itertools
from typing import TYPE_CHECKING, Any, TypeVar

from rex.attach.backend.abilities import LinkSigner, doctors_of, require
from rex.attach.storage import Storage
from rex.core import Error, Kind

if TYPE_CHECKING:
    import datetime
    from collections.abc import Callable, Iterator, Sequence

    from rex.attach.backend.abilities import Abilities
    from rex.attach.backend.diagnostics import Doctor
    from rex.attach.backend.garbage import Garbage
    from rex.attach.content.content import Content
    from rex.attach.content.reader import Body
    from rex.attach.info import Metadata
    from rex.attach.links.link import PresignedLink
    from rex.attach.links.reason import Comparison
    from rex.attach.links.signed_link import SignedLink

__all__ = ["FallbackStorage"]

T = TypeVar("T")


class FallbackStorage(Storage):
    """Attachments in two storages, while they move from one to the other.

    Writes go to `new`. Reads try `new`, then `old`. Listings merge both. A removal removes from
    both, from `old` first, so that a copy in progress notices. If two callers remove an attachment
    at the same time, both may succeed.
    """

    # This storage calls the backend methods of the other two, as the operations do.
    # ruff: noqa: SLF001

    def __init__(self, new: Storage, old: Storage) -> None:
        super().__init__(
            max_size=new.max_size,
            link_expires=new.link_expires,
            link_window=new.link_window,
            upload_expires=new.upload_expires,
            max_uploads=new.max_uploads,
            url=new.url,
            sendfile=new.sendfile,
            public_url=new._public_url,
            secret=new._secret,
        )
        self.prefix = new.prefix
        self.hooks = new.hooks
        self.new = new
        self.old = old
        self._both = (new, old)

    def __repr__(self) -> str:
        return f"FallbackStorage({self.new!r}, {self.old!r})"

    def __reduce__(self) -> tuple[object, ...]:
        """Return how to open the same storages."""
        return FallbackStorage, (self.new, self.old)

    def close(self) -> None:
        """Close both storages."""
        super().close()
        self.new.close()
        self.old.close()

    def _check(self, *, create: bool) -> None:
        self.new._check(create=create)
        self.old._check(create=False)

    def _is_untouched(self) -> bool:
        return self.new._is_untouched() and self.old._is_untouched()

    def _init(self) -> bool:
        return self.new._init()

    def _put(self, key: str, content: Content, content_type: str) -> None:
        if _try(self.old, key, lambda storage: storage._head(key)) is not None:
            raise FileExistsError
        with self.new.map_errors(f"/{key}", content):
            self.new._put(key, content, content_type)

    def _put_new(self, key: str, content: Content, content_type: str) -> None:
        with self.new.map_errors(f"/{key}", content):
            self.new._put_new(key, content, content_type)

    def _get(self, key: str, start: int, end: int | None) -> Body:
        return self._call_holder(key, lambda storage: storage._get_body(key, start, end))

    def _get_cached(self, key: str) -> tuple[Metadata, bytes] | None:
        return self.new._get_cached(key) or self.old._get_cached(key)

    def _head(self, key: str) -> Metadata:
        return self._call_holder(key, lambda storage: storage._head(key))

    def _delete(self, key: str) -> None:
        def delete(storage: Storage) -> bool:
            storage._delete(key)
            return True

        removed = [_try(storage, key, delete) for storage in (self.old, self.new)]
        if not any(removed):
            raise FileNotFoundError

    def _list(self, day: datetime.date | None, after: str | None) -> Iterator[str]:
        both = (_merge_lists(storage, day, after) for storage in (self.new, self.old))
        return (key for key, _ in itertools.groupby(heapq.merge(*both)))

    def _unknown_keys(self) -> Iterator[str]:
        both = (storage._unknown_keys() for storage in self._both)
        return (key for key, _ in itertools.groupby(heapq.merge(*both)))

    def _call_holder(self, key: str, call: Callable[[Storage], T]) -> T:
        """Call the storage that has the key."""
        found = _try(self.new, key, call)
        if found is None:
            found = _try(self.old, key, call)
        if found is None:
            raise FileNotFoundError
        return found

    # Abilities, for new attachments or the storage as a whole.

    def _abilities(self) -> Abilities:
        links = _Links(self) if self.new.abilities.links or self.old.abilities.links else None
        return dataclasses.replace(
            self.new.abilities,
            links=links,
            garbage=self._garbage,
            diagnostics=self._doctors,
            one_remover=False,
            directory=None,
        )

    def _garbage(self, before: datetime.datetime) -> Iterator[Garbage]:
        for storage in self._both:
            find = storage.abilities.garbage
            if find is not None:
                with storage.map_errors(None):
                    yield from find(before)

    def _doctors(self) -> Sequence[Doctor[Any]]:
        older = doctors_of(self.old, self.old.abilities)
        for doctor in older:
            doctor.is_older = True
        return (*doctors_of(self.new, self.new.abilities), *older)

    def _own_secret(self) -> bytes:
        return self.new._own_secret()

    def _translate(self, failure: Exception, handle: str | None) -> Error | None:
        # Exceptions of `old` are an `Error` already.
        return self.new._translate(failure, handle)


class _Links(LinkSigner):
    """Signs downloads from the storage that has the attachment, and uploads to the new storage."""

    def __init__(self, storage: FallbackStorage) -> None:
        self._new = storage.new
        self._both = (storage.new, storage.old)

    @property
    def is_service(self) -> bool:  # type: ignore[override]  # it depends on the new storage
        """Whether the links of the new storage are service links."""
        links = self._new.abilities.links
        return links is not None and links.is_service

    @property
    def is_served(self) -> bool:
        """Whether the service answers some of the links of the new storage."""
        links = self._new.abilities.links
        return links is not None and links.is_served

    @property
    def is_fetchable(self) -> bool:
        """Whether a proxy can fetch the attachments of both storages with their links."""
        both = [storage.abilities.links for storage in self._both]
        return all(links is not None and links.is_fetchable for links in both)

    @property
    def post_links(self) -> bool:  # type: ignore[override]  # it depends on the new storage
        """Whether the new storage has links for form uploads."""
        links = self._new.abilities.links
        return links is not None and links.post_links

    @property
    def pins_type(self) -> bool:  # type: ignore[override]  # it depends on the new storage
        """Whether upload links of the new storage fix the content type."""
        links = self._new.abilities.links
        return links is not None and links.pins_type

    @property
    def limits_put(self) -> bool:  # type: ignore[override]  # it depends on the new storage
        """Whether PUT links of the new storage can limit the size of an upload."""
        links = self._new.abilities.links
        return links is not None and links.limits_put

    @property
    def signs_uploads(self) -> bool:  # type: ignore[override]  # it depends on the new storage
        """Whether the new storage, which gets all uploads, signs them."""
        links = self._new.abilities.links
        return links is not None and links.signs_uploads

    @property
    def signs_downloads(self) -> bool:  # type: ignore[override]  # it depends on both storages
        """Whether both storages have links for all their attachments."""
        both = [storage.abilities.links for storage in self._both]
        return all(links is not None and links.signs_downloads for links in both)

    def post(
        self, key: str, content_type: str, max_size: int | None, seconds: float
    ) -> PresignedLink:
        return _links_of(self._new).post(key, content_type, max_size, seconds)

    def put(
        self, key: str, content_type: str, max_size: int | None, seconds: float
    ) -> PresignedLink:
        return _links_of(self._new).put(key, content_type, max_size, seconds)

    def get(
        self,
        key: str,
        content_disposition: str,
        content_type: str | None,
        seconds: float,
        window: int,
    ) -> PresignedLink:
        # A link leads to one storage: find out which. A missing attachment may yet come to `new`.
        new, old = self._both
        heads = (_try(storage, key, lambda storage: storage._head(key)) for storage in self._both)
        holder = old if next(heads) is None and next(heads) is not None else new
        with holder.map_errors(f"/{key}"):
            links = _links_of(holder)
            return links.get(key, content_disposition, content_type, seconds, window)

    def compare(self, link: SignedLink) -> Comparison | None:
        # The storage that signed the link finds the fewest reasons.
        signers = [storage.abilities.links for storage in self._both]
        found = [signer.compare(link) for signer in signers if signer is not None]
        return min(filter(None, found), key=lambda each: len(each.reasons), default=None)


def _links_of(storage: Storage) -> LinkSigner:
    return require(storage.abilities.links, "links")


def _try(storage: Storage, key: str, call: Callable[[Storage], T]) -> T | None:
    """Call a storage and map its errors; return None if the attachment does not exist."""
    try:
        with storage.map_errors(f"/{key}"):
            return call(storage)
    except Error as error:
        if error.kind is Kind.NOT_FOUND:
            return None
        raise


def _merge_lists(storage: Storage, day: datetime.date | None, after: str | None) -> Iterator[str]:
    with storage.map_errors(None):
        yield from storage._list(day, after)
