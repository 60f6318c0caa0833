"""The ledger: what clients did to a storage, and what the storage must therefore hold.

Clients record an `Event` before and after each operation, as a line of JSON. What an event says
after its operation is acknowledged: the storage must keep it, whatever fails or dies later.
"""

from __future__ import annotations

import hashlib
import itertools
import json
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

__all__ = ["Attachment", "Content", "Event", "Ledger", "Upload"]

STORING = ("add", "join", "put", "copy", "complete")
"""The operations that acknowledge an attachment when they return."""


class Content(NamedTuple):
    """Bytes that the judge can compute: the beginnings of pseudo-random streams, joined."""

    pieces: tuple[tuple[str, int], ...]
    """The seed of each stream, and how many of its bytes belong to the content."""
    media_type: str = "application/x-trust"

    @classmethod
    def of(cls, seed: str, size: int) -> Content:
        """Return content of one stream; its media type depends on the seed as well."""
        return cls(((seed, size),) if size else (), f"application/x-trust-{len(seed)}")

    @classmethod
    def joined(cls, contents: Sequence[Content]) -> Content:
        """Return the content that parts make."""
        return cls(tuple(itertools.chain.from_iterable(each.pieces for each in contents)))

    @property
    def size(self) -> int:
        """The number of bytes."""
        return sum(size for _, size in self.pieces)

    def read(self) -> bytes:
        """Compute the bytes."""
        return b"".join(hashlib.shake_128(seed.encode()).digest(n) for seed, n in self.pieces)


class Event(NamedTuple):
    """What a client records of an operation."""

    operation: str
    """Which operation it is; unique in a ledger."""
    verb: str
    phase: str = "begun"
    """``begun``, ``done``, ``failed`` or ``wrong`` (the result contradicts the content)."""
    handle: str = ""
    """The handle, as soon as the client knows it."""
    name: str = ""
    """The file name, which is unique for each handle that an operation makes."""
    content: Content | None = None
    offset: int = 0
    """The reported offset of an upload."""
    is_complete: bool = False
    partial: bool = False
    parts: tuple[str, ...] = ()
    """The handles of the parts of a join."""
    reason: str = ""
    """The kind of the error, for ``failed``."""

    def as_line(self) -> bytes:
        """Return the event as a line of JSON."""
        fields = {name: value for name, value in self._asdict().items() if value}
        return json.dumps(fields).encode() + b"\n"

    @classmethod
    def from_line(cls, line: bytes) -> Event:
        """Read a line of JSON."""
        fields = json.loads(line)
        if "content" in fields:
            pieces, media_type = fields["content"]
            fields["content"] = Content(tuple((seed, n) for seed, n in pieces), media_type)
        fields["parts"] = tuple(fields.get("parts", ()))
        return cls(**fields)


@dataclass
class Attachment:
    """What the clients did under one handle."""

    begun: set[Content] = field(default_factory=set)
    """The contents that may be there."""
    acknowledged: dict[Content, str] = field(default_factory=dict)
    """The contents whose storing was acknowledged, each with its operation."""
    removals: set[str] = field(default_factory=set)
    """The operations that may have removed the attachment."""
    is_removed: bool = False
    """Whether a removal was acknowledged."""


@dataclass
class Upload:
    """What the clients did to one upload in pieces."""

    content: Content
    partial: bool
    offset: int = 0
    """The largest offset that was reported."""
    ends: set[str] = field(default_factory=set)
    """The operations that may have ended the upload: removals, and joins of a part."""
    is_removed: bool = False
    """Whether a removal was acknowledged."""


