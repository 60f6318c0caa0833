"""Storages broken on purpose in how they take uploads in pieces."""

from __future__ import annotations

import dataclasses
import os
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from attach.broken import caught_by
from rex.attach.backend.resumable import PartialUpload
from rex.attach.backends.local.resumable import LocalResumable
from rex.attach.backends.local.storage import LocalStorage
from rex.attach.backends.memory.storage import MemoryStorage, _MemoryDrafts

if TYPE_CHECKING:
    import datetime
    from collections.abc import Iterator

    from rex.attach.backend.abilities import Abilities
    from rex.attach.backends.local.files import Files
    from rex.attach.content.content import Content


class Pieces(_MemoryDrafts):
    """Drafts in memory; the base of those that are broken."""

    storage: MemoryStorage


class Broken(MemoryStorage):
    """A storage in memory whose drafts are broken."""

    drafts: type[Pieces] = Pieces

    def __init__(self, *, max_size: int | None = None) -> None:
        super().__init__(max_size=max_size)
        self._unfinished = drafts = self.drafts(self._put)
        drafts.storage = self


class DropsWhatBrokeOff(Pieces):
    """Only content that comes to its end is appended."""

    def append(self, key: str, offset: int, content: Content, remaining: int | None) -> None:
        """Collect it before."""
        del offset, remaining
        record, data = self._find(key)
        self._held[key] = record, data + b"".join(content)


@caught_by(
    "what_comes_before_a_failure_is_kept",
    "what_came_of_a_piece_that_became_shorter_is_kept",
    "coroutines_take_uploads_in_pieces",
)
class LosesWhatBrokeOff(Broken):
    """What came before the content failed is thrown away."""

    drafts = DropsWhatBrokeOff


class Misplaces(Pieces):
    """Appends at the beginning."""

    def append(self, key: str, offset: int, content: Content, remaining: int | None) -> None:
        """Put it before what is there."""
        del offset, remaining
        record, data = self._find(key)
        self._held[key] = record, bytearray(b"".join(content)) + data


@caught_by("an_upload_in_pieces_becomes_an_attachment", "the_size_of_an_upload_can_be_told_later")
class AppendsBefore(Broken):
    """A piece goes before those that came earlier."""

    drafts = Misplaces


class NeverBusy(Pieces):
    """Holds nothing."""

    @contextmanager
    def hold(self, _: str) -> Iterator[None]:
        """Let everybody pass."""
        yield


@caught_by("only_one_appends_at_a_time")
class LetsEverybodyAppend(Broken):
    """Two may append to an upload at once."""

    drafts = NeverBusy


class Keeps(Pieces):
    """Keeps a draft when it is published."""

    def publish(
        self, key: str, content_type: str, digest: str | None, upload_metadata: str
    ) -> bool:
        """Publish a copy."""
        return super().publish(key, content_type, digest, upload_metadata)

    def forget(self, key: str) -> None:
        """Keep it."""


@caught_by("uploads_are_listed_until_they_are_complete")
class ListsWhatIsComplete(Broken):
    """What has become an attachment is an upload still."""

    drafts = Keeps


class Annotates(Pieces):
    """Records another note."""

    def publish(
        self, key: str, content_type: str, digest: str | None, upload_metadata: str
    ) -> bool:
        """Cut it."""
        return super().publish(key, content_type, digest, upload_metadata[:-1])


@caught_by("a_complete_upload_has_its_note_or_none")
class CutsNotes(Broken):
    """A complete upload has another note than it was given."""

    drafts = Annotates


class SaysMore(Pieces):
    """Tells of more than there is."""

    def load(self, key: str) -> PartialUpload:
        """Round up."""
        record, size = super().load(key)
        return PartialUpload(record, -(-size // 1000) * 1000)


@caught_by("an_upload_tells_how_far_it_is", "a_wrong_offset_is_a_conflict")
class TellsRoundOffsets(Broken):
    """An upload is told to be farther than it is."""

    drafts = SaysMore


@caught_by("an_upload_is_no_attachment_before_it_is_complete", "a_part_is_never_an_attachment")
class ListsDrafts(Broken):
    """Uploads are listed with the attachments."""

    def _list(self, day: datetime.date | None, after: str | None) -> Iterator[str]:
        yield from sorted({*super()._list(day, after), *self._unfinished.keys()})


class LeavesData(LocalResumable):
    """Removes the record of a draft only."""

    def _remove(self, place: int, key: str) -> None:
        with suppress(FileNotFoundError):
            os.unlink(f"{key.split('/')[3]}.key", dir_fd=place)


@caught_by("an_upload_that_is_removed_leaves_nothing", "another_storage_goes_on_with_an_upload")
class LeavesTheData(LocalStorage):
    """The bytes of an upload stay when it is removed."""

    def _abilities(self) -> Abilities:
        return dataclasses.replace(super()._abilities(), resumable=LeavesData(self._files))


class KnowsItsOwn(LocalResumable):
    """Knows only of the drafts that it began itself."""

    def __init__(self, files: Files) -> None:
        super().__init__(files)
        self._own: set[str] = set()

    def create(
        self, key: str, record: bytes, content_type: str, *, partial: bool, upload_metadata: str
    ) -> None:
        """Note it."""
        super().create(key, record, content_type, partial=partial, upload_metadata=upload_metadata)
        self._own.add(key)

    def load(self, key: str) -> PartialUpload:
        """Look into the notes first."""
        if key not in self._own:
            raise FileNotFoundError
        return super().load(key)


@caught_by("another_storage_goes_on_with_an_upload")
class ForgetsWithTheProcess(LocalStorage):
    """Nobody else can go on with an upload."""

    def _abilities(self) -> Abilities:
        return dataclasses.replace(super()._abilities(), resumable=KnowsItsOwn(self._files))
