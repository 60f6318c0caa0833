"""What is special about attachments in a directory."""

from __future__ import annotations

import contextlib
import datetime
import errno
import json
import os
import signal
import stat
import sys
import textwrap
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from attach.at_once import LACKING, READS_AT_ONCE
from attach.bounded import bounded
from programs import started
from rex.attach.backends.local import directory, linux
from rex.attach.backends.local import files as local_files
from rex.attach.backends.local import storage as local
from rex.attach.backends.local.storage import LocalStorage
from rex.attach.backends.local.tree import MARKER
from rex.attach.content.content import Content
from rex.core import Error, Kind

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

MIB = 1024 * 1024


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Give the directory of a storage, which is not there yet."""
    return tmp_path / "attachments"


@pytest.fixture
def storage(root: Path) -> Iterator[LocalStorage]:
    """Make a storage in a directory."""
    with LocalStorage(root) as storage:
        storage.check()
        yield storage


def left_in(root: Path) -> list[Path]:
    """Return all that is in a root but its marker."""
    return sorted({*root.iterdir()} - {root / MARKER})


def place(root: Path, handle: str) -> Path:
    """Tell where an attachment is."""
    return root / handle[1:]


def at_once(number: int, call: Callable[[int], Any]) -> list[Any]:
    """Call from so many threads at the same time; give what they return, or their errors."""
    barrier = threading.Barrier(number)

    def run(each: int) -> Any:
        barrier.wait()
        try:
            return call(each)
        except Error as error:
            return error.kind

    with ThreadPoolExecutor(number) as pool:
        return list(pool.map(run, range(number)))


# Races.


def test_of_many_removers_exactly_one_wins(storage: LocalStorage, root: Path) -> None:
    """The others are told that there is none, though each has a storage of its own."""
    removers = [LocalStorage(root) for _ in range(16)]
    for _ in range(20):
        handle = storage.add("a.txt", b"content")

        def remove(each: int, handle: str = handle) -> None:
            removers[each].remove(handle)

        outcomes = at_once(16, remove)
        assert [None] == [outcome for outcome in outcomes if outcome is None]
        assert 15 == outcomes.count(Kind.NOT_FOUND)
    assert [] == left_in(root)


REMOVER = """
    import sys
    from rex.attach.backends.local.storage import LocalStorage
    from rex.core import Error

    storage = LocalStorage(sys.argv[1])
    wins = 0
    for handle in sys.argv[2:]:
        try:
            storage.remove(handle)
            wins += 1
        except Error as error:
            assert error.kind.value == "not-found", error
    print(wins)
    """


def test_of_many_removing_processes_exactly_one_wins(storage: LocalStorage, root: Path) -> None:
    """Together they remove each attachment once."""
    handles = [storage.add("a.txt", b"content") for _ in range(100)]
    with contextlib.ExitStack() as stack:
        command = (sys.executable, "-c", textwrap.dedent(REMOVER), root, *handles)
        processes = [stack.enter_context(started(*command)) for _ in range(4)]
        wins = [int(process.communicate()[0]) for process in processes]
    assert 100 == sum(wins)
    assert [] == left_in(root)


@pytest.mark.parametrize("file_system", ["usual", "fallbacks"])
def test_of_many_writers_of_one_key_exactly_one_wins(
    file_system: str, storage: LocalStorage, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the winner wrote stays as it is, and nothing of the others is left."""
    if file_system == "fallbacks":
        _without_tmpfile(monkeypatch)
        _without_attributes(monkeypatch)
    writers = [LocalStorage(root) for _ in range(50)]
    for _ in range(5):
        handle = storage.reserve("a.txt")

        def put(each: int, handle: str = handle) -> int:
            with writers[each].map_errors(handle):
                content = Content(b"%d " % each * 1000)
                writers[each]._put(handle[1:], content, f"text/x-{each}")
            return each

        outcomes = at_once(50, put)
        assert 49 == outcomes.count(Kind.EXISTS)
        (winner,) = (outcome for outcome in outcomes if outcome is not Kind.EXISTS)
        with storage.open(handle) as stream:
            assert b"%d " % winner * 1000 == stream.read()
            if file_system == "usual":
                assert f"text/x-{winner}" == stream.info.content_type
        storage.remove(handle)
    assert [] == left_in(root)


