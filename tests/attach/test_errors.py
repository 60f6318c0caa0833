"""Whatever fails is an `Error` with a kind: nothing raw escapes, whatever happens below."""

from __future__ import annotations

import contextlib
import errno
import gc
import json
import os
import resource
import shutil
import sys
import tempfile
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import obstore.exceptions
import pytest

from attach.bounded import bounded
from attach.fake_server import Answer, Relay, fake_server, silent_server
from attach.s3_storage import s3_storage
from programs import PATIENCE, run
from rex.attach import Reader, Storage, open_storage
from rex.attach.backends.local.storage import LocalStorage
from rex.attach.backends.memory.storage import MemoryStorage
from rex.core import Error, Kind, Rex
from trust import disk

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from rex.attach_demo.seaweedfs import SeaweedFS

T = TypeVar("T")

MIB = 1024 * 1024
HANDLE = "/2026/11/23/5f5e1d5e-0c5c-4a56-9d7e-0d8f0c1f8a11/scan.png"

STORAGES: dict[str, Callable[[], Storage]] = {
    "local": lambda: LocalStorage("/nowhere"),
    "memory": MemoryStorage,
    "s3": lambda: s3_storage("bucket", access_key="key", secret_key="secret"),
}

OF_OBSTORE = sorted(
    (found for found in vars(obstore.exceptions).values() if isinstance(found, type)),
    key=lambda found: found.__name__,
)


# The mapping is complete.


def test_the_exceptions_of_obstore_are_found() -> None:
    """What the next test walks is not empty."""
    assert len(OF_OBSTORE) >= 12


@pytest.mark.parametrize("raw", OF_OBSTORE)
def test_every_exception_of_obstore_has_a_kind(raw: type[Exception]) -> None:
    """One that a new version adds has its base's."""
    error = STORAGES["s3"]()._translate(raw("what obstore says"), HANDLE)
    assert error is not None
    assert error.kind != Kind.INTERNAL
    assert error.payload == HANDLE


@pytest.mark.parametrize("storage", STORAGES)
def test_every_error_of_the_system_has_a_kind(storage: str) -> None:
    """On every storage, since a network is the system's too."""
    assert len(errno.errorcode) > 100
    for number in errno.errorcode:
        error = STORAGES[storage]()._translate(OSError(number, os.strerror(number)), HANDLE)
        assert error is not None, errno.errorcode[number]
        assert error.kind != Kind.INTERNAL, errno.errorcode[number]
        assert error.payload == HANDLE


@pytest.mark.parametrize(
    "raw", [OSError(), OSError("text alone"), TimeoutError(), ConnectionResetError()], ids=repr
)
def test_an_error_of_the_system_without_a_number_is_unavailable(raw: OSError) -> None:
    """Some libraries raise them so."""
    error = LocalStorage("/nowhere")._translate(raw, HANDLE)
    assert error is not None
    assert error.kind == Kind.UNAVAILABLE


# A directory that fails.


@pytest.fixture
def directory() -> Iterator[Path]:
    """Make a directory that every user may enter."""
    with tempfile.TemporaryDirectory(prefix="rex-errors-") as name:
        path = Path(name) / "attachments"
        path.mkdir()
        for opened in (path, path.parent):
            opened.chmod(0o755)
        yield path


def _verbs(storage: Storage, handle: str) -> dict[str, Callable[[], object]]:
    return {
        "add": lambda: storage.add("a.txt", b"content"),
        "open": lambda: storage.open(handle),
        "info": lambda: storage.info(handle),
        "stat": lambda: storage.stat(handle),
        "remove": lambda: storage.remove(handle),
        "list": lambda: list(storage),
    }


def _try(verb: Callable[[], T]) -> tuple[T | None, Kind | None]:
    """Call a verb; give what it returns and None, or None and the kind of its error."""
    try:
        return bounded(verb), None
    except Error as error:
        return None, error.kind


def _kinds(storage: Storage, handle: str) -> dict[str, Kind | None]:
    """Call every verb; give the kinds of their errors, or None where there was none."""
    return {name: _try(verb)[1] for name, verb in _verbs(storage, handle).items()}


