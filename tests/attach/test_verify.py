"""Reading everything that is stored, and finding out what is not as it was."""

from __future__ import annotations

import json
import os
import random
import shlex
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import requests

import programs
from programs import PATIENCE, REX, started
from rex.attach.backends.local.storage import LocalStorage
from rex.attach.backends.memory.storage import MemoryStorage
from rex.attach.content.reader import Body
from rex.attach.maintenance import State, Verified, verify
from rex.core import Error, Kind

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Iterator

    from rex.attach.backends.s3.storage import S3Storage


@pytest.fixture
def storage(tmp_path: Path) -> Iterator[LocalStorage]:
    """Give a directory."""
    with LocalStorage(tmp_path) as storage:
        yield storage


def fill(storage: LocalStorage, number: int, name: str = "a.bin") -> list[Path]:
    """Add some attachments of some bytes; give their files, in the order of their handles."""
    for each in range(number):
        storage.add(f"{each} {name}", random.randbytes(1 + each * 10))  # noqa: S311 - no secret
    return [Path(storage.directory) / handle[1:] for handle in storage]


def spoilt(results: Iterator[Verified]) -> dict[str, State]:
    """Give those of which something is wrong."""
    return {result.handle: result.state for result in results if not result.is_fine}


def flip(path: Path) -> None:
    """Flip one bit of a file."""
    content = bytearray(path.read_bytes())
    content[random.randrange(len(content))] ^= 1 << random.randrange(8)  # noqa: S311 - no secret
    path.write_bytes(content)


def handle_of(storage: LocalStorage, path: Path) -> str:
    """Give the handle of a file."""
    return f"/{path.relative_to(storage.directory)}"


def test_every_flipped_bit_is_found(storage: LocalStorage) -> None:
    """In each of a hundred files among three hundred, and nothing else is called corrupt."""
    paths = fill(storage, 300)
    assert {} == spoilt(verify(storage))
    flipped = random.sample(paths, 100)
    for path in flipped:
        flip(path)
    found = spoilt(verify(storage))
    assert {handle_of(storage, path): State.CORRUPT for path in flipped} == found


def test_what_is_cut_missing_or_unreadable_is_told(storage: LocalStorage) -> None:
    """What is missing, only if somebody says that it should be there."""
    cut, grown, missing, fine = fill(storage, 4)
    cut.write_bytes(cut.read_bytes()[:-1])
    with grown.open("ab") as file:
        file.write(b"\0")
    handles = [*storage]
    missing.unlink()
    wrong = {handle_of(storage, path): State.CORRUPT for path in (cut, grown)}
    assert wrong == spoilt(verify(storage))
    lost = {handle_of(storage, missing): State.MISSING, "/no/handle": State.UNREADABLE}
    assert wrong | lost == spoilt(verify(storage, handles=[*handles, "/no/handle"]))
    assert {} == spoilt(verify(storage, handles=[handle_of(storage, fine)]))


def test_one_of_which_no_digest_was_recorded_is_read(storage: LocalStorage, s3: S3Storage) -> None:
    """It is readable, and no more is known: put there by others, or sent in parts."""
    (path,) = fill(storage, 1)
    os.removexattr(path, "user.rex.attach")
    s3.add("large.bin", (bytes(1024 * 1024) for _ in range(9)))
    s3.add("small.bin", b"content")
    for each, states in ((storage, [State.READABLE]), (s3, [State.OK, State.READABLE])):
        results = [*verify(each)]
        assert states == sorted((result.state for result in results), key=lambda state: state.value)
        assert all(result.is_fine for result in results)


def test_what_a_browser_sent_to_s3_is_compared_with_its_entity_tag(s3: S3Storage) -> None:
    """It is the MD5 of what came in one piece; any other may be that of an encrypted object."""
    link = s3.upload_link(s3.reserve("a.bin"))
    sent = requests.post(link.url, data=link.fields, files={"file": b"content"}, timeout=PATIENCE)
    assert sent.ok
    assert [State.OK] == [result.state for result in verify(s3)]

    hooks: Any = s3
    get = hooks._get

    def flipped(key: str, start: int, end: int | None) -> Body:
        return Body(get(key, start, end).metadata, iter([b"Content"]))

    hooks._get = flipped
    [result] = verify(s3)
    assert (State.READABLE, "no digest was recorded") == (result.state, result.reason)


