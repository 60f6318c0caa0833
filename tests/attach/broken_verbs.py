"""Storages broken on purpose in the verbs themselves, which no author of a storage can override.

They show that the promises would catch a mistake in `rex.attach.storage` too.
"""

# ruff: noqa: D102 - the class says how its verb is broken

from __future__ import annotations

import dataclasses
import io
import secrets
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any

from attach.broken import caught_by
from rex.attach.backends.memory.storage import MemoryStorage
from rex.attach.content.comparison import Comparison
from rex.attach.storage.aio import AsyncStorage
from rex.attach.storage.workers import Source, feed_call
from rex.core import Error, Kind

if TYPE_CHECKING:
    import datetime
    from collections.abc import Iterator

    from rex.attach.content.content import Content
    from rex.attach.content.reader import Reader

sound = MemoryStorage
"""The verbs as they should be."""


@caught_by("equal_content_is_stored_each_time", "many_threads_can_add_at_once")
class StoresEqualNamesOnce(MemoryStorage):
    """A second attachment of the same name takes the place of the first."""

    def add(self, name: Any, content: Any, **options: Any) -> str:  # type: ignore[misc]  # broken
        for handle in self:
            if handle.endswith(f"/{name}"):
                self.remove(handle)
        return sound.add(self, name, content, **options)


@caught_by("a_file_is_left_open_and_at_its_end", "a_file_on_disk_is_stored")
class ClosesTheFile(MemoryStorage):
    """The caller's file is closed."""

    def add(self, name: Any, content: Any, **options: Any) -> str:  # type: ignore[misc]  # broken
        handle = sound.add(self, name, content, **options)
        if hasattr(content, "close"):
            content.close()
        return handle


@caught_by("a_file_is_read_from_where_it_stands")
class RewindsTheFile(MemoryStorage):
    """The caller's file is read from its beginning."""

    def add(self, name: Any, content: Any, **options: Any) -> str:  # type: ignore[misc]  # broken
        if hasattr(content, "seek"):
            content.seek(0)
        return sound.add(self, name, content, **options)


@caught_by("a_pipe_is_stored_to_its_end", "a_file_that_gives_little_at_a_time_is_stored_whole")
class ReadsOnce(MemoryStorage):
    """A file is thought to give all at the first read."""

    def add(self, name: Any, content: Any, **options: Any) -> str:  # type: ignore[misc]  # broken
        if hasattr(content, "read"):
            content = content.read(1 << 30)
        return sound.add(self, name, content, **options)


@caught_by("a_file_that_became_shorter_is_refused")
class StoresWhatIsLeft(MemoryStorage):
    """A file that ends early is stored as far as it goes."""

    def add(self, name: Any, content: Any, **options: Any) -> str:  # type: ignore[misc]  # broken
        if hasattr(content, "read"):
            content = iter(partial(content.read, 1 << 20), b"")
        return sound.add(self, name, content, **options)


@caught_by("a_file_that_grows_is_stored_to_its_end")
class StopsWhereTheFileEnded(MemoryStorage):
    """A file is stored as far as it went at first."""

    def add(self, name: Any, content: Any, **options: Any) -> str:  # type: ignore[misc]  # broken
        if isinstance(content, io.BytesIO):
            left = len(content.getvalue()) - content.tell()
            sizes = [min(1 << 20, left - done) for done in range(0, left, 1 << 20)]
            content = [content.read(size) for size in sizes]
        return sound.add(self, name, content, **options)


@caught_by("chunks_of_any_size_are_joined")
class StopsAtAnEmptyChunk(MemoryStorage):
    """An empty chunk is taken for the end."""

    def add(self, name: Any, content: Any, **options: Any) -> str:  # type: ignore[misc]  # broken
        if isinstance(content, list):
            content = iter(iter(content).__next__, b"")
        return sound.add(self, name, content, **options)


@caught_by("a_buffer_may_be_used_again_for_the_next_chunk")
class KeepsChunksOfOthers(MemoryStorage):
    """Chunks are collected, although they may be views of a buffer in use."""

    def add(self, name: Any, content: Any, **options: Any) -> str:  # type: ignore[misc]  # broken
        return sound.add(self, name, b"".join([*content]), **options)


@caught_by("what_the_content_raises_comes_out_as_it_is")
class WrapsWhatTheContentRaises(MemoryStorage):
    """An exception of the caller's content is turned into one of ours."""

    def add(self, name: Any, content: Any, **options: Any) -> str:  # type: ignore[misc]  # broken
        try:
            return sound.add(self, name, content, **options)
        except (OSError, ValueError) as failure:
            raise Error("Cannot store the attachment", failure) from failure


@caught_by("what_the_content_raises_comes_out_as_it_is", "content_that_fails_late_leaves_nothing")
class TakesFailuresForItsOwn(MemoryStorage):
    """A FileNotFoundError of the content is taken for a missing attachment."""

    def map_errors(self, handle: str | None, content: Content | None = None) -> Any:  # type: ignore[misc]  # broken
        del content
        return super().map_errors(handle)