@contextlib.contextmanager
def unprivileged() -> Iterator[None]:
    """Be nobody for a while, where we are root."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


def test_a_directory_that_is_gone_is_unavailable(directory: Path) -> None:
    """It may be a network that is not mounted; nothing is made in its place."""
    storage = LocalStorage(directory)
    handle = storage.add("a.txt", b"content")
    shutil.rmtree(directory)
    kinds = _kinds(storage, handle)
    assert dict.fromkeys(kinds, Kind.UNAVAILABLE) == kinds
    assert not directory.exists()


def test_a_directory_that_is_a_file_is_unavailable(directory: Path) -> None:
    """The error does not say that an attachment is missing."""
    storage = LocalStorage(directory / "file")
    (directory / "file").touch()
    kinds = _kinds(storage, HANDLE)
    assert dict.fromkeys(kinds, Kind.UNAVAILABLE) == kinds


def test_a_directory_that_may_not_be_written_denies(directory: Path) -> None:
    """What is there can be read; the rest is denied, and nothing is changed."""
    storage = LocalStorage(directory)
    handle = storage.add("a.txt", b"content")
    for path in (directory, *directory.rglob("*")):
        path.chmod(0o555)
    with unprivileged():
        kinds = _kinds(storage, handle)
        with pytest.raises(Error) as caught:
            storage.check()
    for path in (directory, *directory.rglob("*")):
        path.chmod(0o755)
    assert caught.value.kind == Kind.CONFIGURATION
    assert caught.value.setting == "attach_dir"
    assert {**dict.fromkeys(kinds), "add": Kind.DENIED, "remove": Kind.DENIED} == kinds
    assert storage.open(handle).read() == b"content"


def test_a_directory_that_may_not_be_read_denies(directory: Path) -> None:
    """Every verb says so."""
    storage = LocalStorage(directory)
    handle = storage.add("a.txt", b"content")
    directory.chmod(0o700 if os.geteuid() == 0 else 0o000)
    with unprivileged():
        kinds = _kinds(storage, handle)
    directory.chmod(0o755)
    assert dict.fromkeys(kinds, Kind.DENIED) == kinds


def test_a_file_larger_than_the_system_permits_is_too_large(directory: Path) -> None:
    """Nothing is left of it."""
    storage = LocalStorage(directory)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2 * MIB, hard))
    try:
        with pytest.raises(Error) as caught:
            storage.add("a.txt", bytes(3 * MIB))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert caught.value.kind == Kind.TOO_LARGE
    assert [] == list(directory.iterdir())


@pytest.mark.parametrize("call", ["write", "fsync", "link", "mkdir"])
def test_a_disk_that_fills_up_at_any_call_is_unavailable(
    call: str, directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is left, neither a file nor an empty directory."""

    def fail(*_: Any, **__: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    storage = LocalStorage(directory)
    with monkeypatch.context() as patch:
        patch.setattr(os, call, fail)
        with pytest.raises(Error) as caught:
            storage.add("a.txt", b"content")
    assert (caught.value.kind, caught.value.code) == (Kind.UNAVAILABLE, "storage-full")
    assert [] == list(directory.iterdir())


FULL_DISK = """
    import json, os, subprocess, sys
    from rex.attach.backends.local.storage import LocalStorage
    from rex.core import Error

    directory = sys.argv[1]
    mount = ("mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", directory)
    subprocess.run(mount, check=True)
    storage = LocalStorage(directory)
    kept = storage.add("kept.txt", b"content")
    try:
        storage.add("a.txt", bytes(2 << 20))
    except Error as error:
        result = [error.kind.value, error.code, list(storage) == [kept]]
    storage.remove(kept)
    storage.close()
    print(json.dumps([*result, os.listdir(directory)]))
    subprocess.run(["umount", directory], check=True)
    """

OBSTACLE = disk.obstacle()
LEFT_OUT = () if OBSTACLE is None else (f"a disk that is really full ({OBSTACLE})",)

if OBSTACLE is None:

    def test_a_disk_that_is_really_full_is_unavailable(directory: Path) -> None:
        """A small file system in memory; what was there stays, and nothing is added."""
        program = [sys.executable, "-c", textwrap.dedent(FULL_DISK), directory]
        done = run("unshare", "--mount", "--propagation=private", *program)
        assert ["unavailable", "storage-full", True, []] == json.loads(done.stdout)


@contextlib.contextmanager
def files_left(number: int) -> Iterator[None]:
    """Have so many fewer files open than the process may have."""
    gc.collect()  # or what earlier tests left would close files meanwhile
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(soft, 256), hard))
    held = []
    try:
        with contextlib.suppress(OSError):
            while True:
                held.append(os.open(os.devnull, os.O_RDONLY))
        for _ in range(number):
            os.close(held.pop())
        yield
    finally:
        for fd in held:
            os.close(fd)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_too_many_open_files_are_unavailable(directory: Path) -> None:
    """It passes; and nothing is left of what failed."""
    storage = LocalStorage(directory)
    handle = storage.add("a.txt", b"content")
    with files_left(0):
        kinds = _kinds(storage, handle)
    assert dict.fromkeys(kinds, Kind.UNAVAILABLE) == kinds
    assert [handle] == list(storage)
    storage.remove(handle)
    storage.close()
    assert [] == list(directory.iterdir())


