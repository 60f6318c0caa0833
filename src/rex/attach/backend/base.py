"""What a kind of storage fills in, below the verbs of `rex.attach.storage`."""

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
    """The hooks of a storage; a key is always well formed: a handle without its first slash.

    A backend method may raise any exception: the operations make an `Error` of it, with `_explain`.
    """

    @abc.abstractmethod
    def _put(self, key: str, content: Content, content_type: str) -> None:
        """Store the content under a new key, all of it or nothing.

        Returns when it is stored for good. Must raise `FileExistsError` or an `EXISTS` error, and
        change nothing, when something is stored under the key already. When anything fails,
        `content` included (it may raise whatever it likes), nothing may be left.
        """

    def _put_new(self, key: str, content: Content, content_type: str) -> None:
        """Store the content under a key that was made a moment ago, and that nobody else knows.

        Nothing is there, so nobody needs to ask; the rest is as in `_put`.
        """
        self._put(key, content, content_type)

    @abc.abstractmethod
    def _get(self, key: str, start: int, end: int | None) -> Body:
        """Return the object, and its bytes from `start` (0 or more) to before `end`.

        `end` is after `start`; None, and what is past the end, is the end of the object. Where
        stopping there saves nothing, the bytes may go on to the end; `Body.end` says which.

        Must raise `FileNotFoundError` here, not later, when there is none. When `start` is not
        before the end, it may raise anything else instead; what it gives is not read then.
        """

    def _get_cached(self, key: str) -> tuple[Metadata, bytes] | None:
        """Give a small object and all of its bytes, if they are in memory already.

        None where that would take waiting for a disk or a server: whoever asks has no time. May
        raise `FileNotFoundError`.
        """
        return None

    @abc.abstractmethod
    def _head(self, key: str) -> Metadata:
        """Tell what is known of the object; must raise `FileNotFoundError` when there is none."""

    @abc.abstractmethod
    def _delete(self, key: str) -> None:
        """Remove the object; must raise `FileNotFoundError` when there is none."""

    @abc.abstractmethod
    def _list(self, day: datetime.date | None, after: str | None) -> Iterator[str]:
        """Give all keys in the order of their text, of one day, after a key.

        Lazily, and without failing over what is added or removed meanwhile. Keys that are not
        ours may be among them.
        """

    def _unknown_keys(self) -> Iterator[str]:
        """Yield the keys of what is neither an attachment nor made by the storage itself."""
        return (key for key in self._list(None, None) if handle_of(key) is None)

    def _check(self, *, create: bool) -> None:
        """Make sure that the storage can be used; raise an `Error` that says what is wrong.

        Without `create`, nothing may be made: `ABSENT` where the place does not exist, `EMPTY`
        where it does not look like a storage.
        """

    def _is_untouched(self) -> bool:
        """Tell whether nothing shows that this place was ever used as a storage."""
        return next(self._list(None, None), None) is None

    def _init(self) -> bool:
        """Make the place of the storage, where that takes anything; return whether it did."""
        return False

    def _abilities(self) -> Abilities:
        """Return what the storage can do besides storing."""
        return Abilities()

    def _own_secret(self) -> bytes:
        """Give what signs tokens where no setting does: the same wherever the storage is used."""
        raise Error(
            "This storage has no secret of its own",
            f"{self!r}: give one, the same on every server",
            kind=Kind.CONFIGURATION,
            code="no-secret",
            setting="attach_secret",
        )

    def _explain(self, failure: Exception) -> Meaning | None:
        """Return what an exception of a hook means, or None if unknown."""
        return explain_os_error(failure) if isinstance(failure, OSError) else None
