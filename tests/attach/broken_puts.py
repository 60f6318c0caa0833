"""Storages broken on purpose in how they put, and in what they take back."""

# ruff: noqa: D102 - the class says how it is broken

from __future__ import annotations

import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from attach.broken import caught_by
from attach.broken_uploads import Broken, Pieces
from rex.attach.backends.memory.storage import MemoryStorage
from rex.attach.content.content import Content
from rex.attach.storage.aio import AsyncStorage
from rex.attach.storage.workers import Source, feed_call
from rex.core import Error, Kind

if TYPE_CHECKING:
    from rex.attach.backend.resumable import PartialUpload

sound = MemoryStorage


@caught_by(
    "other_bytes_are_not_put_over_an_attachment",
    "a_put_that_is_not_idempotent_takes_place_once",
    "of_several_who_put_at_once_one_succeeds",
)
class ReplacesWhatIsThere(MemoryStorage):
    """The last put counts."""

    def _put(self, key: str, content: Content, content_type: str) -> None:
        chunks = list(content)
        self._objects.pop(key, None)
        super()._put(key, Content(chunks), content_type)


@caught_by("of_several_who_put_at_once_one_succeeds", "of_many_who_put_at_any_size_one_succeeds")
class LooksBeforeItStores(MemoryStorage):
    """Nothing keeps another writer from storing between the look and the storing."""

    def __init__(self, *, max_size: int | None = None) -> None:
        super().__init__(max_size=max_size)
        self._two = threading.Barrier(2)

    def _put(self, key: str, content: Content, content_type: str) -> None:
        if key in self._objects:
            raise FileExistsError
        chunks = list(content)
        with suppress(threading.BrokenBarrierError):
            self._two.wait(0.1)
        self._two.reset()
        self._objects.pop(key, None)
        super()._put(key, Content(chunks), content_type)


@caught_by("other_bytes_are_not_put_over_an_attachment", "of_several_who_put_at_once_one_succeeds")
class CleansUpTooMuch(MemoryStorage):
    """A put that finds something removes it, as if it were its own."""

    def _put(self, key: str, content: Content, content_type: str) -> None:
        try:
            super()._put(key, content, content_type)
        except FileExistsError:
            self._objects.pop(key, None)
            raise


@caught_by("a_put_that_fails_takes_nothing_away")
class UndoesAFailedPut(MemoryStorage):
    """A put that fails removes what has its handle."""

    def _put(self, key: str, content: Content, content_type: str) -> None:
        try:
            super()._put(key, content, content_type)
        except FileExistsError:
            raise
        except Exception:
            self._objects.pop(key, None)
            raise


@caught_by("other_bytes_are_not_put_over_an_attachment", "of_several_who_put_at_once_one_succeeds")
class BelievesInRepetitions(MemoryStorage):
    """Whatever is put where something is counts as a repetition."""

    def _put(self, key: str, content: Content, content_type: str) -> None:
        with suppress(FileExistsError):
            super()._put(key, content, content_type)


@caught_by(
    "the_same_bytes_can_be_put_again",
    "all_who_put_the_same_bytes_at_once_succeed",
    "a_put_whose_answer_was_lost_can_be_repeated",
)
class RefusesRepetitions(MemoryStorage):
    """The same bytes are refused as others are."""

    def put(self, handle: str, content: Any, **options: Any) -> None:  # type: ignore[misc]  # broken
        sound.put(self, handle, content, **{**options, "idempotent": False})


@caught_by("a_put_that_is_not_idempotent_takes_place_once")
class TakesEveryRepetition(MemoryStorage):
    """The same bytes are taken also where the caller wants to be the first."""

    def put(self, handle: str, content: Any, **options: Any) -> None:  # type: ignore[misc]  # broken
        sound.put(self, handle, content, **{**options, "idempotent": True})


@caught_by("the_same_bytes_of_another_type_exist_already")
class ComparesBytesAlone(MemoryStorage):
    """The type does not count in a comparison."""

    def _is_stored(self, handle: str, content: Content, media_type: str) -> bool:
        del media_type
        return super()._is_stored(handle, content, self.info(handle).content_type)


@caught_by("what_is_put_under_a_reserved_handle_comes_back")
class ForgetsTheType(MemoryStorage):
    """The type that is given with a put is not recorded."""

    def put(self, handle: str, content: Any, **options: Any) -> None:  # type: ignore[misc]  # broken
        sound.put(self, handle, content, **{**options, "content_type": None})


class Zealous(AsyncStorage):
    """Coroutines that take back what was cancelled, whoever stored it."""

    async def put(self, handle: str, content: Any, **options: Any) -> None:
        source = Source(content)
        call = self._adders.submit(self.storage.put, handle, source.content, **options)
        await feed_call(call, source, self._workers, lambda _: self.storage.remove(handle))


@caught_by("a_put_that_is_cancelled_takes_nothing_back")
class TakesBackWhatWasThere(MemoryStorage):
    """A put that is cancelled removes what has its handle."""

    aio = property(Zealous)  # type: ignore[misc]  # broken


class Overwriting(Pieces):
    """Publishes over an attachment."""

    def publish(self, key: str, content_type: str, digest: str | None, note: str) -> bool:
        self.storage._objects.pop(key, None)
        return super().publish(key, content_type, digest, note)


@caught_by(
    "an_upload_in_pieces_does_not_replace_what_was_put",
    "of_an_upload_and_a_put_at_once_one_succeeds",
)
class CompletesOverAnAttachment(Broken):
    """An upload that is complete replaces what was put under its handle."""

    drafts = Overwriting


class Tidy(Pieces):
    """Removes what has expired when it is looked at."""

    def load(self, key: str) -> PartialUpload:
        draft = super().load(key)
        if self.storage.upload_expires == 0:
            self.remove(key)
        return draft


@caught_by("an_upload_that_has_expired_takes_nothing_more")
class RemovesWhatItLooksAt(Broken):
    """A look at an upload that has expired removes it, although the clock may be wrong."""

    drafts = Tidy


@caught_by("a_put_whose_answer_was_lost_can_be_repeated")
class ComparesNothing(MemoryStorage):
    """A repetition is refused, since another writer might have stored the same."""

    def _is_stored(self, handle: str, *_: object) -> bool:
        raise Error("Attachment exists already", handle, kind=Kind.EXISTS)
