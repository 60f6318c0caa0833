"""A directory of attachments knows itself: its marker, and the root a process started with."""

from __future__ import annotations

import errno
import logging
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn
from uuid import UUID

import pytest

import programs
from programs import REX
from rex.attach import open_storage
from rex.attach.backends.local.storage import LocalStorage
from rex.attach.backends.local.tree import MARKER
from rex.core import Error, Kind, Rex

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Return the path of a directory that does not exist yet."""
    return tmp_path / "attachments"


def marker_of(root: Path) -> str | None:
    """Return the text of the marker, if there is one."""
    path = root / MARKER
    return path.read_text() if path.exists() else None


def kind_of(storage: LocalStorage, *, create: bool) -> Kind | None:
    """Return the kind of the error of a check, or None."""
    try:
        storage.check(create=create)
    except Error as error:
        return error.kind
    return None


# The marker.


def test_a_new_root_gets_its_marker(root: Path) -> None:
    """It is a UUID, which stays; attachments are listed without it."""
    with LocalStorage(root) as storage:
        storage.check()
        marker = marker_of(root)
        assert marker is not None
        assert str(UUID(marker.strip())) == marker.strip()
        storage.check()
        handle = storage.add("a.txt", b"a")
        assert ([handle], []) == (list(storage), list(storage.unknown_keys()))
    assert marker == marker_of(root)


def test_an_empty_directory_without_a_marker_is_a_warning_at_the_start(
    root: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """It gets none, since it may be a mount point; once it holds attachments, it does."""
    root.mkdir()
    with caplog.at_level(logging.WARNING, "rex.attach"):
        with Rex("rex.attach", attach_dir=root):
            pass
        assert 1 == sum("disk may not be mounted" in each.getMessage() for each in caplog.records)
        assert marker_of(root) is None
        caplog.clear()
        with LocalStorage(root) as storage:
            storage.add("a.txt", b"a")
        with Rex("rex.attach", attach_dir=root):
            pass
        assert [] == caplog.records
    assert marker_of(root) is not None


def test_a_directory_that_was_used_before_gets_its_marker_at_the_next_start(root: Path) -> None:
    """Also where nothing but an upload, or the secret of links, shows that it was."""
    for number, use in enumerate(("add", "upload", "secret")):
        used = root / str(number)
        used.mkdir(parents=True)
        with LocalStorage(used) as storage:
            if use == "add":
                storage.add("a.txt", b"a")
            elif use == "upload":
                storage.uploads.create("a.txt")
            else:
                storage.tokens.mac("")
            assert kind_of(storage, create=False) is None
            assert marker_of(used) is None
            storage.check()
            assert marker_of(used) is not None


def test_maintenance_makes_nothing(root: Path) -> None:
    """A root that does not exist, and an empty one without a marker, are errors of their own."""
    assert Kind.ABSENT == kind_of(LocalStorage(root), create=False)
    assert not root.exists()
    root.mkdir()
    assert Kind.EMPTY == kind_of(LocalStorage(root), create=False)
    assert [] == [*root.iterdir()]
    assert LocalStorage(root).init()
    assert not LocalStorage(root).init()
    assert kind_of(LocalStorage(root), create=False) is None


def test_a_setting_demands_the_marker(root: Path) -> None:
    """Then an application makes no root, and starts on none without its marker."""
    options = {"attach_dir": root, "attach_dir_require_marker": True}
    for prepare, kind in (
        (lambda: None, Kind.ABSENT),
        (root.mkdir, Kind.CONFIGURATION),
        (lambda: LocalStorage(root).add("a.txt", b"a"), Kind.CONFIGURATION),
    ):
        prepare()
        with pytest.raises(Error) as caught:
            Rex("rex.attach", **options)
        assert kind == caught.value.kind
        assert "rex attach init" in str(caught.value)
    LocalStorage(root).init()
    Rex("rex.attach", **options).close()
    with open_storage(f"file://{root}?require_marker=true") as storage:
        storage.check()


def test_a_marker_that_is_none_does_not_count(root: Path, tmp_path: Path) -> None:
    """A link, a directory, or a file with something else in it."""
    root.mkdir()
    for plant in (
        lambda: (root / MARKER).symlink_to(tmp_path / "elsewhere"),
        (root / MARKER).mkdir,
        lambda: (root / MARKER).write_text("hello"),
    ):
        plant()
        assert Kind.EMPTY == kind_of(LocalStorage(root), create=False)
        (root / MARKER).rmdir() if (root / MARKER).is_dir() else (root / MARKER).unlink()


# The root that a process started with.


def test_a_process_goes_on_with_no_other_root(root: Path) -> None:
    """Whatever has its path now: every operation fails, and nothing is made or removed there."""
    storage = LocalStorage(root)
    storage.check()
    handle = storage.add("a.txt", b"a")
    upload = storage.uploads.create("b.txt", size=4).handle
    away = root.with_name("away")
    root.rename(away)
    root.mkdir()
    operations: dict[str, Callable[[], object]] = {
        "add": lambda: storage.add("b.txt", b"b"),
        "put": lambda: storage.put(storage.reserve("b.txt"), b"b"),
        "open": lambda: storage.open(handle),
        "info": lambda: storage.info(handle),
        "in": lambda: handle in storage,
        "remove": lambda: storage.remove(handle),
        "list": lambda: list(storage),
        "create": lambda: storage.uploads.create("c.txt"),
        "append": lambda: storage.uploads.append(upload, 0, b"x"),
        "look": lambda: storage.uploads.info(upload),
        "uploads": lambda: list(storage.uploads.list()),
        "check": storage.check,
    }
    for name, operation in operations.items():
        with pytest.raises(Error) as caught:
            operation()
        assert Kind.UNAVAILABLE == caught.value.kind, name
    assert [] == [*root.iterdir()]
    root.rmdir()
    away.rename(root)
    assert b"a" == storage.open(handle).read()
    storage.uploads.append(upload, 0, b"data")
    assert b"data" == storage.open(upload).read()
    storage.close()


def test_a_copy_of_the_root_with_its_marker_is_the_root(root: Path) -> None:
    """As a disk is that was unmounted and mounted again, on another device perhaps."""
    storage = LocalStorage(root)
    storage.check()
    handle = storage.add("a.txt", b"a")
    away = root.with_name("away")
    root.rename(away)
    shutil.copytree(away, root)
    assert b"a" == storage.open(handle).read()
    assert storage.add("b.txt", b"b") in storage
    storage.close()


def test_a_root_behind_a_link_is_read_in_one_call(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The path is resolved when the root is opened first; the link itself is not followed later."""
    link = tmp_path / "link"
    link.symlink_to(root)
    LocalStorage(root).check()
    storage = LocalStorage(link)
    storage.check()
    handle = storage.add("a.txt", b"a")

    def never(*_: object) -> NoReturn:
        raise AssertionError

    with monkeypatch.context() as patch:
        patch.setattr("rex.attach.backends.local.files.descend", never)
        assert b"a" == storage.open(handle).read()
    other = tmp_path / "other"
    other.mkdir()
    link.unlink()
    link.symlink_to(other)
    with pytest.raises(Error) as caught:
        storage.add("b.txt", b"b")
    assert Kind.UNAVAILABLE == caught.value.kind
    assert [] == [*other.iterdir()]
    storage.close()