class Ledger:
    """All events of some clients, in the order in which they were recorded."""

    def __init__(self, *, may_deny: bool = False) -> None:
        self._may_deny = may_deny
        """Whether the server may say that something does not exist although it does."""
        self.attachments: dict[str, Attachment] = {}
        self.uploads: dict[str, Upload] = {}
        self.names: dict[str, Content] = {}
        """The contents of handles that the client may never have learned, by file name."""
        self.counts: Counter[str] = Counter()
        """How many operations of each verb were acknowledged, and how many failed."""
        self.contradictions: list[str] = []
        """What the storage answered although the ledger proves otherwise."""
        self._reported: dict[str, int] = {}

    def read(self, lines: bytes) -> None:
        """Record the events of a client; the last line of a killed one may be incomplete."""
        for line in lines.splitlines(keepends=True):
            if line.endswith(b"\n"):
                self.record(Event.from_line(line))

    def attachment(self, handle: str) -> Attachment:
        """Return what is known of a handle."""
        return self.attachments.setdefault(handle, Attachment())

    def contents(self, handle: str) -> set[Content]:
        """Return the contents that the attachment of a handle may have."""
        known = self.attachments.get(handle)
        named = self.names.get(handle.rpartition("/")[2])
        return (known.begun if known else set()) | ({named} if named else set())

    def record(self, event: Event) -> None:
        """Record one event."""
        if event.phase == "begun":
            self._begun(event)
        elif event.phase == "done":
            self.counts[event.verb] += 1
            self._done(event)
        else:
            self.counts["failed"] += 1
            self._failed(event)

    def _begun(self, event: Event) -> None:
        if event.name and event.content:
            self.names[event.name] = event.content
        if event.handle and event.content and event.verb in STORING:
            self.attachment(event.handle).begun.add(event.content)
        if event.verb == "remove":
            self.attachment(event.handle).removals.add(event.operation)
        for handle in self._ended(event):
            self.uploads[handle].ends.add(event.operation)
        if event.handle in self.uploads:
            self._reported[event.operation] = self.uploads[event.handle].offset

    def _ended(self, event: Event) -> Iterable[str]:
        """Return the uploads that an operation ends."""
        ended = event.parts if event.verb == "join" else (event.handle,)
        return (
            (handle for handle in ended if handle in self.uploads)
            if (event.verb in ("join", "give up"))
            else ()
        )

    def _done(self, event: Event) -> None:
        if event.verb == "create":
            assert event.content is not None
            self.uploads[event.handle] = Upload(event.content, event.partial)
            self.attachment(event.handle).begun.add(event.content)
        if event.verb == "remove":
            self.attachment(event.handle).is_removed = True
        if event.verb == "give up":
            self.uploads[event.handle].is_removed = True
        if event.verb in STORING or (event.is_complete and not event.partial):
            assert event.content is not None
            attachment = self.attachment(event.handle)
            attachment.begun.add(event.content)
            attachment.acknowledged.setdefault(event.content, event.operation)
        if event.verb in ("append", "info"):
            self._report(event)

    def _report(self, event: Event) -> None:
        upload = self.uploads[event.handle]
        if event.offset < self._reported[event.operation]:
            self.contradictions.append(
                f"{event.verb} of {event.handle} reported {event.offset}, "
                f"after {self._reported[event.operation]}"
            )
        upload.offset = max(upload.offset, event.offset)

    def _failed(self, event: Event) -> None:
        reason = event.reason
        if event.phase == "wrong" or not reason.isupper() or reason == "INTERNAL":
            self.contradictions.append(f"{event.verb} of {event.handle}: {reason}")
        elif reason == "EXISTS" and event.verb in ("put", "complete"):
            is_same = self.attachment(event.handle).begun <= {event.content}
            # After a denial, the client cannot tell whether the same content was there.
            if is_same and not self._may_deny:
                self.contradictions.append(f"{event.verb} of {event.handle}: EXISTS, untruthfully")
        elif event.verb == "remove" and reason == "NOT_FOUND":
            # Nothing was removed, so that it must be there if it was before.
            self.attachment(event.handle).removals.discard(event.operation)
        elif event.verb == "join" or reason == "BUSY":
            for handle in self._ended(event):
                self.uploads[handle].ends.discard(event.operation)