@caught_by("an_interrupt_leaves_nothing")
class SwallowsInterrupts(MemoryStorage):
    """Ctrl-C while the content is read becomes an error like any other."""

    def add(self, name: Any, content: Any, **options: Any) -> str:  # type: ignore[misc]  # broken
        try:
            return sound.add(self, name, content, **options)
        except (KeyboardInterrupt, SystemExit) as interrupt:
            raise Error("Interrupted") from interrupt


@caught_by("one_byte_over_the_largest_size_is_refused")
class HasNoLimit(MemoryStorage):
    """The largest size is ignored."""

    def __init__(self, *, max_size: int | None = None) -> None:
        del max_size
        super().__init__()


@caught_by("the_largest_size_allowed_is_allowed")
class HasALowerLimit(MemoryStorage):
    """The largest size is refused already."""

    def __init__(self, *, max_size: int | None = None) -> None:
        super().__init__(max_size=max_size and max_size - 1)


@caught_by("what_is_reserved_is_not_listed", "opening_what_is_not_there_fails_at_once")
class StoresWhatIsReserved(MemoryStorage):
    """A reserved handle is an empty attachment already."""

    def reserve(self, name: Any, **options: Any) -> str:  # type: ignore[misc]  # broken
        return self.add(name, b"", **options)


@caught_by("names_are_made_harmless", "a_name_in_the_form_of_apple_is_the_same_name")
class TakesNamesAsTheyAre(MemoryStorage):
    """A name is only rid of its slashes."""

    def reserve(self, name: Any, **options: Any) -> str:  # type: ignore[misc]  # broken
        return f"{sound.reserve(self, 'x', **options).removesuffix('x')}{name.replace('/', '_')}"

    def add(self, name: Any, content: Any, **options: Any) -> str:  # type: ignore[misc]  # broken
        handle = sound.add(self, name, content, **options)
        renamed = f"{handle.rpartition('/')[0]}/{name.replace('/', '_')}"
        self._objects[renamed[1:]] = self._objects.pop(handle[1:])
        return renamed


@caught_by("two_readers_do_not_disturb_each_other", "a_closed_attachment_cannot_be_read")
class SharesItsReaders(MemoryStorage):
    """Who opens an attachment again gets the same reader."""

    def open(self, handle: str, **options: Any) -> Reader:  # type: ignore[misc]  # broken
        readers: dict[str, Reader] = self.__dict__.setdefault("readers", {})
        if handle not in readers:
            readers[handle] = sound.open(self, handle, **options)
            readers[handle].close = lambda: None  # type: ignore[method-assign]  # broken
        return readers[handle]


@caught_by("a_part_can_be_opened_by_its_length")
class IgnoresLengths(MemoryStorage):
    """A length is ignored, and reading goes on to the end."""

    def open(self, handle: str, **options: Any) -> Reader:  # type: ignore[misc]  # broken
        return sound.open(self, handle, **options | {"length": None})


class OpensAnother(MemoryStorage):
    """Changes the stream that is read from; the base of others."""

    def open(self, handle: str, **options: Any) -> Reader:  # type: ignore[misc]  # broken
        reader = sound.open(self, handle, **options)
        stream: Any = reader.stream
        self._change(stream)
        return reader

    def _change(self, stream: Any) -> None:
        raise NotImplementedError  # a subclass says what changes


@caught_by("damage_is_noticed_before_the_last_byte_is_read")
class ComparesNothing(OpensAnother):
    """What is read is not compared with what was recorded."""

    def _change(self, stream: Any) -> None:
        stream._comparison = Comparison(dataclasses.replace(stream.info, digest=None))


@caught_by("damage_is_noticed_before_the_last_byte_is_read")
class ComparesTooLate(OpensAnother):
    """All is given, and then said to be damaged."""

    def _change(self, stream: Any) -> None:
        def readinto(buffer: Any) -> int:
            with suppress(Error):
                stream._comparison.update(stream.tell(), stream._rest[: len(buffer)])
            if stream.tell() == stream.info.size:
                raise Error("Too late", stream.info.handle, kind=Kind.CORRUPT)
            comparison, stream._comparison = stream._comparison, silent
            size: int = type(stream).readinto(stream, buffer)
            stream._comparison = comparison
            return size

        silent = Comparison(dataclasses.replace(stream.info, digest=None))
        stream.readinto = readinto


@caught_by("seeking_before_the_start_is_refused")
class SeeksLikeBytesInMemory(OpensAnother):
    """A negative position is a ValueError, as of `io.BytesIO`, whose users expect that."""

    def _change(self, stream: Any) -> None:
        def seek(offset: int, whence: int = 0) -> int:
            try:
                position: int = type(stream).seek(stream, offset, whence)
            except OSError as failure:
                raise ValueError("negative seek value") from failure
            return position

        stream.seek = seek


