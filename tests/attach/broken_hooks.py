"""Storages broken on purpose in what they keep, give and remove."""

from __future__ import annotations

import contextlib
import datetime
import itertools
import threading
from pathlib import Path
from typing import Any

from attach.broken import caught_by
from programs import PATIENCE
from rex.attach.backends.local.storage import LocalStorage
from rex.attach.backends.memory.storage import MemoryStorage
from rex.attach.content.content import Content
from rex.attach.content.reader import Body
from rex.attach.info import Metadata
from rex.core import Error, Kind


class Until(Content):
    """Content that ends where the other fails."""

    def __init__(self, content: Content) -> None:
        super().__init__(iter([]))
        self._content = content

    def __next__(self) -> bytes | memoryview:
        try:
            return next(self._content)
        except Exception as failure:
            raise StopIteration from failure


class Changing(MemoryStorage):
    """Changes what was stored; the base of others."""

    def _put(self, key: str, content: Content, content_type: str) -> None:
        super()._put(key, content, content_type)
        metadata, data = self._objects[key]
        self._objects[key] = self._changed(metadata, data)

    def _changed(self, metadata: Metadata, data: bytes) -> tuple[Metadata, bytes]:
        return metadata, data


@caught_by("a_single_byte_comes_back", "content_around_a_mebibyte_comes_back")
class LosesTheLastByte(Changing):
    """The last byte is lost."""

    def _changed(self, metadata: Metadata, data: bytes) -> tuple[Metadata, bytes]:
        return metadata._replace(size=max(len(data) - 1, 0), digest=None), data[:-1]


@caught_by("a_string_is_stored_with_its_charset", "the_content_type_given_is_kept")
class ForgetsParameters(Changing):
    """A content type is kept without its parameters."""

    def _changed(self, metadata: Metadata, data: bytes) -> tuple[Metadata, bytes]:
        bare = metadata.content_type.partition(";")[0]
        return metadata._replace(content_type=bare), data


@caught_by("content_around_a_mebibyte_comes_back", "one_huge_chunk_is_stored_whole")
class StopsAtAMebibyte(Changing):
    """What is behind the first mebibyte is lost."""

    def _changed(self, metadata: Metadata, data: bytes) -> tuple[Metadata, bytes]:
        return metadata._replace(size=min(len(data), 1 << 20)), data[: 1 << 20]


@caught_by("every_byte_comes_back_as_it_is", "a_string_is_stored_as_utf_8")
class TranslatesLineEnds(Changing):
    """CR LF becomes LF, as in a file in text mode."""

    def _changed(self, metadata: Metadata, data: bytes) -> tuple[Metadata, bytes]:
        data = data.replace(b"\r\n", b"\n")
        return metadata._replace(size=len(data)), data


@caught_by("the_content_type_given_is_kept", "the_content_type_follows_from_the_name")
class ForgetsTheContentType(Changing):
    """The content type is not stored."""

    def _changed(self, metadata: Metadata, data: bytes) -> tuple[Metadata, bytes]:
        return metadata._replace(content_type="binary/octet-stream"), data


