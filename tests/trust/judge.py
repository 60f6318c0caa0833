"""The judge: compares a storage that was opened again with the ledger."""

from __future__ import annotations

import datetime
import hashlib
import random
from typing import TYPE_CHECKING

from rex.attach.maintenance import sweep
from rex.core import Error, Kind
from trust.client import LATE

if TYPE_CHECKING:
    from collections.abc import Callable

    from rex.attach import Storage
    from trust.ledger import Attachment, Content, Ledger, Upload
    from trust.report import Line

__all__ = ["judge"]


def judge(
    ledger: Ledger, storage: Storage, line: Line, leftovers: Callable[[Storage], list[str]]
) -> None:
    """Check every fact that follows from the ledger; `garbage` lists what is not an attachment.

    The judge completes the uploads that it finds, and removes what a sweep removes.
    """
    _Judge(ledger, storage, line).judge(leftovers)


class _Judge:
    def __init__(self, ledger: Ledger, storage: Storage, line: Line) -> None:
        self._ledger = ledger
        self._storage = storage
        self._line = line
        self._there: dict[str, Content | None] = {}
        """The attachments that are listed, each with its content if that is whole."""

    def judge(self, leftovers: Callable[[Storage], list[str]]) -> None:
        """Check all."""
        for contradiction in self._ledger.contradictions:
            self._line.fact(False, contradiction)
        self._line.operations += sum(self._ledger.counts.values())
        try:
            self._attachments()
            for handle, upload in self._ledger.uploads.items():
                self._upload(handle, upload)
            self._swept(leftovers)
            self._usable()
        except Exception as failure:  # noqa: BLE001 - a storage that fails now has not recovered
            self._line.fact(False, f"the storage raised {failure!r} ({failure})")

    # Attachments.

    def _attachments(self) -> None:
        for handle in self._storage:
            self._there[handle] = self._whole(handle)
        for handle, attachment in self._ledger.attachments.items():
            self._attachment(handle, attachment)

    def _whole(self, handle: str) -> Content | None:
        """Check that a listed attachment is readable and whole, acknowledged or not."""
        contents = self._ledger.contents(handle)
        found, text = self._content(handle, contents)
        self._line.fact(found, f"{handle} is listed, and {text}")
        return found

    def _content(self, handle: str, contents: set[Content]) -> tuple[Content | None, str]:
        """Return which of the contents an attachment has, or None and what it is instead."""
        try:
            with self._storage.open(handle) as stream:
                info, data = stream.info, stream.read()
        except (Error, OSError) as error:
            return None, f"cannot be read: {error}"
        if info.digest not in (None, hashlib.sha256(data).hexdigest()):
            return None, "its digest is wrong"
        same = [each for each in contents if each.size == len(data) and each.read() == data]
        for content in same:
            if info.content_type == content.media_type:
                return content, ""
        if same:
            return None, f"its type is {info.content_type}, not {same[0].media_type}"
        sizes = sorted(content.size for content in contents)
        return None, f"has {len(data)} other bytes; {sizes} were stored"

    def _attachment(self, handle: str, attachment: Attachment) -> None:
        """Check what was acknowledged of a handle."""
        acknowledged = attachment.acknowledged
        self._line.fact(
            len(acknowledged) <= 1, f"{handle}: {len(acknowledged)} contents were acknowledged"
        )
        if attachment.is_removed:
            self._line.fact(handle not in self._there, f"{handle} was removed, and is listed")
            self._line.fact(not self._is_known(handle), f"{handle} was removed, and is there")
        elif acknowledged and not attachment.removals:
            content, verb = next(iter(acknowledged)), next(iter(acknowledged.values()))
            found = self._there.get(handle)
            state = "is lost" if handle not in self._there else "is not what was acknowledged"
            self._line.fact(found == content, f"{handle} ({verb}) {state}")

    def _is_known(self, handle: str) -> bool:
        try:
            self._storage.info(handle)
        except Error as error:
            if error.kind is Kind.NOT_FOUND:
                return False
            raise
        return True

    # Uploads in pieces.

    def _upload(self, handle: str, upload: Upload) -> None:
        """Check the reported offset, and that the upload can be continued to its end."""
        attachment = self._ledger.attachment(handle)
        if attachment.removals or set(attachment.begun) != {upload.content}:
            return
        if upload.ends:
            if upload.is_removed and not attachment.acknowledged:
                self._line.fact(not self._is_upload(handle), f"{handle} was given up, and is there")
            return
        try:
            offset = self._storage.uploads.info(handle).offset
            self._line.fact(
                offset >= upload.offset, f"{handle}: at {offset}, and {upload.offset} was reported"
            )
            self._continue(handle, upload.content, offset)
            if upload.partial:
                handle = self._storage.uploads.join(
                    f"judged-{handle.rpartition('/')[2]}",
                    [handle],
                    content_type=upload.content.media_type,
                )
        except Error as error:
            self._line.fact(False, f"{handle}, upload at {upload.offset}: {error!r} {error}")
            return
        found, text = self._content(handle, {upload.content})
        self._line.fact(found, f"{handle}, continued from {offset}, {text}")
        self._there[handle] = found

    def _is_upload(self, handle: str) -> bool:
        try:
            self._storage.uploads.peek(handle)
        except Error as error:
            return error.kind is not Kind.NOT_FOUND
        return True

    def _continue(self, handle: str, content: Content, offset: int) -> None:
        data, size = content.read(), content.size
        middle = random.Random(handle).randint(offset, size)
        for start, end in ((offset, middle), (middle, size)):
            if start < end or (end == size and start == offset):
                self._storage.uploads.append(handle, start, data[start:end], size=size)

    # The storage as a whole.

    def _swept(self, leftovers: Callable[[Storage], list[str]]) -> None:
        """Check that a late sweep removes all but the attachments."""
        now = datetime.datetime.now(datetime.UTC) + LATE
        for swept in sweep(self._storage, delete=True, now=now):
            self._line.fact(swept.is_fine, f"a sweep could not remove {swept}")
        listed = {*self._storage}
        for handle in self._there.keys() - listed:
            # A server may still be at the request of a client that was killed.
            may_go = self._ledger.attachment(handle).removals
            self._line.fact(may_go, f"{handle} is gone after a sweep")
        for handle in listed - self._there.keys():
            self._whole(handle)
            is_removed = self._ledger.attachment(handle).is_removed
            self._line.fact(not is_removed, f"{handle} was removed, and is back after a sweep")
        left = [*self._storage.uploads.list(), *leftovers(self._storage)]
        self._line.fact(not left, f"a sweep leaves {left[:4]}")

    def _usable(self) -> None:
        """Check that the storage works."""
        handle = self._storage.add("after.txt", b"after")
        with self._storage.open(handle) as stream:
            self._line.fact(stream.read() == b"after", "an attachment has other bytes at once")
        self._storage.remove(handle)
        upload = self._storage.uploads.create("after.txt", size=5)
        upload = self._storage.uploads.append(upload.handle, 0, b"after")
        self._line.fact(upload.is_complete, "an upload does not end")
        self._storage.remove(upload.handle)
        self._line.fact(not self._is_known(upload.handle), "a removed attachment is there")