def test_a_storage_that_cannot_be_read_is_told() -> None:
    """Whatever it is that fails, it is told with the handle."""

    class Broken(MemoryStorage):
        def _get(self, key: str, start: int, end: int | None) -> Body:
            del key, start, end
            raise Error("The disk is gone", kind=Kind.UNAVAILABLE)

    storage = Broken()
    handle = storage.add("a.txt", b"content")
    (result,) = verify(storage)
    assert (handle, State.UNREADABLE) == (result.handle, result.state)
    assert "The disk is gone" in result.reason


def test_it_goes_on_where_it_was_interrupted(storage: LocalStorage) -> None:
    """After the handle up to which all have been told, nothing is left out."""
    fill(storage, 200)
    handles = [*storage]
    seen = set()
    done_to = None
    rounds = 0
    while handles[-1] != done_to:
        results = verify(storage, after=done_to, workers=3)
        for _, result in zip(range(30), results, strict=False):
            seen.add(result.handle)
            assert (
                result.done_to is None
                or {handle for handle in handles if handle <= result.done_to} <= seen
            )
            done_to = result.done_to or done_to
        results.close()
        rounds += 1
    assert {*handles} == seen
    assert rounds < 20
    again = verify(storage, handles=handles, after=handles[150])
    assert {*handles[151:]} == {result.handle for result in again}


def test_a_sample_is_a_part(storage: LocalStorage) -> None:
    """Chosen anew each time."""
    fill(storage, 300)
    samples = [{result.handle for result in verify(storage, sample=0.3)} for _ in range(2)]
    assert all(30 < len(sample) < 200 for sample in samples)
    assert samples[0] != samples[1]
    for sample in (0, -1, 1.5):
        with pytest.raises(Error) as caught:
            verify(storage, sample=sample)
        assert caught.value.kind is Kind.ILL_FORMED


def run(
    storage: LocalStorage, *arguments: str, given: str = ""
) -> subprocess.CompletedProcess[str]:
    """Run the command."""
    settings = {"attach_dir": storage.directory}
    return programs.run(REX, "attach", "verify", *arguments, given=given, settings=settings)


def test_the_command_tells_what_is_wrong(storage: LocalStorage) -> None:
    """And nothing else; scripts get all of it."""
    paths = fill(storage, 10)
    done = run(storage)
    assert (0, "10 ok (460 bytes)\n", "") == (done.returncode, done.stdout, done.stderr)
    handles = [*storage]
    flip(paths[3])
    paths[5].unlink()
    done = run(storage)
    assert 11 == done.returncode
    assert f"corrupt  {handles[3]}: Attachment is damaged" in done.stdout
    assert "8 ok" in done.stdout
    given = "\n".join(handles)
    told = run(storage, "--handles", "-", "--json", given=f"{given}\n")
    assert 11 == told.returncode
    *each, last = map(json.loads, told.stdout.splitlines())
    assert {handles[3]: "corrupt", handles[5]: "missing"} == {
        one["handle"]: one["state"] for one in each if one["state"] != "ok"
    }
    assert (8, 1, 1) == tuple(last["summary"][kind] for kind in ("ok", "corrupt", "missing"))
    other = run(storage, "--storage", f"file://{storage.directory}", "--after", handles[8])
    assert "1 ok" in other.stdout
    assert 4 == run(storage, "--after", "nonsense").returncode
    assert 2 == run(storage, "--sample", "0").returncode


def test_an_interrupted_command_says_how_to_go_on(storage: LocalStorage) -> None:
    """With the handle up to which all was read."""
    fill(storage, 300, name="it's a file; $HOME.bin")
    command = (REX, "attach", "verify", "--json", "--rate", "20 kB", "--workers", "2")
    with started(*command, settings={"attach_dir": storage.directory}) as verifying:
        for _ in range(5):
            verifying.stdout.readline()
        verifying.send_signal(signal.SIGINT)
        _, said = verifying.communicate()
    assert 130 == verifying.returncode
    assert said.startswith("rex: interrupted: ")
    done = run(storage, *shlex.split(said.split("go on with ")[1]))
    assert 0 == done.returncode
    assert "2" in done.stdout
