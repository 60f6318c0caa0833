"""Part 5: a proxy before the server does each fault to each request of each operation."""

from __future__ import annotations

import itertools
import random
import re
from concurrent import futures
from typing import TYPE_CHECKING, NamedTuple

from attach.proxy import SILENCE, Answer, Change, Passing, flipped, proxy
from rex.attach.backends.s3 import resumable as s3_drafts
from rex.attach_demo.seaweedfs import SeaweedFS
from trust.client import Client
from trust.judge import judge
from trust.ledger import Content, Ledger
from trust.operations import operations
from trust.places import Prefix
from trust.report import Line, Report

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from trust.report import Tell

__all__ = ["run"]

MIB = 1024 * 1024
TIMEOUT = 1
BATCH = 6
AT_ONCE = 6
"""Most of the time they wait: for answers that do not come, and between repetitions."""
PART_SIZE = 5 * MIB
LARGE = Content.of("large", 8 * MIB + 100_000)
UPLOAD = Content.of("upload", PART_SIZE + 100_000)
OPERATIONS = operations(LARGE, UPLOAD, (300_000, PART_SIZE + 50_000))
ERROR = "<?xml version='1.0'?><Error><Code>{}</Code><Message>Injected</Message></Error>"

Try = tuple[str, str, int]
"""An operation, a fault, and the number of the request to which it happens."""


class Fault(NamedTuple):
    """What happens to a request."""

    act: Callable[[Passing, random.Random], Change]
    is_lasting: bool = False
    """Whether it happens to each request from then on, until the operation ends."""


def _with_answer(change: Callable[[Answer], Answer | None]) -> Callable[[Passing, object], Passing]:
    """Pass a request on, and change the answer."""
    return lambda asked, _: asked._replace(then=change)


def _answer(status: int, code: str) -> Callable[[Passing, object], tuple[int, str]]:
    return lambda *_: (status, ERROR.format(code) if code else "")


def _flip_answer(asked: Passing, chance: random.Random) -> Passing:
    """Flip a bit of an attachment; what the server says of itself has no digest."""
    is_content = asked.method == "GET" and "?" not in asked.path and "/.drafts/" not in asked.path
    if not is_content:
        return asked
    return asked._replace(then=lambda given: given._replace(body=flipped(given.body, chance)))


FAULTS = {
    "a reset before the server acts": Fault(lambda *_: None),
    "a reset after the server acted": Fault(_with_answer(lambda _: None)),
    "an answer that is cut": Fault(_with_answer(lambda answer: answer._replace(share=0.5))),
    "an answer that lacks its end": Fault(_with_answer(lambda answer: answer._replace(share=0.99))),
    "a 500": Fault(_answer(500, "InternalError")),
    "a 503": Fault(_answer(503, "SlowDown")),
    "a 503 after the server acted": Fault(
        _with_answer(lambda _: Answer(503, [], ERROR.format("SlowDown").encode()))
    ),
    "a 404": Fault(_answer(404, "NoSuchKey")),
    "a 404 of the upload": Fault(_answer(404, "NoSuchUpload")),
    "an empty 200": Fault(_answer(200, "")),
    "no answer": Fault(lambda *_: SILENCE),
    "no answer after the server acted": Fault(_with_answer(lambda _: SILENCE)),
    "a flipped bit on the way up": Fault(
        lambda asked, chance: asked._replace(body=flipped(asked.body, chance))
    ),
    "a flipped bit on the way down": Fault(_flip_answer),
    "resets from then on": Fault(lambda *_: None, is_lasting=True),
    "resets after the server acted from then on": Fault(
        _with_answer(lambda _: None), is_lasting=True
    ),
    "503 from then on": Fault(_answer(503, "SlowDown"), is_lasting=True),
    "404 from then on": Fault(_answer(404, "NoSuchKey"), is_lasting=True),
    "flipped bits from then on": Fault(
        lambda asked, chance: asked._replace(body=flipped(asked.body, chance)), is_lasting=True
    ),
}