def test_a_file_system_without_hard_links_is_refused_at_the_start(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not at the first upload."""

    def link(*_: object, **__: object) -> NoReturn:
        raise OSError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr(os, "link", link)
    assert Kind.CONFIGURATION == kind_of(LocalStorage(root), create=True)
    assert [] == [*root.iterdir()]


def test_the_secret_of_another_user_is_refused(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever owns the file has read it, and may replace it."""
    storage = LocalStorage(root)
    storage.check()
    storage.tokens.mac("")
    real = os.fstat

    def owned_by_another(fd: int) -> os.stat_result:
        status = real(fd)
        is_secret = Path(f"/proc/self/fd/{fd}").readlink().name == ".secret"
        return os.stat_result((*status[:4], 12345, *status[5:])) if is_secret else status

    monkeypatch.setattr(os, "fstat", owned_by_another)
    with pytest.raises(Error) as caught:
        _ = LocalStorage(root).tokens
    assert (Kind.CONFIGURATION, True) == (caught.value.kind, "12345" in str(caught.value))


# Commands.


def run(*arguments: object, **settings: object) -> tuple[int, str]:
    """Run a command; return its exit code and all that it printed."""
    done = programs.run(REX, *arguments, settings=settings)
    return done.returncode, done.stdout + done.stderr


COMMANDS = (
    ("copy", "SOURCE", "DEST"),
    ("copy", "--dry-run", "SOURCE", "DEST"),
    ("verify", "--storage", "SOURCE"),
    ("sweep", "--storage", "SOURCE"),
    ("sweep", "--delete", "--storage", "SOURCE"),
    ("doctor", "--storage", "SOURCE"),
    ("verify",),
    ("sweep",),
    ("doctor",),
    ("ls",),
    ("ls", "--long"),
)


@pytest.fixture
def mistyped(tmp_path: Path) -> Iterator[dict[str, Path]]:
    """Give sources in which nothing is, and expect that nothing is there afterwards."""
    sources = {"missing": tmp_path / "missing", "empty": tmp_path / "empty"}
    sources["empty"].mkdir()
    LocalStorage(tmp_path / "dest").check()
    before = sorted(tmp_path.rglob("*"))
    yield sources
    assert before == sorted(tmp_path.rglob("*"))


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_a_source_in_which_nothing_is_has_an_exit_code_of_its_own(
    command: tuple[str, ...], mistyped: dict[str, Path]
) -> None:
    """Mistyped, or the mount point of a disk that is not mounted; nothing is made."""
    expected = {"missing": 14, "empty": 15}
    if command[0] == "doctor":
        expected = dict.fromkeys(expected, 11)
    told = {}
    for which, source in mistyped.items():
        words = {"SOURCE": f"file://{source}", "DEST": f"file://{source.parent / 'dest'}"}
        arguments = ["attach", *(words.get(word, word) for word in command)]
        code, output = run(*arguments, attach_dir=source)
        told[which] = code
        assert "rex attach init" in output
    assert expected == told


def test_a_destination_is_not_made_either(tmp_path: Path) -> None:
    """Its disk may not be mounted; `rex attach init` makes it."""
    with LocalStorage(tmp_path / "source") as source:
        source.check()
        source.add("a.txt", b"a")
    dest = tmp_path / "dest"
    words = ("attach", "copy", f"file://{tmp_path}/source", f"file://{dest}")
    assert 14 == run(*words)[0]
    dest.mkdir()
    assert 15 == run(*words)[0]
    assert [] == [*dest.iterdir()]
    assert 0 == run("attach", "init", "--storage", f"file://{dest}")[0]
    assert 0 == run(*words)[0]


def test_nothing_to_verify_or_to_copy_is_not_a_success(tmp_path: Path) -> None:
    """Also where the storage has its marker; sweeping and listing it are."""
    for name in ("source", "dest"):
        assert 0 == run("attach", "init", "--storage", f"file://{tmp_path}/{name}")[0]
    source, dest = f"file://{tmp_path}/source", f"file://{tmp_path}/dest"
    assert 15 == run("attach", "verify", "--storage", source)[0]
    assert 15 == run("attach", "copy", source, dest)[0]
    assert 0 == run("attach", "sweep", "--storage", source)[0]
    assert 0 == run("attach", "ls", attach_dir=tmp_path / "source")[0]


def test_what_others_named_is_printed_harmlessly(tmp_path: Path) -> None:
    """Escape sequences, line breaks, what is not UTF-8: escaped, on a terminal and elsewhere."""
    with LocalStorage(tmp_path / "source") as source:
        source.check()
        folder = (tmp_path / "source" / source.add("a.txt", b"a")[1:]).parent
    names = [b"\x1b]0;evil\x07.txt", b"two\nlines.txt", b"\xff\xfe.txt", "\u202etxt.exe".encode()]
    for name in names:
        Path(os.fsdecode(os.fsencode(folder) + b"/" + name)).write_bytes(b"x")
    LocalStorage(tmp_path / "dest").check()
    words = ["attach", "copy", f"file://{tmp_path}/source", f"file://{tmp_path}/dest"]
    plain = [str(REX), *words]
    for command in (plain, ["script", "-qec", " ".join(plain)]):
        done = programs.run_binary(*command, directory=tmp_path)
        told = (done.stdout + done.stderr).replace(b"\r\x1b[2K", b"")  # our own progress
        assert b"\x1b" not in told
        assert b"\xff" not in told
        for shown in (rb"\x1b]0;evil\x07.txt", rb"two\nlines.txt", rb"\xff\xfe.txt", rb"\u202etxt"):
            assert shown in told
        for command_ in ("verify", "sweep"):
            code, output = run("attach", command_, "--storage", f"file://{tmp_path}/source")
            assert (0, False) == (code, "\x1b" in output)
