"""One flipped bit on the way to a real S3 server: whatever is acknowledged is what was sent."""

from __future__ import annotations

import os
import random
from typing import TYPE_CHECKING

import pytest

from attach.proxy import Passing, flipped, proxy
from attach.s3_storage import s3_storage
from rex.core import Error, Kind

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from rex.attach.backends.s3.storage import S3Storage
    from rex.attach_demo.seaweedfs import SeaweedFS

pytestmark = pytest.mark.long

MIB = 1024 * 1024
_random = random.Random  # content, no secret
LARGE = _random(1).randbytes(9 * MIB)
SMALL = LARGE[:5000]
FLIPS = int(os.environ.get("REX_TRUST_FLIPS", "1"))
"""How many bits of each kind of body are tried, one at a time."""

KINDS: dict[str, Callable[[Passing], bool]] = {
    "an object": lambda asked: asked.method == "PUT" and "/.drafts/" not in asked.path,
    "a part": lambda asked: "partNumber=" in asked.path,
    "a tail": lambda asked: asked.method == "PUT" and "/tail-" in asked.path,
    "a record": lambda asked: asked.method == "PUT" and asked.path.endswith("/record"),
    "a completion": lambda asked: asked.method == "POST" and "uploadId=" in asked.path,
}


class Damage:
    """Flips a bit of every body of one kind, or only of the first one."""

    def __init__(self, kind: str, seed: int, *, once: bool) -> None:
        self.count = 0
        self._is_meant = KINDS[kind]
        self._chance = _random(seed)
        self._once = once
        self.is_on = True

    def __call__(self, asked: Passing) -> Passing:
        """Pass a request on."""
        is_hit = self.is_on and asked.body and self._is_meant(asked)
        if not is_hit or (self._once and self.count):
            return asked
        self.count += 1
        return asked._replace(body=flipped(asked.body, self._chance))


def operations(storage: S3Storage) -> Iterator[tuple[str, bytes, Callable[[], object]]]:
    """Yield every operation that sends bytes: the handle, what it stores there, and the call."""
    for content in (SMALL, LARGE):
        handle = storage.reserve("a.bin")
        yield handle, content, lambda h=handle, c=content: storage.put(h, c)  # type: ignore[misc]
    for content in (SMALL, LARGE):
        added: list[str] = []
        yield "", content, lambda a=added, c=content: a.append(storage.add("a.bin", c))  # type: ignore[misc]
    for content in (SMALL, LARGE):
        handle = storage.reserve("a.bin")

        def upload(handle: str = handle, content: bytes = content) -> None:
            uploads, handle = storage.uploads, storage.uploads.create("a.bin").handle
            half = len(content) // 2
            assert half == uploads.append(handle, 0, content[:half]).offset
            assert uploads.append(handle, half, content[half:], size=len(content)).is_complete

        yield "", content, upload


@pytest.mark.parametrize("once", [True, False], ids=["once", "always"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_flipped_bit_is_refused(
    kind: str, *, once: bool, seaweedfs: SeaweedFS, report_figure: Callable[[str], None]
) -> None:
    """Nothing wrong is stored, and what was acknowledged is right, also after a repetition."""
    flipped = wrong = refused = 0
    kinds: set[Kind] = set()
    for seed in range(FLIPS):
        damage = Damage(kind, seed, once=once)
        given = {
            "access_key": seaweedfs.access_key,
            "secret_key": seaweedfs.secret_key,
            "prefix": f"damage/{kind}/{once}/{seed}",
        }
        with (
            proxy(seaweedfs.endpoint, damage) as endpoint,
            s3_storage(seaweedfs.bucket, endpoint=seaweedfs.endpoint, **given) as safe,
            s3_storage(seaweedfs.bucket, endpoint=endpoint, timeout=1, **given) as storage,
        ):
            for handle, content, call in operations(storage):
                damage.count = 0
                damage.is_on = True
                try:
                    call()
                except Error as error:
                    kinds.add(error.kind)
                    refused += 1
                damage.is_on = False
                flipped += damage.count
                if handle:
                    safe.put(handle, content)
            stored = [safe.open(handle).read() for handle in safe]
            wrong += sum(content not in (SMALL, LARGE) for content in stored)
            for handle in safe.uploads.list():
                done = b"".join(safe.uploads._backend.read(handle[1:]))
                wrong += not (SMALL.startswith(done) or LARGE.startswith(done))
    assert flipped > 0
    assert 0 == wrong
    assert kinds <= {Kind.UNAVAILABLE, Kind.CONFLICT, Kind.ILL_FORMED}
    report_figure(f"{kind}, {flipped} flipped bits: {refused} operations refused, {wrong} wrong")