@pytest.mark.long
def test_too_few_files_at_any_moment_are_unavailable(directory: Path) -> None:
    """With room for one more each time, an add fails ever later, and leaves no file."""
    storage = LocalStorage(directory)
    storage.remove(storage.add("a.txt", b"the first add of a process imports what it needs"))
    handle = None
    for number in range(32):
        storage.close()
        with files_left(number):
            handle, failure = _try(lambda: storage.add("a.txt", b"content"))
        if handle is not None:
            break
        assert failure == Kind.UNAVAILABLE
        # To tidy an empty directory away takes a file too.
        assert [] == [path for path in directory.rglob("*") if not path.is_dir()]
    assert number > 3
    assert handle is not None
    assert storage.open(handle).read() == b"content"


# A server that fails.


@pytest.fixture
def settings(seaweedfs: SeaweedFS) -> dict[str, Any]:
    """Give settings with little patience."""
    return {
        **seaweedfs.settings(),
        "attach_s3_prefix": "errors",
        "attach_s3_timeout": 0.3,
    }


@contextlib.contextmanager
def opened(settings: dict[str, Any], **changed: Any) -> Iterator[Storage]:
    """Open the storage of an application, without asking the server."""
    given = settings | {f"attach_s3_{name}": value for name, value in changed.items()}
    options = {name.removeprefix("attach_s3_"): value for name, value in given.items()}
    with open_storage(
        f"s3://{options.pop('bucket')}/{options.pop('prefix')}", **options
    ) as storage:
        yield storage


@pytest.fixture
def relay(seaweedfs: SeaweedFS) -> Iterator[Relay]:
    """Have a way to the server that can be cut."""
    with Relay(seaweedfs.endpoint) as relay:
        yield relay


def _begun(storage: Storage, handle: str) -> tuple[Reader, bytes]:
    """Read the first MiB; of a busy machine, little patience may expect too much at first."""
    for _ in range(PATIENCE):
        with contextlib.suppress(Error):
            stream = storage.open(handle)
            return stream, stream.read(MIB)
    pytest.fail("nothing can be read")


BREAKS = ["cut", "stall"]


@pytest.mark.parametrize("how", BREAKS)
def test_a_server_that_goes_while_an_attachment_is_read_is_unavailable(
    how: str, settings: dict[str, Any], relay: Relay
) -> None:
    """What was read before was right; then the error comes in bounded time."""
    content = bytes(range(256)) * 4096 * 16
    with opened(settings, timeout=PATIENCE) as storage:
        handle = storage.add("a.bin", content)
    with opened(settings, endpoint=relay.address) as storage:
        stream, read = _begun(storage, handle)
        setattr(relay, f"{how}_after", 4 * MIB)

        def read_on() -> None:
            nonlocal read
            for part in iter(lambda: bounded(stream.read, MIB), b""):
                read += part

        with pytest.raises(Error) as caught:
            read_on()
    assert caught.value.kind == Kind.UNAVAILABLE
    assert caught.value.payload == handle
    assert content.startswith(read)
    assert len(read) < len(content)


