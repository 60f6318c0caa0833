"""What a kind of storage fills in, below the verbs of `rex.attach.storage`."""

from __future__ import annotations

import abc
from typing import TYPE_CHECKING, Any

from rex.attach.failures import Meaning, explain_os_error
from rex.attach.handle import handle_of
from rex.core import Error, Kind

if TYPE_CHECKING:
    import datetime
    from collections.abc import Iterator, Sequence

    from rex.attach.content import Content
    from rex.attach.doctor import Doctor
    from rex.attach.drafts import Drafts
    from rex.attach.info import Metadata
    from rex.attach.leftover import Leftover
    from rex.attach.link import PresignedLink
    from rex.attach.multipart import Multipart
    from rex.attach.reader import Body
    from rex.attach.signing.reason import Comparison
    from rex.attach.signing.signed_link import SignedLink

__all__ = ["Hooks"]


class Hooks(abc.ABC):
    """The hooks of a storage; a key is always well formed: a handle without its first slash.

    A hook may raise what it likes: the verbs make an `Error` of it, with `_explain`.
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

    def _drafts(self) -> Drafts:
        """Give what keeps attachments that arrive piece by piece."""
        reason = type(self).__name__  # clients are told, and need not know where it is
        raise Error(
            "This storage takes no uploads in pieces",
            reason,
            kind=Kind.UNSUPPORTED,
            code="no-resumable",
        )

    def _multipart(self) -> Multipart:
        """Give what takes uploads in parts that clients send straight to a server."""
        raise Error(
            "This storage takes no uploads in parts by links",
            "keep the attachments on an S3-compatible server (attach_s3_bucket)",
            kind=Kind.UNSUPPORTED,
            code="no-multipart",
        )

    def _leftovers(self, before: datetime.datetime) -> Iterator[Leftover]:
        """Give what nobody finished and has been of no use since before a moment.

        Uploads in pieces that have expired are no part of it, as long as their records are there.
        Each is cleared, if at all, before the next is asked for; a directory comes after what is
        in it.
        """
        return iter(())

    def _lifecycle(self, days: int, noncurrent: int | None) -> list[dict[str, Any]]:
        """Return the lifecycle rules of a bucket, in S3's words, that remove the same after days.

        With `noncurrent` (days), also older versions of what was removed.
        """
        raise self._has_no_bucket()

    def _doctors(self) -> Sequence[Doctor]:
        """Give what examines this storage, or each of those that it is made of."""
        from rex.attach.doctor import Doctor

        return (Doctor(self),)  # type: ignore[arg-type]  # every storage is a `Storage`

    def _cors(self) -> list[dict[str, Any]]:
        """Give the CORS rules of the bucket, in S3's words."""
        raise self._has_no_bucket()

    def _set_cors(self, rules: list[dict[str, Any]]) -> None:
        """Replace all CORS rules of the bucket."""
        raise self._has_no_bucket()

    def _has_no_bucket(self) -> Error:
        return Error(
            "This storage has no bucket whose rules could be set",
            f"{self!r}: the service itself answers to the sites in attach_origins",
            kind=Kind.UNSUPPORTED,
            code="no-bucket-rules",
        )

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

    def _sign_post(
        self,
        key: str,
        content_type: str,
        max_size: int | None,
        seconds: float,
    ) -> PresignedLink:
        """Sign a form upload; every field is pinned."""
        raise self._cannot_sign()

    def _sign_put(
        self,
        key: str,
        content_type: str,
        seconds: float,
    ) -> PresignedLink:
        """Sign an upload that works once; every header is signed."""
        raise self._cannot_sign()

    def _sign_get(
        self,
        key: str,
        content_disposition: str,
        content_type: str | None,
        seconds: float,
    ) -> PresignedLink:
        """Sign a download that is answered with this disposition and, if given, this type."""
        raise self._cannot_sign()

    def _compare_link(self, link: SignedLink) -> Comparison | None:
        """Compare a link of S3 with the settings, asking no server; None where there are none."""
        return None

    @property
    def signs_at_once(self) -> bool:
        """Whether links are computed without asking a server, so that an event loop may do it."""
        return False

    @property
    def links_are_served(self) -> bool:
        """Whether the service answers the links of this storage, and no server of its own."""
        return False

    def _cannot_sign(self) -> Error:
        return Error(
            "This storage cannot make links",
            "links need a server that a client can reach; keep the attachments on an S3-compatible "
            "server (attach_s3_bucket) to have them",
            kind=Kind.UNSUPPORTED,
            code="no-links",
        )