class Network:
    """The way to the server: one fault happens to the request of a number, while it is `open`."""

    def __init__(self) -> None:
        self.requests = 0
        self._chance = random.Random()
        self._fault = FAULTS["a 500"]
        self._number = 0

    def break_at(self, number: int, fault: Fault) -> None:
        """Inject a fault into the request of a number, or into none for 0."""
        self.requests, self._number, self._fault = 0, number, fault

    def __call__(self, asked: Passing) -> Change:
        """Pass a request on, or not."""
        self.requests += 1
        is_later = self._fault.is_lasting and 0 < self._number < self.requests
        if self.requests == self._number or is_later:
            return self._fault.act(asked, self._chance)
        return asked


def run(times: int, tell: Tell) -> Report:
    """Inject so many faults, or all if there are fewer."""
    s3_drafts.PART_SIZE = PART_SIZE  # type: ignore[attr-defined]  # so that uploads have parts
    report = Report()
    with SeaweedFS() as server, futures.ThreadPoolExecutor(AT_ONCE) as pool:
        tries = [*_tries(server)]
        chosen = tries if times >= len(tries) else random.sample(tries, times)
        groups = itertools.groupby(sorted(chosen), lambda each: each[0])
        batches = [(name, batch) for name, group in groups for batch in _batches([*group])]
        places = [Prefix(server, f"network/{number}") for number in range(len(batches))]
        found = pool.map(judged, places, [batch for _, batch in batches])
        for (name, _), line in zip(batches, found, strict=True):
            report.line("a fault at each request").found(line, name)
            tell(report)
    return report


def _batches(tries: list[Try]) -> Iterator[list[Try]]:
    """Yield a few at a time, which share a storage, since a client of S3 takes long to make."""
    yield from (tries[each : each + BATCH] for each in range(0, len(tries), BATCH))


def _tries(server: SeaweedFS) -> Iterator[Try]:
    """Yield each operation with each fault at each of its requests."""
    network = Network()
    with (
        proxy(server.endpoint, network) as endpoint,
        Prefix(server, "network/count", endpoint).open() as storage,
    ):
        for name, operation in OPERATIONS.items():
            client = Client(storage, lambda _: None, name.replace(" ", "-"))
            handle = operation.prepare(client) or ""
            network.requests = 0
            operation.act(client, handle)
            requests = network.requests
            yield from ((name, fault, each + 1) for fault in FAULTS for each in range(requests))


def judged(place: Prefix, tries: list[Try]) -> Line:
    """Inject faults, one after the other, and judge the storage at the end."""
    ledger = Ledger(may_deny=True)
    network = Network()
    with (
        proxy(place.server.endpoint, network) as endpoint,
        place.open() as patient,
        place._replace(endpoint=endpoint, timeout=TIMEOUT).open() as storage,
    ):
        for number, (operation, fault, request) in enumerate(tries):
            before = Client(patient, ledger.record, f"before-t{number}t")
            handle = OPERATIONS[operation].prepare(before) or ""
            client = Client(storage, ledger.record, f"t{number}t")
            network.break_at(request, FAULTS[fault])
            OPERATIONS[operation].act(client, handle)
            network.break_at(0, FAULTS[fault])
            # What failed is tried again, as a client does.
            OPERATIONS[operation].act(client, handle)
    found = Line("")
    with place.open() as storage:
        judge(ledger, storage, found, place.garbage)
    return Line(
        "",
        len(tries),
        found.operations,
        found.facts,
        [f"{_of(violation, tries)}: {violation}" for violation in found.violations],
    )


def _of(violation: str, tries: list[Try]) -> str:
    """Return what had happened to the client that a violation names."""
    named = re.search(r"\bt(\d+)t\b", violation)
    return "{1} at request {2}".format(*tries[int(named[1])]) if named else "one of these"