def test_adding_and_removing_in_one_day_never_fails(root: Path, storage: LocalStorage) -> None:
    """Whoever empties the day tidies it away under whoever adds to it."""
    storages = [LocalStorage(root) for _ in range(8)]

    def churn(each: int) -> list[str]:
        mine = storages[each]
        for _ in range(40):
            handle = mine.add("a.txt", b"gone soon")
            mine.remove(handle)
        kept = mine.add("a.txt", b"kept")
        mine.remove(mine.add("a.txt", b"gone soon"))
        return [kept]

    kept = [handle for handles in at_once(8, churn) for handle in handles]
    assert sorted(kept) == list(storage)
    for handle in kept:
        assert b"kept" == storage.open(handle).read()
        storage.remove(handle)
    assert [] == left_in(root)


CHURN = """
    import sys
    from rex.attach.backends.local.storage import LocalStorage

    storage = LocalStorage(sys.argv[1])
    for _ in range(100):
        storage.remove(storage.add("a.txt", b"gone soon"))
    print(storage.add("a.txt", b"kept"))
    """


def test_adding_and_removing_processes_in_one_day_never_fail(
    root: Path, storage: LocalStorage
) -> None:
    """Nothing that they keep is lost, and they leave nothing else."""
    with contextlib.ExitStack() as stack:
        command = (sys.executable, "-c", textwrap.dedent(CHURN), root)
        processes = [stack.enter_context(started(*command)) for _ in range(4)]
        kept = [process.communicate()[0].strip() for process in processes]
    assert [0] * 4 == [process.returncode for process in processes]
    assert sorted(kept) == list(storage)
    for handle in kept:
        storage.remove(handle)
    assert [] == left_in(root)


# Modes and times.


