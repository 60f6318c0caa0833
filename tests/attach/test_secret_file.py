"""The secret that a directory keeps for itself."""

from __future__ import annotations

import contextlib
import os
import stat
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from attach.recorded_disk import Disk
from programs import started
from rex.attach.backends.local import directory
from rex.attach.backends.local.secret_file import SECRET_NAME
from rex.attach.backends.local.storage import LocalStorage
from rex.attach.links.token import TokenSigner
from rex.core import Error, Kind

if TYPE_CHECKING:
    from collections.abc import Callable

ROUNDS = 40

MAKER = """
import sys
from rex.attach.backends.local.storage import LocalStorage
print("ready", flush=True)
for line in sys.stdin:
    print(LocalStorage(line.strip())._own_secret().hex(), flush=True)
"""


@pytest.fixture(params=["usual", "without O_TMPFILE"])
def storage(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> LocalStorage:
    """Give a storage in a directory, on a file system that can all, or less."""
    if request.param == "without O_TMPFILE":
        monkeypatch.setattr(directory, "_TMPFILE", None)
    return LocalStorage(tmp_path)


def names_in(place: str | Path) -> list[str]:
    """List a directory."""
    return [path.name for path in Path(place).iterdir()]


def test_it_is_made_once(storage: LocalStorage) -> None:
    """32 bytes, the same for whoever uses the directory, in the only file that there is then."""
    secret = storage._own_secret()
    assert 32 == len(secret)
    assert secret == LocalStorage(storage.directory)._own_secret()
    assert [SECRET_NAME] == names_in(storage.directory)
    assert [] == list(storage)


def test_each_directory_has_another(tmp_path: Path) -> None:
    """So that no link is good for two."""
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    first, second = (LocalStorage(tmp_path / name)._own_secret() for name in "ab")
    assert first != second


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o777])
def test_nobody_else_may_read_it(storage: LocalStorage, umask: int) -> None:
    """Whatever the umask."""
    before = os.umask(umask)
    try:
        storage._own_secret()
    finally:
        os.umask(before)
    made = Path(storage.directory, SECRET_NAME).stat()
    assert 0o600 == stat.S_IMODE(made.st_mode)


def test_nobody_else_could_ever_read_it(
    storage: LocalStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not even while it is written: its file has that mode when its bytes come."""
    modes = []
    write = os.write

    def noting(fd: int, data: bytes) -> int:
        modes.append(stat.S_IMODE(os.fstat(fd).st_mode))
        return write(fd, data)

    before = os.umask(0)
    try:
        with monkeypatch.context() as patch:
            patch.setattr(os, "write", noting)
            storage._own_secret()
    finally:
        os.umask(before)
    assert [0o600] == modes


def test_it_outlasts_a_power_cut(
    storage: LocalStorage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When it is given, it is on the disk; and at no moment is there a part of it."""
    disk = Disk(tmp_path)
    seen = set()

    def look() -> None:
        survivor = disk.surviving().get(SECRET_NAME)
        seen.add(None if survivor is None else survivor.content)

    disk.at_each_point = look
    with disk.recorded(monkeypatch):
        secret = storage._own_secret()
        assert secret == disk.surviving()[SECRET_NAME].content
    assert {None, secret} == seen
    assert [] == disk.exposed


def test_two_processes_make_the_same(tmp_path: Path) -> None:
    """Whoever comes second takes what the first has made."""
    with contextlib.ExitStack() as stack:
        command = (sys.executable, "-c", MAKER)
        makers = [stack.enter_context(started(*command)) for _ in range(2)]
        for maker in makers:
            assert "ready\n" == maker.stdout.readline()
        for number in range(ROUNDS):
            place = tmp_path / str(number)
            place.mkdir()
            for maker in makers:
                maker.stdin.write(f"{place}\n")
                maker.stdin.flush()
            first, second = (maker.stdout.readline() for maker in makers)
            assert 65 == len(first)
            assert first == second
            assert [SECRET_NAME] == names_in(place)
        for maker in makers:
            maker.communicate()


def _a_link(path: Path) -> None:
    elsewhere = path.parent.parent / "elsewhere"
    elsewhere.write_bytes(bytes(32))
    elsewhere.chmod(0o600)
    path.symlink_to(elsewhere)


def _a_link_to_nothing(path: Path) -> None:
    path.symlink_to(path.parent.parent / "elsewhere")


def _too_short(path: Path) -> None:
    path.write_bytes(bytes(31))
    path.chmod(0o600)


def _too_long(path: Path) -> None:
    path.write_bytes(bytes(33))
    path.chmod(0o600)


def _readable(path: Path) -> None:
    path.write_bytes(bytes(32))
    path.chmod(0o640)


@pytest.mark.parametrize(
    "plant", [_a_link, _a_link_to_nothing, _too_short, _too_long, _readable, os.mkfifo, Path.mkdir]
)
def test_what_else_stands_there_is_refused(plant: Callable[[Path], object], tmp_path: Path) -> None:
    """And left as it is; the error says what is wrong, and what to do."""
    root = tmp_path / "root"
    root.mkdir()
    plant(root / SECRET_NAME)
    before = (root / SECRET_NAME).lstat()
    storage = LocalStorage(root, url="http://here/attach")
    with pytest.raises(Error) as refused:
        storage.download_link(storage.reserve("a.txt"))
    assert Kind.CONFIGURATION is refused.value.kind
    assert "attach_secret" in str(refused.value)
    assert SECRET_NAME in str(refused.value)
    assert before == (root / SECRET_NAME).lstat()
    assert [SECRET_NAME] == names_in(root)
    assert not (tmp_path / "elsewhere").exists() or plant is _a_link


def test_a_given_secret_leaves_the_directory_alone(tmp_path: Path) -> None:
    """With the setting attach_secret, nothing is made; nor is it without links."""
    given = LocalStorage(tmp_path, url="http://here/attach", secret="given")
    given.download_link(given.reserve("a.txt"))
    with pytest.raises(Error):
        LocalStorage(tmp_path).download_link(given.reserve("a.txt"))
    assert [] == names_in(tmp_path)


def test_an_empty_secret_is_none(storage: LocalStorage) -> None:
    """Whoever knew that it is empty could sign what he likes."""
    token = LocalStorage(storage.directory, secret="").tokens.sign("test", {"a": 1}, expires=2**33)
    assert {"a": 1} == storage.tokens.read("test", token)


def test_it_is_what_signs(storage: LocalStorage) -> None:
    """So that a link works in another process, and after a restart."""
    token = storage.tokens.sign("test", {"a": 1}, expires=2**33)
    assert {"a": 1} == TokenSigner(LocalStorage(storage.directory)._own_secret()).read(
        "test", token
    )