@caught_by("the_size_is_known", "an_empty_attachment_comes_back_empty")
class TellsAnotherSize(Changing):
    """The size told is that of the blocks, not of the content."""

    def _changed(self, metadata: Metadata, data: bytes) -> tuple[Metadata, bytes]:
        return metadata._replace(size=-(-len(data) // 512 or 1) * 512), data


@caught_by("the_digest_is_the_sha_256_or_not_known")
class TellsAnotherDigest(Changing):
    """The digest is that of something else."""

    def _changed(self, metadata: Metadata, data: bytes) -> tuple[Metadata, bytes]:
        return metadata._replace(digest="e3b0c44298fc1c149afbf4c8996fb924" * 2), data


@caught_by("the_entity_tag_stands_for_the_content")
class HasOneEntityTag(Changing):
    """The entity tag is made of the size alone."""

    def _changed(self, metadata: Metadata, data: bytes) -> tuple[Metadata, bytes]:
        return metadata._replace(etag=f'"{len(data)}"'), data


@caught_by("the_entity_tag_stands_for_the_content")
class LeavesOffTheQuotes(Changing):
    """The entity tag lacks its quotes."""

    def _changed(self, metadata: Metadata, data: bytes) -> tuple[Metadata, bytes]:
        return metadata._replace(etag=metadata.etag.strip('"')), data


@caught_by("when_it_was_stored_is_known")
class TellsNaiveTimes(Changing):
    """The time has no zone."""

    def _changed(self, metadata: Metadata, data: bytes) -> tuple[Metadata, bytes]:
        return metadata._replace(modified=metadata.modified.replace(tzinfo=None)), data


@caught_by("when_it_was_stored_is_known")
class TellsTheEpoch(Changing):
    """The time was not recorded, so it is 1970."""

    def _changed(self, metadata: Metadata, data: bytes) -> tuple[Metadata, bytes]:
        return metadata._replace(modified=datetime.datetime.fromtimestamp(0, datetime.UTC)), data


@caught_by("an_open_attachment_tells_the_same_as_info")
class TellsAnotherTimeWhenOpened(MemoryStorage):
    """Opened, an attachment has the time of the answer and not its own."""

    def _get(self, key: str, start: int, end: int | None) -> Body:
        body = super()._get(key, start, end)
        now = datetime.datetime.now(datetime.UTC)
        return body._replace(metadata=body.metadata._replace(modified=now))


@caught_by("seeking_goes_where_it_is_told", "random_seeks_read_as_in_a_file_in_memory")
class BeginsAByteLate(MemoryStorage):
    """A range begins one byte behind where it should."""

    def _get(self, key: str, start: int, end: int | None) -> Body:
        return super()._get(key, start + 1 if start else 0, end)


@caught_by("seeking_goes_where_it_is_told", "a_part_can_be_opened_by_its_length")
class TakesTheEndForALength(MemoryStorage):
    """The bytes before the end of a range are given, as many as it is long."""

    def _get(self, key: str, start: int, end: int | None) -> Body:
        if end is None:
            return super()._get(key, start, end)
        metadata, data = self._find(key)
        return Body(metadata, iter([data[end - start : end]]), end)


@caught_by("seeking_goes_where_it_is_told", "many_threads_can_read_at_once")
class IgnoresRanges(MemoryStorage):
    """Whatever range is asked for, the whole is given."""

    def _get(self, key: str, start: int, end: int | None) -> Body:
        del start
        return super()._get(key, 0, end)


@caught_by("an_attachment_can_be_opened_in_the_middle")
class TakesThePartForTheWhole(MemoryStorage):
    """Opened in the middle, an attachment has the size of what is left."""

    def _get(self, key: str, start: int, end: int | None) -> Body:
        body = super()._get(key, start, end)
        size = max(body.metadata.size - start, 0)
        return body._replace(metadata=body.metadata._replace(size=size))


@caught_by("opening_past_the_end_reads_nothing")
class MissesItPastTheEnd(MemoryStorage):
    """A start past the end is taken for an attachment that is not there."""

    def _get(self, key: str, start: int, end: int | None) -> Body:
        if start > self._head(key).size:
            raise FileNotFoundError
        return super()._get(key, start, end)


@caught_by("opening_what_is_not_there_fails_at_once", "what_is_removed_is_gone")
class OpensLazily(MemoryStorage):
    """What is missing is noticed at the first read."""

    def _get(self, key: str, start: int, end: int | None) -> Body:
        try:
            return super()._get(key, start, end)
        except FileNotFoundError:
            now = datetime.datetime.now(datetime.UTC)
            return Body(Metadata(1, now, "text/plain", '"missing"', None), iter([]))


@caught_by("what_is_removed_is_gone", "what_never_was_is_not_found")
class RemovesAnything(MemoryStorage):
    """Removing what is not there succeeds."""

    def _delete(self, key: str) -> None:
        with contextlib.suppress(FileNotFoundError):
            super()._delete(key)


@caught_by("what_is_removed_is_gone", "of_two_removers_at_least_one_succeeds")
class RemovesNothing(MemoryStorage):
    """Removing does nothing."""

    def _delete(self, key: str) -> None:
        self._head(key)


@caught_by("removing_one_leaves_the_others")
class RemovesTheFolder(MemoryStorage):
    """Removing one attachment removes all of its day."""

    def _delete(self, key: str) -> None:
        self._head(key)
        self._objects = {
            other: kept for other, kept in self._objects.items() if other[:10] != key[:10]
        }


@caught_by(
    "what_never_was_is_not_found",
    "opening_what_is_not_there_fails_at_once",
    "what_is_missing_can_be_caught_as_a_missing_file",
)
class LetsItsOwnExceptionsOut(MemoryStorage):
    """What is missing is a KeyError."""

    def _find(self, key: str) -> tuple[Metadata, bytes]:
        return self._objects[key]


@caught_by("what_never_was_is_not_found", "what_is_removed_is_gone")
class CallsAllUnavailable(MemoryStorage):
    """What is missing is said to be unavailable, so that others try again for ever."""

    def _find(self, key: str) -> tuple[Metadata, bytes]:
        try:
            return super()._find(key)
        except FileNotFoundError:
            raise Error("Something went wrong", f"/{key}", kind=Kind.UNAVAILABLE) from None


@caught_by("names_that_differ_in_case_are_different")
class FoldsCase(MemoryStorage):
    """Names are found in upper and in lower case, as on some file systems."""

    def _find(self, key: str) -> tuple[Metadata, bytes]:
        return super()._find(next((k for k in self._objects if k.lower() == key.lower()), key))


@caught_by("names_in_every_script_are_kept")
class KnowsAsciiOnly(MemoryStorage):
    """Letters that are not ASCII become question marks."""

    def _put(self, key: str, content: Content, content_type: str) -> None:
        super()._put(key.encode("ascii", "replace").decode(), content, content_type)


@caught_by("what_the_content_raises_comes_out_as_it_is", "content_that_fails_late_leaves_nothing")
class KeepsWhatCame(MemoryStorage):
    """What came before a failure is stored."""

    def _put(self, key: str, content: Content, content_type: str) -> None:
        super()._put(key, Until(content), content_type)
        if content.failure is not None:
            raise content.failure


@caught_by(
    "what_the_content_raises_comes_out_as_it_is", "one_byte_over_the_largest_size_is_refused"
)
class TakesFailureForTheEnd(MemoryStorage):
    """Content that fails counts as ended."""

    def _put(self, key: str, content: Content, content_type: str) -> None:
        super()._put(key, Until(content), content_type)


@caught_by("many_threads_can_add_at_once")
class LosesRaces(MemoryStorage):
    """Two who add at the same time each write the index that they have read before."""

    def __init__(self, *, max_size: int | None = None) -> None:
        super().__init__(max_size=max_size)
        self._adds = itertools.count()
        self._both_read = threading.Barrier(2, timeout=PATIENCE)

    def _put(self, key: str, content: Content, content_type: str) -> None:
        index = dict(self._objects)
        if next(self._adds) < 2:
            self._both_read.wait()
        super()._put(key, content, content_type)
        self._objects = {**index, key: self._objects[key]}


@caught_by("an_interrupt_leaves_nothing", "content_that_fails_late_leaves_nothing")
class LeavesTemporaryFiles(LocalStorage):
    """A file is written under a temporary name, and stays there when the content fails."""

    def _put(self, key: str, content: Content, content_type: str) -> None:
        temporary = Path(self.directory, ".upload")
        temporary.touch()
        super()._put(key, content, content_type)
        temporary.unlink()


@caught_by("removing_leaves_no_traces", "what_is_removed_is_gone")
class LeavesEmptyDirectories(LocalStorage):
    """Directories stay when the last attachment in them is removed."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._files.__dict__["tidy"] = lambda *_: None


@caught_by("content_of_another_digest_is_refused")
class BelievesTheDigest(MemoryStorage):
    """What the content should be is not compared with what it is."""

    def _put(self, key: str, content: Content, content_type: str) -> None:
        content.known_digest = None
        super()._put(key, content, content_type)