@pytest.mark.parametrize("size", [MIB, 24 * MIB], ids=["at once", "in parts"])
@pytest.mark.parametrize("how", BREAKS)
def test_a_server_that_goes_while_an_attachment_is_added_is_unavailable(
    how: str, size: int, settings: dict[str, Any], relay: Relay
) -> None:
    """Nothing of it is visible."""
    with opened(settings, prefix=f"errors/{how}-{size}", timeout=PATIENCE) as storage:
        with opened(
            settings, prefix=f"errors/{how}-{size}", endpoint=relay.address
        ) as through_relay:
            setattr(relay, f"{how}_after", size // 2)
            with pytest.raises(Error) as caught:
                bounded(through_relay.add, "a.bin", bytes(size))
        assert caught.value.kind == Kind.UNAVAILABLE
        assert [] == list(storage)


def test_a_server_that_never_answers_is_unavailable(settings: dict[str, Any]) -> None:
    """Every verb gives up in bounded time."""
    with silent_server() as endpoint, opened(settings, endpoint=endpoint) as storage:
        for verb in (_verbs(storage, HANDLE)[name] for name in ("add", "open", "list")):
            with pytest.raises(Error) as caught:
                bounded(verb)
            assert caught.value.kind == Kind.UNAVAILABLE


ANSWERS = {
    "nothing": Answer(200),
    "a page": Answer(200, "<html>Welcome</html>"),
    "a redirect": Answer(302, "", {"Location": "http://127.0.0.1:1/"}),
    "forbidden": Answer(403),
    "not allowed": Answer(405),
    "conflict": Answer(409),
    "teapot": Answer(418),
    "not implemented": Answer(501),
    "broken XML": Answer(400, "<Error><Code>"),
    "slow down": Answer(503, "<Error><Code>SlowDown</Code></Error>"),
    "no such bucket": Answer(404, "<Error><Code>NoSuchBucket</Code></Error>"),
}


@pytest.mark.long
@pytest.mark.parametrize("answer", ANSWERS)
def test_whatever_a_fake_server_answers_nothing_raw_escapes(
    answer: str, settings: dict[str, Any]
) -> None:
    """Each verb works or raises an error with a kind."""
    with (
        fake_server(lambda _: ANSWERS[answer]) as endpoint,
        opened(settings, endpoint=endpoint) as storage,
    ):
        verbs = _verbs(storage, HANDLE)
        kinds = [_try(verbs[name])[1] for name in ("add", "open", "info", "list")]
    assert Kind.INTERNAL not in kinds


def test_a_bucket_that_is_gone_is_a_wrong_setting(settings: dict[str, Any]) -> None:
    """It is not taken for a missing attachment."""
    with (
        opened(settings, bucket="no-such-bucket", timeout=PATIENCE) as storage,
        pytest.raises(Error) as caught,
    ):
        storage.add("a.txt", b"content")
    assert caught.value.kind == Kind.CONFIGURATION
    assert (caught.value.code, caught.value.setting) == ("no-bucket", "attach_s3_bucket")


def test_a_permission_that_is_missing_denies(
    settings: dict[str, Any], seaweedfs: SeaweedFS
) -> None:
    """Who may read and list can start, and not add or remove."""
    settings["attach_s3_timeout"] = PATIENCE
    with opened(settings) as storage:
        handle = storage.add("a.txt", b"content")
    with Rex("rex.attach", **{**settings, **seaweedfs.settings("reader")}):
        pass
    with opened({**settings, **seaweedfs.settings("reader")}) as storage:
        kinds = _kinds(storage, handle)
    assert {**dict.fromkeys(kinds), "add": Kind.DENIED, "remove": Kind.DENIED} == kinds