@pytest.mark.parametrize("mask", [0o000, 0o022, 0o077, 0o177], ids=oct)
@pytest.mark.parametrize("file_system", ["usual", "fallbacks"])
def test_modes_are_the_same_whatever_the_umask(
    mask: int, file_system: str, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """0640 for files and 0750 for directories; the root is made by the umask's leave."""
    if file_system == "fallbacks":
        _without_tmpfile(monkeypatch)
    root.mkdir()
    before = os.umask(mask)
    try:
        path = place(root, LocalStorage(root).add("a.txt", b"content"))
    finally:
        os.umask(before)
    assert 0o640 == stat.S_IMODE(path.stat().st_mode)
    parents = [path.parents[level] for level in range(4)]
    assert [0o750] * 4 == [stat.S_IMODE(parent.stat().st_mode) for parent in parents]


def test_the_group_of_a_shared_directory_is_inherited(root: Path) -> None:
    """The setgid bit stays on all directories below, as the system sets it."""
    root.mkdir()
    root.chmod(0o2770)
    path = place(root, LocalStorage(root).add("a.txt", b"content"))
    parents = [path.parents[level] for level in range(4)]
    assert [0o2750] * 4 == [stat.S_IMODE(parent.stat().st_mode) for parent in parents]


def test_the_time_of_the_file_is_the_time_of_the_attachment(
    root: Path, storage: LocalStorage
) -> None:
    """Restored from a backup, an attachment is as old as it was."""
    handle = storage.add("a.txt", b"content")
    moment = datetime.datetime(2020, 2, 29, 12, 30, 15, tzinfo=datetime.UTC)
    os.utime(place(root, handle), (moment.timestamp(), moment.timestamp()))
    assert moment == storage.info(handle).modified
    assert moment.timestamp() == storage.stat(handle).st_mtime


# What does not belong there.

LEVELS = {"leaf": 0, "identifier": 1, "day": 2, "month": 3, "year": 4}


def _verbs(storage: LocalStorage, handle: str) -> list[Callable[[], object]]:
    return [
        lambda: storage.open(handle),
        lambda: storage.info(handle),
        lambda: storage.stat(handle),
        lambda: storage.remove(handle),
    ]


def _snapshot(path: Path) -> dict[str, bytes | None]:
    return {
        str(found.relative_to(path)): found.read_bytes() if found.is_file() else None
        for found in path.rglob("*")
    }


@pytest.fixture(params=["one call", "walk"])
def opening(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Open files in both ways; one must do where the system does not have the other."""
    if request.param == "walk":
        monkeypatch.setattr(local_files, "open_without_links", lambda *_, **__: None)


@pytest.mark.usefixtures("opening")
@pytest.mark.parametrize("level", LEVELS)
def test_a_planted_symlink_is_refused(
    level: str, storage: LocalStorage, root: Path, tmp_path: Path
) -> None:
    """Nothing outside is read, written, listed or removed, wherever the link stands."""
    handle = storage.add("a.txt", b"content")
    planted = [place(root, handle), *place(root, handle).parents][LEVELS[level]]
    outside = tmp_path / "outside"
    planted.rename(outside)
    planted.symlink_to(outside)
    before = _snapshot(tmp_path / "outside") if outside.is_dir() else outside.read_bytes()
    for verb in _verbs(storage, handle):
        with pytest.raises(Error) as caught:
            verb()
        assert caught.value.kind == Kind.NOT_FOUND
    assert [] == list(storage)
    with pytest.raises(Error) as caught, storage.map_errors(handle):
        storage._put(handle[1:], Content(b"overwritten"), "text/plain")
    assert caught.value.kind in (Kind.EXISTS, Kind.NOT_FOUND)
    after = _snapshot(tmp_path / "outside") if outside.is_dir() else outside.read_bytes()
    assert before == after
    assert planted.is_symlink()


def test_an_add_on_a_day_that_is_a_symlink_is_refused(
    storage: LocalStorage, root: Path, tmp_path: Path
) -> None:
    """Also while the storage holds the directory that stood there before."""
    handle = storage.add("a.txt", b"content")
    day = place(root, handle).parents[1]
    outside = tmp_path / "outside"
    day.rename(outside)
    day.symlink_to(outside)
    before = _snapshot(outside)
    with pytest.raises(Error):
        storage.add("b.txt", b"content")
    assert before == _snapshot(outside)


def test_what_is_beside_an_attachment_is_no_way_out(root: Path, tmp_path: Path) -> None:
    """The file of attributes is not followed either when it is a link."""
    outside = tmp_path / "outside.json"
    outside.write_text('{"content_type": "text/planted"}')
    with pytest.MonkeyPatch.context() as patch:
        _without_attributes(patch)
        storage = LocalStorage(root)
        storage.check()
        handle = storage.add("a.txt", b"content")
        (beside,) = place(root, handle).parent.glob(".*")
        beside.unlink()
        beside.symlink_to(outside)
        assert "text/plain" == storage.info(handle).content_type
        storage.remove(handle)
    assert outside.exists()
    assert [] == left_in(root)


def _make_fifo(path: Path) -> None:
    os.mkfifo(path)


def _make_device(path: Path) -> None:
    os.mknod(path, 0o600 | stat.S_IFCHR, os.makedev(1, 5))  # as /dev/zero, which never ends


def _make_socket(path: Path) -> None:
    os.mknod(path, 0o600 | stat.S_IFSOCK)


PLANTED: dict[str, Callable[[Path], None]] = {
    "fifo": _make_fifo,
    "socket": _make_socket,
    "directory": Path.mkdir,
    **({"device": _make_device} if os.geteuid() == 0 else {}),
}
LEFT_OUT = (
    *(() if "device" in PLANTED else ("a planted device (needs root)",)),
    *LACKING,
)


@pytest.mark.usefixtures("opening")
@pytest.mark.parametrize("planted", PLANTED)
def test_what_is_no_regular_file_is_refused(
    planted: str, storage: LocalStorage, root: Path
) -> None:
    """Without hanging; it is neither listed nor removed."""
    handle = storage.reserve("a.txt")
    place(root, handle).parent.mkdir(parents=True)
    PLANTED[planted](place(root, handle))
    for verb in _verbs(storage, handle):
        with pytest.raises(Error) as caught:
            bounded(verb)
        assert caught.value.kind == Kind.NOT_FOUND
    assert [] == list(storage)
    assert place(root, handle).exists()


if READS_AT_ONCE:

    @pytest.mark.parametrize("level", LEVELS)
    def test_no_part_of_a_path_opened_in_one_call_is_a_link(
        level: str, storage: LocalStorage, root: Path, tmp_path: Path
    ) -> None:
        """The kernel refuses it, so nothing is opened that would have to be closed again."""
        handle = storage.add("a.txt", b"content")
        path = place(root, handle)
        fd = linux.open_without_links(str(path))
        assert fd is not None
        assert b"content" == os.read(fd, 100)
        os.close(fd)
        planted = [path, *path.parents][LEVELS[level]]
        planted.rename(tmp_path / "outside")
        planted.symlink_to(tmp_path / "outside")
        assert linux.open_without_links(str(path)) is None


def test_a_system_that_cannot_open_in_one_call_walks(
    storage: LocalStorage, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is asked once, and answers as an older Linux does."""
    monkeypatch.setattr(linux, "OPENAT2", 100_000)
    linux._openat2.cache_clear()
    try:
        handle = storage.add("a.txt", b"content")
        assert linux.open_without_links(str(place(root, handle))) is None
        assert linux._openat2() is None
        assert b"content" == storage.open(handle).read()
    finally:
        linux._openat2.cache_clear()


def test_a_directory_behind_a_link_is_read(root: Path, storage: LocalStorage) -> None:
    """Links on the way to the directory of attachments are the operator's, and followed."""
    (root.parent / "link").symlink_to(root)
    handle = storage.add("a.txt", b"content")
    with LocalStorage(root.parent / "link") as other:
        assert b"content" == other.open(handle).read()
        assert storage.info(handle) == other.info(handle)


# What an event loop may read.


if READS_AT_ONCE:

    def test_a_small_file_in_memory_is_read_at_once(storage: LocalStorage, root: Path) -> None:
        """Whole, with its info; one that is large or not in memory, or nowhere, is not."""
        for size in (0, 1, local.CACHED_SIZE):
            content = os.urandom(size)
            handle = storage.add("a.txt", content)
            assert (storage.info(handle), content) == storage.read_cached(handle)
        handle = storage.add("a.txt", bytes(local.CACHED_SIZE + 1))
        assert storage.read_cached(handle) is None
        assert storage.read_cached(storage.reserve("a.txt")) is None
        with pytest.raises(Error) as caught:
            storage.read_cached("/a.txt")
        assert caught.value.kind == Kind.ILL_FORMED
        handle = storage.add("a.txt", b"content")
        place(root, handle).rename(root.parent / "outside")
        place(root, handle).symlink_to(root.parent / "outside")
        assert storage.read_cached(handle) is None


def test_a_file_that_is_not_in_memory_is_not_read_at_once(
    storage: LocalStorage, root: Path
) -> None:
    """The kernel forgets it on demand; whoever waits for the disk gets it all the same.

    Asking makes the kernel read ahead, and a fast disk may be done before it answers.
    """
    content = os.urandom(local.CACHED_SIZE)
    handle = storage.add("a.txt", content)

    def is_read_at_once() -> bool:
        with place(root, handle).open("rb") as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        return storage.read_cached(handle) is not None

    assert not all(is_read_at_once() for _ in range(1000))
    assert content == storage.open(handle).read()


def test_what_takes_long_to_copy_is_not_read_at_once(storage: LocalStorage) -> None:
    """However large a piece is asked for, an event loop goes on."""
    with storage.open(storage.add("a.bin", bytes(2 * MIB))) as reader:
        assert reader.stream.read_cached(2 * MIB) is None
        assert bytes(2 * MIB) == reader.stream.read_full(2 * MIB)


SIZES = st.integers(0, 400_000)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(st.lists(st.tuples(st.sampled_from(["seek", "cached", "full", "some"]), SIZES)))
def test_what_is_read_at_once_and_what_is_not_are_one_stream(
    storage: LocalStorage, steps: list[tuple[str, int]]
) -> None:
    """Whichever way the next bytes are asked for, in whatever order."""
    handle = next(iter(storage), None) or storage.add("a.bin", os.urandom(600_000))
    content = storage.open(handle).read()
    position = 0
    with storage.open(handle) as reader:
        stream = reader.stream
        for step, size in steps:
            assert position == stream.tell()
            wanted = content[position : position + size]
            if step == "seek":
                position = stream.seek(size)
            elif step == "some":
                given = stream.read(size)
                assert given is not None
                assert wanted.startswith(given)
                assert bool(given) == bool(wanted)
                position += len(given)
            else:
                read = stream.read_cached if step == "cached" else stream.read_full
                found = read(size)
                if found is not None:
                    assert wanted == found
                    position += len(found)


# Failed adds.


def _broken(size: int) -> Iterator[bytes]:
    for _ in range(size // MIB):
        yield bytes(MIB)
    raise RuntimeError("the content breaks off")


@pytest.mark.parametrize("size", [0, 3 * MIB])
@pytest.mark.parametrize("file_system", ["usual", "fallbacks"])
def test_a_failed_add_leaves_nothing(
    size: int,
    file_system: str,
    storage: LocalStorage,
    root: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Neither a file nor a directory, and the caller's own exception comes out."""
    if file_system == "fallbacks":
        _without_tmpfile(monkeypatch)
        _without_attributes(monkeypatch)
    with pytest.raises(RuntimeError, match="the content breaks off"):
        storage.add("a.txt", _broken(size))
    assert [] == left_in(root)


KILLED = """
    import sys
    from rex.attach.backends.local.storage import LocalStorage

    def content():
        for _ in range(3):
            yield bytes(1 << 20)
        print("in the middle", flush=True)
        sys.stdin.read()

    LocalStorage(sys.argv[1]).add("a.txt", content())
    """


def test_a_killed_add_leaves_nothing(storage: LocalStorage, root: Path) -> None:
    """A process that is killed in the middle has no time to tidy up."""
    with started(sys.executable, "-c", textwrap.dedent(KILLED), root) as process:
        assert "in the middle\n" == process.stdout.readline()
        assert [] == list(storage)
        process.kill()
    assert -signal.SIGKILL == process.returncode
    assert [] == left_in(root)


# Less able file systems.


def _without_tmpfile(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have O_TMPFILE fail as it does where a file system does not know it."""
    real = os.open

    def open_named(path: Any, flags: int, *args: Any, **kwargs: Any) -> int:
        if flags & os.O_TMPFILE == os.O_TMPFILE:
            raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP))
        return real(path, flags, *args, **kwargs)

    monkeypatch.setattr(os, "open", open_named)


def _without_attributes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have extended attributes fail as they do where a file system has none."""

    def fail(*_: object) -> NoReturn:
        raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP))

    for name in ("setxattr", "getxattr"):
        monkeypatch.setattr(os, name, fail)


def _without_any_call(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have a system that has neither, as those other than Linux."""
    monkeypatch.setattr(directory, "_TMPFILE", None)
    for name in ("setxattr", "getxattr"):
        monkeypatch.delattr(os, name)


def _without_both(monkeypatch: pytest.MonkeyPatch) -> None:
    _without_tmpfile(monkeypatch)
    _without_attributes(monkeypatch)


@pytest.mark.parametrize(
    "lessen", [_without_tmpfile, _without_attributes, _without_both, _without_any_call]
)
def test_a_less_able_file_system_keeps_attachments_too(
    lessen: Callable[[pytest.MonkeyPatch], None],
    storage: LocalStorage,
    root: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The same comes out as went in, and nothing is left in the end."""
    lessen(monkeypatch)
    content = bytes(range(256)) * 10_000
    handle = storage.add("scan.png", content, content_type="image/x-scan")
    with storage.open(handle) as stream:
        assert content == stream.read()
        assert "image/x-scan" == stream.info.content_type
        assert stream.info.digest is not None
    assert [handle] == list(storage)
    storage.remove(handle)
    assert [] == left_in(root)


# The root.


def test_the_root_is_made_when_its_last_component_is_missing(root: Path) -> None:
    """Its parent is there, so the setting is most likely right."""
    LocalStorage(root).check()
    assert root.is_dir()
    assert [root / MARKER] == [*root.iterdir()]


def test_the_root_is_not_made_when_its_parent_is_missing_too(root: Path) -> None:
    """A disk that is not mounted, or a slip of the pen."""
    with pytest.raises(Error) as caught:
        LocalStorage(root / "deeper").check()
    assert caught.value.kind == Kind.CONFIGURATION
    assert caught.value.setting == "attach_dir"
    assert caught.value.payload == f"{root / 'deeper'}: its parent directory does not exist"
    assert not root.exists()


def test_a_root_that_is_a_file_is_a_wrong_setting(root: Path) -> None:
    """The file is left alone."""
    root.write_bytes(b"precious")
    with pytest.raises(Error) as caught:
        LocalStorage(root).check()
    assert caught.value.kind == Kind.CONFIGURATION
    assert caught.value.payload == f"{root}: it is not a directory"
    assert b"precious" == root.read_bytes()


# What is held open.


def open_files(root: Path) -> int:
    """Count the files of this process that are open at or below the root."""
    links = (os.path.realpath(link) for link in Path("/proc/self/fd").iterdir())
    return sum(link.startswith(str(root)) for link in links)


def test_no_file_stays_open(root: Path, storage: LocalStorage) -> None:
    """Whatever is done, worked or not, but for the root and the day, until `close`."""
    storage.close()
    handle = storage.add("a.txt", bytes(3 * MIB))
    stream = storage.open(handle)
    stream.read(1)
    stream.seek(2 * MIB)
    stream.read(1)
    stream.close()
    storage.open(handle)  # dropped unread
    small = storage.add("b.txt", b"small")
    storage.read_cached(small)
    storage.remove(small)
    storage.info(handle)
    list(storage)
    with contextlib.suppress(RuntimeError):
        storage.add("a.txt", _broken(MIB))
    for verb in _verbs(storage, storage.reserve("b.txt")):
        with contextlib.suppress(Error):
            verb()
    storage.remove(handle)
    assert 2 == open_files(root)
    storage.close()
    assert 0 == open_files(root)


def test_a_listing_that_is_given_up_leaves_no_file_open(root: Path, storage: LocalStorage) -> None:
    """It holds a directory of each level while it runs, and no more."""
    now = datetime.datetime.now(datetime.UTC)
    for days in range(5):
        for _ in range(3):
            handle = storage.reserve("a.txt")
            day = now - datetime.timedelta(days=days * 40)
            key = handle.replace(f"{now:/%Y/%m/%d}", f"{day:/%Y/%m/%d}")[1:]
            storage._put(key, Content(b""), "text/plain")
    storage.close()
    listing = storage.list()
    next(listing)
    next(listing)
    assert 6 == open_files(root)  # the root, and again; year, month, day, identifier
    del listing
    assert 1 == open_files(root)
    assert 15 == len(list(storage))
    assert 1 == open_files(root)


def test_a_listing_reads_one_directory_at_a_time(
    storage: LocalStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first handle comes before any other day has been looked at."""
    for year in range(2000, 2020):
        handle = storage.reserve("a.txt")
        storage._put(f"{year}/01/01{handle[11:]}", Content(b""), "text/plain")
    opened: list[str] = []
    real = os.open

    def note(path: Any, *args: Any, **kwargs: Any) -> int:
        opened.append(path)
        return real(path, *args, **kwargs)

    monkeypatch.setattr(os, "open", note)
    listing = storage.list()
    first = next(listing)
    assert ["2000", "01", "01", first.split("/")[4]] == opened[1:]
    opened.clear()
    assert 1 == len(list(storage.list(day="2010-01-01")))
    assert ["2010", "01", "01"] == opened[1:4]
    assert 5 == len(opened)


def test_a_directory_that_cannot_be_opened_is_not_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A listing that left attachments out in silence would lose them in a copy."""
    storage = LocalStorage(tmp_path)
    storage.add("a.txt", b"")

    def refused(name: str, parent: int) -> int:
        raise PermissionError(errno.EACCES, "no", f"{name} in {parent}")

    monkeypatch.setattr("rex.attach.backends.local.listing.open_directory", refused)
    with pytest.raises(Error) as caught:
        list(storage)
    assert Kind.DENIED is caught.value.kind


def test_attributes_that_somebody_else_wrote_do_no_harm(tmp_path: Path) -> None:
    """What is no type or digest is not told: it could become a header."""
    storage = LocalStorage(tmp_path)
    handle = storage.add("a.txt", b"content")
    planted = json.dumps({"content_type": "text/html\r\nX: y", "sha256": "zz\r\nX: y"})
    os.setxattr(tmp_path / handle[1:], "user.rex.attach", planted.encode())
    info = storage.info(handle)
    assert ("text/plain", None) == (info.content_type, info.digest)
    assert info.etag.isprintable()


# Closing.


@contextlib.contextmanager
def failing_closes(monkeypatch: pytest.MonkeyPatch, suffix: str) -> Iterator[list[int]]:
    """Report EIO when a file with a suffix is closed, which it is; yield the descriptors."""
    closed: list[int] = []
    close = os.close

    def fail(fd: int) -> None:
        is_meant = Path(f"/proc/self/fd/{fd}").readlink().name.endswith(suffix)
        close(fd)
        if is_meant:
            closed.append(fd)
            raise OSError(errno.EIO, os.strerror(errno.EIO))

    with monkeypatch.context() as patch:
        patch.setattr(os, "close", fail)
        yield closed


def test_a_failing_close_of_an_attachment_is_not_repeated(
    storage: LocalStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was read is right, and the descriptor may be another file's by then."""
    handle = storage.add("a.txt", b"content")
    with failing_closes(monkeypatch, ".txt") as closed:
        stream = storage.open(handle)
        assert b"content" == stream.read()
        stream.close()
        del stream
    assert 1 == len(closed)


def test_a_failing_close_of_an_upload_undoes_nothing(
    storage: LocalStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its bytes were synced, so that they are acknowledged."""
    uploads = storage.uploads
    upload, abandoned = (uploads.create("a.txt", size=10) for _ in range(2))
    with failing_closes(monkeypatch, ".data") as closed:
        assert 10 == uploads.info(upload.handle).size
        uploads.append(upload.handle, 0, b"first")
        uploads.remove(abandoned.handle)
    assert closed
    assert 5 == uploads.info(upload.handle).offset
    assert [upload.handle] == [*uploads.list()]
