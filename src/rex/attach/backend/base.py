"""The backend methods, which the operations of `rex.attach.storage` call."""

from __future__ import annotations

import abc
from typing import TYPE_CHECKING

from rex.attach.backend.abilities import Abilities
from rex.attach.backend.failures import Meaning, explain_os_error
from rex.attach.handle import handle_of
from rex.core import Error, Kind

if TYPE_CHECKING:
    import datetime
    from collections.abc import Iterator

    from rex.attach.content.content import Content
    from rex.attach.content.reader import Body
    from rex.attach.info import Metadata

__all__ = ["Backend"]


class Backend(abc.ABC):
    """The methods of a backend; a key is always well formed: a handle without its first slash.

    A backend method may raise any exception: the operations make an `Error` of it, with `_explain`.
    """

    @abc.abstractmethod
    def _put(self, key: str, content: Content, content_type: str) -> None:
        """Store the content under a new key, completely or not at all.

        Must return once the content is durable. Must raise `FileExistsError` or an `EXISTS` error,
        and change nothing, if the key exists. After any failure, including any exception raised by
        `content`, nothing may be left.
        """

    def _put_new(self, key: str, content: Content, content_type: str) -> None:
        """Store the content under a key that was just made and that no other caller knows.

        Otherwise as `_put`, but without the need to check whether the key exists.
        """
        self._put(key, content, content_type)

    @abc.abstractmethod
    def _get(self, key: str, start: int, end: int | None) -> Body:
        """Return the object, and its bytes from `start` (0 or more) up to but excluding `end`.

        `end` is greater than `start`; None, or a position past the end, is the end of the object.
        If stopping at `end` saves nothing, the bytes may continue to the end of the object;
        `Body.end` says which.

        Must raise `FileNotFoundError`, here and not later, if the object does not exist. If
        `start` is not before the end of the object, any other exception may be raised, and a
        returned body is not read.
        """

    def _get_cached(self, key: str) -> tuple[Metadata, bytes] | None:
        """Return a small object and all its bytes from memory, or None if reading might block.

        Must not wait for a disk or a server. May raise `FileNotFoundError`.
        """
        return None

    @abc.abstractmethod
    def _head(self, key: str) -> Metadata:
        """Return the object's metadata; must raise `FileNotFoundError` if it does not exist."""

    @abc.abstractmethod
    def _delete(self, key: str) -> None:
        """Remove the object; must raise `FileNotFoundError` if it does not exist."""

    @abc.abstractmethod
    def _list(self, day: datetime.date | None, after: str | None) -> Iterator[str]:
        """Yield all keys lazily, in lexicographical order: those of a day, after a key.

        Must not fail if objects are added or removed meanwhile. May yield unknown keys.
        """

    def _unknown_keys(self) -> Iterator[str]:
        """Yield the unknown keys: neither of attachments nor of the backend's own objects."""
        return (key for key in self._list(None, None) if handle_of(key) is None)

    def _check(self, *, create: bool) -> None:
        """Check that the storage is usable; raise an `Error` that says what is wrong.

        Without `create`, nothing may be created: raise `ABSENT` if the directory or bucket does
        not exist, and `EMPTY` if it does not look like a storage.
        """

    def _is_untouched(self) -> bool:
        """Return whether there is no trace of a storage in this place."""
        return next(self._list(None, None), None) is None

    def _init(self) -> bool:
        """Create the place of the storage, if it needs one; return whether it was missing."""
        return False

    def _abilities(self) -> Abilities:
        """Return the optional abilities of the backend."""
        return Abilities()

    def _own_secret(self) -> bytes:
        """Return the default secret for tokens, equal in every process that uses the storage."""
        raise Error(
            "This storage has no secret of its own",
            f"{self!r}: set a secret, the same on every server",
            kind=Kind.CONFIGURATION,
            code="no-secret",
            setting="attach_secret",
        )

    def _explain(self, failure: Exception) -> Meaning | None:
        """Return the meaning of an exception of a backend method, or None if unknown."""
        return explain_os_error(failure) if isinstance(failure, OSError) else None
