"""Directories that are set up wrongly, each in one way, and what the doctor says of them."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import sys
import tempfile
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from attach.fake_server import refused_address
from attach.service import Service
from programs import run
from rex.attach.backends.fallback import FallbackStorage
from rex.attach.backends.local.secret_file import SECRET_NAME
from rex.attach.backends.local.storage import LocalStorage
from rex.attach.backends.local.tree import MARKER
from rex.attach.backends.memory.storage import MemoryStorage
from rex.attach.maintenance import Check, Verdict, diagnose
from trust import disk

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from rex.attach.content.content import Content
    from rex.attach.content.reader import Body
    from rex.attach.info import Metadata
    from rex.attach.storage import Storage

OK, WARN, FAIL, NOT_TRIED = Verdict
NOBODY = 65534
SITE = "https://pages.example.org"
STEPS = (
    *("directory", "permissions", "marker", "file system", "space", "unnamed files", "hard links"),
    *("attributes", "fsync", "secret", "list", "write", "conditional write", "read", "range read"),
    *("info", "post link", "put link", "get link", "cors", "remove"),
)


def contents(path: Path) -> dict[str, bytes]:
    """Give all files and directories below a path, or the file that stands there."""
    below = [path, *path.rglob("*")]
    return {
        str(each): each.read_bytes() if each.is_file() else b"" for each in below if each.exists()
    }


@pytest.fixture
def root() -> Iterator[Path]:
    """Give a place that others may look into; see afterwards that all there is as it was."""
    with tempfile.TemporaryDirectory(prefix="rex-doctor-") as directory:
        path = Path(directory)
        path.chmod(0o755)
        LocalStorage(path).init()
        yield path


def verdicts(findings: list[Check], verdict: Verdict) -> set[str]:
    """Give the steps of which this was found."""
    return {found.step for found in findings if found.verdict is verdict}


def told(findings: list[Check]) -> str:
    """Give all that was told."""
    return "\n".join("\n".join((each.step, each.text, *each.advice)) for each in findings)


def examined(storage: Storage, *origins: str) -> list[Check]:
    """Examine a storage, and close it."""
    with storage:
        return [*diagnose(storage, origins)]


class Case(NamedTuple):
    """What is wrong, and where the doctor must say so."""

    stage: Callable[[Path], Any]
    """Prepares a place, and gives the path of the directory."""
    step: str
    words: tuple[str, ...]
    verdict: Verdict = FAIL


def missing(root: Path) -> Path:
    """Leave away the directory and the one above it."""
    return root / "not" / "there"


def not_there_yet(root: Path) -> Path:
    """Leave away the directory alone."""
    return root / "new"


def missing_with_spaces(root: Path) -> Path:
    """Leave away a directory whose name a shell would take apart."""
    return root / "not" / "there  yet; rm"


def file_instead(root: Path) -> Path:
    """Put a file there."""
    (root / "attachments").write_bytes(b"a file")
    return root / "attachments"


def broken_link(root: Path) -> Path:
    """Put a link there that leads nowhere."""
    (root / "attachments").symlink_to(root / "nowhere")
    return root / "attachments"


def with_secret(content: bytes, mode: int) -> Callable[[Path], Path]:
    """Put something there as the secret."""

    def stage(root: Path) -> Path:
        (root / SECRET_NAME).write_bytes(content)
        (root / SECRET_NAME).chmod(mode)
        return root

    return stage


CASES = {
    "missing": Case(missing, "directory", ("does not exist", "$ install -d -m 0750", "/not")),
    "missing, with spaces": Case(
        missing_with_spaces, "directory", ("/not/there%20%20yet%3B%20rm",)
    ),
    "not there yet": Case(not_there_yet, "directory", ("mount", "$ rex attach init")),
    "a file": Case(file_instead, "directory", ("is not a directory", "attach_dir")),
    "a broken link": Case(broken_link, "directory", ("a broken symbolic link", "attach_dir")),
    "a secret for all": Case(
        with_secret(bytes(32), 0o644),
        "secret",
        ("other users may read or write it", "$ chmod 0600", SECRET_NAME),
    ),
    "a secret too short": Case(with_secret(b"short", 0o600), "secret", ("32 bytes",)),
}


@pytest.mark.parametrize("name", CASES)
def test_what_is_wrong_is_named(name: str, root: Path) -> None:
    """In its own step alone, with what to change; and the place is left as it was."""
    case = CASES[name]
    path = case.stage(root)
    before = contents(root)
    findings = examined(LocalStorage(path))
    assert before == contents(root)
    assert {case.step} == verdicts(findings, case.verdict), told(findings)
    (found,) = (each for each in findings if each.step == case.step)
    assert [] == [word for word in case.words if word not in told([found])], told([found])
    assert [*STEPS] == [each.step for each in findings]


def test_a_directory_that_is_set_up_rightly_is_fine(root: Path) -> None:
    """Where no service makes links, they are left out."""
    LocalStorage(root).add("kept.txt", b"what was there before")
    before = contents(root)
    findings = examined(LocalStorage(root))
    assert before == contents(root)
    links = {"post link", "put link", "get link", "cors"}
    assert links == verdicts(findings, NOT_TRIED)
    assert {*STEPS} - links == verdicts(findings, OK), told(findings)


@pytest.mark.usefixtures("file_system")
def test_a_file_system_that_can_less_is_good_enough(root: Path) -> None:
    """One is told what it lacks; nothing is wrong with it."""
    findings = examined(LocalStorage(root))
    assert set() == verdicts(findings, FAIL)
    assert verdicts(findings, WARN) <= {"unnamed files", "attributes"}
    assert [root / MARKER] == [*root.iterdir()]


def test_links_of_the_service_are_tried(root: Path) -> None:
    """As clients use them, and pages of other sites."""
    storage, served = LocalStorage(root), LocalStorage(root)
    storage.tokens  # noqa: B018 - makes the secret
    before = contents(root)
    with Service() as service:
        storage.url = served.url = service.serve(served)
        findings = examined(storage, SITE)
    assert before == contents(root)
    assert {*STEPS} == verdicts(findings, OK), told(findings)


def test_no_secret_is_made(root: Path) -> None:
    """Before there is one, links are left out, and why is told."""
    storage = LocalStorage(root, url=refused_address())
    findings = examined(storage, SITE)
    assert {"post link", "put link", "get link", "cors"} == verdicts(findings, NOT_TRIED)
    assert "no secret yet" in told(findings)
    assert [root / MARKER] == [*root.iterdir()]


def test_a_service_that_does_not_run_is_named(root: Path) -> None:
    """With the setting, and once."""
    findings = examined(LocalStorage(root, url=refused_address(), secret="s" * 32))
    assert {"post link"} == verdicts(findings, FAIL)
    assert "attach_url" in told(findings)


def test_a_service_with_another_secret_is_named(root: Path) -> None:
    """It refuses the links."""
    with Service() as service:
        served = LocalStorage(root, secret="o" * 32)
        served.url = service.serve(served)
        findings = examined(LocalStorage(root, url=served.url, secret="s" * 32))
    assert {"post link", "put link", "get link"} == verdicts(findings, FAIL)
    assert "attach_secret" in told(findings)
    assert [root / MARKER] == [*root.iterdir()]


def test_wherever_it_is_given_up_nothing_is_left(root: Path) -> None:
    """After each step in turn; and a directory that is missing is not made."""
    for steps, path in itertools.product(range(len(STEPS) + 1), (root, root / "new")):
        with LocalStorage(path) as storage:
            findings = diagnose(storage)
            for _ in range(steps):
                next(findings)
            findings.close()
        assert [root / MARKER] == [*root.iterdir()]


def test_both_storages_of_a_move_are_examined(root: Path) -> None:
    """One after the other, and by name; nothing is uploaded to the older one by links."""
    for name in ("new", "old"):
        LocalStorage(root / name).init()
    storages = LocalStorage(root / "new"), LocalStorage(root / "old")
    findings = examined(FallbackStorage(*storages))
    assert set() == verdicts(findings, FAIL)
    steps = [(found.storage, found.step) for found in findings]
    assert steps == [
        *((repr(storages[0]), step) for step in STEPS),
        *((repr(storages[1]), step) for step in STEPS if step not in ("post link", "put link")),
    ]


class Overwriting(MemoryStorage):
    """A storage that is broken on purpose: it replaces what is there."""

    def _put(self, key: str, content: Content, content_type: str) -> None:
        with contextlib.suppress(KeyError):
            del self._objects[key]
        super()._put(key, content, content_type)


class Unranged(MemoryStorage):
    """A storage that is broken on purpose: it gives all from the beginning."""

    def _get(self, key: str, start: int, end: int | None) -> Body:
        del start
        return super()._get(key, 0, end)


class Changing(MemoryStorage):
    """A storage that is broken on purpose: it gives other bytes."""

    def _get(self, key: str, start: int, end: int | None) -> Body:
        body = super()._get(key, start, end)
        return body._replace(chunks=(bytes(len(chunk)) for chunk in body.chunks))


class Typeless(MemoryStorage):
    """A storage that is broken on purpose: it forgets the content type."""

    def _head(self, key: str) -> Metadata:
        return super()._head(key)._replace(content_type="application/octet-stream")


class Forgetful(MemoryStorage):
    """A storage that is broken on purpose: it forgets the digest."""

    def _head(self, key: str) -> Metadata:
        return super()._head(key)._replace(digest=None)


class Keeping(MemoryStorage):
    """A storage that is broken on purpose: nothing goes away at once."""

    removals = 0

    def _delete(self, key: str) -> None:
        self.removals += 1
        if self.removals > 1:
            super()._delete(key)


BROKEN: dict[type[MemoryStorage], tuple[str, Verdict]] = {
    Unranged: ("range read", FAIL),
    Changing: ("read", FAIL),
    Typeless: ("info", FAIL),
    Forgetful: ("info", WARN),
    Keeping: ("remove", FAIL),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_a_storage_that_is_broken_on_purpose_is_named(kind: type[MemoryStorage]) -> None:
    """Each general step finds what it is for."""
    storage = kind()
    findings = examined(storage)
    step, verdict = BROKEN[kind]
    assert step in verdicts(findings, verdict), told(findings)
    assert [] == [*storage]


class Refusing(MemoryStorage):
    """A storage that is broken on purpose: it fails in a way that nobody has thought of."""

    def _put(self, key: str, content: Content, content_type: str) -> None:
        raise ZeroDivisionError(f"{key} {content_type} {content}\x1b[2J")


def test_overwriting_is_a_warning() -> None:
    """The application works, and there is something to know."""
    storage = Overwriting()
    findings = examined(storage)
    assert set() == verdicts(findings, FAIL)
    assert {"conditional write"} == verdicts(findings, WARN)
    assert [] == [*storage]


def test_whatever_fails_the_other_steps_are_taken() -> None:
    """And nothing that was said does anything to a terminal."""
    findings = examined(Refusing())
    assert {"write"} == verdicts(findings, FAIL)
    assert {"list"} == verdicts(findings, OK)
    assert "ZeroDivisionError" in told(findings)
    assert "\x1b" not in told(findings)


EXAMINE = """
    import json, os, sys, tempfile
    from rex.attach.backends.local.storage import LocalStorage
    from rex.attach.maintenance import diagnose

    if len(sys.argv) > 2:
        with tempfile.TemporaryDirectory() as directory, LocalStorage(directory) as storage:
            storage.init()
            list(diagnose(storage))  # imports all that the other user may not read
        os.setgroups([])
        os.setgid(int(sys.argv[2]))
        os.setuid(int(sys.argv[2]))
    with LocalStorage(sys.argv[1]) as storage:
        for found in diagnose(storage):
            shown = [found.step, found.verdict.value, found.code, found.text, found.advice]
            print(json.dumps(shown))
    """


def findings_of(command: list[str]) -> list[Check]:
    """Run a program that prints findings."""
    done = run(*command)
    assert 0 == done.returncode, done.stderr
    lines = map(json.loads, done.stdout.splitlines())
    return [
        Check(step, Verdict(verdict), code, text, (*advice,))
        for step, verdict, code, text, advice in lines
    ]


OBSTACLE = disk.obstacle()
SKIP = () if OBSTACLE is None else (f"directories that the system refuses ({OBSTACLE})",)

if os.geteuid() != 0:

    def test_a_directory_that_we_may_not_write_is_named(root: Path) -> None:
        """It is ours, so that its mode is what to change."""
        LocalStorage(root / "attachments").init()
        (root / "attachments").chmod(0o500)
        findings = examined(LocalStorage(root / "attachments"))
        assert {"permissions"} == verdicts(findings, FAIL)
        assert f"$ chmod u+rwx {root}/attachments" in told(findings)


if OBSTACLE is None:
    PYTHON = [sys.executable, "-c", textwrap.dedent(EXAMINE)]
    IN_NAMESPACE = ["unshare", "--mount", "--propagation=private", "sh", "-euc"]

    @pytest.mark.parametrize(("mode", "remaining"), [(0o755, "write"), (0o711, "read or write")])
    def test_the_directory_of_another_user_is_named(root: Path, mode: int, remaining: str) -> None:
        """With the command that makes it ours."""
        directory = root / "attachments"
        LocalStorage(directory).init()
        directory.chmod(mode)
        findings = findings_of([*PYTHON, str(directory), str(NOBODY)])
        assert {"permissions"} == verdicts(findings, FAIL), told(findings)
        assert f"no permission to {remaining}" in told(findings)
        assert f"$ chown -R {NOBODY}:{NOBODY} {directory}" in told(findings)
        assert [directory / MARKER] == [*directory.iterdir()]

    def test_a_secret_of_another_user_is_named(root: Path) -> None:
        """The directory is ours, and the secret is not."""
        directory = root / "attachments"
        LocalStorage(directory).init()
        with_secret(bytes(32), 0o600)(directory)
        os.chown(directory, NOBODY, NOBODY)
        findings = findings_of([*PYTHON, str(directory), str(NOBODY)])
        assert {"secret"} == verdicts(findings, FAIL), told(findings)
        assert f"$ chown {NOBODY} {directory}/{SECRET_NAME}" in told(findings)

    def test_a_disk_that_is_mounted_read_only_is_named(root: Path) -> None:
        """With the command that mounts it for writing."""
        script = 'mount --bind "$1" "$1"; mount -o remount,ro,bind "$1"; shift; exec "$@"'
        command = [*IN_NAMESPACE, script, "sh", str(root), *PYTHON, str(root)]
        findings = findings_of(command)
        assert {"permissions"} == verdicts(findings, FAIL), told(findings)
        assert f"$ mount -o remount,rw {root}" in told(findings)
        assert [root / MARKER] == [*root.iterdir()]

    def test_a_full_disk_is_named(root: Path) -> None:
        """A small file system in memory; afterwards there is what was there before."""
        script = (
            'mount -t tmpfs -o size=256k tmpfs "$1"; dd if=/dev/zero of="$1/.full" 2>&- || true; '
            'cd "$1"; shift; "$@"; test "$(ls -A)" = .full'
        )
        findings = findings_of([*IN_NAMESPACE, script, "sh", str(root), *PYTHON, str(root)])
        assert {"permissions", "space"} == verdicts(findings, WARN), told(findings)
        assert {"marker", "fsync", "write"} == verdicts(findings, FAIL), told(findings)
        assert "free some space" in told(findings)

    def test_a_directory_that_cannot_be_changed_is_named(root: Path) -> None:
        """Whoever we are."""
        try:
            assert 0 == run("chattr", "+i", root).returncode
            findings = examined(LocalStorage(root))
        finally:
            assert 0 == run("chattr", "-i", root).returncode
        assert {"permissions"} == verdicts(findings, FAIL), told(findings)
        assert f"$ chattr -i {root}" in told(findings)


def test_an_empty_directory_without_a_marker_is_named(root: Path) -> None:
    """It may be the mount point of a disk that is not mounted."""
    (root / "empty").mkdir()
    findings = examined(LocalStorage(root / "empty"))
    assert {"marker"} == verdicts(findings, FAIL), told(findings)
    assert "$ rex attach init" in told(findings)
    LocalStorage(root / "empty").add("a.txt", b"a")
    assert {"marker"} == verdicts(examined(LocalStorage(root / "empty")), WARN)


def test_a_directory_that_every_user_may_write_to_is_a_warning(root: Path) -> None:
    """Also where one above it is; a sticky one above it, as /tmp, is not."""
    storage = LocalStorage(root / "attachments")
    storage.init()
    for path, mode in ((root, 0o777), (root / "attachments", 0o777), (root, 0o1777)):
        before = path.stat().st_mode
        path.chmod(mode)
        findings = examined(storage)
        expected = set() if mode == 0o1777 else {"permissions"}
        assert expected == verdicts(findings, WARN), told(findings)
        assert not expected or f"$ chmod o-w {path}" in told(findings)
        path.chmod(before)
