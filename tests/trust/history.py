"""A random history: one client does all that a storage can do, in no order."""

from __future__ import annotations

import datetime
from typing import TYPE_CHECKING, NamedTuple

from trust.ledger import Content

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Mapping

    from rex.attach import Storage
    from trust.client import Client
    from trust.ledger import Ledger

__all__ = ["SIZES", "History", "Source", "dated", "fill"]

SIZES = (0, 10, 100, 4096, 70_000, 1_200_000)
"""In bytes; of those that are not empty, no two are the same by chance."""
DAYS = (0, 0, 1, 2, 40, 400)
"""How many days ago the attachments were made: today's directory and others."""

WEIGHTS = {
    "add": 6,
    "store": 4,
    "put": 6,
    "put again": 2,
    "remove": 4,
    "read": 3,
    "create": 5,
    "go on": 9,
    "join": 2,
    "give up": 1,
    "copy": 1,
}


class Source(NamedTuple):
    """A storage to copy from, and what it holds."""

    storage: Storage
    contents: Mapping[str, Content]


class History:
    """What a client does next depends on chance, and on what it did before."""

    def __init__(
        self,
        client: Client,
        chance: random.Random,
        *,
        sizes: tuple[int, ...] = SIZES,
        source: Source | None = None,
    ) -> None:
        self.client = client
        self._chance = chance
        self._sizes = sizes
        self._source = source
        self._attachments: dict[str, Content] = {}
        self._uploads: dict[str, Content] = {}
        self._parts: set[str] = set()
        self._complete: dict[str, Content] = {}
        """The parts of which all is there."""

    def take_over(self, ledger: Ledger, is_ours: Callable[[str], bool]) -> None:
        """Go on with the uploads and attachments of clients that are no more."""
        for handle, upload in ledger.uploads.items():
            if is_ours(handle) and not upload.ends and not ledger.attachment(handle).acknowledged:
                self._uploads[handle] = upload.content
                if upload.partial:
                    self._parts.add(handle)
        for handle, attachment in ledger.attachments.items():
            if is_ours(handle) and attachment.acknowledged and not attachment.removals:
                self._attachments[handle] = next(iter(attachment.acknowledged))

    def go_on(self, steps: int) -> None:
        """Take so many steps."""
        for _ in range(steps):
            self.step()

    def step(self) -> bool:
        """Do one thing; return whether it was acknowledged, or refused for a good reason."""
        verbs = [verb for verb in WEIGHTS if self._can(verb)]
        verb = self._chance.choices(verbs, [WEIGHTS[verb] for verb in verbs])[0]
        act: Callable[[], object] = getattr(self, f"_{verb.replace(' ', '_')}")
        act()
        return self.client.reason in ("", "EXISTS", "NOT_FOUND", "CONFLICT", "BUSY")

    def append_all(self, share: float) -> None:
        """Append a share of its content to every upload, or all that is left."""
        for handle, content in [*self._uploads.items()]:
            self._continue(handle, content, int(content.size * self._chance.uniform(share, 1)))

    def finish(self) -> None:
        """Complete every upload."""
        for handle, content in [*self._uploads.items()]:
            self._continue(handle, content, content.size)

    def _can(self, verb: str) -> bool:
        needed: Mapping[str, object] = {
            "put again": self._attachments,
            "remove": self._attachments,
            "read": self._attachments,
            "go on": self._uploads,
            "give up": self._uploads,
            "join": self._complete,
            "copy": self._source,
        }
        return bool(needed.get(verb, True))

    def _content(self) -> Content:
        size = self._chance.choice(self._sizes)
        return Content.of(f"{self.client.name}/{self._chance.random()}", size)

    def _add(self) -> None:
        content = self._content()
        handle = self.client.add(content)
        if handle is not None:
            self._attachments[handle] = content

    def _store(self) -> None:
        content = self._content()
        handle = self.client.store(content)
        if handle is not None:
            self._attachments[handle] = content

    def _put(self) -> None:
        handle, content = dated(self.client, self._chance), self._content()
        if self.client.put(handle, content):
            self._attachments[handle] = content

    def _put_again(self) -> None:
        """Put the same content, which is a success, or other content, which is not."""
        handle = self._chance.choice([*self._attachments])
        is_same = self._chance.random() < 0.5
        self.client.put(handle, self._attachments[handle] if is_same else self._content())

    def _remove(self) -> None:
        self.client.remove(_taken(self._attachments, self._chance))

    def _read(self) -> None:
        handle = self._chance.choice([*self._attachments])
        self.client.read(handle, self._attachments[handle])

    def _create(self) -> None:
        content = self._content()
        partial = self._chance.random() < 0.3
        handle = self.client.create(content, partial=partial, sized=self._chance.random() < 0.5)
        if handle is not None:
            self._uploads[handle] = content
            if partial:
                self._parts.add(handle)

    def _go_on(self) -> None:
        handle = self._chance.choice([*self._uploads])
        content = self._uploads[handle]
        end = content.size if self._chance.random() < 0.4 else self._chance.randint(0, content.size)
        self._continue(handle, content, end)

    def _continue(self, handle: str, content: Content, end: int) -> None:
        if self.client.go_on(handle, content, end) and end == content.size:
            del self._uploads[handle]
            kept = self._complete if handle in self._parts else self._attachments
            kept[handle] = content

    def _join(self) -> None:
        parts, self._complete = self._complete, {}
        whole = Content.joined([*parts.values()])
        handle = self.client.join(parts)
        if handle is not None:
            self._attachments[handle] = whole

    def _give_up(self) -> None:
        self.client.give_up(_taken(self._uploads, self._chance))

    def copy(self) -> None:
        """Copy all of the source."""
        assert self._source is not None
        self.client.copy(*self._source)

    _copy = copy


def dated(client: Client, chance: random.Random) -> str:
    """Reserve a handle of today or of another day."""
    handle = client.storage.reserve(client.new_name())
    day = datetime.datetime.now(datetime.UTC) - datetime.timedelta(days=chance.choice(DAYS))
    return f"{day:/%Y/%m/%d/}{handle.split('/', 4)[4]}"


def fill(
    client: Client, chance: random.Random, number: int, sizes: tuple[int, ...] = SIZES
) -> Source:
    """Fill a storage that is to be copied."""
    contents = {}
    for each in range(number):
        handle = dated(client, chance)
        contents[handle] = Content.of(f"source/{handle}", sizes[each % len(sizes)])
        assert client.put(handle, contents[handle])
    return Source(client.storage, contents)


def _taken(contents: dict[str, Content], chance: random.Random) -> str:
    handle = chance.choice([*contents])
    del contents[handle]
    return handle