@caught_by("an_open_attachment_has_the_attributes_of_a_file")
class IsCalledByItsHandle(OpensAnother):
    """The name of what is open is where it is stored."""

    def _change(self, stream: Any) -> None:
        stream.name = stream.info.handle


@caught_by("a_file_without_a_name_gets_one")
class WantsNames(MemoryStorage):
    """A file that has no name is refused."""

    def reserve(self, name: Any, **options: Any) -> str:  # type: ignore[misc]  # broken
        if name is None:
            raise Error("A file name must be a string", kind=Kind.ILL_FORMED)
        return sound.reserve(self, name, **options)


@caught_by("a_handle_that_is_none_is_not_read")
class AsksForAnything(MemoryStorage):
    """A handle that is none is looked up like any other, and not found."""

    def info(self, handle: str) -> Any:  # type: ignore[misc]  # broken
        with self.map_errors(str(handle)):
            self._head(str(handle)[1:])
        return sound.info(self, handle)


@caught_by("a_handle_that_is_none_removes_nothing")
class RemovesQuietly(MemoryStorage):
    """Removing by a handle that is none does nothing, and says nothing."""

    def remove(self, handle: str, *, notify: bool = True) -> None:  # type: ignore[misc]  # broken
        try:
            sound.remove(self, handle, notify=notify)
        except Error as error:
            if error.kind is not Kind.ILL_FORMED:
                raise


@caught_by("an_ill_formed_listing_is_refused_at_once", "a_handle_that_is_none_is_not_listed_after")
class ChecksWhenIterated(MemoryStorage):
    """What is wrong with a listing is said at its first step."""

    def list(  # type: ignore[misc]  # broken
        self, *, day: datetime.date | str | None = None, after: str | None = None
    ) -> Iterator[str]:
        yield from sound.list(self, day=day, after=after)


@caught_by("a_listing_is_an_iterator")
class ListsAListAtOnce(MemoryStorage):
    """The listing is a list."""

    def list(self, **options: Any) -> Any:  # type: ignore[misc]  # broken
        return [*sound.list(self, **options)]


@caught_by("stat_gives_a_real_stat_result")
class GivesATuple(MemoryStorage):
    """`stat` gives what looks like its result."""

    def stat(self, handle: str) -> Any:  # type: ignore[misc]  # broken
        return self.info(handle)


@caught_by("links_that_cannot_be_made_are_refused")
class DoesNotExplainItself(MemoryStorage):
    """That there are no links is all that is said."""

    def download_link(self, *_: Any, **__: Any) -> Any:  # type: ignore[misc]  # broken
        raise Error("No", kind=Kind.UNSUPPORTED)


@caught_by("links_that_cannot_be_made_are_refused")
class GivesNoLinkForALink(MemoryStorage):
    """Where there are no links, None is given for one."""

    def download_link(self, handle: str, **options: Any) -> Any:  # type: ignore[misc]  # broken
        with suppress(Error):
            return sound.download_link(self, handle, **options)
        return None


class Forgetful(AsyncStorage):
    """Coroutines that forget what was cancelled."""

    async def add(self, name: Any, content: Any, **options: Any) -> str:
        """Store it, and undo nothing."""
        source = Source(content)
        call = self._adders.submit(self.storage.add, name, source.content, **options)
        return await feed_call(call, source, self._workers)


@caught_by("a_cancelled_add_is_undone_where_it_cannot_be_stopped")
class KeepsWhatWasCancelled(MemoryStorage):
    """What was stored although its task was cancelled stays."""

    aio = property(Forgetful)  # type: ignore[misc]  # broken


class Synchronous(AsyncStorage):
    """Coroutines that take what the verbs take, and no more."""

    async def add(self, name: Any, content: Any, **options: Any) -> str:
        """Store it, if it is a file."""
        if hasattr(content, "read"):
            return await self.run(self.storage.add, name, content, **options)
        return await super().add(name, content, **options)


@caught_by("an_asynchronous_file_can_be_added")
class KnowsNoAsynchronousFiles(MemoryStorage):
    """A file whose `read` has to be awaited is refused."""

    aio = property(Synchronous)  # type: ignore[misc]  # broken


@caught_by("a_handle_belongs_to_its_owner_alone", "an_upload_belongs_to_its_owner_alone")
class BelongsToEverybody(MemoryStorage):
    """A handle is everybody's."""

    def is_owned_by(self, handle: str, owner: object) -> bool:  # type: ignore[misc]  # broken
        del handle, owner
        return True


@caught_by("a_handle_belongs_to_its_owner_alone", "an_upload_belongs_to_its_owner_alone")
class ForgetsOwners(MemoryStorage):
    """A handle is marked for an owner whom the storage does not recognise."""

    def _mark(self, owner: object, place: bytes) -> bytes:
        del owner, place
        return secrets.token_bytes(6)
